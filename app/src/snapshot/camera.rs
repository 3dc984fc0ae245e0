//! Takes pictures, and remembers from one to the next what is dear to find out and what only time shows.

use super::figures::{Extent, seconds};
use super::groups::Groups;
use super::journal::Journal;
use super::known::{Look, Peers};
use super::latency::Scratch;
use super::past::Past;
use super::rows::{Row, Rows};
use super::selection::{Chosen, Selection, View};
use super::survey::{Survey, Wanted};
use super::{Bar, Figures, Flows, Group, Intake, Interest, Losses, RowKey, Snapshot, Span};
use crate::flow::peer::Peer;
use crate::flow::stats::Stats;
use crate::flow::{Event, FlowTable, PeerKey};

/// Takes one [`Snapshot`] after the other.
#[derive(Clone, Debug, Default)]
pub struct Camera {
    peers: Peers,
    groups: Groups,
    chosen: Chosen,
    survey: Survey,
    journal: Journal,
    scratch: Scratch,
    span: Option<Span>,
    /// What was counted before everything was to be counted anew.
    before: Before,
}

/// What had been counted when it began anew.
#[derive(Clone, Debug, Default)]
struct Before {
    counted_ns: Option<u64>,
    records: u64,
    told: u64,
    stray: u64,
    losses: Losses,
}

impl Camera {
    /// Takes note of what was decided: every event of the table, once, before the next picture.
    pub fn note(&mut self, events: &[Event]) {
        events.iter().for_each(|event| self.journal.note(event));
    }

    /// Everything is counted anew from now on. The table's own counts are begun anew beside this.
    pub fn reset(&mut self, table: &FlowTable, intake: &Intake, now_ns: u64) {
        self.before = Before {
            counted_ns: Some(now_ns),
            records: intake.records,
            told: table.told(),
            stray: table.losses().stray,
            losses: Losses::of(table, intake),
        };
    }

    /// Takes a picture.
    #[must_use]
    pub fn take(&mut self, table: &FlowTable, intake: &Intake, interest: &Interest, now_ns: u64) -> Snapshot {
        let stats = table.stats();
        let extent = Extent { span: interest.span, slot_ns: stats.slot_ns(), now_ns };
        let look = Look { stats, query: &interest.query, extent };
        let counted_ns = self.before.counted_ns.unwrap_or(intake.started_ns);
        let window_ns = stats.covered_ns(intake.started_ns, now_ns);
        let span_ns = match interest.span {
            Span::Window => window_ns,
            Span::SinceStart => now_ns.saturating_sub(counted_ns).max(1),
        };
        let rows = self.rows(&look, interest, span_ns);
        let losses = Losses::of(table, intake);
        self.journal.changed(&self.peers.changes, now_ns);
        self.journal.lost(&losses, now_ns);
        let selection = self.selection(table, &look, &rows, interest, intake.started_ns, span_ns);
        let (recent, total, bars) = self.totals(stats, extent);
        let peers = &self.peers;
        let verdict = |peer: &PeerKey| peers.verdict(stats, peer);
        let history = core::iter::once(stats.total().history());
        #[allow(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
        let new_per_s = recent.outcomes.opened as f64 / seconds(window_ns);
        let filter = &interest.query.filter;
        Snapshot {
            taken_ns: now_ns,
            started_ns: intake.started_ns,
            counted_ns,
            window_ns: stats.window_ns(),
            thresholds: *stats.thresholds(),
            new_per_s,
            recent,
            total,
            bars,
            past: interest.past.then(|| Past::of(history, intake.started_ns, now_ns)),
            query: interest.query.clone(),
            rows: rows.rows,
            matching: rows.matching,
            row_count: rows.count,
            peer_count: stats.len(),
            flow_count: table.len(),
            selection,
            flows: flows(&mut self.survey, table, interest, &verdict, now_ns),
            flow: interest.flow.as_ref().and_then(|name| table.flow(name, now_ns)),
            incidents: (interest.incidents > 0)
                .then(|| self.journal.incidents(filter, &verdict, interest.incidents)),
            records: intake.records - self.before.records,
            told: table.told() - self.before.told,
            stray: table.losses().stray - self.before.stray,
            losses: losses.since(&self.before.losses),
        }
    }

    /// Figures of all within the window and since the start, and the shape of the latter.
    fn totals(&mut self, stats: &Stats, extent: Extent) -> (Figures, Figures, Vec<Bar>) {
        let recent = Extent { span: Span::Window, ..extent }.figures(stats.total(), &mut self.scratch);
        let since_start = Extent { span: Span::SinceStart, ..extent };
        since_start.rtts(stats.total(), &mut self.scratch);
        let (rtt, bars) = self.scratch.take_shape();
        (recent, Figures { outcomes: since_start.outcomes(stats.total()), rtt }, bars)
    }

    fn rows(&mut self, look: &Look<'_>, interest: &Interest, span_ns: u64) -> Rows {
        if self.span.replace(interest.span) != Some(interest.span) {
            // Verdicts of another span are no longer held.
            self.groups = Groups::default();
        }
        self.peers.look(look, &mut self.scratch);
        match interest.query.group {
            Group::Peer => self.peers.rows(look, interest.rows, span_ns),
            Group::Host | Group::Service | Group::Subnet | Group::Role | Group::Interface => {
                self.groups.rows(&self.peers, look, &mut self.scratch, interest.rows, span_ns)
            }
        }
    }

    /// The selected row, or the first where it is not there.
    fn selection(
        &mut self,
        table: &FlowTable,
        look: &Look<'_>,
        rows: &Rows,
        interest: &Interest,
        started_ns: u64,
        span_ns: u64,
    ) -> Option<Selection> {
        let wanted = interest.selected.and_then(|key| self.row(look, &key, span_ns));
        let row = wanted.or_else(|| rows.rows.first().copied())?;
        let members: Vec<&Peer> = match &row.key {
            RowKey::Peer(peer) => look.stats.peer(peer).into_iter().collect(),
            key => {
                let slots = self.groups.members(key).iter();
                slots.filter_map(|slot| look.stats.peer_in(*slot)).collect()
            }
        };
        let verdict = |peer: &PeerKey| self.peers.verdict(look.stats, peer);
        let view = View { look, verdict: &verdict, started_ns };
        Some(self.chosen.selection(row, &members, table, interest, &view, &mut self.scratch))
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
            key.group() == look.query.group && look.query.filter.matches_row(&row, look.extent.now_ns);
        matches.then_some(row)
    }
}

fn flows(
    survey: &mut Survey,
    table: &FlowTable,
    interest: &Interest,
    verdict: super::query::filter::VerdictOf<'_>,
    now_ns: u64,
) -> Option<Flows> {
    let Interest { query, flows: limit, .. } = interest;
    let (filter, sort) = (&query.filter, query.flow_sort);
    let wanted = Wanted { filter, sort, of: None, limit: *limit, now_ns, verdict };
    (*limit > 0).then(|| survey.flows(table, query, &wanted))
}
