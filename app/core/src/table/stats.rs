//! Counts and latencies per peer and over all, within a bound on memory.

use hashbrown::HashMap;

use super::peer::{Peer, PeerEvent, PeerKey, Tally};
use super::slab::Slab;
use super::verdict::{Slow, Thresholds, Verdict};
use super::window::SLOTS;

/// Peers that never completed a handshake: the first to be forgotten, or a flood of forged addresses
/// would displace those that matter.
const STRANGERS: usize = 0;
const ACQUAINTED: usize = 1;

/// What the statistics may take and how they judge.
#[derive(Clone, Copy, Debug)]
pub struct StatsConfig {
    /// Length of the sliding window, in nanoseconds.
    pub window_ns: u64,
    /// From where on something is wrong with a peer.
    pub thresholds: Thresholds,
    /// Memory for all peers together, in bytes.
    pub peer_bytes: usize,
}

/// Peers and totals.
#[derive(Clone, Debug)]
pub struct Stats {
    config: StatsConfig,
    peers: Slab<Peer, 2>,
    index: HashMap<PeerKey, u32>,
    total: Tally,
    /// By slot, when each peer changed last: the count of all changes then.
    stamps: Vec<u64>,
    changes: u64,
    charged_bytes: usize,
    forgotten_peers: u64,
    /// When the window was last begun anew.
    window_from_ns: u64,
}

/// A peer's own size, and its place in index and slab. The hash map doubles, hence twice its entry.
const PEER_BYTES: usize = size_of::<Peer>() + 16 + 2 * size_of::<(PeerKey, u32)>();

impl Stats {
    /// Statistics with nothing in them.
    #[must_use]
    pub fn new(config: StatsConfig) -> Self {
        Self {
            config,
            peers: Slab::new(),
            index: HashMap::new(),
            total: Tally::default(),
            stamps: Vec::new(),
            changes: 0,
            charged_bytes: 0,
            forgotten_peers: 0,
            window_from_ns: 0,
        }
    }

    /// Length of the sliding window, in nanoseconds.
    #[must_use]
    pub const fn window_ns(&self) -> u64 {
        self.config.window_ns
    }

    /// From where on something is wrong with a peer.
    #[must_use]
    pub const fn thresholds(&self) -> &Thresholds {
        &self.config.thresholds
    }

    /// Length of one slot of the window, in nanoseconds: at least 1.
    #[must_use]
    pub fn slot_ns(&self) -> u64 {
        (self.config.window_ns / SLOTS as u64).max(1)
    }

    /// How much time the window that ends at `now_ns` covers, in nanoseconds, at least 1 s: its newest slot is
    /// not full, and it may have begun only just. `started_ns` is when the run began. Of less than a second no rate is told:
    /// of a moment it would be a billion.
    #[must_use]
    pub fn covered_ns(&self, started_ns: u64, now_ns: u64) -> u64 {
        let slot_ns = self.slot_ns();
        let slots_ns = slot_ns * (SLOTS as u64 - 1) + now_ns % slot_ns;
        let began_ns = started_ns.max(self.window_from_ns);
        slots_ns.min(now_ns.saturating_sub(began_ns)).max(1_000_000_000)
    }

    /// Changes the length of the window. What it held is forgotten: its slots have another length.
    pub fn set_window(&mut self, window_ns: u64, now_ns: u64) {
        self.config.window_ns = window_ns;
        self.window_from_ns = now_ns;
        self.total.reset_window();
        self.peers.iter_mut().for_each(|peer| peer.tally.reset_window());
        self.all_changed();
    }

    /// Begins to count anew at `now_ns`. Peers stay known, and what is wrong with them since when.
    pub fn reset(&mut self, now_ns: u64) {
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
    #[must_use]
    pub const fn total(&self) -> &Tally {
        &self.total
    }

    /// Every peer, in no useful order.
    pub fn peers(&self) -> impl Iterator<Item = &Peer> {
        self.peers.iter().map(|(_, peer)| peer)
    }

    /// For each slot when its peer changed last: a number that grows with each change of any. A change may be that it
    /// is gone.
    #[must_use]
    pub fn stamps(&self) -> &[u64] {
        &self.stamps
    }

    /// The peer in a slot.
    #[must_use]
    pub fn peer_in(&self, slot: u32) -> Option<&Peer> {
        self.peers.get(slot)
    }

    /// The slot of a peer.
    #[must_use]
    pub fn slot_of(&self, key: &PeerKey) -> Option<u32> {
        self.index.get(key).copied()
    }

    /// How many peers are known.
    #[must_use]
    pub fn len(&self) -> usize {
        self.peers.len()
    }

    /// Is none known?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.peers.is_empty()
    }

