//! How often what happened.
//!
//! The attempts of a span of time are those that were open in it: those that are open at its end, and those that ended
//! within it. Each is counted once, by its outcome, and all of them are the sum of these counts. So a part is never more
//! than its whole: after a reset, after a change of the window, in groups, and when flows or peers are evicted.

use core::ops::AddAssign;

use crate::flow::{Outcome, Party, RetransmitCause, RetransmitCauses};

/// Something that happens to a connection and is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum PeerEvent {
    /// The first segment of a handshake was seen.
    Opened,
    /// An attempt ended with this outcome. [`Outcome::Pending`] is for one that is no longer followed: the run ended,
    /// or its flow was evicted.
    Ended(Outcome),
    /// A SYN or SYN-ACK was retransmitted.
    Repeated {
        /// Who sent it.
        by: Party,
        /// Whether the one before had not arrived, as far as is known.
        is_loss: bool,
    },
    /// The setup time of a handshake that ended as established is slow.
    SlowSetup,
    /// A connection was aborted. Dated to the end of its handshake, so that it is never without its attempt.
    Aborted,
    /// Segments of full size turned out not to get through a connection, although smaller ones do.
    Stuck,
    /// Segments with data were sent.
    Sent(u64),
    /// Segments with data were retransmitted.
    Retransmitted {
        /// By this host, and by the other end.
        by: [u64; 2],
        /// How many of them had arrived before, as far as is known.
        arrived: u64,
    },
    /// So many of the retransmits that are counted at the same time have this cause.
    Caused {
        /// The cause.
        cause: RetransmitCause,
        /// How many.
        retransmits: u64,
    },
    /// Retransmits turned out to have been needless.
    Spurious {
        /// How many.
        spurious: u64,
        /// Whether it was not known yet that what they repeat had arrived.
        is_news: bool,
    },
    /// An open attempt counts as unanswered from now on, or no longer.
    Waits {
        /// From now on.
        begins: bool,
    },
}

/// One of the numbers of [`Counts`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Opened,
    SlowSetups,
    Aborted,
    Repeated,
    Sent,
    Retransmitted,
    ReceivedRetransmits,
    Arrived,
    Stuck,
    WaitsBegun,
    WaitsEnded,
    Spurious,
    /// Retransmits with this cause.
    Caused(RetransmitCause),
    /// Attempts with this outcome, which is one that attempts have.
    Attempts(Outcome),
}

#[allow(clippy::cast_possible_truncation, reason = "there are fewer than thirty")]
impl Number {
    const OTHERS: [Self; 16] = [
        Self::Opened,
        Self::SlowSetups,
        Self::Aborted,
        Self::Repeated,
        Self::Sent,
        Self::Retransmitted,
        Self::ReceivedRetransmits,
        Self::Arrived,
        Self::Stuck,
        Self::WaitsBegun,
        Self::WaitsEnded,
        Self::Spurious,
        Self::Caused(RetransmitCause::Timeout),
        Self::Caused(RetransmitCause::SlowStart),
        Self::Caused(RetransmitCause::Fast),
        Self::Caused(RetransmitCause::TailLossProbe),
    ];
    /// How many there are.
    pub(super) const COUNT: u16 = (Self::OTHERS.len() + Outcome::OF_ATTEMPTS) as u16;

    /// Its place among all of them.
    pub(super) const fn index(self) -> u16 {
        match self {
            Self::Opened => 0,
            Self::SlowSetups => 1,
            Self::Aborted => 2,
            Self::Repeated => 3,
            Self::Sent => 4,
            Self::Retransmitted => 5,
            Self::ReceivedRetransmits => 6,
            Self::Arrived => 7,
            Self::Stuck => 8,
            Self::WaitsBegun => 9,
            Self::WaitsEnded => 10,
            Self::Spurious => 11,
            Self::Caused(cause) => 12 + cause as u16,
            Self::Attempts(outcome) => Self::OTHERS.len() as u16 + outcome as u16,
        }
    }

    /// The one in this place.
    pub(super) fn at(index: u16) -> Self {
        let index = usize::from(index);
        let attempts = || Self::Attempts(Outcome::of_attempt(index - Self::OTHERS.len()));
        Self::OTHERS.get(index).copied().unwrap_or_else(attempts)
    }
}

