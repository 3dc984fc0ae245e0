//! Records made by hand, for the tests of the pure core.
#![allow(dead_code, unreachable_pub, reason = "each test takes what it needs")]

pub mod shown;
pub mod stage;
pub mod wire;

use probe_common::segment::mapped;
use probe_common::{Direction, Endpoint, Kind, Record, SegmentClass, TcpFlags, Timestamps};
use tcptop_core::table::stats::StatsConfig;
use tcptop_core::table::{Event, FlowReport, FlowTable, Limits, Thresholds};

pub const MS: u64 = 1_000_000;
pub const S: u64 = 1_000 * MS;

/// The interface of all records, unless they say otherwise.
pub const INTERFACE: u32 = 7;

pub fn v4(a: u8, b: u8, c: u8, d: u8, port: u16) -> Endpoint {
    Endpoint { address: mapped([a, b, c, d]), port }
}

pub fn v6(text: &str, port: u16) -> Endpoint {
    Endpoint { address: text.parse::<std::net::Ipv6Addr>().expect("an address").octets(), port }
}

pub fn limits(flows: usize) -> Limits {
    let stats = StatsConfig { window_ns: 10 * S, thresholds: Thresholds::default(), peer_bytes: 64 << 20 };
    Limits { flows, handshakes: None, stats }
}

/// Both ends of one connection, seen from this host.
#[derive(Clone, Copy, Debug)]
pub struct Connection {
    /// Who sends the SYN.
    pub opener: Endpoint,
    /// Who answers.
    pub responder: Endpoint,
    /// Which way the SYN passes.
    pub out: Direction,
    pub isn: u32,
    pub answer_isn: u32,
    /// TSval of the opener's and of the responder's next segment.
    pub timestamps: Option<(u32, u32)>,
}

impl Connection {
    /// This host opens one to `remote` from `port`.
    pub fn to(remote: Endpoint, port: u16) -> Self {
        let opener = v4(10, 0, 0, 1, port);
        let (isn, answer_isn) = (1_000 + u32::from(port), 0xffff_fff0);
        Self { opener, responder: remote, out: Direction::Egress, isn, answer_isn, timestamps: None }
    }

    /// `remote` opens one to `port` of this host.
    pub fn from(remote: Endpoint, port: u16) -> Self {
        let mut connection = Self::to(remote, port);
        (connection.opener, connection.responder) = (connection.responder, connection.opener);
        connection.out = Direction::Ingress;
        connection
    }

    fn record(&self, time_ns: u64, kind: Kind, from_opener: bool) -> Record {
        let back = match self.out {
            Direction::Egress => Direction::Ingress,
            Direction::Ingress => Direction::Egress,
            same @ (Direction::Local | Direction::Unknown) => same,
        };
        let (source, destination, direction) = if from_opener {
            (self.opener, self.responder, self.out)
        } else {
            (self.responder, self.opener, back)
        };
        let flags = match kind {
            Kind::Syn => TcpFlags::SYN,
            Kind::SynAck => TcpFlags::SYN.with(TcpFlags::ACK),
            Kind::Ack | Kind::Retransmit | Kind::Evicted => TcpFlags::ACK,
            Kind::Rst => TcpFlags::RST.with(TcpFlags::ACK),
            Kind::Fin => TcpFlags::FIN.with(TcpFlags::ACK),
        };
        let (opener_next, responder_next) = (self.isn.wrapping_add(1), self.answer_isn.wrapping_add(1));
        let (seq, ack) = match (kind, from_opener) {
            (Kind::Syn, _) => (self.isn, 0),
            (Kind::SynAck, _) => (self.answer_isn, opener_next),
            (_, true) => (opener_next, responder_next),
            (_, false) => (responder_next, opener_next),
        };
        let timestamps = self.timestamps.map_or_else(Timestamps::default, |(opener, responder)| {
            let (value, echo) = if from_opener { (opener, responder) } else { (responder, opener) };
            Timestamps { value, echo: if kind == Kind::Syn { 0 } else { echo }, present: true }
        });
        Record {
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
            arrival: SegmentClass::NEW,
            volumes: Default::default(),
        }
    }

    pub fn syn(&self, time_ns: u64) -> Record {
        self.record(time_ns, Kind::Syn, true)
    }

    pub fn syn_ack(&self, time_ns: u64) -> Record {
        self.record(time_ns, Kind::SynAck, false)
    }

    pub fn ack(&self, time_ns: u64) -> Record {
        self.record(time_ns, Kind::Ack, true)
    }

    pub fn rst_of_opener(&self, time_ns: u64) -> Record {
        self.record(time_ns, Kind::Rst, true)
    }

    pub fn rst_of_responder(&self, time_ns: u64) -> Record {
        self.record(time_ns, Kind::Rst, false)
    }

    pub fn fin_of_opener(&self, time_ns: u64) -> Record {
        self.record(time_ns, Kind::Fin, true)
    }

    pub fn fin_of_responder(&self, time_ns: u64) -> Record {
        self.record(time_ns, Kind::Fin, false)
    }
}

/// A table with room, and everything that it told.
pub struct Watched {
    pub table: FlowTable,
    pub events: Vec<Event>,
}

impl Watched {
    pub fn new() -> Self {
        Self::with_room(65_536)
    }

    pub fn with_room(flows: usize) -> Self {
        Self { table: FlowTable::new(&limits(flows)), events: Vec::new() }
    }

    pub fn see(&mut self, records: impl IntoIterator<Item = Record>) -> &mut Self {
        for record in records {
            self.table.handle(&record);
        }
        self.events.extend(self.table.take_events());
        self
    }

    pub fn expire(&mut self, now_ns: u64) -> &mut Self {
        self.table.expire(now_ns);
        self.events.extend(self.table.take_events());
        self
    }

    pub fn finish(&mut self, now_ns: u64) -> &mut Self {
        self.table.finish(now_ns);
        self.events.extend(self.table.take_events());
        self
    }

    pub fn handshakes(&self) -> Vec<&FlowReport> {
        let told = self.events.iter().filter_map(|event| match event {
            Event::Handshake(report) => Some(report),
            Event::Close(_) | Event::Retransmit(_) => None,
        });
        told.collect()
    }

    pub fn closes(&self) -> Vec<&FlowReport> {
        let told = self.events.iter().filter_map(|event| match event {
            Event::Close(report) => Some(report),
            Event::Handshake(_) | Event::Retransmit(_) => None,
        });
        told.collect()
    }

    /// The one handshake that was told.
    pub fn only(&self) -> &FlowReport {
        let [report] = self.handshakes()[..] else { panic!("{:?}", self.events) };
        report
    }
}
