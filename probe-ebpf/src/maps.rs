//! The maps, and the only code that touches them.

use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{LruHashMap, PerCpuArray, RingBuf};
use core::cell::UnsafeCell;
use probe_common::counter::COUNTERS as CELLS;
use probe_common::flow::{FlowKey4, FlowKey6};
use probe_common::{Counter, FlowKey, FlowState, FlowStates, Hook, RawRecord, Sighting};

/// Handshakes under way at the same time, per address family; when there are more, the oldest give way. The loader may ask for another number.
const FLOWS: u32 = 65_536;
/// 4 MiB: 52,428 records of 72 bytes and a header of 8. At 100,000 records a second, half a second's.
const RING_BYTES: u32 = 4 << 20;
/// The reader is woken each time the backlog has grown by this much: some 819 records.
const WAKE_STEP_BYTES: u64 = 64 << 10;
/// Room that one record takes in the ring, its header included.
const RECORD_ROOM: u64 = size_of::<RawRecord>() as u64 + 8;
/// The reader is woken for a small backlog when it was not for this long. Once awake it looks for more by
/// itself, and for longer than this.
const WAKE_INTERVAL_NS: u64 = 200_000_000;

#[map]
static FLOWS_V4: LruHashMap<FlowKey4, FlowState> = LruHashMap::with_max_entries(FLOWS, 0);

#[map]
static FLOWS_V6: LruHashMap<FlowKey6, FlowState> = LruHashMap::with_max_entries(FLOWS, 0);

#[map]
static RECORDS: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

#[map]
static COUNTERS: PerCpuArray<[u64; CELLS]> = PerCpuArray::with_max_entries(1, 0);

/// When the reader was last woken. Two processors may both wake it: harmless.
static LAST_WAKE_NS: SharedWord = SharedWord(UnsafeCell::new(0));

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

/// The kernel's flow states. Lives in the maps, hence without fields.
pub(crate) struct States;

impl FlowStates for States {
    #[inline(always)]
    fn get(&mut self, key: &FlowKey) -> Option<&mut FlowState> {
        let state = match key {
            FlowKey::V4(key) => FLOWS_V4.get_ptr_mut(key)?,
            FlowKey::V6(key) => FLOWS_V6.get_ptr_mut(key)?,
        };
        // SAFETY: the look-up gives a valid value for the run of the program. Two processors that handle
        // packets of one flow at once edit words, and each word on its own stays meaningful.
        Some(unsafe { &mut *state })
    }

    #[inline(always)]
    fn insert(&mut self, key: &FlowKey, state: FlowState) {
        let inserted = match key {
            FlowKey::V4(key) => FLOWS_V4.insert(key, state, 0),
            FlowKey::V6(key) => FLOWS_V6.insert(key, state, 0),
        };
        if inserted.is_err() {
            count(Counter::Untracked);
        }
    }

    #[inline(always)]
    fn remove(&mut self, key: &FlowKey) {
        // Another processor may have removed it: gone is gone.
        let _ = match key {
            FlowKey::V4(key) => FLOWS_V4.remove(key),
            FlowKey::V6(key) => FLOWS_V6.remove(key),
        };
    }
}

/// Hands the record of a sighting to user space, or counts it as lost when the ring is full.
#[inline(always)]
pub(crate) fn submit(time_ns: u64, hook: &Hook, sighting: &Sighting) {
    let Some(mut entry) = RECORDS.reserve::<RawRecord>(0) else {
        return count(Counter::Lost(sighting.kind));
    };
    entry.write(RawRecord::new(time_ns, hook, sighting));
    entry.submit(wake_up(time_ns));
    count(Counter::Submitted(sighting.kind));
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
    let Some(cell) = counter.cell() else { return };
    let Some(cells) = COUNTERS.get_ptr_mut(0) else { return };
    // SAFETY: the look-up gives a valid value, this processor's own.
    let cells = unsafe { &mut *cells };
    if let Some(cell) = cells.get_mut(cell) {
        *cell += 1;
    }
}
