//! What a run writes, and where: text lines, JSON objects, a summary, a report. Outputs take events and snapshots and
//! give lines; none of them knows where records come from, and each reads the engine by itself.

pub mod explain;
pub mod format;
pub mod host;
pub mod json;
pub mod kernel_retransmits;
pub mod line_writer;
pub mod log_file;
pub mod metrics;
#[cfg(feature = "otlp")]
pub mod otlp;
pub mod outputs;
pub mod report;
pub mod summary;
pub mod target;
pub mod text;

use std::fmt::Debug;

pub use format::RenderContext;
use line_writer::Lines;
use tcptop_core::Event;
use tcptop_core::{Query, Snapshot, SnapshotRequest, Span};

/// The most peers that an output describes one by one.
pub const REPORT_PEERS: usize = 1_000;

/// A way to write a run. A new one is named in [`target::Format`], too.
pub trait Output: Debug {
    /// Whether it writes events as they happen.
    fn takes_events(&self) -> bool;

    /// Writes an event that passes the filter.
    fn event(&mut self, event: &Event, context: &RenderContext, lines: &mut Lines);

    /// The snapshot that it wants at the end, if it writes anything then.
    fn closing_request(&self, query: &Query) -> Option<SnapshotRequest>;

    /// Writes what comes last.
    fn close(&mut self, snapshot: &Snapshot, context: &RenderContext, lines: &mut Lines);
}

/// Everything since the start, with as many rows as are described one by one.
fn since_start(query: Query) -> SnapshotRequest {
    SnapshotRequest { query, rows: REPORT_PEERS, evidence: true, ..SnapshotRequest::totals(Span::SinceStart) }
}
