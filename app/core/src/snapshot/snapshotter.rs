//! Takes snapshots for one reader, and keeps between them what is expensive to compute and what only shows over time.

use std::collections::BTreeMap;
use std::sync::Arc;

use super::event_log::EventLog;
use super::evidence::{self, RowEvidence};
use super::figures::{Period, per_second};
use super::flow_scan::{FlowScan, Wanted};
use super::group_cache::GroupCache;
use super::latency::Scratch;
use super::peer_cache::{PeerCache, Scan};
use super::peer_row::{Row, Rows};
use super::selection::{Selection, SelectionCache};
use super::timeline::Timeline;
use super::{
    Bar, Baseline, Figures, Flows, IcmpCounts, MissedCounts, RowOwners, RowSockets, RunCounters, Snapshot,
    SnapshotRequest, Span, Strangers,
};
use crate::drops::{Dropped, Drops};
use crate::flow::{Event, PeerKey};
use crate::host::Host;
use crate::owner::{PeerOwners, Processes};
use crate::query::{BoundFilter, Group, RowKey, VerdictOf};
use crate::stats::{Peer, Stats, Times, View};
use crate::table::FlowTable;

/// Takes one [`Snapshot`] after the other.
#[derive(Debug, Default)]
pub(crate) struct Snapshotter {
    peers: PeerCache,
    groups: GroupCache,
    selection: SelectionCache,
    flow_scan: FlowScan,
    event_log: EventLog,
    scratch: Times<Scratch>,
    /// What the latest snapshot covered.
    seen: Option<(Span, View)>,
}

/// What a snapshot is taken of.
#[derive(Clone, Copy)]
pub(crate) struct Seen<'a> {
    pub(crate) table: &'a FlowTable,
    pub(crate) view: &'a View,
    pub(crate) run: &'a RunCounters,
    pub(crate) baseline: &'a Baseline,
    pub(crate) interfaces: &'a BTreeMap<u32, String>,
}

impl Snapshotter {
    /// Adds events to the log. It has to see each event once, before the next snapshot.
    pub(crate) fn log(&mut self, events: &[Event]) {
        events.iter().for_each(|event| self.event_log.add(event));
    }

    /// Interfaces have other names: what the filter let pass is no longer known.
    pub(crate) fn interfaces_changed(&mut self) {
        self.peers.refilter();
        self.flow_scan = FlowScan::default();
        self.selection = SelectionCache::default();
    }

    /// Takes a snapshot.
    pub(crate) fn take(&mut self, seen: &Seen<'_>, request: &SnapshotRequest, now_ns: u64) -> Snapshot {
        let Seen { table, view, run, baseline, .. } = *seen;
        let (stats, scan) = (&table.stats, scan(seen, request, now_ns));
        let Scan { filter, period, span_ns, .. } = scan;
        let rows = self.rows(&scan, request);
        let missed = MissedCounts::of(table, run);
        let owners = |peer: &PeerKey| stats.peer(peer).map(|peer| &peer.processes);
        self.event_log.update(&self.peers.changes, &owners, &missed, now_ns);
        let selection = self.selection(seen, &scan, &rows, request);
        let evidence = self.evidence(&scan, &rows.rows, selection.as_ref(), request);
        let (recent, total, bars) = self.totals(stats, period);
        let strangers = self.strangers(seen, period, span_ns);
        let verdict = |peer: &PeerKey| self.peers.verdict(stats, peer);
        Snapshot {
            taken_ns: now_ns,
            started_ns: run.started_ns,
            counted_ns: view.counted_ns,
            window_ns: view.window.length_ns(),
            thresholds: *stats.thresholds(),
            new_per_s: per_second(recent.counts.opened, view.covered_ns(now_ns)),
            recent,
            total,
            bars,
            timeline: timeline(seen, request, now_ns),
            query: request.query.clone(),
            owners: self.owners(seen, &rows.rows, selection.as_ref()),
            evidence,
            sockets: self.sockets(table, &rows.rows, selection.as_ref(), period),
            has_sockets: table.has_sockets,
            rows: rows.rows,
            strangers,
            matching: rows.matching,
            row_count: rows.count,
            peer_count: stats.len(),
            flow_count: table.len(),
            selection,
            flows: flows(&mut self.flow_scan, table, request, filter, &verdict, now_ns),
            flow: request.flow.as_ref().and_then(|name| Some(table.look_up(name)?.at(now_ns))),
            log: (request.log > 0).then(|| self.event_log.page(filter, &verdict, &owners, request.log)),
            records: run.records - baseline.records,
            reported: table.reported() - baseline.reported,
            unmatched: table.losses().unmatched - baseline.unmatched,
            icmp: IcmpCounts::of(&run.counters).since(baseline.icmp),
            host: host(seen),
            witness: table.witness(),
            drops: dropped(seen),
            growing_drops: growing_drops(seen, period),
            missed: missed.since(&baseline.missed),
            copies: run.copies + table.losses().copies,
            passed_over: Arc::clone(&run.passed_over),
        }
    }

