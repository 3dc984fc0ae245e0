//! What ICMP errors say about a flow: why it cannot be reached, or how large its packets may be.

use probe_common::icmp::{
    V4_FRAGMENTATION_NEEDED, V4_TIME_EXCEEDED, V4_UNREACHABLE, V6_PACKET_TOO_BIG, V6_PARAMETER_PROBLEM,
    V6_TIME_EXCEEDED, V6_UNREACHABLE,
};
use probe_common::{Family, IcmpRecord};

use super::leg::Leg;

/// Why a packet was not delivered, in the words of RFC 792, 1122, 1812 and 4443.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum IcmpReason {
    /// No route to the network.
    NetworkUnreachable,
    /// The host does not answer in its network.
    HostUnreachable,
    /// The host does not have the protocol.
    ProtocolUnreachable,
    /// Nothing listens at the port, or a firewall says so.
    PortUnreachable,
    /// The packet is too large for a link on the way, and must not be cut.
    TooBig,
    /// The route that the sender chose cannot be taken.
    SourceRouteFailed,
    /// Nobody knows the network.
    NetworkUnknown,
    /// Nobody knows the host.
    HostUnknown,
    /// The sender is isolated.
    SourceIsolated,
    /// The network must not be reached.
    NetworkProhibited,
    /// The host must not be reached.
    HostProhibited,
    /// No route to the network for this type of service.
    NetworkUnreachableForTos,
    /// The host cannot be reached for this type of service.
    HostUnreachableForTos,
    /// A filter rejects the packet.
    Prohibited,
    /// The precedence is not permitted.
    PrecedenceViolation,
    /// The precedence is too low.
    PrecedenceCutoff,
    /// No route to the destination.
    NoRoute,
    /// The destination is beyond the scope of the source address.
    BeyondScope,
    /// The address does not answer in its network.
    AddressUnreachable,
    /// The source address is not permitted.
    SourceProhibited,
    /// The route to the destination is one that rejects.
    RejectRoute,
    /// The time to live, or the hop limit, is used up: often a routing loop.
    TimeExceeded,
    /// Not all fragments of the packet arrived.
    ReassemblyTimeExceeded,
    /// A header cannot be processed.
    ParameterProblem,
    /// The code is not assigned.
    Unreachable,
}

impl IcmpReason {
    /// Every reason.
    pub const ALL: [Self; 25] = [
        Self::NetworkUnreachable,
        Self::HostUnreachable,
        Self::ProtocolUnreachable,
        Self::PortUnreachable,
        Self::TooBig,
        Self::SourceRouteFailed,
        Self::NetworkUnknown,
        Self::HostUnknown,
        Self::SourceIsolated,
        Self::NetworkProhibited,
        Self::HostProhibited,
        Self::NetworkUnreachableForTos,
        Self::HostUnreachableForTos,
        Self::Prohibited,
        Self::PrecedenceViolation,
        Self::PrecedenceCutoff,
        Self::NoRoute,
        Self::BeyondScope,
        Self::AddressUnreachable,
        Self::SourceProhibited,
        Self::RejectRoute,
        Self::TimeExceeded,
        Self::ReassemblyTimeExceeded,
        Self::ParameterProblem,
        Self::Unreachable,
    ];

    /// The reason that type and code stand for.
    #[must_use]
    pub const fn of(family: Family, icmp_type: u8, code: u8) -> Self {
        match (family, icmp_type) {
            (Family::V4, V4_UNREACHABLE) => Self::of_v4(code),
            (Family::V6, V6_UNREACHABLE) => Self::of_v6(code),
            (Family::V4, V4_TIME_EXCEEDED) | (Family::V6, V6_TIME_EXCEEDED) => match code {
                0 => Self::TimeExceeded,
                _ => Self::ReassemblyTimeExceeded,
            },
            (Family::V6, V6_PACKET_TOO_BIG) => Self::TooBig,
            (Family::V6, V6_PARAMETER_PROBLEM) => Self::ParameterProblem,
            (Family::V4 | Family::V6, _) => Self::Unreachable,
        }
    }

