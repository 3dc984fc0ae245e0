//! Slots with stable numbers, each in one of a few queues: the memory of the flow table.

use core::ops::Range;

use crate::prefetch::prefetch;

/// The end of a queue, and a slot that is in none.
const NONE: u32 = u32::MAX;

/// The queue of a slot, and its neighbours in it.
#[derive(Clone, Copy, Debug)]
struct Place {
    queue: usize,
    previous: u32,
    next: u32,
}

#[derive(Clone, Copy, Debug)]
struct Queue {
    first: u32,
    last: u32,
    len: usize,
}

/// Values in numbered slots; each value is in one of `QUEUES` first-in-first-out queues, so that the oldest of a class is
/// found at once. All operations on one value take constant time.
#[derive(Clone, Debug)]
pub(crate) struct Slab<T, const QUEUES: usize> {
    values: Vec<Option<T>>,
    /// Apart from the values: a move in a queue touches neighbours, whose values are not needed then.
    places: Vec<Place>,
    free: Vec<u32>,
    queues: [Queue; QUEUES],
}

impl<T, const QUEUES: usize> Slab<T, QUEUES> {
    /// An empty slab. It grows as needed.
    #[must_use]
    pub(crate) fn new() -> Self {
        let queue = Queue { first: NONE, last: NONE, len: 0 };
        Self { values: Vec::new(), places: Vec::new(), free: Vec::new(), queues: [queue; QUEUES] }
    }

    /// How many values there are.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.queues.iter().map(|queue| queue.len).sum()
    }

    /// How many values are in `queue`.
    #[must_use]
    pub(crate) fn len_of(&self, queue: usize) -> usize {
        self.queues[queue].len
    }

    /// The slot of the value that was put into `queue` first.
    #[must_use]
    pub(crate) fn oldest(&self, queue: usize) -> Option<u32> {
        let first = self.queues[queue].first;
        (first != NONE).then_some(first)
    }

    /// The value in a slot.
    #[must_use]
    pub(crate) fn get(&self, slot: u32) -> Option<&T> {
        self.values.get(slot as usize)?.as_ref()
    }

    pub(crate) fn get_mut(&mut self, slot: u32) -> Option<&mut T> {
        self.values.get_mut(slot as usize)?.as_mut()
    }

    /// Begins to bring the value in a slot into the nearest cache.
    pub(crate) fn prefetch(&self, slot: u32) {
        self.values.get(slot as usize).into_iter().for_each(prefetch);
        self.places.get(slot as usize).into_iter().for_each(prefetch);
    }

    /// Every value, in no useful order, with its slot.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (u32, &T)> {
        (0..).zip(&self.values).filter_map(|(number, value)| Some((number, value.as_ref()?)))
    }

    /// How many slots there are, with a value or without.
    #[must_use]
    pub(crate) const fn slots(&self) -> usize {
        self.values.len()
    }

    /// The values in some of the slots.
    pub(crate) fn range(&self, slots: Range<usize>) -> impl Iterator<Item = &T> {
        let end = slots.end.min(self.values.len());
        self.values[slots.start.min(end)..end].iter().flatten()
    }

    /// The slots of the values in `queue`, the newest first.
    pub(crate) fn newest(&self, queue: usize) -> impl Iterator<Item = u32> {
        let linked = |number: u32| Some(number).filter(|number| *number != NONE);
        core::iter::successors(linked(self.queues[queue].last), move |number| {
            linked(self.places[*number as usize].previous)
        })
    }

    pub(crate) fn iter_mut(&mut self) -> impl Iterator<Item = &mut T> {
        self.values.iter_mut().flatten()
    }

    /// Puts a value at the end of `queue`. Returns its slot.
    pub(crate) fn insert(&mut self, value: T, queue: usize) -> u32 {
        let number = self.free.pop().unwrap_or_else(|| {
            self.values.push(None);
            self.places.push(Place { queue, previous: NONE, next: NONE });
            u32::try_from(self.values.len() - 1).expect("fewer than 2^32 flows are allowed")
        });
        self.values[number as usize] = Some(value);
        self.append(number, queue);
        number
    }

    /// Takes a value out.
    pub(crate) fn remove(&mut self, number: u32) -> Option<T> {
        let value = self.values.get_mut(number as usize)?.take()?;
        self.vacate(number);
        Some(value)
    }

    /// Drops a value in place.
    pub(crate) fn discard(&mut self, number: u32) {
        if let Some(value @ Some(_)) = self.values.get_mut(number as usize) {
            *value = None;
            self.vacate(number);
        }
    }

    /// Moves the value of a slot to the end of `queue`, unless it is in that queue.
    pub(crate) fn requeue(&mut self, number: u32, queue: usize) {
        if self.places[number as usize].queue != queue {
            self.unlink(number);
            self.append(number, queue);
        }
    }

    /// Moves the value of a slot to the end of `queue`, as the newest.
    pub(crate) fn touch(&mut self, number: u32, queue: usize) {
        self.unlink(number);
        self.append(number, queue);
    }

    fn vacate(&mut self, number: u32) {
        self.unlink(number);
        self.free.push(number);
    }

    fn append(&mut self, number: u32, queue: usize) {
        let last = self.queues[queue].last;
        self.places[number as usize] = Place { queue, previous: last, next: NONE };
        match self.places.get_mut(last as usize) {
            Some(before) => before.next = number,
            None => self.queues[queue].first = number,
        }
        self.queues[queue].last = number;
        self.queues[queue].len += 1;
    }

    fn unlink(&mut self, number: u32) {
        let Place { queue, previous, next } = self.places[number as usize];
        match self.places.get_mut(previous as usize) {
            Some(before) => before.next = next,
            None => self.queues[queue].first = next,
        }
        match self.places.get_mut(next as usize) {
            Some(behind) => behind.previous = previous,
            None => self.queues[queue].last = previous,
        }
        self.queues[queue].len -= 1;
    }
}

