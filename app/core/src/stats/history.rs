//! What happened in the last hour: everything once, in short slots while it is new and in longer ones when it is older.

use core::cmp::Reverse;

use super::counts::{Number, PeerEvent};
use super::current_slot::CurrentSlot;
use super::distribution::{BUCKETS, bucket, bucket_end_ns};
use super::times::{Latency, Times};
use super::window::{LONGEST_NS, SLOTS};

/// The length of the shortest slots, in which all times here are counted from time 0.
const SHORTEST_NS: u64 = SLOTS[0].1;
/// For how long everything is kept, in the shortest slots: the longest window, and the slot that its edge lies in.
const KEPT: u64 = (LONGEST_NS + SLOTS[SLOTS.len() - 1].1) / SHORTEST_NS;
/// What is so old is dropped even where there is room: the short number of its slot would come up again.
const OLDEST: u64 = 2 * KEPT;
/// In slots of this length and longer ones, latencies are counted in buckets that are four times as wide.
const COARSE: (u64, u64) = SLOTS[2];
const COARSE_BITS: u32 = 2;
/// Bits by which buckets can be made wider: then one is left for each factor of two.
const MOST_BITS: u32 = 7;
/// So many cells at the end of a slot are looked at before another one is added.
const NEAR: usize = 8;
const FIRST_CELLS: usize = 8;

/// How many cells a peer's history may have: 512 KiB. When more are needed, buckets of latencies are made wider.
const OF_PEER: u32 = 1 << 16;
/// The same for the history of all peers together: 4 MiB.
const OF_ALL: u32 = 1 << 19;

/// One number of one slot.
#[derive(Clone, Copy, Debug)]
pub(super) struct Cell {
    /// The end of the number of the slot: the rest follows from the newest one.
    pub(super) slot: u16,
    /// Which number: see [`Key`].
    pub(super) key: u16,
    pub(super) value: u32,
}

/// What a cell counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Key {
    Number(Number),
    /// The longest latency, in nanoseconds or in microseconds.
    Longest(Latency, Unit),
    /// Latencies that fall into a bucket.
    Bucket(Latency, u16),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    Nanosecond,
    Microsecond,
}

/// Something that happened in one slot.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Part {
    /// So many of what a number of the counts counts.
    Count(Number, u64),
    /// So many latencies, none of them longer than so many nanoseconds.
    Latencies(Latency, u64, u64),
    /// The longest of the slot's latencies, which are counted besides.
    Longest(Latency, u64),
}

/// The last hour. Ten thousand peers have one each: hence the short numbers.
#[derive(Clone, Debug)]
pub(crate) struct History {
    /// By slot, the oldest first.
    cells: Vec<Cell>,
    /// The newest slot in which something happened.
    newest: u64,
    /// What happened in that, apart from what may be among the cells, where it is added up at once.
    current: Option<Box<CurrentSlot>>,
    /// How many cells there may be.
    most: u32,
}

/// That of a peer.
impl Default for History {
    fn default() -> Self {
        Self { cells: Vec::new(), newest: 0, current: None, most: OF_PEER }
    }
}

impl History {
    /// That of all peers together.
    pub(super) fn of_all() -> Self {
        Self { current: Some(Box::new(CurrentSlot::new())), most: OF_ALL, ..Self::default() }
    }

    /// Nothing yet, with as much room.
    pub(super) fn anew(&self) -> Self {
        if self.current.is_some() { Self::of_all() } else { Self::default() }
    }

    /// Whether nothing is kept.
    pub(super) fn is_empty(&self) -> bool {
        self.cells.is_empty() && self.current.as_ref().is_none_or(|current| current.is_empty())
    }

    /// Counts what happened at `now_ns`. Returns whether it takes more or less heap than before.
    pub(super) fn count(&mut self, event: PeerEvent, now_ns: u64) -> bool {
        let mut is_resized = false;
        for (number, mut more) in event.numbers() {
            while more > 0 {
                let some = u32::try_from(more).unwrap_or(u32::MAX);
                is_resized |= self.add(Key::Number(number), some, now_ns);
                more -= u64::from(some);
            }
        }
        is_resized
    }