    /// Figures of all within the window and since the start, and the histogram of the latter.
    fn totals(&mut self, stats: &Stats, period: Period) -> (Figures, Figures, Vec<Bar>) {
        let recent = Period { span: Span::Window, ..period }.figures(stats.total(), &mut self.scratch);
        let since_start = Period { span: Span::SinceStart, ..period };
        let counts = stats.total().with_open(since_start.add(stats.total(), &mut self.scratch));
        let ((rtt, bars), setup) = (self.scratch.rtt.take_with_bars(), self.scratch.setup.take());
        let refusals = stats.total().refusals(period.view.era);
        (recent, Figures { counts, rtt, setup, refusals }, bars)
    }

    fn strangers(&mut self, seen: &Seen<'_>, period: Period, span_ns: u64) -> Strangers {
        let tally = seen.table.stats.strangers();
        let figures = period.figures(tally, &mut self.scratch);
        let since_start = Period { span: Span::SinceStart, ..period };
        Strangers {
            addresses: tally.addresses(period.view.era),
            new_per_s: per_second(figures.counts.opened, span_ns),
            figures,
            total: since_start.figures(tally, &mut self.scratch).counts,
            evicted: seen.table.losses().evicted_strangers - seen.baseline.evicted_strangers,
        }
    }

    /// The processes of these rows.
    fn owners(&self, seen: &Seen<'_>, rows: &[Row], selection: Option<&Selection>) -> RowOwners {
        let (table, stats) = (seen.table, &seen.table.stats);
        let known = keys(rows, selection).filter_map(|key| {
            let processes = match &key {
                RowKey::Peer(peer) => stats.peer(peer)?.processes.clone(),
                key => {
                    let mut processes = Processes::default();
                    self.groups.peers_of(stats, key).for_each(|peer| processes.add_all(&peer.processes));
                    processes
                }
            };
            Some((key, processes)).filter(|(_, processes)| processes.iter().len() > 0)
        });
        RowOwners {
            rows: known.collect(),
            has_any: table.owners.has_any,
            has_containers: table.owners.has_containers,
        }
    }

    /// What explains the verdicts of the rows that are described in words.
    fn evidence(
        &mut self,
        scan: &Scan<'_>,
        rows: &[Row],
        selection: Option<&Selection>,
        request: &SnapshotRequest,
    ) -> BTreeMap<RowKey, RowEvidence> {
        let all = if request.evidence { rows } else { &[] };
        let rows: Vec<&Row> = all.iter().chain(selection.map(|selection| &selection.row)).collect();
        evidence::of(&rows, &self.peers, scan, &mut self.scratch)
    }

    /// What is known of the sockets of these rows.
    fn sockets(
        &self,
        table: &FlowTable,
        rows: &[Row],
        selection: Option<&Selection>,
        period: Period,
    ) -> BTreeMap<RowKey, RowSockets> {
        let (stats, rtts) = (&table.stats, &table.rtts);
        let known = keys(rows, selection)
            .filter_map(|key| Some((key, RowSockets::of(self.groups.peers_of(stats, &key), rtts, period)?)));
        known.collect()
    }

    fn rows(&mut self, scan: &Scan<'_>, request: &SnapshotRequest) -> Rows {
        if self.seen.replace((request.span, scan.period.view)) != Some((request.span, scan.period.view)) {
            // Verdicts of another span or window are no longer held.
            self.groups = GroupCache::default();
        }
        self.peers.scan(scan, &mut self.scratch);
        match request.query.group {
            Group::Peer => {
                // While nobody judges groups, nothing is known of what recovers.
                self.groups = GroupCache::default();
                self.peers.rows(scan, request.rows)
            }
            Group::Host
            | Group::Service
            | Group::Subnet
            | Group::Role
            | Group::Interface
            | Group::Process
            | Group::Container => self.groups.rows(&self.peers, scan, &mut self.scratch, request.rows),
        }
    }

