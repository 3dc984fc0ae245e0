//! Where flow states are kept: buckets of a few slots, found by the key's hash.
//!
//! A hash map of the kernel costs a call, a longer hash and a list to walk, and a least-recently-used one gives
//! way without a word. Here a look-up is a multiplication and a comparison or two, and who gives way is chosen,
//! told and counted.

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

/// A few flows whose keys have hashes alike. Lies in a kernel map: integers, no padding.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct Bucket<K> {
    keys: [K; WAYS],
    states: [FlowState; WAYS],
}

/// The state of a flow, to be edited in place, where it is known. It is in one of two buckets, and `second` gives the other
/// one, where there is one.
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

/// The same. A flow that is not known gets a slot; the flow that has to give way for it and has not ended is handed to
/// `evict` before.
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
        return first.give(way, key, hash);
    }
    let second = second();
    let least = first.least();
    let missed = first.missed(least, hash);
    if let Some(second) = second {
        if let Some(way) = second.way(key) {
            return second.state(way, hash);
        }
        if missed.is_some() {
            if let Some(way) = second.free() {
                return second.give(way, key, hash);
            }
            let way = second.least();
            if second.missed(way, hash).is_none() {
                return second.give(way, key, hash);
            }
        }
    }
    if let Some((missed, state)) = missed {
        evict(missed, state);
    }
    first.give(least, key, hash)
}

impl<K: Key> Bucket<K> {
    /// One without flows.
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

    /// A slot without a flow. Where there is none, others of this bucket may be in their second one.
    #[inline(always)]
    fn free(&self) -> Option<usize> {
        (0..WAYS).find(|way| self.keys[*way].is_none())
    }

    /// The slot of the flow that is worth least, in a bucket that is full: one that has ended, else a handshake under
    /// way, else the one that was silent for longest.
    #[inline(always)]
    fn least(&self) -> usize {
        let mut least = 0;
        let mut least_worth = u32::MAX;
        for way in 0..WAYS {
            let worth = self.states[way].eviction_rank();
            if worth < least_worth {
                (least, least_worth) = (way, worth);
            }
        }
        least
    }

    /// The flow in a slot, if it would be missed: it has not ended. `hash` is any number that is hard to follow.
    #[inline(always)]
    fn missed(&self, way: usize, hash: u64) -> Option<(&K, &FlowState)> {
        let way = forget(way, hash) & (WAYS - 1);
        let (key, state) = (&self.keys[way], &self.states[way]);
        (state.eviction_rank() > FlowState::RANK_ENDED).then_some((key, state))
    }

    /// Gives a slot to a flow whose hash this is.
    #[inline(always)]
    fn give(&mut self, way: usize, key: &K, hash: u64) -> &mut FlowState {
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
