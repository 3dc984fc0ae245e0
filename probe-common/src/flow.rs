//! A flow as the probe knows it: its key, its state, and the store that keeps the two together.

use crate::segment::{Family, Segment};

/// Which end of a flow sent a segment. The ends are told apart by their order (address, then port), so
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
}

/// Key of an IPv4 flow: 16 bytes without padding, because the kernel hashes and compares it per packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey4 {
    low: u32,
    high: u32,
    ports: u32,
    interface: u32,
}

/// Key of an IPv6 flow: 40 bytes without padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(C)]
pub struct FlowKey6 {
    low: [u64; 2],
    high: [u64; 2],
    ports: u32,
    interface: u32,
}

const _: () = assert!(size_of::<FlowKey4>() == 16 && size_of::<FlowKey6>() == 40);

/// Key of a flow at one interface. The same packet seen at two interfaces belongs to two flows.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FlowKey {
    /// IPv4.
    V4(FlowKey4),
    /// IPv6.
    V6(FlowKey6),
}

impl FlowKey {
    /// The key of the flow that `segment` belongs to at `interface`, and which end sent it.
    #[inline(always)]
    #[must_use]
    pub fn of(segment: &Segment, interface: u32) -> (Self, Side) {
        let (source, destination) = (&segment.source, &segment.destination);
        let (from, to) = (source.port, destination.port);
        let (source, destination) = (words(source.address), words(destination.address));
        // A mapped IPv4 address differs in its last 32 bits only.
        let ordered = (source, from) <= (destination, to);
        let (low, high, ports, side) = if ordered {
            (source, destination, join(from, to), Side::Low)
        } else {
            (destination, source, join(to, from), Side::High)
        };
        let key = match segment.family {
            Family::V4 => Self::V4(FlowKey4 { low: last(low), high: last(high), ports, interface }),
            Family::V6 => Self::V6(FlowKey6 { low, high, ports, interface }),
        };
        (key, side)
    }
}

impl FlowKey {
    /// Are both ends one, a socket that is connected to itself? Then the order tells no sides apart.
    #[inline(always)]
    #[must_use]
    pub fn is_to_itself(&self) -> bool {
        let (same_address, ports) = match self {
            Self::V4(key) => (key.low == key.high, key.ports),
            Self::V6(key) => (key.low == key.high, key.ports),
        };
        same_address && ports >> 16 == ports & 0xffff
    }
}

#[inline(always)]
fn join(low: u16, high: u16) -> u32 {
    u32::from(low) << 16 | u32::from(high)
}

/// The last 32 bits of an address: all that tells mapped IPv4 addresses apart.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "that is what it is for")]
fn last(words: [u64; 2]) -> u32 {
    words[1] as u32
}

#[inline(always)]
fn words(address: [u8; 16]) -> [u64; 2] {
    let [a, b, c, d, e, f, g, h, i, j, k, l, m, n, o, p] = address;
    [u64::from_be_bytes([a, b, c, d, e, f, g, h]), u64::from_be_bytes([i, j, k, l, m, n, o, p])]
}

/// How far the handshake of a flow has come. An integer in the kernel's map, hence not an enum.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Phase(u32);

impl Phase {
    /// A SYN was seen, no answer yet.
    pub const OPENING: Self = Self(1);
    /// A SYN-ACK was seen; the next ACK of the opener that fits it completes the handshake.
    pub const ANSWERED: Self = Self(2);
    /// SYN-ACKs with different sequence numbers were seen; the next ACK of the opener completes the handshake,
    /// whichever of them it took.
    pub const ANSWERED_TWICE: Self = Self(3);
}

/// One direction of a flow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Half {
    /// The sequence number that follows the SYN of this end, once it is known.
    pub next_seq: u32,
}

/// What the probe remembers of a flow between packets. Lies in a kernel map: integers, no padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FlowState {
    /// How far the handshake has come.
    pub phase: Phase,
    /// Index into `halves` of the end that sent the SYN.
    pub opener: u32,
    /// Both directions, by [`Side`].
    pub halves: [Half; 2],
}

const _: () = assert!(size_of::<FlowState>() == 16, "a padding byte would be uninitialised in the map");

/// Where flow states are kept: a map in the kernel, a hash map on the host.
pub trait FlowStates {
    /// The state of a flow, to be edited in place, or `None` when the flow is not known.
    fn get(&mut self, key: &FlowKey) -> Option<&mut FlowState>;
    /// Begins to remember a flow, or starts it anew. Counts what it cannot keep.
    fn insert(&mut self, key: &FlowKey, state: FlowState);
    /// Forgets a flow of which nothing is left to wait for, so that its place is free for another.
    fn remove(&mut self, key: &FlowKey);
}
