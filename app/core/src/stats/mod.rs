//! Counts and latencies per peer and over all, within a bound on memory.

mod addresses;
mod counts;
mod current_slot;
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
use crate::flow::{EndpointHasher, Flow, IcmpError, Leg, Outcome, PeerKey};
use crate::owner::{PeerOwners, Process};
use crate::slab::Slab;
use crate::socket::AcceptQueue;

pub use addresses::Estimate;
pub use counts::Counts;
#[cfg(test)]
pub(crate) use counts::Number;
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

/// Peers from outside that never completed a handshake: anybody can make as many of them as there are addresses.
const STRANGERS: usize = 0;
/// Peers that this host never completed a handshake with.
const UNPROVEN: usize = 1;
const PROVEN: usize = 2;
const QUEUES: usize = 3;

/// So many strangers are kept one by one. Further ones are added up, unless one of these has been silent for a while.
pub(crate) const MOST_STRANGERS: usize = 100;
/// For how long: then it is added to the others, in nanoseconds.
const SILENT_NS: u64 = 60_000_000_000;

/// A peer's own size, and its place in index and slab. The hash map doubles, hence twice its entry.
const PEER_BYTES: usize = size_of::<Peer>() + 16 + 2 * size_of::<(PeerKey, u32)>();

/// For whom something is counted, besides all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Account {
    /// A peer.
    Peer(PeerKey),
    /// All strangers that are not kept one by one.
    Strangers,
}

/// Figures of every peer, and of all together. What each reader sees of them is a [`View`].
#[derive(Debug)]
pub(crate) struct Stats {
    thresholds: Thresholds,
    /// Memory for all peers together.
    peer_bytes: usize,
    peers: Slab<Peer, QUEUES>,
    index: HashMap<PeerKey, u32>,
    total: Tally,
    /// Strangers that are not kept one by one.
    strangers: Tally,
    hasher: EndpointHasher,
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
            strangers: Tally::of_all(),
            hasher: EndpointHasher::new(config.seed),
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
        self.strangers.begin_era(ended, part_of);
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