    /// Takes back one of what was counted at `at_ns`, if that is still kept: no longer than the longest slots ago.
    pub(super) fn take_back(&mut self, number: Number, at_ns: u64) {
        let (key, slot) = (Key::Number(number), at_ns / SHORTEST_NS);
        if slot > self.newest || self.newest - slot > KEPT {
            return;
        }
        if slot == self.newest && self.current.as_mut().is_some_and(|current| current.take_back(key)) {
            return;
        }
        // The slot may be part of a longer one by now. What was counted late stands beside that, where it makes no difference.
        let lengths = SLOTS.map(|(_, length_ns)| length_ns / SHORTEST_NS);
        let places = lengths.into_iter().filter_map(|length| self.place_of(key, slot - slot % length));
        if let Some(place) = places.into_iter().next() {
            self.cells[place].value -= 1;
        }
    }

    /// Where a number of a slot is among the cells, if it is not 0.
    fn place_of(&self, key: Key, slot: u64) -> Option<usize> {
        let first = self.cells.partition_point(|cell| self.slot(cell) < slot);
        let of_slot = self.cells[first..].iter().take_while(|cell| self.slot(cell) == slot);
        let mut places = (first..).zip(of_slot);
        places.find(|(_, cell)| cell.key == key.number() && cell.value > 0).map(|(place, _)| place)
    }

    /// Adds the latencies of a handshake, in nanoseconds, as far as they are known. Returns whether it takes more or less heap
    /// than before.
    pub(super) fn record(&mut self, latencies: Times<Option<u64>>, now_ns: u64) -> bool {
        let mut is_resized = false;
        for latency in Latency::ALL {
            let Some(ns) = *latencies.of(latency) else { continue };
            is_resized |= self.add(Key::Bucket(latency, bucket(ns)), 1, now_ns);
            let (unit, value) = match u32::try_from(ns) {
                Ok(ns) => (Unit::Nanosecond, ns),
                Err(_) => (Unit::Microsecond, u32::try_from(ns / 1_000).unwrap_or(u32::MAX)),
            };
            is_resized |= self.add(Key::Longest(latency, unit), value, now_ns);
        }
        is_resized
    }

    /// What happened from `from_ns` on, which is the beginning of a slot, to the end of the slot that `to_ns` lies in, the
    /// oldest first. Each has the time of its slot.
    pub(crate) fn parts(&self, from_ns: u64, to_ns: u64) -> impl Iterator<Item = (u64, Part)> {
        let (from, to) = (from_ns / SHORTEST_NS, to_ns / SHORTEST_NS);
        let first = self.cells.partition_point(|cell| self.slot(cell) < from);
        let slots = self.cells[first..].iter().map(|cell| (self.slot(cell), *cell));
        let current = self.current_cells().filter(move |(slot, _)| *slot >= from);
        slots.chain(current).take_while(move |(slot, _)| *slot <= to).map(move |(slot, cell)| {
            let key = match Key::of(cell.key) {
                bucket @ Key::Bucket(..) if is_coarse(slot, to) => bucket.wider(COARSE_BITS),
                key => key,
            };
            (slot * SHORTEST_NS, key.part(cell.value.into()))
        })
    }

    /// Adds another one.
    pub(super) fn absorb(&mut self, other: &Self) {
        let newest = self.newest.max(other.newest);
        let all = [&*self, other].into_iter().flat_map(|history| {
            let slots = history.cells.iter().map(|cell| (history.slot(cell), *cell));
            slots
                .chain(history.current_cells())
                .filter(move |(slot, _)| newest - slot <= KEPT)
                .map(|(_, cell)| cell)
        });
        (self.cells, self.newest) = (all.collect(), newest);
        self.current.iter_mut().for_each(|current| current.clear());
        self.make_room();
    }

