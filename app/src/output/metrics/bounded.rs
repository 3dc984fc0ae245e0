//! Which values of a label have series of their own, so that nobody outside makes series without end.

use std::collections::{BTreeMap, BTreeSet};

/// A value that nothing was established with has its own series from so many attempts on: a scan tries each port once.
const ATTEMPTS: u8 = 10;
/// The most values whose attempts are counted until they have series of their own.
const WAITING: usize = 4_096;

/// The values that have series of their own: the first that had a connection, or enough attempts. None ever loses them, because
/// a counter must not go back.
#[derive(Debug)]
pub(super) struct Bounded<K> {
    most: usize,
    own: BTreeSet<K>,
    attempts: BTreeMap<K, u8>,
}

impl<K: Ord + Clone> Bounded<K> {
    /// No value has series yet; up to so many will.
    pub(super) const fn new(most: usize) -> Self {
        Self { most, own: BTreeSet::new(), attempts: BTreeMap::new() }
    }

    /// Whether a value has series of its own, after another attempt with it.
    pub(super) fn has(&mut self, value: &K, is_established: bool) -> bool {
        let has_room = self.own.len() < self.most && !self.own.contains(value);
        if has_room && (is_established || self.has_enough(value)) {
            self.attempts.remove(value);
            self.own.insert(value.clone());
        }
        self.own.contains(value)
    }

    /// Whether it has, as it is.
    pub(super) fn is_own(&self, value: &K) -> bool {
        self.own.contains(value)
    }

    /// Its series have ended: there is room for another one.
    pub(super) fn remove(&mut self, value: &K) {
        self.own.remove(value);
    }

    /// Counts an attempt.
    fn has_enough(&mut self, value: &K) -> bool {
        if self.attempts.len() >= WAITING && !self.attempts.contains_key(value) {
            self.attempts.clear();
        }
        let attempts = self.attempts.entry(value.clone()).or_default();
        *attempts += 1;
        *attempts >= ATTEMPTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_or_ten_attempts_make_a_label() {
        let mut ports = Bounded::new(2);
        assert!(ports.has(&443, true));
        for _ in 1..ATTEMPTS {
            assert!(!ports.has(&81, false));
        }
        assert!(ports.has(&81, false));
        assert!(!ports.has(&82, true), "no room");
        assert!(ports.has(&443, false), "it never goes back");
        ports.remove(&81);
        assert!(ports.has(&82, true));
    }

    #[test]
    fn a_scan_of_all_ports_makes_no_label() {
        let mut ports = Bounded::new(50);
        (1..=u16::MAX).for_each(|port| assert!(!ports.has(&port, false)));
        assert!(ports.attempts.len() <= WAITING);
        assert!(ports.has(&22, true));
    }
}
