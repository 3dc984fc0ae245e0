//! Connects that fail before any SYN has passed an interface: no packet says so.
//!
//! A socket that gives up is asked at the tracepoint of its states, which [`owners`](crate::owners) has a program at. Where there
//! is no route, the kernel says so before it changes the state: two programs of the control group note each connect, the change
//! of the state takes the note back, and what is left when the socket tries again or is closed has failed.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::generated::{bpf_get_netns_cookie, bpf_get_socket_cookie, bpf_probe_read_kernel};
use aya_ebpf::macros::{cgroup_sock_addr, map};
use aya_ebpf::maps::Array;
use aya_ebpf::programs::{SockAddrContext, SockContext};
use core::ffi::c_void;
use probe_common::FailureStage;
use probe_common::failure::{NO_PORT, Place};
use probe_common::record::FailedEnds;

use crate::maps::{self, Constant};

const TCP: u32 = 6;
const INET6: u16 = 10;

/// Where fields are in the kernel's structures; set by the loader.
#[unsafe(no_mangle)]
static FAILURE_PLACES: [u32; Place::COUNT] = [0; Place::COUNT];
/// The number of the network namespace whose connects are told, and its cookie (`SO_NETNS_COOKIE`); 0 for none. Set by the loader.
#[unsafe(no_mangle)]
static FAILURE_NAMESPACE: Constant<u32> = Constant(0);
/// See [`FAILURE_NAMESPACE`].
#[unsafe(no_mangle)]
static FAILURE_NAMESPACE_COOKIE: Constant<u64> = Constant(0);

/// A connect that has been asked for.
#[derive(Clone, Copy)]
#[repr(C)]
pub struct Connecting {
    /// The socket's cookie; 0 once the kernel has begun.
    cookie: u64,
    remote: [u64; 2],
    /// In network order.
    port: u64,
}

/// A place for each socket, chosen by its cookie, which another one may take.
const PLACES: u32 = 1 << 12;

#[map]
static CONNECTING: Array<Connecting> = Array::with_max_entries(PLACES, 0);

/// A process connects over IPv4.
#[cgroup_sock_addr(connect4)]
pub fn connect_v4(context: SockAddrContext) -> i32 {
    // SAFETY: the kernel passes a valid structure for the run of the program.
    let address = unsafe { (*context.sock_addr).user_ip4 };
    note(&context, mapped(address));
    1
}

/// A process connects over IPv6.
#[cgroup_sock_addr(connect6)]
pub fn connect_v6(context: SockAddrContext) -> i32 {
    // SAFETY: as above. Word by word, as the verifier has it.
    let words = unsafe {
        let address = &raw const (*context.sock_addr).user_ip6;
        [(*address)[0], (*address)[1], (*address)[2], (*address)[3]]
    };
    note(&context, [joined(words[0], words[1]), joined(words[2], words[3])]);
    1
}

/// Two words as they lie in memory.
#[inline(always)]
fn joined(first: u32, second: u32) -> u64 {
    u64::from(first) | u64::from(second) << 32
}

/// An IPv4 address as it lies in memory, mapped into IPv6 likewise.
#[inline(always)]
fn mapped(address: u32) -> [u64; 2] {
    [0, joined(0x0000_ffff_u32.to_be(), address)]
}

#[inline(always)]
fn note(context: &SockAddrContext, remote: [u64; 2]) {
    // SAFETY: the kernel passes a valid structure for the run of the program.
    let (protocol, port) = unsafe { ((*context.sock_addr).protocol, (*context.sock_addr).user_port) };
    if protocol != TCP {
        return;
    }
    // SAFETY: as above.
    let (cookie, namespace) =
        unsafe { (bpf_get_socket_cookie(context.as_ptr()), bpf_get_netns_cookie(context.as_ptr())) };
    if namespace != FAILURE_NAMESPACE_COOKIE.get() {
        return;
    }
    let Some(place) = place_of(cookie) else { return };
    tell(place, cookie);
    *place = Connecting { cookie, remote, port: port.into() };
}

/// The kernel has begun to connect a socket.
#[inline(always)]
pub(crate) fn begun(cookie: u64) {
    if let Some(place) = place_of(cookie)
        && place.cookie == cookie
    {
        place.cookie = 0;
    }
}