    /// What it takes on the heap, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        let current =
            self.current.as_ref().map_or(0, |current| size_of::<CurrentSlot>() + current.heap_bytes());
        self.cells.capacity() * size_of::<Cell>() + current
    }

    /// What is added up of the newest slot, as cells.
    fn current_cells(&self) -> impl Iterator<Item = (u64, Cell)> {
        let cells = self.current.iter().flat_map(|current| current.cells(stub(self.newest)));
        cells.map(|cell| (self.newest, cell))
    }

    fn add(&mut self, key: Key, value: u32, now_ns: u64) -> bool {
        let slot = now_ns / SHORTEST_NS;
        self.advance(slot);
        if self.newest - slot > KEPT {
            return false;
        }
        if slot == self.newest
            && let Some(current) = &mut self.current
            && current.add(key, value)
        {
            return false;
        }
        let cell = Cell { slot: stub(slot), key: key.number(), value };
        let place = self.place_after(slot);
        let near = self.cells[..place].iter().rev().take(NEAR).take_while(|other| other.slot == cell.slot);
        // A bucket is rarely met again so soon; the few other numbers are, and stay within reach.
        let is_bucket = matches!(key, Key::Bucket(..));
        let same = if is_bucket { None } else { near.into_iter().position(|other| other.key == cell.key) };
        if let Some(back) = same
            && self.cells[place - 1 - back].add(&cell)
        {
            self.cells.swap(place - 1 - back, place - 1);
            return false;
        }
        let is_full = self.cells.len() == self.cells.capacity();
        if is_full {
            self.make_room();
        }
        self.cells.insert(self.place_after(slot), cell);
        is_full
    }

    /// Where the next cell of a slot belongs. Nearly always at the end: few are reported late.
    fn place_after(&self, slot: u64) -> usize {
        let len = self.cells.len();
        if slot == self.newest { len } else { self.cells.partition_point(|cell| self.slot(cell) <= slot) }
    }

    /// Advances to a slot.
    fn advance(&mut self, slot: u64) {
        if slot <= self.newest {
            return;
        }
        self.end_current();
        if self.cells.first().is_some_and(|oldest| slot - self.slot(oldest) > OLDEST) {
            let past = self.cells.partition_point(|cell| slot - self.slot(cell) > KEPT);
            self.cells.drain(..past);
        }
        self.newest = slot;
    }

    /// Moves what was added up to the cells.
    fn end_current(&mut self) {
        let Some(mut current) = self.current.take() else { return };
        for cell in current.cells(stub(self.newest)) {
            if self.cells.len() == self.cells.capacity() {
                self.make_room();
            }
            self.cells.push(cell);
        }
        current.clear();
        self.current = Some(current);
    }

    /// The slot of a cell, counted from time 0.
    fn slot(&self, cell: &Cell) -> u64 {
        self.newest - u64::from(stub(self.newest).wrapping_sub(cell.slot))
    }

    /// Makes room for as many cells as there are, or for as many as may be.
    fn make_room(&mut self) {
        let most = self.most as usize;
        self.join(0);
        for bits in 1..=MOST_BITS {
            if self.cells.len() <= most / 2 {
                break;
            }
            self.join(bits);
        }
        let (len, wanted) = (self.cells.len(), (2 * self.cells.len()).next_power_of_two());
        let wanted = wanted.clamp(FIRST_CELLS, most);
        self.cells.reserve_exact(wanted.saturating_sub(len));
        self.cells.shrink_to(wanted);
    }

    /// Joins slots that have become old, with buckets that are wider by so many bits at least, and drops what is too old.
    fn join(&mut self, bits: u32) {
        let mut cells = core::mem::take(&mut self.cells);
        cells.retain_mut(|cell| {
            let slot = self.slot(cell);
            let coarse = if is_coarse(slot, self.newest) { COARSE_BITS } else { 0 };
            cell.slot = stub(joined(slot, self.newest));
            cell.key = Key::of(cell.key).wider(bits.max(coarse)).number();
            self.newest - slot <= KEPT
        });
        let newest = stub(self.newest);
        cells.sort_by_key(|cell| (Reverse(newest.wrapping_sub(cell.slot)), cell.key));
        cells.dedup_by(|cell, sum| (sum.slot, sum.key) == (cell.slot, cell.key) && sum.add(cell));
        self.cells = cells;
    }
}

