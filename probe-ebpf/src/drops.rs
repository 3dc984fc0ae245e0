//! Segments that the host itself drops, counted by the kernel's reason and by port: never a record for each, because a flood
//! drops as much as it sends.
//!
//! The program is loaded apart from the classifiers, which do not need it. It reads structures of the kernel: the loader finds
//! the places of its fields in the kernel's BTF.

use aya_ebpf::helpers::generated::bpf_probe_read_kernel;
use aya_ebpf::macros::{btf_tracepoint, map};
use aya_ebpf::maps::{PerCpuArray, PerCpuHashMap};
use aya_ebpf::programs::BtfTracePointContext;
use core::ffi::c_void;
use core::mem::MaybeUninit;
use probe_common::drops::{self, DropKey, PORTS, Place, REASONS, Special};
use probe_common::protocols::{IPV4, IPV6, TCP};

/// Where fields are in the kernel's structures; set by the loader. Each is read by itself: the verifier has to know it.
#[unsafe(no_mangle)]
static DROP_PLACES: [u32; Place::COUNT] = [0; Place::COUNT];
/// The numbers of reasons that are treated by themselves; set by the loader. 0 is no reason.
#[unsafe(no_mangle)]
static SPECIAL_REASONS: [u32; Special::COUNT] = [0; Special::COUNT];
/// The number of the network namespace that is watched; set by the loader.
#[unsafe(no_mangle)]
static NAMESPACE: u32 = 0;

/// How many segments were dropped, by reason.
#[map]
static DROPS: PerCpuArray<[u64; REASONS]> = PerCpuArray::with_max_entries(1, 0);

/// The same by reason and port, as far as there is room: by the words of [`DropKey`].
#[map]
static PORT_DROPS: PerCpuHashMap<u64, u64> = PerCpuHashMap::with_max_entries(PORTS, 0);

/// The same of those without a socket: a scan of closed ports takes nothing from the others' room.
#[map]
static NO_SOCKET_DROPS: PerCpuHashMap<u64, u64> = PerCpuHashMap::with_max_entries(PORTS, 0);

/// Where a fragment's offset is in an IPv4 header, without the flags: only the first fragment has a TCP header.
const FRAGMENT: [u8; 2] = [0x1f, 0xff];
/// Length of an IPv6 header.
const IPV6_LEN: usize = 40;

/// The kernel frees a packet that it does not deliver: the packet, from where, why, and the socket that was to get it.
#[btf_tracepoint(function = "kfree_skb")]
pub fn segment_dropped(context: BtfTracePointContext) -> i32 {
    let reason = context.arg::<u32>(2);
    // Most packets are freed for no reason that is one.
    let is_delivered = reason == number(Special::Capture) || reason == number(Special::Purge);
    if reason > drops::UNSPECIFIED && !is_delivered {
        let (packet, receiver) = (context.arg::<*const u8>(0), context.arg::<*const u8>(3));
        // SAFETY: both are the tracepoint's; the verifier follows each pointer.
        if let Some(key) = unsafe { key(packet, receiver, reason) } {
            count(key);
        }
    }
    0
}

#[inline(always)]
fn place(place: Place) -> usize {
    // SAFETY: within the array. Volatile, or the compiler would take the number in the source for the one at run time.
    unsafe { core::ptr::read_volatile(&raw const DROP_PLACES[place as usize]) as usize }
}

#[inline(always)]
fn number(reason: Special) -> u32 {
    // SAFETY: as in `place`.
    unsafe { core::ptr::read_volatile(&raw const SPECIAL_REASONS[reason as usize]) }
}

