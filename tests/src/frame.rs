//! What a script needs to know about a frame.

use std::net::{IpAddr, Ipv6Addr, SocketAddr};

use probe_common::{Endpoint, LinkLayer, Segment, TcpFlags, parse};

use crate::script::Kind;

/// Wires carry no tags.
const ETHERNET_LEN: usize = 14;

/// A TCP frame, as far as rules look at it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct TcpFrame {
    pub(crate) source: SocketAddr,
    pub(crate) destination: SocketAddr,
    pub(crate) kind: Kind,
    pub(crate) seq: u32,
    /// Length of the IP packet.
    pub(crate) ip_len: usize,
}

impl TcpFrame {
    /// `None` for what no rule may touch: ARP, neighbour discovery, UDP, fragments, whatever cannot be parsed.
    pub(crate) fn of(frame: &[u8], link_layer: LinkLayer) -> Option<Self> {
        let segment = parse(frame, link_layer, u32::try_from(frame.len()).ok()?).ok()?;
        Some(Self {
            source: socket_address(segment.from()),
            destination: socket_address(segment.to()),
            kind: kind(&segment),
            seq: segment.seq,
            ip_len: frame.len() - if link_layer == LinkLayer::Ethernet { ETHERNET_LEN } else { 0 },
        })
    }

    pub(crate) fn concerns_address(&self, address: IpAddr) -> bool {
        self.source.ip() == address || self.destination.ip() == address
    }

    pub(crate) fn concerns_port(&self, port: u16) -> bool {
        self.source.port() == port || self.destination.port() == port
    }

    /// The two ends in an order that both directions agree on.
    pub(crate) fn ends(&self) -> [SocketAddr; 2] {
        [self.source.min(self.destination), self.source.max(self.destination)]
    }
}

fn kind(segment: &Segment) -> Kind {
    let has = |flag| segment.flags.has(flag);
    match () {
        () if has(TcpFlags::RST) => Kind::Rst,
        () if has(TcpFlags::SYN) && has(TcpFlags::ACK) => Kind::SynAck,
        () if has(TcpFlags::SYN) => Kind::Syn,
        () if has(TcpFlags::FIN) => Kind::Fin,
        () if segment.payload_len > 0 => Kind::Data,
        () => Kind::Ack,
    }
}

/// In the family that tests write: `10.9.0.1`, not `::ffff:10.9.0.1`.
fn socket_address(end: Endpoint) -> SocketAddr {
    SocketAddr::new(Ipv6Addr::from(end.address).to_canonical(), end.port)
}
