//! What the table tells of a flow, to a snapshot's row and to an event alike.

use probe_common::encapsulation::Encapsulation;
use probe_common::{Endpoint, Volume};

use super::key::FlowTuple;
use super::leg::Leg;
use super::outcome::{Outcome, Role};
use super::peer::PeerKey;

/// Which end ended a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// This host.
    Local,
    /// The peer.
    Remote,
}

impl Party {
    /// Both ends.
    pub const ALL: [Self; 2] = [Self::Local, Self::Remote];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
        }
    }
}

/// Enough to find a flow again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowName {
    /// Its identity; its ports may be used again.
    pub(super) tuple: FlowTuple,
    /// Its number.
    pub id: u64,
}

/// Everything that is known of one flow at one moment. Times are nanoseconds of the monotonic clock.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FlowReport {
    /// Number of the flow, in the order of their appearance.
    pub id: u64,
    /// Index of the interface.
    pub interface: u32,
    /// What carried the first of its packets that was seen.
    pub encapsulation: Encapsulation,
    /// Who opened it, where that was seen.
    pub role: Option<Role>,
    /// This host's end. On loopback the opener's.
    pub local: Endpoint,
    /// The other end.
    pub remote: Endpoint,
    /// The peer it belongs to.
    pub peer: PeerKey,
    /// What has become of it.
    pub outcome: Outcome,
    /// When the first segment of it was seen.
    pub first_ns: u64,
    /// When the last change was.
    pub changed_ns: u64,
    /// How many SYNs were seen, if any was; those of both ends when both open at once.
    pub tries: Option<u32>,
    /// How many SYN-ACKs answered them, if any did.
    pub syn_acks: Option<u32>,
    /// Initial sequence number of the opener, where its SYN was seen.
    pub client_isn: Option<u32>,
    /// Initial sequence number of the other end, where it was seen and leaves no doubt.
    pub server_isn: Option<u32>,
    /// From the SYN that was answered to the SYN-ACK.
    pub server_leg: Option<Leg>,
    /// From the SYN-ACK to the ACK.
    pub client_leg: Option<Leg>,
    /// From the SYN to the RST that refused it.
    pub refusal: Option<Leg>,
    /// From the first SYN to the ACK, in nanoseconds.
    pub setup_ns: Option<u64>,
    /// From the first SYN to the last FIN or the RST, in nanoseconds.
    pub lifetime_ns: Option<u64>,
    /// Who sent the first FIN, or the RST. Not known when the ports were used again before either.
    pub closed_by: Option<Party>,
    /// What this host sent, and what the other end did, as far as it was seen.
    pub volumes: [Volume; 2],
}

impl FlowReport {
    /// By which it can be found again.
    #[must_use]
    pub fn name(&self) -> FlowName {
        FlowName { tuple: FlowTuple::new(self.interface, self.local, self.remote), id: self.id }
    }

    /// The port that tells this connection from the peer's others: the client's.
    #[must_use]
    pub fn port(&self) -> u16 {
        telling_port(self.role, self.local, self.remote)
    }

    /// Everything that was sent again, in both directions: SYNs, SYN-ACKs and data.
    #[must_use]
    pub fn retransmits(&self) -> u64 {
        repeats(self.tries, self.syn_acks) + self.volumes.iter().map(|volume| volume.retransmits).sum::<u64>()
    }

    /// Everything that could have been: data, and the SYNs and SYN-ACKs.
    #[must_use]
    pub fn segments(&self) -> u64 {
        let handshake = u64::from(self.tries.unwrap_or(0)) + u64::from(self.syn_acks.unwrap_or(0));
        handshake + self.volumes.iter().map(|volume| volume.segments).sum::<u64>()
    }

    /// The share of them that was sent again; without one where there was nothing to be.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a share is shown with three digits")]
    pub fn retransmit_share(&self) -> Option<f64> {
        let segments = self.segments();
        (segments > 0).then(|| self.retransmits() as f64 / segments as f64)
    }

    /// The leg that crosses the network.
    #[must_use]
    pub fn rtt(&self) -> Option<Leg> {
        crossing_leg(self.role, self.server_leg, self.client_leg)
    }

    /// The leg that this host answers.
    #[must_use]
    pub fn turnaround(&self) -> Option<Leg> {
        match self.role? {
            Role::Client | Role::Local | Role::Observer => None,
            Role::Server => self.server_leg,
        }
    }

    /// Is there a leg of which only bounds are known?
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        [self.server_leg, self.client_leg, self.refusal].iter().flatten().any(|leg| leg.exact().is_none())
    }
}

/// The leg that crosses the network.
pub(super) fn crossing_leg(
    role: Option<Role>,
    server_leg: Option<Leg>,
    client_leg: Option<Leg>,
) -> Option<Leg> {
    Some(match role? {
        Role::Client | Role::Local => server_leg?,
        Role::Server => client_leg?,
        // From somewhere in between both legs together are the whole way, once.
        Role::Observer => server_leg?.plus(client_leg?),
    })
}

/// The port that tells a connection from the peer's others: the client's.
pub(super) fn telling_port(role: Option<Role>, local: Endpoint, remote: Endpoint) -> u16 {
    match role {
        Some(Role::Server) => remote.port,
        Some(Role::Client | Role::Local | Role::Observer) => local.port,
        None => local.port.max(remote.port),
    }
}

/// How many SYNs and SYN-ACKs were not the first of theirs.
pub(super) fn repeats(tries: Option<u32>, syn_acks: Option<u32>) -> u64 {
    [tries, syn_acks].into_iter().flatten().map(|seen| u64::from(seen.saturating_sub(1))).sum()
}

/// What was sent again.
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

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Syn => "syn",
            Self::SynAck => "syn-ack",
            Self::Data => "data",
            Self::Fin => "fin",
        }
    }

    /// The word for programs: JSON values and labels of metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::SynAck => "syn_ack",
            Self::Syn | Self::Data | Self::Fin => self.name(),
        }
    }
}

/// A segment that repeats what was sent before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RetransmitReport {
    /// The flow it belongs to.
    pub flow: FlowReport,
    /// When it passed.
    pub time_ns: u64,
    /// What it is.
    pub kind: RetransmitKind,
    /// Who sent it.
    pub by: Party,
    /// Its first sequence number.
    pub seq: u32,
    /// Bytes of payload.
    pub len: u32,
    /// How many segments it stands for: the host's own packets are often cut after they were seen (GSO).
    pub segments: u32,
    /// How long after the one before, or after the hole opened that it fills, in nanoseconds.
    pub after_ns: Option<u64>,
}

impl Event {
    /// The flow that it is of.
    #[must_use]
    pub const fn flow(&self) -> &FlowReport {
        match self {
            Self::Handshake(flow) | Self::Close(flow) => flow,
            Self::Retransmit(resent) => &resent.flow,
        }
    }

    /// When it was, in nanoseconds of the monotonic clock.
    #[must_use]
    pub const fn time_ns(&self) -> u64 {
        match self {
            Self::Handshake(flow) | Self::Close(flow) => flow.changed_ns,
            Self::Retransmit(resent) => resent.time_ns,
        }
    }
}

/// Something that was decided, once.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Event {
    /// The outcome of a handshake. At the end of the run, and when the table is full, as far as known.
    Handshake(FlowReport),
    /// A connection ended.
    Close(FlowReport),
    /// Something was sent again.
    Retransmit(RetransmitReport),
}
