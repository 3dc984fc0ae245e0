//! The RST that ended an attempt or a connection: who sent it, when in its life, and what is known of why.

use probe_common::ResetReason;

use super::outcome::Party;

/// How far a connection was when a RST ended it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResetStage {
    /// The RST answers the SYN, or the opener gives it up.
    Syn,
    /// A SYN-ACK had answered the SYN, and the ACK was not seen.
    SynAck,
    /// The handshake was complete, and neither end had sent data.
    Connected,
    /// Data was exchanged.
    Data,
    /// One end had sent a FIN.
    Closing,
    /// The connection was open before: its handshake was not seen.
    Unseen,
}

impl ResetStage {
    /// Every stage.
    pub const ALL: [Self; 6] =
        [Self::Syn, Self::SynAck, Self::Connected, Self::Data, Self::Closing, Self::Unseen];

    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syn => "answers the SYN",
            Self::SynAck => "after the SYN-ACK",
            Self::Connected => "after connect",
            Self::Data => "after data",
            Self::Closing => "after a FIN",
            Self::Unseen => "old connection",
        }
    }

    /// When that is, as part of a sentence about the RST.
    #[must_use]
    pub const fn when(self) -> &'static str {
        match self {
            Self::Syn => "in answer to the SYN",
            Self::SynAck => "after the SYN-ACK",
            Self::Connected => "after connect, before any data",
            Self::Data => "after data",
            Self::Closing => "after a FIN",
            Self::Unseen => "on a connection that was open before",
        }
    }

    /// Its name for programs: JSON values and labels of metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Syn => "syn",
            Self::SynAck => "syn_ack",
            Self::Connected => "connected",
            Self::Data => "data",
            Self::Closing => "closing",
            Self::Unseen => "old_connection",
        }
    }
}

/// A RST that ended an attempt or a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reset {
    /// Who sent it.
    pub by: Party,
    /// How far the connection was.
    pub stage: ResetStage,
    /// Why this host sent it, as its kernel says; `None` where that says nothing, as of every RST of others.
    pub reason: Option<ResetReason>,
    /// Its time to live, or hop limit.
    pub ttl: Option<u8>,
}

impl Reset {
    /// What is known of why: the reason, or how far the connection was.
    #[must_use]
    pub const fn name(&self) -> &'static str {
        match self.reason {
            Some(reason) => reason.name(),
            None => self.stage.name(),
        }
    }
}

/// What is behind refused and aborted connections of a peer.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum ResetSign {
    /// The kernel of this host says why it sent the RST.
    Said(ResetReason),
    /// The RST has another time to live than all else that its sender is said to have sent.
    OtherTtl,
}
