//! Flow states in memory, as the kernel keeps them in its maps: the same buckets, and the same flows are evicted.

use probe_common::buckets::{self, Bucket, Candidate};
use probe_common::key::{Ends, FlowKey4, FlowKey6, Key};
use probe_common::state::Evictable;
use probe_common::{Family, FlowState, FlowStates, Segment};

/// The flow states of both address families.
pub(crate) struct HostFlows {
    v4: Buckets<FlowKey4>,
    v6: Buckets<FlowKey6>,
    seed: u64,
}

impl HostFlows {
    /// Room for `flows` of each address family, at least 1.
    pub(crate) fn new(flows: u32, seed: u64) -> Self {
        Self { v4: Buckets::new(flows), v6: Buckets::new(flows), seed }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Ends, &FlowState)> {
        self.v4.iter().chain(self.v6.iter())
    }

    pub(crate) fn of_mut(&mut self, segment: &Segment, interface: u32) -> Option<&mut FlowState> {
        match segment.family {
            Family::V4 => self.find(&FlowKey4::of(segment, interface).0),
            Family::V6 => self.find(&FlowKey6::of(segment, interface).0),
        }
    }

    pub(crate) fn buckets(&self) -> (Vec<Bucket<FlowKey4>>, Vec<Bucket<FlowKey6>>) {
        (self.v4.copied(), self.v6.copied())
    }

    pub(crate) fn set_buckets(&mut self, v4: &[Bucket<FlowKey4>], v6: &[Bucket<FlowKey6>]) {
        self.v4.set(v4);
        self.v6.set(v6);
    }
}

/// A bucket, once a flow is in it.
type Place<K> = Option<Box<Bucket<K>>>;

/// The buckets of one address family. Each is allocated when a flow first needs it.
struct Buckets<K>(Vec<Place<K>>);

impl<K: Key> Buckets<K> {
    fn new(flows: u32) -> Self {
        Self(vec![None; buckets::buckets(flows) as usize])
    }

    fn iter(&self) -> impl Iterator<Item = (Ends, &FlowState)> {
        let flows = self.0.iter().flatten().flat_map(|bucket| bucket.iter());
        flows.map(|(key, state)| (key.ends(), state))
    }

    /// The two buckets that a flow can be in, or the one.
    fn pair(&mut self, hash: u64) -> (&mut Place<K>, Option<&mut Place<K>>) {
        let count = u32::try_from(self.0.len()).expect("made from 32 bits");
        let [first, second] = buckets::buckets_of(hash, count).map(|number| number as usize);
        if first == second {
            return (&mut self.0[first], None);
        }
        let both = self.0.get_disjoint_mut([first, second]);
        let [first, second] = both.expect("two different numbers below their count");
        (first, Some(second))
    }

    fn find(&mut self, seed: u64, key: &K) -> Option<&mut FlowState> {
        let hash = key.hash(seed);
        let (first, second) = self.pair(hash);
        buckets::find(first.as_deref_mut()?, || second?.as_deref_mut(), key, hash)
    }

    fn find_or_claim(
        &mut self,
        seed: u64,
        key: &K,
        evictable: Evictable,
        evict: impl FnOnce(&K, &FlowState),
    ) -> Option<&mut FlowState> {
        fn made<K: Key>(bucket: &mut Place<K>) -> &mut Bucket<K> {
            bucket.get_or_insert_with(|| Box::new(Bucket::EMPTY))
        }
        if evictable == Evictable::NOTHING {
            return self.find(seed, key);
        }
        let hash = key.hash(seed);
        let (first, second) = self.pair(hash);
        buckets::find_or_claim(
            made(first),
            || second.map(made),
            key,
            hash,
            |states| Candidate::first_to_go(states, evictable),
            evict,
        )
    }

    fn copied(&self) -> Vec<Bucket<K>> {
        self.0.iter().map(|bucket| bucket.as_deref().copied().unwrap_or(Bucket::EMPTY)).collect()
    }

    fn set(&mut self, buckets: &[Bucket<K>]) {
        assert_eq!(self.0.len(), buckets.len(), "as many buckets as there were");
        self.0 = buckets.iter().map(|bucket| Some(Box::new(*bucket))).collect();
    }
}

impl FlowStates<FlowKey4> for HostFlows {
    fn find(&mut self, key: &FlowKey4) -> Option<&mut FlowState> {
        self.v4.find(self.seed, key)
    }

    fn find_or_claim(
        &mut self,
        key: &FlowKey4,
        evictable: Evictable,
        evict: impl FnOnce(&FlowKey4, &FlowState),
    ) -> Option<&mut FlowState> {
        self.v4.find_or_claim(self.seed, key, evictable, evict)
    }
}

impl FlowStates<FlowKey6> for HostFlows {
    fn find(&mut self, key: &FlowKey6) -> Option<&mut FlowState> {
        self.v6.find(self.seed, key)
    }

    fn find_or_claim(
        &mut self,
        key: &FlowKey6,
        evictable: Evictable,
        evict: impl FnOnce(&FlowKey6, &FlowState),
    ) -> Option<&mut FlowState> {
        self.v6.find_or_claim(self.seed, key, evictable, evict)
    }
}
