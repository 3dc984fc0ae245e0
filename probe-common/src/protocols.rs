//! Numbers of protocols around TCP, and what packets are that hold no TCP.

use core::fmt;

use crate::icmp;
use crate::verifier::pinned;

/// EtherTypes.
pub const IPV4: u16 = 0x0800;
/// See [`IPV4`].
pub const IPV6: u16 = 0x86dd;
pub(crate) const TRANSPARENT_ETHERNET: u16 = 0x6558;
pub(crate) const PPPOE_SESSION: u16 = 0x8864;
pub(crate) const MPLS: [u16; 2] = [0x8847, 0x8848];
/// IEEE 802.1Q, 802.1ad, and the older types of stacked tags.
pub(crate) const VLAN: [u16; 4] = [0x8100, 0x88a8, 0x9100, 0x9200];
pub(crate) const ERSPAN_2: u16 = 0x88be;
pub(crate) const ERSPAN_3: u16 = 0x22eb;
/// From here on the field of an Ethernet header is an EtherType, below it is a length (IEEE 802.3, 3.2.6).
pub(crate) const FIRST_ETHERTYPE: u16 = 0x0600;
/// PPP protocol numbers of IPv4, IPv6 and MPLS (IANA).
pub(crate) const PPP_IPV4: u16 = 0x0021;
pub(crate) const PPP_IPV6: u16 = 0x0057;
pub(crate) const PPP_MPLS: u16 = 0x0281;

pub(crate) const IP_IN_IP: u8 = 4;
/// The number of TCP as an IP protocol.
pub const TCP: u8 = 6;
pub(crate) const UDP: u8 = 17;
pub(crate) const IPV6_IN_IP: u8 = 41;
pub(crate) const GRE: u8 = 47;
pub(crate) const AUTHENTICATION: u8 = 51;

/// The ports of tunnels over UDP: VXLAN (and the one that Linux had before the standard), GENEVE and GTP-U.
pub(crate) const VXLAN_PORT: u16 = 4789;
pub(crate) const VXLAN_PORT_OF_LINUX: u16 = 8472;
pub(crate) const GENEVE_PORT: u16 = 6081;
pub(crate) const GTP_PORT: u16 = 2152;

/// The upper half of the word of each kind but IP protocols.
const ETHERTYPE: u32 = 1;
const UDP_PORT: u32 = 2;
const NOT_IP: u32 = 3;
const ICMP_ERROR: u32 = 4;
pub(crate) const TRUNCATED: u32 = 5;

/// What a packet was that holds no TCP, as far as it was looked into.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum PassedOver {
    /// A frame of this EtherType; below 1,536 it is a length, and the frame is of IEEE 802.3.
    EtherType(u16),
    /// An IP packet of this protocol (IANA's numbers).
    Protocol(u8),
    /// A UDP datagram of a tunnel to this port.
    UdpPort(u16),
    /// An ICMP error within a tunnel, or about one.
    IcmpError,
    /// Neither IPv4 nor IPv6, where the link layer does not say what it is.
    NotIp,
    /// The packet ends before its headers do.
    Truncated,
}

impl PassedOver {
    /// A frame with more VLAN tags than are looked behind.
    pub const TAGS: Self = Self::EtherType(VLAN[0]);

