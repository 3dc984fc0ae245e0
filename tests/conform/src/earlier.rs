//! What passed before a packet in its direction, found by looking at all packets before it, with any number of holes.

use super::tshark::{FIN, Frame, RST, SYN, Stream};

/// IP IDs this far apart, or less, are of packets that were sent shortly after each other: some senders draw them at random.
const NEAR_IDENTS: u16 = 1_024;
/// IP IDs are compared for this long: after 2^16 packets they begin again.
const IDENT_LIFETIME_NS: u64 = 1_000_000_000;

/// A sequence number relative to the packet's first one. No two numbers of a connection are 2 GiB apart.
type Place = i64;

/// A hole in the sequence numbers that the packet fills.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    /// How long ago it opened, in nanoseconds.
    pub(super) age_ns: u64,
    /// How many other holes have opened since.
    pub(super) opened_since: usize,
}

/// A packet, and those of its sender before it.
pub(super) struct Earlier<'s> {
    frame: &'s Frame,
    earlier: Vec<&'s Frame>,
}

impl<'s> Earlier<'s> {
    pub(super) fn of(stream: &'s Stream, frame: &'s Frame) -> Self {
        let is_earlier = |other: &&Frame| {
            other.number < frame.number && other.source == frame.source && other.lacks(RST) && !other.is_copy
        };
        Self { frame, earlier: stream.frames.iter().filter(is_earlier).collect() }
    }

    /// Of the holes that the packet fills at least in part, the one that opened last.
    pub(super) fn hole(&self) -> Option<Hole> {
        let holes = self.missing().into_iter().filter_map(|number| self.hole_at(number));
        holes.min_by_key(|hole| hole.age_ns)
    }

    /// Whether the packet was sent after the one that opened the hole which it fills, by the counters of its sender: TSval,
    /// else the IP ID. `None` where they do not say, and where it fills no hole.
    pub(super) fn is_sent_later(&self) -> Option<bool> {
        let openers = self.missing().into_iter().filter_map(|number| self.opener_at(number));
        self.is_sent_after(self.earlier[openers.max()?])
    }

    /// Whether a packet that passed before was sent after this one, by the same counters.
    pub(super) fn is_overtaken(&self) -> bool {
        self.earlier.iter().rev().any(|other| self.is_sent_after(other) == Some(false))
    }

    fn is_sent_after(&self, opener: &Frame) -> Option<bool> {
        let between_ns = self.frame.time_ns.saturating_sub(opener.time_ns);
        let ticks = self.frame.timestamps.zip(opener.timestamps).map(|(new, old)| new.0.wrapping_sub(old.0));
        if let Some(ticks) = ticks.filter(|ticks| *ticks != 0) {
            return Some(ticks.cast_signed() > 0);
        }
        let packets = self.frame.ip_id.wrapping_sub(opener.ip_id).cast_signed();
        let is_counted = self.frame.ip_id != 0 && opener.ip_id != 0 && between_ns < IDENT_LIFETIME_NS;
        (is_counted && packets != 0 && packets.unsigned_abs() <= NEAR_IDENTS).then_some(packets > 0)
    }

    /// How long ago the highest sequence number was first sent.
    pub(super) fn since_newest_ns(&self) -> Option<u64> {
        let highest = self.earlier.iter().map(|other| self.end(other)).max()?;
        let newest = self.earlier.iter().find(|other| self.end(other) == highest)?;
        Some(self.frame.time_ns.saturating_sub(newest.time_ns))
    }

    /// Whether the packet ends at the highest sequence number so far.
    pub(super) fn ends_with_newest(&self) -> bool {
        self.earlier.iter().map(|other| self.end(other)).max() == Some(self.end(self.frame))
    }

    /// Whether a SYN passed after data of its sender.
    pub(super) fn has_syn_among_data(&self) -> bool {
        self.earlier.iter().skip_while(|other| other.payload == 0).any(|other| other.has(SYN))
    }

    /// How long ago the last packet with these flags was sent.
    pub(super) fn since_last_ns(&self, flags: u16) -> Option<u64> {
        let last = self.earlier.iter().rfind(|other| other.has(flags))?;
        Some(self.frame.time_ns.saturating_sub(last.time_ns))
    }

    /// The first number of each range of the packet that had not passed before.
    fn missing(&self) -> Vec<Place> {
        let mut passed: Vec<_> =
            self.earlier.iter().map(|other| (self.start(other), self.end(other))).collect();
        passed.sort_unstable();
        let (mut missing, mut next, end) = (Vec::new(), 0, self.end(self.frame));
        for (from, to) in passed.into_iter().chain([(end, end)]) {
            if next < from.min(end) {
                missing.push(next);
            }
            next = next.max(to);
        }
        missing
    }

    /// The hole that contains a number: it opened with the first packet that begins after the number.
    fn hole_at(&self, number: Place) -> Option<Hole> {
        let opens = self.opener_at(number)?;
        let mut highest = self.earlier[..=opens].iter().map(|other| self.end(other)).max()?;
        let mut opened_since = 0;
        for other in &self.earlier[opens + 1..] {
            opened_since += usize::from(self.start(other) > highest);
            highest = highest.max(self.end(other));
        }
        let age_ns = self.frame.time_ns.saturating_sub(self.earlier[opens].time_ns);
        Some(Hole { age_ns, opened_since })
    }

    /// The first packet that begins after a number.
    fn opener_at(&self, number: Place) -> Option<usize> {
        self.earlier.iter().position(|other| self.start(other) > number)
    }

    fn start(&self, other: &Frame) -> Place {
        other.seq.wrapping_sub(self.frame.seq).cast_signed().into()
    }

    fn end(&self, other: &Frame) -> Place {
        let flag = |flag| Place::from(other.has(flag));
        self.start(other) + Place::from(other.payload) + flag(SYN) + flag(FIN)
    }
}