impl<T, const QUEUES: usize> Default for Slab<T, QUEUES> {
    fn default() -> Self {
        Self::new()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_oldest_of_each_queue_is_found() {
        let mut slab: Slab<&str, 2> = Slab::new();
        let a = slab.insert("a", 0);
        let b = slab.insert("b", 0);
        let c = slab.insert("c", 0);
        slab.requeue(a, 1);
        assert_eq!((slab.oldest(0), slab.oldest(1)), (Some(b), Some(a)));
        slab.requeue(c, 1);
        slab.remove(a);
        assert_eq!((slab.oldest(0), slab.oldest(1)), (Some(b), Some(c)));
        assert_eq!((slab.len(), slab.len_of(0), slab.len_of(1)), (2, 1, 1));
        slab.insert("d", 0);
        assert_eq!(
            slab.newest(0).map(|slot| slab.get(slot).copied()).collect::<Vec<_>>(),
            [Some("d"), Some("b")]
        );
        assert_eq!((slab.slots(), slab.range(0..2).count(), slab.range(2..9).count()), (3, 2, 1));
    }

    #[test]
    fn a_freed_slot_is_used_again() {
        let mut slab: Slab<u8, 1> = Slab::new();
        let first = slab.insert(1, 0);
        assert_eq!(slab.remove(first), Some(1));
        assert_eq!(slab.remove(first), None);
        assert_eq!(slab.insert(2, 0), first);
        assert_eq!(slab.iter().map(|(_, value)| *value).collect::<Vec<_>>(), [2]);
    }

    #[test]
    fn requeueing_in_the_same_queue_keeps_the_age() {
        let mut slab: Slab<u8, 1> = Slab::new();
        let first = slab.insert(1, 0);
        slab.insert(2, 0);
        slab.requeue(first, 0);
        assert_eq!(slab.oldest(0), Some(first));
    }
}
