//! What the probe counts, per processor, so that nothing is missed silently.

use crate::parse::Unparsed;
use crate::record::RecordKind;

/// Cells of the counter array: records submitted and missed, for each kind, then packets that could not be read, by
/// reason, then flows that were evicted, then ICMP errors that match no connection, and those of tunnels.
pub const COUNTERS: usize = ICMP_TUNNEL + 1;
const MISSED: usize = RecordKind::COUNT;
const UNPARSED: usize = MISSED + RecordKind::COUNT;
const EVICTED_FLOWS: usize = UNPARSED + Unparsed::COUNTED.len();
const UNMATCHED_ICMP: usize = EVICTED_FLOWS + 1;
const ICMP_TUNNEL: usize = UNMATCHED_ICMP + 1;

/// One thing that is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Counter {
    /// A record of this kind went into the ring buffer.
    Submitted(RecordKind),
    /// A record of this kind did not: the ring was full.
    Missed(RecordKind),
    /// A packet that could be TCP could not be read.
    Unparsed(Unparsed),
    /// A flow that had not ended was forgotten for another one.
    EvictedFlow,
    /// An ICMP error about TCP quotes nothing that is in flight: it is late, forged, or about what was not seen.
    UnmatchedIcmp,
}

impl Counter {
    /// The cell of the counter array, or `None` for what is not counted ([`Unparsed::NotTcp`], [`Unparsed::Icmp`]).
    #[inline(always)]
    #[must_use]
    pub fn cell(self) -> Option<usize> {
        match self {
            Self::Submitted(kind) => Some(Self::submitted_cell(kind.number().into())),
            Self::Missed(kind) => Some(Self::missed_cell(kind.number().into())),
            Self::Unparsed(Unparsed::NotTcp | Unparsed::Icmp) => None,
            Self::Unparsed(Unparsed::Fragment) => Some(UNPARSED),
            Self::Unparsed(Unparsed::TooDeep) => Some(UNPARSED + 1),
            Self::Unparsed(Unparsed::Truncated) => Some(UNPARSED + 2),
            Self::Unparsed(Unparsed::Malformed) => Some(UNPARSED + 3),
            Self::Unparsed(Unparsed::SynFin) => Some(UNPARSED + 4),
            Self::Unparsed(Unparsed::IcmpTunnel) => Some(ICMP_TUNNEL),
            Self::EvictedFlow => Some(EVICTED_FLOWS),
            Self::UnmatchedIcmp => Some(UNMATCHED_ICMP),
        }
    }

    /// The cell of records that were submitted, of the kind with this number.
    #[inline(always)]
    #[must_use]
    pub const fn submitted_cell(kind: u32) -> usize {
        kind as usize
    }

    /// The cell of records that were missed, likewise.
    #[inline(always)]
    #[must_use]
    pub const fn missed_cell(kind: u32) -> usize {
        MISSED + kind as usize
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

    /// How many records of segments were missed: each could have decided a handshake.
    #[must_use]
    pub fn missed_records(&self) -> u64 {
        let segments = RecordKind::ALL.into_iter().filter(|kind| matches!(kind, RecordKind::Segment(_)));
        segments.map(|kind| self.of(Counter::Missed(kind))).sum()
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
