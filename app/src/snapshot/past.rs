//! The last minutes, slot by slot.

use super::{Bar, Percentiles};

/// How much of the past is kept.
pub const PAST_NS: u64 = 300_000_000_000;
/// Length of one of its slots.
pub const PAST_SLOT_NS: u64 = 5_000_000_000;

/// The last five minutes, or as much of them as was watched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Past {
    /// Slots of [`PAST_SLOT_NS`], the oldest first, none left out; the newest is under way.
    pub moments: Vec<Moment>,
}

/// One slot of the past.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moment {
    /// When it began, in nanoseconds of the monotonic clock.
    pub from_ns: u64,
    /// Attempts.
    pub opened: u64,
    /// Attempts without an answer, dated to when they were given up.
    pub unanswered: u64,
    /// Attempts that were refused.
    pub refused: u64,
    /// Segments that were sent again.
    pub retransmits: u64,
    /// All segments that could have been.
    pub segments: u64,
    /// Round-trip times to within a tenth, where there are any.
    pub rtt: Option<Percentiles>,
    /// How many round-trip times were how long: the steps of all moments are the same.
    pub bars: Vec<Bar>,
}
