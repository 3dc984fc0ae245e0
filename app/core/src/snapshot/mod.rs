//! One immutable snapshot of everything that the sinks show. Pure, like the table it is taken from.
//!
//! Sorting and cutting to the most important rows happens here, once, so that all sinks agree.

mod event_log;
pub mod figures;
mod flow_scan;
pub mod group;
mod group_cache;
mod held_verdict;
pub mod latency;
pub mod log_entry;
pub mod missed;
mod peer_cache;
pub mod query;
mod rank;
pub mod rows;
pub mod selection;
mod snapshotter;
pub mod timeline;

use probe_common::RecordKind;
use std::sync::Arc;

use probe_common::counter::{Counter, Counters};
use probe_common::encapsulation::PassedOver;

use crate::table::{FlowName, FlowReport, Thresholds};

pub use figures::{Figures, Outcomes};
pub use group::{Group, RowKey};
pub use held_verdict::Present;
pub use latency::{Bar, Percentiles};
pub use log_entry::{LogEntry, LogPage, What};
pub use missed::{Missed, MissedCounts};
pub(crate) use peer_cache::verdict;
pub use query::{Filter, FilterError, FlowOrder, Query, RowOrder, Sort};
pub use rows::Row;
pub use selection::Selection;
pub(crate) use snapshotter::Snapshotter;
pub use timeline::{Moment, Timeline};

/// The time that the rows of peers speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The sliding window.
    Window,
    /// The whole run.
    SinceStart,
}

/// What a sink wants to see beyond the totals. What is not asked for costs nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotRequest {
    /// The time that the rows of the first table speak of.
    pub span: Span,
    /// Which rows, in which order.
    pub query: Query,
    /// Rows of the first table at the most.
    pub rows: usize,
    /// The row whose flows and latencies are wanted; without one, those of the first.
    pub selected: Option<RowKey>,
    /// Rows of its flows at the most.
    pub selected_flows: usize,
    /// Rows of flows at the most, whosever they are.
    pub flows: usize,
    /// The flow that is looked at.
    pub flow: Option<FlowName>,
    /// Rows of log at the most.
    pub log: usize,
    /// Are the last minutes wanted, of all and of the selected row?
    pub past: bool,
}

impl SnapshotRequest {
    /// Nothing but the totals.
    #[must_use]
    pub fn totals(span: Span) -> Self {
        Self {
            span,
            query: Query::default(),
            rows: 0,
            selected: None,
            selected_flows: 0,
            flows: 0,
            flow: None,
            log: 0,
            past: false,
        }
    }
}

/// What is known from outside the table.
#[derive(Clone, Debug, Default)]
pub struct RunCounters {
    /// When the run began, in nanoseconds of the monotonic clock.
    pub started_ns: u64,
    /// The probe's own counters.
    pub counters: Counters,
    /// Records that were taken from the ring buffer.
    pub records: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// Packets of a capture that could not be read.
    pub unreadable: u64,
    /// Packets of a capture that were copies of others.
    pub copies: u64,
    /// What packets of a capture were that hold no TCP, by kind; `None` stands for all further kinds.
    pub passed_over: Arc<[(Option<PassedOver>, u64)]>,
    /// Lines that a slow reader of the output did not take.
    pub unwritten: u64,
}

/// Flows, whosever they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flows {
    /// Those that match the filter, in the order that was asked for.
    pub rows: Vec<FlowReport>,
    /// How many match, shown or not.
    pub matching: usize,
    /// How far the search for them has come, 0 to 1: below 1 the rows are the best of those that were looked at, as
    /// after a change of the filter while very many flows are known.
    pub searched: f64,
}

/// Everything that is shown, at one moment. Times are nanoseconds of the monotonic clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// When it was taken.
    pub taken_ns: u64,
    /// When the run began.
    pub started_ns: u64,
    /// Since when is counted what is counted since the start: it can be begun anew.
    pub counted_ns: u64,
    /// Length of the sliding window.
    pub window_ns: u64,
    /// From where on something is wrong with a peer: for [`Verdict::definition`](crate::table::Verdict::definition).
    pub thresholds: Thresholds,
    /// Attempts per second, within the window or the time since the start if that is shorter.
    pub new_per_s: f64,
    /// Of all, within the window. Filters do not change it.
    pub recent: Figures,
    /// Of all, since the start. Filters do not change it.
    pub total: Figures,
    /// Round-trip times of all since the start: how many were how long.
    pub bars: Vec<Bar>,
    /// The last minutes of all, where they were asked for.
    pub past: Option<Timeline>,
    /// What the rows are, and what had to match: what was asked for.
    pub query: Query,
    /// Rows of the first table that match the filter, in the order that was asked for.
    pub rows: Vec<Row>,
    /// How many rows match, shown or not.
    pub matching: usize,
    /// How many rows there are, whether they match or not.
    pub row_count: usize,
    /// How many peers are known.
    pub peer_count: usize,
    /// How many flows are known.
    pub flow_count: usize,
    /// The row of request.
    pub selection: Option<Selection>,
    /// Flows whosever they are, where they were asked for.
    pub flows: Option<Flows>,
    /// The flow that was asked for, as long as it is known: for a minute after it has ended.
    pub flow: Option<FlowReport>,
    /// What went wrong, where that was asked for.
    pub log: Option<LogPage>,
    /// Records that were read.
    pub records: u64,
    /// Handshakes whose outcome was told.
    pub told: u64,
    /// SYN-ACKs, ACKs and RSTs that answer nothing that was seen.
    pub unmatched: u64,
    /// What is missing from all of the above.
    pub missed: MissedCounts,
    /// Packets of a capture that were copies of others, since the start.
    pub copies: u64,
    /// What packets of a capture were that hold no TCP, the most frequent kind first; `None` stands for all further kinds.
    pub passed_over: Arc<[(Option<PassedOver>, u64)]>,
}

impl RunCounters {
    /// Records of `kind` that found the ring buffer full.
    #[must_use]
    pub fn missed(&self, kind: RecordKind) -> u64 {
        self.counters.of(Counter::Missed(kind))
    }
}
