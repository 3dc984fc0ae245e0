//! The kernel programs: load bytes, call `probe-common`, touch maps, submit records, count what is missed.
//!
//! One classifier, instantiated for each kind of hook. Whatever it finds, it answers `TCX_NEXT`: the
//! packet and the programs behind in the chain never notice.
#![no_std]
#![no_main]
// Loads of whole words, see `packet.rs`.
#![feature(asm_experimental_arch)]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "the macro makes an undocumented public function of each program"
)]

mod drops;
mod maps;
mod owners;
mod packet;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::bindings::tcx_action_base::TCX_NEXT;
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use probe_common::encapsulation::{Layer, PassedOver, locate};
use probe_common::key::{FlowKey4, FlowKey6};
use probe_common::passed_over;
use probe_common::process::{fast_path, process_parsed};
use probe_common::{
    Counter, Direction, Environment, Family, FindTimestamps, Hook, LinkLayer, ParsedIcmp, ParsedPacket,
    Progress, Size, Unparsed, process_icmp,
};

use crate::maps::{Flows, KernelClock, Ring};

use crate::packet::{Copied, Packet};

/// The kernel lends some of its functions, `bpf_ktime_get_ns` among them, to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// EtherType of a VLAN tag (IEEE 802.1Q).
const VLAN: u16 = 0x8100;
const INGRESS: u32 = Direction::Ingress as u32;
const EGRESS: u32 = Direction::Egress as u32;
const LOCAL: u32 = Direction::Local as u32;
const ETHERNET: u32 = LinkLayer::Ethernet as u32;
const BARE: u32 = LinkLayer::None as u32;

/// Packets coming in through an interface with an Ethernet header.
#[classifier]
pub fn ethernet_ingress(context: TcContext) -> i32 {
    classify::<INGRESS, ETHERNET>(&context)
}

/// Packets going out through an interface with an Ethernet header.
#[classifier]
pub fn ethernet_egress(context: TcContext) -> i32 {
    classify::<EGRESS, ETHERNET>(&context)
}

/// Packets coming in through an interface without a link header.
#[classifier]
pub fn bare_ingress(context: TcContext) -> i32 {
    classify::<INGRESS, BARE>(&context)
}

/// Packets going out through an interface without a link header.
#[classifier]
pub fn bare_egress(context: TcContext) -> i32 {
    classify::<EGRESS, BARE>(&context)
}

/// Packets on loopback. It shows each of them twice, so only one of its hooks is used.
#[classifier]
pub fn loopback(context: TcContext) -> i32 {
    classify::<LOCAL, ETHERNET>(&context)
}

/// Whatever the packet is, it passes. The fast path deals with nearly every packet. For the rest there are functions, each
/// of which the verifier checks separately, once, for any arguments; the stacks of those that are active together must not
/// be too large, so what was read of the packet waits in a map.
#[inline(always)]
fn classify<const DIRECTION: u32, const LINK: u32>(context: &TcContext) -> i32 {
    let packet = Packet::new(context);
    let hook = hook(&packet, DIRECTION, LINK);
    let progress = fast_path(&packet, packet.size(), &hook, &mut Flows, &KernelClock);
    let skb = context.skb.skb;
    match progress {
        Progress::Done => return TCX_NEXT,
        Progress::NotTcp if !maps::decap() => {
            match passed_over::usual(&packet, hook.link) {
                Some(what) => maps::pass_over(passed_over::word(what)),
                // SAFETY: the context is the one that the kernel passed.
                None => _ = unsafe { pass_over(skb, LINK) },
            }
            return TCX_NEXT;
        }
        Progress::NotTcp | Progress::Icmp | Progress::Unusual => {}
    }
    // SAFETY: the context is the one that the kernel passed, and room is valid whatever the functions make of it.
    unsafe {
        let mut read = if progress == Progress::Icmp { READ_ICMP } else { READ_OTHER };
        if progress == Progress::Unusual {
            read = read_in_place(skb, DIRECTION, LINK);
            if read == READ_AGAIN {
                read = read_copied(skb, DIRECTION, LINK);
            }
        }
        if read == READ_ICMP {
            read = read_icmp(skb, DIRECTION, LINK);
            if read == READ_AGAIN {
                read = read_icmp_copied(skb, DIRECTION, LINK);
            }
            if read == READ_ICMP {
                passes_icmp();
                return TCX_NEXT;
            }
            if read == READ_OTHER && !maps::decap() {
                pass_over(skb, LINK);
                return TCX_NEXT;
            }
        }
        if read == READ_OTHER && maps::decap() {
            read = read_inner(skb, DIRECTION, LINK);
            if read == READ_AGAIN {
                read = read_inner_copied(skb, DIRECTION, LINK);
            }
        }
        if read == READ_OTHER {
            pass_over(skb, LINK);
        }
        let Some(packet) = maps::packet_room().filter(|_| read >= READ_V4) else { return TCX_NEXT };
        if packet.is_of_socket() {
            packet.set_cookie(bpf_get_socket_cookie(skb.cast()));
        }
        match read {
            READ_V4 => passes_v4(packet),
            _ => passes_v6(packet),
        };
    }
    TCX_NEXT
}

