//! Rows that stay what they are while their order changes: the selected one, and a held order.

use std::collections::HashMap;
use std::hash::Hash;

/// A selected row. Before the first move it is the first, whichever that is.
#[derive(Clone, Debug)]
pub struct Mark<Id> {
    id: Option<Id>,
    /// Where it was last.
    row: usize,
}

impl<Id> Default for Mark<Id> {
    fn default() -> Self {
        Self { id: None, row: 0 }
    }
}

impl<Id: Copy + PartialEq> Mark<Id> {
    /// The row that was chosen, if any was.
    #[must_use]
    pub const fn chosen(&self) -> Option<Id> {
        self.id
    }

    /// Chooses a row, wherever it is.
    pub const fn choose(&mut self, id: Id) {
        self.id = Some(id);
    }

    /// Where it is among these.
    #[must_use]
    pub fn row(&self, ids: &[Id]) -> usize {
        let found = self.id.and_then(|id| ids.iter().position(|other| *other == id));
        found.unwrap_or_else(|| self.row.min(ids.len().saturating_sub(1)))
    }

    /// Goes to another row of these.
    pub fn step(&mut self, ids: &[Id], to: impl Fn(usize) -> usize) {
        self.row = to(self.row(ids)).min(ids.len().saturating_sub(1));
        self.id = ids.get(self.row).copied();
    }

    /// Finds its row again. When that is gone, the one in its place is marked.
    pub fn settle(&mut self, ids: &[Id]) {
        if self.id.is_some() && !ids.is_empty() {
            self.step(ids, |row| row);
        }
    }
}

/// Positions of these rows in the order that is held, those that are not in it last; without one, as they are.
#[must_use]
pub(super) fn arranged<Id: Copy + Eq + Hash>(ids: &[Id], held: Option<&[Id]>) -> Vec<usize> {
    let mut order: Vec<usize> = (0..ids.len()).collect();
    if let Some(held) = held {
        let places: HashMap<Id, usize> = held.iter().copied().zip(0..).collect();
        order.sort_by_key(|&index| places.get(&ids[index]).copied().unwrap_or(usize::MAX));
    }
    order
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_follows_its_row_and_stays_in_place_when_that_is_gone() {
        let mut mark = Mark::default();
        assert_eq!((mark.row(&['a', 'b']), mark.chosen()), (0, None));
        mark.step(&['a', 'b', 'c', 'd'], |row| row + 2);
        assert_eq!((mark.chosen(), mark.row(&['c', 'a', 'b'])), (Some('c'), 0));
        mark.settle(&['a', 'b', 'd', 'e']);
        assert_eq!(mark.chosen(), Some('d'));
        mark.settle(&['a']);
        assert_eq!(mark.chosen(), Some('a'));
        mark.settle(&[]);
        assert_eq!(mark.row(&[]), 0);
    }

    #[test]
    fn a_held_order_takes_newcomers_last() {
        assert_eq!(arranged(&['x', 'b', 'a', 'y'], Some(&['a', 'b', 'c'])), [2, 1, 0, 3]);
        assert_eq!(arranged(&['x', 'b'], None), [0, 1]);
    }
}
