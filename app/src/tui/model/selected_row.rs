//! Rows that keep their identity while their order changes: the selected one, and an order that is held.

use std::collections::HashMap;
use std::hash::Hash;

/// The selected row of a table. Until the first move it is the first row, whichever that is.
#[derive(Clone, Debug)]
pub struct SelectedRow<Id> {
    id: Option<Id>,
    /// Its last position.
    row: usize,
}

impl<Id> Default for SelectedRow<Id> {
    fn default() -> Self {
        Self { id: None, row: 0 }
    }
}

impl<Id: Copy + PartialEq> SelectedRow<Id> {
    /// The row that was selected; `None` before the first move.
    #[must_use]
    pub const fn id(&self) -> Option<Id> {
        self.id
    }

    /// Selects a row, wherever it is.
    pub const fn select(&mut self, id: Id) {
        self.id = Some(id);
    }

    /// Its position among `ids`.
    #[must_use]
    pub fn row(&self, ids: &[Id]) -> usize {
        let found = self.id.and_then(|id| ids.iter().position(|other| *other == id));
        found.unwrap_or_else(|| self.row.min(ids.len().saturating_sub(1)))
    }

    /// Moves from its position among `ids` to another one.
    pub fn step(&mut self, ids: &[Id], to: impl Fn(usize) -> usize) {
        self.row = to(self.row(ids)).min(ids.len().saturating_sub(1));
        self.id = ids.get(self.row).copied();
    }

    /// Finds the row again among new `ids`. If it is gone, the one in its place is selected.
    pub fn follow(&mut self, ids: &[Id]) {
        if self.id.is_some() && !ids.is_empty() {
            self.step(ids, |row| row);
        }
    }
}

/// Positions of the rows `ids` in the order that is held, new rows last; in their own order if none is held.
#[must_use]
pub(super) fn held_order<Id: Copy + Eq + Hash>(ids: &[Id], held: Option<&[Id]>) -> Vec<usize> {
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
    fn the_selection_follows_its_row_and_stays_in_place_when_that_is_gone() {
        let mut selected = SelectedRow::default();
        assert_eq!((selected.row(&['a', 'b']), selected.id()), (0, None));
        selected.step(&['a', 'b', 'c', 'd'], |row| row + 2);
        assert_eq!((selected.id(), selected.row(&['c', 'a', 'b'])), (Some('c'), 0));
        selected.follow(&['a', 'b', 'd', 'e']);
        assert_eq!(selected.id(), Some('d'));
        selected.follow(&['a']);
        assert_eq!(selected.id(), Some('a'));
        selected.follow(&[]);
        assert_eq!(selected.row(&[]), 0);
    }

    #[test]
    fn a_held_order_takes_newcomers_last() {
        assert_eq!(held_order(&['x', 'b', 'a', 'y'], Some(&['a', 'b', 'c'])), [2, 1, 0, 3]);
        assert_eq!(held_order(&['x', 'b'], None), [0, 1]);
    }
}
