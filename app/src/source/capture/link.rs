//! Link types of captures (<https://www.tcpdump.org/linktypes.html>).

use probe_common::Direction;
use probe_common::encapsulation::Layer;

/// A link type that can be read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(super) enum LinkType {
    /// Ethernet.
    Ethernet,
    /// Nothing before the IP header.
    Raw,
    /// Four bytes that name the address family, before the IP header.
    Null,
    /// Linux cooked capture, version 1: of several interfaces at once, with the direction.
    Cooked1,
    /// Linux cooked capture, version 2: with the index of the interface, too.
    Cooked2,
}

/// What the link header of one packet says.
#[derive(Clone, Copy, Debug)]
pub(super) struct LinkHeader {
    /// Its length, in bytes.
    pub(super) len: usize,
    /// What follows it.
    pub(super) layer: Layer,
    pub(super) direction: Direction,
    /// Index of the interface on the host that captured it, where several are in one capture; 0 else.
    pub(super) ifindex: u32,
}

/// `LINKTYPE_LINUX_SLL`: packet type in bytes 0 and 1, protocol in 14 and 15.
const COOKED1_LEN: usize = 16;
/// `LINKTYPE_LINUX_SLL2`: protocol in bytes 0 and 1, interface index in 4 to 7, packet type in 10.
const COOKED2_LEN: usize = 20;
/// `PACKET_OUTGOING` (`linux/if_packet.h`); the smaller ones came in.
const OUTGOING: u8 = 4;
/// `ETH_P_802_2` (`linux/if_ether.h`): a frame without an EtherType.
const LLC: u16 = 4;
/// Values of a protocol field that are less are no EtherTypes, but Linux's own (`linux/if_ether.h`).
const FIRST_ETHERTYPE: u16 = 0x0600;

impl LinkType {
    /// The link type of a number, or `None` when it cannot be read.
    pub(super) const fn new(number: u16) -> Option<Self> {
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

    /// What stands before the IP header, or before its Ethernet header. `None` when the packet ends within it.
    pub(super) fn read(self, bytes: &[u8]) -> Option<LinkHeader> {
        let plain = |len, layer| LinkHeader { len, layer, direction: Direction::Unknown, ifindex: 0 };
        Some(match self {
            Self::Ethernet => plain(0, Layer::Ethernet),
            Self::Raw => plain(0, Layer::Ip),
            Self::Null => plain(4, Layer::Ip),
            Self::Cooked1 => {
                let header: &[u8; COOKED1_LEN] = bytes.first_chunk()?;
                let &[_, packet_type, .., high, low] = header;
                cooked(COOKED1_LEN, [high, low], packet_type, 0)
            }
            Self::Cooked2 => {
                let header: &[u8; COOKED2_LEN] = bytes.first_chunk()?;
                let &[high, low, _, _, a, b, c, d, _, _, packet_type, ..] = header;
                cooked(COOKED2_LEN, [high, low], packet_type, u32::from_be_bytes([a, b, c, d]))
            }
        })
    }
}

fn cooked(len: usize, protocol: [u8; 2], packet_type: u8, ifindex: u32) -> LinkHeader {
    let layer = match u16::from_be_bytes(protocol) {
        LLC => Layer::Llc,
        // A device without a link layer may not name one.
        other if other < FIRST_ETHERTYPE => Layer::Ip,
        ethertype => Layer::EtherType(ethertype),
    };
    let direction = if packet_type == OUTGOING { Direction::Egress } else { Direction::Ingress };
    LinkHeader { len, layer, direction, ifindex }
}