impl Cell {
    /// Adds another one of the same number; `false` if that is too large.
    fn add(&mut self, other: &Self) -> bool {
        let sum = Key::of(self.key).sum(self.value, other.value);
        self.value = sum.unwrap_or(self.value);
        sum.is_some()
    }
}

#[allow(clippy::cast_possible_truncation, reason = "there are two latencies")]
impl Key {
    const LATENCIES: u16 = Latency::ALL.len() as u16;
    const FIRST_LONGEST: u16 = Number::COUNT;
    const FIRST_BUCKET: u16 = Self::FIRST_LONGEST + 2 * Self::LATENCIES;
    /// How many there are.
    pub(super) const COUNT: u16 = Self::FIRST_BUCKET + Self::LATENCIES * BUCKETS;

    /// Two numbers of this key as one; `None` if that is too large.
    pub(super) fn sum(self, one: u32, other: u32) -> Option<u32> {
        match self {
            Self::Longest(..) => Some(one.max(other)),
            Self::Number(_) | Self::Bucket(..) => one.checked_add(other),
        }
    }

    pub(super) const fn number(self) -> u16 {
        match self {
            Self::Number(number) => number.index(),
            Self::Longest(latency, unit) => Self::FIRST_LONGEST + 2 * latency as u16 + unit as u16,
            Self::Bucket(latency, bucket) => Self::FIRST_BUCKET + latency as u16 * BUCKETS + bucket,
        }
    }

    fn of(number: u16) -> Self {
        if let Some(bucket) = number.checked_sub(Self::FIRST_BUCKET) {
            return Self::Bucket(Latency::ALL[usize::from(bucket / BUCKETS)], bucket % BUCKETS);
        }
        match number.checked_sub(Self::FIRST_LONGEST) {
            Some(which) => {
                let unit = if which % 2 == 0 { Unit::Nanosecond } else { Unit::Microsecond };
                Self::Longest(Latency::ALL[usize::from(which / 2)], unit)
            }
            None => Self::Number(Number::at(number)),
        }
    }

    /// The same with wider buckets: of those that become one, the highest.
    const fn wider(self, bits: u32) -> Self {
        match self {
            Self::Bucket(latency, bucket) => Self::Bucket(latency, bucket | ((1 << bits) - 1)),
            Self::Number(_) | Self::Longest(..) => self,
        }
    }

    fn part(self, value: u64) -> Part {
        match self {
            Self::Number(number) => Part::Count(number, value),
            Self::Longest(latency, Unit::Nanosecond) => Part::Longest(latency, value),
            Self::Longest(latency, Unit::Microsecond) => Part::Longest(latency, value * 1_000),
            Self::Bucket(latency, bucket) => Part::Latencies(latency, bucket_end_ns(bucket), value),
        }
    }
}

#[allow(clippy::cast_possible_truncation, reason = "the rest follows from the newest slot")]
const fn stub(slot: u64) -> u16 {
    slot as u16
}

/// The slot that a slot is part of when `now` is the current one.
fn joined(slot: u64, now: u64) -> u64 {
    let begins = SLOTS.into_iter().rev().filter_map(|length| begin(slot, now, length));
    begins.into_iter().next().unwrap_or(slot)
}

/// Where the slot of this length begins that a slot is part of, if all of it is old enough.
fn begin(slot: u64, now: u64, (from_ns, length_ns): (u64, u64)) -> Option<u64> {
    let (from, length) = (from_ns / SHORTEST_NS, length_ns / SHORTEST_NS);
    let begin = slot - slot % length;
    (begin + length + from <= now || length == 1).then_some(begin)
}

