//! Counters and histograms for Prometheus, over everything that the engine reports.
//!
//! No label is an address or an ephemeral port, so no flood makes series. Counters only grow: what a person does on the screen
//! changes none of them.

mod bounded;
mod connections;
mod facts;
mod peers;
mod place;
mod server;
mod sockets;

use std::collections::BTreeMap;
use std::fmt::{self, Debug, Formatter};
use std::net::SocketAddr;
use std::sync::Arc;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, NativeHistogramConfig};
use prometheus_client::metrics::info::Info;
use prometheus_client::registry::{Registry, Unit};

use connections::Connections;
pub use facts::flow_metrics;
use peers::{Peers, direction};
pub use place::OwnerLabel;
use place::{Place, Places, PortLabel, Service};
pub use server::{Bound, bind};
use sockets::Sockets;

use super::RenderContext;
use crate::error::Error;
use tcptop_core::{
    Dropped, Engine, Event, Filter, Flow, Leg, Missed, Outcome, Party, ReaderConfig, ReaderId, ResetReason,
    Retransmit, RetransmitCause, Snapshot, SnapshotRequest, Socket, Span,
};

/// Upper bounds of the histograms of times, in seconds: a local network, a region, another continent, the first three
/// retransmissions of a SYN.
const SECONDS: [f64; 14] =
    [0.000_1, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 3.0, 7.0];
/// Upper bounds of the histogram of SYNs sent.
const TRIES: [f64; 5] = [1.0, 2.0, 3.0, 4.0, 6.0];
/// Buckets of a native histogram are so many times the one before: 8 from one power of 2 to the next.
const GROWTH: f64 = 1.1;
/// The most buckets of a native histogram. With more it becomes coarser.
const BUCKETS: usize = 160;

/// Labels of an attempt.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AttemptLabels {
    outcome: &'static str,
    #[prometheus(flatten)]
    place: Place,
}

/// Labels of a part of a handshake.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct LegLabels {
    leg: &'static str,
    #[prometheus(flatten)]
    place: Place,
}

/// Labels of a retransmit.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RetransmitLabels {
    direction: &'static str,
    kind: &'static str,
    cause: &'static str,
    #[prometheus(flatten)]
    service: Service,
}

/// Labels of a closed connection.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct CloseLabels {
    outcome: &'static str,
    closed_by: &'static str,
    #[prometheus(flatten)]
    service: Service,
}

/// Labels of segments that this host dropped.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct DropLabels {
    reason: String,
    segment: &'static str,
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

/// A histogram of times: with fixed bounds, and for those who take it a native one.
fn times<L: Clone + std::hash::Hash + Eq>() -> Times<L> {
    Family::new_with_constructor(|| {
        let native = NativeHistogramConfig::new(GROWTH).max_buckets(BUCKETS);
        Histogram::new_classic_and_native(SECONDS, native)
    })
}

/// Where metrics are served, and which of them there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The address to listen on; `None` if nothing is served.
    pub address: Option<SocketAddr>,
    /// How many service ports have series of their own.
    pub ports: usize,
    /// How many connections have, at the same time; `None` for none at all.
    pub connections: Option<usize>,
    /// How many peers have, at the same time; `None` for none at all.
    pub peers: Option<usize>,
    /// What of owners is a label.
    pub labels: Vec<OwnerLabel>,
}

/// The metrics of a run, and their place in the engine's events.
#[derive(Debug)]
pub struct MetricsReader {
    metrics: Metrics,
    reader: ReaderId,
}

