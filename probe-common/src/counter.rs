//! What the probe counts, per processor, so that nothing is lost silently.

use crate::parse::Unparsed;
use crate::record::Kind;

/// Cells of the counter array: `submitted` and `lost` for each kind, then the packets that could not be
/// read, then the flows that had to be forgotten.
pub const COUNTERS: usize = 2 * Kind::COUNT + Unparsed::COUNTED.len() + 1;

/// One thing that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// A record of this kind went into the ring buffer.
    Submitted(Kind),
    /// A record of this kind did not: the ring was full.
    Lost(Kind),
    /// A packet that could be TCP could not be read.
    Unparsed(Unparsed),
    /// A flow that had not ended was forgotten for another one.
    Evicted,
}

impl Counter {
    /// The cell of the counter array, or `None` for what is not counted ([`Unparsed::NotTcp`]).
    #[inline(always)]
    #[must_use]
    pub fn cell(self) -> Option<usize> {
        let unparsed = 2 * Kind::COUNT;
        match self {
            Self::Submitted(kind) => Some(Self::submitted_cell(kind as u32)),
            Self::Lost(kind) => Some(Self::lost_cell(kind as u32)),
            Self::Unparsed(Unparsed::NotTcp) => None,
            Self::Unparsed(Unparsed::Fragment) => Some(unparsed),
            Self::Unparsed(Unparsed::TooDeep) => Some(unparsed + 1),
            Self::Unparsed(Unparsed::Truncated) => Some(unparsed + 2),
            Self::Unparsed(Unparsed::Malformed) => Some(unparsed + 3),
            Self::Evicted => Some(COUNTERS - 1),
        }
    }

    /// The cell of records that were submitted, of the kind with this number.
    #[inline(always)]
    #[must_use]
    pub const fn submitted_cell(kind: u32) -> usize {
        kind as usize
    }

    /// The cell of records that were lost, likewise.
    #[inline(always)]
    #[must_use]
    pub const fn lost_cell(kind: u32) -> usize {
        Kind::COUNT + kind as usize
    }
}

/// The counters of all processors, added up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Counters(pub [u64; COUNTERS]);

impl Default for Counters {
    fn default() -> Self {
        Self([0; COUNTERS])
    }
}

impl Counters {
    /// How often this was counted.
    #[must_use]
    pub fn of(&self, counter: Counter) -> u64 {
        counter.cell().and_then(|cell| self.0.get(cell)).copied().unwrap_or(0)
    }

    /// Counts this once more.
    pub fn count(&mut self, counter: Counter) {
        if let Some(cell) = counter.cell().and_then(|cell| self.0.get_mut(cell)) {
            *cell += 1;
        }
    }

    /// Adds the counters of one more processor.
    pub fn add(&mut self, other: &[u64; COUNTERS]) {
        self.0.iter_mut().zip(other).for_each(|(sum, count)| *sum = sum.wrapping_add(*count));
    }
}
