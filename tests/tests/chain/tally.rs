//! A program of our own in a TCX chain: it counts packets and answers always the same. Ten instructions by hand,
//! so that it shares nothing with the probe under test, not even the library that loads it.

use std::ffi::c_int;
use std::io;
use std::mem::size_of;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

use lab::Namespace;
use nix::libc;

/// What such a program can answer (`linux/bpf.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Verdict {
    /// The next program is asked.
    Next = -1,
    /// The packet passes; programs behind are not asked.
    Pass = 0,
}

/// Where packets pass (`bpf_attach_type`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
pub(crate) enum Hook {
    Ingress = 46,
    Egress = 47,
}

/// The kernel takes attributes of any length: what is not given is 0. Numbers from `linux/bpf.h`.
const MAP_CREATE: c_int = 0;
const MAP_LOOKUP: c_int = 1;
const PROG_LOAD: c_int = 5;
const LINK_CREATE: c_int = 28;
const ARRAY: u32 = 2;
const SCHED_CLS: u32 = 3;
/// Last in the chain, when no other program is named.
const AFTER: u32 = 1 << 4;

#[repr(C)]
struct MapAttributes {
    map_type: u32,
    key_size: u32,
    value_size: u32,
    max_entries: u32,
}

#[repr(C)]
struct LookupAttributes {
    map: u32,
    _padding: u32,
    key: u64,
    value: u64,
}

#[repr(C)]
struct ProgramAttributes {
    program_type: u32,
    instruction_count: u32,
    instructions: u64,
    license: u64,
}

#[repr(C)]
struct LinkAttributes {
    program: u32,
    interface: u32,
    attach_type: u32,
    flags: u32,
}

/// A counting program at one hook of one interface, last in its chain at the time. It goes away with this.
#[derive(Debug)]
pub(crate) struct Tally {
    map: OwnedFd,
    _link: OwnedFd,
}

impl Tally {
    /// Attaches behind the programs that are there.
    pub(crate) fn attach(namespace: &Namespace, interface: &str, hook: Hook, verdict: Verdict) -> Self {
        let index = namespace.link_index(interface).expect("the interface is there");
        let map = MapAttributes { map_type: ARRAY, key_size: 4, value_size: 8, max_entries: 1 };
        let map = owned(bpf(MAP_CREATE, &map));
        let instructions = counting(number(&map), verdict);
        let program = ProgramAttributes {
            program_type: SCHED_CLS,
            instruction_count: u32::try_from(instructions.len()).expect("a few"),
            instructions: instructions.as_ptr().addr() as u64,
            license: c"MIT".as_ptr().addr() as u64,
        };
        let program = owned(bpf(PROG_LOAD, &program));
        let link = LinkAttributes {
            program: number(&program),
            interface: index,
            attach_type: hook as u32,
            flags: AFTER,
        };
        let link = namespace.run(|| owned(bpf(LINK_CREATE, &link)));
        Self { map, _link: link }
    }

    /// Packets so far.
    pub(crate) fn count(&self) -> u64 {
        let (key, mut count) = (0_u32, 0_u64);
        let lookup = LookupAttributes {
            map: number(&self.map),
            _padding: 0,
            key: (&raw const key).addr() as u64,
            value: (&raw mut count).addr() as u64,
        };
        bpf(MAP_LOOKUP, &lookup).expect("the array has one element");
        // The kernel wrote it, unseen by the compiler.
        std::hint::black_box(count)
    }
}

/// Adds one to the only element of the map, and answers.
fn counting(map: u32, verdict: Verdict) -> [u64; 11] {
    /// `struct bpf_insn`: operation, registers, offset, immediate.
    const fn instruction(operation: u8, to: u8, from: u8, offset: i16, immediate: i32) -> u64 {
        let [low, high] = offset.to_le_bytes();
        let [a, b, c, d] = immediate.to_le_bytes();
        u64::from_le_bytes([operation, from << 4 | to, low, high, a, b, c, d])
    }
    [
        instruction(0x62, 10, 0, -4, 0),               // key on the stack = 0
        instruction(0xbf, 2, 10, 0, 0),                // r2 = frame pointer
        instruction(0x07, 2, 0, 0, -4),                // r2 -= 4: the key
        instruction(0x18, 1, 1, 0, map.cast_signed()), // r1 = the map, in two words
        instruction(0, 0, 0, 0, 0),                    //
        instruction(0x85, 0, 0, 0, 1),                 // r0 = bpf_map_lookup_elem(r1, r2)
        instruction(0x15, 0, 0, 2, 0),                 // nothing there: skip two
        instruction(0xb7, 1, 0, 0, 1),                 // r1 = 1
        instruction(0xdb, 0, 1, 0, 0),                 // *r0 += r1, atomically
        instruction(0xb7, 0, 0, 0, verdict as i32),    // r0 = the answer
        instruction(0x95, 0, 0, 0, 0),                 // return r0
    ]
}

/// The one system call. Pointers inside the attributes must be to what the command reads or writes.
fn bpf<T>(command: c_int, attributes: &T) -> io::Result<c_int> {
    let size = size_of::<T>();
    // SAFETY: the kernel reads `size` bytes of attributes, which are plain words without implicit padding; what
    // they point to lives in the callers above and has the size that the command takes.
    let result = unsafe { libc::syscall(libc::SYS_bpf, command, std::ptr::from_ref(attributes), size) };
    if result < 0 { Err(io::Error::last_os_error()) } else { Ok(c_int::try_from(result).expect("an int")) }
}

fn owned(descriptor: io::Result<c_int>) -> OwnedFd {
    let descriptor = descriptor.expect("root may, and the kernel has TCX");
    // SAFETY: these commands answer with a descriptor that nobody else has.
    unsafe { OwnedFd::from_raw_fd(descriptor) }
}

fn number(descriptor: &OwnedFd) -> u32 {
    descriptor.as_raw_fd().cast_unsigned()
}
