//! An engine and the snapshots of one reader.

use tcptop_core::{EngineConfig, Query, Snapshot, SnapshotRequest, Span, Thresholds};

pub use super::START;
use super::{Connection, MS, Watched, v4};

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
        timeline: true,
        ..SnapshotRequest::totals(Span::Window)
    }
}

/// An engine, and the snapshots of its reader.
pub struct Shown {
    pub watched: Watched,
    pub request: SnapshotRequest,
}

impl Shown {
    pub fn new() -> Self {
        Self { watched: Watched::new(), request: request(Query::default()) }
    }

    pub fn with(thresholds: Thresholds) -> Self {
        let config = EngineConfig { thresholds, ..super::config(65_536) };
        Self { watched: Watched::with(&config, START), ..Self::new() }
    }

    pub fn take(&mut self, now_ns: u64) -> Snapshot {
        self.watched.expire(now_ns);
        self.watched.engine.snapshot(self.watched.reader, &self.request, now_ns)
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
