//! The one system call of BPF, as far as tests and benchmarks need it beside aya: programs made by hand, which share
//! nothing with the probe under test, and what the kernel measures of any program.

use std::ffi::c_int;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, FromRawFd, OwnedFd};

use nix::libc;

/// The kernel takes attributes of any length: what is not given is 0. Numbers from `linux/bpf.h`.
const MAP_CREATE: c_int = 0;
const MAP_LOOKUP: c_int = 1;
const MAP_UPDATE: c_int = 2;
const PROG_LOAD: c_int = 5;
const PROG_TEST_RUN: c_int = 10;
const PROG_GET_FD_BY_ID: c_int = 13;
const OBJ_GET_INFO_BY_FD: c_int = 15;
const PROG_QUERY: c_int = 16;
const LINK_CREATE: c_int = 28;
const LINK_GET_FD_BY_ID: c_int = 30;
const ENABLE_STATS: c_int = 32;
const LINK_DETACH: c_int = 34;
const ARRAY: u32 = 2;
const PROG_ARRAY: u32 = 3;
const SCHED_CLS: u32 = 3;
/// Last in the chain, when no other program is named.
const AFTER: u32 = 1 << 4;
/// Where the two counters lie in `struct bpf_prog_info`.
const RUN_TIME_NS: usize = 192;
const RUN_COUNT: usize = 200;

/// Where packets pass (`bpf_attach_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub enum Hook {
    /// On their way in.
    Ingress = 46,
    /// On their way out.
    Egress = 47,
}

/// One instruction (`struct bpf_insn`): operation, registers, offset, immediate.
#[must_use]
pub const fn instruction(operation: u8, to: u8, from: u8, offset: i16, immediate: i32) -> u64 {
    let [low, high] = offset.to_le_bytes();
    let [a, b, c, d] = immediate.to_le_bytes();
    u64::from_le_bytes([operation, from << 4 | to, low, high, a, b, c, d])
}

/// A classifier that does nothing but answer this.
#[must_use]
pub const fn answering(answer: i32) -> [u64; 2] {
    [instruction(0xb7, 0, 0, 0, answer), instruction(0x95, 0, 0, 0, 0)]
}

