//! Takes pictures, and remembers from one to the next what is dear to find out and what only time shows.

use core::cmp::Reverse;

use super::past::Past;
use super::{
    Flows, Incidents, Intake, Interest, Losses, Percentiles, Row, RowKey, Selection, Snapshot, Span, latency,
    recent, rows, seconds, since_start,
};
use crate::flow::distribution::Latencies;
use crate::flow::{Event, FlowReport, FlowTable};

/// Takes one [`Snapshot`] after the other.
#[derive(Clone, Debug, Default)]
pub struct Camera {}

impl Camera {
    /// Takes note of what was decided: every event of the table, once, before the next picture.
    pub fn note(&mut self, _events: &[Event]) {}

    /// Takes a picture.
    #[must_use]
    pub fn take(&mut self, table: &FlowTable, intake: &Intake, interest: &Interest, now_ns: u64) -> Snapshot {
        let stats = table.stats();
        let watched_ns = now_ns.saturating_sub(intake.started_ns).max(1);
        let window_s = seconds(stats.covered_ns(intake.started_ns, now_ns));
        let span_s = match interest.span {
            Span::Window => window_s,
            Span::SinceStart => seconds(watched_ns),
        };
        let (rows, row_count) = rows::worst(stats, interest, span_s, now_ns);
        let chosen = rows.iter().find(|row| Some(row.key) == interest.selected);
        let chosen = chosen.or_else(|| rows.first()).cloned();
        let recent = recent(stats.total(), stats.slot_ns(), now_ns);
        #[allow(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
        let new_per_s = recent.outcomes.opened as f64 / window_s;
        let mut sum = Latencies::spanning();
        stats.total().rtts_since_start(&mut sum);
        Snapshot {
            taken_ns: now_ns,
            started_ns: intake.started_ns,
            counted_ns: intake.started_ns,
            window_ns: stats.window_ns(),
            thresholds: *stats.thresholds(),
            new_per_s,
            recent,
            total: since_start(stats.total()),
            bars: latency::bars(&sum),
            past: interest
                .past
                .then(|| Past::of(core::iter::once(stats.total().history()), intake.started_ns, now_ns)),
            group: interest.query.group,
            rows,
            matching: row_count,
            row_count,
            peer_count: row_count,
            flow_count: table.len(),
            selection: chosen.map(|row| selection(table, row, interest, now_ns)),
            flows: (interest.flows > 0).then(|| flows(table, interest, now_ns)),
            flow: interest.flow.as_ref().and_then(|name| table.flow(name, now_ns)),
            incidents: Incidents::default(),
            records: intake.records,
            told: table.told(),
            stray: table.losses().stray,
            losses: Losses::of(table, intake),
        }
    }
}

fn flows(table: &FlowTable, interest: &Interest, now_ns: u64) -> Flows {
    let mut rows: Vec<FlowReport> = table.flows(now_ns).collect();
    let matching = rows.len();
    rows.sort_unstable_by_key(|flow| Reverse(flow.id));
    rows.truncate(interest.flows);
    Flows { rows, matching, searched: 1.0 }
}

fn selection(table: &FlowTable, row: Row, interest: &Interest, now_ns: u64) -> Selection {
    let stats = table.stats();
    let peer = match &row.key {
        RowKey::Peer(peer) => stats.peer(peer),
        _ => None,
    };
    let mut flows: Vec<FlowReport> = table.flows(now_ns).filter(|flow| row.key.holds(&flow.peer)).collect();
    let flow_count = flows.len();
    flows.sort_unstable_by_key(|flow| Reverse(flow.id));
    flows.truncate(interest.selected_flows);
    let mut sum = Latencies::spanning();
    if let Some(peer) = peer {
        peer.tally.rtts_since_start(&mut sum);
    }
    Selection {
        total: peer.map(|peer| since_start(&peer.tally)).unwrap_or_default(),
        last_ns: peer.map_or(0, |peer| peer.last_ns),
        waiting: peer.map_or(0, |peer| peer.tally.waiting),
        usual_ns: Percentiles::of(&sum).map(|rtt| rtt.p50_ns),
        flows,
        matching: flow_count,
        flow_count,
        bars: latency::bars(&sum),
        past: interest.past.then(Past::default),
        row,
    }
}
