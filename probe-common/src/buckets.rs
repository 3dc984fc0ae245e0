//! Where flow states are kept: buckets of a few slots, found by the key's hash.
//!
//! A hash map of the kernel costs a call, a longer hash and a list to walk, and a least-recently-used one evicts without
//! notice. Here a look-up is a multiplication and a comparison or two, and which flow is evicted is chosen, reported and
//! counted.

use crate::key::Key;
use crate::state::{Evictable, FlowState, RANK_UNENDED};
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
/// to `evict` first: the first to go of the bucket, as `first_to_go` says of a full one. `None` when both buckets are full of
/// flows that must not be evicted.
#[inline(always)]
pub fn find_or_claim<'a, K: Key>(
    first: &'a mut Bucket<K>,
    second: impl FnOnce() -> Option<&'a mut Bucket<K>>,
    key: &K,
    hash: u64,
    first_to_go: impl Fn(&[FlowState; WAYS]) -> Candidate,
    evict: impl FnOnce(&K, &FlowState),
) -> Option<&'a mut FlowState> {
    if let Some(way) = first.way(key) {
        return Some(first.state(way, hash));
    }
    let mut candidate = first.candidate(&first_to_go);
    let mut bucket = first;
    if candidate.rank != FREE
        && let Some(second) = second()
    {
        if let Some(way) = second.way(key) {
            return Some(second.state(way, hash));
        }
        let other = second.candidate(&first_to_go);
        // Of two that have not ended, the one of the first bucket.
        if candidate.rank >= RANK_UNENDED && (other.rank < RANK_UNENDED || candidate.rank == u32::MAX) {
            (candidate, bucket) = (other, second);
        }
    }
    if candidate.rank == u32::MAX {
        return None;
    }
    let way = forget(candidate.way, hash) & (WAYS - 1);
    if candidate.rank >= RANK_UNENDED {
        evict(&bucket.keys[way], &bucket.states[way]);
    }
    bucket.keys[way] = *key;
    let state = &mut bucket.states[way];
    state.clear();
    Some(state)
}

/// The rank of a slot without a flow.
const FREE: u32 = 0;

/// A slot that a new flow may get.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Candidate {
    way: usize,
    /// [`FREE`], the rank of the flow that is evicted for it, or `u32::MAX` when there is no such slot.
    rank: u32,
}

impl Candidate {
    /// The slot of the flow with the lowest [rank](Evictable::rank), of these.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "they are the same numbers")]
    pub fn first_to_go(states: &[FlowState; WAYS], evictable: Evictable) -> Self {
        let any = u64::from(evictable.word());
        let mut lowest = Self { way: 0, rank: u32::MAX };
        for (way, state) in states.iter().enumerate() {
            let rank = forget(evictable.rank(state) as usize, any) as u32;
            if rank < lowest.rank {
                lowest = Self { way, rank };
            }
            // Whichever it is: the verifier follows each way through the loop only once.
            lowest.way = forget(lowest.way, any);
            lowest.rank = forget(lowest.rank as usize, any) as u32;
        }
        lowest
    }

    /// The slot as a word: the functions of the kernel programs return no more.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        (self.way as u64) << 32 | self.rank as u64
    }

    /// The slot that [`word`](Self::word) returned.
    #[inline(always)]
    #[must_use]
    #[allow(clippy::cast_possible_truncation, reason = "two halves")]
    pub const fn from_word(word: u64) -> Self {
        Self { way: (word >> 32) as usize, rank: word as u32 }
    }
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

    /// A slot without a flow, else the one of the flow that goes first.
    #[inline(always)]
    fn candidate(&self, first_to_go: &impl Fn(&[FlowState; WAYS]) -> Candidate) -> Candidate {
        self.free().map_or_else(|| first_to_go(&self.states), |way| Candidate { way, rank: FREE })
    }

    /// Every flow and its state.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &FlowState)> {
        self.keys.iter().zip(&self.states).filter(|(key, _)| !key.is_none())
    }
}
