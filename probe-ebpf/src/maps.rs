//! The maps, and the only code that touches them.

use crate::packet::COPIED;
use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_ns};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray, RingBuf};
use core::cell::UnsafeCell;
use probe_common::counter::{COUNTERS as CELLS, submitted_cell};
use probe_common::half::{Extent, Half};
use probe_common::key::{FlowKey4, FlowKey6, Key};
use probe_common::slots::{self, Bucket};
use probe_common::{
    Arrival, Clock, Counter, FlowKey, FlowState, FlowStates, Hook, Kind, RawRecord, Sighting,
};

/// Flows that are remembered at the same time, per address family. The loader may ask for another number.
const FLOWS: u32 = 65_536;
/// 4 MiB: 30,840 records of 128 bytes and a header of 8. At 100,000 records a second, a third of a second's.
const RING_BYTES: u32 = 4 << 20;
/// The reader is woken each time the backlog has grown by this much: some 482 records.
const WAKE_STEP_BYTES: u64 = 64 << 10;
/// Room that one record takes in the ring, its header included.
const RECORD_ROOM: u64 = size_of::<RawRecord>() as u64 + 8;
/// The reader is woken for a small backlog when it was not for this long. Once awake it looks for more by
/// itself, and for longer than this.
const WAKE_INTERVAL_NS: u64 = 200_000_000;
/// An epoch has 64 ticks of the kernel: a quarter of a second at 250 Hz.
const EPOCH_SHIFT: u64 = 6;

#[map]
static FLOWS_V4: Array<Bucket<FlowKey4>> = Array::with_max_entries(slots::buckets(FLOWS), 0);

#[map]
static FLOWS_V6: Array<Bucket<FlowKey6>> = Array::with_max_entries(slots::buckets(FLOWS), 0);

#[map]
static RECORDS: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

#[map]
static COUNTERS: PerCpuArray<[u64; CELLS]> = PerCpuArray::with_max_entries(1, 0);

/// Buckets in each of the two arrays; set by the loader together with their sizes.
#[unsafe(no_mangle)]
static BUCKETS: Constant<u32> = Constant(slots::buckets(FLOWS));
/// What keys are hashed with; set by the loader to something that nobody can guess.
#[unsafe(no_mangle)]
static HASH_SEED: Constant<u64> = Constant(0);

/// Where each processor puts a sighting together: its stack has no room for one.
#[map]
static SIGHTING: PerCpuArray<Sighting> = PerCpuArray::with_max_entries(1, 0);

/// Where each processor copies headers to that do not lie in the linear area of a packet.
#[map]
static HEADERS: PerCpuArray<[u8; COPIED]> = PerCpuArray::with_max_entries(1, 0);

/// When the reader was last woken. Two processors may both wake it: harmless.
static LAST_WAKE_NS: SharedWord = SharedWord(UnsafeCell::new(0));

/// A number that the loader may replace, and nobody after it: the verifier knows it when the program is loaded.
#[repr(transparent)]
struct Constant<T>(T);

impl<T: Copy> Constant<T> {
    #[inline(always)]
    fn get(&self) -> T {
        // SAFETY: valid, aligned, and never written while a program runs. Volatile, or the compiler would take the
        // number in the source for the one at run time.
        unsafe { core::ptr::read_volatile(&raw const self.0) }
    }
}

/// A global that all processors read and write as one word. The kernel's bytecode has no plain atomic
/// load that this compiler could emit; an aligned 64-bit access is one instruction there.
struct SharedWord(UnsafeCell<u64>);

// SAFETY: only read and written whole, as volatile words.
unsafe impl Sync for SharedWord {}

impl SharedWord {
    #[inline(always)]
    fn get(&self) -> u64 {
        // SAFETY: valid and aligned for the life of the program.
        unsafe { self.0.get().read_volatile() }
    }

    #[inline(always)]
    fn set(&self, word: u64) {
        // SAFETY: as above.
        unsafe { self.0.get().write_volatile(word) }
    }
}

/// The kernel's clock.
pub(crate) struct KernelClock;

impl Clock for KernelClock {
    #[inline(always)]
    fn now_ns(&self) -> u64 {
        // SAFETY: a helper without preconditions.
        unsafe { bpf_ktime_get_ns() }
    }

    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "epochs are compared; they wrap after 34 years")]
    fn epoch(&self) -> u32 {
        // SAFETY: as above. On 64 bits the kernel puts a load in the place of the call.
        (unsafe { bpf_jiffies64() } >> EPOCH_SHIFT) as u32
    }
}

/// The kernel's flow states. Lives in the maps, hence without fields.
pub(crate) struct States;

/// A bucket of a map.
#[inline(always)]
fn bucket<K: Key + 'static>(map: &Array<Bucket<K>>, number: u32) -> Option<&'static mut Bucket<K>> {
    let bucket = map.get_ptr_mut(number)?;
    // SAFETY: the look-up gives a valid value, for as long as the map lives. Two processors that handle packets of
    // one bucket at once edit words, and each word on its own stays meaningful; at the worst a flow that is learned
    // by both at once is remembered twice, or a count is short by one.
    Some(unsafe { &mut *bucket })
}

