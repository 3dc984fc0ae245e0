//! What could not be kept: always counted, always shown.

use probe_common::counter::Counter;
use probe_common::{RecordKind, Unparsed};

use super::RunCounters;
use crate::stats::Stats;
use crate::table::FlowTable;

/// Counts of everything that is missing from the figures, since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses(Vec<(&'static str, u64)>);

impl Losses {
    pub(crate) fn of(table: &FlowTable, stats: &Stats, run: &RunCounters) -> Self {
        let records = RecordKind::ALL.map(|kind| (kind.name(), run.counters.of(Counter::Missed(kind))));
        let packets = Unparsed::COUNTED.map(|why| (why.name(), run.counters.of(Counter::Unparsed(why))));
        let rest = [
            ("untracked", run.counters.of(Counter::EvictedFlow)),
            ("undecodable", run.undecodable),
            ("unreadable", run.unreadable),
            ("evicted_flows", table.losses().evicted_flows),
            ("forgotten_peers", stats.evicted_peers()),
            ("unwritten", run.unwritten),
        ];
        Self(records.into_iter().chain(packets).chain(rest).collect())
    }

    /// What was lost since `before` was counted.
    pub(super) fn since(&self, before: &Self) -> Self {
        let counts = before.0.iter().map(|(_, count)| *count).chain(core::iter::repeat(0));
        let since = |(&(kind, count), before): (&(_, u64), u64)| (kind, count.saturating_sub(before));
        Self(self.0.iter().zip(counts).map(since).collect())
    }

    /// Every kind of loss with its count, 0 included, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().copied()
    }

    /// The count of one kind; `None` if there is no such kind.
    #[must_use]
    pub fn of_kind(&self, kind: &str) -> Option<u64> {
        self.iter().find(|(name, _)| *name == kind).map(|(_, count)| count)
    }

    /// All of them together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }
}
