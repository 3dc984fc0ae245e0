//! Asks the socket that sends a segment whether it was sent before, and why it is sent again.
//!
//! Only a segment that is not the next one of its connection is asked for, so that data in order does not pay for it. What the
//! helpers do not say is read from the kernel's structures, where the loader has found them in the kernel's BTF.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::generated::{bpf_sk_fullsock, bpf_skc_to_tcp_sock, bpf_tcp_sock};
use aya_ebpf::macros::classifier;
use aya_ebpf::programs::TcContext;
use probe_common::sender::{Place, SenderPlaces};
use probe_common::{ParsedPacket, SenderState, Transmission};

use crate::maps::{self, Constant};

/// `SOCK_STREAM`: a raw socket may have the protocol of TCP, too.
const STREAM: u32 = 1;
/// `icsk_ca_state` has 5 bits.
const CONGESTION_MASK: u8 = 0x1f;

/// Where the kernel keeps what is read here, and which network namespace is the own one; set by the loader.
#[unsafe(no_mangle)]
static SENDER_PLACES: Constant<SenderPlaces> = Constant(SenderPlaces::UNKNOWN);

/// Whether senders are asked. The verifier leaves out what this switches off.
#[inline(always)]
pub(crate) fn is_on() -> bool {
    SENDER_PLACES.get().is_on()
}

/// Notes in a packet what the socket says that sends it: nothing, unless it is one of the own network namespace. Behind a
/// container's veth it has gone on meanwhile.
///
/// # Safety
/// `skb` must be what the kernel passed to the program, and `packet` null or valid.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn ask_sender(skb: *mut __sk_buff, packet: *mut ParsedPacket) -> i32 {
    // Before Linux 6.8 the verifier checks this function even where nothing calls it.
    if !is_on() {
        return 0;
    }
    // SAFETY: see above.
    let Some(packet) = (unsafe { packet.as_mut() }) else { return 0 };
    // SAFETY: see above; the verifier follows each pointer.
    unsafe {
        let socket = (*skb).__bindgen_anon_2.sk;
        if socket.is_null() {
            return 0;
        }
        let socket = bpf_sk_fullsock(socket);
        if socket.is_null() || (*socket).type_ != STREAM {
            return 0;
        }
        // What a tunnel carries has other ports than its socket.
        let segment = packet.segment();
        if (*socket).src_port != u32::from(segment.source_port)
            || (*socket).dst_port != segment.destination_port.to_be()
        {
            return 0;
        }
        let tcp = bpf_tcp_sock(socket);
        if tcp.is_null() {
            return 0;
        }
        let places = SENDER_PLACES.get();
        let kernel = bpf_skc_to_tcp_sock(socket.cast()).cast::<u8>();
        if kernel.is_null() {
            return 0;
        }
        let namespace = *kernel.add(places.of(Place::Namespace)).cast::<*const u8>();
        if namespace.is_null()
            || *namespace.add(places.of(Place::NamespaceNumber)).cast::<u32>() != places.own()
        {
            return 0;
        }
        let congestion = *kernel.add(places.of(Place::Congestion)) & CONGESTION_MASK;
        let sender = SenderState {
            snd_nxt: (*tcp).snd_nxt,
            snd_una: (*tcp).snd_una,
            timeouts: (*tcp).icsk_retransmits,
            lost: (*tcp).lost_out,
            congestion: congestion.into(),
        };
        packet.set_said(Transmission::of(segment.seq, &sender), (*tcp).dsack_dups);
    }
    0
}

/// Only to see whether the kernel accepts [`ask_sender`]: it is never attached.
#[classifier]
pub fn sender_check(context: TcContext) -> i32 {
    if is_on()
        && let Some(packet) = maps::packet_room()
    {
        // SAFETY: the context is the one that the kernel passed, and the room is valid.
        unsafe { ask_sender(context.skb.skb, packet) };
    }
    aya_ebpf::bindings::tcx_action_base::TCX_NEXT
}
