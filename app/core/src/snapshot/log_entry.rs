//! What went wrong, one by one.

use super::missed::Missed;
use crate::table::{FlowReport, PeerKey, RetransmitKind, Verdict};

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct LogEntry {
    /// Number of the entry, in the order of their appearance.
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
    RetransmitKind {
        /// The flow, as it was at the latest of them.
        flow: FlowReport,
        /// What they are, the latest of them.
        kind: RetransmitKind,
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
    Missed {
        /// What.
        kind: Missed,
        /// How many.
        count: u64,
    },
}

/// The log that were asked for.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogPage {
    /// The newest first.
    pub rows: Vec<LogEntry>,
    /// How many of those that are kept match the filter, shown or not.
    pub matching: usize,
}
