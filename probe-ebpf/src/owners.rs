//! Whose sockets they are: which process connects, listens or closes, and which ones hold sockets.
//!
//! These programs are loaded apart from the classifiers, which do not need them. A socket is named by its cookie. The first
//! two use no structure of the kernel. The third does: the loader finds the places of its fields in the kernel's BTF.

use aya_ebpf::EbpfContext;
use aya_ebpf::helpers::bpf_get_current_comm;
use aya_ebpf::helpers::generated::{
    bpf_get_current_cgroup_id, bpf_get_current_pid_tgid, bpf_get_current_uid_gid, bpf_get_socket_cookie,
    bpf_probe_read_kernel, bpf_seq_write, bpf_sock_from_file,
};
use aya_ebpf::macros::{btf_tracepoint, cgroup_sock};
use aya_ebpf::programs::{BtfTracePointContext, SockContext};
use core::ffi::c_void;
use probe_common::OwnerAction;
use probe_common::holder::{Field, Fields, RawHolder};
use probe_common::record::Current;

use crate::failures;
use crate::maps::{self, Constant};

/// States of a socket (`include/net/tcp_states.h`).
const SYN_SENT: i32 = 2;
const CLOSE: i32 = 7;
const LISTEN: i32 = 10;
const TCP: u32 = 6;

/// Where fields are in the kernel's structures; set by the loader.
#[unsafe(no_mangle)]
static FIELDS: Constant<Fields> = Constant(Fields::UNKNOWN);

/// Whether processes are named, if not 0; set by the loader.
#[unsafe(no_mangle)]
static OWNERS: Constant<u32> = Constant(1);

#[inline(always)]
fn are_named() -> bool {
    OWNERS.get() != 0
}

/// Emits which process has a socket whose connect has not begun.
#[inline(always)]
pub(crate) fn name_closing(cookie: u64) {
    if are_named() {
        maps::emit_owner(&current(), OwnerAction::Connect, cookie, maps::now_ns());
    }
}

/// A socket is about to connect, or listens: the process that does it runs. The state changes before the SYN is sent.
#[btf_tracepoint(function = "inet_sock_set_state")]
pub fn socket_state(context: BtfTracePointContext) -> i32 {
    // The socket, its state, and its next state.
    let (socket, before, state) =
        (context.arg::<*mut c_void>(0), context.arg::<i32>(1), context.arg::<i32>(2));
    if before == SYN_SENT && state == CLOSE && failures::is_on() {
        // SAFETY: the socket is the tracepoint's.
        let cookie = unsafe { bpf_get_socket_cookie(socket) };
        failures::gave_up(socket, cookie);
        return 0;
    }
    let action = match state {
        SYN_SENT => OwnerAction::Connect,
        LISTEN => OwnerAction::Listen,
        _ => return 0,
    };
    // SAFETY: the socket is the tracepoint's.
    let cookie = unsafe { bpf_get_socket_cookie(socket) };
    let time_ns = maps::now_ns();
    if are_named() {
        maps::emit_owner(&current(), action, cookie, time_ns);
    }
    if state == SYN_SENT {
        maps::note_opened(cookie, time_ns);
        if failures::is_on() {
            failures::begun(cookie);
        }
    }
    0
}

/// The last descriptor of a socket is closed: the process that does it runs, also when it exits or is killed. The FIN is
/// sent after this. Who opened a connection stays its owner, so that nothing is emitted for it.
#[cgroup_sock(sock_release)]
pub fn socket_release(context: SockContext) -> i32 {
    // SAFETY: the kernel passes a valid socket for the run of the program.
    if unsafe { (*context.sock).protocol } == TCP {
        // SAFETY: as above.
        let cookie = unsafe { bpf_get_socket_cookie(context.as_ptr()) };
        if failures::is_on() {
            failures::closed(&context, cookie);
        }
        if are_named() && !maps::was_opened(cookie) {
            maps::emit_owner(&current(), OwnerAction::Close, cookie, maps::now_ns());
        }
    }
    1
}

#[inline(always)]
fn current() -> Current {
    // SAFETY: helpers without preconditions.
    let (process_thread, group_user) = unsafe { (bpf_get_current_pid_tgid(), bpf_get_current_uid_gid()) };
    // SAFETY: as above.
    let cgroup = unsafe { bpf_get_current_cgroup_id() };
    let name = bpf_get_current_comm().unwrap_or_default();
    // SAFETY: any bytes are a value of both.
    let name = unsafe { core::mem::transmute::<[u8; 16], [u64; 2]>(name) };
    Current { process_thread, group_user, cgroup, name }
}

/// `struct bpf_iter__task_file`: pointers, each in 64 bits.
#[repr(C)]
pub struct TaskFile {
    meta: *const *mut c_void,
    task: *const c_void,
    descriptor: u64,
    file: *mut c_void,
}

/// Writes which process holds which TCP socket, when somebody reads the iterator.
#[unsafe(no_mangle)]
#[unsafe(link_section = "iter/task_file")]
pub fn socket_holders(context: *mut TaskFile) -> i32 {
    // SAFETY: the kernel passes a valid context; the verifier follows each pointer.
    let holder = unsafe {
        let (task, file) = ((*context).task, (*context).file);
        if task.is_null() || file.is_null() { None } else { holder(task, file) }
    };
    if let Some(holder) = holder {
        // SAFETY: as above; the length is that of the structure.
        unsafe {
            let seq = *(*context).meta;
            bpf_seq_write(seq.cast(), (&raw const holder).cast(), size_of::<RawHolder>() as u32);
        }
    }
    0
}

/// What is known of a task's open file if it is a TCP socket.
#[inline(always)]
unsafe fn holder(task: *const c_void, file: *mut c_void) -> Option<RawHolder> {
    let fields = FIELDS.get();
    // SAFETY: the file is the iterator's.
    let socket = unsafe { bpf_sock_from_file(file.cast()) };
    if socket.is_null() {
        return None;
    }
    // SAFETY: the verifier knows where the field is, and what it points to.
    let sock = unsafe { *socket.cast::<u8>().add(fields.of(Field::Sock)).cast::<*mut c_void>() };
    if read::<u8>(sock, fields, Field::Protocol)? != TCP as u8 {
        return None;
    }
    let mut holder = RawHolder::ROOM;
    // SAFETY: the socket is one of the kernel's.
    holder.cookie = unsafe { bpf_get_socket_cookie(sock) };
    holder.process = read(task, fields, Field::Process)?;
    holder.local_port = read(sock, fields, Field::LocalPort)?;
    holder.remote_port = u16::from_be(read(sock, fields, Field::RemotePort)?);
    holder.state = read::<u8>(sock, fields, Field::State)?.into();
    holder.family = read::<u16>(sock, fields, Field::Family)?.into();
    holder.local_v4 = read(sock, fields, Field::LocalV4)?;
    holder.remote_v4 = read(sock, fields, Field::RemoteV4)?;
    holder.local_v6 = read(sock, fields, Field::LocalV6)?;
    holder.remote_v6 = read(sock, fields, Field::RemoteV6)?;
    Some(holder)
}

/// The value of a field of a structure of the kernel.
#[inline(always)]
fn read<T: Copy + Default>(structure: *const c_void, fields: Fields, field: Field) -> Option<T> {
    let mut value = T::default();
    // SAFETY: the helper refuses what it cannot read, and the room is as long as what is read.
    let failed = unsafe {
        let from = structure.cast::<u8>().wrapping_add(fields.of(field));
        bpf_probe_read_kernel((&raw mut value).cast(), size_of::<T>() as u32, from.cast())
    };
    (failed == 0).then_some(value)
}
