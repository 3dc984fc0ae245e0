//! The newest slot of a history in which so much happens that its numbers are added up at once.

use super::history::{Cell, Key};

/// One number for each key: adding to one is a single addition, where a history of cells is searched and grows.
#[derive(Clone, Debug)]
pub(super) struct CurrentSlot {
    values: Box<[u32]>,
    /// The keys whose numbers are not 0, in the order in which they came.
    keys: Vec<u16>,
}

impl CurrentSlot {
    /// Nothing yet.
    pub(super) fn new() -> Self {
        Self { values: vec![0; usize::from(Key::COUNT)].into(), keys: Vec::new() }
    }

    /// Adds to a number. Returns `false`, and adds nothing, if it would become too large.
    pub(super) fn add(&mut self, key: Key, value: u32) -> bool {
        let number = key.number();
        let sum = &mut self.values[usize::from(number)];
        let Some(more) = key.sum(*sum, value) else { return false };
        if *sum == 0 && more > 0 {
            self.keys.push(number);
        }
        *sum = more;
        true
    }

    /// Takes one from a number that is counted. Returns whether there was one.
    pub(super) fn take_back(&mut self, key: Key) -> bool {
        let number = key.number();
        let sum = &mut self.values[usize::from(number)];
        if *sum == 0 {
            return false;
        }
        *sum -= 1;
        if *sum == 0 {
            self.keys.retain(|known| *known != number);
        }
        true
    }

    /// Whether all numbers are 0.
    pub(super) const fn is_empty(&self) -> bool {
        self.keys.is_empty()
    }

    /// Its numbers as cells of a slot.
    pub(super) fn cells(&self, slot: u16) -> impl Iterator<Item = Cell> {
        self.keys.iter().map(move |key| Cell { slot, key: *key, value: self.values[usize::from(*key)] })
    }

    /// Makes all numbers 0.
    pub(super) fn clear(&mut self) {
        for key in self.keys.drain(..) {
            self.values[usize::from(key)] = 0;
        }
    }

    /// What it takes on the heap, in bytes.
    pub(super) const fn heap_bytes(&self) -> usize {
        self.values.len() * size_of::<u32>() + self.keys.capacity() * size_of::<u16>()
    }
}
