//! What could not be kept: always counted, always shown.

use probe_common::counter::Counter;
use probe_common::{RecordKind, Unparsed};

use super::RunCounters;
use crate::table::{FlowTable, Stats};

/// Counts of everything that is missing from the figures, since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Losses(Vec<(&'static str, u64)>);

impl Losses {
    pub(crate) fn of(table: &FlowTable, stats: &Stats, run_counters: &RunCounters) -> Self {
        let own = table.losses();
        let records = RecordKind::ALL.map(|kind| (kind.name(), run_counters.lost(kind)));
        let packets =
            Unparsed::COUNTED.map(|why| (why.name(), run_counters.counters.of(Counter::Unparsed(why))));
        let rest = [
            ("untracked", run_counters.counters.of(Counter::EvictedFlow)),
            ("undecodable", run_counters.undecodable),
            ("unreadable", run_counters.unreadable),
            ("evicted_flows", own.evicted_flows),
            ("forgotten_peers", stats.forgotten_peers()),
            ("unwritten", run_counters.unwritten),
        ];
        Self(records.into_iter().chain(packets).chain(rest).collect())
    }

    /// What was lost since these were counted.
    pub(super) fn since(&self, before: &Self) -> Self {
        let counts = before.0.iter().map(|(_, count)| *count).chain(core::iter::repeat(0));
        Self(
            self.0
                .iter()
                .zip(counts)
                .map(|((kind, count), before)| (*kind, count.saturating_sub(before)))
                .collect(),
        )
    }

    /// Every kind of loss with its count, 0 included, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> {
        self.0.iter().copied()
    }

    /// All of them together.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.iter().map(|(_, count)| count).sum()
    }
}
