//! Where flow states are kept: buckets of a few slots, found by the key's hash.
//!
//! A hash map of the kernel costs a call, a longer hash and a list to walk, and a least-recently-used one evicts without
//! notice. Here a look-up is a multiplication and a comparison or two, and which flow is evicted is chosen, reported and
//! counted.

use crate::key::Key;
use crate::state::FlowState;
use crate::verifier::forget;

/// Slots in a bucket: a power of two. With half of all slots taken, fewer than one flow in a hundred finds its bucket
/// full, and goes to its second one.
pub const WAYS: usize = 8;

/// The numbers of the two buckets, of `buckets`, that the flow with this hash can be in. They may be one.
#[inline(always)]
#[must_use]
pub const fn buckets_of(hash: u64, buckets: u32) -> [u32; 2] {
    // Each half of the hash as a fraction of 2^32; the upper half of the product is below `buckets`.
    let (high, low) = ((hash >> 32) * buckets as u64, (hash & 0xffff_ffff) * buckets as u64);
    [(high >> 32) as u32, (low >> 32) as u32]
}

/// How many buckets hold so many flows of a family: with as many slots again.
#[must_use]
pub const fn buckets(flows: u32) -> u32 {
    #[allow(clippy::cast_possible_truncation, reason = "a few")]
    let buckets = flows.div_ceil(WAYS as u32 / 2);
    if buckets == 0 { 1 } else { buckets }
}

/// Flows whose keys have similar hashes. Lies in a kernel map: integers, no padding.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Bucket<K> {
    keys: [K; WAYS],
    states: [FlowState; WAYS],
}

/// Returns the state of a flow, to be edited in place, or `None` when the flow is not known. It is in one of two buckets;
/// `second` returns the other one, if they differ.
#[inline(always)]
pub fn find<'a, K: Key>(
    first: &'a mut Bucket<K>,
    second: impl FnOnce() -> Option<&'a mut Bucket<K>>,
    key: &K,
    hash: u64,
) -> Option<&'a mut FlowState> {
    if let Some(way) = first.way(key) {
        return Some(first.state(way, hash));
    }
    if first.free().is_some() {
        return None;
    }
    let second = second()?;
    let way = second.way(key)?;
    Some(second.state(way, hash))
}

/// Returns the state of a flow. One that is not known gets a slot; a flow that has not ended and is evicted for it is passed
/// to `evict` first.
#[inline(always)]
pub fn find_or_claim<'a, K: Key>(
    first: &'a mut Bucket<K>,
    second: impl FnOnce() -> Option<&'a mut Bucket<K>>,
    key: &K,
    hash: u64,
    evict: impl FnOnce(&K, &FlowState),
) -> &'a mut FlowState {
    if let Some(way) = first.way(key) {
        return first.state(way, hash);
    }
    if let Some(way) = first.free() {
        return first.assign(way, key, hash);
    }
    let second = second();
    let lowest = first.lowest_rank();
    let evicted = first.unended(lowest, hash);
    if let Some(second) = second {
        if let Some(way) = second.way(key) {
            return second.state(way, hash);
        }
        if evicted.is_some() {
            if let Some(way) = second.free() {
                return second.assign(way, key, hash);
            }
            let way = second.lowest_rank();
            if second.unended(way, hash).is_none() {
                return second.assign(way, key, hash);
            }
        }
    }
    if let Some((key, state)) = evicted {
        evict(key, state);
    }
    first.assign(lowest, key, hash)
}

impl<K: Key> Bucket<K> {
    /// A bucket without flows.
    pub const EMPTY: Self = Self { keys: [K::NONE; WAYS], states: [FlowState::FREE; WAYS] };

    /// The slot of the flow with this key.
    #[inline(always)]
    fn way(&self, key: &K) -> Option<usize> {
        (0..WAYS).find(|way| self.keys[*way] == *key)
    }

    /// The state in a slot, to be edited in place. `hash` is that of its flow.
    #[inline(always)]
    fn state(&mut self, way: usize, hash: u64) -> &mut FlowState {
        &mut self.states[forget(way, hash) & (WAYS - 1)]
    }

    /// A slot without a flow. If there is none, flows of this bucket may be in their second one.
    #[inline(always)]
    fn free(&self) -> Option<usize> {
        (0..WAYS).find(|way| self.keys[*way].is_none())
    }

    /// The slot of the flow to evict from a full bucket: one that has ended, else the oldest handshake under way, else the
    /// one that was silent for longest.
    #[inline(always)]
    fn lowest_rank(&self) -> usize {
        let mut lowest = 0;
        let mut lowest_rank = u32::MAX;
        for way in 0..WAYS {
            let rank = self.states[way].eviction_rank();
            if rank < lowest_rank {
                (lowest, lowest_rank) = (way, rank);
            }
        }
        lowest
    }

    /// The flow in a slot, if it has not ended. `hash` is any number that the verifier does not know.
    #[inline(always)]
    fn unended(&self, way: usize, hash: u64) -> Option<(&K, &FlowState)> {
        let way = forget(way, hash) & (WAYS - 1);
        let (key, state) = (&self.keys[way], &self.states[way]);
        (state.eviction_rank() > FlowState::RANK_ENDED).then_some((key, state))
    }

    /// Assigns a slot to a flow whose hash this is.
    #[inline(always)]
    fn assign(&mut self, way: usize, key: &K, hash: u64) -> &mut FlowState {
        let way = forget(way, hash) & (WAYS - 1);
        self.keys[way] = *key;
        let state = &mut self.states[way];
        state.clear();
        state
    }

    /// Every flow and its state.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &FlowState)> {
        self.keys.iter().zip(&self.states).filter(|(key, _)| !key.is_none())
    }
}
