//! Connections without end, as a busy host has them: so many at a time, and where one ends another one opens.

use std::cmp::Reverse;
use std::collections::BinaryHeap;

use fastrand::Rng;
use probe_common::segment::mapped;
use probe_common::{Direction, Endpoint, SegmentRecord, TcpFlags, Timestamps};

use crate::conversation::{EPHEMERAL_PORTS, segment};

/// Connections that each peer has at the same time.
const CONNECTIONS_EACH: u32 = 64;
const SERVICE: u16 = 443;
/// What each end sends in one segment: enough to be no keep-alive, and short, for nobody reads it.
const PAYLOAD: u32 = 32;
/// Records that the probe makes of a connection, on average: the test below counts them.
const RECORDS_EACH: f64 = 4.95;

/// One thing that happens to a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Act {
    Syn,
    SynAgain,
    SynAck,
    Ack,
    Data,
    DataAgain,
    Fin,
    LastFin,
    Refuse,
    Reset,
}

/// What becomes of a connection.
type Fate = &'static [Act];

const PLAIN: Fate = &[Act::Syn, Act::SynAck, Act::Ack, Act::Data, Act::Fin, Act::LastFin];
const REPEATED: Fate = &[Act::Syn, Act::SynAck, Act::Ack, Act::Data, Act::DataAgain, Act::Fin, Act::LastFin];
const RETRIED: Fate = &[Act::Syn, Act::SynAgain, Act::SynAck, Act::Ack, Act::Data, Act::Fin, Act::LastFin];
const RESET: Fate = &[Act::Syn, Act::SynAck, Act::Ack, Act::Data, Act::Reset];
const REFUSED: Fate = &[Act::Syn, Act::Refuse];
const SILENT: Fate = &[Act::Syn, Act::SynAgain, Act::SynAgain];

/// A segment on its way.
#[derive(Clone, Copy, Debug)]
pub struct Passing {
    /// What it is. Its kind is not looked at.
    pub segment: SegmentRecord,
    /// Does the probe make a record of it?
    pub is_told: bool,
}

/// The segments of all connections, by time. Every connection is one of this host's own: a client of as many peers as
/// it takes for some 64 connections with each. Of a hundred 3 are refused, 2 not answered, 3 have to repeat their SYN, 5
/// end by a RST, and 10 send data twice; three of ten speak IPv6. The same arguments give the same segments.
#[derive(Debug)]
pub struct Churn {
    peers: u32,
    /// How long a connection lasts, on average.
    life_ns: u64,
    opened: u32,
    /// What comes next of each: when, of which connection, and which of its acts.
    due: BinaryHeap<Reverse<(u64, u32, usize)>>,
}

/// What is the same in all segments of a connection.
struct Connection {
    fate: Fate,
    /// Client and server.
    ends: [Endpoint; 2],
    isns: [u32; 2],
    has_timestamps: bool,
    rtt_ns: u64,
    life_ns: u64,
}

impl Churn {
    /// So many connections at a time from `start_ns` on, that together make so many records a second. How long they
    /// last, and with it their round-trip times, follows from both.
    #[must_use]
    pub fn new(connections: u32, records_per_s: f64, start_ns: u64) -> Self {
        let life_s = f64::from(connections) * RECORDS_EACH / records_per_s;
        #[allow(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "some positive time")]
        let life_ns = (life_s * 1e9) as u64;
        let mut this = Self {
            peers: connections.div_ceil(CONNECTIONS_EACH),
            life_ns,
            opened: 0,
            due: BinaryHeap::with_capacity(connections as usize),
        };
        let mut rng = Rng::with_seed(0);
        (0..connections).for_each(|_| this.open(start_ns + rng.u64(0..life_ns.max(1))));
        this
    }

    fn open(&mut self, at_ns: u64) {
        self.due.push(Reverse((at_ns, self.opened, 0)));
        self.opened = self.opened.wrapping_add(1);
    }
}

impl Iterator for Churn {
    type Item = Passing;

    fn next(&mut self) -> Option<Passing> {
        let Reverse((now_ns, number, at)) = self.due.pop()?;
        let connection = Connection::new(number, self.peers, self.life_ns);
        let act = connection.fate[at];
        match connection.fate.get(at + 1) {
            Some(next) => self.due.push(Reverse((now_ns + connection.wait_ns(*next), number, at + 1))),
            None => self.open(now_ns),
        }
        Some(Passing { segment: connection.segment(act, now_ns), is_told: act != Act::Data })
    }
}

impl Connection {
    /// The connection of this number. It takes no room while it waits: what it is follows from its number.
    fn new(number: u32, peers: u32, mean_life_ns: u64) -> Self {
        let mut rng = Rng::with_seed(u64::from(number));
        let fate = match rng.u8(0..100) {
            0..3 => REFUSED,
            3..5 => SILENT,
            5..8 => RETRIED,
            8..13 => RESET,
            13..23 => REPEATED,
            _ => PLAIN,
        };
        // As many near as far: twice as long is as likely.
        let rtt_ns = (mean_life_ns >> rng.u32(5..12)) * rng.u64(64..128) / 64;
        Self {
            fate,
            ends: ends(number, rng.u32(0..peers)),
            isns: [rng.u32(..), rng.u32(..)],
            has_timestamps: rng.u8(0..10) > 0,
            rtt_ns,
            life_ns: mean_life_ns / 2 + rng.u64(0..mean_life_ns.max(1)),
        }
    }

