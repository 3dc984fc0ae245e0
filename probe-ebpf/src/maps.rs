//! The maps, and the only code that touches them.

use crate::packet::Headers;
use aya_ebpf::bindings::{BPF_RB_AVAIL_DATA, BPF_RB_FORCE_WAKEUP, BPF_RB_NO_WAKEUP};
use aya_ebpf::helpers::{bpf_jiffies64, bpf_ktime_get_ns};
use aya_ebpf::macros::map;
use aya_ebpf::maps::{Array, PerCpuArray, RingBuf};
use core::cell::UnsafeCell;
use probe_common::buckets::{self, Bucket, Candidate, WAYS};
use probe_common::counter::COUNTERS as CELLS;
use probe_common::key::{FlowKey4, FlowKey6, Key};
use probe_common::passed_over;
use probe_common::record::Current;
use probe_common::sequence::{SequenceRange, SequenceTracker};
use probe_common::state::Evictable;
use probe_common::{
    Clock, Counter, FlowState, FlowStates, OwnerAction, ParsedIcmp, ParsedPacket, RawEvictedFlow, RawIcmp,
    RawOwner, RawReset, RawSegment, RecordKind, RecordSink, SegmentClass, SegmentKind,
};

/// Flows that are remembered at the same time, per address family. The loader may ask for another number.
const FLOWS: u32 = 65_536;
/// 4 MiB: 24,966 records of 160 bytes and a header of 8. At 100,000 records a second, a quarter of a second's.
const RING_BYTES: u32 = 4 << 20;
/// The reader is woken each time the backlog has grown by this much: 3,120 records, an eighth of the ring.
const WAKE_STEP_BYTES: u64 = 512 << 10;
/// The part of the ring that records of every kind share. The rest is kept for SYNs, SYN-ACKs and ACKs.
const SHARED_BYTES: u64 = RING_BYTES as u64 / 4 * 3;
/// What the ring adds to each record (`BPF_RINGBUF_HDR_SZ`).
const RECORD_HEADER_BYTES: u64 = 8;
/// The reader is woken for a small backlog when it was not for this long. Once awake it looks for more by
/// itself, and for longer than this.
const WAKE_INTERVAL_NS: u64 = 200_000_000;
/// An epoch has 64 ticks of the kernel: a quarter of a second at 250 Hz.
const EPOCH_SHIFT: u64 = 6;

#[map]
static FLOWS_V4: Array<Bucket<FlowKey4>> = Array::with_max_entries(buckets::buckets(FLOWS), 0);

#[map]
static FLOWS_V6: Array<Bucket<FlowKey6>> = Array::with_max_entries(buckets::buckets(FLOWS), 0);

#[map]
static RECORDS: RingBuf = RingBuf::with_byte_size(RING_BYTES, 0);

#[map]
static COUNTERS: PerCpuArray<[u64; CELLS]> = PerCpuArray::with_max_entries(1, 0);

/// Packets without TCP, by what they are.
#[map]
static PASSED_OVER: PerCpuArray<[u64; passed_over::CELLS]> = PerCpuArray::with_max_entries(1, 0);

/// Buckets in each of the two arrays; set by the loader together with their sizes.
#[unsafe(no_mangle)]
static BUCKETS: Constant<u32> = Constant(buckets::buckets(FLOWS));
/// What keys are hashed with; set by the loader to something that nobody can guess.
#[unsafe(no_mangle)]
static HASH_SEED: Constant<u64> = Constant(0);

/// Whether tunnels and the like are looked into, if not 0; set by the loader. The verifier leaves out what it switches off.
#[unsafe(no_mangle)]
static DECAP: Constant<u32> = Constant(0);

/// See [`DECAP`].
#[inline(always)]
pub(crate) fn decap() -> bool {
    DECAP.get() != 0
}

/// Where each processor keeps what it has read of a packet, to spare the stack.
#[map]
static PARSED: PerCpuArray<ParsedPacket> = PerCpuArray::with_max_entries(1, 0);

/// The same for ICMP errors.
#[map]
static PARSED_ICMP: PerCpuArray<ParsedIcmp> = PerCpuArray::with_max_entries(1, 0);

/// Where each processor copies the headers to of a packet that is not usual.
#[map]
static HEADERS: PerCpuArray<Headers> = PerCpuArray::with_max_entries(1, 0);

