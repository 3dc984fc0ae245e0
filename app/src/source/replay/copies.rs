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
/// Packets are remembered in so many sets, the latest of each: in 10 ms a link of 10 Gb/s carries some 8,000.
const SETS: usize = 2_048;
const WAYS: usize = 4;
/// As many senders are remembered.
const SENDERS: usize = 1_024;

/// One packet that passed.
#[derive(Clone, Copy, Default)]
struct Seen {
    /// Of all that a copy has in common with it; 0 for nothing.
    signature: u64,
    time_ns: u64,
}

/// Packets that may be mistaken for each other's place: a line of the processor's cache.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Set([Seen; WAYS]);

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
    packets: Box<[Set]>,
    senders: Box<[Sender]>,
    seed: u64,
    /// How many were copies.
    pub(super) count: u64,
}

impl Copies {
    pub(super) fn new() -> Self {
        Self {
            packets: vec![Set::default(); SETS].into(),
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
        let signature = signature(packet, ends);
        let Set(seen) = slot(&mut self.packets, signature);
        if let Some(first) = seen.iter().find(|seen| seen.signature == signature) {
            // One that is a little early is one of two queues.
            let gap_ns = time_ns.abs_diff(first.time_ns);
            if is_too_soon(gap_ns, segment, is_counting, rtt_ns) {
                self.count += 1;
                // The first one stays: a third is a copy, too.
                return true;
            }
        }
        let is_same = |seen: &Seen| seen.signature == signature;
        let place = seen.iter().position(is_same);
        let oldest = (0..WAYS).min_by_key(|&way| seen[way].time_ns).unwrap_or(0);
        seen[place.unwrap_or(oldest)] = Seen { signature, time_ns };
        false
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
}

/// Of all that a packet has in common with its copies.
fn signature(packet: &ParsedPacket, ends: u64) -> u64 {
    let (segment, timestamps) = (packet.segment(), packet.timestamps());
    let numbers = u64::from(segment.seq) << 32 | u64::from(segment.ack);
    let stamps = u64::from(timestamps.value) << 32 | u64::from(timestamps.echo);
    let ident_flags = u64::from(segment.ident) << 8 | u64::from(segment.flags.0);
    let rest = u64::from(segment.payload_len) << 32 | ident_flags << 1 | u64::from(timestamps.present);
    [numbers, stamps, rest].into_iter().fold(ends, |hash, word| mix(hash ^ word)).max(1)
}

/// Whether a packet that is the same as one before is its copy, and was not sent again.
fn is_too_soon(
    gap_ns: u64,
    segment: &Segment,
    is_counting: bool,
    rtt_ns: impl FnOnce() -> Option<u64>,
) -> bool {
    if gap_ns > IDENTIFIED_NS || is_counting {
        return gap_ns <= IDENTIFIED_NS;
    }
    if segment.flags.has(TcpFlags::SYN) {
        return gap_ns <= OPENING_NS;
    }
    // Two equal ACKs without data may be two: they say that something is missing.
    if segment.payload_len == 0 && segment.flags.0 & (TcpFlags::FIN.0 | TcpFlags::RST.0) == 0 {
        return false;
    }
    match rtt_ns() {
        Some(rtt_ns) => gap_ns < ANONYMOUS_NS.min(rtt_ns / 2),
        None => gap_ns < BLIND_NS,
    }
}

#[allow(clippy::cast_possible_truncation, reason = "a part of a hash is one, too")]
fn slot<T>(slots: &mut [T], hash: u64) -> &mut T {
    let at = (hash >> 32) as usize % slots.len();
    &mut slots[at]
}
