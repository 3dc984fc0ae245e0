//! What happened in the last minutes, in little memory: nothing where nothing happened, and latencies as steps of a
//! logarithmic scale.

use std::collections::VecDeque;

use super::counts::PeerEvent;
use super::scale::step;
use crate::flow::Outcome;

/// Length of a slot, in nanoseconds.
pub(crate) const SLOT_NS: u64 = 5_000_000_000;
/// How many slots are kept, with the current one.
pub(crate) const SLOTS: u64 = 60;

/// What happened within one slot. Several may hold parts of the same slot.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Moment {
    /// Segments that could have been retransmits.
    pub(crate) segments: u32,
    /// Attempts.
    pub(crate) opened: u16,
    /// Attempts without an answer, to the SYN or the SYN-ACK.
    pub(crate) unanswered: u16,
    /// Attempts that were refused.
    pub(crate) refused: u16,
    /// Attempts that an ICMP error answered.
    pub(crate) unreachable: u16,
    /// Handshakes whose setup time is slow.
    pub(crate) slow_setups: u16,
    /// Segments that were retransmits.
    pub(crate) retransmits: u16,
    slot: Stub,
}

/// How many latencies of one slot fell on one step. Several may hold parts of the same step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cell {
    /// How many.
    pub(crate) count: u16,
    /// The step, see [`scale`](super::scale).
    pub(crate) step: u8,
    slot: Stub,
}

/// More than any host does at once: what is beyond is not counted.
const MOST: u64 = 1 << 20;

/// The end of a slot's number: the rest follows from the newest number.
type Stub = u8;

/// The last [`SLOTS`]. Ten thousand peers have one each: hence the short numbers.
#[derive(Clone, Debug, Default)]
pub(crate) struct History {
    moments: VecDeque<Moment>,
    cells: VecDeque<Cell>,
    /// The newest slot in which something happened.
    newest: u32,
}

/// The number of the slot that a time lies in, counted from time 0.
pub(crate) fn slot(now_ns: u64) -> u32 {
    u32::try_from(now_ns / SLOT_NS).unwrap_or(u32::MAX)
}

impl History {
    /// Counts what happened at `now_ns`. Returns whether it takes more or less heap than before.
    pub(crate) fn count(&mut self, event: PeerEvent, now_ns: u64) -> bool {
        let before = self.heap_bytes();
        match event {
            PeerEvent::Opened => {
                self.add(1, now_ns, |moment| &mut moment.opened);
                self.add_segments(1, now_ns);
            }
            PeerEvent::Repeated { .. } => {
                self.add(1, now_ns, |moment| &mut moment.retransmits);
                self.add_segments(1, now_ns);
            }
            PeerEvent::Ended(Outcome::Refused) => self.add(1, now_ns, |moment| &mut moment.refused),
            PeerEvent::Ended(Outcome::Unreachable) => self.add(1, now_ns, |moment| &mut moment.unreachable),
            PeerEvent::Ended(Outcome::Unanswered | Outcome::HalfOpen) => {
                self.add(1, now_ns, |moment| &mut moment.unanswered);
            }
            PeerEvent::Ended(_) | PeerEvent::Aborted | PeerEvent::Stuck => {}
            PeerEvent::SlowSetup => self.add(1, now_ns, |moment| &mut moment.slow_setups),
            PeerEvent::Sent(segments) => self.add_segments(segments, now_ns),
            PeerEvent::Retransmitted([sent, received]) => {
                let segments = sent + received;
                self.add(segments, now_ns, |moment| &mut moment.retransmits);
            }
        }
        self.heap_bytes() != before
    }

    /// Adds a latency. Returns whether it takes more or less heap than before.
    pub(crate) fn record(&mut self, latency_ns: u64, now_ns: u64) -> bool {
        let before = self.heap_bytes();
        let (slot, step) = (self.reach(now_ns), step(latency_ns));
        let same_slot = self.cells.iter_mut().rev().take_while(|cell| cell.slot == slot);
        let known = same_slot.into_iter().find(|cell| cell.step == step && cell.count < u16::MAX);
        match known {
            Some(cell) => cell.count += 1,
            None => self.cells.push_back(Cell { slot, step, count: 1 }),
        }
        self.heap_bytes() != before
    }

    /// What happened in the last slots, with their numbers, the oldest first; slots in which nothing happened are left out.
    pub(crate) fn moments(&self, now_ns: u64) -> impl Iterator<Item = (u32, &Moment)> {
        let moments = self.moments.iter().map(|moment| (self.whole(moment.slot), moment));
        moments.filter(move |(number, _)| !is_past(*number, slot(now_ns)))
    }

    /// The latencies of the last slots, with the numbers of the slots, the oldest first.
    pub(crate) fn cells(&self, now_ns: u64) -> impl Iterator<Item = (u32, &Cell)> {
        let cells = self.cells.iter().map(|cell| (self.whole(cell.slot), cell));
        cells.filter(move |(number, _)| !is_past(*number, slot(now_ns)))
    }

