//! The rows of the first table: peers, or groups of peers.

use super::figures::{Figures, per_second};
use super::held_verdict::{HeldVerdict, Verdicts};
use super::peer_cache::{CachedPeer, PeerCache, Scan};
use super::rank::RowRank;
use crate::query::{RowFacts, RowKey, RowOrder, Sort};
use crate::stats::Verdict;
use crate::why::Why;

/// One peer or a group of peers, within the span of time that was requested.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Identifies it.
    pub key: RowKey,
    /// How many peers are in it.
    pub peers: usize,
    /// The worst of what is wrong with it now, else of what was within the last window.
    pub verdict: Option<Verdict>,
    /// Everything that is wrong with it now.
    pub present: Verdicts,
    /// What was wrong with it within the last window and is not now: a verdict clears after one full window without its
    /// condition.
    pub recovering: Verdicts,
    /// What is behind the verdict, where a source says so; of a group nobody does.
    pub why: Option<Why>,
    /// Since when the verdict applies, in nanoseconds of the monotonic clock.
    pub since_ns: Option<u64>,
    /// When it was first seen, in nanoseconds of the monotonic clock.
    pub first_ns: u64,
    /// Attempts per second.
    pub new_per_s: f64,
    /// Counts and latencies.
    pub figures: Figures,
}

/// The rows that were requested, how many match, and how many there are.
pub(super) struct Rows {
    pub(super) rows: Vec<Row>,
    pub(super) matching: usize,
    pub(super) count: usize,
}

impl Row {
    /// A row that covers `span_ns`.
    pub(super) fn new(
        key: RowKey,
        peers: usize,
        first_ns: u64,
        held_verdict: &HeldVerdict,
        figures: &Figures,
        span_ns: u64,
    ) -> Self {
        let worst = held_verdict.worst();
        Self {
            key,
            peers,
            verdict: worst.map(|(verdict, _)| verdict),
            present: held_verdict.present(),
            recovering: held_verdict.recovering(),
            why: None,
            since_ns: worst.map(|(_, since_ns)| since_ns),
            first_ns,
            new_per_s: per_second(figures.counts.opened, span_ns),
            figures: *figures,
        }
    }

    /// Whether nothing is wrong with it now, but something was within the last window.
    #[must_use]
    pub fn is_recovering(&self) -> bool {
        self.verdict.is_some() && self.present.iter().next().is_none()
    }

    pub(super) const fn facts(&self) -> RowFacts<'_> {
        let Self { verdict, why, first_ns, new_per_s, figures: Figures { counts, rtt, setup, .. }, .. } =
            self;
        RowFacts {
            counts,
            rtt: *rtt,
            setup: *setup,
            verdict: *verdict,
            why: *why,
            first_ns: *first_ns,
            new_per_s: *new_per_s,
        }
    }
}

impl CachedPeer {
    pub(super) fn row(&self, span_ns: u64) -> Row {
        let row =
            Row::new(RowKey::Peer(self.key), 1, self.first_ns, &self.held_verdict, &self.figures, span_ns);
        Row { why: self.why, ..row }
    }
}

impl PeerCache {
    /// The rows of single peers.
    pub(super) fn rows(&self, scan: &Scan<'_>, limit: usize) -> Rows {
        let passing = self.all().filter(|(_, cached)| cached.passes);
        let matching = passing.filter(|(_, cached)| scan.matches(|| cached.row(scan.span_ns)));
        let mut ranks: Vec<(RowRank, u32)> = matching.map(|(slot, cached)| (cached.rank, slot)).collect();
        let matching = ranks.len();
        let key = |slot: u32| self.get(slot).map(|cached| RowKey::Peer(cached.key));
        cut_to_first(&mut ranks, limit, scan.query.sort, key);
        let rows = ranks.iter().filter_map(|(_, slot)| Some(self.get(*slot)?.row(scan.span_ns)));
        Rows { rows: rows.collect(), matching, count: scan.stats.len() }
    }
}

impl Scan<'_> {
    /// Whether a row passes the filter, which needs to be made only where a term applies to rows.
    pub(super) fn matches(&self, row: impl FnOnce() -> Row) -> bool {
        !self.filter.restricts_rows() || self.filter.matches_row(&row().facts(), self.period.now_ns)
    }
}

/// Sorts, and cuts to the first.
pub(super) fn cut_to_first<Key: Ord>(
    ranks: &mut Vec<(RowRank, u32)>,
    limit: usize,
    sort: Sort<RowOrder>,
    key: impl Fn(u32) -> Key,
) {
    let compare = |one: &(RowRank, u32), other: &(RowRank, u32)| {
        one.0.cmp(&other.0).then_with(|| match (sort.by, key(one.1).cmp(&key(other.1))) {
            (RowOrder::Peer, order) if sort.reversed => order.reverse(),
            (_, order) => order,
        })
    };
    if limit > 0 && limit < ranks.len() {
        ranks.select_nth_unstable_by(limit - 1, compare);
    }
    ranks.truncate(limit);
    ranks.sort_unstable_by(compare);
}
