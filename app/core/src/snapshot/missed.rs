//! What the figures lack because it could not be read or kept: always counted, always shown.

use core::hash::{Hash, Hasher};

use probe_common::counter::Counter;
use probe_common::{RecordKind, SegmentKind, Unparsed};

use super::RunCounters;
use crate::table::FlowTable;

/// Something that the figures lack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missed {
    /// A record that found the ring buffer full.
    Record(RecordKind),
    /// A record that could not be decoded.
    Undecodable,
    /// A packet that could be TCP and could not be parsed.
    Packet(Unparsed),
    /// A packet of a capture that could not be read.
    Unreadable,
    /// A flow that the probe evicted before it had ended, and that is not missed otherwise.
    KernelFlow,
    /// A flow that the table evicted before it had ended, other than an attempt of a stranger.
    Flow,
    /// A peer whose figures were evicted.
    Peer,
    /// A line that an output's reader was too slow for.
    Line,
}

const RECORDS: usize = RecordKind::COUNT;
const PACKETS: usize = Unparsed::COUNTED.len();
const OTHERS: [Missed; 6] =
    [Missed::Undecodable, Missed::Unreadable, Missed::KernelFlow, Missed::Flow, Missed::Peer, Missed::Line];
const COUNT: usize = RECORDS + PACKETS + OTHERS.len();

impl Missed {
    /// Everything that can be missed.
    pub fn all() -> impl Iterator<Item = Self> {
        RecordKind::ALL.map(Self::Record).into_iter().chain(Unparsed::COUNTED.map(Self::Packet)).chain(OTHERS)
    }

    /// What one of them is called; more of them with an `s`.
    #[must_use]
    pub const fn noun(self) -> &'static str {
        match self {
            Self::Record(RecordKind::Segment(SegmentKind::Syn)) => "SYN record",
            Self::Record(RecordKind::Segment(SegmentKind::SynAck)) => "SYN-ACK record",
            Self::Record(RecordKind::Segment(SegmentKind::Ack)) => "ACK record",
            Self::Record(RecordKind::Segment(SegmentKind::Rst)) => "RST record",
            Self::Record(RecordKind::Segment(SegmentKind::Fin)) => "FIN record",
            Self::Record(RecordKind::Segment(SegmentKind::Retransmit)) => "retransmit record",
            Self::Record(RecordKind::EvictedFlow) => "eviction record",
            Self::Record(RecordKind::Icmp) => "ICMP record",
            Self::Record(RecordKind::Owner) => "owner record",
            Self::Record(RecordKind::Reset) => "RST reason record",
            Self::Undecodable => "undecodable record",
            Self::Packet(Unparsed::NotTcp) => "packet of another protocol",
            Self::Packet(Unparsed::Fragment) => "fragment",
            Self::Packet(Unparsed::TooDeep) => "deeply nested packet",
            Self::Packet(Unparsed::Truncated) => "truncated packet",
            Self::Packet(Unparsed::Malformed) => "malformed packet",
            Self::Packet(Unparsed::SynFin) => "SYN-FIN packet",
            Self::Packet(Unparsed::Icmp | Unparsed::IcmpTunnel) => "ICMP packet",
            Self::Unreadable => "unreadable packet",
            Self::KernelFlow => "kernel flow",
            Self::Flow => "evicted flow",
            Self::Peer => "evicted peer",
            Self::Line => "unwritten line",
        }
    }
}

impl Hash for Missed {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.noun().hash(state);
    }
}

/// How much of each kind is missing, since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct MissedCounts([u64; COUNT]);

impl MissedCounts {
    pub(crate) fn of(table: &FlowTable, run: &RunCounters) -> Self {
        let count = |missed: Missed| match missed {
            Missed::Record(kind) => run.counters.of(Counter::Missed(kind)),
            Missed::Undecodable => run.undecodable,
            Missed::Packet(why) => run.counters.of(Counter::Unparsed(why)),
            Missed::Unreadable => run.unreadable,
            Missed::KernelFlow => {
                run.counters.of(Counter::EvictedFlow).saturating_sub(table.losses().not_missed)
            }
            Missed::Flow => table.losses().evicted_flows,
            Missed::Peer => table.stats.evicted_peers(),
            Missed::Line => run.unwritten,
        };
        let mut counts = Self::default();
        counts.0.iter_mut().zip(Missed::all()).for_each(|(cell, missed)| *cell = count(missed));
        counts
    }

    /// What was missed since these were counted.
    pub(super) fn since(&self, before: &Self) -> Self {
        let mut since = self.clone();
        since.0.iter_mut().zip(before.0).for_each(|(count, before)| *count = count.saturating_sub(before));
        since
    }

    /// Everything that can be missed with its count, 0 included, in a fixed order.
    pub fn iter(&self) -> impl Iterator<Item = (Missed, u64)> {
        Missed::all().zip(self.0)
    }

    /// How much of this was missed.
    #[must_use]
    pub fn of_kind(&self, wanted: Missed) -> u64 {
        self.iter().find_map(|(missed, count)| (missed == wanted).then_some(count)).unwrap_or(0)
    }

    /// All of it together, each record, packet, flow, peer and line once: a missed eviction record reports a kernel flow that
    /// is missed anyway.
    #[must_use]
    pub fn total(&self) -> u64 {
        let eviction = Missed::Record(RecordKind::EvictedFlow);
        self.iter().filter(|(missed, _)| *missed != eviction).map(|(_, count)| count).sum()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn everything_has_a_count_and_a_name_of_its_own() {
        let all: Vec<Missed> = Missed::all().collect();
        let mut nouns: Vec<&str> = all.iter().map(|missed| missed.noun()).collect();
        nouns.sort_unstable();
        nouns.dedup();
        assert_eq!((all.len(), nouns.len()), (COUNT, COUNT));
    }
}
