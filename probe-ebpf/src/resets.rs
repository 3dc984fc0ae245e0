//! Why this host sends a RST: the kernel says it at a tracepoint.
//!
//! Of a RST that answers a segment it says so before it sends it, on the same processor: the reason waits there for the RST,
//! whose record has it then. Of a RST that a socket sends by itself it says so afterwards: a small record follows, with the
//! socket's cookie.
//!
//! The program at the tracepoint is loaded apart from the classifiers. Without it no reason waits, and none follows.

use aya_ebpf::EbpfContext;
use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{bpf_get_socket_cookie, bpf_probe_read_kernel, bpf_sk_fullsock};
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::{Array, PerCpuArray};
use aya_ebpf::programs::BtfTracePointContext;
use core::ffi::c_void;
use probe_common::ParsedPacket;
use probe_common::TcpFlags;
use probe_common::reset::{Answer, KERNEL_REASONS, Place};

use crate::maps;

/// `SOCK_STREAM`.
const STREAM: u32 = 1;
/// Sockets that have just sent a RST: a place for each, chosen by its cookie, which another one may take.
const RESETTING: u32 = 1 << 10;

/// Where fields are in the kernel's structures; set by the loader.
#[unsafe(no_mangle)]
static RESET_PLACES: [u32; Place::COUNT] = [0; Place::COUNT];
/// The number of a [`ResetReason`](probe_common::ResetReason) for each of the kernel's reasons; set by the loader.
#[unsafe(no_mangle)]
static RESET_REASONS: [u8; KERNEL_REASONS] = [0; KERNEL_REASONS];

/// The RST that each processor is about to send in answer to a segment.
#[map]
static ANSWERS: PerCpuArray<Answer> = PerCpuArray::with_max_entries(1, 0);

/// The cookies of sockets whose RST has passed, and whose reason follows.
#[map]
static RESETTING_SOCKETS: Array<u64> = Array::with_max_entries(RESETTING, 0);

/// The kernel sends a RST: the socket, if there is one, the segment that is answered, if one is, and why.
#[btf_tracepoint(function = "tcp_send_reset")]
pub fn reset_sent(context: BtfTracePointContext) -> i32 {
    let reason = reason(context.arg::<u32>(2));
    // Read as a number: older verifiers take every pointer of a tracepoint for one that leads somewhere.
    let second = context.as_ptr().cast::<u8>().wrapping_add(size_of::<u64>());
    let Some(answered) = read::<u64>(second) else { return 0 };
    if answered == 0 {
        // SAFETY: the socket is the tracepoint's.
        let cookie = unsafe { bpf_get_socket_cookie(context.arg::<*mut c_void>(0)) };
        follow(cookie, reason);
    } else {
        await_answer(answered as usize as *const u8, reason);
    }
    0
}

/// Emits why a socket has sent the RST that has just passed.
#[inline(always)]
fn follow(cookie: u64, reason: u32) {
    let Some(place) = RESETTING_SOCKETS.get_ptr_mut(place_of(cookie)) else { return };
    // SAFETY: the look-up returns a valid value. Two processors that write it at once leave one of both.
    if cookie != 0 && unsafe { place.read_volatile() } == cookie {
        // SAFETY: as above.
        unsafe { place.write_volatile(0) };
        maps::emit_reset(cookie, reason);
    }
}

/// Keeps why the next RST of this processor is sent, which answers this segment.
#[inline(always)]
fn await_answer(answered: *const u8, reason: u32) {
    let Some(answer) = ANSWERS.get_ptr_mut(0) else { return };
    let head = read::<u64>(answered.wrapping_add(kernel_place(Place::Head)));
    let offset = read::<u16>(answered.wrapping_add(kernel_place(Place::TransportHeader)));
    if let (Some(head), Some(offset)) = (head, offset)
        && let Some([ports, _, ack]) =
            read::<[u32; 3]>((head as usize as *const u8).wrapping_add(offset.into()))
    {
        let ports = [(ports & 0xffff) as u16, (ports >> 16) as u16];
        // SAFETY: the look-up returns a valid value, this processor's own.
        unsafe { *answer = Answer { ports, ack, reason } };
    }
}

/// Notes in the packet of a RST why it is sent, or whose socket sends it.
///
/// # Safety
/// `skb` must be what the kernel passed to the program, and `packet` null or valid.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn explain_reset(skb: *mut __sk_buff, packet: *mut ParsedPacket) -> i32 {
    // SAFETY: see above.
    let Some(packet) = (unsafe { packet.as_mut() }) else { return 0 };
    let segment = packet.segment();
    let (source, destination) = (segment.source_port, segment.destination_port);
    let (seq, has_ack) = (segment.seq, segment.flags.has(TcpFlags::ACK));
    if let Some(answer) = ANSWERS.get_ptr_mut(0) {
        // SAFETY: the look-up returns a valid value, this processor's own.
        let answer = unsafe { &mut *answer };
        if answer.reason != 0 && answer.is(source, destination, seq, has_ack) {
            packet.set_reset(answer.reason);
            answer.reason = 0;
            return 0;
        }
    }
    // SAFETY: see above; the verifier follows each pointer.
    unsafe {
        let socket = (*skb).__bindgen_anon_2.sk;
        if socket.is_null() {
            return 0;
        }
        let socket = bpf_sk_fullsock(socket);
        if socket.is_null() || (*socket).type_ != STREAM || (*socket).dst_port != destination.to_be() {
            return 0;
        }
        // A closed socket has given its port back.
        let port = (*socket).src_port;
        if port != u32::from(source) && port != 0 {
            return 0;
        }
        let cookie = bpf_get_socket_cookie(skb.cast());
        packet.set_cookie(cookie);
        if let Some(place) = RESETTING_SOCKETS.get_ptr_mut(place_of(cookie)) {
            place.write_volatile(cookie);
        }
    }
    0
}

/// Cookies are counted up, in batches for each processor.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "a part of it is a place")]
const fn place_of(cookie: u64) -> u32 {
    cookie as u32 & (RESETTING - 1)
}

#[inline(always)]
fn kernel_place(place: Place) -> usize {
    // SAFETY: within the array. Volatile, or the compiler would take the number in the source for the one at run time.
    unsafe { core::ptr::read_volatile(&raw const RESET_PLACES[place as usize]) as usize }
}

/// The number of our own for the kernel's reason.
#[inline(always)]
fn reason(kernel: u32) -> u32 {
    let place = kernel as usize & (KERNEL_REASONS - 1);
    // SAFETY: as above.
    unsafe { core::ptr::read_volatile(&raw const RESET_REASONS[place]).into() }
}

#[inline(always)]
fn read<T: Copy + Default>(from: *const u8) -> Option<T> {
    let mut value = T::default();
    // SAFETY: the helper refuses what it cannot read, and the room is as long as what is read.
    let failed = unsafe {
        bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, from.cast::<c_void>())
    };
    (failed == 0).then_some(value)
}