#[repr(C)]
struct MapAttributes {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

#[repr(C)]
struct ElementAttributes {
    map: u32,
    _padding: u32,
    key: u64,
    value: u64,
    flags: u64,
}

impl ElementAttributes {
    /// The only element of a map.
    fn of<T>(map: &OwnedFd, value: *const T) -> Self {
        static KEY: u32 = 0;
        Self { map: number(map), _padding: 0, key: address(&raw const KEY), value: address(value), flags: 0 }
    }
}

/// A map of one 64-bit number.
///
/// # Errors
/// Without privilege.
pub fn single_number() -> io::Result<OwnedFd> {
    let map = MapAttributes { map_type: ARRAY, key_size: 4, value_size: 8, max_entries: 1 };
    owned(bpf(MAP_CREATE, &mut { map }))
}

/// Reads the number of such a map.
///
/// # Errors
/// When it is another kind of map.
pub fn number_in(map: &OwnedFd) -> io::Result<u64> {
    let mut value = 0_u64;
    bpf(MAP_LOOKUP, &mut ElementAttributes::of(map, &raw mut value))?;
    // The kernel wrote it, unseen by the compiler.
    Ok(std::hint::black_box(value))
}

/// A map of one program, for others to go on with.
///
/// # Errors
/// Without privilege.
pub fn single_program(program: BorrowedFd<'_>) -> io::Result<OwnedFd> {
    let map = MapAttributes { map_type: PROG_ARRAY, key_size: 4, value_size: 4, max_entries: 1 };
    let map = owned(bpf(MAP_CREATE, &mut { map }))?;
    let program = program.as_raw_fd();
    bpf(MAP_UPDATE, &mut ElementAttributes::of(&map, &raw const program))?;
    Ok(map)
}

/// Whether there is a program at this place of a map of programs.
///
/// # Errors
/// When it is another kind of map, or has no such place.
pub fn has_program(map: impl AsFd, place: u32) -> io::Result<bool> {
    let (mut program, map) = (0_u32, map.as_fd().as_raw_fd().cast_unsigned());
    let (key, value) = (address(&raw const place), address(&raw mut program));
    match bpf(MAP_LOOKUP, &mut ElementAttributes { map, _padding: 0, key, value, flags: 0 }) {
        Ok(_) => Ok(true),
        Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(false),
        Err(error) => Err(error),
    }
}

/// A classifier that adds `step` to the 32 bits in network order at `offset` of the packet, and goes on with the
/// program in `next`. A test run shows it the same packet over and over, so each time a program behind it sees another.
#[must_use]
pub fn counting_up(offset: i16, step: i32, next: &OwnedFd) -> [u64; 18] {
    [
        instruction(0xbf, 6, 1, 0, 0),                          // r6 = the context
        instruction(0x61, 2, 1, 76, 0),                         // r2 = data
        instruction(0x61, 3, 1, 80, 0),                         // r3 = data_end
        instruction(0xbf, 4, 2, 0, 0),                          // r4 = data
        instruction(0x07, 4, 0, 0, i32::from(offset) + 4),      // r4 += end of the 32 bits
        instruction(0x2d, 4, 3, 5, 0),                          // beyond data_end: skip five
        instruction(0x61, 5, 2, offset, 0),                     // r5 = the 32 bits
        instruction(0xdc, 5, 0, 0, 32),                         // from network order
        instruction(0x07, 5, 0, 0, step),                       // r5 += step
        instruction(0xdc, 5, 0, 0, 32),                         // to network order
        instruction(0x63, 2, 5, offset, 0),                     // the 32 bits = r5
        instruction(0xbf, 1, 6, 0, 0),                          // r1 = the context
        instruction(0x18, 2, 1, 0, number(next).cast_signed()), // r2 = the map, in two words
        instruction(0, 0, 0, 0, 0),                             //
        instruction(0xb7, 3, 0, 0, 0),                          // r3 = its only element
        instruction(0x85, 0, 0, 0, 12),                         // bpf_tail_call(r1, r2, r3)
        instruction(0xb7, 0, 0, 0, -1),                         // r0 = pass, if it failed
        instruction(0x95, 0, 0, 0, 0),                          // return r0
    ]
}

/// Loads a classifier.
///
/// # Errors
/// Without privilege, or when the verifier refuses it.
pub fn load(instructions: &[u64]) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        program_type: u32,
        instruction_count: u32,
        instructions: u64,
        license: u64,
    }
    let instruction_count = u32::try_from(instructions.len()).map_err(io::Error::other)?;
    let (instructions, license) = (address(instructions.as_ptr()), address(c"MIT".as_ptr()));
    owned(bpf(
        PROG_LOAD,
        &mut Attributes { program_type: SCHED_CLS, instruction_count, instructions, license },
    ))
}

/// Attaches a classifier by TCX, behind the programs that are there, to an interface of the namespace that the calling
/// thread is in. It stays until what this gives is dropped.
///
/// # Errors
/// When there is no such interface, or the kernel has no TCX.
pub fn attach(program: &OwnedFd, interface: u32, hook: Hook) -> io::Result<OwnedFd> {
    #[repr(C)]
    struct Attributes {
        program: u32,
        interface: u32,
        attach_type: u32,
        flags: u32,
    }
    let attach_type = hook as u32;
    owned(bpf(
        LINK_CREATE,
        &mut Attributes { program: number(program), interface, attach_type, flags: AFTER },
    ))
}

/// The first classifier that is attached by TCX to an interface of the namespace that the calling thread is in, whoever
/// did it.
///
/// # Errors
/// When there is none, or no such interface.
pub fn first_attached(interface: u32, hook: Hook) -> io::Result<OwnedFd> {
    let (program, _) = first_at(interface, hook)?;
    owned(bpf(PROG_GET_FD_BY_ID, &mut { program }))
}

/// Detaches the first TCX link of such a hook, whoever made it and holds it.
///
/// # Errors
/// When there is none, or no such interface.
pub fn detach_first(interface: u32, hook: Hook) -> io::Result<()> {
    let (_, link) = first_at(interface, hook)?;
    let link = owned(bpf(LINK_GET_FD_BY_ID, &mut { link }))?;
    bpf(LINK_DETACH, &mut number(&link)).map(drop)
}