    /// The selected row, or the first if it does not match.
    fn selection(
        &mut self,
        seen: &Seen<'_>,
        scan: &Scan<'_>,
        rows: &Rows,
        request: &SnapshotRequest,
    ) -> Option<Selection> {
        let wanted = request.selected.and_then(|key| self.row(scan, &key));
        let row = wanted.or_else(|| rows.rows.first().copied())?;
        let members: Vec<&Peer> = self.groups.peers_of(scan.stats, &row.key).collect();
        let verdict = |peer: &PeerKey| self.peers.verdict(scan.stats, peer);
        let selected = super::selection::Selected { row, members: &members, verdict: &verdict };
        Some(self.selection.take(&selected, seen, scan, request, &mut self.scratch))
    }

    /// The row with this key, if it matches.
    fn row(&self, scan: &Scan<'_>, key: &RowKey) -> Option<Row> {
        let row = match key {
            RowKey::Peer(peer) => {
                let cached = self.peers.get(scan.stats.slot_of(peer)?)?;
                Some(cached).filter(|cached| cached.passes)?.row(scan.span_ns)
            }
            key => self.groups.row(key, scan.span_ns)?,
        };
        let matches =
            key.group() == scan.query.group && scan.filter.matches_row(&row.facts(), scan.period.now_ns);
        matches.then_some(row)
    }
}

/// The keys of the rows of the first table and of the selected one.
fn keys(rows: &[Row], selection: Option<&Selection>) -> impl Iterator<Item = RowKey> {
    rows.iter().map(|row| row.key).chain(selection.map(|selection| selection.row.key))
}

/// What the rows that are requested depend on.
fn scan<'a>(seen: &Seen<'a>, request: &'a SnapshotRequest, now_ns: u64) -> Scan<'a> {
    let period = Period { span: request.span, view: *seen.view, now_ns };
    Scan {
        stats: &seen.table.stats,
        query: &request.query,
        filter: request.query.filter.bind(seen.interfaces),
        period,
        span_ns: period.length_ns(),
        drops: seen.run.drops.as_deref(),
    }
}

/// The timeline of all peers together, if it is requested.
fn timeline(Seen { table, run, .. }: &Seen<'_>, request: &SnapshotRequest, now_ns: u64) -> Option<Timeline> {
    let all = [table.stats.total()].into_iter();
    request.timeline.then(|| Timeline::of(all, run.started_ns, now_ns))
}

/// What this host itself dropped since counts began.
fn dropped(Seen { run, baseline, .. }: &Seen<'_>) -> Option<Vec<Dropped>> {
    let none = Drops::default();
    Some(run.drops.as_ref()?.since(baseline.drops.as_deref().unwrap_or(&none)))
}

/// Those that have grown in a period.
fn growing_drops(Seen { run, baseline, .. }: &Seen<'_>, period: Period) -> Vec<Dropped> {
    let none = Drops::default();
    let growing =
        |drops: &Drops| drops.growing(baseline.drops.as_deref().unwrap_or(&none), period.begins_ns());
    run.drops.as_deref().map(growing).unwrap_or_default()
}

/// What the kernel counts for the whole host. Where not all records are handled, nothing that was seen compares with it.
fn host(Seen { table, run, baseline, .. }: &Seen<'_>) -> Option<Host> {
    let own = (!table.is_done()).then_some(table.own_retransmits);
    Some(run.host.as_ref()?.since(baseline.host.as_ref(), own))
}

fn flows(
    flow_scan: &mut FlowScan,
    table: &FlowTable,
    request: &SnapshotRequest,
    filter: BoundFilter<'_>,
    verdict: VerdictOf<'_>,
    now_ns: u64,
) -> Option<Flows> {
    let SnapshotRequest { query, flows: limit, .. } = request;
    let wanted = Wanted {
        filter,
        sort: query.flow_sort,
        of: None,
        limit: *limit,
        now_ns,
        verdict,
        owners: &|_| PeerOwners::default(),
    };
    (*limit > 0).then(|| flow_scan.flows(table, query, &wanted))
}