    /// RFC 792, RFC 1122 (3.2.2.1) and RFC 1812 (5.2.7.1).
    const fn of_v4(code: u8) -> Self {
        match code {
            0 => Self::NetworkUnreachable,
            1 => Self::HostUnreachable,
            2 => Self::ProtocolUnreachable,
            3 => Self::PortUnreachable,
            V4_FRAGMENTATION_NEEDED => Self::TooBig,
            5 => Self::SourceRouteFailed,
            6 => Self::NetworkUnknown,
            7 => Self::HostUnknown,
            8 => Self::SourceIsolated,
            9 => Self::NetworkProhibited,
            10 => Self::HostProhibited,
            11 => Self::NetworkUnreachableForTos,
            12 => Self::HostUnreachableForTos,
            13 => Self::Prohibited,
            14 => Self::PrecedenceViolation,
            15 => Self::PrecedenceCutoff,
            _ => Self::Unreachable,
        }
    }

    /// RFC 4443 (3.1), and RFC 6554 and 8883 for what came later.
    const fn of_v6(code: u8) -> Self {
        match code {
            0 => Self::NoRoute,
            1 => Self::Prohibited,
            2 => Self::BeyondScope,
            3 => Self::AddressUnreachable,
            4 => Self::PortUnreachable,
            5 => Self::SourceProhibited,
            6 => Self::RejectRoute,
            7 => Self::SourceRouteFailed,
            _ => Self::Unreachable,
        }
    }

    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NetworkUnreachable => "network unreachable",
            Self::HostUnreachable => "host unreachable",
            Self::ProtocolUnreachable => "protocol unreachable",
            Self::PortUnreachable => "port unreachable",
            Self::TooBig => "packet too big",
            Self::SourceRouteFailed => "source route failed",
            Self::NetworkUnknown => "network unknown",
            Self::HostUnknown => "host unknown",
            Self::SourceIsolated => "source host isolated",
            Self::NetworkProhibited => "network prohibited",
            Self::HostProhibited => "host prohibited",
            Self::NetworkUnreachableForTos => "network unreachable for this type of service",
            Self::HostUnreachableForTos => "host unreachable for this type of service",
            Self::Prohibited => "prohibited",
            Self::PrecedenceViolation => "precedence violation",
            Self::PrecedenceCutoff => "precedence too low",
            Self::NoRoute => "no route",
            Self::BeyondScope => "beyond the scope of the source address",
            Self::AddressUnreachable => "address unreachable",
            Self::SourceProhibited => "source address prohibited",
            Self::RejectRoute => "rejected",
            Self::TimeExceeded => "time exceeded",
            Self::ReassemblyTimeExceeded => "fragment reassembly time exceeded",
            Self::ParameterProblem => "parameter problem",
            Self::Unreachable => "unreachable",
        }
    }

    /// Its name for programs: JSON values.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::NetworkUnreachable => "network_unreachable",
            Self::HostUnreachable => "host_unreachable",
            Self::ProtocolUnreachable => "protocol_unreachable",
            Self::PortUnreachable => "port_unreachable",
            Self::TooBig => "packet_too_big",
            Self::SourceRouteFailed => "source_route_failed",
            Self::NetworkUnknown => "network_unknown",
            Self::HostUnknown => "host_unknown",
            Self::SourceIsolated => "source_isolated",
            Self::NetworkProhibited => "network_prohibited",
            Self::HostProhibited => "host_prohibited",
            Self::NetworkUnreachableForTos => "network_unreachable_for_tos",
            Self::HostUnreachableForTos => "host_unreachable_for_tos",
            Self::Prohibited => "prohibited",
            Self::PrecedenceViolation => "precedence_violation",
            Self::PrecedenceCutoff => "precedence_too_low",
            Self::NoRoute => "no_route",
            Self::BeyondScope => "beyond_scope",
            Self::AddressUnreachable => "address_unreachable",
            Self::SourceProhibited => "source_prohibited",
            Self::RejectRoute => "rejected",
            Self::TimeExceeded => "time_exceeded",
            Self::ReassemblyTimeExceeded => "reassembly_time_exceeded",
            Self::ParameterProblem => "parameter_problem",
            Self::Unreachable => "unreachable",
        }
    }

    /// Whether somebody decided it, rather than that the way there is broken.
    #[must_use]
    pub const fn is_policy(self) -> bool {
        match self {
            Self::NetworkProhibited
            | Self::HostProhibited
            | Self::Prohibited
            | Self::SourceProhibited
            | Self::RejectRoute => true,
            Self::NetworkUnreachable
            | Self::HostUnreachable
            | Self::ProtocolUnreachable
            | Self::PortUnreachable
            | Self::TooBig
            | Self::SourceRouteFailed
            | Self::NetworkUnknown
            | Self::HostUnknown
            | Self::SourceIsolated
            | Self::NetworkUnreachableForTos
            | Self::HostUnreachableForTos
            | Self::PrecedenceViolation
            | Self::PrecedenceCutoff
            | Self::NoRoute
            | Self::BeyondScope
            | Self::AddressUnreachable
            | Self::TimeExceeded
            | Self::ReassemblyTimeExceeded
            | Self::ParameterProblem
            | Self::Unreachable => false,
        }
    }

    /// Whether an opener that obeys gives up at once (a hard error). It may try again after the others, which can pass
    /// (RFC 1122, 4.2.3.9; Linux has the same in `icmp_err_convert`).
    pub(super) const fn is_final(self) -> bool {
        match self {
            Self::ProtocolUnreachable
            | Self::PortUnreachable
            | Self::NetworkUnknown
            | Self::HostUnknown
            | Self::SourceIsolated
            | Self::PrecedenceViolation
            | Self::PrecedenceCutoff => true,
            Self::NetworkUnreachable
            | Self::HostUnreachable
            | Self::TooBig
            | Self::SourceRouteFailed
            | Self::NetworkUnreachableForTos
            | Self::HostUnreachableForTos
            | Self::NoRoute
            | Self::BeyondScope
            | Self::AddressUnreachable
            | Self::TimeExceeded
            | Self::ReassemblyTimeExceeded
            | Self::ParameterProblem
            | Self::Unreachable => false,
            policy => policy.is_policy(),
        }
    }
}