impl PeerEvent {
    /// What it adds to which numbers.
    pub(super) fn numbers(self) -> impl Iterator<Item = (Number, u64)> {
        let none = (Number::Opened, 0);
        let numbers = match self {
            Self::Opened => [(Number::Opened, 1), none, none],
            Self::Ended(outcome) => [(Number::Attempts(outcome), 1), none, none],
            Self::SlowSetup => [(Number::SlowSetups, 1), none, none],
            Self::Aborted => [(Number::Aborted, 1), none, none],
            Self::Repeated { by, is_loss } => [
                (Number::Repeated, 1),
                (Number::ReceivedRetransmits, u64::from(by == Party::Remote)),
                (Number::Arrived, u64::from(!is_loss)),
            ],
            Self::Stuck => [(Number::Stuck, 1), none, none],
            Self::Sent(segments) => [(Number::Sent, segments), none, none],
            Self::Retransmitted { by: [sent, received], arrived } => [
                (Number::Retransmitted, sent + received),
                (Number::ReceivedRetransmits, received),
                (Number::Arrived, arrived),
            ],
            Self::Caused { cause, retransmits } => [(Number::Caused(cause), retransmits), none, none],
            Self::Spurious { spurious, is_news } => {
                [(Number::Spurious, spurious), (Number::Arrived, if is_news { spurious } else { 0 }), none]
            }
            Self::Waits { begins: true } => [(Number::WaitsBegun, 1), none, none],
            Self::Waits { begins: false } => [(Number::WaitsEnded, 1), none, none],
        };
        numbers.into_iter().filter(|(_, more)| *more > 0)
    }
}

/// Counts of connection attempts and segments.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Attempts that began. Not the whole of the others: an attempt may begin before the span of time, or end after it.
    pub opened: u64,
    /// Attempts by [`Outcome`].
    attempts: [u64; Outcome::OF_ATTEMPTS],
    /// Established ones of them whose setup time is slow: see [`Thresholds::slow_setup_ns`](super::Thresholds).
    pub slow_setups: u64,
    /// Those of them that the responder accepted and reset soon after, before it sent any data: see
    /// [`Flow::is_aborted`](crate::Flow::is_aborted).
    pub aborted: u64,
    /// SYNs and SYN-ACKs that were retransmitted.
    pub repeated: u64,
    /// Segments with data, in both directions.
    pub sent: u64,
    /// Segments of them that were retransmits.
    pub retransmitted: u64,
    /// Retransmits of any kind that the peer sent. This host sent the others.
    pub received_retransmits: u64,
    /// Retransmits whose transmission before had arrived, as it may turn out later: at the edge of a span of time there may be
    /// more of them than retransmits.
    pub(crate) arrived: u64,
    /// Connections in which segments of full size did not get through although smaller ones did: the MTU of the path may be
    /// smaller than its ends know.
    pub stuck: u64,
    /// Retransmits by [`RetransmitCause`].
    causes: [u64; RetransmitCause::COUNT],
    /// Retransmits that turned out to have been needless, as `arrived`.
    spurious: u64,
    /// Open attempts that began to count as unanswered.
    pub(super) waits_begun: u64,
    /// Those that no longer do.
    pub(super) waits_ended: u64,
}

impl Counts {
    /// Attempts with this outcome; 0 for [`Outcome::Closed`], which no attempt has. Open ones are unanswered from the moment
    /// on that the SYN is retransmitted or a second old, and pending before.
    #[must_use]
    pub fn of(&self, outcome: Outcome) -> u64 {
        self.attempts.get(outcome as usize).copied().unwrap_or(0)
    }

    /// All attempts: the sum of all outcomes.
    #[must_use]
    pub fn attempts(&self) -> u64 {
        self.attempts.iter().sum()
    }

    /// Attempts that the other end did not reply to: to the SYN, or to the SYN-ACK.
    #[must_use]
    pub fn unanswered(&self) -> u64 {
        self.of(Outcome::Unanswered) + self.of(Outcome::HalfOpen)
    }

    /// Whether SYN-ACKs without an ACK are at least as frequent as SYNs without an answer.
    #[must_use]
    pub fn is_mostly_half_open(&self) -> bool {
        let half_open = self.of(Outcome::HalfOpen);
        half_open > 0 && half_open >= self.of(Outcome::Unanswered)
    }

