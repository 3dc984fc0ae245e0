//! The sliding window: a view on the slots of a [`History`](super::history::History), of any length up to an hour.

const SECOND_NS: u64 = 1_000_000_000;

/// The longest window, and how long everything is kept.
pub(crate) const LONGEST_NS: u64 = 3_600 * SECOND_NS;

/// Lengths of slots in nanoseconds, each a multiple of the one before, and from which length or age on each applies: windows
/// that are so long slide by whole slots of this length, and what is so old is kept in such slots. So the edge of a window
/// never lies inside a slot.
pub(super) const SLOTS: [(u64, u64); 4] = [
    (0, SECOND_NS / 5),
    (5 * SECOND_NS, SECOND_NS),
    (60 * SECOND_NS, 5 * SECOND_NS),
    (600 * SECOND_NS, 60 * SECOND_NS),
];

/// A length of the window, in whole slots.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Window {
    slots: u64,
    slot_ns: u64,
}

impl Window {
    /// The window with this length, rounded down to whole slots, of at least one and at most an hour.
    pub(crate) fn of(length_ns: u64) -> Self {
        let length_ns = length_ns.min(LONGEST_NS);
        let fitting = SLOTS.into_iter().rev().find(|(from_ns, _)| *from_ns <= length_ns);
        let (_, slot_ns) = fitting.unwrap_or(SLOTS[0]);
        Self { slots: (length_ns / slot_ns).max(1), slot_ns }
    }

    /// Its length in nanoseconds. It covers as much at the end of a slot.
    pub(crate) const fn length_ns(self) -> u64 {
        self.slots * self.slot_ns
    }

    /// The number of the slot that `now_ns` lies in, counted from time 0: the window slides when it changes.
    pub(crate) const fn slot(self, now_ns: u64) -> u64 {
        now_ns / self.slot_ns
    }

    /// When the window that ends at `now_ns` begins.
    pub(crate) const fn begins_ns(self, now_ns: u64) -> u64 {
        (self.slot(now_ns) + 1).saturating_sub(self.slots) * self.slot_ns
    }

    /// The end of the slot that `now_ns` lies in: what has a later time than `now_ns` counts until then.
    pub(crate) const fn ends_ns(self, now_ns: u64) -> u64 {
        (self.slot(now_ns) + 1) * self.slot_ns - 1
    }

    /// When the slots of the window that ends at `now_ns` began, the oldest first, without the newest.
    pub(crate) fn earlier_ns(self, now_ns: u64) -> impl Iterator<Item = u64> {
        let newest = self.slot(now_ns);
        ((newest + 1).saturating_sub(self.slots)..newest).map(move |slot| slot * self.slot_ns)
    }

    /// How much time the window that ends at `now_ns` covers, in nanoseconds, at least 1 s: its newest slot is not over, and
    /// what is counted may have begun only just, at `counted_ns`. Less than a second gives no rate: that of one attempt in a
    /// nanosecond is a billion.
    pub(crate) fn covered_ns(self, counted_ns: u64, now_ns: u64) -> u64 {
        now_ns.saturating_sub(self.begins_ns(now_ns).max(counted_ns)).max(SECOND_NS)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_length_is_a_whole_number_of_slots() {
        for (wanted_s, slots, slot_ms) in
            [(1, 5, 200), (4, 20, 200), (5, 5, 1_000), (10, 10, 1_000), (60, 12, 5_000), (300, 60, 5_000)]
        {
            let window = Window::of(wanted_s * SECOND_NS);
            assert_eq!((window.slots, window.slot_ns), (slots, slot_ms * SECOND_NS / 1_000), "{wanted_s} s");
            assert_eq!(window.length_ns(), wanted_s * SECOND_NS);
        }
        assert_eq!(Window::of(62 * SECOND_NS).length_ns(), 60 * SECOND_NS);
        assert_eq!(Window::of(659 * SECOND_NS).length_ns(), 600 * SECOND_NS);
        assert_eq!(Window::of(LONGEST_NS + 1).length_ns(), LONGEST_NS);
        assert_eq!(Window::of(1).length_ns(), SECOND_NS / 5);
        assert!(SLOTS.windows(2).all(|pair| pair[1].1.is_multiple_of(pair[0].1)), "slots nest");
    }

    #[test]
    fn it_covers_its_length_at_the_end_of_a_slot() {
        let window = Window::of(10 * SECOND_NS);
        let now_ns = 1_000 * SECOND_NS;
        assert_eq!(window.begins_ns(now_ns - 1), 990 * SECOND_NS);
        assert_eq!(
            (window.ends_ns(now_ns - 1), window.ends_ns(now_ns)),
            (now_ns - 1, now_ns + SECOND_NS - 1)
        );
        assert_eq!(window.covered_ns(0, now_ns - 1), 10 * SECOND_NS - 1);
        assert_eq!(
            (window.begins_ns(now_ns), window.covered_ns(0, now_ns)),
            (991 * SECOND_NS, 9 * SECOND_NS)
        );
        assert_eq!(window.covered_ns(now_ns - 2 * SECOND_NS, now_ns), 2 * SECOND_NS);
        assert_eq!(window.covered_ns(now_ns, now_ns), SECOND_NS, "no rate of less than a second");
        let earlier: Vec<u64> = window.earlier_ns(now_ns).map(|begin_ns| begin_ns / SECOND_NS).collect();
        assert_eq!(earlier, (991..1_000).collect::<Vec<_>>());
        assert_eq!(Window::of(LONGEST_NS).earlier_ns(90 * SECOND_NS).collect::<Vec<_>>(), [0]);
    }
}
