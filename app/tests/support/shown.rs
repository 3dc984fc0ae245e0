//! A table and the snapshotter that looks at it.

use tcptop_core::snapshot::{Query, RunCounters, Snapshot, SnapshotRequest, Snapshotter, Span};
use tcptop_core::table::{FlowTable, Thresholds};

use super::{Connection, MS, S, Watched, v4};

pub const START: u64 = 1_000 * S;

pub fn at(ms: u64) -> u64 {
    START + ms * MS
}

fn request(query: Query) -> SnapshotRequest {
    SnapshotRequest {
        query,
        rows: 100,
        selected_flows: 10,
        flows: 10,
        log: 100,
        past: true,
        ..SnapshotRequest::totals(Span::Window)
    }
}

/// A table, and the snapshotter that looks at it.
pub struct Shown {
    pub watched: Watched,
    pub snapshotter: Snapshotter,
    noted: usize,
    pub request: SnapshotRequest,
}

impl Shown {
    pub fn new() -> Self {
        let request = request(Query::default());
        Self { watched: Watched::new(), snapshotter: Snapshotter::default(), noted: 0, request }
    }

    pub fn with(thresholds: Thresholds) -> Self {
        let mut limits = super::limits(65_536);
        limits.stats.thresholds = thresholds;
        let watched = Watched { table: FlowTable::new(&limits), events: Vec::new() };
        Self { watched, ..Self::new() }
    }

    pub fn take(&mut self, now_ns: u64) -> Snapshot {
        self.watched.expire(now_ns);
        self.snapshotter.note(&self.watched.events[self.noted..]);
        self.noted = self.watched.events.len();
        self.snapshotter.take(&self.watched.table, &run_counters(), &self.request, now_ns)
    }

    pub fn refuse(&mut self, port: u16, began_ns: u64) {
        let refused = Connection::to(v4(10, 0, 0, 9, 6379), port);
        self.watched.see([refused.syn(began_ns), refused.rst_of_responder(began_ns + MS)]);
    }

    pub fn establish(&mut self, host: u8, port: u16, began_ns: u64, rtt_ns: u64) {
        let connection = Connection::to(v4(10, 0, 0, host, 443), port);
        let answered_ns = began_ns + rtt_ns;
        self.watched.see([
            connection.syn(began_ns),
            connection.syn_ack(answered_ns),
            connection.ack(answered_ns + 9_000),
        ]);
    }
}

pub fn run_counters() -> RunCounters {
    RunCounters { started_ns: START, ..RunCounters::default() }
}
