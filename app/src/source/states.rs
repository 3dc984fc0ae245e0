//! Flow states on the host, as the kernel's maps keep them there: the same buckets, and the same flows give way.

use std::hash::{BuildHasher, RandomState};

use probe_common::key::{Ends, FlowKey4, FlowKey6, Key};
use probe_common::slots::{self, Bucket};
use probe_common::{FlowKey, FlowState, FlowStates, RawRecord, Record};

use crate::flow::FlowVolumes;

/// Buckets of one address family, made as they are needed.
type Buckets<K> = Vec<Option<Box<Bucket<K>>>>;

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
        let buckets = slots::buckets(u32::try_from(flows).unwrap_or(u32::MAX)) as usize;
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

/// The numbers of both buckets that a flow can be in.
fn places<K>(buckets: &Buckets<K>, hash: u64) -> [usize; 2] {
    let count = u32::try_from(buckets.len()).unwrap_or(u32::MAX);
    [slots::bucket(hash, count) as usize, slots::second_bucket(hash, count) as usize]
}

fn get<'a, K: Key>(buckets: &'a mut Buckets<K>, seed: u64, key: &K) -> Option<&'a mut FlowState> {
    let hash = key.hash(seed);
    let [first, second] = places(buckets, hash);
    let bucket = buckets[first].as_mut()?;
    let place = if bucket.get(key, hash).is_some() {
        first
    } else if bucket.is_full() {
        second
    } else {
        return None;
    };
    buckets[place].as_mut()?.get(key, hash)
}

fn claim<'a, K: Key>(
    buckets: &'a mut Buckets<K>,
    seed: u64,
    key: &K,
    evict: impl FnOnce(&K, &FlowState),
) -> &'a mut FlowState {
    let hash = key.hash(seed);
    let [first, second] = places(buckets, hash);
    let least = |bucket: &mut Option<Box<Bucket<K>>>| {
        let bucket = bucket.get_or_insert_with(|| Box::new(Bucket::EMPTY));
        let way = bucket.least(hash);
        (way, bucket.is_missed(way))
    };
    let (mut place, (mut way, is_missed)) = (first, least(&mut buckets[first]));
    if is_missed {
        let (other, is_other_missed) = least(&mut buckets[second]);
        if !is_other_missed {
            (place, way) = (second, other);
        }
    }
    let bucket = buckets[place].get_or_insert_with(|| Box::new(Bucket::EMPTY));
    if let Some((missed, state)) = bucket.missed(way) {
        evict(missed, state);
    }
    bucket.give(way, key)
}

impl FlowStates for HostStates {
    fn get(&mut self, key: &FlowKey) -> Option<&mut FlowState> {
        match key {
            FlowKey::V4(key) => get(&mut self.v4, self.seed, key),
            FlowKey::V6(key) => get(&mut self.v6, self.seed, key),
        }
    }

    fn claim(&mut self, key: &FlowKey, now_ns: u64) -> Option<&mut FlowState> {
        let evicted = &mut self.evicted;
        let mut evict = |ends: Ends, state: &FlowState| {
            *evicted = RawRecord::evicted(now_ns, &ends, state).typed().ok();
        };
        Some(match key {
            FlowKey::V4(key) => claim(&mut self.v4, self.seed, key, |key, state| evict(key.ends(), state)),
            FlowKey::V6(key) => claim(&mut self.v6, self.seed, key, |key, state| evict(key.ends(), state)),
        })
    }
}