/// Whether buckets are wider in this slot.
fn is_coarse(slot: u64, now: u64) -> bool {
    begin(slot, now, COARSE).is_some()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::{Outcome, Party};
    use crate::stats::Counts;
    use crate::stats::window::Window;

    const S: u64 = 1_000_000_000;
    /// A minute begins here.
    const START: u64 = 6_000 * S;

    fn counts(history: &History, from_ns: u64, now_ns: u64) -> Counts {
        let mut counts = Counts::default();
        for (_, part) in history.parts(from_ns, now_ns) {
            if let Part::Count(number, more) = part {
                counts.add(number, more);
            }
        }
        counts
    }

    /// Round-trip times with their slots, in milliseconds and seconds after the start, and how many there are of each.
    fn rtts(history: &History, now_ns: u64) -> Vec<(u64, u64, u64)> {
        let parts = history.parts(0, now_ns).filter_map(|(slot_ns, part)| match part {
            Part::Latencies(Latency::Rtt, end_ns, count) => Some((slot_ns, end_ns, count)),
            _ => None,
        });
        parts.map(|(slot_ns, end_ns, count)| ((slot_ns - START) / S, end_ns / 1_000_000, count)).collect()
    }

    fn rtt(ns: u64) -> Times<Option<u64>> {
        Times { rtt: Some(ns), setup: None }
    }

    #[test]
    fn what_happened_is_found_in_its_slot() {
        let mut history = History::default();
        for (event, second) in [
            (PeerEvent::Opened, 0),
            (PeerEvent::Ended(Outcome::Refused), 0),
            (PeerEvent::Opened, 2),
            (PeerEvent::Repeated { by: Party::Remote, is_loss: true }, 2),
            (PeerEvent::Ended(Outcome::Established), 5),
            // Late.
            (PeerEvent::Ended(Outcome::HalfOpen), 2),
            (PeerEvent::Retransmitted { by: [150_000, 50_000], arrived: 0 }, 5),
            (PeerEvent::Sent(3 << 32), 5),
        ] {
            history.count(event, START + second * S + 1);
        }
        let within = |from_s: u64, to_s: u64| counts(&history, START + from_s * S, START + to_s * S);
        let begin = within(0, 0);
        assert_eq!((begin.opened, begin.of(Outcome::Refused), begin.attempts()), (1, 1, 1));
        let middle = within(1, 4);
        assert_eq!((middle.opened, middle.of(Outcome::HalfOpen), middle.attempts()), (1, 1, 1));
        assert_eq!((middle.repeated, middle.received_retransmits), (1, 1));
        let end = within(5, 6);
        assert_eq!((end.sent, end.retransmitted, end.received_retransmits), (3 << 32, 200_000, 50_000));
        assert_eq!(within(0, 5).attempts(), 3);
    }

    #[test]
    fn what_is_taken_back_was_never_counted() {
        let (refused, silent) = (PeerEvent::Ended(Outcome::Refused), PeerEvent::Ended(Outcome::Unanswered));
        for age_s in [0, 1, 7, 20, 70, 700, 3_000] {
            for (mut history, is_joined) in
                [false, true].into_iter().flat_map(|j| [(History::default(), j), (History::of_all(), j)])
            {
                let times = [0, 200, 1_000, 1_400, 5_000, 61_000].map(|ms| START + ms * 1_000_000);
                for at_ns in times {
                    history.count(silent, at_ns);
                    history.count(refused, at_ns);
                }
                let now_ns = START + (61 + age_s) * S;
                history.count(PeerEvent::Opened, now_ns);
                if is_joined {
                    history.join(0);
                }
                for (taken, at_ns) in (1..).zip(times) {
                    history.take_back(Number::Attempts(Outcome::Unanswered), at_ns);
                    let window = Window::of(LONGEST_NS);
                    let left = counts(&history, window.begins_ns(now_ns), window.ends_ns(now_ns));
                    assert_eq!(left.of(Outcome::Unanswered), 6 - taken, "{age_s} s, {is_joined}");
                    assert_eq!((left.of(Outcome::Refused), left.opened), (6, 1));
                    let until = counts(&history, 0, at_ns);
                    assert!(is_joined || until.of(Outcome::Unanswered) == 0, "the one of this time");
                    history.take_back(Number::Attempts(Outcome::HalfOpen), at_ns);
                }
                history.count(silent, now_ns);
                assert_eq!(counts(&history, 0, now_ns).of(Outcome::Unanswered), 1);
            }
        }
    }

    #[test]
    fn slots_are_joined_as_they_age() {
        let mut history = History::default();
        let mut now_ns = START;
        while now_ns < START + 4_000 * S {
            history.count(PeerEvent::Opened, now_ns);
            now_ns += SHORTEST_NS;
        }
        history.join(0);
        let mut slots: Vec<u64> = history.cells.iter().map(|cell| history.slot(cell) * SHORTEST_NS).collect();
        slots.push(now_ns);
        let lengths: Vec<u64> = slots.windows(2).map(|pair| (pair[1] - pair[0]) / SHORTEST_NS).collect();
        let of = |length: u64| lengths.iter().filter(|other| **other == length).count();
        assert_eq!((of(300), of(25), of(5), of(1)), (50, 115, 59, 30), "{lengths:?}");
        assert!(lengths.is_sorted_by_key(|length| Reverse(*length)));
    }

    /// Whatever was joined by then, every window has exactly what happened since it began.
    #[test]
    fn a_window_is_exact_at_any_age() {
        let mut history = History::default();
        let mut happened = Vec::new();
        let mut random = 1_u64;
        let mut now_ns = START;
        for step in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            now_ns += random >> 34;
            // Some are reported late.
            let at_ns = if random.is_multiple_of(10) { now_ns.saturating_sub(random >> 30) } else { now_ns };
            history.count(PeerEvent::Opened, at_ns);
            happened.push(at_ns);
            if step % 100 == 0 {
                history.join(0);
            }
            if step % 50 == 7 {
                for window_s in [1, 3, 5, 10, 30, 60, 61, 300, 900, 3_600] {
                    let from_ns = Window::of(window_s * S).begins_ns(now_ns);
                    let expected = happened.iter().filter(|at_ns| **at_ns >= from_ns).count() as u64;
                    assert_eq!(
                        counts(&history, from_ns, now_ns).opened,
                        expected,
                        "{window_s} s in step {step}"
                    );
                }
            }
        }
        assert!(now_ns - START > 2 * 3_600 * S, "long enough that something is forgotten");
    }

    #[test]
    fn latencies_are_counted_by_bucket_and_the_longest_is_exact() {
        let mut history = History::default();
        for ns in [10_000_123, 10_000_124, 20_000_001, 9_000_000_000] {
            history.record(rtt(ns), START);
        }
        history.join(0);
        assert_eq!(rtts(&history, START), [(0, 10, 2), (0, 20, 1), (0, 9_059, 1)]);
        let longest = |history: &History| {
            let all = history.parts(0, START).filter_map(|(_, part)| match part {
                Part::Longest(Latency::Rtt, ns) => Some(ns),
                _ => None,
            });
            all.max()
        };
        assert_eq!(longest(&history), Some(9_000_000_000));
        let mut short = History::default();
        [10_000_123, 10_000_124].into_iter().for_each(|ns| _ = short.record(rtt(ns), START));
        assert_eq!(longest(&short), Some(10_000_124));
    }

    /// The figures of a window depend on what is in it, not on when slots were joined.
    #[test]
    fn old_latencies_are_coarse_whether_joined_or_not() {
        let mut history = History::default();
        for n in 0..200 {
            history.record(rtt(10_000_000 + n * 10_000), START + n * S / 10);
        }
        let at = |history: &History, now_ns: u64| {
            let mut all: Vec<_> =
                rtts(history, now_ns).into_iter().map(|(_, ms, count)| (ms, count)).collect();
            all.sort_unstable();
            let mut sums: Vec<(u64, u64)> = Vec::new();
            for (ms, count) in all {
                match sums.last_mut() {
                    Some((last, sum)) if *last == ms => *sum += count,
                    _ => sums.push((ms, count)),
                }
            }
            sums
        };
        let mut joined = history.clone();
        for age_s in [0, 3, 10, 59, 61, 100, 599, 700, 3_000] {
            let now_ns = START + 20 * S + age_s * S;
            joined.advance(now_ns / SHORTEST_NS);
            joined.join(0);
            assert_eq!(at(&joined, now_ns), at(&history, now_ns), "{age_s} s");
        }
        assert!(joined.cells.len() < 20, "{}", joined.cells.len());
    }

    /// It makes no difference where the newest slot is kept.
    #[test]
    fn a_history_of_all_is_that_of_a_peer() {
        let mut histories = [History::default(), History::of_all()];
        let mut random = 1_u64;
        let mut now_ns = START + 100 * S;
        for step in 0..20_000 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            now_ns += random >> 36;
            let at_ns = if random.is_multiple_of(10) { now_ns.saturating_sub(random >> 30) } else { now_ns };
            for history in &mut histories {
                history.record(rtt(random >> 34), at_ns);
                history.count(PeerEvent::Sent(random >> 33), at_ns);
            }
            if step % 97 == 0 {
                let from_ns = Window::of(30 * S).begins_ns(now_ns);
                let of = |history: &History| {
                    let longest = history.parts(from_ns, now_ns).filter_map(|(_, part)| match part {
                        Part::Longest(_, ns) => Some(ns),
                        _ => None,
                    });
                    let mut sums = std::collections::BTreeMap::new();
                    rtts(history, now_ns)
                        .into_iter()
                        .for_each(|(_, ms, count)| *sums.entry(ms).or_insert(0) += count);
                    (counts(history, from_ns, now_ns), longest.max(), sums)
                };
                let [peer, all] = &histories;
                assert_eq!(of(peer), of(all), "step {step}");
            }
            if step == 10_000 {
                let [peer, all] = &mut histories;
                let (mut one, mut other) = (peer.anew(), all.anew());
                one.absorb(peer);
                other.absorb(all);
                (*peer, *all) = (one, other);
            }
        }
    }

    /// The short numbers of slots repeat.
    #[test]
    fn slots_stay_distinct_after_a_long_silence() {
        for silence in [KEPT + 1, OLDEST, OLDEST + 1, 1 << 16, (1 << 16) + 1, 1 << 20] {
            let mut history = History::default();
            history.count(PeerEvent::Opened, START);
            history.count(PeerEvent::Opened, START + SHORTEST_NS * silence);
            let now_ns = START + SHORTEST_NS * (silence + 3);
            let from_ns = Window::of(LONGEST_NS).begins_ns(now_ns);
            assert_eq!(counts(&history, from_ns, now_ns).opened, 1, "{silence}");
        }
    }

    #[test]
    fn a_history_stays_within_its_bound() {
        let mut history = History::default();
        let mut random = 1_u64;
        let mut charged = 0;
        for n in 0..300_000_u64 {
            random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let ns = 1_000 << (random >> 60) << (random >> 50 & 7);
            let latencies =
                Times { rtt: Some(ns + ns * (random >> 54) / 1_024), setup: Some(ns + random % ns) };
            let now_ns = START + n * (S / 75);
            if history.record(latencies, now_ns) | history.count(PeerEvent::Opened, now_ns) {
                charged = history.heap_bytes();
            }
            assert!(charged == history.heap_bytes() && charged <= 512 << 10, "{charged} bytes");
        }
        let samples: u64 = rtts(&history, u64::MAX).iter().map(|(.., count)| count).sum();
        assert!(samples > 260_000, "{samples} of those of the last hour");
    }

    #[test]
    fn one_that_is_hardly_used_is_small() {
        let mut history = History::default();
        history.count(PeerEvent::Opened, START);
        history.count(PeerEvent::Ended(Outcome::Established), START);
        history.record(Times { rtt: Some(1_000_000), setup: Some(1_100_000) }, START);
        assert_eq!(history.heap_bytes(), 64);
    }
}
