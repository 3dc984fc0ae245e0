//! The statistics as readers see them: readers share them until one restarts its counts or changes its window.

use super::{PeerEvent, Stats, Times};
use crate::engine::EngineConfig;
use crate::flow::{Leg, PeerKey};

/// Statistics that some readers share.
#[derive(Debug)]
struct View {
    stats: Stats,
    readers: usize,
}

/// All statistics: at least one, and at most one per reader.
#[derive(Debug)]
pub(crate) struct Views(Vec<View>);

impl Views {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        Self(vec![View { stats: Stats::new(config), readers: 0 }])
    }

    /// Adds a reader. Returns its view: the oldest.
    pub(crate) fn join(&mut self) -> usize {
        self.0[0].readers += 1;
        0
    }

    /// Returns a view with the same content that belongs to one of its readers alone.
    pub(crate) fn split(&mut self, view: usize) -> usize {
        if self.0[view].readers <= 1 {
            return view;
        }
        self.0[view].readers -= 1;
        let stats = self.0[view].stats.clone();
        self.0.push(View { stats, readers: 1 });
        self.0.len() - 1
    }

    pub(crate) fn get(&self, view: usize) -> &Stats {
        &self.0[view].stats
    }

    pub(crate) fn get_mut(&mut self, view: usize) -> &mut Stats {
        &mut self.0[view].stats
    }

    /// Counts what happened to a connection with `peer`.
    pub(crate) fn count(&mut self, peer: PeerKey, event: PeerEvent, now_ns: u64) {
        self.0.iter_mut().for_each(|view| view.stats.count(peer, event, now_ns));
    }

    /// Adds the latencies of a handshake, in nanoseconds, as far as they are known.
    pub(crate) fn record(&mut self, peer: PeerKey, latencies: Times<Option<u64>>, now_ns: u64) {
        self.0.iter_mut().for_each(|view| view.stats.record(peer, latencies, now_ns));
    }

    /// Adds the time that a refusal took.
    pub(crate) fn refuse(&mut self, peer: PeerKey, refusal: Leg, now_ns: u64) {
        self.0.iter_mut().for_each(|view| view.stats.refuse(peer, refusal, now_ns));
    }

    /// A connection attempt counts as unanswered from now on, or no longer.
    pub(crate) fn wait(&mut self, peer: PeerKey, begins: bool, now_ns: u64) {
        self.0.iter_mut().for_each(|view| view.stats.wait(peer, begins, now_ns));
    }
}
