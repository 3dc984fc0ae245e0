//! The TCP options (RFC 9293, 3.1), as far as tcptop needs them: the timestamps.

use crate::bytes::{Load, Window};
use crate::segment::{Segment, Timestamps};
use crate::verifier::forget;

const END: u8 = 0;
const NO_OPERATION: u8 = 1;
const TIMESTAMPS: u8 = 8;
const TIMESTAMPS_LEN: u32 = 10;
/// The data offset has 4 bits: 15 words of header, 5 of them fixed.
const MAX_LEN: u32 = 40;
/// A mask for places in them.
const AT_MASK: u32 = 0x3f;

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
    let found = packet.find_timestamps(segment.options_offset.into(), segment.options_len().into());
    if found == ABSENT {
        return Timestamps::default();
    }
    // Headers end within some 2 KiB; the verifier wants to see a bound below 64 KiB.
    let Some(stamps) = packet.window::<8>(found as usize & 0x3fff) else { return Timestamps::default() };
    Timestamps { value: stamps.be32::<0>(), echo: stamps.be32::<4>(), present: true }
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
    if segment.options_len() >= 16 {
        let window = packet.window::<16>(offset)?;
        if window.be16::<0>() == MSS && [PADDED, BEHIND_SACK].contains(&window.be32::<4>()) {
            return stamps(window.be32::<8>(), window.be32::<12>());
        }
    }
    if segment.options_len() < 12 {
        return None;
    }
    let window = packet.window::<12>(offset)?;
    if window.be32::<0>() == PADDED { stamps(window.be32::<4>(), window.be32::<8>()) } else { None }
}

/// Where the two timestamps begin in the packet, in bytes, or one of the words above. The options begin
/// at `start` and are `len` bytes long.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "it is the same number")]
pub fn find_timestamps<P: Load + ?Sized>(packet: &P, start: u32, len: u32) -> u32 {
    let mut at = 0;
    for _ in 0..MAX_LEN {
        // Whatever stood before: the verifier follows each way through the walk only once.
        at = forget(at as usize, start.into()) as u32 & AT_MASK;
        let len = forget(len as usize, at.into()) as u32 & AT_MASK;
        if at >= len {
            break;
        }
        let Some(kind) = byte(packet, start + at) else { return ABSENT };
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
        let Some(option_len) = byte(packet, start + at + 1) else { return ABSENT };
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

#[inline(always)]
fn byte<P: Load + ?Sized>(packet: &P, at: u32) -> Option<u8> {
    Some(packet.window::<1>(at as usize)?.byte::<0>())
}