impl MetricsReader {
    /// Reads the engine from now on, unfiltered, and serves what it reads if there is an address.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(plan: &Plan, bound: Option<Bound>, engine: &mut Engine) -> Result<Self, Error> {
        let metrics = Metrics::new(plan);
        let reader = engine.add_reader(ReaderConfig { events: Some(Filter::default()), log: false });
        if let Some(bound) = bound {
            bound.serve(metrics.registry())?;
        }
        Ok(Self { metrics, reader })
    }

    /// What can be scraped or sent, at any time and from any thread.
    #[must_use]
    pub fn registry(&self) -> Arc<Registry> {
        self.metrics.registry()
    }

    /// Whose lines that were lost the metrics count.
    #[must_use]
    pub const fn reader(&self) -> ReaderId {
        self.reader
    }

    /// Counts the events since the last time.
    pub fn deliver(&mut self, engine: &mut Engine, context: &RenderContext) {
        engine.poll_events(self.reader).for_each(|event| self.metrics.event(event, context));
    }

    /// Takes in sockets that the kernel lists.
    pub fn list(&mut self, sockets: &[Socket], is_last: bool) {
        self.metrics.sockets.list(sockets, is_last);
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
    places: Places,
    connections: Option<Connections>,
    peers: Option<Peers>,
    sockets: Sockets,
    attempts: Family<AttemptLabels, Counter>,
    legs: Times<LegLabels>,
    tries: Times<Service>,
    retransmits: Family<RetransmitLabels, Counter>,
    closes: Family<CloseLabels, Counter>,
    resets: Family<ResetLabels, Counter>,
    segments: Counter,
    retransmitted: Counter,
    drops: Family<DropLabels, Counter>,
    /// What of drops is counted already.
    dropped: BTreeMap<(Arc<str>, Option<u16>, bool), u64>,
    missed: Family<MissedLabels, Counter>,
    flows: Gauge,
}

impl Debug for Metrics {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        f.debug_struct("Metrics").finish_non_exhaustive()
    }
}

impl Metrics {
    /// Metrics that are all 0.
    fn new(plan: &Plan) -> Self {
        let mut metrics = Self {
            registry: Arc::default(),
            places: Places::new(plan.ports, plan.labels.clone()),
            connections: plan.connections.map(Connections::new),
            peers: plan.peers.map(Peers::new),
            sockets: Sockets::new(plan.connections),
            attempts: Family::default(),
            legs: times(),
            tries: Family::new_with_constructor(|| Histogram::new(TRIES)),
            retransmits: Family::default(),
            closes: Family::default(),
            resets: Family::default(),
            segments: Counter::default(),
            retransmitted: Counter::default(),
            drops: Family::default(),
            dropped: BTreeMap::new(),
            missed: Family::default(),
            flows: Gauge::default(),
        };
        // From the start on, so that the first one that is missed is an increase.
        Missed::all().for_each(|kind| _ = metrics.missed.get_or_create(&MissedLabels { what: what(kind) }));
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
        // Before the whole that they are a part of: a scrape reads in this order, and the whole is raised first.
        let what = "Those of tcptop_segments that were retransmitted";
        registry.register("segments_retransmitted", what, self.retransmitted.clone());
        let what = "SYNs, SYN-ACKs and segments with data that passed, both directions";
        registry.register("segments", what, self.segments.clone());
        let what = "Segments that came in and that this host itself dropped, by the kernel's reason";
        registry.register("drops", what, self.drops.clone());
        let what = "What is known to be missing from all other metrics, by kind";
        registry.register("missed", what, self.missed.clone());
        registry.register("flows", "Connections and attempts that are tracked now", self.flows.clone());
        let what = "Attempts that have the value other for a label, because other values were there first";
        registry.register("folded_attempts", what, self.places.folded.clone());
        if let Some(peers) = &self.peers {
            peers.register(registry);
        }
        if let Some(connections) = &self.connections {
            connections.register(&mut all);
        }
        all.register_collector(self.sockets.collector());
        all
    }

    /// Counts an event.
    fn event(&mut self, event: &Event, context: &RenderContext) {
        // One that was given up, and goes on, had no RST before.
        if let Event::Handshake(flow) | Event::Correction(flow, _) | Event::Close(flow) = event {
            self.reset(flow);
        }
        match event {
            Event::Handshake(flow) => self.handshake(flow, context),
            // Counters never go back: the attempt is counted already, with the outcome that it had then.
            Event::Correction(flow, _) => self.end_unless_established(flow),
            Event::Close(flow) => self.close(flow, context),
            Event::Retransmit(retransmit) => self.retransmit(retransmit, context),
            // The wire's are counted.
            Event::KernelRetransmit(_) => {}
        }
    }

