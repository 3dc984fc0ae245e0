//! What was added up for a socket in the kernel, and what was read of it there.

use probe_common::sums::{Fact, RawSocketSums, Sum};

/// A socket, as far as events and the kernel's own structure tell of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketSums {
    facts: [u64; Fact::COUNT],
    /// `None` if no event was collected yet.
    sums: Option<[u64; Sum::COUNT]>,
    /// Whether segments that come in are counted, too.
    has_segments: bool,
}

impl SocketSums {
    /// As the kernel wrote it; `has_segments` is whether segments are counted.
    #[must_use]
    pub fn new(raw: &RawSocketSums, has_segments: bool) -> Self {
        Self { facts: raw.facts, sums: (raw.has_sums != 0).then_some(raw.sums.0), has_segments }
    }

    /// Whether events were collected since the connection began; `None` if none was collected.
    #[must_use]
    pub fn is_whole(&self) -> Option<bool> {
        self.sum(Sum::Started).map(|started_ns| started_ns != 0)
    }

    pub(crate) const fn fact(&self, fact: Fact) -> u64 {
        self.facts[fact as usize]
    }

    pub(crate) fn sum(&self, sum: Sum) -> Option<u64> {
        Some(self.sums?[sum as usize])
    }

    /// A sum of segments that come in. One that no segment was added to is not known: the kernel may not tell of them.
    pub(crate) fn of_segments(&self, sum: Sum) -> Option<u64> {
        self.sum(sum).filter(|_| self.has_segments && self.sum(Sum::SegmentsIn) != Some(0))
    }

    /// The same with another value.
    #[cfg(test)]
    pub(crate) fn with_fact(mut self, fact: Fact, value: u64) -> Self {
        self.facts[fact as usize] = value;
        self
    }

    /// The same with another value.
    #[cfg(test)]
    pub(crate) fn with_sum(mut self, sum: Sum, value: u64) -> Self {
        self.sums.get_or_insert([0; Sum::COUNT])[sum as usize] = value;
        self
    }
}
