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
/// Packets are remembered in so many sets, the latest of each. All of them together stay in the processor's first cache.
const SETS: usize = 512;
const WAYS: usize = 8;
/// As many senders are remembered.
const SENDERS: usize = 512;
/// A packet is so many words.
const WORDS: usize = 8;

/// One packet that passed: a part of its signature, and the end of its time in microseconds, which wraps after 268 s. 0 for
/// none.
#[derive(Clone, Copy, Default)]
struct Seen(u64);

impl Seen {
    const TIME_BITS: u32 = 28;
    const TIME_MASK: u64 = (1 << Self::TIME_BITS) - 1;

    const fn new(signature: u64, time_us: u64) -> Self {
        Self((signature & !Self::TIME_MASK) | (time_us & Self::TIME_MASK))
    }

    const fn is(self, signature: u64) -> bool {
        (self.0 ^ signature) & !Self::TIME_MASK == 0
    }

    /// How far apart the two were in microseconds, whichever came first: one that is a little early is one of two queues.
    fn gap_us(self, time_us: u64) -> u64 {
        let later = time_us.wrapping_sub(self.0) & Self::TIME_MASK;
        later.min((later.wrapping_neg()) & Self::TIME_MASK)
    }
}

/// Packets that may take each other's place: a line of the cache.
#[derive(Clone, Copy, Default)]
#[repr(align(64))]
struct Set([Seen; WAYS]);

/// One direction of a connection.
#[derive(Clone, Copy, Default)]
struct Sender {
    /// A part of the signature of both ends; 0 for none.
    tag: u32,
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
    /// What words are multiplied by: nobody can choose packets that meet.
    keys: [u64; WORDS],
    /// How many were copies.
    pub(super) count: u64,
}

impl Copies {
    pub(super) fn new() -> Self {
        Self {
            packets: vec![Set::default(); SETS].into(),
            senders: vec![Sender::default(); SENDERS].into(),
            keys: std::array::from_fn(|word| RandomState::new().hash_one(word) | 1),
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
        let signature = self.signature(packet, ends);
        let Set(seen) = slot(&mut self.packets, signature);
        let time_us = time_ns / 1_000;
        let place = seen.iter().position(|seen| seen.is(signature));
        let gap_us = place.map(|place| seen[place].gap_us(time_us));
        if gap_us.is_some_and(|gap_us| is_too_soon(gap_us * 1_000, segment, is_counting, rtt_ns)) {
            // The first one stays: a third is a copy, too.
            self.count += 1;
            return true;
        }
        // The latest one is first.
        let place = place.unwrap_or(WAYS - 1);
        seen.copy_within(..place, 1);
        seen[0] = Seen::new(signature, time_us);
        false
    }

    fn ends(&self, segment: &Segment, interface: u32) -> u64 {
        let ports = u64::from(segment.source_port) << 16 | u64::from(segment.destination_port);
        let [source, destination] = [segment.source, segment.destination];
        self.sum(
            0,
            [source[0], source[1], destination[0], destination[1], ports << 32 | u64::from(interface)],
        )
    }

    /// Of all that a packet has in common with its copies.
    fn signature(&self, packet: &ParsedPacket, ends: u64) -> u64 {
        let (segment, timestamps) = (packet.segment(), packet.timestamps());
        let numbers = u64::from(segment.seq) << 32 | u64::from(segment.ack);
        let stamps = u64::from(timestamps.value) << 32 | u64::from(timestamps.echo);
        let ident_flags = u64::from(segment.ident) << 8 | u64::from(segment.flags.0);
        let rest = u64::from(segment.payload_len) << 32 | ident_flags << 1 | u64::from(timestamps.present);
        mix(ends.wrapping_add(self.sum(5, [numbers, stamps, rest]))) | 1 << 63
    }

    /// The sum of these words, each with its own weight, of which `first` is the first.
    fn sum<const N: usize>(&self, first: usize, words: [u64; N]) -> u64 {
        let weighed = words.iter().zip(&self.keys[first..]).map(|(word, key)| mix(word.wrapping_mul(*key)));
        weighed.fold(0, u64::wrapping_add)
    }

    /// Whether the sender gives each of its packets an identification of its own.
    #[allow(clippy::cast_possible_truncation, reason = "a part of a hash is one, too")]
    fn is_counting(&mut self, segment: &Segment, ends: u64) -> bool {
        let Segment { ident, seq, .. } = *segment;
        if ident == 0 {
            return false;
        }
        let tag = (ends & 0xffff_ffff) as u32;
        let sender = slot(&mut self.senders, ends);
        if sender.tag != tag {
            *sender = Sender { tag, seq, ident, is_constant: false };
        } else if sender.seq != seq {
            *sender = Sender { tag, seq, ident, is_constant: sender.ident == ident };
        }
        !sender.is_constant
    }
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