/// When the reader was last woken. Two processors may both wake it: harmless.
static LAST_WAKE_NS: SharedWord = SharedWord(UnsafeCell::new(0));

/// A number that the loader may replace, and nobody after it: the verifier knows it when the program is loaded.
#[repr(transparent)]
pub(crate) struct Constant<T>(pub(crate) T);

impl<T: Copy> Constant<T> {
    #[inline(always)]
    pub(crate) fn get(&self) -> T {
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

/// The kernel's flow states. They live in the maps, hence without fields.
pub(crate) struct Flows;

/// A map of flow states of one address family, and the functions for it.
pub(crate) trait Table: Key {
    /// The bucket with this number.
    fn bucket(number: u32) -> Option<&'static mut Bucket<Self>>;
}

impl Table for FlowKey4 {
    #[inline(always)]
    fn bucket(number: u32) -> Option<&'static mut Bucket<Self>> {
        bucket(&FLOWS_V4, number)
    }
}

impl Table for FlowKey6 {
    #[inline(always)]
    fn bucket(number: u32) -> Option<&'static mut Bucket<Self>> {
        bucket(&FLOWS_V6, number)
    }
}

#[inline(always)]
fn bucket<K: Key>(map: &Array<Bucket<K>>, number: u32) -> Option<&'static mut Bucket<K>> {
    let bucket = map.get_ptr_mut(number)?;
    // SAFETY: the look-up returns a valid value, for as long as the map lives. Two processors that handle packets of
    // one bucket at once edit words, and each word on its own stays meaningful; at the worst a flow that is learned
    // by both at once is remembered twice, or a count is short by one.
    Some(unsafe { &mut *bucket })
}

impl<K: Table> FlowStates<K> for Flows {
    #[inline(always)]
    fn find(&mut self, key: &K) -> Option<&mut FlowState> {
        let hash = key.hash(HASH_SEED.get());
        let [first, second] = buckets::buckets_of(hash, BUCKETS.get());
        buckets::find(K::bucket(first)?, || K::bucket(second), key, hash)
    }

    #[inline(always)]
    fn find_or_claim(
        &mut self,
        key: &K,
        evictable: Evictable,
        evict: impl FnOnce(&K, &FlowState),
    ) -> Option<&mut FlowState> {
        if evictable == Evictable::NOTHING {
            return self.find(key);
        }
        let hash = key.hash(HASH_SEED.get());
        let [first, second] = buckets::buckets_of(hash, BUCKETS.get());
        let first_to_go = |states: &_| Candidate::from_word(first_to_go(states, evictable.word()));
        buckets::find_or_claim(K::bucket(first)?, || K::bucket(second), key, hash, first_to_go, evict)
    }

    #[inline(always)]
    fn accept_out_of_order(
        tracker: &mut SequenceTracker,
        range: &SequenceRange,
        now_us: u32,
        rtt_us: u32,
    ) -> SegmentClass {
        SegmentClass::of(accept_out_of_order(tracker, range, now_us, rtt_us))
    }
}

/// A global function, for the same reason as `find_timestamps`.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn accept_out_of_order(
    tracker: *mut SequenceTracker,
    range: *const SequenceRange,
    now_us: u32,
    rtt_us: u32,
) -> u64 {
    // SAFETY: null, or what the verifier has checked to be as large as these are.
    match unsafe { (tracker.as_mut(), range.as_ref()) } {
        (Some(tracker), Some(range)) => tracker.accept_out_of_order(range, now_us, rtt_us).word(),
        _ => SegmentClass::NEW.word(),
    }
}

/// A global function, like the others: a bucket has eight states, and each has many ways to its rank.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn first_to_go(states: *const [FlowState; WAYS], evictable: u32) -> u64 {
    // SAFETY: null, or what the verifier has checked to be as large as they are.
    unsafe { states.as_ref() }
        .map_or(0, |states| Candidate::first_to_go(states, Evictable::from_word(evictable)).word())
}

/// Room for what was read of a packet, this processor's own for the run of the program: programs of one hook are not
/// interrupted by each other.
#[inline(always)]
pub(crate) fn packet_room() -> Option<&'static mut ParsedPacket> {
    // SAFETY: the look-up returns a valid value, which nobody else has.
    Some(unsafe { &mut *PARSED.get_ptr_mut(0)? })
}

