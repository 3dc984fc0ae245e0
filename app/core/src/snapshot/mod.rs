//! One immutable snapshot of everything that the outputs show.
//!
//! Rows are filtered, grouped, sorted and cut to the first here, once, so that all outputs agree.

mod event_log;
mod evidence;
mod figures;
mod flow_scan;
mod group_cache;
mod held_verdict;
mod latency;
mod missed;
mod peer_cache;
mod peer_row;
mod rank;
mod row_sockets;
mod selection;
mod snapshotter;
mod timeline;

use std::collections::BTreeMap;
use std::sync::Arc;

use probe_common::PassedOver;
use probe_common::counter::Counters;
use probe_common::{Counter, RecordKind, Unparsed};

use crate::drops::{Dropped, Drops};
use crate::flow::{Flow, FlowName};
use crate::host::{Host, HostCounters, HostRun};
use crate::owner::Processes;
use crate::query::{Query, RowKey};
use crate::stats::{Counts, Estimate, MOST_STRANGERS, Thresholds};
use crate::table::KernelWitness;

pub use event_log::{LogEntry, LogPage, What};
pub use evidence::RowEvidence;
pub use figures::Figures;
pub use held_verdict::Verdicts;
pub use latency::Bar;
pub use missed::{Missed, MissedCounts};
pub(crate) use peer_cache::verdict;
pub use peer_row::Row;
pub use row_sockets::RowSockets;
pub use selection::Selection;
pub(crate) use snapshotter::{Seen, Snapshotter};
pub use timeline::{Moment, Timeline};

/// The time that the rows of peers cover.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The sliding window.
    Window,
    /// Since the start, or since the reader restarted its counts.
    SinceStart,
}

/// What a reader wants to see besides the totals. What is not requested costs nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct SnapshotRequest {
    /// The time that the rows of the first table cover.
    pub span: Span,
    /// Which rows, in which order.
    pub query: Query,
    /// Maximum number of rows of the first table.
    pub rows: usize,
    /// The row whose flows and latencies are wanted; `None` for the first.
    pub selected: Option<RowKey>,
    /// Maximum number of its flows.
    pub selected_flows: usize,
    /// Maximum number of flows of all peers.
    pub flows: usize,
    /// A flow that is wanted in detail.
    pub flow: Option<FlowName>,
    /// Maximum number of rows of the event log.
    pub log: usize,
    /// Whether what explains verdicts is wanted of all rows; of the selected one it always is.
    pub evidence: bool,
    /// Whether the timeline is wanted, of all and of the selected row.
    pub timeline: bool,
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
            evidence: false,
            timeline: false,
        }
    }
}

/// What was counted outside of the table, since the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct RunCounters {
    /// When the run started, in nanoseconds of the monotonic clock.
    pub(crate) started_ns: u64,
    /// What the host itself dropped, where that is known.
    pub(crate) drops: Option<Arc<Drops>>,
    /// What the kernel counts for the whole host.
    pub(crate) host: Option<HostRun>,
    /// The probe's own counters.
    pub(crate) counters: Counters,
    /// Records that were handled, but for those of processes.
    pub(crate) records: u64,
    /// Records that could not be decoded.
    pub(crate) undecodable: u64,
    /// Packets of a capture that could not be read.
    pub(crate) unreadable: u64,
    /// Packets of a capture that were copies of others.
    pub(crate) copies: u64,
    /// What packets of a capture were that hold no TCP, by kind; `None` is all further kinds.
    pub(crate) passed_over: Arc<[(Option<PassedOver>, u64)]>,
    /// Lines of output that were dropped because their reader is too slow.
    pub(crate) unwritten: u64,
}

/// Counts of the run when a reader restarted its own: what it does not want to see.
#[derive(Clone, Debug, Default)]
pub(crate) struct Baseline {
    pub(crate) records: u64,
    pub(crate) reported: u64,
    pub(crate) unmatched: u64,
    pub(crate) icmp: IcmpCounts,
    pub(crate) evicted_strangers: u64,
    pub(crate) drops: Option<Arc<Drops>>,
    pub(crate) host: Option<HostCounters>,
    pub(crate) missed: MissedCounts,
}

/// ICMP errors that the probe counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct IcmpCounts {
    /// Those about a segment that was in flight.
    pub matched: u64,
    /// Those about TCP that quote nothing that was in flight: late, forged, or about what was not seen.
    pub unmatched: u64,
    /// Those within a tunnel, or about one. They are not looked into.
    pub tunnel: u64,
}

impl IcmpCounts {
    pub(crate) fn of(counters: &Counters) -> Self {
        let record = RecordKind::Icmp;
        Self {
            matched: counters.of(Counter::Submitted(record)) + counters.of(Counter::Missed(record)),
            unmatched: counters.of(Counter::UnmatchedIcmp),
            tunnel: counters.of(Counter::Unparsed(Unparsed::IcmpTunnel)),
        }
    }

    /// What was counted since then.
    const fn since(self, before: Self) -> Self {
        Self {
            matched: self.matched.saturating_sub(before.matched),
            unmatched: self.unmatched.saturating_sub(before.unmatched),
            tunnel: self.tunnel.saturating_sub(before.tunnel),
        }
    }

