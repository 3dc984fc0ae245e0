//! Segments that the kernel retransmits: of every socket of the machine, whichever interface and network namespace they pass.
//!
//! The programs are loaded apart from the classifiers, which do not need them. They read structures of the kernel: the loader finds
//! the places of their fields in the kernel's BTF.

use aya_ebpf::bindings::BPF_RB_NO_WAKEUP;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_probe_read_kernel};
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::{PerCpuArray, RingBuf};
use aya_ebpf::programs::BtfTracePointContext;
use core::ffi::c_void;
use probe_common::retransmit::{Place, RawRetransmit, TALLIES, Tally};

use crate::maps::Constant;

/// Where fields are in the kernel's structures; set by the loader.
#[unsafe(no_mangle)]
static RETRANSMIT_PLACES: [u32; Place::COUNT] = [0; Place::COUNT];
/// Whether the kernel says what its attempt to send returned, if not 0; set by the loader.
#[unsafe(no_mangle)]
static RETRANSMIT_ERRORS: Constant<u32> = Constant(0);

/// 1 MiB: 8,738 records of 112 bytes and a header of 8. The loader makes it small where nobody reads it.
#[map]
static RETRANSMITS: RingBuf = RingBuf::with_byte_size(1 << 20, 0);

/// What was passed on and what was missed, by [`Tally`].
#[map]
static RETRANSMIT_TALLY: PerCpuArray<[u64; TALLIES]> = PerCpuArray::with_max_entries(1, 0);

/// `icsk_ca_state` has 5 bits.
const CONGESTION_MASK: u8 = 0x1f;

/// A socket has retransmitted a segment: the socket, the segment, and since Linux 6.15 what sending it returned.
#[btf_tracepoint(function = "tcp_retransmit_skb")]
pub fn segment_retransmitted(context: BtfTracePointContext) -> i32 {
    let (socket, packet) = (context.arg::<*mut c_void>(0), context.arg::<*const u8>(1));
    let has_error = RETRANSMIT_ERRORS.get() != 0;
    // The verifier leaves out what the kernel does not have.
    let error = if has_error { context.arg::<i32>(2) } else { 0 };
    // SAFETY: the socket is the tracepoint's.
    let cookie = unsafe { bpf_get_socket_cookie(socket) };
    let socket = socket.cast::<u8>().cast_const();
    let control = packet.wrapping_add(place(Place::Control));
    let mut record = of_ends(socket);
    record.cookie = cookie;
    record.seq = read(control, Place::Seq);
    record.end_seq = read(control, Place::EndSeq);
    record.segments = read::<u16>(control, Place::Segments).into();
    record.flags = read(control, Place::Flags);
    record.snd_nxt = read(socket, Place::SndNxt);
    record.snd_una = read(socket, Place::SndUna);
    record.lost = read(socket, Place::Lost);
    record.timeouts = read(socket, Place::Timeouts);
    record.congestion = read::<u8>(socket, Place::Congestion) & CONGESTION_MASK;
    record.error = error;
    record.has_error = has_error.into();
    emit(&record);
    0
}

/// A listener has retransmitted a SYN-ACK: the socket that listens, and the request for a connection.
#[btf_tracepoint(function = "tcp_retransmit_synack")]
pub fn syn_ack_retransmitted(context: BtfTracePointContext) -> i32 {
    let (listener, request) = (context.arg::<*mut c_void>(0), context.arg::<*const u8>(1));
    let mut record = of_ends(request);
    record.cookie = read(request, Place::Cookie);
    // SAFETY: the socket is the tracepoint's.
    record.listener = unsafe { bpf_get_socket_cookie(listener) };
    record.segments = 1;
    record.timeouts = read(request, Place::Repeats);
    record.is_request = 1;
    emit(&record);
    0
}

/// What sockets and requests have in common.
#[inline(always)]
fn of_ends(socket: *const u8) -> RawRetransmit {
    let net: *const u8 = read(socket, Place::Net);
    let number = net.wrapping_add(place(Place::Namespace));
    RawRetransmit {
        // SAFETY: a helper without preconditions.
        time_ns: unsafe { bpf_ktime_get_ns() },
        cookie: 0,
        listener: 0,
        local_v6: read(socket, Place::LocalV6),
        remote_v6: read(socket, Place::RemoteV6),
        local_v4: read(socket, Place::LocalV4),
        remote_v4: read(socket, Place::RemoteV4),
        seq: 0,
        end_seq: 0,
        snd_nxt: 0,
        snd_una: 0,
        lost: 0,
        segments: 0,
        namespace: read(number, Place::NamespaceNumber),
        error: 0,
        family: read(socket, Place::Family),
        local_port: read(socket, Place::LocalPort),
        remote_port: read(socket, Place::RemotePort),
        flags: 0,
        state: read(socket, Place::State),
        timeouts: 0,
        congestion: 0,
        is_request: 0,
        has_error: 0,
        reserved: 0,
    }
}

/// Nobody is woken: the reader looks some times a second.
#[inline(always)]
fn emit(record: &RawRetransmit) {
    let segments = u64::from(record.segments.max(1));
    let Some(mut entry) = RETRANSMITS.reserve::<RawRetransmit>(0) else {
        return count([Tally::MissedRecords, Tally::MissedSegments], segments);
    };
    entry.write(*record);
    entry.submit(BPF_RB_NO_WAKEUP.into());
    count([Tally::Records, Tally::Segments], segments);
}

#[inline(always)]
fn count([records, all_segments]: [Tally; 2], segments: u64) {
    let Some(cells) = RETRANSMIT_TALLY.get_ptr_mut(0) else { return };
    // SAFETY: the look-up returns a valid value, this processor's own.
    let cells = unsafe { &mut *cells };
    cells[records as usize] += 1;
    cells[all_segments as usize] += segments;
}

#[inline(always)]
fn place(place: Place) -> usize {
    // SAFETY: within the array. Volatile, or the compiler would take the number in the source for the one at run time.
    unsafe { core::ptr::read_volatile(&raw const RETRANSMIT_PLACES[place as usize]) as usize }
}

/// The value of a field of a structure of the kernel; 0 where it cannot be read.
#[inline(always)]
fn read<T: Zero>(structure: *const u8, field: Place) -> T {
    let mut value = T::ZERO;
    let from = structure.wrapping_add(place(field));
    // SAFETY: the helper refuses what it cannot read, and the room is as long as what is read.
    let failed =
        unsafe { bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, from.cast()) };
    if failed == 0 { value } else { T::ZERO }
}

/// What of any bytes is a value, with the one that stands for none.
trait Zero: Copy {
    const ZERO: Self;
}

macro_rules! zero {
    ($($kind:ty => $zero:expr),*) => { $(impl Zero for $kind { const ZERO: Self = $zero; })* };
}

zero!(u8 => 0, u16 => 0, u32 => 0, u64 => 0, [u64; 2] => [0; 2], *const u8 => core::ptr::null());
