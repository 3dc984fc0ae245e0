//! What the engine reports of flows, each once and when it happens.

use super::flow::Flow;
use super::outcome::Party;

/// Something that was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The outcome of a handshake; one that is still open is reported as it is when the run ends or its flow is evicted.
    Handshake(Flow),
    /// A connection ended.
    Close(Flow),
    /// Something was retransmitted.
    Retransmit(Retransmit),
}

impl Event {
    /// The flow that it is about, as it was then.
    #[must_use]
    pub const fn flow(&self) -> &Flow {
        match self {
            Self::Handshake(flow) | Self::Close(flow) => flow,
            Self::Retransmit(retransmit) => &retransmit.flow,
        }
    }

    /// When it happened, in nanoseconds of the monotonic clock.
    #[must_use]
    pub const fn time_ns(&self) -> u64 {
        match self {
            Self::Handshake(flow) | Self::Close(flow) => flow.changed_ns(),
            Self::Retransmit(retransmit) => retransmit.time_ns,
        }
    }
}

/// A segment that repeats what was sent before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retransmit {
    /// Its flow, as it was then.
    pub flow: Flow,
    /// When it passed, in nanoseconds of the monotonic clock.
    pub time_ns: u64,
    /// What was retransmitted.
    pub kind: RetransmitKind,
    /// Who sent it.
    pub by: Party,
    /// Its first sequence number.
    pub seq: u32,
    /// Bytes of payload.
    pub len: u32,
    /// How many segments on the wire it stands for, at least 1: with segmentation offload the hook sees several as one.
    pub segments: u32,
    /// How long after the transmission before, or after the hole opened that it fills, in nanoseconds.
    pub after_ns: Option<u64>,
}

/// What was retransmitted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum RetransmitKind {
    /// A SYN.
    Syn,
    /// A SYN-ACK.
    SynAck,
    /// Data.
    Data,
    /// A FIN.
    Fin,
}

impl RetransmitKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Syn, Self::SynAck, Self::Data, Self::Fin];

    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syn => "syn",
            Self::SynAck => "syn-ack",
            Self::Data => "data",
            Self::Fin => "fin",
        }
    }

    /// Its name for programs: JSON values and labels of metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::SynAck => "syn_ack",
            Self::Syn | Self::Data | Self::Fin => self.name(),
        }
    }
}