    /// All of them.
    #[must_use]
    pub const fn total(self) -> u64 {
        self.matched + self.unmatched + self.tunnel
    }
}

/// Addresses outside that completed no handshake, as far as there are too many to keep them one by one, as in a flood of SYNs.
/// They are no rows.
#[derive(Clone, Debug, PartialEq)]
pub struct Strangers {
    /// How many addresses, since counts began.
    pub addresses: Estimate,
    /// Their attempts within the span of time that was requested.
    pub figures: Figures,
    /// Those per second.
    pub new_per_s: f64,
    /// Their attempts since counts began.
    pub total: Counts,
    /// Attempts from outside, of these and of peers that completed no handshake, that were evicted before their end was
    /// known, since counts began. They are not missed.
    pub evicted: u64,
}

impl Strangers {
    /// Up to so many are kept one by one; further ones are added up while none of these is silent for a minute.
    pub const KEPT: usize = MOST_STRANGERS;
}

/// Flows of all peers, or of one row.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flows {
    /// Those that match the filter, in the order that was requested.
    pub rows: Vec<Flow>,
    /// How many match, shown or not.
    pub matching: usize,
    /// How much of the table was searched for them, 0 to 1. Below 1 the rows are the best of those that were searched, as
    /// after a change of the filter while very many flows are known.
    pub searched: f64,
}

/// Which processes the connections of rows belong to.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowOwners {
    /// Of the rows of the first table and of the selected one, as far as any is known.
    pub rows: BTreeMap<RowKey, Processes>,
    /// Whether the source names processes: without any, nobody looks for them.
    pub has_any: bool,
    /// Whether one of them runs in a container.
    pub has_containers: bool,
}

/// Everything that is shown, at one moment. Times are nanoseconds of the monotonic clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// When it was taken.
    pub taken_ns: u64,
    /// When the run started.
    pub started_ns: u64,
    /// Since when everything that covers the time since the start is counted: a reader can restart its counts.
    pub counted_ns: u64,
    /// Length of the sliding window.
    pub window_ns: u64,
    /// When a verdict applies: for [`Verdict::definition`](crate::Verdict::definition).
    pub thresholds: Thresholds,
    /// Attempts per second, within the window or the time since the start if that is shorter.
    pub new_per_s: f64,
    /// Of all, within the window. Filters do not change it.
    pub recent: Figures,
    /// Of all, since the start. Filters do not change it.
    pub total: Figures,
    /// Histogram of the round-trip times of all since the start.
    pub bars: Vec<Bar>,
    /// The timeline of all, if requested.
    pub timeline: Option<Timeline>,
    /// What was requested: how rows are made, and what they match.
    pub query: Query,
    /// Rows of the first table that match the filter, in the order that was requested.
    pub rows: Vec<Row>,
    /// Strangers that are not among the rows.
    pub strangers: Strangers,
    /// Which processes the connections of the rows belong to.
    pub owners: RowOwners,
    /// What explains the verdicts of rows: of single peers, as requested.
    pub evidence: BTreeMap<RowKey, RowEvidence>,
    /// What the kernel knows of their sockets: of the rows of the first table and of the selected one, as far as it is known.
    pub sockets: BTreeMap<RowKey, RowSockets>,
    /// Whether the source lists the kernel's sockets.
    pub has_sockets: bool,
    /// How many rows match, shown or not.
    pub matching: usize,
    /// How many rows there are, whether they match or not.
    pub row_count: usize,
    /// How many peers are known.
    pub peer_count: usize,
    /// How many flows are known.
    pub flow_count: usize,
    /// The selected row.
    pub selection: Option<Selection>,
    /// Flows of all peers, if requested.
    pub flows: Option<Flows>,
    /// The flow that was requested, while it is known: until a minute after it has ended.
    pub flow: Option<Flow>,
    /// The event log, if requested.
    pub log: Option<LogPage>,
    /// Records that were handled, but for those of processes, which are of the whole machine.
    pub records: u64,
    /// Handshakes whose outcome was reported.
    pub reported: u64,
    /// SYN-ACKs, ACKs and RSTs that answer nothing that was seen, and ICMP errors about nothing that was.
    pub unmatched: u64,
    /// ICMP errors.
    pub icmp: IcmpCounts,
    /// What this host itself dropped since counts began, the most frequent first; `None` where that is not known.
    pub drops: Option<Vec<Dropped>>,
    /// Those of them that have grown in the time that rows cover, with their counts since counts began.
    pub growing_drops: Vec<Dropped>,
    /// What the kernel counts for the whole host; `None` in a replay.
    pub host: Option<Host>,
    /// What the kernel itself says of retransmits since the start; `None` where it is not asked.
    pub witness: Option<KernelWitness>,
    /// What is missing from all of the above.
    pub missed: MissedCounts,
    /// Packets of a capture that were copies of others, and SYNs that were late copies, since the start.
    pub copies: u64,
    /// What packets of a capture were that hold no TCP, the most frequent kind first; `None` is all further kinds.
    pub passed_over: Arc<[(Option<PassedOver>, u64)]>,
}
