//! Why segments were retransmitted, as far as the sockets that sent them say so.

use probe_common::Cause;

pub use probe_common::Cause as RetransmitCause;

/// Retransmits of a flow, a peer or all, by their cause. Each has one cause or none that is known.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RetransmitCauses {
    by_cause: [u64; Cause::COUNT],
    /// Those of which no socket says why: the peer sent them, or they are SYN-ACKs, or pass this host.
    unknown: u64,
    /// Those of any cause that turned out to be needless: the other end says that the segment arrived twice (D-SACK).
    spurious: u64,
}

/// A value of the filter term `cause:`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum CauseTerm {
    Known(Cause),
    Unknown,
    Spurious,
}

impl CauseTerm {
    /// Every value.
    pub(crate) const ALL: [Self; Cause::COUNT + 2] = [
        Self::Known(Cause::Timeout),
        Self::Known(Cause::SlowStart),
        Self::Known(Cause::Fast),
        Self::Known(Cause::TailLossProbe),
        Self::Spurious,
        Self::Unknown,
    ];

    /// How it is typed.
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::Known(cause) => cause.name(),
            Self::Unknown => "unknown",
            Self::Spurious => "spurious",
        }
    }
}

impl RetransmitCauses {
    /// So many of all these retransmits by cause, and so many spurious ones. A part is never more than its whole.
    pub(crate) fn new(retransmits: u64, by_cause: [u64; Cause::COUNT], spurious: u64) -> Self {
        let mut rest = retransmits;
        let by_cause = by_cause.map(|count| {
            let count = count.min(rest);
            rest -= count;
            count
        });
        Self { by_cause, unknown: rest, spurious: spurious.min(retransmits) }
    }

    /// Retransmits with this cause.
    #[must_use]
    pub const fn of(&self, cause: RetransmitCause) -> u64 {
        self.by_cause[cause as usize]
    }

    /// Retransmits whose cause is not known.
    #[must_use]
    pub const fn unknown(&self) -> u64 {
        self.unknown
    }

    /// Retransmits of any cause that were needless, as far as is known.
    #[must_use]
    pub const fn spurious(&self) -> u64 {
        self.spurious
    }

    /// The most frequent cause of those that are known.
    #[must_use]
    pub fn main(&self) -> Option<RetransmitCause> {
        // Of equal ones the first.
        let most = Cause::ALL.into_iter().rev().max_by_key(|cause| self.of(*cause));
        most.filter(|cause| self.of(*cause) > 0)
    }

    /// Whether there is one that a filter term asks for.
    pub(crate) const fn has(&self, term: CauseTerm) -> bool {
        match term {
            CauseTerm::Known(cause) => self.of(cause) > 0,
            CauseTerm::Unknown => self.unknown > 0,
            CauseTerm::Spurious => self.spurious > 0,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_parts_are_the_whole() {
        for retransmits in 0..20 {
            let causes = RetransmitCauses::new(retransmits, [1, 2, 3, 4], 5);
            let known: u64 = Cause::ALL.into_iter().map(|cause| causes.of(cause)).sum();
            assert_eq!(known + causes.unknown(), retransmits);
            assert!(causes.spurious() <= retransmits);
        }
    }

    #[test]
    fn the_main_cause_is_the_most_frequent_one() {
        let main = |by_cause| RetransmitCauses::new(100, by_cause, 0).main();
        assert_eq!(main([0; 4]), None);
        assert_eq!(main([1, 0, 3, 2]), Some(Cause::Fast));
        assert_eq!(main([2, 0, 2, 0]), Some(Cause::Timeout));
    }
}