    /// One peer.
    #[must_use]
    pub fn peer(&self, key: &PeerKey) -> Option<&Peer> {
        self.peers.get(*self.index.get(key)?)
    }

    /// How many peers were forgotten to stay within the memory.
    #[must_use]
    pub const fn forgotten_peers(&self) -> u64 {
        self.forgotten_peers
    }

    /// Counts something that happened to a connection with `key`.
    pub fn count(&mut self, key: PeerKey, event: PeerEvent, now_ns: u64) {
        self.count_many(key, event, 1, now_ns);
    }

    /// Counts what happened so many times to a connection with `key`.
    pub fn count_many(&mut self, key: PeerKey, event: PeerEvent, count: u64, now_ns: u64) {
        let slot_ns = self.slot_ns();
        self.total.count(event, count, now_ns, slot_ns);
        let window_ns = self.config.window_ns;
        self.with_peer(key, now_ns, |peer| {
            let has_grown = peer.tally.count(event, count, now_ns, slot_ns);
            let problem = match event {
                PeerEvent::Refused => Some(Verdict::Refuses),
                PeerEvent::Unanswered | PeerEvent::HalfOpen => Some(Verdict::NoAnswer),
                PeerEvent::Repeated | PeerEvent::Retransmitted => Some(Verdict::Loses),
                PeerEvent::Opened
                | PeerEvent::Established
                | PeerEvent::Reset
                | PeerEvent::OneSided
                | PeerEvent::Sent => None,
            };
            if let Some(verdict) = problem {
                let ongoing = verdict == Verdict::NoAnswer && peer.tally.waiting > 0;
                peer.streaks[verdict as usize].extend(now_ns, window_ns, ongoing);
            }
            has_grown
        });
    }

    /// Adds a round-trip time.
    pub fn record(&mut self, key: PeerKey, rtt_ns: u64, now_ns: u64) {
        let slot_ns = self.slot_ns();
        self.total.record(rtt_ns, now_ns, slot_ns);
        let StatsConfig { window_ns, thresholds, .. } = self.config;
        self.with_peer(key, now_ns, |peer| {
            let has_grown = peer.tally.record(rtt_ns, now_ns, slot_ns);
            if let Slow::Usual(_) = thresholds.slow {
                peer.learn_usual();
            }
            if thresholds.slow.from_ns(peer.usual_ns).is_some_and(|slow_ns| rtt_ns >= slow_ns) {
                peer.streaks[Verdict::Slow as usize].extend(now_ns, window_ns, false);
            }
            has_grown
        });
    }

    /// A connection attempt began to count as unanswered, or ceased to.
    pub fn wait(&mut self, key: PeerKey, begins: bool, now_ns: u64) {
        let window_ns = self.config.window_ns;
        let change = |waiting: u64| if begins { waiting + 1 } else { waiting.saturating_sub(1) };
        self.total.waiting = change(self.total.waiting);
        self.with_peer(key, now_ns, |peer| {
            if begins {
                let ongoing = peer.tally.waiting > 0;
                peer.streaks[Verdict::NoAnswer as usize].extend(now_ns, window_ns, ongoing);
            }
            peer.tally.waiting = change(peer.tally.waiting);
            false
        });
    }

    /// Changes what is known of a peer. `change` says whether that takes another room on the heap from then on: to add it
    /// all up is dear. What the window gives back is noticed when something grows.
    fn with_peer(&mut self, key: PeerKey, now_ns: u64, change: impl FnOnce(&mut Peer) -> bool) {
        let slot = match self.index.get(&key) {
            Some(&slot) => slot,
            None => {
                let slot = self.peers.insert(Peer::new(key, now_ns), STRANGERS);
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
        let known = peer.tally.counts_since_start().of(PeerEvent::Established) > 0;
        self.peers.touch(slot, if known { ACQUAINTED } else { STRANGERS });
        self.stamp(slot);
        while self.charged_bytes > self.config.peer_bytes && self.peers.len() > 1 {
            self.forget_one(slot);
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

    /// Forgets the peer that was silent for longest, but not the one just spoken of.
    fn forget_one(&mut self, but: u32) {
        let other = |slot: &u32| *slot != but;
        let oldest = self.peers.oldest(STRANGERS).filter(other).or_else(|| self.peers.oldest(ACQUAINTED));
        let Some(peer) = oldest.filter(other).and_then(|slot| self.peers.remove(slot)) else { return };
        let slot = self.index.remove(&peer.key);
        slot.into_iter().for_each(|slot| self.stamp(slot));
        self.charged_bytes -= PEER_BYTES + peer.charged_bytes;
        self.forgotten_peers += 1;
    }
}
