//! The identity of a flow: both ends and the interface, whichever end sent first.

use crate::segment::{Endpoint, MAPPED, Segment, bytes};

/// Which end of a flow sent a segment. The ends are distinguished by their order (address, then port), so
/// that both directions of a connection have one key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Side {
    /// The end that is lower in the order, or equal to the other.
    Low = 0,
    /// The end that is higher.
    High = 1,
}

impl Side {
    /// The end at the other side.
    #[inline(always)]
    #[must_use]
    pub const fn other(self) -> Self {
        match self {
            Self::Low => Self::High,
            Self::High => Self::Low,
        }
    }

    /// The end with this number, of which only the last bit counts.
    #[inline(always)]
    #[must_use]
    pub const fn from_bit(number: u32) -> Self {
        if number & 1 == 0 { Self::Low } else { Self::High }
    }
}

/// What the key of a family can do: compared and hashed as whole words, because the kernel does it per packet.
pub trait Key: Copy + Eq + 'static {
    /// No flow has this key: its interface is 0.
    const NONE: Self;

    /// The key of the flow that `segment` belongs to at `interface`, which is not 0, and which end sent it.
    fn of(segment: &Segment, interface: u32) -> (Self, Side);

    /// Returns whether it is [`NONE`](Self::NONE).
    fn is_none(&self) -> bool;

    /// Returns whether both ends are one, a socket that is connected to itself. Then the order does not distinguish them.
    fn is_to_itself(&self) -> bool;

    /// Both ends, and the interface.
    fn ends(&self) -> Ends;

    /// A number whose upper half is spread evenly, however alike the keys are. `seed` keeps outsiders from
    /// choosing keys that meet.
    fn hash(&self, seed: u64) -> u64;
}

/// Key of an IPv4 flow: 16 bytes without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey4 {
    addresses: u64,
    ports_and_interface: u64,
}

/// Key of an IPv6 flow: 40 bytes without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey6 {
    low: [u64; 2],
    high: [u64; 2],
    ports_and_interface: u64,
}

const _: () = assert!(size_of::<FlowKey4>() == 16 && size_of::<FlowKey6>() == 40);

impl Key for FlowKey4 {
    const NONE: Self = Self { addresses: 0, ports_and_interface: 0 };

    #[inline(always)]
    fn of(segment: &Segment, interface: u32) -> (Self, Side) {
        let (from, to) = (segment.source_port, segment.destination_port);
        let (source, destination) = (last(segment.source), last(segment.destination));
        let ordered = (source << 16 | u64::from(from)) <= (destination << 16 | u64::from(to));
        let (addresses, ports, side) = if ordered {
            (source << 32 | destination, join(from, to), Side::Low)
        } else {
            (destination << 32 | source, join(to, from), Side::High)
        };
        (Self { addresses, ports_and_interface: ports << 32 | u64::from(interface) }, side)
    }

    #[inline(always)]
    fn is_none(&self) -> bool {
        self.ports_and_interface == 0
    }

    #[inline(always)]
    fn is_to_itself(&self) -> bool {
        self.addresses >> 32 == self.addresses & 0xffff_ffff && has_equal_ports(self.ports_and_interface)
    }

    #[inline(always)]
    fn ends(&self) -> Ends {
        let words = [self.addresses >> 32, self.addresses & 0xffff_ffff];
        ends([[0, MAPPED | words[0]], [0, MAPPED | words[1]]], self.ports_and_interface)
    }

    #[inline(always)]
    fn hash(&self, seed: u64) -> u64 {
        mix(mix(self.addresses ^ seed) ^ self.ports_and_interface)
    }
}

impl Key for FlowKey6 {
    const NONE: Self = Self { low: [0; 2], high: [0; 2], ports_and_interface: 0 };

    #[inline(always)]
    fn of(segment: &Segment, interface: u32) -> (Self, Side) {
        let (from, to) = (segment.source_port, segment.destination_port);
        let (source, destination) = (segment.source, segment.destination);
        let (low, high, ports, side) = if (source, from) <= (destination, to) {
            (source, destination, join(from, to), Side::Low)
        } else {
            (destination, source, join(to, from), Side::High)
        };
        (Self { low, high, ports_and_interface: ports << 32 | u64::from(interface) }, side)
    }

    #[inline(always)]
    fn is_none(&self) -> bool {
        self.ports_and_interface == 0
    }

    #[inline(always)]
    fn is_to_itself(&self) -> bool {
        self.low == self.high && has_equal_ports(self.ports_and_interface)
    }

    #[inline(always)]
    fn ends(&self) -> Ends {
        ends([self.low, self.high], self.ports_and_interface)
    }

    #[inline(always)]
    fn hash(&self, seed: u64) -> u64 {
        let [a, b] = self.low;
        let [c, d] = self.high;
        // The upper halves are mostly networks: alike for many flows, so one turn is enough for both.
        let networks = mix(a ^ c.rotate_left(32) ^ seed);
        mix(mix(mix(networks ^ b) ^ d) ^ self.ports_and_interface)
    }
}

/// One turn of multiplication and shift (the constant is that of Fibonacci hashing, 2^64 over the golden ratio).
#[inline(always)]
#[must_use]
pub const fn mix(word: u64) -> u64 {
    let product = word.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 32)
}

/// Both ends of a flow, the low one first: addresses and ports.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Ends {
    /// Addresses, IPv4 mapped.
    pub addresses: [[u64; 2]; 2],
    /// Ports.
    pub ports: [u16; 2],
    /// Index of the interface.
    pub interface: u32,
}

impl Ends {
    /// Both as endpoints, the low one first.
    #[must_use]
    pub fn endpoints(&self) -> [Endpoint; 2] {
        let [low, high] = self.addresses.map(bytes);
        [Endpoint { address: low, port: self.ports[0] }, Endpoint { address: high, port: self.ports[1] }]
    }
}

/// Ports and interface as they lie in a key.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "each part is as wide as its type")]
const fn ends(addresses: [[u64; 2]; 2], ports_and_interface: u64) -> Ends {
    let ports = [(ports_and_interface >> 48) as u16, (ports_and_interface >> 32) as u16];
    Ends { addresses, ports, interface: ports_and_interface as u32 }
}

#[inline(always)]
const fn has_equal_ports(ports_and_interface: u64) -> bool {
    ports_and_interface >> 48 == ports_and_interface >> 32 & 0xffff
}

#[inline(always)]
fn join(low: u16, high: u16) -> u64 {
    u64::from(low) << 16 | u64::from(high)
}

/// The last 32 bits of an address: all that distinguishes mapped IPv4 addresses.
#[inline(always)]
const fn last(address: [u64; 2]) -> u64 {
    address[1] & 0xffff_ffff
}
