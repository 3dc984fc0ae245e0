//! When to look at a slot again.

use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// No alarm is set.
const OFF: u64 = u64::MAX;

/// One alarm per slot: the earliest that was set since the last one was due.
#[derive(Debug, Default)]
pub(super) struct Alarms {
    /// Those that were set in the order in which they are due, as nearly all are: each handshake may take as long as the
    /// others.
    row: VecDeque<(u64, u32)>,
    others: BinaryHeap<Reverse<(u64, u32)>>,
    /// When the alarm of each slot is due; an entry elsewhere that says otherwise is stale.
    due: Vec<u64>,
}

impl Alarms {
    /// Sets an alarm. A later one than is set already changes nothing: whoever is woken too early sets another.
    pub(super) fn set(&mut self, slot: u32, due_ns: u64) {
        let index = slot as usize;
        if self.due.len() <= index {
            self.due.resize(index + 1, OFF);
        }
        if due_ns >= self.due[index] {
            return;
        }
        self.due[index] = due_ns;
        if self.row.back().is_none_or(|&(last_ns, _)| last_ns <= due_ns) {
            self.row.push_back((due_ns, slot));
        } else {
            self.others.push(Reverse((due_ns, slot)));
        }
        if self.row.len() + self.others.len() > 4 * self.due.len() {
            let due = &self.due;
            self.row.retain(|&(due_ns, slot)| due[slot as usize] == due_ns);
            self.others.retain(|&Reverse((due_ns, slot))| due[slot as usize] == due_ns);
        }
    }

    /// As [`set`](Self::set), for one that is due much later than most: in the row it would block all that are set later.
    pub(super) fn set_apart(&mut self, slot: u32, due_ns: u64) {
        if let Some(due) = self.due.get_mut(slot as usize).filter(|due| due_ns < **due) {
            *due = due_ns;
            self.others.push(Reverse((due_ns, slot)));
        }
    }

    /// Clears the alarm of a slot. A needless alarm costs a look at a flow that has long left the caches.
    pub(super) fn cancel(&mut self, slot: u32) {
        if let Some(due_ns) = self.due.get_mut(slot as usize) {
            *due_ns = OFF;
        }
    }

    /// When the next alarm is due, or a stale entry: no later than the next alarm.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        let in_row = self.row.front().map(|&(due_ns, _)| due_ns);
        in_row.into_iter().chain(self.others.peek().map(|&Reverse((due_ns, _))| due_ns)).min()
    }

    /// The next slot whose alarm is due at `now_ns`, and when it was due. Clears that alarm.
    pub(super) fn next(&mut self, now_ns: u64) -> Option<(u32, u64)> {
        loop {
            let in_row = self.row.front().copied();
            let other = self.others.peek().map(|&Reverse(other)| other);
            let (due_ns, slot) = in_row.into_iter().chain(other).min()?;
            if due_ns > now_ns {
                return None;
            }
            if in_row == Some((due_ns, slot)) {
                self.row.pop_front();
            } else {
                self.others.pop();
            }
            let due = &mut self.due[slot as usize];
            if *due == due_ns {
                *due = OFF;
                return Some((slot, due_ns));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_earliest_counts_and_is_due_once() {
        let mut alarms = Alarms::default();
        alarms.set(3, 50);
        alarms.set(3, 20);
        alarms.set(3, 90);
        alarms.set(1, 30);
        assert_eq!(alarms.next(10), None);
        assert_eq!(alarms.next(100), Some((3, 20)));
        assert_eq!(alarms.next(100), Some((1, 30)));
        assert_eq!(alarms.next(100), None);
    }

    #[test]
    fn what_is_set_apart_keeps_no_other_out_of_the_row() {
        let mut alarms = Alarms::default();
        alarms.set(1, 20);
        assert_eq!(alarms.next(20), Some((1, 20)));
        alarms.set_apart(1, 500);
        alarms.set(2, 30);
        alarms.set(3, 40);
        assert_eq!((alarms.row.len(), alarms.others.len()), (2, 1));
        assert_eq!(alarms.next(500), Some((2, 30)));
        assert_eq!(alarms.next(500), Some((3, 40)));
        assert_eq!(alarms.next(500), Some((1, 500)));
    }

    #[test]
    fn a_cleared_alarm_is_never_due() {
        let mut alarms = Alarms::default();
        alarms.set(1, 20);
        alarms.cancel(1);
        alarms.cancel(7);
        assert_eq!(alarms.next(100), None);
        alarms.set(1, 120);
        assert_eq!(alarms.next(200), Some((1, 120)));
    }

    #[test]
    fn stale_entries_take_bounded_memory() {
        let mut alarms = Alarms::default();
        for due_ns in (1..100_000).rev() {
            alarms.set(0, due_ns);
        }
        assert!((alarms.row.len() + alarms.others.len()) <= 5);
        assert_eq!(alarms.next(1), Some((0, 1)));
    }
}
