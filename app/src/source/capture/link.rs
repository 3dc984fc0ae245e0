//! Link types of captures (<https://www.tcpdump.org/linktypes.html>).

use probe_common::{Direction, LinkLayer};

/// A link type that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum LinkType {
    /// Ethernet.
    Ethernet,
    /// Nothing before the IP header.
    Raw,
    /// Four bytes that name the address family, before the IP header.
    Null,
    /// Linux cooked capture, version 1: of several interfaces at once, with the direction.
    Cooked1,
    /// Linux cooked capture, version 2.
    Cooked2,
}

/// `LINKTYPE_LINUX_SLL`: packet type in bytes 0 and 1, EtherType in 14 and 15.
const COOKED1_LEN: usize = 16;
/// `LINKTYPE_LINUX_SLL2`: EtherType in bytes 0 and 1, packet type in byte 10.
const COOKED2_LEN: usize = 20;
/// `PACKET_OUTGOING` (`linux/if_packet.h`); the smaller ones came in.
const OUTGOING: u8 = 4;

impl LinkType {
    /// The link type of a number, or `None` when it cannot be read.
    pub(super) const fn new(number: i32) -> Option<Self> {
        match number {
            0 | 108 => Some(Self::Null),
            1 => Some(Self::Ethernet),
            // The first three are what systems write that number their own raw IP otherwise.
            12 | 14 | 101 | 228 | 229 => Some(Self::Raw),
            113 => Some(Self::Cooked1),
            276 => Some(Self::Cooked2),
            _ => None,
        }
    }

    /// How many bytes of a packet to pass over, what stands before the IP header then, and which way the
    /// packet went if the link type tells. `None` when the packet ends before that.
    pub(super) fn read(self, bytes: &[u8]) -> Option<(usize, LinkLayer, Direction)> {
        Some(match self {
            Self::Ethernet => (0, LinkLayer::Ethernet, Direction::Unknown),
            Self::Raw => (0, LinkLayer::None, Direction::Unknown),
            Self::Null => (4, LinkLayer::None, Direction::Unknown),
            Self::Cooked1 => (COOKED1_LEN, LinkLayer::None, direction(*bytes.get(1)?)),
            Self::Cooked2 => (COOKED2_LEN, LinkLayer::None, direction(*bytes.get(10)?)),
        })
    }
}

const fn direction(packet_type: u8) -> Direction {
    match packet_type {
        OUTGOING => Direction::Egress,
        _ => Direction::Ingress,
    }
}
