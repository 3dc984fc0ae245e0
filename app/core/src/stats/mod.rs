//! Counts and latencies per peer and over all, within a bound on memory.

mod counts;
mod distribution;
mod history;
mod peer;
pub mod scale;
mod streak;
mod tally;
mod times;
mod verdict;
mod window;

use std::sync::Arc;

use hashbrown::HashMap;

use crate::engine::EngineConfig;
use crate::flow::{Leg, Outcome, PeerKey};
use crate::owner::Process;
use crate::slab::Slab;

pub use counts::Counts;
pub(crate) use counts::PeerEvent;
pub use distribution::Percentiles;
pub(crate) use distribution::{Distribution, Latencies};
pub(crate) use history::Part;
pub(crate) use peer::Peer;
pub(crate) use streak::Streak;
pub(crate) use tally::{Tally, View};
pub use times::Latency;
pub(crate) use times::Times;
pub use verdict::{Slow, Thresholds, Verdict};
pub(crate) use window::Window;

/// Peers that never completed a handshake: the first to be evicted, or a flood of forged addresses would displace those that
/// matter.
const UNPROVEN: usize = 0;
const PROVEN: usize = 1;

/// A peer's own size, and its place in index and slab. The hash map doubles, hence twice its entry.
const PEER_BYTES: usize = size_of::<Peer>() + 16 + 2 * size_of::<(PeerKey, u32)>();

/// Figures of every peer, and of all together. What each reader sees of them is a [`View`].
#[derive(Debug)]
pub(crate) struct Stats {
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
    /// The number of the current era.
    era: u32,
}

impl Stats {
    pub(crate) fn new(config: &EngineConfig) -> Self {
        Self {
            thresholds: config.thresholds,
            peer_bytes: config.peer_bytes,
            peers: Slab::new(),
            index: HashMap::new(),
            total: Tally::of_all(),
            stamps: Vec::new(),
            changes: 0,
            charged_bytes: 0,
            evicted_peers: 0,
            era: 0,
        }
    }

    /// When a verdict applies.
    pub(crate) const fn thresholds(&self) -> &Thresholds {
        &self.thresholds
    }

    /// Begins an era, in which a reader counts anew, and returns its number. The others begin at `kept`, and era 0 is always
    /// kept: an earlier era that nobody begins with becomes part of the one before.
    pub(crate) fn begin_era(&mut self, kept: &[u32]) -> u32 {
        let ended = self.era;
        self.era += 1;
        let part_of = |era: u32| kept.iter().copied().filter(|kept| *kept <= era).max().unwrap_or(0);
        self.total.begin_era(ended, part_of);
        for peer in self.peers.iter_mut() {
            peer.tally.begin_era(ended, part_of);
            peer.charge(&mut self.charged_bytes);
        }
        self.changes += 1;
        self.stamps.fill(self.changes);
        self.era
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
    pub(crate) fn count(&mut self, key: PeerKey, event: PeerEvent, now_ns: u64) {
        self.total.count(event, now_ns);
        self.with_peer(key, now_ns, |peer| {
            let is_waiting = peer.tally.waiting() > 0;
            let is_resized = peer.tally.count(event, now_ns);
            let problem = match event {
                PeerEvent::Ended(Outcome::Refused) => Some(Verdict::Refuses),
                PeerEvent::Ended(Outcome::Unreachable) => Some(Verdict::Unreachable),
                PeerEvent::SlowSetup => Some(Verdict::SlowSetup),
                PeerEvent::Ended(Outcome::Unanswered | Outcome::HalfOpen)
                | PeerEvent::Waits { begins: true } => Some(Verdict::NoAnswer),
                PeerEvent::Repeated { is_loss: true, .. } | PeerEvent::Retransmitted(_) => {
                    Some(Verdict::Loses)
                }
                PeerEvent::Repeated { is_loss: false, .. }
                | PeerEvent::Opened
                | PeerEvent::Aborted
                | PeerEvent::Stuck
                | PeerEvent::Ended(_)
                | PeerEvent::Waits { begins: false }
                | PeerEvent::Sent(_) => None,
            };
            is_resized
                | problem.is_some_and(|verdict| {
                    let is_ongoing = verdict == Verdict::NoAnswer && is_waiting;
                    peer.streaks[verdict as usize].extend(now_ns, is_ongoing)
                })
        });
    }

    /// A connection with `key` was aborted whose handshake ended in this era, at `now_ns`.
    pub(crate) fn abort(&mut self, key: PeerKey, era: u8, now_ns: u64) {
        // The peer may have been evicted since, and its handshake with it.
        if self.peer(&key).is_none_or(|peer| now_ns < peer.first_ns) {
            return;
        }
        let current = self.era;
        let era = current - u32::from(self.era().wrapping_sub(era));
        self.total.count_later(PeerEvent::Aborted, era, current, now_ns);
        self.with_peer(key, now_ns, |peer| {
            peer.tally.count_later(PeerEvent::Aborted, era, current, now_ns)
                | peer.streaks[Verdict::Aborts as usize].extend(now_ns, false)
        });
    }

    /// The end of the number of the current era.
    pub(crate) const fn era(&self) -> u8 {
        self.era.to_le_bytes()[0]
    }

    /// A connection of a peer belongs to this process. It is no sign of life of the peer.
    pub(crate) fn own(&mut self, key: PeerKey, process: &Arc<Process>) {
        let Some((slot, peer)) =
            self.index.get(&key).and_then(|&slot| Some((slot, self.peers.get_mut(slot)?)))
        else {
            return;
        };
        if peer.processes.add(process) {
            peer.charge(&mut self.charged_bytes);
            self.stamp(slot);
        }
    }

    /// Adds the time that a refusal took.
    pub(crate) fn refuse(&mut self, key: PeerKey, refusal: Leg, now_ns: u64) {
        self.total.refuse(refusal);
        self.with_peer(key, now_ns, |peer| {
            peer.tally.refuse(refusal);
            false
        });
    }

    /// Adds the latencies of a handshake, in nanoseconds, as far as they are known.
    pub(crate) fn record(&mut self, key: PeerKey, latencies: Times<Option<u64>>, now_ns: u64) {
        let slow = self.thresholds.slow;
        self.total.record(latencies, now_ns);
        self.with_peer(key, now_ns, |peer| {
            let is_resized = peer.tally.record(latencies, now_ns);
            if let Slow::Usual(_) = slow {
                peer.learn_usual();
            }
            let slow_ns = slow.from_ns(peer.usual_ns);
            let is_slow = latencies.rtt.zip(slow_ns).is_some_and(|(rtt_ns, slow_ns)| rtt_ns >= slow_ns);
            is_resized | (is_slow && peer.streaks[Verdict::Slow as usize].extend(now_ns, false))
        });
        if latencies.setup.is_some_and(|setup_ns| setup_ns >= self.thresholds.slow_setup_ns) {
            self.count(key, PeerEvent::SlowSetup, now_ns);
        }
    }

    /// Changes what is known of a peer. `change` returns whether that takes more or less heap than before: adding it all up is
    /// expensive.
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
            peer.charge(&mut self.charged_bytes);
        }
        peer.last_ns = peer.last_ns.max(now_ns);
        let is_proven = peer.tally.is_proven();
        self.peers.touch(slot, if is_proven { PROVEN } else { UNPROVEN });
        self.stamp(slot);
        while self.charged_bytes > self.peer_bytes && self.peers.len() > 1 {
            self.evict_one(slot);
        }
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
