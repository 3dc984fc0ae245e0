//! The kernel programs: load bytes, ask `probe-common`, touch maps, submit, count what could not be.
//!
//! One classifier, instantiated for each kind of hook. Whatever it finds, it answers `TCX_NEXT`: the
//! packet and the programs behind in the chain never notice.
#![no_std]
#![no_main]
#![allow(
    missing_docs,
    unreachable_pub,
    reason = "the macro makes an undocumented public function of each program"
)]

mod maps;
mod packet;

use aya_ebpf::bindings::tcx_action_base::TCX_NEXT;
use aya_ebpf::helpers::bpf_ktime_get_ns;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use probe_common::{Counter, Direction, Hook, LinkLayer, observe};

use crate::maps::States;
use crate::packet::Packet;

/// The kernel lends some of its functions, `bpf_ktime_get_ns` among them, to GPL-compatible programs only.
#[unsafe(link_section = "license")]
#[unsafe(no_mangle)]
static LICENSE: [u8; 13] = *b"Dual MIT/GPL\0";

/// Packets coming in through an interface with an Ethernet header.
#[classifier]
pub fn ethernet_ingress(context: TcContext) -> i32 {
    classify(&context, Direction::Ingress, LinkLayer::Ethernet)
}

/// Packets going out through an interface with an Ethernet header.
#[classifier]
pub fn ethernet_egress(context: TcContext) -> i32 {
    classify(&context, Direction::Egress, LinkLayer::Ethernet)
}

/// Packets coming in through an interface without a link header.
#[classifier]
pub fn bare_ingress(context: TcContext) -> i32 {
    classify(&context, Direction::Ingress, LinkLayer::None)
}

/// Packets going out through an interface without a link header.
#[classifier]
pub fn bare_egress(context: TcContext) -> i32 {
    classify(&context, Direction::Egress, LinkLayer::None)
}

/// Packets on loopback. It shows each of them twice, so only one of its hooks is used.
#[classifier]
pub fn loopback(context: TcContext) -> i32 {
    classify(&context, Direction::Local, LinkLayer::Ethernet)
}

#[inline(always)]
fn classify(context: &TcContext, direction: Direction, link: LinkLayer) -> i32 {
    let packet = Packet::new(context);
    let hook = Hook { interface: packet.interface(), direction, link };
    match observe(&packet, context.len(), &hook, &mut States) {
        Ok(None) => {}
        Ok(Some(sighting)) => {
            // SAFETY: a helper without preconditions.
            let now = unsafe { bpf_ktime_get_ns() };
            maps::submit(now, &hook, &sighting);
        }
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
