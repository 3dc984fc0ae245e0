//! The rows of the first table: peers, or what several have in common.

use super::Figures;
use super::figures::seconds;
use super::group::RowKey;
use super::held_verdict::{HeldVerdict, Present};
use super::peer_cache::{Known, Look, Peers};
use super::query::{RowOrder, Sort};
use super::rank::RowRank;
use crate::table::Verdict;

/// One peer, or several taken together, within the span of time that was asked for.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Row {
    /// Who it is.
    pub key: RowKey,
    /// How many peers are in it.
    pub peers: usize,
    /// What is wrong with it, if anything is or was within the last window.
    pub verdict: Option<Verdict>,
    /// It is no longer, and the verdict goes once it was not deserved for a whole window.
    pub recovering: bool,
    /// What is wrong with it now.
    pub present: Present,
    /// Since when, in nanoseconds of the monotonic clock.
    pub since_ns: Option<u64>,
    /// When it was heard of first, in nanoseconds of the monotonic clock.
    pub first_ns: u64,
    /// Attempts per second.
    pub new_per_s: f64,
    /// Counts and latencies.
    pub figures: Figures,
}

/// The rows that were asked for, how many match, and how many there are.
pub(super) struct Rows {
    pub(super) rows: Vec<Row>,
    pub(super) matching: usize,
    pub(super) count: usize,
}

/// What a row is made of.
pub(super) struct Parts<'a> {
    pub(super) key: RowKey,
    pub(super) peers: usize,
    pub(super) first_ns: u64,
    pub(super) held_verdict: &'a HeldVerdict,
    pub(super) figures: &'a Figures,
    /// How long the span of time is.
    pub(super) span_ns: u64,
}

impl Parts<'_> {
    pub(super) fn row(&self) -> Row {
        let verdict = self.held_verdict.worst();
        #[allow(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
        let new_per_s = self.figures.outcomes.opened as f64 / seconds(self.span_ns);
        Row {
            key: self.key,
            peers: self.peers,
            verdict: verdict.map(|(verdict, _)| verdict),
            recovering: self.held_verdict.is_recovering(),
            present: self.held_verdict.present(),
            since_ns: verdict.map(|(_, since_ns)| since_ns),
            first_ns: self.first_ns,
            new_per_s,
            figures: *self.figures,
        }
    }
}

impl Known {
    pub(super) fn row(&self, span_ns: u64) -> Row {
        let key = RowKey::Peer(self.key);
        let Self { first_ns, held_verdict, figures, .. } = self;
        Parts { key, peers: 1, first_ns: *first_ns, held_verdict, figures, span_ns }.row()
    }
}

impl Peers {
    /// The rows of single peers.
    pub(super) fn rows(&self, look: &Look<'_>, limit: usize, span_ns: u64) -> Rows {
        let (filter, now_ns) = (&look.query.filter, look.period.now_ns);
        let asks = filter.asks_rows();
        let matching =
            self.passing().filter(|(_, known)| !asks || filter.matches_row(&known.row(span_ns), now_ns));
        let mut ranks: Vec<(RowRank, u32)> = matching.map(|(slot, known)| (known.rank, slot)).collect();
        let matching = ranks.len();
        let key = |slot: u32| self.get(slot).map(|known| RowKey::Peer(known.key));
        first(&mut ranks, limit, look.query.sort, key);
        let rows = ranks.iter().filter_map(|(_, slot)| Some(self.get(*slot)?.row(span_ns)));
        Rows { rows: rows.collect(), matching, count: look.stats.len() }
    }
}

/// Cuts to those that stand first, in their order.
pub(super) fn first<Key: Ord>(
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
