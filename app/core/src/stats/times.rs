//! The two latencies of a handshake that are counted.

use super::distribution::Distribution;

/// Which latency of a handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Latency {
    /// The leg that crosses the network. Not known where a SYN or SYN-ACK was repeated and nothing says which one was
    /// answered.
    #[default]
    Rtt,
    /// From the first SYN to the ACK: what the application waits, repeated SYNs included.
    Setup,
}

impl Latency {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Rtt, Self::Setup];

    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Rtt => "rtt",
            Self::Setup => "setup",
        }
    }

    /// The other one.
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Rtt => Self::Setup,
            Self::Setup => Self::Rtt,
        }
    }
}

/// One for each latency of a handshake.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Times<T> {
    /// Of the round-trip times.
    pub(crate) rtt: T,
    /// Of the setup times.
    pub(crate) setup: T,
}

impl<T> Times<T> {
    /// The one of this latency.
    #[must_use]
    pub(crate) const fn of(&self, latency: Latency) -> &T {
        match latency {
            Latency::Rtt => &self.rtt,
            Latency::Setup => &self.setup,
        }
    }

    /// The one of this latency, to be changed.
    pub(crate) const fn of_mut(&mut self, latency: Latency) -> &mut T {
        match latency {
            Latency::Rtt => &mut self.rtt,
            Latency::Setup => &mut self.setup,
        }
    }
}

impl Times<Distribution> {
    /// Adds the latencies of a handshake, in nanoseconds, as far as they are known. Returns whether they take more or less
    /// heap than before.
    pub(super) fn record(&mut self, latencies: Times<Option<u64>>) -> bool {
        let rtt = latencies.rtt.is_some_and(|rtt_ns| self.rtt.record(rtt_ns));
        let setup = latencies.setup.is_some_and(|setup_ns| self.setup.record(setup_ns));
        rtt || setup
    }

    /// Adds all of another pair.
    pub(super) fn absorb(&mut self, other: &Self) {
        self.rtt.absorb(&other.rtt);
        self.setup.absorb(&other.setup);
    }

    /// What they take on the heap, in bytes.
    #[must_use]
    pub(super) fn heap_bytes(&self) -> usize {
        self.rtt.heap_bytes() + self.setup.heap_bytes()
    }
}