    /// Over the strangers that are not kept one by one: attempts from outside of addresses that completed none.
    pub(crate) const fn strangers(&self) -> &Tally {
        &self.strangers
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

    /// Counts an attempt. Returns for whom.
    pub(crate) fn open(&mut self, key: PeerKey, now_ns: u64) -> Account {
        let account = self.account(key, now_ns);
        self.count(account, PeerEvent::Opened, now_ns);
        account
    }

    fn account(&mut self, key: PeerKey, now_ns: u64) -> Account {
        let oldest = self.peers.oldest(STRANGERS).filter(|_| self.peers.len_of(STRANGERS) >= MOST_STRANGERS);
        let is_new = |_: &u32| key.is_inbound() && !self.index.contains_key(&key);
        let Some(oldest) = oldest.filter(is_new) else { return Account::Peer(key) };
        let last_ns = self.peers.get(oldest).map_or(0, |peer| peer.last_ns);
        if now_ns.saturating_sub(last_ns) < SILENT_NS {
            self.strangers.add_address(self.hasher.hash_address(key.service.address));
            return Account::Strangers;
        }
        self.evict(oldest);
        Account::Peer(key)
    }

    /// A stranger has completed its handshake: from now on it is kept.
    pub(crate) fn keep(&mut self, key: PeerKey, is_waiting: bool, now_ns: u64) {
        self.with_peer(key, now_ns, |_| false);
        let peer = self.index.get(&key).and_then(|slot| self.peers.get_mut(*slot));
        peer.into_iter().for_each(|peer| self.strangers.hand_over(is_waiting, &mut peer.tally));
    }

    /// Whether a peer has ever completed a handshake.
    pub(crate) fn is_proven(&self, key: &PeerKey) -> bool {
        self.peer(key).is_some_and(|peer| peer.tally.is_proven())
    }

    /// Counts what happened.
    pub(crate) fn count(&mut self, account: Account, event: PeerEvent, now_ns: u64) {
        self.total.count(event, now_ns);
        let key = match account {
            Account::Peer(key) => key,
            Account::Strangers => {
                self.strangers.count(event, now_ns);
                return;
            }
        };
        self.with_peer(key, now_ns, |peer| {
            let is_waiting = peer.tally.waiting() > 0;
            let is_resized = peer.tally.count(event, now_ns);
            let problem = match event {
                PeerEvent::Ended(Outcome::Refused) => Some(Verdict::Refused),
                PeerEvent::Ended(Outcome::Unreachable) => Some(Verdict::Unreachable),
                PeerEvent::SlowSetup => Some(Verdict::SlowSetup),
                PeerEvent::Ended(Outcome::Unanswered | Outcome::HalfOpen)
                | PeerEvent::Waits { begins: true } => Some(Verdict::Unanswered),
                PeerEvent::Repeated { is_loss: true, .. } => Some(Verdict::Loss),
                PeerEvent::Retransmitted { by: [sent, received], arrived } => {
                    (sent + received > arrived).then_some(Verdict::Loss)
                }
                PeerEvent::Repeated { is_loss: false, .. }
                | PeerEvent::Opened
                | PeerEvent::Aborted
                | PeerEvent::Stuck
                | PeerEvent::Caused { .. }
                | PeerEvent::Spurious { .. }
                | PeerEvent::Ended(_)
                | PeerEvent::Waits { begins: false }
                | PeerEvent::Sent(_) => None,
            };
            is_resized
                | problem.is_some_and(|verdict| {
                    let is_ongoing = verdict == Verdict::Unanswered && is_waiting;
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
        let (current, era) = (self.era, self.whole_era(era));
        self.total.count_later(PeerEvent::Aborted, era, current, now_ns);
        self.with_peer(key, now_ns, |peer| {
            peer.tally.count_later(PeerEvent::Aborted, era, current, now_ns)
                | peer.streaks[Verdict::Aborted as usize].extend(now_ns, false)
        });
    }

    /// Takes back that an attempt ended in this era, at `at_ns`: it goes on. Since when something is wrong does not change: that it
    /// had no answer then is true.
    pub(crate) fn reopen(&mut self, account: Account, outcome: Outcome, era: u8, at_ns: u64) {
        let (current, era) = (self.era, self.whole_era(era));
        self.total.reopen(outcome, era, current, at_ns);
        let Account::Peer(key) = account else {
            self.strangers.reopen(outcome, era, current, at_ns);
            return;
        };
        if self.peer(&key).is_some_and(|peer| at_ns >= peer.first_ns) {
            self.with_peer(key, at_ns, |peer| {
                peer.tally.reopen(outcome, era, current, at_ns);
                false
            });
        } else if key.is_inbound() {
            // It was evicted since, and is a stranger that is not kept.
            self.strangers.reopen_absorbed(outcome, era, current, at_ns);
        }
    }

    /// The number of an era that ends so and began lately.
    const fn whole_era(&self, era: u8) -> u32 {
        self.era - self.era().wrapping_sub(era) as u32
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
            peer.owners = PeerOwners::of(&peer.processes);
            peer.charge(&mut self.charged_bytes);
            self.stamp(slot);
        }
    }

    /// An ICMP error is about a connection of a peer. It is no sign of life of the peer.
    pub(crate) fn note_icmp(&mut self, key: &PeerKey, error: &IcmpError) {
        let Some((slot, peer)) =
            self.index.get(key).and_then(|&slot| Some((slot, self.peers.get_mut(slot)?)))
        else {
            return;
        };
        match &mut peer.icmp {
            Some(known) => **known = *error,
            None => {
                peer.icmp = Some(Box::new(*error));
                peer.charge(&mut self.charged_bytes);
            }
        }
        self.stamp(slot);
    }

    /// A connection was reset: what is known of why, if it is one that makes up a verdict. It is no sign of life of the peer.
    pub(crate) fn note_reset(&mut self, flow: &Flow) {
        let verdict = match flow.outcome() {
            _ if flow.is_aborted() => Verdict::Aborted,
            Outcome::Refused => Verdict::Refused,
            _ => return,
        };
        let Some(sign) = flow.reset_sign() else { return };
        let slot = self.index.get(&flow.peer()).copied();
        if let Some((slot, peer)) = slot.and_then(|slot| Some((slot, self.peers.get_mut(slot)?))) {
            peer.resets.note(verdict, sign, flow.changed_ns());
            self.stamp(slot);
        }
    }

    /// The queue of the listener that a peer connects to is full.
    pub(crate) fn note_accept_queue(&mut self, key: &PeerKey, queue: AcceptQueue) {
        let peer = self.index.get(key).and_then(|slot| self.peers.get_mut(*slot));
        peer.into_iter().for_each(|peer| peer.accept_queue = Some(queue));
    }

    /// Adds the time that a refusal took.
    pub(crate) fn refuse(&mut self, account: Account, refusal: Leg, now_ns: u64) {
        self.total.refuse(refusal);
        let Account::Peer(key) = account else { return self.strangers.refuse(refusal) };
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
            self.count(Account::Peer(key), PeerEvent::SlowSetup, now_ns);
        }
    }

    /// Changes what is known of a peer. `change` returns whether that takes more or less heap than before: adding it all up is
    /// expensive.
    fn with_peer(&mut self, key: PeerKey, now_ns: u64, change: impl FnOnce(&mut Peer) -> bool) {
        let slot = match self.index.get(&key) {
            Some(&slot) => slot,
            None => {
                let queue = if key.is_inbound() { STRANGERS } else { UNPROVEN };
                let slot = self.peers.insert(Peer::new(key, now_ns), queue);
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
        let queue = match (peer.tally.is_proven(), key.is_inbound()) {
            (true, _) => PROVEN,
            (false, true) => STRANGERS,
            (false, false) => UNPROVEN,
        };
        self.peers.touch(slot, queue);
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

    /// Evicts the peer that was silent for longest, except the one that just changed: a stranger if there is one.
    fn evict_one(&mut self, changed: u32) {
        let oldest = (0..QUEUES).find_map(|queue| self.peers.oldest(queue).filter(|slot| *slot != changed));
        oldest.into_iter().for_each(|slot| self.evict(slot));
    }

    /// Evicts a peer. A stranger is added to the others.
    fn evict(&mut self, slot: u32) {
        let Some(peer) = self.peers.remove(slot) else { return };
        self.index.remove(&peer.key);
        self.stamp(slot);
        self.charged_bytes -= PEER_BYTES + peer.charged_bytes;
        if peer.key.is_inbound() && !peer.tally.is_proven() {
            self.strangers.absorb(&peer.tally);
            self.strangers.add_address(self.hasher.hash_address(peer.key.service.address));
        } else {
            self.evicted_peers += 1;
        }
    }
}