    /// Counts what only totals say.
    fn totals(&mut self, snapshot: &Snapshot) {
        if let Some(connections) = &mut self.connections {
            connections.expire(snapshot.taken_ns);
        }
        if let Some(peers) = &mut self.peers {
            peers.expire(snapshot.taken_ns);
        }
        snapshot.drops.iter().flatten().for_each(|dropped| self.drop_grew(dropped));
        let mut missed = BTreeMap::new();
        for kind in Missed::all() {
            *missed.entry(what(kind)).or_default() += snapshot.missed.of_kind(kind);
        }
        for (what, number) in missed {
            raise(&self.missed.get_or_create(&MissedLabels { what }), number);
        }
        // After what is missed: whoever sees these knows that, too.
        let counts = &snapshot.total.counts;
        raise(&self.segments, counts.segments());
        raise(&self.retransmitted, counts.retransmits());
        self.flows.set(i64::try_from(snapshot.flow_count).unwrap_or(i64::MAX));
    }

    /// A port may have series of its own later: only what came since is counted there then.
    fn drop_grew(&mut self, Dropped { reason, port, is_syn, count }: &Dropped) {
        let counted = self.dropped.entry((Arc::clone(reason), *port, *is_syn)).or_default();
        let segment = if *is_syn { "syn" } else { "any" };
        let labels = DropLabels { reason: reason.to_string(), segment, port: self.places.port(*port) };
        self.drops.get_or_create(&labels).inc_by(count.saturating_sub(*counted));
        *counted = (*counted).max(*count);
    }

    fn handshake(&mut self, flow: &Flow, context: &RenderContext) {
        let outcome = flow.outcome();
        let place = self.places.of_attempt(flow, context);
        if let Some(tries) = flow.tries() {
            self.tries.get_or_create(&place.service).observe(f64::from(tries));
        }
        if let Some(peers) = &mut self.peers {
            peers.handshake(flow, &self.places.folded);
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
                self.legs.get_or_create(&LegLabels { leg, place: place.clone() }).observe(seconds(ns));
            }
        }
        self.attempts.get_or_create(&AttemptLabels { outcome: outcome.label(), place }).inc();
        self.end_unless_established(flow);
    }

    fn end_unless_established(&mut self, flow: &Flow) {
        if flow.outcome() != Outcome::Established
            && let Some(connections) = &mut self.connections
        {
            connections.end(flow);
        }
    }

    fn retransmit(&mut self, retransmit: &Retransmit, context: &RenderContext) {
        let labels = RetransmitLabels {
            direction: direction(retransmit.by),
            kind: retransmit.kind.label(),
            cause: retransmit.cause.map_or("unknown", RetransmitCause::label),
            service: self.places.of(&retransmit.flow, context).service,
        };
        self.retransmits.get_or_create(&labels).inc_by(u64::from(retransmit.segments));
        if let Some(peers) = &mut self.peers {
            peers.retransmit(retransmit);
        }
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

    fn close(&mut self, flow: &Flow, context: &RenderContext) {
        let closed_by = match flow.closed_by() {
            Some(Party::Local) => "local",
            Some(Party::Remote) => "remote",
            None => "unknown",
        };
        let service = self.places.of(flow, context).service;
        let labels = CloseLabels { outcome: flow.outcome().label(), closed_by, service };
        self.closes.get_or_create(&labels).inc();
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

#[allow(clippy::cast_precision_loss, reason = "a histogram's bounds are coarser")]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}

/// Sets a counter to a total that only grows. A smaller one is an error of whoever counts, and changes nothing.
fn raise(counter: &Counter, total: u64) {
    counter.inc_by(total.saturating_sub(counter.get()));
}
