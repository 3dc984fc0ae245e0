//! Access to the bytes and fields of a socket buffer: all of it that is unsafe.

use aya_ebpf::bindings::__sk_buff;
use aya_ebpf::programs::TcContext;
use probe_common::{Load, options};

/// A packet in the kernel.
pub(crate) struct Packet<'a> {
    context: &'a TcContext,
}

impl<'a> Packet<'a> {
    #[inline(always)]
    pub(crate) fn new(context: &'a TcContext) -> Self {
        Self { context }
    }

    /// Index of the interface that the packet passes.
    #[inline(always)]
    pub(crate) fn interface(&self) -> u32 {
        // SAFETY: the kernel passes a valid `__sk_buff` for the run of the program.
        unsafe { (*self.context.skb.skb).ifindex }
    }
}

impl Load for Packet<'_> {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        let start = self.context.data() + offset;
        // The compiler turns the check of a single byte into a form that the verifier does not follow at a
        // variable offset, hence always by copy.
        if N > 1 && start + N <= self.context.data_end() {
            // SAFETY: the bytes lie within the directly addressable part, as the verifier needs to see in
            // just this form; an array of bytes has no alignment.
            return Some(unsafe { *(start as *const [u8; N]) });
        }
        // Headers outside the linear area are loaded by copy.
        self.context.load(offset).ok()
    }

    #[inline(always)]
    fn find_timestamps(&self, start: u32, len: u32) -> u32 {
        // SAFETY: the context is the one that the kernel passed.
        unsafe { find_timestamps(self.context.skb.skb, start, len) }
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
