//! Counts and latencies per peer and over all, within a bound on memory.

mod counts;
mod distribution;
mod history;
mod peer;
pub mod scale;
mod times;
mod verdict;
mod views;
mod window;

use hashbrown::HashMap;

use crate::engine::EngineConfig;
use crate::flow::{Leg, Outcome, PeerKey};
use crate::slab::Slab;

pub use counts::Counts;
pub(crate) use counts::PeerEvent;
pub use distribution::Percentiles;
pub(crate) use distribution::{Distribution, Latencies};
pub(crate) use history::{History, SLOT_NS, SLOTS, slot};
pub(crate) use peer::{Peer, Tally};
pub use times::Latency;
pub(crate) use times::Times;
pub use verdict::{Slow, Thresholds, Verdict};
pub(crate) use views::Views;

/// Peers that never completed a handshake: the first to be evicted, or a flood of forged addresses would displace those that
/// matter.
const UNPROVEN: usize = 0;
const PROVEN: usize = 1;

/// A peer's own size, and its place in index and slab. The hash map doubles, hence twice its entry.
const PEER_BYTES: usize = size_of::<Peer>() + 16 + 2 * size_of::<(PeerKey, u32)>();

/// Figures of every peer, and of all together.
#[derive(Clone, Debug)]
pub(crate) struct Stats {
    window_ns: u64,
    thresholds: Thresholds,
    /// Memory for all peers together.
    peer_bytes: usize,
    peers: Slab<Peer, 2>,
    index: HashMap<PeerKey, u32>,
    total: Tally,
    /// By slot, when each peer changed last: the count of all changes then.
    stamps: Vec<u64>,
    changes: u64,
    charged_bytes: usize,
    evicted_peers: u64,
    /// When the window was last emptied.
    window_from_ns: u64,
}

