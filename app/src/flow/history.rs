//! What happened in the last minutes, in little memory: nothing where nothing did, and of latencies the step that they
//! fall on.

use std::collections::VecDeque;

use super::peer::Happening;
use super::scale::step;

/// Length of a slot, in nanoseconds.
pub const SLOT_NS: u64 = 5_000_000_000;
/// How many slots are kept, with the one that is under way.
pub const SLOTS: u64 = 60;

/// What happened within one slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Moment {
    /// Number of the slot, from the beginning of time.
    pub slot: u32,
    /// Attempts.
    pub opened: u32,
    /// Attempts without an answer, to the SYN or the SYN-ACK.
    pub unanswered: u32,
    /// Attempts that were refused.
    pub refused: u32,
    /// Segments that were sent again.
    pub retransmits: u32,
    /// All segments that could have been.
    pub segments: u32,
}

/// How many latencies of one slot fell on one step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cell {
    /// Number of the slot.
    pub slot: u32,
    /// The step, see [`scale`](super::scale).
    pub step: u8,
    /// How many; there may be another cell with more.
    pub count: u16,
}

/// The last [`SLOTS`].
#[derive(Clone, Debug, Default)]
pub struct History {
    moments: VecDeque<Moment>,
    cells: VecDeque<Cell>,
}

/// The number of the slot that a time lies in.
#[must_use]
pub fn slot(now_ns: u64) -> u32 {
    u32::try_from(now_ns / SLOT_NS).unwrap_or(u32::MAX)
}

impl History {
    /// Counts something that happened so many times by `now_ns`.
    pub fn count(&mut self, happening: Happening, count: u64, now_ns: u64) {
        let add = |sum: &mut u32| *sum = sum.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
        match happening {
            Happening::Opened => {
                let moment = self.at(now_ns);
                add(&mut moment.opened);
                add(&mut moment.segments);
            }
            Happening::Repeated => {
                let moment = self.at(now_ns);
                add(&mut moment.retransmits);
                add(&mut moment.segments);
            }
            Happening::Refused => add(&mut self.at(now_ns).refused),
            Happening::Unanswered | Happening::HalfOpen => add(&mut self.at(now_ns).unanswered),
            Happening::Sent => add(&mut self.at(now_ns).segments),
            Happening::Resent => add(&mut self.at(now_ns).retransmits),
            Happening::Established | Happening::Reset | Happening::OneSided => {}
        }
    }

    /// Adds a latency.
    pub fn record(&mut self, latency_ns: u64, now_ns: u64) {
        let (slot, step) = (slot(now_ns), step(latency_ns));
        let same_slot = self.cells.iter_mut().rev().take_while(|cell| cell.slot >= slot);
        let known = same_slot.into_iter().find(|cell| (cell.slot, cell.step) == (slot, step));
        match known.filter(|cell| cell.count < u16::MAX) {
            Some(cell) => cell.count += 1,
            None => {
                while self.cells.front().is_some_and(|cell| is_past(cell.slot, slot)) {
                    self.cells.pop_front();
                }
                let place = self.cells.iter().rposition(|cell| cell.slot <= slot).map_or(0, |last| last + 1);
                self.cells.insert(place, Cell { slot, step, count: 1 });
            }
        }
    }

    /// What happened in those of the last slots in which something did, the oldest first.
    pub fn moments(&self, now_ns: u64) -> impl Iterator<Item = &Moment> {
        self.moments.iter().filter(move |moment| !is_past(moment.slot, slot(now_ns)))
    }

    /// The latencies of the last slots, the oldest first.
    pub fn cells(&self, now_ns: u64) -> impl Iterator<Item = &Cell> {
        self.cells.iter().filter(move |cell| !is_past(cell.slot, slot(now_ns)))
    }

    /// What it takes on the heap, in bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        self.moments.capacity() * size_of::<Moment>() + self.cells.capacity() * size_of::<Cell>()
    }

    fn at(&mut self, now_ns: u64) -> &mut Moment {
        let slot = slot(now_ns);
        // Almost always the last one; records of two processors may come in the wrong order.
        let place = self.moments.iter().rposition(|moment| moment.slot <= slot).map_or(0, |last| last + 1);
        let known = place.checked_sub(1).filter(|&last| self.moments[last].slot == slot);
        let place = known.unwrap_or_else(|| {
            let mut place = place;
            while place > 0 && self.moments.front().is_some_and(|moment| is_past(moment.slot, slot)) {
                self.moments.pop_front();
                place -= 1;
            }
            self.moments.insert(place, Moment { slot, ..Moment::default() });
            place
        });
        &mut self.moments[place]
    }
}

fn is_past(slot: u32, now: u32) -> bool {
    u64::from(slot) + SLOTS <= u64::from(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::scale::begin_ns;

    const START: u64 = 1_000 * SLOT_NS;

    #[test]
    fn what_happened_is_found_in_its_slot() {
        let mut history = History::default();
        for (happening, slot) in [
            (Happening::Opened, 0),
            (Happening::Opened, 2),
            (Happening::Refused, 0),
            (Happening::Repeated, 2),
            (Happening::Established, 5),
            (Happening::HalfOpen, 2),
        ] {
            history.count(happening, 1, START + slot * SLOT_NS + 1);
        }
        let moments: Vec<Moment> = history.moments(START + 2 * SLOT_NS).copied().collect();
        let first = Moment { slot: 1_000, opened: 1, refused: 1, segments: 1, ..Moment::default() };
        let second = Moment {
            slot: 1_002,
            opened: 1,
            unanswered: 1,
            retransmits: 1,
            segments: 2,
            ..Moment::default()
        };
        assert_eq!(moments, [first, second]);
    }

    #[test]
    fn latencies_are_counted_by_their_step() {
        let mut history = History::default();
        for (latency_ns, slot) in [(210_000_000, 0), (215_000_000, 0), (1_000_000, 1), (210_000_000, 0)] {
            history.record(latency_ns, START + slot * SLOT_NS);
        }
        let cells: Vec<_> = history
            .cells(START + SLOT_NS)
            .map(|cell| (cell.slot, begin_ns(cell.step.into()), cell.count))
            .collect();
        assert_eq!(cells, [(1_000, 200_000_000, 3), (1_001, 1_000_000, 1)]);
    }

    #[test]
    fn a_full_cell_is_followed_by_another() {
        let mut history = History::default();
        (0..70_000).for_each(|_| history.record(1_000_000, START));
        assert_eq!(history.cells(START).map(|cell| u32::from(cell.count)).sum::<u32>(), 70_000);
        assert_eq!(history.cells(START).count(), 2);
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut history = History::default();
        for slot in 0..1_000 {
            history.count(Happening::Opened, 1, START + slot * SLOT_NS);
            history.record(1_000_000, START + slot * SLOT_NS);
        }
        let now_ns = START + 999 * SLOT_NS;
        assert_eq!((history.moments(now_ns).count(), history.cells(now_ns).count()), (60, 60));
        assert!(history.heap_bytes() < 8 << 10, "{} bytes", history.heap_bytes());
        assert_eq!(history.moments(now_ns + 30 * SLOT_NS).count(), 30, "time goes on without a record");
    }
}
