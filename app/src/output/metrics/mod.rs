//! Counters and histograms for Prometheus, over everything that the engine reports.
//!
//! No label is an address or an ephemeral port, so no flood makes series. Counters only grow: what a person does on the screen
//! changes none of them.

mod connections;
mod ports;
mod server;

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::net::SocketAddr;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::Histogram;
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use connections::Connections;
use ports::{PortLabel, Ports};
pub use server::{Bound, bind};

use super::RenderContext;
use crate::error::Error;
use tcptop_core::{
    Engine, Event, Filter, Flow, Leg, Missed, Outcome, Party, ReaderConfig, ReaderId, ResetReason,
    Retransmit, Snapshot, SnapshotRequest, Span,
};

/// Upper bounds of the histograms of times, in seconds: a local network, a region, another continent, the first three
/// retransmissions of a SYN.
const SECONDS: [f64; 14] =
    [0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 7.0];
/// Upper bounds of the histogram of SYNs sent.
const TRIES: [f64; 5] = [1.0, 2.0, 3.0, 4.0, 6.0];

/// Labels of an attempt.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AttemptLabels {
    interface: String,
    role: &'static str,
    outcome: &'static str,
    port: PortLabel,
}

/// Labels of a part of a handshake.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LegLabels {
    interface: String,
    role: &'static str,
    leg: &'static str,
    port: PortLabel,
}

/// Labels of what is the same on every interface.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ServiceLabels {
    role: &'static str,
    port: PortLabel,
}

/// Labels of a retransmit.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RetransmitLabels {
    direction: &'static str,
    kind: &'static str,
    port: PortLabel,
}

/// Labels of a closed connection.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CloseLabels {
    role: &'static str,
    closed_by: &'static str,
    port: PortLabel,
}

/// Labels of a RST.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ResetLabels {
    direction: &'static str,
    reason: &'static str,
}

/// What is missing, by kind.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct MissedLabels {
    what: &'static str,
}

type Times<L> = Family<L, Histogram, fn() -> Histogram>;

/// Where metrics are served, and which of them there are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The address to listen on.
    pub address: SocketAddr,
    /// How many service ports have series of their own.
    pub ports: usize,
    /// How many connections have, at the same time; `None` for none at all.
    pub connections: Option<usize>,
}

/// The metrics of a run, and their place in the engine's events.
#[derive(Debug)]
pub struct MetricsReader {
    metrics: Metrics,
    reader: ReaderId,
}

impl MetricsReader {
    /// Reads the engine from now on, unfiltered, and serves what it reads.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(plan: Plan, bound: Bound, engine: &mut Engine) -> Result<Self, Error> {
        let metrics = Metrics::new(plan.ports, plan.connections);
        let reader = engine.add_reader(ReaderConfig { events: Some(Filter::default()), log: false });
        bound.serve(metrics.registry())?;
        Ok(Self { metrics, reader })
    }

    /// Counts the events since the last time.
    pub fn deliver(&mut self, engine: &mut Engine, context: &RenderContext) {
        engine.poll_events(self.reader).for_each(|event| self.metrics.event(event, context));
    }

    /// Counts what only totals say.
    pub fn refresh(&mut self, engine: &mut Engine, now_ns: u64) {
        let request = SnapshotRequest::totals(Span::SinceStart);
        self.metrics.totals(&engine.snapshot(self.reader, &request, now_ns));
    }
}

/// Every metric.
struct Metrics {
    registry: Arc<Registry>,
    ports: Ports,
    connections: Option<Connections>,
    attempts: Family<AttemptLabels, Counter>,
    legs: Times<LegLabels>,
    tries: Times<ServiceLabels>,
    retransmits: Family<RetransmitLabels, Counter>,
    closes: Family<CloseLabels, Counter>,
    resets: Family<ResetLabels, Counter>,
    segments: Counter,
    retransmitted: Counter,
    missed: Family<MissedLabels, Counter>,
    flows: Gauge,
    folded_ports: Counter,
}

impl Debug for Metrics {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Metrics that are all 0. Up to so many service ports have series of their own; retransmits of up to so many connections
    /// have, too, if any are to.
    fn new(ports: usize, connections: Option<usize>) -> Self {
        let times: fn() -> Histogram = || Histogram::new(SECONDS);
        let tries: fn() -> Histogram = || Histogram::new(TRIES);
        let mut metrics = Self {
            registry: Arc::default(),
            ports: Ports::new(ports),
            connections: connections.map(Connections::new),
            attempts: Family::default(),
            legs: Family::new_with_constructor(times),
            tries: Family::new_with_constructor(tries),
            retransmits: Family::default(),
            closes: Family::default(),
            resets: Family::default(),
            segments: Counter::default(),
            retransmitted: Counter::default(),
            missed: Family::default(),
            flows: Gauge::default(),
            folded_ports: Counter::default(),
        };
        metrics.registry = Arc::new(metrics.registered());
        metrics
    }

    /// What is scraped. It may be read at any time, from any thread.
    fn registry(&self) -> Arc<Registry> {
        Arc::clone(&self.registry)
    }

