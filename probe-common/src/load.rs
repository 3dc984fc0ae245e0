//! How the parser gets at bytes.

/// A packet whose bytes can be loaded.
///
/// In the kernel the bytes lie in a socket buffer, of which only a part may be directly addressable; on
/// the host they lie in a slice. The parser does not know which.
pub trait Load {
    /// The `N` bytes that begin `offset` bytes into the packet, or `None` when the packet ends before
    /// the last of them.
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]>;

    /// [`options::find_timestamps`], by a call that the kernel's verifier checks once, and not for every
    /// way that leads to it.
    ///
    /// [`options::find_timestamps`]: crate::options::find_timestamps
    #[inline(always)]
    fn find_timestamps(&self, start: u32, len: u32) -> u32 {
        crate::options::find_timestamps(self, start, len)
    }
}

impl Load for [u8] {
    #[inline(always)]
    fn load<const N: usize>(&self, offset: usize) -> Option<[u8; N]> {
        self.get(offset..)?.first_chunk().copied()
    }
}
