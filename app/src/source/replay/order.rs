//! The order of packets: that of their times, where neighbours in the file are swapped, else that of the file.
//!
//! A capture of several queues or interfaces may have packets some milliseconds too early or too late. Either its order is
//! wrong and its times are right, then sorting mends it; or its order is right and its times are not, then sorting would
//! spoil it. Within a connection the numbers say which: nobody acknowledges what was not sent before.

use std::collections::VecDeque;

use probe_common::{ParsedIcmp, ParsedPacket, Segment, TcpFlags};

/// Packets are put in order that are at most this far apart, in nanoseconds.
pub(super) const WINDOW_NS: u64 = 10_000_000;
/// As many packets wait for earlier ones at the most.
const MOST: usize = 2_048;

/// A packet that waits.
#[derive(Clone, Copy, Debug)]
pub(super) struct Waiting {
    /// Its time as the capture has it, in nanoseconds since 1970.
    pub(super) stamp_ns: u64,
    /// What is in it.
    pub(super) packet: Content,
}

/// What matters of a packet.
#[derive(Clone, Copy, Debug)]
pub(super) enum Content {
    /// A segment.
    Segment(ParsedPacket),
    /// An ICMP error about one.
    Icmp(ParsedIcmp),
    /// Nothing, but time passes by it, too.
    Nothing,
}

/// Packets that wait for earlier ones.
#[derive(Debug, Default)]
pub(super) struct Order(VecDeque<Waiting>);

impl Order {
    /// Adds a packet behind those that are earlier.
    pub(super) fn push(&mut self, packet: Waiting) {
        if self.0.back().is_none_or(|last| last.stamp_ns <= packet.stamp_ns) {
            self.0.push_back(packet);
        } else {
            self.insert(packet);
        }
    }

    #[cold]
    fn insert(&mut self, packet: Waiting) {
        let later = |other: &&Waiting| {
            let ahead_ns = other.stamp_ns.saturating_sub(packet.stamp_ns);
            ahead_ns > 0 && ahead_ns <= WINDOW_NS && !packet.follows(other)
        };
        let overtaken = self.0.iter().rev().take_while(later).count();
        self.0.insert(self.0.len() - overtaken, packet);
    }

    /// The first packet, and whether no earlier one is to come.
    pub(super) fn first(&self) -> Option<(&Waiting, bool)> {
        let (first, last) = (self.0.front()?, self.0.back()?);
        let is_due = first.stamp_ns.abs_diff(last.stamp_ns) >= WINDOW_NS || self.0.len() >= MOST;
        Some((first, is_due))
    }

    /// The times of the packets behind the first one.
    pub(super) fn following_ns(&self) -> impl ExactSizeIterator<Item = u64> {
        self.0.iter().skip(1).map(|packet| packet.stamp_ns)
    }

    pub(super) fn remove_first(&mut self) {
        self.0.pop_front();
    }
}

impl Waiting {
    /// Whether its numbers say that it was sent after another one of the same connection.
    fn follows(&self, other: &Self) -> bool {
        match (&self.packet, &other.packet) {
            (Content::Segment(packet), Content::Segment(other)) => follows(packet.segment(), other.segment()),
            // An error is later than what it quotes.
            (Content::Icmp(icmp), Content::Segment(other)) => {
                let (quoted, other) = (icmp.quoted(), other.segment());
                (quoted.from(), quoted.to(), quoted.seq) == (other.from(), other.to(), other.seq)
            }
            (Content::Segment(_) | Content::Icmp(_) | Content::Nothing, _) => false,
        }
    }
}

fn follows(segment: &Segment, other: &Segment) -> bool {
    let (source, destination) = (segment.from(), segment.to());
    let end = other.seq.wrapping_add(length(other));
    if length(other) == 0 {
        return false;
    }
    if (source, destination) == (other.to(), other.from()) {
        return segment.flags.has(TcpFlags::ACK) && is_at_or_behind(segment.ack, end);
    }
    (source, destination) == (other.from(), other.to()) && is_at_or_behind(segment.seq, end)
}

/// How many sequence numbers a segment takes.
fn length(segment: &Segment) -> u32 {
    let flags = [TcpFlags::SYN, TcpFlags::FIN].map(|flag| u32::from(segment.flags.has(flag)));
    segment.payload_len.wrapping_add(flags[0]).wrapping_add(flags[1])
}

const fn is_at_or_behind(number: u32, end: u32) -> bool {
    number.wrapping_sub(end) < 1 << 31
}
