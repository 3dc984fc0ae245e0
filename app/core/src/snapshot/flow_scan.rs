//! The flows that match, best first, out of very many: a part of the table is searched for each snapshot, so that no snapshot
//! is late.

use std::collections::{BinaryHeap, HashSet};

use super::Flows;
use super::rank::FlowRank;
use crate::flow::{Flow, FlowName, PeerKey, Tracked};
use crate::owner::PeerOwners;
use crate::query::{BoundFilter, FlowOrder, Query, RowKey, Sort, VerdictOf};
use crate::table::FlowTable;

/// Slots that are searched for one snapshot.
const STEP: usize = 1 << 15;
/// The same while there is no result yet: somebody waits for it.
const FIRST_STEP: usize = 1 << 16;
/// Flows that became pending, established or closed lately, so many of each, are tested in whatever slot they are.
const LATEST: usize = 1 << 10;

/// What flows are searched for.
pub(super) struct Wanted<'a> {
    pub(super) filter: BoundFilter<'a>,
    pub(super) sort: Sort<FlowOrder>,
    /// Only those of this row.
    pub(super) of: Option<RowKey>,
    /// Maximum number of them.
    pub(super) limit: usize,
    pub(super) now_ns: u64,
    /// The verdict on a peer.
    pub(super) verdict: VerdictOf<'a>,
    /// Whose the connections of a peer are.
    pub(super) owners: &'a dyn Fn(&PeerKey) -> PeerOwners,
}

/// The best of those that were offered, and how many match.
#[derive(Clone, Debug, Default)]
struct Best {
    flows: Vec<(FlowRank, FlowName)>,
    matching: usize,
}

/// Searches the table, part by part, again and again.
#[derive(Debug, Default)]
pub(super) struct FlowScan {
    query: Query,
    of: Option<RowKey>,
    limit: usize,
    /// The next slot to be tested.
    cursor: usize,
    /// What this round has found so far.
    found: Best,
    /// What the last complete round had found.
    result: Option<Best>,
}

impl Wanted<'_> {
    fn is_met_by(&self, flow: &Flow) -> bool {
        self.of.is_none_or(|row| row.holds(&flow.peer(), self.owners))
            && self.filter.matches_flow(flow, self.now_ns, self.verdict)
    }
}

impl Best {
    fn offer<'a>(&mut self, flows: impl Iterator<Item = &'a Tracked>, wanted: &Wanted<'_>) {
        for flow in flows.map(|tracked| &tracked.flow).filter(|flow| wanted.is_met_by(flow)) {
            self.matching += 1;
            self.flows.push((FlowRank::of(flow, wanted.sort, wanted.now_ns), flow.name()));
            if self.flows.len() >= 4 * wanted.limit.max(256) {
                self.cut(wanted.limit);
            }
        }
    }

    fn cut(&mut self, limit: usize) {
        if limit > 0 && limit < self.flows.len() {
            self.flows.select_nth_unstable_by_key(limit - 1, |(rank, _)| *rank);
        }
        self.flows.truncate(limit);
    }

    /// The first of them, as they are now.
    fn flows(mut self, table: &FlowTable, wanted: &Wanted<'_>) -> Flows {
        self.cut(wanted.limit);
        self.flows.sort_unstable_by_key(|(rank, _)| *rank);
        let known = self.flows.iter().filter_map(|(_, name)| table.look_up(name));
        let rows = known.map(|tracked| tracked.at(wanted.now_ns)).collect();
        Flows { rows, matching: self.matching, searched: 1.0 }
    }
}

impl FlowScan {
    /// The flows that are wanted, as far as they were found.
    pub(super) fn flows(&mut self, table: &FlowTable, query: &Query, wanted: &Wanted<'_>) -> Flows {
        let is_other = (self.of, self.limit) != (wanted.of, wanted.limit)
            || self.query.filter != query.filter
            || self.query.flow_sort != query.flow_sort;
        if is_other {
            let (query, of, limit) = (query.clone(), wanted.of, wanted.limit);
            *self = Self { query, of, limit, ..Self::default() };
        }
        let step = if self.result.is_some() { STEP } else { FIRST_STEP };
        // To search for a word takes longer than all else.
        let step = if wanted.filter.has_words() { step / 2 } else { step };
        let is_whole = self.cursor == 0 && table.slots() <= step;
        let end = self.cursor + step;
        self.found.offer(table.in_slots(self.cursor..end), wanted);
        self.found.cut(wanted.limit);
        self.cursor = end;
        if end >= table.slots() {
            self.cursor = 0;
            self.result = Some(core::mem::take(&mut self.found));
        }
        match &self.result {
            Some(result) if is_whole => result.clone().flows(table, wanted),
            _ => self.so_far(table, wanted),
        }
    }

    /// What both rounds have found, and what has changed lately, each as it is now.
    fn so_far(&self, table: &FlowTable, wanted: &Wanted<'_>) -> Flows {
        let found = self.result.iter().chain([&self.found]).flat_map(|best| &best.flows);
        let found = found.filter_map(|(_, name)| table.look_up(name));
        let mut best = Best::default();
        let mut seen = HashSet::new();
        best.offer(
            found.chain(table.latest(LATEST)).filter(|tracked| seen.insert(tracked.flow.id())),
            wanted,
        );
        let mut flows = best.flows(table, wanted);
        #[allow(clippy::cast_precision_loss, reason = "a share is shown with three digits")]
        let share = self.cursor as f64 / table.slots().max(1) as f64;
        (flows.matching, flows.searched) = match &self.result {
            Some(result) => (result.matching.max(flows.rows.len()), 1.0),
            None => (self.found.matching.max(flows.rows.len()), share),
        };
        flows
    }
}

/// The flows that are wanted among a few, each of which is tested.
pub(super) fn among<'a>(
    flows: impl Iterator<Item = &'a Tracked>,
    table: &FlowTable,
    wanted: &Wanted<'_>,
) -> Flows {
    let mut best = Best::default();
    best.offer(flows, wanted);
    best.flows(table, wanted)
}

/// The newest flows of some peers, without a test: those of each peer are sorted so.
pub(super) fn newest(
    peers: impl Iterator<Item = PeerKey>,
    table: &FlowTable,
    matching: usize,
    wanted: &Wanted<'_>,
) -> Flows {
    let mut chains: Vec<_> = peers.map(|peer| table.flows_of(peer).peekable()).collect();
    let mut heads = BinaryHeap::new();
    for (which, chain) in chains.iter_mut().enumerate() {
        heads.extend(chain.peek().map(|tracked| (tracked.flow.id(), which)));
    }
    let mut rows = Vec::new();
    while rows.len() < wanted.limit
        && let Some((_, which)) = heads.pop()
    {
        rows.extend(chains[which].next().map(|tracked| tracked.at(wanted.now_ns)));
        heads.extend(chains[which].peek().map(|tracked| (tracked.flow.id(), which)));
    }
    Flows { rows, matching, searched: 1.0 }
}
