//! What went wrong, one by one.

use crate::flow::{FlowReport, PeerKey, Resent, Verdict};

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct Incident {
    /// Number of the incident, in the order of their appearance.
    pub id: u64,
    /// When, in nanoseconds of the monotonic clock.
    pub time_ns: u64,
    /// What.
    pub what: What,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A handshake that failed: unanswered, refused, half-open or reset.
    Failed(FlowReport),
    /// A RST ended a connection that was established.
    Reset(FlowReport),
    /// Segments of one flow were sent again, in quick succession.
    Resent {
        /// The flow, as it was at the latest of them.
        flow: FlowReport,
        /// What they are, the latest of them.
        kind: Resent,
        /// How many there were.
        count: u64,
    },
    /// The verdict on a peer changed.
    Verdict {
        /// Which one.
        peer: PeerKey,
        /// What was wrong with it.
        before: Option<Verdict>,
        /// What is.
        after: Option<Verdict>,
    },
    /// Something is missing from the figures since.
    Lost {
        /// What, as in [`Losses`](super::Losses).
        kind: &'static str,
        /// How many.
        count: u64,
    },
}

/// The incidents that were asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Incidents {
    /// The newest first.
    pub rows: Vec<Incident>,
    /// How many of those that are kept match the filter, shown or not.
    pub matching: usize,
}
