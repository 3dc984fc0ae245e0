//! The flows that match, best first, out of very many: a part of the table is looked through for each snapshot, so that
//! no snapshot is late.

use std::collections::{BinaryHeap, HashSet};

use super::query::{Filter, FlowFacts, FlowOrder, Query, Sort};
use super::rank::FlowRank;
use super::{Flows, RowKey};
use crate::table::flow::Flow;
use crate::table::{FlowName, FlowTable, PeerKey, Verdict};

/// Slots that are looked through for one snapshot.
const STEP: usize = 1 << 15;
/// The same while there is no result yet: somebody waits for it.
const FIRST_STEP: usize = 1 << 16;
/// Flows that became pending, established or closed lately, of each so many, are looked at whatever slot they are in.
const LATEST: usize = 1 << 10;

/// What flows are looked for.
pub(super) struct Wanted<'a> {
    pub(super) filter: &'a Filter,
    pub(super) sort: Sort<FlowOrder>,
    /// Only those of this row.
    pub(super) of: Option<RowKey>,
    /// How many at the most.
    pub(super) limit: usize,
    pub(super) now_ns: u64,
    /// The verdict on a peer.
    pub(super) verdict: &'a dyn Fn(&PeerKey) -> Option<Verdict>,
}

/// The best of those that were offered, and how many match.
#[derive(Clone, Debug, Default)]
pub(super) struct Best {
    flows: Vec<(FlowRank, FlowName)>,
    matching: usize,
}

/// Looks through the table, part by part, again and again.
#[derive(Clone, Debug, Default)]
pub(super) struct FlowScan {
    query: Query,
    of: Option<RowKey>,
    limit: usize,
    /// The next slot to be looked at.
    cursor: usize,
    /// What this round has found so far.
    found: Best,
    /// What the last whole round had found.
    result: Option<Best>,
}

impl Wanted<'_> {
    fn is_met_by(&self, flow: &Flow) -> bool {
        self.of.is_none_or(|row| row.holds(&flow.peer()))
            && self.filter.matches_flow(flow, self.now_ns, self.verdict)
    }

    fn rank(&self, flow: &impl FlowFacts) -> FlowRank {
        FlowRank::of(flow, self.sort, self.now_ns)
    }
}

impl Best {
    /// Looks through some flows.
    pub(super) fn offer<'a>(&mut self, flows: impl Iterator<Item = &'a Flow>, wanted: &Wanted<'_>) {
        for flow in flows.filter(|flow| wanted.is_met_by(flow)) {
            self.matching += 1;
            self.flows.push((wanted.rank(flow), flow.name()));
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

    /// Those that stand first, as they are now.
    pub(super) fn flows(mut self, table: &FlowTable, wanted: &Wanted<'_>) -> Flows {
        self.cut(wanted.limit);
        self.flows.sort_unstable_by_key(|(rank, _)| *rank);
        let reports = self.flows.iter().filter_map(|(_, name)| table.flow(name, wanted.now_ns));
        Flows { rows: reports.collect(), matching: self.matching, searched: 1.0 }
    }
}

impl FlowScan {
    /// The flows that are wanted, as far as is known.
    pub(super) fn flows(&mut self, table: &FlowTable, query: &Query, wanted: &Wanted<'_>) -> Flows {
        let is_other = (self.of, self.limit) != (wanted.of, wanted.limit)
            || self.query.filter != query.filter
            || self.query.flow_sort != query.flow_sort;
        if is_other {
            let (query, of, limit) = (query.clone(), wanted.of, wanted.limit);
            *self = Self { query, of, limit, ..Self::default() };
        }
        let step = if self.result.is_some() { STEP } else { FIRST_STEP };
        // To look for a word takes longer than all else.
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

    /// What both rounds know, and what has changed lately, each as it is now.
    fn so_far(&self, table: &FlowTable, wanted: &Wanted<'_>) -> Flows {
        let known = self.result.iter().chain([&self.found]).flat_map(|best| &best.flows);
        let known = known.filter_map(|(_, name)| table.look_up(name));
        let mut best = Best::default();
        let mut seen = HashSet::new();
        let flows = known.chain(table.latest(LATEST)).filter(|flow| seen.insert(flow.id));
        best.offer(flows, wanted);
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

/// The flows that are wanted among a few, each of which is looked at.
pub(super) fn among<'a>(
    flows: impl Iterator<Item = &'a Flow>,
    table: &FlowTable,
    wanted: &Wanted<'_>,
) -> Flows {
    let mut best = Best::default();
    best.offer(flows, wanted);
    best.flows(table, wanted)
}

/// The newest flows of some peers, which are wanted whatever they are: each peer's stand in this order.
pub(super) fn newest(
    peers: impl Iterator<Item = PeerKey>,
    table: &FlowTable,
    matching: usize,
    wanted: &Wanted<'_>,
) -> Flows {
    let mut chains: Vec<_> = peers.map(|peer| table.chain_of(peer).peekable()).collect();
    let mut heads = BinaryHeap::new();
    for (which, chain) in chains.iter_mut().enumerate() {
        heads.extend(chain.peek().map(|flow| (flow.id, which)));
    }
    let mut rows = Vec::new();
    while rows.len() < wanted.limit
        && let Some((_, which)) = heads.pop()
    {
        rows.extend(chains[which].next().map(|flow| flow.report(wanted.now_ns)));
        heads.extend(chains[which].peek().map(|flow| (flow.id, which)));
    }
    Flows { rows, matching, searched: 1.0 }
}