#[inline(always)]
fn hook(packet: &Packet<'_>, direction: u32, link: u32) -> Hook {
    let link = if link == ETHERNET { LinkLayer::Ethernet } else { LinkLayer::None };
    let direction = match direction {
        INGRESS => Direction::Ingress,
        EGRESS => Direction::Egress,
        _ => Direction::Local,
    };
    Hook { interface: packet.interface(), direction, link }
}

/// Result of reading a packet: nothing, or what was counted.
const READ_NOTHING: i32 = 0;
/// Nothing yet: there are bytes outside the linear area.
const READ_AGAIN: i32 = 1;
/// No TCP, unless something carries it that was not looked into.
const READ_OTHER: i32 = 2;
/// ICMP, at first; later an error about TCP.
const READ_ICMP: i32 = 3;
/// A segment.
const READ_V4: i32 = 4;
const READ_V6: i32 = 6;

/// Reads a packet where its headers lie.
///
/// # Safety
/// `skb` must be what the kernel passed to the program.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn read_in_place(skb: *mut __sk_buff, direction: u32, link: u32) -> i32 {
    let context = TcContext::new(skb);
    let packet = Packet::new(&context);
    let hook = hook(&packet, direction, link);
    match ParsedPacket::read(&packet, packet.size(), &hook) {
        Err(Unparsed::Truncated) if packet.has_more() => READ_AGAIN,
        read => keep(read),
    }
}

/// The same from a copy of the headers: they lie outside the linear area.
///
/// # Safety
/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn read_copied(skb: *mut __sk_buff, direction: u32, link: u32) -> i32 {
    let context = TcContext::new(skb);
    let packet = Packet::new(&context);
    let hook = hook(&packet, direction, link);
    match maps::header_room().and_then(|room| Copied::new(&packet, room)) {
        Some(copied) => keep(ParsedPacket::read(&copied, packet.size(), &hook)),
        None => keep(Err(Unparsed::Truncated)),
    }
}

/// Reads a packet within a packet where its headers lie.
///
/// # Safety
/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn read_inner(skb: *mut __sk_buff, direction: u32, link: u32) -> i32 {
    let context = TcContext::new(skb);
    let packet = Packet::new(&context);
    match inner(&packet, packet.size(), &hook(&packet, direction, link)) {
        // What it carries may show in what follows.
        Err(Unparsed::Truncated | Unparsed::NotTcp) if packet.has_more() => READ_AGAIN,
        read => keep(read),
    }
}

/// The same from a copy of the headers.
///
/// # Safety
/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn read_inner_copied(skb: *mut __sk_buff, direction: u32, link: u32) -> i32 {
    let context = TcContext::new(skb);
    let packet = Packet::new(&context);
    match maps::header_room().and_then(|room| Copied::new(&packet, room)) {
        Some(copied) => keep(inner(&copied, packet.size(), &hook(&packet, direction, link))),
        None => keep(Err(Unparsed::Truncated)),
    }
}

/// Counts a packet that holds no TCP, by what it is on the outside: to name what a tunnel carries is more than the verifier
/// bears.
///
/// # Safety
/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn pass_over(skb: *mut __sk_buff, link: u32) -> i32 {
    let context = TcContext::new(skb);
    let packet = Packet::new(&context);
    let first = if link == ETHERNET { Layer::Ethernet } else { Layer::Ip };
    // TCP is behind more tags than the programs read.
    let what = locate(&packet, first, false).err().unwrap_or(PassedOver::EtherType(VLAN));
    maps::pass_over(passed_over::word(what));
    0
}

