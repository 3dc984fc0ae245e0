//! Access to the bytes and fields of a socket buffer: all of it that is unsafe.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::helpers::bpf_skb_load_bytes;
use aya_ebpf::programs::TcContext;
use probe_common::verifier::opaque;
use probe_common::{FindTimestamps, Load, Size, Window, options};

/// A packet in the kernel.
pub(crate) struct Packet<'a> {
    context: &'a TcContext,
}

impl<'a> Packet<'a> {
    #[inline(always)]
    pub(crate) fn new(context: &'a TcContext) -> Self {
        Self { context }
    }

    /// How much it is.
    #[inline(always)]
    pub(crate) fn size(&self) -> Size {
        // SAFETY: as below.
        let segments = unsafe { (*self.context.skb.skb).gso_segs };
        Size { bytes: self.context.len(), segments: segments.max(1) }
    }

    /// Are there bytes outside the linear area?
    #[inline(always)]
    pub(crate) fn has_more(&self) -> bool {
        let linear = self.context.data_end() - self.context.data();
        self.context.len() as usize > linear
    }

    /// Index of the interface that the packet passes.
    #[inline(always)]
    pub(crate) fn interface(&self) -> u32 {
        // SAFETY: the kernel passes a valid `__sk_buff` for the run of the program.
        unsafe { (*self.context.skb.skb).ifindex }
    }
}

/// Access to the bytes that the verifier lets a program read where they lie: those in the linear area.
impl Load for Packet<'_> {
    type Window<'a>
        = Direct
    where
        Self: 'a;

    #[inline(always)]
    fn window<const N: usize>(&self, offset: usize) -> Option<Direct> {
        let start = self.context.data() + offset;
        if start + N <= self.context.data_end() { Some(Direct { start }) } else { None }
    }

    #[inline(always)]
    fn copy<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.context.load(offset).ok()
    }
}

impl FindTimestamps for Packet<'_> {
    #[inline(always)]
    fn find_timestamps(&self, start: u32, len: u32) -> u32 {
        // SAFETY: the context is the one that the kernel passed.
        unsafe { find_timestamps(self.context.skb.skb, start, len) }
    }
}

/// The first bytes of a packet, copied: headers that lie outside the linear area.
pub(crate) struct Copied<'a> {
    packet: &'a Packet<'a>,
    start: usize,
    len: usize,
}

/// At most so many bytes are copied: more than the headers of any packet that is not made to be odd. A power of two, so
/// that a mask bounds offsets into them.
const COPIED: usize = 512;
/// Bytes that a window has at the most.
const WINDOW: usize = 64;
/// Room for the copied bytes, and for a window that begins at the last of them: the verifier does not know how many there
/// are.
pub(crate) const ROOM: usize = COPIED + WINDOW;

impl<'a> Copied<'a> {
    /// Copies into `room`, which nobody else uses meanwhile.
    #[inline(always)]
    pub(crate) fn new(packet: &'a Packet<'a>, room: &'static mut [u8; ROOM]) -> Option<Self> {
        let len = (packet.context.len() as usize).min(COPIED);
        let last = len.checked_sub(1)?;
        // Verifiers before Linux 6.8 learn that a length is not 0 only in this way: a mask, and one more.
        let bytes = (opaque(last) & (COPIED - 1)) + 1;
        let start = room.as_mut_ptr();
        // SAFETY: copies at most as many bytes as there is room for, which the verifier checks.
        let copied =
            unsafe { bpf_skb_load_bytes(packet.context.skb.skb.cast(), 0, start.cast(), bytes as u32) };
        (copied == 0).then_some(Self { packet, start: start.addr(), len })
    }
}

impl Load for Copied<'_> {
    type Window<'a>
        = Direct
    where
        Self: 'a;

    #[inline(always)]
    fn window<const N: usize>(&self, offset: usize) -> Option<Direct> {
        const { assert!(N <= WINDOW) };
        if offset + N > self.len {
            return None;
        }
        Some(Direct { start: self.start + (opaque(offset) & (COPIED - 1)) })
    }

    #[inline(always)]
    fn copy<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.packet.copy(offset)
    }
}

impl FindTimestamps for Copied<'_> {
    #[inline(always)]
    fn find_timestamps(&self, start: u32, len: u32) -> u32 {
        self.packet.find_timestamps(start, len)
    }
}

/// Bytes that can be read where they lie, as was checked just before: the verifier follows that from the check to here,
/// and refuses the program otherwise.
#[derive(Clone, Copy)]
pub(crate) struct Direct {
    start: usize,
}

/// A load of one word, whatever its alignment, which the kernel allows for packets where the processor does. The
/// compiler knows of no such load on this target and takes the bytes one by one, at four times the price.
macro_rules! word {
    ($word:literal, $start:expr, $at:expr) => {{
        let word: u64;
        // SAFETY: reads within the packet, see above, and nothing else.
        unsafe {
            core::arch::asm!(
                concat!("{word} = *(", $word, " *)({start} + {at})"),
                word = out(reg) word,
                start = in(reg) $start,
                at = const $at,
                options(pure, readonly, nostack, preserves_flags),
            );
        }
        word
    }};
}

#[allow(clippy::cast_possible_truncation, reason = "a word is as wide as its load")]
impl Window for Direct {
    #[inline(always)]
    fn byte<const AT: usize>(self) -> u8 {
        word!("u8", self.start, AT) as u8
    }

    #[inline(always)]
    fn be16<const AT: usize>(self) -> u16 {
        u16::from_be(word!("u16", self.start, AT) as u16)
    }

    #[inline(always)]
    fn be32<const AT: usize>(self) -> u32 {
        u32::from_be(word!("u32", self.start, AT) as u32)
    }
}

/// A global function: the verifier checks it by itself, for any arguments, once. Inlined, its loop would
/// be followed for every kind of packet that leads to it, which is more than the verifier bears.
///
/// # Safety
/// `skb` must be what the kernel passed to the program.
#[unsafe(no_mangle)]
#[inline(never)]
pub unsafe extern "C" fn find_timestamps(skb: *mut __sk_buff, start: u32, len: u32) -> u32 {
    let context = TcContext::new(skb);
    options::find_timestamps(&Packet::new(&context), start & 0x3fff, len & 0x3f)
}
