//! The code of the kernel programs, run here, and the memory that both are to leave alike.

use std::ops::RangeInclusive;

use probe_common::buckets::{self, Bucket};
use probe_common::key::{FlowKey4, FlowKey6, Key};
use probe_common::{
    Clock, Counter, Family, FlowState, FlowStates, Hook, RawRecord, Record, Segment, Size, Told, Tools,
    process,
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

    /// The state of the flow of a segment at an interface.
    pub(crate) fn of(&mut self, segment: &Segment, interface: u32) -> Option<&mut FlowState> {
        match segment.family {
            Family::V4 => find(&mut self.v4, &FlowKey4::of(segment, interface).0),
            Family::V6 => find(&mut self.v6, &FlowKey6::of(segment, interface).0),
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

/// The two buckets that a flow may be in, or the one.
fn places<K>(buckets: &mut [Bucket<K>], hash: u64) -> (&mut Bucket<K>, Option<&mut Bucket<K>>) {
    let count = u32::try_from(buckets.len()).expect("few");
    let [first, second] = buckets::buckets_of(hash, count).map(|number| number as usize);
    if first == second {
        return (&mut buckets[first], None);
    }
    let [first, second] = buckets.get_disjoint_mut([first, second]).expect("two numbers below their count");
    (first, Some(second))
}

fn find<'a, K: Key>(buckets: &'a mut [Bucket<K>], key: &K) -> Option<&'a mut FlowState> {
    let hash = key.hash(SEED);
    let (first, second) = places(buckets, hash);
    buckets::find(first, || second, key, hash)
}

fn find_or_claim<'a, K: Key>(
    buckets: &'a mut [Bucket<K>],
    key: &K,
    evicted: &mut Option<RawRecord>,
    now_ns: u64,
) -> &'a mut FlowState {
    let hash = key.hash(SEED);
    let (first, second) = places(buckets, hash);
    buckets::find_or_claim(
        first,
        || second,
        key,
        hash,
        |missed, state| {
            *evicted = Some(RawRecord::evicted(now_ns, &missed.ends(), state));
        },
    )
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
        let (mut told, mut evicted) = (Told::default(), None);
        let mut states = States { flows: &mut self.flows, evicted: &mut evicted };
        let clock = Stopped { now_ns };
        let mut tools = Tools { states: &mut states, clock: &clock, records: &mut told };
        let mut seen = Seen::default();
        if let Err(unparsed) = process(frame.bytes, size, hook, &mut tools) {
            seen.count(Counter::Unparsed(unparsed));
        }
        if let Some(record) = evicted {
            seen.count(Counter::Evicted);
            seen.tell(record.typed().expect("our own"));
        }
        if let Some(record) = told.0 {
            seen.tell(record);
        }
        seen
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
    evicted: &'a mut Option<RawRecord>,
}

impl Seen {
    fn tell(&mut self, record: Record) {
        self.count(Counter::Submitted(record.kind));
        self.records.push(record);
    }
}

impl FlowStates<FlowKey4> for States<'_> {
    fn find(&mut self, key: &FlowKey4) -> Option<&mut FlowState> {
        find(&mut self.flows.v4, key)
    }

    fn find_or_claim(&mut self, key: &FlowKey4, now_ns: u64) -> Option<&mut FlowState> {
        Some(find_or_claim(&mut self.flows.v4, key, self.evicted, now_ns))
    }
}

impl FlowStates<FlowKey6> for States<'_> {
    fn find(&mut self, key: &FlowKey6) -> Option<&mut FlowState> {
        find(&mut self.flows.v6, key)
    }

    fn find_or_claim(&mut self, key: &FlowKey6, now_ns: u64) -> Option<&mut FlowState> {
        Some(find_or_claim(&mut self.flows.v6, key, self.evicted, now_ns))
    }
}