impl Stats {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        Self {
            window_ns: config.window_ns,
            thresholds: config.thresholds,
            peer_bytes: config.peer_bytes,
            peers: Slab::new(),
            index: HashMap::new(),
            total: Tally::default(),
            stamps: Vec::new(),
            changes: 0,
            charged_bytes: 0,
            evicted_peers: 0,
            window_from_ns: 0,
        }
    }

    /// Length of the sliding window, in nanoseconds.
    pub(crate) const fn window_ns(&self) -> u64 {
        self.window_ns
    }

    /// When a verdict applies.
    pub(crate) const fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }

    /// Length of one slot of the window, in nanoseconds, at least 1.
    pub(crate) fn slot_ns(&self) -> u64 {
        (self.window_ns / window::SLOTS as u64).max(1)
    }

    /// How much time the window that ends at `now_ns` covers, in nanoseconds, at least 1 s: its newest slot is not full, and it
    /// may have started only just. `started_ns` is when the run started. Less than a second gives no rate: that of one attempt
    /// in a nanosecond is a billion.
    pub(crate) fn covered_ns(&self, started_ns: u64, now_ns: u64) -> u64 {
        let slot_ns = self.slot_ns();
        let slots_ns = slot_ns * (window::SLOTS as u64 - 1) + now_ns % slot_ns;
        let from_ns = started_ns.max(self.window_from_ns);
        slots_ns.min(now_ns.saturating_sub(from_ns)).max(1_000_000_000)
    }

    /// Changes the length of the window. It starts empty: its slots have another length.
    pub(crate) fn set_window(&mut self, window_ns: u64, now_ns: u64) {
        self.window_ns = window_ns;
        self.window_from_ns = now_ns;
        self.total.reset_window();
        self.peers.iter_mut().for_each(|peer| peer.tally.reset_window());
        self.all_changed();
    }

    /// Restarts all counts at `now_ns`. Peers stay known, and what is wrong with them since when.
    pub(crate) fn reset(&mut self, now_ns: u64) {
        self.window_from_ns = now_ns;
        self.total.reset();
        for peer in self.peers.iter_mut() {
            peer.reset();
            let bytes = peer.tally.heap_bytes();
            self.charged_bytes = self.charged_bytes + bytes - peer.charged_bytes;
            peer.charged_bytes = bytes;
        }
        self.all_changed();
    }

    /// Over all peers.
    pub(crate) const fn total(&self) -> &Tally {
        &self.total
    }

    /// For each slot when its peer changed last: a number that grows with each change of any. A change may be that it was
    /// evicted.
    pub(crate) fn stamps(&self) -> &[u64] {
        &self.stamps
    }

    /// The peer in a slot.
    pub(crate) fn peer_in(&self, slot: u32) -> Option<&Peer> {
        self.peers.get(slot)
    }

    /// The slot of a peer.
    pub(crate) fn slot_of(&self, key: &PeerKey) -> Option<u32> {
        self.index.get(key).copied()
    }

    /// How many peers are known.
    pub(crate) fn len(&self) -> usize {
        self.peers.len()
    }

    /// One peer.
    pub(crate) fn peer(&self, key: &PeerKey) -> Option<&Peer> {
        self.peers.get(*self.index.get(key)?)
    }

    /// How many peers were evicted to stay within the memory.
    pub(crate) const fn evicted_peers(&self) -> u64 {
        self.evicted_peers
    }

    /// Counts what happened to a connection with `key`.
    fn count(&mut self, key: PeerKey, event: PeerEvent, now_ns: u64) {
        if event == PeerEvent::Aborted && !self.has_counted(&key, now_ns) {
            return;
        }
        let slot_ns = self.slot_ns();
        self.total.count(event, now_ns, slot_ns);
        let window_ns = self.window_ns;
        self.with_peer(key, now_ns, |peer| {
            let is_resized = peer.tally.count(event, now_ns, slot_ns);
            let problem = match event {
                PeerEvent::Ended(Outcome::Refused) => Some(Verdict::Refuses),
                PeerEvent::Ended(Outcome::Unreachable) => Some(Verdict::Unreachable),
                PeerEvent::Ended(Outcome::Unanswered | Outcome::HalfOpen) => Some(Verdict::NoAnswer),
                PeerEvent::Aborted => Some(Verdict::Aborts),
                PeerEvent::SlowSetup => Some(Verdict::SlowSetup),
                PeerEvent::Repeated { is_loss: true, .. } | PeerEvent::Retransmitted(_) => {
                    Some(Verdict::Loses)
                }
                PeerEvent::Repeated { is_loss: false, .. }
                | PeerEvent::Opened
                | PeerEvent::Stuck
                | PeerEvent::Ended(_)
                | PeerEvent::Sent(_) => None,
            };
            if let Some(verdict) = problem {
                let is_ongoing = verdict == Verdict::NoAnswer && peer.tally.waiting() > 0;
                peer.streaks[verdict as usize].extend(now_ns, window_ns, is_ongoing);
            }
            is_resized
        });
    }

    /// Whether a handshake with this peer that ended at `now_ns` is among the counts: they may have been restarted since,
    /// and the peer evicted.
    fn has_counted(&self, key: &PeerKey, now_ns: u64) -> bool {
        now_ns > self.window_from_ns && self.peer(key).is_some_and(|peer| now_ns >= peer.first_ns)
    }

    /// Adds the time that a refusal took.
    fn refuse(&mut self, key: PeerKey, refusal: Leg, now_ns: u64) {
        self.total.refuse(refusal);
        self.with_peer(key, now_ns, |peer| {
            peer.tally.refuse(refusal);
            false
        });
    }

    /// Adds the latencies of a handshake, in nanoseconds, as far as they are known.
    fn record(&mut self, key: PeerKey, latencies: Times<Option<u64>>, now_ns: u64) {
        let (slot_ns, window_ns, slow) = (self.slot_ns(), self.window_ns, self.thresholds.slow);
        self.total.record(latencies, now_ns, slot_ns);
        self.with_peer(key, now_ns, |peer| {
            let is_resized = peer.tally.record(latencies, now_ns, slot_ns);
            if let Slow::Usual(_) = slow {
                peer.learn_usual();
            }
            let slow_ns = slow.from_ns(peer.usual_ns);
            if latencies.rtt.zip(slow_ns).is_some_and(|(rtt_ns, slow_ns)| rtt_ns >= slow_ns) {
                peer.streaks[Verdict::Slow as usize].extend(now_ns, window_ns, false);
            }
            is_resized
        });
        if latencies.setup.is_some_and(|setup_ns| setup_ns >= self.thresholds.slow_setup_ns) {
            self.count(key, PeerEvent::SlowSetup, now_ns);
        }
    }

    /// A connection attempt counts as unanswered from now on, or no longer.
    fn wait(&mut self, key: PeerKey, begins: bool, now_ns: u64) {
        let window_ns = self.window_ns;
        self.total.wait(begins);
        self.with_peer(key, now_ns, |peer| {
            if begins {
                let is_ongoing = peer.tally.waiting() > 0;
                peer.streaks[Verdict::NoAnswer as usize].extend(now_ns, window_ns, is_ongoing);
            }
            peer.tally.wait(begins);
            false
        });
    }

    /// Changes what is known of a peer. `change` returns whether that takes more or less heap than before: adding it all up is
    /// expensive. What the window frees is noticed when something grows.
    fn with_peer(&mut self, key: PeerKey, now_ns: u64, change: impl FnOnce(&mut Peer) -> bool) {
        let slot = match self.index.get(&key) {
            Some(&slot) => slot,
            None => {
                let slot = self.peers.insert(Peer::new(key, now_ns), UNPROVEN);
                self.index.insert(key, slot);
                self.charged_bytes += PEER_BYTES;
                slot
            }
        };
        let peer = self.peers.get_mut(slot).expect("the index names live slots only");
        if change(peer) {
            let bytes = peer.tally.heap_bytes();
            self.charged_bytes = self.charged_bytes + bytes - peer.charged_bytes;
            peer.charged_bytes = bytes;
        }
        peer.last_ns = peer.last_ns.max(now_ns);
        let is_proven = peer.tally.is_proven();
        self.peers.touch(slot, if is_proven { PROVEN } else { UNPROVEN });
        self.stamp(slot);
        while self.charged_bytes > self.peer_bytes && self.peers.len() > 1 {
            self.evict_one(slot);
        }
    }

    fn all_changed(&mut self) {
        self.changes += 1;
        self.stamps.fill(self.changes);
    }

    fn stamp(&mut self, slot: u32) {
        let index = slot as usize;
        if self.stamps.len() <= index {
            self.stamps.resize(index + 1, 0);
        }
        self.changes += 1;
        self.stamps[index] = self.changes;
    }

    /// Evicts the peer that was silent for longest, except the one that just changed.
    fn evict_one(&mut self, changed: u32) {
        let is_other = |slot: &u32| *slot != changed;
        let oldest = self.peers.oldest(UNPROVEN).filter(is_other).or_else(|| self.peers.oldest(PROVEN));
        let Some(peer) = oldest.filter(is_other).and_then(|slot| self.peers.remove(slot)) else { return };
        let slot = self.index.remove(&peer.key);
        slot.into_iter().for_each(|slot| self.stamp(slot));
        self.charged_bytes -= PEER_BYTES + peer.charged_bytes;
        self.evicted_peers += 1;
    }
}
