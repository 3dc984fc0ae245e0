//! Another program in a TCX chain: it counts packets and always returns the same verdict. It is ten instructions
//! written by hand, so that it shares nothing with the probe under test, not even the library that loads it.

use std::os::fd::OwnedFd;

use lab::Namespace;
use lab::bpf::{self, Hook, instruction};

/// Verdicts of such a program (`linux/bpf.h`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
pub(crate) enum Verdict {
    /// The next program runs.
    Next = -1,
    /// The packet passes; later programs do not run.
    Pass = 0,
}

/// A counting program at one hook of one interface, attached last in its chain. Dropping this detaches it.
#[derive(Debug)]
pub(crate) struct Tally {
    map: OwnedFd,
    _link: OwnedFd,
}

impl Tally {
    /// Attaches after the programs that are attached already.
    pub(crate) fn attach(namespace: &Namespace, interface: &str, hook: Hook, verdict: Verdict) -> Self {
        let index = namespace.link_index(interface).expect("the interface is there");
        let map = bpf::single_number().expect("root may");
        let program = bpf::load(&counting(bpf::number(&map), verdict)).expect("the verifier accepts it");
        let link = namespace.run(|| bpf::attach(&program, index, hook)).expect("the kernel has TCX");
        Self { map, _link: link }
    }

    /// Packets so far.
    pub(crate) fn count(&self) -> u64 {
        bpf::number_in(&self.map).expect("the array has one element")
    }
}

/// Adds one to the only element of the map, and returns the verdict.
fn counting(map: u32, verdict: Verdict) -> [u64; 11] {
    [
        instruction(0x62, 10, 0, -4, 0),               // key on the stack = 0
        instruction(0xbf, 2, 10, 0, 0),                // r2 = frame pointer
        instruction(0x07, 2, 0, 0, -4),                // r2 -= 4: the key
        instruction(0x18, 1, 1, 0, map.cast_signed()), // r1 = the map, in two words
        instruction(0, 0, 0, 0, 0),                    //
        instruction(0x85, 0, 0, 0, 1),                 // r0 = bpf_map_lookup_elem(r1, r2)
        instruction(0x15, 0, 0, 2, 0),                 // null: skip two
        instruction(0xb7, 1, 0, 0, 1),                 // r1 = 1
        instruction(0xdb, 0, 1, 0, 0),                 // *r0 += r1, atomically
        instruction(0xb7, 0, 0, 0, verdict as i32),    // r0 = the verdict
        instruction(0x95, 0, 0, 0, 0),                 // return r0
    ]
}