/// A socket is closed.
#[inline(always)]
pub(crate) fn closed(_: &SockContext, cookie: u64) {
    if let Some(place) = place_of(cookie) {
        tell(place, cookie);
    }
}

/// Emits that the last connect of this socket has not begun, if that is so.
#[inline(always)]
fn tell(place: &mut Connecting, cookie: u64) {
    if place.cookie != cookie || cookie == 0 {
        return;
    }
    place.cookie = 0;
    crate::owners::name_closing(cookie);
    let port = u16::from_be((place.port & 0xffff) as u16);
    let ends = FailedEnds { local: [0; 2], remote: place.remote, local_port: 0, remote_port: port };
    maps::emit_failure(cookie, 0, &ends, (0, FailureStage::Route), 0);
}

#[inline(always)]
fn place_of(cookie: u64) -> Option<&'static mut Connecting> {
    let place = CONNECTING.get_ptr_mut(cookie as u32 & (PLACES - 1))?;
    // SAFETY: the look-up returns a valid value. Two processors that write it at once leave words of both, and a cookie that
    // is nobody's, or whose end is that of the other one: that takes two connects at once, PLACES sockets apart.
    Some(unsafe { &mut *place })
}

/// A socket that was connecting is closed again, for whatever reason: it is told if no SYN of it has passed.
#[inline(always)]
pub(crate) fn gave_up(socket: *const c_void, cookie: u64) {
    let Some(began_ns) = maps::unsent_since(cookie) else { return };
    let Some(namespace) = read::<u64>(socket, Place::Namespace) else { return };
    let number = kernel_place(Place::NamespaceCommon) + kernel_place(Place::NamespaceNumber);
    if read_at::<u32>(namespace, number) != Some(FAILURE_NAMESPACE.get()) {
        return;
    }
    let Some(ends) = ends(socket) else { return };
    let said = read::<u32>(socket, Place::Error).unwrap_or(0);
    // Without a port it failed because it found none.
    let errno = if said == 0 && ends.local_port == 0 { NO_PORT } else { said };
    maps::emit_failure(cookie, interface(socket), &ends, (errno, FailureStage::Sending), began_ns);
}

/// The interface that the socket's route leaves by; 0 without one.
#[inline(always)]
fn interface(socket: *const c_void) -> u32 {
    let route = read::<u64>(socket, Place::Route).unwrap_or(0);
    if route == 0 {
        return 0;
    }
    let device = read_at::<u64>(route, kernel_place(Place::Device)).unwrap_or(0);
    if device == 0 {
        return 0;
    }
    read_at::<u32>(device, kernel_place(Place::Index)).unwrap_or(0)
}

#[inline(always)]
fn ends(socket: *const c_void) -> Option<FailedEnds> {
    let is_v6 = read::<u16>(socket, Place::Family)? == INET6;
    let [local, remote] = if is_v6 {
        [read::<[u64; 2]>(socket, Place::LocalV6)?, read::<[u64; 2]>(socket, Place::RemoteV6)?]
    } else {
        [mapped(read(socket, Place::LocalV4)?), mapped(read(socket, Place::RemoteV4)?)]
    };
    let local_port = u16::from_be(read(socket, Place::LocalPort)?);
    let remote_port = u16::from_be(read(socket, Place::RemotePort)?);
    Some(FailedEnds { local, remote, local_port, remote_port })
}

#[inline(always)]
fn kernel_place(place: Place) -> usize {
    // SAFETY: within the array. Volatile, or the compiler would take the number in the source for the one at run time.
    unsafe { core::ptr::read_volatile(&raw const FAILURE_PLACES[place as usize]) as usize }
}

/// Whether failures are told at all.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    FAILURE_NAMESPACE.get() != 0
}

#[inline(always)]
fn read<T: Copy + Default>(structure: *const c_void, place: Place) -> Option<T> {
    read_at(structure.addr() as u64, kernel_place(place))
}

#[inline(always)]
fn read_at<T: Copy + Default>(structure: u64, offset: usize) -> Option<T> {
    let mut value = T::default();
    let from = (structure as usize as *const u8).wrapping_add(offset);
    // SAFETY: the helper refuses what it cannot read, and the room is as long as what is read.
    let failed = unsafe {
        bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, from.cast::<c_void>())
    };
    (failed == 0).then_some(value)
}
