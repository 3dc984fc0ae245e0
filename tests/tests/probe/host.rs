//! The code of the kernel programs on the host, and the flow states that must be equal in both.

use std::ops::RangeInclusive;

use probe_common::buckets::{Bucket, WAYS};
use probe_common::key::{FlowKey4, FlowKey6};
use probe_common::{Clock, FlowState, Hook, Record, Segment, Size};
use probe_host::{HostProbe, Packet};

use crate::bench::{Frame, Seen};

/// The hash seed, the same as in the kernel.
pub(crate) static SEED: u64 = 0x5eed_0f4a_2b1c_9d37;
/// In place of the kernel's epoch, which cannot be read from outside.
const EPOCH: u32 = 0x0e90_c1e9;

/// All flow states.
#[derive(Clone)]
pub(crate) struct Flows {
    pub(crate) v4: Vec<Bucket<FlowKey4>>,
    pub(crate) v6: Vec<Bucket<FlowKey6>>,
}

impl Flows {
    /// Empty, with this many buckets of each family.
    pub(crate) fn none(buckets: u32) -> Self {
        let buckets = buckets as usize;
        Self { v4: vec![Bucket::EMPTY; buckets], v6: vec![Bucket::EMPTY; buckets] }
    }

    /// Compares these with the states of `kernel`: times of this frame may be any that passed meanwhile, and epochs
    /// any not before `epoch`. Returns the latest epoch.
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

/// A bucket as in the kernel: integers only.
fn words<K>(bucket: &Bucket<K>) -> &[u32] {
    // SAFETY: keys and states are integers without padding, which their own assertions prove, with stricter alignment.
    unsafe { std::slice::from_raw_parts(std::ptr::from_ref(bucket).cast(), size_of::<Bucket<K>>() / 4) }
}

/// As the probe converts times.
#[allow(clippy::cast_possible_truncation, reason = "modulo 71 minutes, as in the probe")]
fn micros(time_ns: u64) -> u32 {
    (time_ns / 1_000) as u32
}

/// The same code on the same bytes, with the same flow states.
pub(crate) struct Host {
    probe: HostProbe,
    decap: bool,
    epoch: u32,
}

impl Host {
    /// With this many buckets for each address family, and without the fast path: the kernel uses it, and the results
    /// must be the same.
    pub(crate) fn new(buckets: u32) -> Self {
        Self { probe: empty(buckets, false), decap: false, epoch: 1 }
    }

    /// The same, looking into tunnels and the like.
    pub(crate) fn with_decap(buckets: u32) -> Self {
        Self { probe: empty(buckets, true), decap: true, epoch: 1 }
    }

    /// Removes all flow states.
    pub(crate) fn forget(&mut self) {
        self.probe = empty(u32::try_from(self.flows().v4.len()).expect("few"), self.decap);
    }

    /// All flow states.
    pub(crate) fn flows(&self) -> Flows {
        let (v4, v6) = self.probe.buckets();
        Flows { v4, v6 }
    }

    /// The number of flows that are known.
    pub(crate) fn count(&self) -> usize {
        self.probe.flows().count()
    }

    /// The state of the flow of a segment at an interface.
    pub(crate) fn flow_mut(&mut self, segment: &Segment, interface: u32) -> Option<&mut FlowState> {
        self.probe.flow_mut(segment, interface)
    }

    /// Runs on a frame, at this time.
    pub(crate) fn run(&mut self, hook: &Hook, frame: &Frame<'_>, now_ns: u64) -> Seen {
        let packet = Packet::whole(frame.bytes, *hook);
        let packet = Packet { size: Size { segments: frame.segments, ..packet.size }, ..packet };
        let before = *self.probe.counters();
        let mut records = Vec::new();
        self.probe.process(&packet, &Stopped { now_ns }, |bytes| {
            records.push(Record::decode(bytes).expect("our own"));
        });
        let mut counted = *self.probe.counters();
        counted.0.iter_mut().zip(before.0).for_each(|(now, before)| *now -= before);
        Seen { records, counted }
    }

    /// Takes over the kernel's states after a frame, so that the next one is decided by the same times.
    ///
    /// # Errors
    /// When the states differ.
    pub(crate) fn agree(&mut self, kernel: &Flows, times_ns: &RangeInclusive<u64>) -> Result<(), String> {
        self.epoch = self.flows().differs(kernel, times_ns, self.epoch)?;
        self.probe.set_buckets(&kernel.v4, &kernel.v6);
        Ok(())
    }
}

fn empty(buckets: u32, decap: bool) -> HostProbe {
    let flows = buckets * u32::try_from(WAYS / 2).expect("a few");
    let probe = HostProbe::with_seed(flows, SEED).without_fast_path();
    if decap { probe.with_decap() } else { probe }
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
