//! The code of the kernel programs, run here, and the memory that both are to leave alike.

use std::ops::RangeInclusive;

use probe_common::key::{FlowKey4, FlowKey6, Key};
use probe_common::slots::{self, Bucket};
use probe_common::{
    Clock, Counter, FlowKey, FlowState, FlowStates, Hook, RawRecord, Sighting, Size, observe,
};

use crate::bench::{Frame, Seen};

/// What keys are hashed with, in the kernel too.
pub(crate) static SEED: u64 = 0x5eed_0f4a_2b1c_9d37;
/// What stands for the kernel's epoch, which nobody outside of it can read.
const EPOCH: u32 = 0x0e90_c1e9;

/// All flow states.
#[derive(Clone)]
pub(crate) struct Flows {
    pub(crate) v4: Vec<Bucket<FlowKey4>>,
    pub(crate) v6: Vec<Bucket<FlowKey6>>,
}

impl Flows {
    /// None, in so many buckets of each family.
    pub(crate) fn none(buckets: u32) -> Self {
        let buckets = buckets as usize;
        Self { v4: vec![Bucket::EMPTY; buckets], v6: vec![Bucket::EMPTY; buckets] }
    }

    pub(crate) fn get(&mut self, key: &FlowKey) -> Option<&mut FlowState> {
        match key {
            FlowKey::V4(key) => get(&mut self.v4, key),
            FlowKey::V6(key) => get(&mut self.v6, key),
        }
    }

    /// How many flows are remembered.
    pub(crate) fn count(&self) -> usize {
        let v4 = self.v4.iter().map(|bucket| bucket.iter().count()).sum::<usize>();
        v4 + self.v6.iter().map(|bucket| bucket.iter().count()).sum::<usize>()
    }

    /// What tells these from what `kernel` remembers, if anything does: times of this frame may be any that passed
    /// meanwhile, and epochs any that are not before `epoch`. Gives the latest epoch.
    fn differs(&self, kernel: &Self, times_ns: &RangeInclusive<u64>, epoch: u32) -> Result<u32, String> {
        let here = self.v4.iter().flat_map(words).chain(self.v6.iter().flat_map(words));
        let there = kernel.v4.iter().flat_map(words).chain(kernel.v6.iter().flat_map(words));
        let [start_us, end_us] = [times_ns.start(), times_ns.end()].map(|time_ns| micros(*time_ns));
        let mut latest = epoch;
        for (place, (here, there)) in here.zip(there).enumerate() {
            let is_time = *here == start_us && there.wrapping_sub(start_us) <= end_us.wrapping_sub(start_us);
            let is_epoch = *here == EPOCH && *there >= epoch;
            if is_epoch {
                latest = latest.max(*there);
            }
            if here != there && !is_time && !is_epoch {
                return Err(format!("word {place}: {there:#x} in the kernel, {here:#x} here"));
            }
        }
        Ok(latest)
    }
}

/// The two buckets that a flow may be in.
fn places<K: Key>(buckets: &[Bucket<K>], hash: u64) -> [usize; 2] {
    let count = u32::try_from(buckets.len()).expect("few");
    [slots::bucket(hash, count), slots::second_bucket(hash, count)].map(|place| place as usize)
}

fn get<'a, K: Key>(buckets: &'a mut [Bucket<K>], key: &K) -> Option<&'a mut FlowState> {
    let hash = key.hash(SEED);
    let [first, second] = places(buckets, hash);
    let is_first = buckets[first].get(key, hash).is_some();
    if !is_first && !buckets[first].is_full() {
        return None;
    }
    buckets[if is_first { first } else { second }].get(key, hash)
}

