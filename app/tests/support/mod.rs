//! Records built by hand, and an engine that handles them.
#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

pub mod shown;
pub mod stage;
pub mod wire;

use std::collections::BTreeMap;

use probe_common::key::Ends;
use probe_common::segment::mapped;
use probe_common::{
    Direction, Endpoint, Record, SegmentClass, SegmentKind, SegmentRecord, TcpFlags, Timestamps, Transmission,
};
use proptest::test_runner::{Config as ProptestConfig, RngSeed};
use tcptop_core::{
    Engine, EngineConfig, Event, Filter, Flow, FlowVolumes, Input, Missed, ReaderConfig, ReaderId, Snapshot,
    SnapshotRequest, Span, Thresholds,
};

/// How properties are tried: so many cases, the same in every run, so that a change is judged by what it changes. With
/// `TCPTOP_CASES`, so many new ones: `cargo xtask nightly` sets it, and a failing case then becomes a test of its own.
pub fn properties(cases: u32) -> ProptestConfig {
    let tried =
        std::env::var("TCPTOP_CASES").ok().map(|cases| cases.parse().expect("TCPTOP_CASES is a number"));
    let defaults = ProptestConfig { failure_persistence: None, ..ProptestConfig::default() };
    match tried {
        Some(cases) => ProptestConfig { cases, ..defaults },
        None => ProptestConfig { cases, rng_seed: RngSeed::Fixed(0), ..defaults },
    }
}

pub const MS: u64 = 1_000_000;
pub const S: u64 = 1_000 * MS;

/// The interface of all records, unless they say otherwise.
pub const INTERFACE: u32 = 7;

/// Two ends as flow states have them, the low one first.
pub fn ends(low: Endpoint, high: Endpoint) -> Ends {
    let words = |end: Endpoint| {
        let (high, low) = end.address.split_at(8);
        [high, low].map(|half| u64::from_be_bytes(half.try_into().expect("8 bytes")))
    };
    Ends { addresses: [low, high].map(words), ports: [low.port, high.port], interface: INTERFACE }
}

pub fn v4(a: u8, b: u8, c: u8, d: u8, port: u16) -> Endpoint {
    Endpoint { address: mapped([a, b, c, d]), port }
}

pub fn v6(text: &str, port: u16) -> Endpoint {
    Endpoint { address: text.parse::<std::net::Ipv6Addr>().expect("an address").octets(), port }
}

/// An engine with room for so many flows.
pub fn config(max_flows: usize) -> EngineConfig {
    EngineConfig { max_flows, peer_bytes: 64 << 20, thresholds: thresholds(), ..EngineConfig::default() }
}

/// The default thresholds, but for single attempts: most tests need no more.
pub fn thresholds() -> Thresholds {
    Thresholds { min_attempts: 1, ..Thresholds::default() }
}

/// Both ends of one connection, seen from this host.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// Who sends the SYN.
    pub opener: Endpoint,
    /// Who answers.
    pub responder: Endpoint,
    /// The direction of the SYN.
    pub out: Direction,
    pub isn: u32,
    pub answer_isn: u32,
    /// TSval of the opener's and of the responder's next segment.
    pub timestamps: Option<(u32, u32)>,
}

impl Connection {
    /// A connection that this host opens to `remote` from `port`.
    pub fn to(remote: Endpoint, port: u16) -> Self {
        let opener = v4(10, 0, 0, 1, port);
        let (isn, answer_isn) = (1_000 + u32::from(port), 0xffff_fff0);
        Self { opener, responder: remote, out: Direction::Egress, isn, answer_isn, timestamps: None }
    }

    /// A connection that `remote` opens to `port` of this host.
    pub fn from(remote: Endpoint, port: u16) -> Self {
        let mut connection = Self::to(remote, port);
        (connection.opener, connection.responder) = (connection.responder, connection.opener);
        connection.out = Direction::Ingress;
        connection
    }

    /// Who sends, to whom, and which way that passes.
    fn way(&self, from_opener: bool) -> (Endpoint, Endpoint, Direction) {
        let back = match self.out {
            Direction::Egress => Direction::Ingress,
            Direction::Ingress => Direction::Egress,
            same @ (Direction::Local | Direction::Unknown) => same,
        };
        if from_opener {
            (self.opener, self.responder, self.out)
        } else {
            (self.responder, self.opener, back)
        }
    }

    fn record(&self, time_ns: u64, kind: SegmentKind, from_opener: bool) -> SegmentRecord {
        let (source, destination, direction) = self.way(from_opener);
        let flags = match kind {
            SegmentKind::Syn => TcpFlags::SYN,
            SegmentKind::SynAck => TcpFlags::SYN.with(TcpFlags::ACK),
            SegmentKind::Ack | SegmentKind::Retransmit => TcpFlags::ACK,
            SegmentKind::Rst => TcpFlags::RST.with(TcpFlags::ACK),
            SegmentKind::Fin => TcpFlags::FIN.with(TcpFlags::ACK),
        };
        let (opener_next, responder_next) = (self.isn.wrapping_add(1), self.answer_isn.wrapping_add(1));
        let (seq, ack) = match (kind, from_opener) {
            (SegmentKind::Syn, _) => (self.isn, 0),
            (SegmentKind::SynAck, _) => (self.answer_isn, opener_next),
            (_, true) => (opener_next, responder_next),
            (_, false) => (responder_next, opener_next),
        };
        let timestamps = self.timestamps.map_or_else(Timestamps::default, |(opener, responder)| {
            let (value, echo) = if from_opener { (opener, responder) } else { (responder, opener) };
            Timestamps { value, echo: if kind == SegmentKind::Syn { 0 } else { echo }, present: true }
        });
        SegmentRecord {
            time_ns,
            interface: INTERFACE,
            kind,
            direction,
            source,
            destination,
            seq,
            ack,
            flags,
            payload_len: 0,
            timestamps,
            segments: 1,
            class: SegmentClass::NEW,
            volumes: Default::default(),
            encapsulation: Default::default(),
            cookie: 0,
            said: Transmission::UNKNOWN,
            dsacks: None,
            ttl: None,
            reset: None,
            timebase: 0,
        }
    }

