//! The kernel programs: load bytes, ask `probe-common`, touch maps, submit, count what could not be.
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

mod maps;
mod packet;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::bindings::tcx_action_base::TCX_NEXT;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use probe_common::{Counter, Direction, Hook, LinkLayer, Unparsed, observe};

use crate::maps::{KernelClock, States};
use crate::packet::{Copied, Packet};

/// The kernel lends some of its functions, `bpf_ktime_get_ns` among them, to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

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

/// Whatever it is, it passes. Two ways to look at it, each with the stack for itself: headers are read where they lie,
/// and where that is not possible, from a copy.
#[inline(always)]
fn classify<const DIRECTION: u32, const LINK: u32>(context: &TcContext) -> i32 {
    // SAFETY: the context is the one that the kernel passed.
    unsafe {
        if classify_in_place::<DIRECTION, LINK>(context.skb.skb) == LOOK_AGAIN {
            classify_copied(context.skb.skb, DIRECTION, LINK);
        }
    }
    TCX_NEXT
}

const LOOK_AGAIN: u32 = 1;

/// # Safety
/// `skb` must be what the kernel passed to the program.
#[inline(never)]
unsafe fn classify_in_place<const DIRECTION: u32, const LINK: u32>(skb: *mut __sk_buff) -> u32 {
    let context = TcContext::new(skb);
    let packet = Packet::new(&context);
    let hook = hook(&packet, DIRECTION, LINK);
    match observe(&packet, packet.size(), &hook, &mut States, &KernelClock, maps::room) {
        Ok(None) => {}
        Ok(Some(sighting)) => maps::submit(&hook, sighting),
        Err(Unparsed::Truncated) if packet.has_more() => return LOOK_AGAIN,
        Err(unparsed) => maps::count(Counter::Unparsed(unparsed)),
    }
    0
}

#[inline(always)]
fn hook(packet: &Packet<'_>, direction: u32, link: u32) -> Hook {
    let direction = match direction {
        0 => Direction::Ingress,
        1 => Direction::Egress,
        _ => Direction::Local,
    };
    let link = if link == ETHERNET { LinkLayer::Ethernet } else { LinkLayer::None };
    Hook { interface: packet.interface(), direction, link }
}

/// The same once more, on a copy of the headers. A global function: the verifier checks it by itself, once.
///
/// # Safety
/// `skb` must be what the kernel passed to the program.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn classify_copied(skb: *mut __sk_buff, direction: u32, link: u32) -> i32 {
    let context = TcContext::new(skb);
    let packet = Packet::new(&context);
    let hook = hook(&packet, direction, link);
    let Some(copied) = maps::headers().and_then(|room| Copied::new(&packet, room)) else {
        maps::count(Counter::Unparsed(Unparsed::Truncated));
        return TCX_NEXT;
    };
    match observe(&copied, packet.size(), &hook, &mut States, &KernelClock, maps::room) {
        Ok(None) => {}
        Ok(Some(sighting)) => maps::submit(&hook, sighting),
        Err(unparsed) => maps::count(Counter::Unparsed(unparsed)),
    }
    TCX_NEXT
}

#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    // SAFETY: nothing in these programs panics, and the verifier rejects an object in which this endless
    // loop could be reached.
    loop {}
}
