//! Packets that are in the capture twice: of a mirror port, a hairpin, a router that has one port, or several interfaces.
//!
//! A copy has the same addresses, numbers, flags, length and IPv4 identification microseconds to a millisecond later; its
//! VLAN tag, time to live and link header may differ. A retransmit has another identification, as its sender counts.
//! Where there is none, a copy comes sooner than any sender can repeat itself.

use std::hash::{BuildHasher, RandomState};

use probe_common::key::mix;
use probe_common::{ParsedPacket, Segment, TcpFlags};

/// How long after a packet one with the same identification is a copy, in nanoseconds.
const IDENTIFIED_NS: u64 = 10_000_000;
/// The same without an identification, for data and what ends a connection. The round-trip time bounds it further.
const ANONYMOUS_NS: u64 = 1_000_000;
/// The same while no round-trip time is known.
const BLIND_NS: u64 = 100_000;
/// The same for a SYN or SYN-ACK: its sender waits for 200 ms at least (Linux's `TCP_RTO_MIN`).
const OPENING_NS: u64 = 10_000_000;
/// As many packets are remembered, and as many senders.
const PACKETS: usize = 4_096;
const SENDERS: usize = 1_024;

/// One packet that passed.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// Of all that a copy has in common with it; 0 for nothing.
    signature: u64,
    time_ns: u64,
    ts_value: u32,
    ts_echo: u32,
    ident: u16,
}

/// One direction of a connection.
#[derive(Clone, Copy, Default)]
struct Sender {
    /// Of both ends; 0 for nothing.
    signature: u64,
    /// Of the latest packet with an identification.
    seq: u32,
    ident: u16,
    /// Two packets with different numbers had the same one, so that it says nothing.
    is_constant: bool,
}

/// The packets of late: as many as there is room for.
pub(super) struct Copies {
    packets: Box<[Seen]>,
    senders: Box<[Sender]>,
    seed: u64,
    /// How many were copies.
    pub(super) count: u64,
}

impl Copies {
    pub(super) fn new() -> Self {
        Self {
            packets: vec![Seen::default(); PACKETS].into(),
            senders: vec![Sender::default(); SENDERS].into(),
            seed: RandomState::new().hash_one(0),
            count: 0,
        }
    }

    /// Whether this packet is a copy of one that passed, and counts it. `rtt_ns` gives the round-trip time of its connection
    /// where that is known.
    pub(super) fn is_copy(
        &mut self,
        packet: &ParsedPacket,
        time_ns: u64,
        rtt_ns: impl FnOnce() -> Option<u64>,
    ) -> bool {
        let segment = packet.segment();
        let ends = self.ends(segment, packet.interface());
        let is_counting = self.is_counting(segment, ends);
        let seen = Seen { time_ns, ..self.seen(packet, ends) };
        let slot = slot(&mut self.packets, seen.signature);
        let is_copy = seen.is_copy_of(slot, segment, is_counting, rtt_ns);
        // The first one stays: a third is a copy, too.
        if !is_copy {
            *slot = seen;
        }
        self.count += u64::from(is_copy);
        is_copy
    }

    fn ends(&self, segment: &Segment, interface: u32) -> u64 {
        let ports = u64::from(segment.source_port) << 16 | u64::from(segment.destination_port);
        let [source, destination] = [segment.source, segment.destination];
        let words =
            [source[0], source[1], destination[0], destination[1], ports << 32 | u64::from(interface)];
        words.into_iter().fold(self.seed, |hash, word| mix(hash ^ word))
    }

    /// Whether the sender gives each of its packets an identification of its own.
    fn is_counting(&mut self, segment: &Segment, ends: u64) -> bool {
        let Segment { ident, seq, .. } = *segment;
        if ident == 0 {
            return false;
        }
        let sender = slot(&mut self.senders, ends);
        if sender.signature != ends {
            *sender = Sender { signature: ends, seq, ident, is_constant: false };
        } else if sender.seq != seq {
            *sender = Sender { seq, ident, is_constant: sender.ident == ident, ..*sender };
        }
        !sender.is_constant
    }

    fn seen(&self, packet: &ParsedPacket, ends: u64) -> Seen {
        let segment = packet.segment();
        let timestamps = packet.timestamps();
        let numbers = u64::from(segment.seq) << 32 | u64::from(segment.ack);
        let rest = u64::from(segment.payload_len) << 8 | u64::from(segment.flags.0);
        Seen {
            signature: mix(mix(ends ^ numbers) ^ rest).max(1),
            time_ns: 0,
            ts_value: timestamps.value,
            ts_echo: timestamps.echo,
            ident: segment.ident,
        }
    }
}

impl Seen {
    fn is_copy_of(
        &self,
        other: &Self,
        segment: &Segment,
        is_counting: bool,
        rtt_ns: impl FnOnce() -> Option<u64>,
    ) -> bool {
        let is_same = self.signature == other.signature
            && self.ident == other.ident
            && (self.ts_value, self.ts_echo) == (other.ts_value, other.ts_echo);
        // One that is a little early is one of two queues.
        let gap_ns = self.time_ns.abs_diff(other.time_ns);
        if !is_same || gap_ns > IDENTIFIED_NS {
            return false;
        }
        if is_counting {
            return true;
        }
        if segment.flags.has(TcpFlags::SYN) {
            return gap_ns <= OPENING_NS;
        }
        // Two equal ACKs without data may be two: they say that something is missing.
        let says_nothing_new = segment.payload_len == 0 && !segment.flags.has(TcpFlags::FIN);
        if says_nothing_new && !segment.flags.has(TcpFlags::RST) {
            return false;
        }
        match rtt_ns() {
            Some(rtt_ns) => gap_ns < ANONYMOUS_NS.min(rtt_ns / 2),
            None => gap_ns < BLIND_NS,
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a part of a hash is one, too")]
fn slot<T>(slots: &mut [T], hash: u64) -> &mut T {
    let at = (hash >> 32) as usize % slots.len();
    &mut slots[at]
}