/// Room for an ICMP error, likewise.
#[inline(always)]
pub(crate) fn icmp_room() -> Option<&'static mut ParsedIcmp> {
    // SAFETY: as above.
    Some(unsafe { &mut *PARSED_ICMP.get_ptr_mut(0)? })
}

/// What was copied of the packet, likewise.
#[inline(always)]
pub(crate) fn headers() -> Option<&'static mut Headers> {
    // SAFETY: as above.
    Some(unsafe { &mut *HEADERS.get_ptr_mut(0)? })
}

/// The way to user space. It is a map, too.
pub(crate) struct Ring;

impl RecordSink for Ring {
    #[inline(always)]
    fn emit_segment(
        &mut self,
        packet: &ParsedPacket,
        kind: SegmentKind,
        time_ns: u64,
        class: SegmentClass,
        state: Option<&FlowState>,
    ) {
        let state = state.map_or(core::ptr::null(), core::ptr::from_ref);
        emit_segment(packet, kind as u32, time_ns, class.word(), state);
    }

    #[inline(always)]
    fn emit_icmp(&mut self, icmp: &ParsedIcmp, time_ns: u64) {
        submit(RecordKind::Icmp.number().into(), time_ns, |record: &mut RawIcmp| record.set(icmp, time_ns));
    }

    #[inline(always)]
    fn count_unmatched_icmp(&mut self) {
        count(Counter::UnmatchedIcmp);
    }

    #[inline(always)]
    fn emit_evicted_flow<K: Key>(&mut self, time_ns: u64, key: &K, state: &FlowState) {
        count(Counter::EvictedFlow);
        _ = match size_of::<K>() {
            V4_BYTES => emit_evicted_v4(time_ns, core::ptr::from_ref(key).cast(), state),
            _ => emit_evicted_v6(time_ns, core::ptr::from_ref(key).cast(), state),
        };
    }
}

const V4_BYTES: usize = size_of::<FlowKey4>();

/// A global function, like the others.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn emit_segment(
    packet: *const ParsedPacket,
    kind: u32,
    time_ns: u64,
    class: u64,
    state: *const FlowState,
) -> i32 {
    // SAFETY: null, or what the verifier has checked to be as large as these are.
    if let (Some(packet), state) = unsafe { (packet.as_ref(), state.as_ref()) } {
        // A mask, because the verifier does not follow a comparison through the shifts that the compiler adds.
        let kind = kind & (SegmentKind::COUNT.next_power_of_two() - 1);
        submit(kind, time_ns, |record: &mut RawSegment| {
            record.set(packet, kind, time_ns, SegmentClass::of(class), state);
        });
    }
    0
}

macro_rules! emit_evicted {
    ($name:ident, $key:ty) => {
        /// A global function, like the others.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub extern "C" fn $name(time_ns: u64, key: *const $key, state: *const FlowState) -> i32 {
            // SAFETY: null, or what the verifier has checked to be as large as these are.
            if let (Some(key), Some(state)) = unsafe { (key.as_ref(), state.as_ref()) } {
                let kind = RecordKind::EvictedFlow.number().into();
                submit(kind, time_ns, |record: &mut RawEvictedFlow| record.set(time_ns, &key.ends(), state));
            }
            0
        }
    };
}

emit_evicted!(emit_evicted_v4, FlowKey4);
emit_evicted!(emit_evicted_v6, FlowKey6);

/// Emits what the process that runs does with a socket. Nobody is woken for it: a segment follows, or nothing is urgent.
#[inline(always)]
pub(crate) fn emit_owner(current: &Current, action: OwnerAction, cookie: u64) {
    let kind = RecordKind::Owner.number().into();
    let time_ns = KernelClock.now_ns();
    submit_and_wake(
        kind,
        |record: &mut RawOwner| record.set(current, action, cookie, time_ns),
        || u64::from(BPF_RB_NO_WAKEUP),
    );
}

/// Emits why a socket has sent a RST. Nobody is woken for it: the RST came before.
#[inline(always)]
pub(crate) fn emit_reset(cookie: u64, reason: u32) {
    let kind = RecordKind::Reset.number().into();
    let time_ns = KernelClock.now_ns();
    submit_and_wake(
        kind,
        |record: &mut RawReset| record.set(cookie, reason, time_ns),
        || u64::from(BPF_RB_NO_WAKEUP),
    );
}