#[inline(always)]
fn inner<P: FindTimestamps>(packet: &P, size: Size, hook: &Hook) -> Result<ParsedPacket, Unparsed> {
    let first = match hook.link {
        LinkLayer::Ethernet => Layer::Ethernet,
        LinkLayer::None => Layer::Ip,
    };
    match locate(packet, first, true) {
        Ok(inner) => ParsedPacket::read_inner(packet, inner, size, hook),
        Err(PassedOver::Truncated) => Err(Unparsed::Truncated),
        Err(PassedOver::IcmpError) => Err(Unparsed::IcmpTunnel),
        Err(_) => Err(Unparsed::NotTcp),
    }
}

#[inline(always)]
fn keep(read: Result<ParsedPacket, Unparsed>) -> i32 {
    match read {
        Ok(packet) => {
            let Some(room) = maps::packet_room() else { return READ_NOTHING };
            *room = packet;
            match packet.family() {
                Family::V4 => READ_V4,
                Family::V6 => READ_V6,
            }
        }
        Err(Unparsed::NotTcp) => READ_OTHER,
        Err(Unparsed::Icmp) => READ_ICMP,
        Err(unparsed) => {
            maps::count(Counter::Unparsed(unparsed));
            READ_NOTHING
        }
    }
}

/// Reads an ICMP error where it lies.
///
/// # Safety
/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn read_icmp(skb: *mut __sk_buff, direction: u32, link: u32) -> i32 {
    let context = TcContext::new(skb);
    let packet = Packet::new(&context);
    match ParsedIcmp::read(&packet, packet.size(), &hook(&packet, direction, link)) {
        Err(Unparsed::Truncated) if packet.has_more() => READ_AGAIN,
        read => keep_icmp(read),
    }
}

/// The same from a copy of the headers.
///
/// # Safety
/// As above.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn read_icmp_copied(skb: *mut __sk_buff, direction: u32, link: u32) -> i32 {
    let context = TcContext::new(skb);
    let packet = Packet::new(&context);
    match maps::header_room().and_then(|room| Copied::new(&packet, room)) {
        Some(copied) => keep_icmp(ParsedIcmp::read(&copied, packet.size(), &hook(&packet, direction, link))),
        None => keep_icmp(Err(Unparsed::Truncated)),
    }
}

#[inline(always)]
fn keep_icmp(read: Result<ParsedIcmp, Unparsed>) -> i32 {
    match read {
        Ok(icmp) => {
            let Some(room) = maps::icmp_room() else { return READ_NOTHING };
            *room = icmp;
            READ_ICMP
        }
        Err(Unparsed::NotTcp) => READ_OTHER,
        Err(unparsed) => {
            maps::count(Counter::Unparsed(unparsed));
            READ_NOTHING
        }
    }
}

/// Looks for the connection that the error is about which was read last.
#[unsafe(no_mangle)]
#[inline(never)]
pub extern "C" fn passes_icmp() -> i32 {
    if let Some(icmp) = maps::icmp_room() {
        process_icmp(icmp, &mut Environment { flows: &mut Flows, clock: &KernelClock, sink: &mut Ring });
    }
    0
}

macro_rules! passes {
    ($name:ident, $key:ty) => {
        /// What a segment does to its flow, and whether it makes a record.
        ///
        /// # Safety
        /// `packet` must be null or valid.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub unsafe extern "C" fn $name(packet: *const ParsedPacket) -> i32 {
            // SAFETY: see above.
            let Some(packet) = (unsafe { packet.as_ref() }) else { return 0 };
            let mut environment = Environment { flows: &mut Flows, clock: &KernelClock, sink: &mut Ring };
            if let Err(unparsed) = process_parsed::<$key, _, _, _>(packet, &mut environment) {
                maps::count(Counter::Unparsed(unparsed));
            }
            0
        }
    };
}

passes!(passes_v4, FlowKey4);
passes!(passes_v6, FlowKey6);

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: nothing in these programs panics, and the verifier rejects an object in which this endless
    // loop could be reached.
    loop {}
}