/// The identifiers of the first program of a hook and of its link.
fn first_at(interface: u32, hook: Hook) -> io::Result<(u32, u32)> {
    #[repr(C)]
    #[derive(Default)]
    struct Attributes {
        interface: u32,
        attach_type: u32,
        query_flags: u32,
        attach_flags: u32,
        programs: u64,
        count: u32,
        _padding: u32,
        program_flags: u64,
        links: u64,
    }
    let (mut programs, mut links) = ([0_u32; 8], [0_u32; 8]);
    let mut attributes = Attributes {
        interface,
        attach_type: hook as u32,
        count: 8,
        programs: address(&raw mut programs),
        links: address(&raw mut links),
        ..Attributes::default()
    };
    bpf(PROG_QUERY, &mut attributes)?;
    match (std::hint::black_box(programs)[0], std::hint::black_box(links)[0]) {
        (0, _) => Err(io::Error::new(io::ErrorKind::NotFound, "no program is attached")),
        first => Ok(first),
    }
}

/// Runs a classifier on a frame, so many times in a row, and gives how long one run took on average, in nanoseconds.
///
/// # Errors
/// When the frame is shorter than its headers, or the program no classifier.
pub fn test_run(program: BorrowedFd<'_>, frame: &[u8], repeat: u32) -> io::Result<u32> {
    #[repr(C)]
    struct Attributes {
        program: u32,
        answer: u32,
        frame_len: u32,
        out_len: u32,
        frame: u64,
        out: u64,
        repeat: u32,
        duration_ns: u32,
    }
    let mut attributes = Attributes {
        program: program.as_raw_fd().cast_unsigned(),
        answer: 0,
        frame_len: u32::try_from(frame.len()).map_err(io::Error::other)?,
        out_len: 0,
        frame: address(frame.as_ptr()),
        out: 0,
        repeat,
        duration_ns: 0,
    };
    bpf(PROG_TEST_RUN, &mut attributes)?;
    Ok(std::hint::black_box(attributes.duration_ns))
}

/// Makes the kernel measure every program, until what this gives is dropped.
///
/// # Errors
/// Without privilege.
pub fn measure_programs() -> io::Result<OwnedFd> {
    const RUN_TIME: u32 = 0;
    owned(bpf(ENABLE_STATS, &mut { RUN_TIME }))
}

/// What the kernel measured of a program: nanoseconds, and runs.
///
/// # Errors
/// When it is no program.
pub fn measured(program: BorrowedFd<'_>) -> io::Result<(u64, u64)> {
    #[repr(C)]
    struct Attributes {
        descriptor: u32,
        info_len: u32,
        info: u64,
    }
    let mut info = [0_u64; (RUN_COUNT + 8) / 8];
    let info_len = u32::try_from(size_of_val(&info)).map_err(io::Error::other)?;
    let descriptor = program.as_raw_fd().cast_unsigned();
    bpf(OBJ_GET_INFO_BY_FD, &mut Attributes { descriptor, info_len, info: address(&raw mut info) })?;
    let info = std::hint::black_box(info);
    Ok((info[RUN_TIME_NS / 8], info[RUN_COUNT / 8]))
}

/// Pointers inside the attributes must be to what the command reads or writes.
fn bpf<T>(command: c_int, attributes: &mut T) -> io::Result<c_int> {
    let size = size_of::<T>();
    // SAFETY: the kernel reads and writes `size` bytes of attributes, which are plain words without implicit padding;
    // what they point to lives in the callers above and has the size that the command takes.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_mut(attributes), size) };
    if result < 0 {
        Err(io::Error::last_os_error())
    } else {
        c_int::try_from(result).map_err(io::Error::other)
    }
}

fn owned(descriptor: io::Result<c_int>) -> io::Result<OwnedFd> {
    let descriptor = descriptor?;
    // SAFETY: these commands answer with a descriptor that nobody else has.
    Ok(unsafe { OwnedFd::from_raw_fd(descriptor) })
}

fn address<T: ?Sized>(pointer: *const T) -> u64 {
    pointer.addr() as u64
}

/// How attributes and instructions name what a descriptor stands for.
#[must_use]
pub fn number(descriptor: &OwnedFd) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}
