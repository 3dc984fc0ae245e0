//! Which service ports have series of their own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::{self, Write};

use prometheus_client::encoding::{EncodeLabelValue, LabelValueEncoder};

/// A port that nothing was established on has its own series from so many attempts on: a scan tries each port once.
const ATTEMPTS: u8 = 10;
/// The most ports whose attempts are counted until they have series of their own.
const WAITING: usize = 4_096;

/// A service port, or all that have no series of their own.
#[derive(Clone, Copy, Debug, Hash, PartialEq, Eq)]
pub(super) enum PortLabel {
    Port(u16),
    Other,
}

impl EncodeLabelValue for PortLabel {
    fn encode(&self, encoder: &mut LabelValueEncoder<'_>) -> fmt::Result {
        match self {
            Self::Port(port) => write!(encoder, "{port}"),
            Self::Other => encoder.write_str("other"),
        }
    }
}

/// The ports that have series of their own: the first that had a connection, or enough attempts. None ever loses them, because
/// a counter must not go back.
#[derive(Debug)]
pub(super) struct Ports {
    most: usize,
    own: BTreeSet<u16>,
    attempts: BTreeMap<u16, u8>,
}

impl Ports {
    /// No port has series yet; up to so many will.
    pub(super) const fn new(most: usize) -> Self {
        Self { most, own: BTreeSet::new(), attempts: BTreeMap::new() }
    }

    /// The label of an attempt on a port.
    pub(super) fn label(&mut self, port: u16, is_established: bool) -> PortLabel {
        let has_room = self.own.len() < self.most && !self.own.contains(&port);
        if has_room && (is_established || self.has_enough(port)) {
            self.attempts.remove(&port);
            self.own.insert(port);
        }
        self.known(port)
    }

    /// The label of a port as it is.
    pub(super) fn known(&self, port: u16) -> PortLabel {
        if self.own.contains(&port) { PortLabel::Port(port) } else { PortLabel::Other }
    }

    /// Counts an attempt.
    fn has_enough(&mut self, port: u16) -> bool {
        if self.attempts.len() >= WAITING && !self.attempts.contains_key(&port) {
            self.attempts.clear();
        }
        let attempts = self.attempts.entry(port).or_default();
        *attempts += 1;
        *attempts >= ATTEMPTS
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_connection_or_ten_attempts_make_a_label() {
        let mut ports = Ports::new(2);
        assert_eq!(ports.label(443, true), PortLabel::Port(443));
        for _ in 1..ATTEMPTS {
            assert_eq!(ports.label(81, false), PortLabel::Other);
        }
        assert_eq!(ports.label(81, false), PortLabel::Port(81));
        assert_eq!(ports.label(82, true), PortLabel::Other, "no room");
        assert_eq!(ports.label(443, false), PortLabel::Port(443), "it never goes back");
    }

    #[test]
    fn a_scan_of_all_ports_makes_no_label() {
        let mut ports = Ports::new(50);
        (1..=u16::MAX).for_each(|port| assert_eq!(ports.label(port, false), PortLabel::Other));
        assert!(ports.attempts.len() <= WAITING);
        assert_eq!(ports.label(22, true), PortLabel::Port(22));
    }
}
