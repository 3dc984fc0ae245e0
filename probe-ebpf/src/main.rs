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

mod cause;
mod drops;
mod maps;
mod owners;
mod packet;
mod read;
mod resets;
mod retransmits;
mod stub;

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::bindings::tcx_action_base::TCX_NEXT;
use aya_ebpf::helpers::generated::bpf_get_socket_cookie;
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use probe_common::key::{FlowKey4, FlowKey6};
use probe_common::passed_over;
use probe_common::process::{fast_path, process_parsed};
use probe_common::{Counter, Direction, Environment, Hook, LinkLayer, ParsedPacket, Progress, process_icmp};

use crate::maps::{Flows, KernelClock, Ring};
use crate::packet::Packet;
use crate::read::Read;

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

/// Whatever the packet is, it passes. The fast path deals with nearly every packet.
#[inline(always)]
fn classify<const DIRECTION: u32, const LINK: u32>(context: &TcContext) -> i32 {
    let link = if LINK == ETHERNET { LinkLayer::Ethernet } else { LinkLayer::None };
    let direction = match DIRECTION {
        INGRESS => Direction::Ingress,
        EGRESS => Direction::Egress,
        _ => Direction::Local,
    };
    let packet = Packet::new(context);
    let hook = Hook { interface: packet.interface(), direction, link };
    let progress = fast_path(&packet, packet.size(), &hook, &mut Flows, &KernelClock);
    if progress == Progress::Done {
        return TCX_NEXT;
    }
    if progress == Progress::NotTcp
        && !maps::decap()
        && let Some(what) = passed_over::usual(&packet, link)
    {
        maps::pass_over(what.word());
        return TCX_NEXT;
    }
    // SAFETY: the context is the one that the kernel passed.
    unsafe { unusual(context.skb.skb, &packet, &hook, progress) };
    TCX_NEXT
}

/// Deals with any other packet.
///
/// # Safety
/// `skb` must be what the kernel passed to the program.
#[inline(always)]
unsafe fn unusual(skb: *mut __sk_buff, packet: &Packet<'_>, hook: &Hook, progress: Progress) {
    let (direction, hook) = (hook.direction, read::hook_word(hook.direction, hook.link));
    let mut read = match progress {
        // SAFETY: as above.
        Progress::Unusual => unsafe { read::segment(skb, packet, hook) },
        // SAFETY: as above.
        _ if unsafe { read::copy_many(skb) } == 0 => Read::NOTHING,
        Progress::Icmp => Read::ICMP,
        _ => Read::OTHER,
    };
    if read == Read::ICMP {
        read = Read::of(read::read_icmp(hook));
    }
    if read == Read::OTHER && maps::decap() {
        read = Read::of(read::read_inner(hook));
    }
    match read {
        Read::OTHER => _ = read::pass_over(hook),
        Read::ICMP_ERROR => _ = passes_icmp(),
        Read::V4 | Read::V6 => {
            let Some(packet) = maps::packet_room() else { return };
            if packet.is_of_socket() {
                // SAFETY: as above.
                packet.set_cookie(unsafe { bpf_get_socket_cookie(skb.cast()) });
                if direction != Direction::Ingress && cause::is_on() && packet.is_of_full_socket() {
                    // SAFETY: as above, and the packet is valid.
                    unsafe { cause::ask_sender(skb, packet) };
                }
            } else if direction != Direction::Ingress && packet.is_plain_reset() {
                // SAFETY: as above, and the packet is valid.
                unsafe { resets::explain_reset(skb, packet) };
            }
            // SAFETY: the packet is valid.
            _ = unsafe { if read == Read::V4 { passes_v4(packet) } else { passes_v6(packet) } };
        }
        _ => {}
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
        /// `packet` must be null or valid, and nobody else's.
        #[unsafe(no_mangle)]
        #[inline(never)]
        pub unsafe extern "C" fn $name(packet: *mut ParsedPacket) -> i32 {
            // SAFETY: see above.
            let Some(packet) = (unsafe { packet.as_mut() }) else { return 0 };
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