/// The key of a dropped packet that is a segment of this network namespace, and has come in.
#[inline(always)]
unsafe fn key(packet: *const u8, receiver: *const u8, reason: u32) -> Option<DropKey> {
    // SAFETY: the verifier knows the types of these fields; a pointer that leads nowhere reads as 0.
    let (protocol, network, head, came_in) = unsafe {
        (
            u16::from_be(*packet.add(place(Place::Protocol)).cast::<u16>()),
            usize::from(*packet.add(place(Place::NetworkHeader)).cast::<u16>()),
            *packet.add(place(Place::Head)).cast::<*const u8>(),
            *packet.add(place(Place::CameIn)).cast::<u32>(),
        )
    };
    if protocol != IPV4 && protocol != IPV6 || came_in == 0 && reason != number(Special::Backlog) {
        return None;
    }
    let header: [u8; 12] = read(head.wrapping_add(network))?;
    let (next, len) =
        if protocol == IPV4 { (header[9], usize::from(header[0] & 0xf) * 4) } else { (header[6], IPV6_LEN) };
    if protocol == IPV4 && (header[6] & FRAGMENT[0]) | (header[7] & FRAGMENT[1]) != 0 {
        return None;
    }
    // SAFETY: as above.
    if next != TCP || unsafe { namespace(packet, receiver) } != watched_namespace() {
        return None;
    }
    let tcp: [u8; 14] = read(head.wrapping_add(network).wrapping_add(len))?;
    let ports = u32::from_be_bytes([tcp[0], tcp[1], tcp[2], tcp[3]]);
    Some(DropKey::of(reason, ports, tcp[13]))
}

#[inline(always)]
fn watched_namespace() -> u32 {
    // SAFETY: as in `place`.
    unsafe { core::ptr::read_volatile(&raw const NAMESPACE) }
}

/// The network namespace that a packet is in, by a socket or by its interface; 0 if nothing says so. The socket that was to get it
/// comes first: where the packet's interface is, a queue of that socket has something else.
#[inline(always)]
unsafe fn namespace(packet: *const u8, receiver: *const u8) -> u32 {
    // SAFETY: as in `key`.
    unsafe {
        let device = *packet.add(place(Place::Device)).cast::<*const u8>();
        let net = if !receiver.is_null() {
            *receiver.add(place(Place::SocketNamespace)).cast::<*const u8>()
        } else if !device.is_null() {
            *device.add(place(Place::DeviceNamespace)).cast::<*const u8>()
        } else {
            let socket = *packet.add(place(Place::Socket)).cast::<*const u8>();
            if socket.is_null() {
                return 0;
            }
            *socket.add(place(Place::SocketNamespace)).cast::<*const u8>()
        };
        if net.is_null() {
            return 0;
        }
        // One constant, for the verifier.
        *net.add(place(Place::Namespace) + place(Place::NamespaceNumber)).cast::<u32>()
    }
}

#[inline(always)]
fn read<const N: usize>(from: *const u8) -> Option<[u8; N]> {
    let mut bytes = MaybeUninit::<[u8; N]>::uninit();
    // SAFETY: the helper refuses what it cannot read, and the room is as long as what is read.
    let failed = unsafe { bpf_probe_read_kernel(bytes.as_mut_ptr().cast(), N as u32, from.cast::<c_void>()) };
    // SAFETY: the helper writes all of it, zeros where it fails.
    (failed == 0).then_some(unsafe { bytes.assume_init() })
}

#[inline(always)]
fn count(key: DropKey) {
    if let Some(totals) = DROPS.get_ptr_mut(0) {
        // SAFETY: the look-up returns a valid value, this processor's own.
        if let Some(total) = unsafe { (*totals).get_mut(drops::total_of(key.reason)) } {
            *total += 1;
        }
    }
    if key.reason == number(Special::NoSocket) {
        count_port(&NO_SOCKET_DROPS, key.word());
    } else {
        count_port(&PORT_DROPS, key.word());
    }
}

#[inline(always)]
fn count_port(ports: &PerCpuHashMap<u64, u64>, word: u64) {
    match ports.get_ptr_mut(&word) {
        // SAFETY: the look-up returns a valid value, this processor's own.
        Some(count) => unsafe { *count += 1 },
        // Where there is no room, only the total has it.
        None => drop(ports.insert(&word, &1, 0)),
    }
}