    /// Whether at least half of the retransmits are SYNs and SYN-ACKs.
    #[must_use]
    pub const fn is_loss_of_handshakes(&self) -> bool {
        self.repeated > 0 && self.repeated.saturating_mul(2) >= self.retransmits()
    }

    /// Retransmits of any kind.
    #[must_use]
    pub const fn retransmits(&self) -> u64 {
        self.repeated + self.retransmitted
    }

    /// Retransmits that this host sent.
    #[must_use]
    pub const fn sent_retransmits(&self) -> u64 {
        self.retransmits() - self.received_retransmits
    }

    /// Retransmits that are a sign of loss: nothing says that the transmission before had arrived.
    #[must_use]
    pub const fn lost(&self) -> u64 {
        self.retransmits().saturating_sub(self.arrived)
    }

    /// Retransmits whose transmission before had arrived: they are no sign of loss.
    #[must_use]
    pub const fn arrived(&self) -> u64 {
        self.retransmits() - self.lost()
    }

    /// Retransmits by their causes, as far as the sockets of this host say them.
    #[must_use]
    pub fn retransmit_causes(&self) -> RetransmitCauses {
        RetransmitCauses::new(self.retransmits(), self.causes, self.spurious)
    }

    /// Segments that could have been retransmits: data, and all SYNs.
    #[must_use]
    pub const fn segments(&self) -> u64 {
        self.sent + self.opened + self.repeated
    }

    /// The share of segments that were retransmits, 0 to 1; `None` when there were none.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a share is shown with three digits")]
    pub fn retransmit_share(&self) -> Option<f64> {
        let segments = self.segments();
        (segments > 0).then(|| (self.retransmits() as f64 / segments as f64).min(1.0))
    }

    /// Whether nothing happened.
    pub(crate) fn is_empty(&self) -> bool {
        *self == Self::default()
    }

    pub(super) fn count(&mut self, event: PeerEvent) {
        event.numbers().for_each(|(number, more)| self.add(number, more));
    }

    /// Adds to one of the numbers.
    pub(crate) fn add(&mut self, number: Number, more: u64) {
        *self.place(number) += more;
    }

    /// Takes one back. Returns whether there was one.
    pub(super) fn take_back(&mut self, number: Number) -> bool {
        let place = self.place(number);
        let is_counted = *place > 0;
        *place -= u64::from(is_counted);
        is_counted
    }

    const fn place(&mut self, number: Number) -> &mut u64 {
        match number {
            Number::Opened => &mut self.opened,
            Number::SlowSetups => &mut self.slow_setups,
            Number::Aborted => &mut self.aborted,
            Number::Repeated => &mut self.repeated,
            Number::Sent => &mut self.sent,
            Number::Retransmitted => &mut self.retransmitted,
            Number::ReceivedRetransmits => &mut self.received_retransmits,
            Number::Arrived => &mut self.arrived,
            Number::Stuck => &mut self.stuck,
            Number::WaitsBegun => &mut self.waits_begun,
            Number::WaitsEnded => &mut self.waits_ended,
            Number::Spurious => &mut self.spurious,
            Number::Caused(cause) => &mut self.causes[cause as usize],
            Number::Attempts(outcome) => &mut self.attempts[outcome as usize],
        }
    }
}

impl AddAssign<&Self> for Counts {
    fn add_assign(&mut self, other: &Self) {
        self.opened += other.opened;
        self.attempts.iter_mut().zip(other.attempts).for_each(|(sum, count)| *sum += count);
        self.slow_setups += other.slow_setups;
        self.aborted += other.aborted;
        self.repeated += other.repeated;
        self.sent += other.sent;
        self.retransmitted += other.retransmitted;
        self.received_retransmits += other.received_retransmits;
        self.arrived += other.arrived;
        self.stuck += other.stuck;
        self.waits_begun += other.waits_begun;
        self.waits_ended += other.waits_ended;
        self.spurious += other.spurious;
        self.causes.iter_mut().zip(other.causes).for_each(|(sum, count)| *sum += count);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_number_has_a_place_and_is_counted() {
        for index in 0..Number::COUNT {
            assert_eq!(Number::at(index).index(), index);
            let mut counts = Counts::default();
            counts.add(Number::at(index), 1);
            assert!(!counts.is_empty());
        }
        assert_eq!(usize::from(Number::COUNT), size_of::<Counts>() / size_of::<u64>(), "all of them");
    }
}
