//! Takes snapshots, and remembers from one to the next what is dear to find out and what only time shows.

use super::event_log::EventLog;
use super::figures::{Period, seconds};
use super::flow_scan::{FlowScan, Wanted};
use super::group_cache::Groups;
use super::latency::Scratch;
use super::peer_cache::{Look, Peers};
use super::rows::{Row, Rows};
use super::selection::{self, Chosen, Selection};
use super::timeline::Timeline;
use super::{Bar, Figures, Flows, Group, MissedCounts, RowKey, RunCounters, Snapshot, SnapshotRequest, Span};
use crate::table::peer::Peer;
use crate::table::stats::Stats;
use crate::table::{Event, FlowTable, PeerKey, View};

/// Takes one [`Snapshot`] after the other.
#[derive(Clone, Debug, Default)]
pub(crate) struct Snapshotter {
    peers: Peers,
    groups: Groups,
    chosen: Chosen,
    flow_scan: FlowScan,
    event_log: EventLog,
    scratch: Scratch,
    span: Option<Span>,
}

impl Snapshotter {
    /// Takes note of what was decided: every event of the table, once, before the next snapshot.
    pub(crate) fn note(&mut self, events: &[Event]) {
        events.iter().for_each(|event| self.event_log.note(event));
    }

    /// Takes a snapshot.
    pub(crate) fn take(
        &mut self,
        table: &FlowTable,
        view: &View,
        run_counters: &RunCounters,
        request: &SnapshotRequest,
        now_ns: u64,
    ) -> Snapshot {
        let View { stats, baseline, .. } = view;
        let period = Period { span: request.span, slot_ns: stats.slot_ns(), now_ns };
        let look = Look { stats, query: &request.query, period };
        let counted_ns = baseline.counted_ns.unwrap_or(run_counters.started_ns);
        let window_ns = stats.covered_ns(run_counters.started_ns, now_ns);
        let span_ns = match request.span {
            Span::Window => window_ns,
            Span::SinceStart => now_ns.saturating_sub(counted_ns).max(1),
        };
        let rows = self.rows(&look, request, span_ns);
        let missed = MissedCounts::of(table, stats, run_counters);
        self.event_log.changed(&self.peers.changes, now_ns);
        self.event_log.missed(&missed, now_ns);
        let selection = self.selection(table, &look, &rows, request, run_counters.started_ns, span_ns);
        let (recent, total, bars) = self.totals(stats, period);
        let peers = &self.peers;
        let verdict = |peer: &PeerKey| peers.verdict(stats, peer);
        let history = core::iter::once(stats.total().history());
        #[allow(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
        let new_per_s = recent.outcomes.opened as f64 / seconds(window_ns);
        let filter = &request.query.filter;
        Snapshot {
            taken_ns: now_ns,
            started_ns: run_counters.started_ns,
            counted_ns,
            window_ns: stats.window_ns(),
            thresholds: *stats.thresholds(),
            new_per_s,
            recent,
            total,
            bars,
            past: request.past.then(|| Timeline::of(history, run_counters.started_ns, now_ns)),
            query: request.query.clone(),
            rows: rows.rows,
            matching: rows.matching,
            row_count: rows.count,
            peer_count: stats.len(),
            flow_count: table.len(),
            selection,
            flows: flows(&mut self.flow_scan, table, request, &verdict, now_ns),
            flow: request.flow.as_ref().and_then(|name| table.flow(name, now_ns)),
            log: (request.log > 0).then(|| self.event_log.log(filter, &verdict, request.log)),
            records: run_counters.records - baseline.records,
            told: table.told() - baseline.reported,
            unmatched: table.losses().unmatched - baseline.unmatched,
            missed: missed.since(&baseline.missed),
            copies: run_counters.copies,
            passed_over: run_counters.passed_over.clone(),
        }
    }

    /// Figures of all within the window and since the start, and the shape of the latter.
    fn totals(&mut self, stats: &Stats, period: Period) -> (Figures, Figures, Vec<Bar>) {
        let recent = Period { span: Span::Window, ..period }.figures(stats.total(), &mut self.scratch);
        let since_start = Period { span: Span::SinceStart, ..period };
        since_start.rtts(stats.total(), &mut self.scratch);
        let (rtt, bars) = self.scratch.take_shape();
        (recent, Figures { outcomes: since_start.outcomes(stats.total()), rtt }, bars)
    }

    fn rows(&mut self, look: &Look<'_>, request: &SnapshotRequest, span_ns: u64) -> Rows {
        if self.span.replace(request.span) != Some(request.span) {
            // Verdicts of another span are no longer held.
            self.groups = Groups::default();
        }
        self.peers.look(look, &mut self.scratch);
        match request.query.group {
            Group::Peer => self.peers.rows(look, request.rows, span_ns),
            Group::Host | Group::Service | Group::Subnet | Group::Role | Group::Interface => {
                self.groups.rows(&self.peers, look, &mut self.scratch, request.rows, span_ns)
            }
        }
    }

    /// The selected row, or the first where it is not there.
    fn selection(
        &mut self,
        table: &FlowTable,
        look: &Look<'_>,
        rows: &Rows,
        request: &SnapshotRequest,
        started_ns: u64,
        span_ns: u64,
    ) -> Option<Selection> {
        let wanted = request.selected.and_then(|key| self.row(look, &key, span_ns));
        let row = wanted.or_else(|| rows.rows.first().copied())?;
        let members: Vec<&Peer> = match &row.key {
            RowKey::Peer(peer) => look.stats.peer(peer).into_iter().collect(),
            key => {
                let slots = self.groups.members(key).iter();
                slots.filter_map(|slot| look.stats.peer_in(*slot)).collect()
            }
        };
        let verdict = |peer: &PeerKey| self.peers.verdict(look.stats, peer);
        let view = selection::View { look, verdict: &verdict, started_ns };
        Some(self.chosen.selection(row, &members, table, request, &view, &mut self.scratch))
    }

    /// The row of this key, if it matches.
    fn row(&self, look: &Look<'_>, key: &RowKey, span_ns: u64) -> Option<Row> {
        let row = match key {
            RowKey::Peer(peer) => {
                let known = self.peers.get(look.stats.slot_of(peer)?)?;
                Some(known).filter(|known| known.passes)?.row(span_ns)
            }
            key => self.groups.row(key, span_ns)?,
        };
        let matches =
            key.group() == look.query.group && look.query.filter.matches_row(&row, look.period.now_ns);
        matches.then_some(row)
    }
}

fn flows(
    flow_scan: &mut FlowScan,
    table: &FlowTable,
    request: &SnapshotRequest,
    verdict: super::query::filter::VerdictOf<'_>,
    now_ns: u64,
) -> Option<Flows> {
    let SnapshotRequest { query, flows: limit, .. } = request;
    let (filter, sort) = (&query.filter, query.flow_sort);
    let wanted = Wanted { filter, sort, of: None, limit: *limit, now_ns, verdict };
    (*limit > 0).then(|| flow_scan.flows(table, query, &wanted))
}
