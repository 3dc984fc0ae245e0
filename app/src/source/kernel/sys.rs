//! The calls of bpf(2) that the library does not offer.

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

use nix::libc;

/// `BPF_OBJ_GET_INFO_BY_FD` (`linux/bpf.h`).
const OBJ_GET_INFO_BY_FD: libc::c_int = 15;
/// `BPF_MAP_LOOKUP_BATCH`.
const MAP_LOOKUP_BATCH: libc::c_int = 24;

/// `union bpf_attr`, as far as `BPF_OBJ_GET_INFO_BY_FD` takes it.
#[repr(C)]
struct InfoAttributes {
    fd: u32,
    length: u32,
    info: u64,
}

/// `struct bpf_link_info`, as far as a TCX link fills it.
#[repr(C)]
#[derive(Default)]
struct LinkInfo {
    kind: u32,
    id: u32,
    program_id: u32,
    reserved: u32,
    interface: u32,
    attach_type: u32,
}

/// The index of the interface that a TCX link is attached to; 0 when it was detached.
///
/// # Errors
/// When the kernel does not say.
pub(super) fn tcx_interface(link: BorrowedFd<'_>) -> io::Result<u32> {
    let mut info = LinkInfo::default();
    let mut attributes = InfoAttributes {
        fd: link.as_raw_fd().cast_unsigned(),
        length: u32::try_from(size_of::<LinkInfo>()).map_err(io::Error::other)?,
        info: (&raw mut info).addr() as u64,
    };
    // SAFETY: the kernel reads the attributes, which are words without padding, and writes at most `length` bytes to a
    // structure of integers that is as long.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, OBJ_GET_INFO_BY_FD, &raw mut attributes, size_of::<InfoAttributes>())
    };
    // The kernel wrote it, unseen by the compiler.
    let interface = std::hint::black_box(&info).interface;
    if result == 0 { Ok(interface) } else { Err(io::Error::last_os_error()) }
}

/// `union bpf_attr`, as far as `BPF_MAP_LOOKUP_BATCH` takes it.
#[repr(C)]
struct BatchAttributes {
    in_batch: u64,
    out_batch: u64,
    keys: u64,
    values: u64,
    count: u32,
    map: u32,
    element_flags: u64,
    flags: u64,
}

/// Reads the next elements of a map with 32-bit keys: from the start, or from the position that the last call returned.
/// Returns how many it read, and the position to continue at; `None` after the last.
///
/// # Errors
/// When the kernel refuses.
///
/// # Safety
/// `T` must be as large as a value of the map, and any bytes must be a value of it.
pub(super) unsafe fn lookup_batch<T>(
    map: BorrowedFd<'_>,
    position: Option<u32>,
    keys: &mut [u32],
    values: &mut [T],
) -> io::Result<(usize, Option<u32>)> {
    let most = keys.len().min(values.len());
    let mut next = 0_u32;
    let mut attributes = BatchAttributes {
        in_batch: position.as_ref().map_or(0, |position| std::ptr::from_ref(position).addr() as u64),
        out_batch: (&raw mut next).addr() as u64,
        keys: keys.as_mut_ptr().addr() as u64,
        values: values.as_mut_ptr().addr() as u64,
        count: u32::try_from(most).unwrap_or(u32::MAX),
        map: map.as_raw_fd().cast_unsigned(),
        element_flags: 0,
        flags: 0,
    };
    // SAFETY: the kernel reads and writes the attributes, which are words without padding, and writes at most `count` keys
    // and values to where there is room for as many.
    let result = unsafe {
        libc::syscall(libc::SYS_bpf, MAP_LOOKUP_BATCH, &raw mut attributes, size_of::<BatchAttributes>())
    };
    let read = (attributes.count as usize).min(most);
    if result == 0 {
        // The kernel wrote it, unseen by the compiler.
        return Ok((read, Some(std::hint::black_box(next))));
    }
    match io::Error::last_os_error() {
        error if error.raw_os_error() == Some(libc::ENOENT) => Ok((read, None)),
        error => Err(error),
    }
}