/// An ICMP error, or several that say the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct IcmpError {
    /// What it says.
    pub reason: IcmpReason,
    /// ICMP of IPv4, or of IPv6.
    pub family: Family,
    /// Its type.
    pub icmp_type: u8,
    /// Its code.
    pub code: u8,
    /// The address of who sent it: a router, a firewall, or the host itself. IPv4 is mapped.
    pub sender: [u8; 16],
    /// How often it came.
    pub count: u32,
    /// When the first one passed, in nanoseconds of the monotonic clock.
    pub first_ns: u64,
    /// When the latest one passed, likewise.
    pub last_ns: u64,
    /// From the SYN or SYN-ACK to the first one; `None` for an error about another segment.
    pub delay: Option<Leg>,
}

/// How large packets may be on the way of a flow, as a router said.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PathMtu {
    /// The largest packet that fits, in bytes; `None` where an old router does not say (RFC 1191, 4).
    pub mtu: Option<u32>,
    /// The address of the router, IPv4 mapped.
    pub router: [u8; 16],
}

/// What ICMP errors said about a flow.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct IcmpNotes {
    /// The latest error of those that are no [`PathMtu`].
    pub(super) error: Option<IcmpError>,
    pub(super) path_mtu: Option<PathMtu>,
}

impl IcmpNotes {
    /// Notes an error, `delay` after the segment that it is about. Returns what it says.
    pub(super) fn note(&mut self, icmp: &IcmpRecord, delay: Option<Leg>) -> IcmpReason {
        let reason = IcmpReason::of(icmp.family, icmp.icmp_type, icmp.code);
        if reason == IcmpReason::TooBig {
            self.path_mtu = Some(PathMtu { mtu: icmp.mtu, router: icmp.sender });
            return reason;
        }
        let new = IcmpError {
            reason,
            family: icmp.family,
            icmp_type: icmp.icmp_type,
            code: icmp.code,
            sender: icmp.sender,
            count: 1,
            first_ns: icmp.time_ns,
            last_ns: icmp.time_ns,
            delay,
        };
        let is_same = |known: &&mut IcmpError| {
            (known.icmp_type, known.code, known.sender) == (new.icmp_type, new.code, new.sender)
        };
        match self.error.as_mut().filter(is_same) {
            Some(known) => {
                known.count = known.count.saturating_add(1);
                known.last_ns = icmp.time_ns;
            }
            None => self.error = Some(new),
        }
        reason
    }
}
