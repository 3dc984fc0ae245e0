//! What had passed before a packet in its direction: found by going through all the packets before it, without a limit
//! on how many holes there may be.

use super::tshark::{FIN, Frame, RST, SYN, Stream};

/// Where sequence numbers lie beside the packet's own first one: no number of a connection is 2 GiB from another.
type Place = i64;

/// Some of the packet's numbers that had been passed over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Hole {
    /// How long they had been missing, in nanoseconds.
    pub(super) age_ns: u64,
    /// How many other holes opened since.
    pub(super) opened_since: usize,
}

/// One packet, and those of its sender before it.
pub(super) struct Past<'s> {
    frame: &'s Frame,
    earlier: Vec<&'s Frame>,
}

impl<'s> Past<'s> {
    pub(super) fn of(stream: &'s Stream, frame: &'s Frame) -> Self {
        let is_earlier =
            |other: &&Frame| other.number < frame.number && other.source == frame.source && other.lacks(RST);
        Self { frame, earlier: stream.frames.iter().filter(is_earlier).collect() }
    }

    /// The one of the holes that the packet fills in part or in whole that opened last.
    pub(super) fn hole(&self) -> Option<Hole> {
        let holes = self.missing().into_iter().filter_map(|number| self.hole_at(number));
        holes.min_by_key(|hole| hole.age_ns)
    }

    /// How long ago the highest number was sent for the first time.
    pub(super) fn since_newest_ns(&self) -> Option<u64> {
        let highest = self.earlier.iter().map(|other| self.end(other)).max()?;
        let newest = self.earlier.iter().find(|other| self.end(other) == highest)?;
        Some(self.frame.time_ns.saturating_sub(newest.time_ns))
    }

    /// Does the packet end where all before it did?
    pub(super) fn ends_with_newest(&self) -> bool {
        self.earlier.iter().map(|other| self.end(other)).max() == Some(self.end(self.frame))
    }

    /// Did a SYN pass after data of its sender?
    pub(super) fn has_syn_among_data(&self) -> bool {
        self.earlier.iter().skip_while(|other| other.payload == 0).any(|other| other.has(SYN))
    }

    /// How long ago the last packet with these flags was sent.
    pub(super) fn since_last_ns(&self, flags: u16) -> Option<u64> {
        let last = self.earlier.iter().rfind(|other| other.has(flags))?;
        Some(self.frame.time_ns.saturating_sub(last.time_ns))
    }

    /// The first one of each row of the packet's numbers that had not passed.
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

    /// The hole that has a number which did not pass: it opened when the first packet came that begins behind it.
    fn hole_at(&self, number: Place) -> Option<Hole> {
        let opens = self.earlier.iter().position(|other| self.start(other) > number)?;
        let mut highest = self.earlier[..=opens].iter().map(|other| self.end(other)).max()?;
        let mut opened_since = 0;
        for other in &self.earlier[opens + 1..] {
            opened_since += usize::from(self.start(other) > highest);
            highest = highest.max(self.end(other));
        }
        let age_ns = self.frame.time_ns.saturating_sub(self.earlier[opens].time_ns);
        Some(Hole { age_ns, opened_since })
    }

    fn start(&self, other: &Frame) -> Place {
        other.seq.wrapping_sub(self.frame.seq).cast_signed().into()
    }

    fn end(&self, other: &Frame) -> Place {
        let flag = |flag| Place::from(other.has(flag));
        self.start(other) + Place::from(other.payload) + flag(SYN) + flag(FIN)
    }
}
