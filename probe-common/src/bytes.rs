//! How the parser gets at bytes.

/// A packet whose bytes can be loaded.
///
/// In the kernel the bytes lie in a socket buffer, of which only a part may be directly addressable; on
/// the host they lie in a slice. The parser does not know which.
pub trait Load {
    /// Some bytes of it, in place.
    type Window<'a>: Window
    where
        Self: 'a;

    /// The `N` bytes that begin `offset` bytes into the packet, or `None` when the packet (or what of it can be read in
    /// place) ends before the last of them. Checked once, read word by word.
    fn window<const N: usize>(&self, offset: usize) -> Option<Self::Window<'_>>;
}

/// A few bytes that are there, read as words in network order. Offsets are within the window: what lies beyond it reads
/// as 0 on the host, and is refused by the verifier in the kernel.
pub trait Window: Copy {
    /// One byte.
    fn byte<const AT: usize>(self) -> u8;
    /// Two.
    fn be16<const AT: usize>(self) -> u16;
    /// Four.
    fn be32<const AT: usize>(self) -> u32;

    /// Eight.
    #[inline(always)]
    fn be64<const HIGH: usize, const LOW: usize>(self) -> u64 {
        (self.be32::<HIGH>() as u64) << 32 | self.be32::<LOW>() as u64
    }
}

impl Load for [u8] {
    type Window<'a> = &'a [u8];

    #[inline(always)]
    fn window<const N: usize>(&self, offset: usize) -> Option<&[u8]> {
        self.get(offset..)?.get(..N)
    }
}

impl Window for &[u8] {
    #[inline(always)]
    fn byte<const AT: usize>(self) -> u8 {
        word(self, AT).map_or(0, u8::from_be_bytes)
    }

    #[inline(always)]
    fn be16<const AT: usize>(self) -> u16 {
        word(self, AT).map_or(0, u16::from_be_bytes)
    }

    #[inline(always)]
    fn be32<const AT: usize>(self) -> u32 {
        word(self, AT).map_or(0, u32::from_be_bytes)
    }
}

#[inline(always)]
fn word<const N: usize>(window: &[u8], at: usize) -> Option<[u8; N]> {
    window.get(at..)?.first_chunk().copied()
}
