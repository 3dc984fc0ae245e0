//! The TCP options (RFC 9293, 3.1), as far as tcptop needs them: the timestamps.

use crate::bytes::{Load, Window};
use crate::segment::{Segment, Timestamps};

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const TIMESTAMPS: u8 = 8;
const TIMESTAMPS_LEN: u32 = 10;
/// The data offset has 4 bits: 15 words of header, 5 of them fixed.
const MAX_LEN: u32 = 40;

/// What [`find_timestamps`] returns instead of an offset: there are none, as far as the options can be read. What stands
/// before an option that contradicts itself counts, as for Linux (`tcp_parse_options`).
const ABSENT: u32 = 0;

/// A packet in which [`find_timestamps`] can be called as a function that the kernel's verifier checks once, rather than
/// on every path that leads to it.
pub trait FindTimestamps: Load {
    /// See [`find_timestamps`].
    #[inline(always)]
    fn find_timestamps(&self, start: u32, len: u32) -> u32 {
        find_timestamps(self, start, len)
    }
}

impl FindTimestamps for [u8] {}

/// The timestamps of a segment that was parsed from the same packet.
#[inline(always)]
pub fn timestamps<P: FindTimestamps + ?Sized>(packet: &P, segment: &Segment) -> Timestamps {
    if let Some(usual) = usual_place(packet, segment) {
        return usual;
    }
    let found = packet.find_timestamps(segment.options_offset.into(), segment.options_len.into());
    if found == ABSENT {
        return Timestamps::default();
    }
    // Headers end within some 2 KiB; the verifier wants to see a bound below 64 KiB.
    let Some([v0, v1, v2, v3, e0, e1, e2, e3]) = packet.copy(found as usize & 0x3fff) else {
        return Timestamps::default();
    };
    let value = u32::from_be_bytes([v0, v1, v2, v3]);
    Timestamps { value, echo: u32::from_be_bytes([e0, e1, e2, e3]), present: true }
}

/// The timestamps where nearly everybody puts them (RFC 7323, appendix A; Linux in a SYN), read as words where they lie:
/// the walk reads byte by byte, and is a call for each.
#[inline(always)]
fn usual_place<P: Load + ?Sized>(packet: &P, segment: &Segment) -> Option<Timestamps> {
    /// Two no-operations, or "selective acknowledgements permitted", and the head of the option.
    const PADDED: u32 = 0x0101_080a;
    const BEHIND_SACK: u32 = 0x0402_080a;
    /// Maximum segment size: its kind and length.
    const MSS: u16 = 0x0204;
    let offset = usize::from(segment.options_offset) & 0x3fff;
    let stamps = |value, echo| Some(Timestamps { value, echo, present: true });
    if segment.options_len >= 16 {
        let window = packet.window::<16>(offset)?;
        if window.be16::<0>() == MSS && [PADDED, BEHIND_SACK].contains(&window.be32::<4>()) {
            return stamps(window.be32::<8>(), window.be32::<12>());
        }
    }
    if segment.options_len < 12 {
        return None;
    }
    let window = packet.window::<12>(offset)?;
    if window.be32::<0>() == PADDED { stamps(window.be32::<4>(), window.be32::<8>()) } else { None }
}

/// Where the two timestamps begin in the packet, in bytes, or one of the words above. The options begin
/// at `start` and are `len` bytes long.
#[inline(always)]
pub fn find_timestamps<P: Load + ?Sized>(packet: &P, start: u32, len: u32) -> u32 {
    let mut at = 0;
    for _ in 0..MAX_LEN {
        if at >= len {
            break;
        }
        let Some([kind]) = packet.copy((start + at) as usize) else { return ABSENT };
        if kind == END {
            break;
        }
        if kind == NO_OPERATION {
            at += 1;
            continue;
        }
        if at + 1 >= len {
            return ABSENT;
        }
        let Some([option_len]) = packet.copy((start + at + 1) as usize) else { return ABSENT };
        let option_len = u32::from(option_len);
        if option_len < 2 || at + option_len > len {
            return ABSENT;
        }
        if kind == TIMESTAMPS && option_len == TIMESTAMPS_LEN {
            return start + at + 2;
        }
        at += option_len;
    }
    ABSENT
}