    pub fn syn(&self, time_ns: u64) -> SegmentRecord {
        self.record(time_ns, SegmentKind::Syn, true)
    }

    pub fn syn_ack(&self, time_ns: u64) -> SegmentRecord {
        self.record(time_ns, SegmentKind::SynAck, false)
    }

    pub fn ack(&self, time_ns: u64) -> SegmentRecord {
        self.record(time_ns, SegmentKind::Ack, true)
    }

    pub fn rst_of_opener(&self, time_ns: u64) -> SegmentRecord {
        self.record(time_ns, SegmentKind::Rst, true)
    }

    pub fn rst_of_responder(&self, time_ns: u64) -> SegmentRecord {
        self.record(time_ns, SegmentKind::Rst, false)
    }

    pub fn fin_of_opener(&self, time_ns: u64) -> SegmentRecord {
        self.record(time_ns, SegmentKind::Fin, true)
    }

    pub fn fin_of_responder(&self, time_ns: u64) -> SegmentRecord {
        self.record(time_ns, SegmentKind::Fin, false)
    }
}

/// When the engines of these tests start, unless they say otherwise.
pub const START: u64 = 1_000 * S;

/// An engine, a reader of everything, and every event so far.
pub struct Watched {
    pub engine: Engine,
    pub reader: ReaderId,
    pub events: Vec<Event>,
}

impl Watched {
    pub fn new() -> Self {
        Self::with_room(65_536)
    }

    pub fn with_room(flows: usize) -> Self {
        Self::with(&config(flows), START)
    }

    pub fn with(config: &EngineConfig, started_ns: u64) -> Self {
        let mut engine = Engine::new(config, started_ns);
        engine.handle(Input::Interfaces(&BTreeMap::from([(INTERFACE, "enp0s1".to_owned())])));
        let reader = engine.add_reader(ReaderConfig { events: Some(Filter::default()), log: true });
        Self { engine, reader, events: Vec::new() }
    }

    pub fn handle(&mut self, input: Input<'_>) -> &mut Self {
        self.engine.handle(input);
        self.events.extend(self.engine.poll_events(self.reader).cloned());
        self
    }

    pub fn see(&mut self, records: impl IntoIterator<Item = impl Into<Record>>) -> &mut Self {
        let records: Vec<Record> = records.into_iter().map(Into::into).collect();
        self.handle(Input::Records(&records))
    }

    pub fn sent(&mut self, flow: FlowVolumes, now_ns: u64) -> &mut Self {
        self.handle(Input::Volumes { flows: &[flow], now_ns })
    }

    pub fn expire(&mut self, now_ns: u64) -> &mut Self {
        self.handle(Input::Time { now_ns })
    }

    pub fn finish(&mut self, now_ns: u64) -> &mut Self {
        self.handle(Input::End { now_ns })
    }

    /// A snapshot with everything that one can have, independent of earlier ones.
    pub fn snapshot(&mut self, span: Span, now_ns: u64) -> Snapshot {
        let request = SnapshotRequest {
            rows: 10_000,
            selected_flows: 10_000,
            flows: 10_000,
            ..SnapshotRequest::totals(span)
        };
        let fresh = self.engine.add_reader(ReaderConfig::default());
        self.engine.snapshot(fresh, &request, now_ns)
    }

    /// Every flow in the table, newest first.
    pub fn flows(&mut self, now_ns: u64) -> Vec<Flow> {
        self.snapshot(Span::SinceStart, now_ns).flows.expect("asked for").rows
    }

    /// How many flows are known, and how many were evicted before they had ended, those of strangers too.
    pub fn kept_and_evicted(&mut self) -> (usize, u64) {
        let snapshot = self.snapshot(Span::SinceStart, START);
        (snapshot.flow_count, snapshot.missed.of_kind(Missed::Flow) + snapshot.strangers.evicted)
    }

    pub fn handshakes(&self) -> Vec<&Flow> {
        let reported = self.events.iter().filter_map(|event| match event {
            Event::Handshake(report) | Event::Correction(report, _) => Some(report),
            Event::Close(_) | Event::Retransmit(_) | Event::KernelRetransmit(_) => None,
        });
        reported.collect()
    }

    pub fn closes(&self) -> Vec<&Flow> {
        let reported = self.events.iter().filter_map(|event| match event {
            Event::Close(report) => Some(report),
            Event::Handshake(_)
            | Event::Correction(..)
            | Event::Retransmit(_)
            | Event::KernelRetransmit(_) => None,
        });
        reported.collect()
    }

    /// The only handshake that was reported.
    pub fn only(&self) -> &Flow {
        let [report] = self.handshakes()[..] else { panic!("{:?}", self.events) };
        report
    }
}