/// As the kernel programs do it. Gives who has to give way, if anyone has.
fn claim<'a, K: Key>(
    buckets: &'a mut [Bucket<K>],
    key: &K,
    now_ns: u64,
) -> (Option<RawRecord>, &'a mut FlowState) {
    let hash = key.hash(SEED);
    let [first, second] = places(buckets, hash);
    let way = buckets[first].least(hash);
    let other = buckets[second].least(hash);
    if buckets[first].is_missed(way) && !buckets[second].is_missed(other) {
        return (None, buckets[second].give(other, key));
    }
    let evicted = buckets[first].missed(way);
    let evicted = evicted.map(|(key, state)| RawRecord::evicted(now_ns, &key.ends(), state));
    (evicted, buckets[first].give(way, key))
}

/// A bucket as the kernel has it: nothing but integers.
fn words<K>(bucket: &Bucket<K>) -> &[u32] {
    // SAFETY: keys and states are integers without padding, which their own assertions prove, aligned for more.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(bucket).cast(), size_of::<Bucket<K>>() / 4) }
}

/// As the probe reckons.
#[allow(clippy::cast_possible_truncation, reason = "modulo 71 minutes, as in the probe")]
fn micros(time_ns: u64) -> u32 {
    (time_ns / 1_000) as u32
}

/// The same code on the same bytes, in the same memory.
pub(crate) struct Host {
    pub(crate) flows: Flows,
    epoch: u32,
}

impl Host {
    pub(crate) fn new(buckets: u32) -> Self {
        Self { flows: Flows::none(buckets), epoch: 1 }
    }

    /// Forgets all flows.
    pub(crate) fn forget(&mut self) {
        self.flows = Flows::none(u32::try_from(self.flows.v4.len()).expect("few"));
    }

    /// Shows it a frame, at this time.
    pub(crate) fn run(&mut self, hook: &Hook, frame: &Frame<'_>, now_ns: u64) -> Seen {
        let length = u32::try_from(frame.bytes.len()).expect("short");
        let size = Size { bytes: length, segments: frame.segments };
        let mut states = States { flows: &mut self.flows, seen: Seen::default() };
        let mut room = Sighting::NOTHING;
        match observe(frame.bytes, size, hook, &mut states, &Stopped { now_ns }, || Some(&mut room)) {
            Ok(None) => {}
            Ok(Some(sighting)) => states.seen.tell(&RawRecord::new(hook, sighting)),
            Err(unparsed) => states.seen.count(Counter::Unparsed(unparsed)),
        }
        states.seen
    }

    /// Takes over what the kernel remembers once a frame has passed, so that what comes next is decided by the very
    /// same times.
    ///
    /// # Errors
    /// When it is something else.
    pub(crate) fn agree(&mut self, kernel: Flows, times_ns: &RangeInclusive<u64>) -> Result<(), String> {
        self.epoch = self.flows.differs(&kernel, times_ns, self.epoch)?;
        self.flows = kernel;
        Ok(())
    }
}

/// A clock that stands still while a frame passes.
struct Stopped {
    now_ns: u64,
}

impl Clock for Stopped {
    fn now_ns(&self) -> u64 {
        self.now_ns
    }

    fn epoch(&self) -> u32 {
        EPOCH
    }
}

struct States<'a> {
    flows: &'a mut Flows,
    seen: Seen,
}

impl Seen {
    fn tell(&mut self, record: &RawRecord) {
        let record = record.typed().expect("a kind and a direction that there are");
        self.count(Counter::Submitted(record.kind));
        self.records.push(record);
    }
}

impl FlowStates for States<'_> {
    fn get(&mut self, key: &FlowKey) -> Option<&mut FlowState> {
        self.flows.get(key)
    }

    fn claim(&mut self, key: &FlowKey, now_ns: u64) -> Option<&mut FlowState> {
        let (evicted, state) = match key {
            FlowKey::V4(key) => claim(&mut self.flows.v4, key, now_ns),
            FlowKey::V6(key) => claim(&mut self.flows.v6, key, now_ns),
        };
        if let Some(record) = evicted {
            self.seen.count(Counter::Evicted);
            self.seen.tell(&record);
        }
        Some(state)
    }
}