    /// Its name, where it has one that people know.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        match self {
            Self::EtherType(ethertype) => ethertype_name(ethertype),
            Self::Protocol(protocol) => protocol_name(protocol),
            Self::UdpPort(port) => udp_tunnel(port),
            Self::IcmpError | Self::NotIp | Self::Truncated => None,
        }
    }

    /// A kind as a word, which is not 0 unless it is an IP protocol: the functions of the kernel programs pass no more.
    #[inline(always)]
    #[must_use]
    pub fn word(self) -> u32 {
        match self {
            Self::Protocol(protocol) => pinned(protocol.into()),
            Self::EtherType(ethertype) => ETHERTYPE << 16 | pinned(ethertype.into()),
            Self::UdpPort(port) => UDP_PORT << 16 | pinned(port.into()),
            Self::NotIp => NOT_IP << 16,
            Self::IcmpError => ICMP_ERROR << 16,
            Self::Truncated => TRUNCATED << 16,
        }
    }

    /// The kind with this [`word`](Self::word).
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "the lower half of the word")]
    pub(crate) const fn of_word(word: u32) -> Self {
        match word >> 16 {
            0 => Self::Protocol(word as u8),
            ETHERTYPE => Self::EtherType(word as u16),
            UDP_PORT => Self::UdpPort(word as u16),
            NOT_IP => Self::NotIp,
            ICMP_ERROR => Self::IcmpError,
            _ => Self::Truncated,
        }
    }
}

impl fmt::Display for PassedOver {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::EtherType(..FIRST_ETHERTYPE) => return formatter.write_str("IEEE 802.3 (LLC)"),
            Self::EtherType(ethertype) => write!(formatter, "EtherType {ethertype:#06x}")?,
            Self::Protocol(protocol) => write!(formatter, "IP protocol {protocol}")?,
            Self::UdpPort(port) => write!(formatter, "UDP port {port}")?,
            Self::IcmpError => return formatter.write_str("ICMP error in or about a tunnel"),
            Self::NotIp => return formatter.write_str("neither IPv4 nor IPv6"),
            Self::Truncated => return formatter.write_str("cut off"),
        }
        match self.name() {
            Some(name) => write!(formatter, " ({name})"),
            None => Ok(()),
        }
    }
}

const fn ethertype_name(ethertype: u16) -> Option<&'static str> {
    Some(match ethertype {
        IPV4 => "IPv4",
        0x0806 => "ARP",
        0x8035 => "RARP",
        TRANSPARENT_ETHERNET => "bridged Ethernet",
        0x8100 | 0x88a8 | 0x9100 | 0x9200 => "VLAN",
        IPV6 => "IPv6",
        0x8809 => "LACP",
        0x8847 | 0x8848 => "MPLS",
        0x8863 => "PPPoE discovery",
        PPPOE_SESSION => "PPPoE",
        0x888e => "EAPOL",
        ERSPAN_2 | ERSPAN_3 => "ERSPAN",
        0x88cc => "LLDP",
        0x88e5 => "MACsec",
        0x88e7 => "PBB",
        0x88f7 => "PTP",
        0x894f => "NSH",
        _ => return None,
    })
}

const fn protocol_name(protocol: u8) -> Option<&'static str> {
    Some(match protocol {
        icmp::ICMP => "ICMP",
        2 => "IGMP",
        IP_IN_IP => "IPv4",
        UDP => "UDP",
        IPV6_IN_IP => "IPv6",
        GRE => "GRE",
        50 => "ESP",
        AUTHENTICATION => "AH",
        icmp::ICMPV6 => "ICMPv6",
        89 => "OSPF",
        97 => "EtherIP",
        103 => "PIM",
        108 => "IPComp",
        112 => "VRRP",
        115 => "L2TP",
        132 => "SCTP",
        137 => "MPLS",
        _ => return None,
    })
}

/// Tunnels over UDP by their port, looked into or not.
pub(crate) const fn udp_tunnel(port: u16) -> Option<&'static str> {
    Some(match port {
        1194 => "OpenVPN",
        1701 => "L2TP",
        GTP_PORT => "GTP-U",
        3544 => "Teredo",
        4341 => "LISP",
        4500 => "IPsec",
        4754 => "GRE",
        VXLAN_PORT | VXLAN_PORT_OF_LINUX => "VXLAN",
        4790 => "VXLAN-GPE",
        GENEVE_PORT => "GENEVE",
        6635 => "MPLS",
        51820 => "WireGuard",
        _ => return None,
    })
}
