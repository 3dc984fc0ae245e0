//! The statistics as readers see them: readers share them until one restarts its counts or changes its window.

use super::peer::{PeerEvent, PeerKey};
use super::stats::Stats;
use crate::snapshot::MissedCounts;

/// Statistics, and what the run had counted when they were restarted.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) stats: Stats,
    pub(crate) baseline: Baseline,
    readers: usize,
}

/// Counts of the run that a reader does not want to see, because it restarted its own.
#[derive(Clone, Debug, Default)]
pub(crate) struct Baseline {
    /// When the counts were restarted.
    pub(crate) counted_ns: Option<u64>,
    pub(crate) records: u64,
    pub(crate) reported: u64,
    pub(crate) unmatched: u64,
    pub(crate) missed: MissedCounts,
}

/// Every view: at least one, and at most one per reader.
#[derive(Debug)]
pub(crate) struct Views(Vec<View>);

impl Views {
    pub(crate) fn new(stats: Stats) -> Self {
        Self(vec![View { stats, baseline: Baseline::default(), readers: 0 }])
    }

    /// Adds a reader to the oldest view.
    pub(crate) fn join(&mut self) -> usize {
        self.0[0].readers += 1;
        0
    }

    /// A view with the same content for one of its readers alone.
    pub(crate) fn split(&mut self, view: usize) -> usize {
        if self.0[view].readers <= 1 {
            return view;
        }
        self.0[view].readers -= 1;
        let own = View { readers: 1, ..self.0[view].clone() };
        self.0.push(own);
        self.0.len() - 1
    }

    pub(crate) fn get(&self, view: usize) -> &View {
        &self.0[view]
    }

    pub(crate) fn get_mut(&mut self, view: usize) -> &mut View {
        &mut self.0[view]
    }

    pub(super) fn count(&mut self, key: PeerKey, event: PeerEvent, now_ns: u64) {
        self.count_many(key, event, 1, now_ns);
    }

    pub(super) fn count_many(&mut self, key: PeerKey, event: PeerEvent, count: u64, now_ns: u64) {
        self.0.iter_mut().for_each(|view| view.stats.count_many(key, event, count, now_ns));
    }

    pub(super) fn record(&mut self, key: PeerKey, rtt_ns: u64, now_ns: u64) {
        self.0.iter_mut().for_each(|view| view.stats.record(key, rtt_ns, now_ns));
    }

    pub(super) fn wait(&mut self, key: PeerKey, begins: bool, now_ns: u64) {
        self.0.iter_mut().for_each(|view| view.stats.wait(key, begins, now_ns));
    }
}
