//! What is read of packets that the fast path leaves: from a copy of their headers, by global functions, each of which the
//! verifier checks once, for any arguments. What they have read waits in a map, because the stacks of those that are active
//! together must not be too large.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use probe_common::PassedOver;
use probe_common::encapsulation::{self, Layer, locate};
use probe_common::{
    Counter, Direction, Family, Hook, LinkLayer, ParsedIcmp, ParsedPacket, Unparsed, options,
};

use crate::maps;
use crate::packet::{Headers, Packet};

/// What was read.
#[derive(Clone, Copy, PartialEq, Eq)]
#[repr(transparent)]
pub(crate) struct Read(i32);

impl Read {
    /// What a function returned.
    #[inline(always)]
    pub(crate) const fn of(word: i32) -> Self {
        Self(word)
    }

    /// Nothing, or it was counted.
    pub(crate) const NOTHING: Self = Self(0);
    /// Nothing yet: more of the packet has to be copied.
    const MORE: Self = Self(1);
    /// No TCP, unless something carries it that was not looked into.
    pub(crate) const OTHER: Self = Self(2);
    /// ICMP, which may be an error about TCP.
    pub(crate) const ICMP: Self = Self(3);
    /// An error about TCP.
    pub(crate) const ICMP_ERROR: Self = Self(4);
    /// A segment.
    pub(crate) const V4: Self = Self(5);
    /// A segment.
    pub(crate) const V6: Self = Self(6);
}

/// Where a packet passes, as a word: the direction's number, and the link layer's in the upper half.
#[inline(always)]
pub(crate) const fn hook_word(direction: Direction, link: LinkLayer) -> u32 {
    (link as u32) << 16 | direction as u32
}

#[inline(always)]
fn hook(word: u32, headers: &Headers) -> Hook {
    let direction = match word & 0xffff {
        0 => Direction::Ingress,
        1 => Direction::Egress,
        _ => Direction::Local,
    };
    Hook { interface: headers.interface(), direction, link: link(word) }
}

#[inline(always)]
const fn link(word: u32) -> LinkLayer {
    if word >> 16 == LinkLayer::Ethernet as u32 { LinkLayer::Ethernet } else { LinkLayer::None }
}

/// The segment of a packet.
///
/// # Safety
/// `skb` must be what the kernel passed to the program.
#[inline(always)]
pub(crate) unsafe fn segment(skb: *mut __sk_buff, packet: &Packet<'_>, hook: u32) -> Read {
    let Some(headers) = maps::headers() else { return Read::NOTHING };
    if !headers.copy_few(packet) {
        return count(Unparsed::Truncated);
    }
    match Read(read_segment(hook)) {
        // SAFETY: as above.
        Read::MORE if unsafe { copy_many(skb) } != 0 => Read(read_segment(hook)),
        // SAFETY: as above.
        Read::OTHER | Read::ICMP if unsafe { copy_many(skb) } == 0 => Read::NOTHING,
        read => read,
    }
}

/// Copies all that is looked at. Returns 0 when the kernel refuses.
///
/// # Safety
/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn copy_many(skb: *mut __sk_buff) -> i32 {
    let context = TcContext::new(skb);
    let is_copied = maps::headers().is_some_and(|headers| headers.copy_many(&Packet::new(&context)));
    i32::from(is_copied)
}

/// Reads a segment.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn read_segment(hook_word: u32) -> i32 {
    let Some(headers) = maps::headers() else { return Read::NOTHING.0 };
    match ParsedPacket::read(headers, headers.size(), &hook(hook_word, headers)) {
        Err(Unparsed::Truncated) if headers.has_more() => Read::MORE,
        read => keep(read),
    }
    .0
}

/// Reads a packet within a packet.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn read_inner(hook_word: u32) -> i32 {
    let Some(headers) = maps::headers() else { return Read::NOTHING.0 };
    let read = match locate(headers, first(hook_word), true) {
        Ok(inner) => ParsedPacket::read_inner(headers, inner, headers.size(), &hook(hook_word, headers)),
        Err(PassedOver::Truncated) => Err(Unparsed::Truncated),
        Err(PassedOver::IcmpError) => Err(Unparsed::IcmpTunnel),
        Err(_) => Err(Unparsed::NotTcp),
    };
    keep(read).0
}

#[inline(always)]
const fn first(hook_word: u32) -> Layer {
    match link(hook_word) {
        LinkLayer::Ethernet => Layer::Ethernet,
        LinkLayer::None => Layer::Ip,
    }
}

/// Counts a packet that holds no TCP, by what it is on the outside: to name what a tunnel carries is more than the verifier
/// bears.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn pass_over(hook_word: u32) -> i32 {
    let Some(headers) = maps::headers() else { return 0 };
    // TCP is behind more tags than the programs read.
    let what = locate(headers, first(hook_word), false).err().unwrap_or(PassedOver::TAGS);
    maps::pass_over(what.word());
    0
}

/// Reads an ICMP error.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn read_icmp(hook_word: u32) -> i32 {
    let Some(headers) = maps::headers() else { return Read::NOTHING.0 };
    match ParsedIcmp::read(headers, headers.size(), &hook(hook_word, headers)) {
        Ok(icmp) => {
            let Some(room) = maps::icmp_room() else { return Read::NOTHING.0 };
            *room = icmp;
            Read::ICMP_ERROR.0
        }
        Err(Unparsed::NotTcp) => Read::OTHER.0,
        Err(unparsed) => count(unparsed).0,
    }
}

#[inline(always)]
fn keep(read: Result<ParsedPacket, Unparsed>) -> Read {
    match read {
        Ok(packet) => {
            let Some(room) = maps::packet_room() else { return Read::NOTHING };
            *room = packet;
            match packet.family() {
                Family::V4 => Read::V4,
                Family::V6 => Read::V6,
            }
        }
        Err(Unparsed::NotTcp) => Read::OTHER,
        Err(Unparsed::Icmp) => Read::ICMP,
        Err(unparsed) => count(unparsed),
    }
}

#[inline(always)]
fn count(unparsed: Unparsed) -> Read {
    maps::count(Counter::Unparsed(unparsed));
    Read::NOTHING
}

/// See [`options::find_timestamps`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_timestamps(start: u32, len: u32) -> u32 {
    maps::headers().map_or(0, |headers| options::find_timestamps(headers, start & 0x3fff, len & 0x3f))
}

/// See [`encapsulation::find_network`].
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn find_network(first: u32, start: u32, outer: u32) -> u64 {
    maps::headers().map_or(0, |headers| encapsulation::find_network(headers, first, start, outer))
}