/// Sockets whose opener was emitted lately: a place for each, chosen by its cookie, which another one may take.
const OPENED_PLACES: u32 = 1 << 16;

#[map]
static OPENED: Array<u64> = Array::with_max_entries(OPENED_PLACES, 0);

/// Notes that the process that opens the connection of a socket was emitted.
#[inline(always)]
pub(crate) fn note_opened(cookie: u64) {
    if let Some(place) = OPENED.get_ptr_mut(opened_place(cookie)) {
        // SAFETY: the look-up returns a valid value. Two processors that write it at once leave one of both.
        unsafe { place.write_volatile(cookie) };
    }
}

/// Whether that is so: whoever closes the socket is not asked for then.
#[inline(always)]
pub(crate) fn was_opened(cookie: u64) -> bool {
    // SAFETY: as above.
    OPENED.get_ptr(opened_place(cookie)).is_some_and(|place| unsafe { place.read_volatile() } == cookie)
}

/// Cookies are counted up, in batches for each processor.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "a part of it is a place")]
const fn opened_place(cookie: u64) -> u32 {
    cookie as u32 & (OPENED_PLACES - 1)
}

#[inline(always)]
fn submit<R: 'static>(kind: u32, time_ns: u64, write: impl FnOnce(&mut R)) {
    submit_and_wake(kind, write, || wake_up(size_of::<R>() as u64, time_ns));
}

#[inline(always)]
fn submit_and_wake<R: 'static>(kind: u32, write: impl FnOnce(&mut R), wake_up: impl FnOnce() -> u64) {
    if is_dispensable(kind) && RECORDS.query(u64::from(BPF_RB_AVAIL_DATA)) > SHARED_BYTES {
        return count_cell(Counter::missed_cell(kind));
    }
    let Some(mut entry) = RECORDS.reserve::<R>(0) else {
        return count_cell(Counter::missed_cell(kind));
    };
    // SAFETY: integers, of which any bits are valid, in memory that the kernel has initialised.
    write(unsafe { entry.assume_init_mut() });
    entry.submit(wake_up());
    count_cell(Counter::submitted_cell(kind));
}

/// Returns whether the last room of the ring is not for records of this kind: without one of a SYN, a SYN-ACK or an ACK
/// a handshake is not known, without another one it is.
#[inline(always)]
const fn is_dispensable(kind: u32) -> bool {
    kind > SegmentKind::Ack as u32
}

const _: () = assert!(
    is_dispensable(SegmentKind::Rst as u32)
        && is_dispensable(SegmentKind::Fin as u32)
        && is_dispensable(SegmentKind::Retransmit as u32)
        && is_dispensable(RecordKind::EvictedFlow.number() as u32)
        && is_dispensable(RecordKind::Icmp.number() as u32)
        && is_dispensable(RecordKind::Owner.number() as u32)
        && is_dispensable(RecordKind::Reset.number() as u32)
        && !is_dispensable(SegmentKind::Syn as u32)
        && !is_dispensable(SegmentKind::SynAck as u32)
);

/// A wake-up costs some 11 µs, so it depends on the backlog and on an interval, not on each record.
#[inline(always)]
fn wake_up(record_bytes: u64, now_ns: u64) -> u64 {
    let backlog = RECORDS.query(u64::from(BPF_RB_AVAIL_DATA));
    let step = backlog >= WAKE_STEP_BYTES && backlog % WAKE_STEP_BYTES < record_bytes + RECORD_HEADER_BYTES;
    // Saturating: another processor may have stored a later time than ours.
    let rested = now_ns.saturating_sub(LAST_WAKE_NS.get()) >= WAKE_INTERVAL_NS;
    if rested {
        LAST_WAKE_NS.set(now_ns);
    }
    u64::from(if step || rested { BPF_RB_FORCE_WAKEUP } else { BPF_RB_NO_WAKEUP })
}

/// Counts a packet that holds no TCP, of the kind with this word.
#[inline(always)]
pub(crate) fn pass_over(word: u32) {
    let Some(cells) = PASSED_OVER.get_ptr_mut(0) else { return };
    // SAFETY: the look-up returns a valid value, this processor's own.
    passed_over::count(unsafe { &mut *cells }, word);
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
    // SAFETY: the look-up returns a valid value, this processor's own.
    let cells = unsafe { &mut *cells };
    if let Some(cell) = cells.get_mut(cell) {
        *cell += 1;
    }
}