    /// What it takes on the heap, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        self.moments.capacity() * size_of::<Moment>() + self.cells.capacity() * size_of::<Cell>()
    }

    fn add(&mut self, count: u64, now_ns: u64, field: fn(&mut Moment) -> &mut u16) {
        let mut left = count.min(MOST);
        loop {
            let sum = field(self.at(now_ns));
            let room = u16::MAX - *sum;
            let added = u16::try_from(left).unwrap_or(u16::MAX).min(room);
            *sum += added;
            left -= u64::from(added);
            if left == 0 {
                return;
            }
            let slot = self.reach(now_ns);
            self.moments.push_back(Moment { slot, ..Moment::default() });
        }
    }

    fn add_segments(&mut self, count: u64, now_ns: u64) {
        let moment = self.at(now_ns);
        moment.segments = moment.segments.saturating_add(u32::try_from(count).unwrap_or(u32::MAX));
    }

    /// The latest moment of the slot that a time lies in.
    fn at(&mut self, now_ns: u64) -> &mut Moment {
        let slot = self.reach(now_ns);
        if self.moments.back().is_none_or(|moment| moment.slot != slot) {
            self.moments.push_back(Moment { slot, ..Moment::default() });
        }
        self.moments.back_mut().expect("it was pushed if it was not there")
    }

    /// Advances to the slot that a time lies in, and forgets what is past then. Records of two processors may overtake each
    /// other: a late one counts to the newest slot.
    fn reach(&mut self, now_ns: u64) -> Stub {
        let now = slot(now_ns).max(self.newest);
        while self.moments.front().is_some_and(|moment| is_past(self.whole(moment.slot), now)) {
            self.moments.pop_front();
        }
        while self.cells.front().is_some_and(|cell| is_past(self.whole(cell.slot), now)) {
            self.cells.pop_front();
        }
        self.newest = now;
        now.to_le_bytes()[0]
    }

    /// The number of a slot that is one of the last before the newest.
    fn whole(&self, slot: Stub) -> u32 {
        self.newest.wrapping_sub(self.newest.to_le_bytes()[0].wrapping_sub(slot).into())
    }
}

fn is_past(slot: u32, now: u32) -> bool {
    u64::from(slot) + SLOTS <= u64::from(now)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::Party;
    use crate::stats::scale::begin_ns;

    const START: u64 = 1_000 * SLOT_NS;

    #[test]
    fn what_happened_is_found_in_its_slot() {
        let mut history = History::default();
        for (event, slot) in [
            (PeerEvent::Opened, 0),
            (PeerEvent::Ended(Outcome::Refused), 0),
            (PeerEvent::Opened, 2),
            (PeerEvent::Repeated { by: Party::Local, is_loss: true }, 2),
            (PeerEvent::Ended(Outcome::Established), 5),
            (PeerEvent::Ended(Outcome::HalfOpen), 2),
        ] {
            history.count(event, START + slot * SLOT_NS + 1);
        }
        let moments: Vec<_> = history
            .moments(START + 2 * SLOT_NS)
            .map(|(slot, moment)| {
                (slot, moment.opened, moment.unanswered, moment.refused, moment.retransmits)
            })
            .collect();
        assert_eq!(moments, [(1_000, 1, 0, 1, 0), (1_002, 1, 1, 0, 1)]);
        assert_eq!(history.moments(START).map(|(_, moment)| moment.segments).sum::<u32>(), 3);
    }

    #[test]
    fn latencies_are_counted_by_their_step() {
        let mut history = History::default();
        for (latency_ns, slot) in [(210_000_000, 0), (215_000_000, 0), (1_000_000, 1), (210_000_000, 0)] {
            history.record(latency_ns, START + slot * SLOT_NS);
        }
        let parts = |(slot, cell): (u32, &Cell)| (slot, begin_ns(cell.step.into()), cell.count);
        let cells: Vec<_> = history.cells(START + SLOT_NS).map(parts).collect();
        // The last one came too late for its slot.
        assert_eq!(cells, [(1_000, 200_000_000, 2), (1_001, 1_000_000, 1), (1_001, 200_000_000, 1)]);
    }

    #[test]
    fn what_is_full_is_followed_by_another() {
        let mut history = History::default();
        (0..70_000).for_each(|_| _ = history.record(1_000_000, START));
        assert_eq!(history.cells(START).map(|(_, cell)| u32::from(cell.count)).sum::<u32>(), 70_000);
        assert_eq!(history.cells(START).count(), 2);
        history.count(PeerEvent::Retransmitted([150_000, 50_000]), START);
        (0..3).for_each(|_| _ = history.count(PeerEvent::Opened, START));
        let sum = |of: fn(&Moment) -> u16| history.moments(START).map(|(_, m)| u32::from(of(m))).sum::<u32>();
        assert_eq!((sum(|moment| moment.retransmits), sum(|moment| moment.opened)), (200_000, 3));
        assert_eq!(history.moments(START).count(), 4);
    }

    /// The short numbers of slots repeat after 256 of them.
    #[test]
    fn slots_stay_distinct_after_a_long_silence() {
        let mut history = History::default();
        history.count(PeerEvent::Opened, START);
        history.record(1_000_000, START);
        let later_ns = START + 256 * SLOT_NS;
        assert_eq!((history.moments(later_ns).count(), history.cells(later_ns).count()), (0, 0));
        history.count(PeerEvent::Opened, later_ns);
        assert_eq!(history.moments(later_ns).map(|(slot, _)| slot).collect::<Vec<_>>(), [1_256]);
        assert_eq!(history.cells(later_ns).count(), 0);
    }

    #[test]
    fn what_is_long_ago_is_forgotten() {
        let mut history = History::default();
        for slot in 0..1_000 {
            history.count(PeerEvent::Opened, START + slot * SLOT_NS);
            history.record(1_000_000, START + slot * SLOT_NS);
        }
        let now_ns = START + 999 * SLOT_NS;
        assert_eq!((history.moments(now_ns).count(), history.cells(now_ns).count()), (60, 60));
        assert!(history.heap_bytes() < 2 << 10, "{} bytes", history.heap_bytes());
        assert_eq!(history.moments(now_ns + 30 * SLOT_NS).count(), 30, "time goes on without a record");
    }
}
