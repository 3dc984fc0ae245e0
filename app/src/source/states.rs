//! Flow states on the host, as the kernel's maps keep them there: the same buckets, and the same flows give way.

use std::hash::{BuildHasher, RandomState};

use probe_common::buckets::{self, Bucket};
use probe_common::key::{FlowKey4, FlowKey6, Key};
use probe_common::{FlowState, FlowStates, RawRecord, Record};

use tcptop_core::table::FlowVolumes;

/// Buckets of one address family, made as they are needed.
type Buckets<K> = Vec<Place<K>>;
type Place<K> = Option<Box<Bucket<K>>>;

/// As many flow states as were asked for.
pub struct HostStates {
    v4: Buckets<FlowKey4>,
    v6: Buckets<FlowKey6>,
    seed: u64,
    evicted: Option<Record>,
}

impl HostStates {
    /// Room for `flows` of each address family, at least 1.
    #[must_use]
    pub fn new(flows: usize) -> Self {
        let buckets = buckets::buckets(u32::try_from(flows).unwrap_or(u32::MAX)) as usize;
        Self {
            v4: vec![None; buckets],
            v6: vec![None; buckets],
            seed: RandomState::new().hash_one(0),
            evicted: None,
        }
    }

    /// The flow that had to give way since the last call, if one did: a packet makes room for one flow at the most.
    pub fn take_evicted(&mut self) -> Option<Record> {
        self.evicted.take()
    }

    /// What every flow that is known has sent.
    pub fn volumes(&self) -> impl Iterator<Item = FlowVolumes> {
        volumes_of(&self.v4).chain(volumes_of(&self.v6))
    }
}

fn volumes_of<K: Key>(buckets: &Buckets<K>) -> impl Iterator<Item = FlowVolumes> {
    let flows = buckets.iter().flatten().flat_map(|bucket| bucket.iter());
    flows.map(|(key, state)| FlowVolumes::of(key, state))
}

/// The two buckets that a flow can be in, or the one.
fn places<K>(buckets: &mut Buckets<K>, hash: u64) -> (&mut Place<K>, Option<&mut Place<K>>) {
    let count = u32::try_from(buckets.len()).unwrap_or(u32::MAX);
    let [first, second] = buckets::buckets_of(hash, count).map(|number| number as usize);
    if first == second {
        return (&mut buckets[first], None);
    }
    let both = buckets.get_disjoint_mut([first, second]);
    let [first, second] = both.expect("two different numbers below their count");
    (first, Some(second))
}

fn find<'a, K: Key>(buckets: &'a mut Buckets<K>, seed: u64, key: &K) -> Option<&'a mut FlowState> {
    let hash = key.hash(seed);
    let (first, second) = places(buckets, hash);
    buckets::find(first.as_deref_mut()?, || second?.as_deref_mut(), key, hash)
}

fn find_or_claim<'a, K: Key>(
    buckets: &'a mut Buckets<K>,
    seed: u64,
    key: &K,
    evicted: &mut Option<Record>,
    now_ns: u64,
) -> &'a mut FlowState {
    fn made<K: Key>(place: &mut Place<K>) -> &mut Bucket<K> {
        place.get_or_insert_with(|| Box::new(Bucket::EMPTY))
    }
    let hash = key.hash(seed);
    let (first, second) = places(buckets, hash);
    buckets::find_or_claim(
        made(first),
        || second.map(made),
        key,
        hash,
        |missed, state| {
            *evicted = RawRecord::evicted(now_ns, &missed.ends(), state).typed().ok();
        },
    )
}

impl FlowStates<FlowKey4> for HostStates {
    fn find(&mut self, key: &FlowKey4) -> Option<&mut FlowState> {
        find(&mut self.v4, self.seed, key)
    }

    fn find_or_claim(&mut self, key: &FlowKey4, now_ns: u64) -> Option<&mut FlowState> {
        Some(find_or_claim(&mut self.v4, self.seed, key, &mut self.evicted, now_ns))
    }
}

impl FlowStates<FlowKey6> for HostStates {
    fn find(&mut self, key: &FlowKey6) -> Option<&mut FlowState> {
        find(&mut self.v6, self.seed, key)
    }

    fn find_or_claim(&mut self, key: &FlowKey6, now_ns: u64) -> Option<&mut FlowState> {
        Some(find_or_claim(&mut self.v6, self.seed, key, &mut self.evicted, now_ns))
    }
}