    fn registered(&self) -> Registry {
        let mut all = Registry::default();
        let build = Info::new([("version", env!("CARGO_PKG_VERSION"))]);
        let registry = all.sub_registry_with_prefix("tcptop");
        registry.register("build", "What serves this", build);
        registry.register(
            "handshakes",
            "Connection attempts whose outcome was decided",
            self.attempts.clone(),
        );
        let what = "How long parts of established handshakes took: server (SYN to SYN-ACK), client (SYN-ACK to ACK), \
            turnaround (SYN to SYN-ACK at this host) and setup (first SYN to ACK)";
        registry.register_with_unit("handshake_duration", what, Unit::Seconds, self.legs.clone());
        registry.register("syn_tries", "SYNs that an attempt took", self.tries.clone());
        registry.register("retransmits", "Retransmitted segments", self.retransmits.clone());
        registry.register("closes", "Connections that ended", self.closes.clone());
        let what = "RSTs that ended an attempt or a connection: sent ones by the kernel's reason (unknown where it says none), \
            received ones by how far the connection was";
        registry.register("resets", what, self.resets.clone());
        let what = "SYNs, SYN-ACKs and segments with data that passed, both directions";
        registry.register("segments", what, self.segments.clone());
        let what = "Those of tcptop_segments that were retransmitted";
        registry.register("segments_retransmitted", what, self.retransmitted.clone());
        let what = "What is known to be missing from all other metrics, by kind";
        registry.register("missed", what, self.missed.clone());
        registry.register("flows", "Connections and attempts that are tracked now", self.flows.clone());
        let what = "Attempts whose port is the label other, because other ports were there first";
        registry.register("folded_attempts", what, self.folded_ports.clone());
        if let Some(connections) = &self.connections {
            connections.register(&mut all);
        }
        all
    }

    /// Counts an event.
    fn event(&mut self, event: &Event, context: &RenderContext) {
        if let Event::Handshake(flow) | Event::Close(flow) = event {
            self.reset(flow);
        }
        match event {
            Event::Handshake(flow) => self.handshake(flow, context),
            Event::Close(flow) => self.close(flow),
            Event::Retransmit(retransmit) => self.retransmit(retransmit),
        }
    }

    /// Counts what only totals say.
    fn totals(&mut self, snapshot: &Snapshot) {
        if let Some(connections) = &mut self.connections {
            connections.expire(snapshot.taken_ns);
        }
        let counts = &snapshot.total.counts;
        raise(&self.segments, counts.segments());
        raise(&self.retransmitted, counts.retransmits());
        let mut missed = BTreeMap::new();
        for kind in Missed::all() {
            *missed.entry(what(kind)).or_default() += snapshot.missed.of_kind(kind);
        }
        for (what, number) in missed {
            raise(&self.missed.get_or_create(&MissedLabels { what }), number);
        }
        self.flows.set(i64::try_from(snapshot.flow_count).unwrap_or(i64::MAX));
    }

    fn handshake(&mut self, flow: &Flow, context: &RenderContext) {
        let (interface, role) = (context.interface(flow.interface()), role(flow));
        let outcome = flow.outcome();
        let port = self.ports.label(flow.peer().service.port, outcome == Outcome::Established);
        if port == PortLabel::Other {
            self.folded_ports.inc();
        }
        if let Some(tries) = flow.tries() {
            self.tries.get_or_create(&ServiceLabels { role, port }).observe(f64::from(tries));
        }
        if outcome == Outcome::Established {
            let exact = |leg: Option<Leg>| leg.and_then(Leg::exact);
            for (leg, ns) in [
                ("server", exact(flow.server_leg())),
                ("client", exact(flow.client_leg())),
                ("turnaround", exact(flow.turnaround())),
                ("setup", flow.setup_ns()),
            ] {
                let Some(ns) = ns else { continue };
                let labels = LegLabels { interface: interface.clone(), role, leg, port };
                self.legs.get_or_create(&labels).observe(seconds(ns));
            }
        }
        let labels = AttemptLabels { interface, role, outcome: outcome.label(), port };
        self.attempts.get_or_create(&labels).inc();
        if outcome != Outcome::Established
            && let Some(connections) = &mut self.connections
        {
            connections.end(flow);
        }
    }

    fn retransmit(&mut self, retransmit: &Retransmit) {
        let direction = match retransmit.by {
            Party::Local => "sent",
            Party::Remote => "received",
        };
        let port = self.ports.known(retransmit.flow.peer().service.port);
        let labels = RetransmitLabels { direction, kind: retransmit.kind.label(), port };
        let segments = u64::from(retransmit.segments);
        self.retransmits.get_or_create(&labels).inc_by(segments);
        if let Some(connections) = &mut self.connections {
            connections.retransmit(retransmit);
        }
    }

    fn reset(&mut self, flow: &Flow) {
        let Some(reset) = flow.reset() else { return };
        let labels = match reset.by {
            Party::Local => {
                ResetLabels { direction: "sent", reason: reset.reason.map_or("unknown", ResetReason::label) }
            }
            Party::Remote => ResetLabels { direction: "received", reason: reset.stage.label() },
        };
        self.resets.get_or_create(&labels).inc();
    }

    fn close(&mut self, flow: &Flow) {
        let closed_by = match flow.closed_by() {
            Some(Party::Local) => "local",
            Some(Party::Remote) => "remote",
            None => "unknown",
        };
        let port = self.ports.known(flow.peer().service.port);
        self.closes.get_or_create(&CloseLabels { role: role(flow), closed_by, port }).inc();
        if let Some(connections) = &mut self.connections {
            connections.end(flow);
        }
    }
}

/// What is missed, as a label. Kinds of records and of packets are in the JSON.
const fn what(missed: Missed) -> &'static str {
    match missed {
        Missed::Record(_) | Missed::Undecodable => "record",
        Missed::Packet(_) | Missed::Unreadable => "packet",
        Missed::KernelFlow => "kernel_flow",
        Missed::Flow => "flow",
        Missed::Peer => "peer",
        Missed::Line => "line",
    }
}

fn role(flow: &Flow) -> &'static str {
    flow.role().map_or("unknown", |role| role.name())
}

#[allow(clippy::cast_precision_loss, reason = "a histogram's bounds are coarser")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// Sets a counter to a total that only grows. A smaller one is an error of whoever counts, and changes nothing.
fn raise(counter: &Counter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
