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

/// Which bucket of `buckets` the flow with this hash is in.
#[inline(always)]
#[must_use]
pub const fn bucket(hash: u64, buckets: u32) -> u32 {
    // The upper half of the hash as a fraction of 2^32; the product's upper half is below `buckets`.
    (((hash >> 32) * buckets as u64) >> 32) as u32
}

/// The same for the second bucket of a flow.
#[inline(always)]
#[must_use]
pub const fn second_bucket(hash: u64, buckets: u32) -> u32 {
    (((hash & 0xffff_ffff) * buckets as u64) >> 32) as u32
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

impl<K: Key> Bucket<K> {
    /// One without flows.
    pub const EMPTY: Self = Self { keys: [K::NONE; WAYS], states: [FlowState::FREE; WAYS] };

    /// The state of the flow with this key, whose hash this is, to be edited in place.
    #[inline(always)]
    pub fn get(&mut self, key: &K, hash: u64) -> Option<&mut FlowState> {
        let mut found = WAYS;
        for way in 0..WAYS {
            if self.keys[way] == *key {
                found = way;
                break;
            }
        }
        if found == WAYS {
            return None;
        }
        Some(&mut self.states[forget(found, hash) & (WAYS - 1)])
    }

    /// Is there a flow in every slot? Then others of this bucket may be in their second one.
    #[inline(always)]
    #[must_use]
    pub fn is_full(&self) -> bool {
        self.keys.iter().all(|key| *key != K::NONE)
    }

    /// Which slot a new flow is to have: a free one, else that of the flow which is worth least: one that has ended,
    /// else a handshake under way, else the one that was silent for longest.
    #[inline(always)]
    #[must_use]
    pub fn least(&self, hash: u64) -> usize {
        let mut least = 0;
        let mut least_worth = u32::MAX;
        for way in 0..WAYS {
            let worth = if self.keys[way] == K::NONE { 0 } else { self.states[way].worth() };
            if worth < least_worth {
                (least, least_worth) = (way, worth);
            }
        }
        forget(least, hash) & (WAYS - 1)
    }

    /// Would the flow in a slot be missed?
    #[inline(always)]
    #[must_use]
    pub fn is_missed(&self, way: usize) -> bool {
        self.missed(way).is_some()
    }

    /// The flow in a slot that has not ended, and so would be missed.
    #[inline(always)]
    #[must_use]
    pub fn missed(&self, way: usize) -> Option<(&K, &FlowState)> {
        let (key, state) = (&self.keys[way & (WAYS - 1)], &self.states[way & (WAYS - 1)]);
        let is_missed = *key != K::NONE && state.worth() > FlowState::WORTH_ENDED;
        is_missed.then_some((key, state))
    }

    /// Gives a slot to a flow.
    #[inline(always)]
    pub fn give(&mut self, way: usize, key: &K) -> &mut FlowState {
        let way = way & (WAYS - 1);
        self.keys[way] = *key;
        self.states[way] = FlowState::FREE;
        &mut self.states[way]
    }

    /// Every flow and its state.
    pub fn iter(&self) -> impl Iterator<Item = (&K, &FlowState)> {
        self.keys.iter().zip(&self.states).filter(|(key, _)| **key != K::NONE)
    }
}
