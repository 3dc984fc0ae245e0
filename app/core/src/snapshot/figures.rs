//! Counts and latencies of a span of time.

use core::ops::AddAssign;

use super::Span;
use super::latency::{Percentiles, Scratch};
use crate::table::peer::{Counts, PeerEvent, Tally};

/// Counts of handshakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Connection attempts that were seen.
    pub opened: u64,
    /// Completed.
    pub established: u64,
    /// Answered by a RST.
    pub refused: u64,
    /// Not answered. Within the window: those still waiting, too.
    pub unanswered: u64,
    /// Answered, but never completed.
    pub half_open: u64,
    /// Ended by a RST after the SYN-ACK.
    pub reset: u64,
    /// Nothing of the opener was seen.
    pub unknown: u64,
    /// SYNs and SYN-ACKs that were sent again.
    pub repeated: u64,
    /// Segments with data, in both directions.
    pub sent: u64,
    /// Segments of them that had been sent before.
    pub resent: u64,
}

/// Counts and latencies of one span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Counts.
    pub outcomes: Outcomes,
    /// Round-trip times, where there are any.
    pub rtt: Option<Percentiles>,
}

/// The span of time that figures are of.
#[derive(Clone, Copy, Debug)]
pub(super) struct Period {
    pub(super) span: Span,
    /// Length of a slot of the window.
    pub(super) slot_ns: u64,
    pub(super) now_ns: u64,
}

impl Period {
    pub(super) fn figures(&self, tally: &Tally, scratch: &mut Scratch) -> Figures {
        self.rtts(tally, scratch);
        Figures { outcomes: self.outcomes(tally), rtt: scratch.take() }
    }

    pub(super) fn outcomes(&self, tally: &Tally) -> Outcomes {
        match self.span {
            Span::Window => {
                let mut outcomes = Outcomes::of(&tally.counts(self.now_ns, self.slot_ns));
                outcomes.unanswered += tally.waiting;
                outcomes
            }
            Span::SinceStart => Outcomes::of(tally.counts_since_start()),
        }
    }

    pub(super) fn rtts(&self, tally: &Tally, scratch: &mut Scratch) {
        match self.span {
            Span::Window => tally.rtts(self.now_ns, self.slot_ns).for_each(|rtts| scratch.add(rtts)),
            Span::SinceStart => scratch.add(tally.rtts_since_start()),
        }
    }

    /// The number of the slot that is under way: what it was is other figures.
    pub(super) const fn slide(&self) -> u64 {
        match self.span {
            Span::Window => self.now_ns / self.slot_ns,
            Span::SinceStart => 0,
        }
    }
}

impl AddAssign for Outcomes {
    fn add_assign(&mut self, other: Self) {
        self.opened += other.opened;
        self.established += other.established;
        self.refused += other.refused;
        self.unanswered += other.unanswered;
        self.half_open += other.half_open;
        self.reset += other.reset;
        self.unknown += other.unknown;
        self.repeated += other.repeated;
        self.sent += other.sent;
        self.resent += other.resent;
    }
}

impl Outcomes {
    fn of(counts: &Counts) -> Self {
        Self {
            opened: counts.of(PeerEvent::Opened),
            established: counts.of(PeerEvent::Established),
            refused: counts.of(PeerEvent::Refused),
            unanswered: counts.of(PeerEvent::Unanswered),
            half_open: counts.of(PeerEvent::HalfOpen),
            reset: counts.of(PeerEvent::Reset),
            unknown: counts.of(PeerEvent::OneSided),
            repeated: counts.of(PeerEvent::Repeated),
            sent: counts.of(PeerEvent::Sent),
            resent: counts.of(PeerEvent::Retransmitted),
        }
    }

    /// Did nothing happen?
    pub(super) fn is_nothing(&self) -> bool {
        *self == Self::default()
    }

    /// Attempts that the other end left without a reply: to the SYN, or to the SYN-ACK.
    #[must_use]
    pub const fn silent(&self) -> u64 {
        self.unanswered + self.half_open
    }

    /// What was sent again of any kind.
    #[must_use]
    pub const fn retransmits(&self) -> u64 {
        self.repeated + self.resent
    }

    /// What could have been: data, and the SYNs and their repeats.
    #[must_use]
    pub const fn segments(&self) -> u64 {
        self.sent + self.opened + self.repeated
    }

    /// The share of segments that were retransmits, 0 to 1, or `None` when there were none.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a share is shown with three digits")]
    pub fn retransmit_share(&self) -> Option<f64> {
        let segments = self.segments();
        (segments > 0).then(|| (self.retransmits() as f64 / segments as f64).min(1.0))
    }

    /// Handshakes that were decided.
    #[must_use]
    pub const fn decided(&self) -> u64 {
        self.established + self.refused + self.unanswered + self.half_open + self.reset + self.unknown
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "2^53 ns are 104 days, and the result is shown with three digits"
)]
pub(super) fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
