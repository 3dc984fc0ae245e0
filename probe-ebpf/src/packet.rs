//! Access to the bytes and fields of a socket buffer: all of it that is unsafe.

use aya_ebpf::helpers::bpf_skb_load_bytes;
use aya_ebpf::programs::TcContext;
use probe_common::encapsulation::FindNetwork;
use probe_common::verifier::opaque;
use probe_common::{FindTimestamps, Load, Size, Window};

use crate::read;

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
}

/// A copy of the first bytes of a packet, and what else is asked of it: each processor has one, which is valid until its next
/// packet. Headers may lie outside the linear area, and of a copy the verifier has less to follow.
#[repr(C)]
pub(crate) struct Headers {
    size: Size,
    interface: u32,
    /// How many bytes were copied.
    len: u32,
    bytes: [u8; ROOM],
}

/// As many bytes hold the headers of nearly every segment, and cost next to nothing.
const FEW: usize = 128;
/// At most so many bytes are copied: more than the headers of any packet that is not made to be odd. A power of two, so
/// that a mask bounds offsets into them.
const MANY: usize = 4_096;
/// Bytes that a window has at the most.
const WINDOW: usize = 64;
/// Room for the copied bytes, and for a window that begins at the last of them: the verifier does not know how many there
/// are.
const ROOM: usize = MANY + WINDOW;

impl Headers {
    /// Copies what holds the headers of most segments.
    #[inline(always)]
    pub(crate) fn copy_few(&mut self, packet: &Packet<'_>) -> bool {
        self.copy::<FEW>(packet)
    }

    /// Copies all that is looked at.
    #[inline(always)]
    pub(crate) fn copy_many(&mut self, packet: &Packet<'_>) -> bool {
        self.copy::<MANY>(packet)
    }

    /// Returns false when the kernel refuses.
    #[inline(always)]
    fn copy<const MOST: usize>(&mut self, packet: &Packet<'_>) -> bool {
        const { assert!(MOST.is_power_of_two() && MOST <= MANY) };
        (self.size, self.interface) = (packet.size(), packet.interface());
        let len = (self.size.bytes as usize).min(MOST);
        let Some(last) = len.checked_sub(1) else { return false };
        // Verifiers before Linux 6.8 learn that a length is not 0 only in this way: a mask, and one more.
        let bytes = (opaque(last) & (MOST - 1)) + 1;
        self.len = bytes as u32;
        let (skb, to) = (packet.context.skb.skb, self.bytes.as_mut_ptr());
        // SAFETY: copies at most as many bytes as there is room for, which the verifier checks.
        unsafe { bpf_skb_load_bytes(skb.cast(), 0, to.cast(), bytes as u32) == 0 }
    }

    /// Whether the packet has bytes that were not copied, and might be.
    #[inline(always)]
    pub(crate) fn has_more(&self) -> bool {
        self.len < self.size.bytes && self.len < MANY as u32
    }

    /// How much the packet is.
    #[inline(always)]
    pub(crate) fn size(&self) -> Size {
        self.size
    }

    /// Index of the interface that it passes.
    #[inline(always)]
    pub(crate) fn interface(&self) -> u32 {
        self.interface
    }
}

impl Load for Headers {
    type Window<'a>
        = Direct
    where
        Self: 'a;

    #[inline(always)]
    fn window<const N: usize>(&self, offset: usize) -> Option<Direct> {
        const { assert!(N <= WINDOW) };
        if offset + N > self.len as usize {
            return None;
        }
        Some(Direct { start: self.bytes.as_ptr().addr() + (opaque(offset) & (MANY - 1)) })
    }
}

impl FindTimestamps for Headers {
    #[inline(always)]
    fn find_timestamps(&self, start: u32, len: u32) -> u32 {
        read::find_timestamps(start, len)
    }
}

impl FindNetwork for Headers {
    #[inline(always)]
    fn find_network(&self, first: u32, start: u32, outer: u32) -> u64 {
        read::find_network(first, start, outer)
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
