//! What the engine reports of flows, each once and when it happens.

use probe_common::retransmit::KernelRetransmit;

use super::cause::RetransmitCause;
use super::flow::Flow;
use super::outcome::{Outcome, Party};

/// Something that was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The outcome of a handshake; one that is still open is reported as it is when the run ends or its flow is evicted.
    Handshake(Flow),
    /// Another outcome of a handshake than the one that was reported, which comes second: the opener had not given up.
    Correction(Flow, Outcome),
    /// A connection ended.
    Close(Flow),
    /// Something was retransmitted.
    Retransmit(Retransmit),
    /// The kernel itself says that it retransmitted something.
    KernelRetransmit(Box<SentAgain>),
}

impl Event {
    /// The flow that it is about, as it was then.
    #[must_use]
    pub const fn flow(&self) -> &Flow {
        match self {
            Self::Handshake(flow) | Self::Correction(flow, _) | Self::Close(flow) => flow,
            Self::Retransmit(retransmit) => &retransmit.flow,
            Self::KernelRetransmit(sent) => &sent.flow,
        }
    }

    /// Of a correction, the flow with the outcome that was reported before.
    pub(crate) fn corrected(&self) -> Option<Flow> {
        match self {
            Self::Correction(flow, outcome) => Some(Flow { outcome: *outcome, ..flow.clone() }),
            Self::Handshake(_) | Self::Close(_) | Self::Retransmit(_) | Self::KernelRetransmit(_) => None,
        }
    }

    pub(crate) const fn flow_mut(&mut self) -> &mut Flow {
        match self {
            Self::Handshake(flow) | Self::Correction(flow, _) | Self::Close(flow) => flow,
            Self::Retransmit(retransmit) => &mut retransmit.flow,
            Self::KernelRetransmit(sent) => &mut sent.flow,
        }
    }

    /// When it happened, in nanoseconds of the monotonic clock.
    #[must_use]
    pub const fn time_ns(&self) -> u64 {
        match self {
            Self::Handshake(flow) | Self::Correction(flow, _) | Self::Close(flow) => flow.changed_ns(),
            Self::Retransmit(retransmit) => retransmit.time_ns,
            Self::KernelRetransmit(sent) => sent.record.time_ns,
        }
    }
}

/// A segment that the kernel itself says it retransmitted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SentAgain {
    /// Its flow, as it was then. One that was never seen has no more than its ends.
    pub flow: Flow,
    /// What the kernel says.
    pub record: KernelRetransmit,
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
    /// Why it is no sign of loss: the transmission before had arrived. `None` where nothing says so.
    pub no_loss: Option<NoLoss>,
    /// Why it was retransmitted, as its sender says: this host's socket. `None` where that says nothing.
    pub cause: Option<RetransmitCause>,
    /// Of a [`Timeout`](RetransmitCause::Timeout), how often the timer ran out since anything was acknowledged; 255 stands for
    /// more, too.
    pub timeouts: Option<u32>,
    /// Whether it is the one that shows that segments of full size do not get through. See [`Flow::stuck_bytes`].
    pub is_stuck: bool,
    /// How long after the transmission before, or after the hole opened that it fills, in nanoseconds.
    pub after_ns: Option<u64>,
}

/// Why a retransmitted segment is no sign of loss.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NoLoss {
    /// This host repeats its SYN-ACK although the ACK passed here: its listener does not accept the connection (the accept
    /// queue is full, or `TCP_DEFER_ACCEPT` waits for data).
    NotAcceptedHere,
    /// The peer does, more than once. One ACK may have been lost on its way.
    NotAcceptedByPeer,
    /// The SYN was answered by the ACK of another connection.
    Challenged,
    /// The SYN was answered by a RST. Windows tries again.
    Refused,
    /// An ICMP error says that the one before was not delivered.
    Unreachable,
}

impl NoLoss {
    /// Every reason.
    pub const ALL: [Self; 5] =
        [Self::NotAcceptedHere, Self::NotAcceptedByPeer, Self::Challenged, Self::Refused, Self::Unreachable];

    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotAcceptedHere => "not accepted by this host",
            Self::NotAcceptedByPeer => "not accepted by the peer",
            Self::Challenged => "challenged",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
        }
    }

    /// Its name for programs.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::NotAcceptedHere => "not_accepted_by_this_host",
            Self::NotAcceptedByPeer => "not_accepted_by_the_peer",
            Self::Challenged | Self::Refused | Self::Unreachable => self.name(),
        }
    }
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