#[inline(always)]
fn get<K: Key + 'static>(map: &Array<Bucket<K>>, key: &K) -> Option<&'static mut FlowState> {
    let hash = key.hash(HASH_SEED.get());
    let first = bucket(map, slots::bucket(hash, BUCKETS.get()))?;
    let is_full = first.is_full();
    if let Some(state) = first.get(key, hash) {
        return Some(state);
    }
    if !is_full {
        return None;
    }
    bucket(map, slots::second_bucket(hash, BUCKETS.get()))?.get(key, hash)
}

#[inline(always)]
fn claim<K: Key + 'static>(map: &Array<Bucket<K>>, key: &K, now_ns: u64) -> Option<&'static mut FlowState> {
    let hash = key.hash(HASH_SEED.get());
    let first = bucket(map, slots::bucket(hash, BUCKETS.get()))?;
    let way = first.least(hash);
    if first.is_missed(way) {
        let second = bucket(map, slots::second_bucket(hash, BUCKETS.get()))?;
        let other = second.least(hash);
        if !second.is_missed(other) {
            return Some(second.give(other, key));
        }
        if let Some((missed, state)) = first.missed(way) {
            count(Counter::Evicted);
            tell_evicted(now_ns, missed, state);
        }
    }
    Some(first.give(way, key))
}

/// A global function, for the same reason as `find_timestamps`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn takes_elsewhere(half: *mut Half, extent: *const Extent, now_us: u32, rtt_us: u32) -> u64 {
    // SAFETY: null, or what the verifier has checked to be as large as these are.
    match unsafe { (half.as_mut(), extent.as_ref()) } {
        (Some(half), Some(extent)) => half.takes_elsewhere(extent, now_us, rtt_us).word(),
        _ => Arrival::NEW.word(),
    }
}

#[inline(never)]
fn tell_evicted<K: Key>(now_ns: u64, key: &K, state: &FlowState) {
    submit_record(Kind::Evicted as u32, now_ns, || RawRecord::evicted(now_ns, &key.ends(), state));
}

impl FlowStates for States {
    #[inline(always)]
    fn get(&mut self, key: &FlowKey) -> Option<&mut FlowState> {
        match key {
            FlowKey::V4(key) => get(&FLOWS_V4, key),
            FlowKey::V6(key) => get(&FLOWS_V6, key),
        }
    }

    #[inline(always)]
    fn takes_elsewhere(half: &mut Half, extent: &Extent, now_us: u32, rtt_us: u32) -> Arrival {
        Arrival::of(takes_elsewhere(half, extent, now_us, rtt_us))
    }

    #[inline(always)]
    fn claim(&mut self, key: &FlowKey, now_ns: u64) -> Option<&mut FlowState> {
        match key {
            FlowKey::V4(key) => claim(&FLOWS_V4, key, now_ns),
            FlowKey::V6(key) => claim(&FLOWS_V6, key, now_ns),
        }
    }
}

/// Room for a sighting, this processor's own for the run of the program: programs of one hook are not interrupted by
/// each other.
#[inline(always)]
pub(crate) fn room() -> Option<&'static mut Sighting> {
    // SAFETY: the look-up gives a valid value, which nobody else has.
    Some(unsafe { &mut *SIGHTING.get_ptr_mut(0)? })
}

/// Room for headers, likewise.
#[inline(always)]
pub(crate) fn headers() -> Option<&'static mut [u8; COPIED]> {
    // SAFETY: as above.
    Some(unsafe { &mut *HEADERS.get_ptr_mut(0)? })
}

/// Hands the record of a sighting to user space, or counts it as lost when the ring is full.
#[inline(never)]
pub(crate) fn submit(hook: &Hook, sighting: &Sighting) {
    submit_record(sighting.kind_number(), sighting.time_ns, || RawRecord::new(hook, sighting));
}

#[inline(always)]
fn submit_record(kind_number: u32, time_ns: u64, record: impl FnOnce() -> RawRecord) {
    let Some(mut entry) = RECORDS.reserve::<RawRecord>(0) else {
        return count_cell(submitted_cell(kind_number) + Kind::COUNT);
    };
    entry.write(record());
    entry.submit(wake_up(time_ns));
    count_cell(submitted_cell(kind_number));
}

/// A wake-up costs some 11 µs, so it is given per backlog or per interval, not per record.
#[inline(always)]
fn wake_up(now_ns: u64) -> u64 {
    let backlog = RECORDS.query(u64::from(BPF_RB_AVAIL_DATA));
    let step = backlog >= WAKE_STEP_BYTES && backlog % WAKE_STEP_BYTES < RECORD_ROOM;
    // Saturating: another processor may have stored a later time than ours.
    let rested = now_ns.saturating_sub(LAST_WAKE_NS.get()) >= WAKE_INTERVAL_NS;
    if rested {
        LAST_WAKE_NS.set(now_ns);
    }
    u64::from(if step || rested { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP })
}

#[inline(always)]
pub(crate) fn count(counter: Counter) {
    if let Some(cell) = counter.cell() {
        count_cell(cell);
    }
}

#[inline(always)]
fn count_cell(cell: usize) {
    let Some(cells) = COUNTERS.get_ptr_mut(0) else { return };
    // SAFETY: the look-up gives a valid value, this processor's own.
    let cells = unsafe { &mut *cells };
    if let Some(cell) = cells.get_mut(cell) {
        *cell += 1;
    }
}