    /// How long after the one before.
    fn wait_ns(&self, act: Act) -> u64 {
        match act {
            Act::Syn | Act::Ack | Act::Data => self.rtt_ns / 64,
            Act::SynAck | Act::Refuse | Act::LastFin => self.rtt_ns,
            Act::SynAgain | Act::DataAgain => 3 * self.rtt_ns,
            Act::Fin | Act::Reset => self.life_ns,
        }
    }

    fn segment(&self, act: Act, time_ns: u64) -> SegmentRecord {
        let (own, flags) = match act {
            Act::Syn | Act::SynAgain => (0, TcpFlags::SYN),
            Act::SynAck => (1, TcpFlags::SYN.with(TcpFlags::ACK)),
            Act::Ack | Act::Data | Act::DataAgain => (0, TcpFlags::ACK),
            Act::Fin => (0, TcpFlags::FIN.with(TcpFlags::ACK)),
            Act::LastFin => (1, TcpFlags::FIN.with(TcpFlags::ACK)),
            Act::Refuse | Act::Reset => (1, TcpFlags::RST.with(TcpFlags::ACK)),
        };
        // What the client has sent by now, its SYN included; the server sends no data.
        let sent = match act {
            Act::Syn | Act::SynAgain => 0,
            Act::SynAck | Act::Ack | Act::Data | Act::DataAgain | Act::Refuse => 1,
            Act::Fin | Act::Reset => 1 + PAYLOAD,
            Act::LastFin => 2 + PAYLOAD,
        };
        let answered = u32::from(!matches!(act, Act::SynAck | Act::Refuse));
        let next = [self.isns[0].wrapping_add(sent), self.isns[1].wrapping_add(answered)];
        let [value, echo] = [time_ns, time_ns - self.rtt_ns.min(time_ns)].map(milliseconds);
        let (is_acked, carries) = (flags.has(TcpFlags::ACK), matches!(act, Act::Data | Act::DataAgain));
        SegmentRecord {
            time_ns,
            direction: if own == 0 { Direction::Egress } else { Direction::Ingress },
            seq: if act == Act::Refuse { 0 } else { next[own] },
            ack: if is_acked { next[1 - own] } else { 0 },
            payload_len: if carries { PAYLOAD } else { 0 },
            timestamps: if self.has_timestamps {
                Timestamps { value, echo: if is_acked { echo } else { 0 }, present: true }
            } else {
                Timestamps::default()
            },
            ..segment(self.ends[own], self.ends[1 - own], flags)
        }
    }
}

/// The client's and the server's end. No two of 28,231 times 65,536 connections have the same.
fn ends(number: u32, peer: u32) -> [Endpoint; 2] {
    let [_, _, c, d] = number.to_be_bytes();
    let [_, _, s, t] = peer.to_be_bytes();
    let ports = u32::from(EPHEMERAL_PORTS.end - EPHEMERAL_PORTS.start);
    let port = u16::try_from((number >> 16) % ports).map_or(u16::MAX, |port| EPHEMERAL_PORTS.start + port);
    let in_net = |net: u8, high, low| {
        if peer % 10 < 3 {
            [0x20, 1, 0xd, 0xb8, 0, net, 0, 0, 0, 0, 0, 0, 0, 0, high, low]
        } else {
            mapped([10, net, high, low])
        }
    };
    [Endpoint { address: in_net(1, c, d), port }, Endpoint { address: in_net(2, s, t), port: SERVICE }]
}

fn milliseconds(ns: u64) -> u32 {
    u32::try_from(ns / 1_000_000 % (1 << 32)).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    const START_NS: u64 = 1 << 40;

    #[test]
    fn there_are_as_many_records_a_second_as_were_asked_for() {
        let mut told: Vec<u64> = Vec::new();
        let passing = Churn::new(2_000, 500_000.0, START_NS).filter(|passing| passing.is_told);
        told.extend(passing.map(|passing| passing.segment.time_ns).take(200_000));
        assert!(told.is_sorted());
        // The first lives are those in which all open at once.
        let (from, to) = (told[100_000], told[199_999]);
        let per_s = 99_999.0 / ((to - from) as f64 / 1e9);
        assert!((450_000.0..550_000.0).contains(&per_s), "{per_s}");
    }

    #[test]
    fn all_that_can_happen_does_and_the_same_way_each_time() {
        let segments = || Churn::new(100, 1_000.0, START_NS).map(|passing| passing.segment).take(5_000);
        assert!(segments().eq(segments()));
        for flag in [TcpFlags::SYN, TcpFlags::FIN, TcpFlags::RST] {
            assert!(segments().any(|segment| segment.flags.has(flag)));
        }
        let repeated =
            |one: SegmentRecord| segments().filter(|s| (s.source, s.seq) == (one.source, one.seq)).count();
        assert!(segments().take(100).any(|segment| segment.payload_len > 0 && repeated(segment) > 2));
    }
}
