//! From the bytes of a packet to its TCP segment.
//!
//! Ethernet with up to two VLAN tags, or no link header at all; IPv4 with options (RFC 791); IPv6 with
//! extension headers (RFC 8200, 4); TCP (RFC 9293). Whatever cannot be read is said by an [`Unparsed`],
//! never guessed. Loops are bounded, so that the kernel's verifier accepts them.

use crate::bytes::{Load, Window};
use crate::icmp::{ICMP, ICMPV6};
use crate::protocols::{AUTHENTICATION, IPV4, IPV6, TCP, VLAN};
use crate::segment::{Family, Segment, TcpFlags, mapped_words};
use crate::verifier::forget;

const ETHERNET_LEN: usize = 14;
const VLAN_TAG_LEN: usize = 4;
/// The outer tag usually travels in the packet's metadata; in the packet itself two are the most in use.
const MAX_VLAN_TAGS: usize = 2;

const IPV4_MIN_LEN: usize = 20;
const IPV6_LEN: usize = 40;
const TCP_MIN_LEN: usize = 20;

const HOP_BY_HOP: u8 = 0;
const ROUTING: u8 = 43;
const FRAGMENT: u8 = 44;
const DESTINATION_OPTIONS: u8 = 60;
/// RFC 8200 (4.1) names seven extension headers in its order, two of them destination options.
const MAX_EXTENSION_HEADERS: usize = 8;

/// What stands before the IP header.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LinkLayer {
    /// An Ethernet header.
    Ethernet,
    /// Nothing: tun, ppp, wireguard.
    None,
}

/// Why a packet gave no segment. As wide as a segment's first field, in whose place it lies in a `Result`: otherwise
/// the compiler takes that field apart, and the verifier does not let its pieces be written to the stack.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u64)]
pub enum Unparsed {
    /// Not TCP over IP. Not a loss, so not counted.
    NotTcp,
    /// A later fragment of a TCP packet: it holds no TCP header.
    Fragment,
    /// More IPv6 extension headers than the bound.
    TooDeep,
    /// The packet ends before its headers do.
    Truncated,
    /// The headers contradict themselves.
    Malformed,
    /// SYN and FIN in one segment: no stack sends that, but scanners do.
    SynFin,
    /// ICMP, which may be about TCP: see [`ParsedIcmp`](crate::ParsedIcmp). Not a loss, so not counted.
    Icmp,
    /// An ICMP error within a tunnel, or about one. Neither is looked into, but they are counted, apart from the losses.
    IcmpTunnel,
}

impl Unparsed {
    /// Those that are counted as losses, in the order of their cells.
    pub const COUNTED: [Self; 5] =
        [Self::Fragment, Self::TooDeep, Self::Truncated, Self::Malformed, Self::SynFin];

    /// The word for it, as in `lost` of the JSON output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NotTcp => "not_tcp",
            Self::Fragment => "fragment",
            Self::TooDeep => "too_deep",
            Self::Truncated => "truncated",
            Self::Malformed => "malformed",
            Self::SynFin => "syn_fin",
            Self::Icmp => "icmp",
            Self::IcmpTunnel => "icmp_tunnel",
        }
    }
}

/// Where the network layer begins, and what it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Network {
    /// IPv4 or IPv6.
    pub family: Family,
    /// How many bytes stand before it.
    pub offset: usize,
}

/// Reads the TCP segment in `packet`, which was `packet_len` bytes long on its interface.
///
/// # Errors
/// Says why there is none; see [`Unparsed`].
#[inline(always)]
pub fn parse<P: Load + ?Sized>(packet: &P, link: LinkLayer, packet_len: u32) -> Result<Segment, Unparsed> {
    let network = network(packet, link)?;
    segment::<P, false>(packet, network, packet_len)
}

/// The same of a packet as nearly all are: without VLAN tags and headers between IP and TCP.
///
/// # Errors
/// As [`parse`], and [`Unparsed::TooDeep`] for any other packet that may hold TCP.
#[inline(always)]
pub fn parse_plain<P: Load + ?Sized>(
    packet: &P,
    link: LinkLayer,
    packet_len: u32,
) -> Result<Segment, Unparsed> {
    let network = match link {
        LinkLayer::Ethernet => {
            let ethertype = window::<P, ETHERNET_LEN>(packet, 0)?.be16::<12>();
            let family = match ethertype {
                IPV4 => Family::V4,
                IPV6 => Family::V6,
                tag if VLAN.contains(&tag) => return Err(Unparsed::TooDeep),
                _ => return Err(Unparsed::NotTcp),
            };
            Network { family, offset: ETHERNET_LEN }
        }
        LinkLayer::None => network(packet, link)?,
    };
    segment::<P, true>(packet, network, packet_len)
}

/// Reads the TCP segment of the IP packet that begins there. `PLAIN` as for [`parse_plain`].
///
/// # Errors
/// See [`parse`].
#[inline(always)]
pub(crate) fn segment<P: Load + ?Sized, const PLAIN: bool>(
    packet: &P,
    Network { family, offset }: Network,
    packet_len: u32,
) -> Result<Segment, Unparsed> {
    match family {
        Family::V4 => ipv4::<P, PLAIN>(packet, offset, packet_len),
        Family::V6 => ipv6::<P, PLAIN>(packet, offset, packet_len),
    }
}

/// Finds the network layer behind the link header.
///
/// # Errors
/// When the packet ends before, or it is not IP.
#[inline(always)]
pub fn network<P: Load + ?Sized>(packet: &P, link: LinkLayer) -> Result<Network, Unparsed> {
    match link {
        LinkLayer::Ethernet => behind_ethernet(packet),
        LinkLayer::None => Ok(Network { family: family_by_version(packet)?, offset: 0 }),
    }
}

/// What nearly every packet has comes first: no tag.
#[inline(always)]
fn behind_ethernet<P: Load + ?Sized>(packet: &P) -> Result<Network, Unparsed> {
    let mut offset = ETHERNET_LEN;
    let mut ethertype = window::<P, ETHERNET_LEN>(packet, 0)?.be16::<12>();
    for tags in 0..=MAX_VLAN_TAGS {
        match ethertype {
            IPV4 => return Ok(Network { family: Family::V4, offset }),
            IPV6 => return Ok(Network { family: Family::V6, offset }),
            tag if tags < MAX_VLAN_TAGS && VLAN.contains(&tag) => {
                ethertype = window::<P, VLAN_TAG_LEN>(packet, offset)?.be16::<2>();
                offset = bounded(offset + VLAN_TAG_LEN, ethertype)?;
            }
            _ => break,
        }
    }
    Err(Unparsed::NotTcp)
}

/// Without a link header the IP version is all there is.
#[inline(always)]
fn family_by_version<P: Load + ?Sized>(packet: &P) -> Result<Family, Unparsed> {
    // Two bytes: of a check for one, which the compiler writes as "less than", the verifier learns nothing.
    match window::<P, 2>(packet, 0)?.byte::<0>() >> 4 {
        4 => Ok(Family::V4),
        6 => Ok(Family::V6),
        _ => Err(Unparsed::NotTcp),
    }
}

/// Reads the TCP segment behind the IPv4 header at `offset`.
///
/// # Errors
/// See [`parse`].
#[inline(always)]
fn ipv4<P: Load + ?Sized, const PLAIN: bool>(
    packet: &P,
    offset: usize,
    packet_len: u32,
) -> Result<Segment, Unparsed> {
    let header = window::<P, IPV4_MIN_LEN>(packet, offset)?;
    let protocol = header.byte::<9>();
    if protocol != TCP && protocol != AUTHENTICATION {
        return Err(if protocol == ICMP { Unparsed::Icmp } else { Unparsed::NotTcp });
    }
    let version_ihl = header.byte::<0>();
    let header_len = usize::from(version_ihl & 0x0f) * 4;
    if version_ihl >> 4 != 4 || header_len < IPV4_MIN_LEN {
        return Err(Unparsed::Malformed);
    }
    if header.be16::<6>() & 0x1fff != 0 {
        return Err(if protocol == TCP { Unparsed::Fragment } else { Unparsed::NotTcp });
    }
    let mut transport = offset + header_len;
    if protocol == AUTHENTICATION {
        if PLAIN {
            return Err(Unparsed::TooDeep);
        }
        transport = bounded(transport + authentication_len(packet, transport)?, header.be16::<4>())?;
    }
    let end = end_of_ip(header.be16::<2>().into(), offset, packet_len)?;
    let addresses = (mapped_words(header.be32::<12>()), mapped_words(header.be32::<16>()));
    let ip = Ip { family: Family::V4, ident: header.be16::<4>(), ttl: header.byte::<8>() };
    tcp(packet, ip, addresses, transport, end)
}

/// The length of an authentication header (RFC 4302, 2) before TCP.
#[inline(always)]
fn authentication_len<P: Load + ?Sized>(packet: &P, offset: usize) -> Result<usize, Unparsed> {
    let header = window::<P, 4>(packet, offset)?;
    if header.byte::<0>() != TCP {
        return Err(Unparsed::NotTcp);
    }
    Ok((usize::from(header.byte::<1>()) + 2) * 4)
}

/// Reads the TCP segment behind the IPv6 header at `offset`.
///
/// # Errors
/// See [`parse`].
#[inline(always)]
fn ipv6<P: Load + ?Sized, const PLAIN: bool>(
    packet: &P,
    offset: usize,
    packet_len: u32,
) -> Result<Segment, Unparsed> {
    let header = window::<P, IPV6_LEN>(packet, offset)?;
    if header.byte::<0>() >> 4 != 6 {
        return Err(Unparsed::Malformed);
    }
    let payload_len = u32::from(header.be16::<4>());
    let addresses = (
        [header.be64::<8, 12>(), header.be64::<16, 20>()],
        [header.be64::<24, 28>(), header.be64::<32, 36>()],
    );
    let transport = transport_offset::<P, PLAIN>(packet, header.byte::<6>(), offset + IPV6_LEN)?;
    // 0 stands for "longer than 16 bits can say" (RFC 2675), as in IPv4 since Linux 6.3 (BIG TCP).
    let total_len = if payload_len == 0 { 0 } else { payload_len + 40 };
    let end = end_of_ip(total_len, offset, packet_len)?;
    let ip = Ip { family: Family::V6, ident: 0, ttl: header.byte::<7>() };
    tcp(packet, ip, addresses, transport, end)
}

/// Where the IP packet ends. A frame can be longer (Ethernet pads to 60 bytes), never shorter.
#[inline(always)]
pub(crate) fn end_of_ip(total_len: u32, offset: usize, packet_len: u32) -> Result<u32, Unparsed> {
    // Offsets are bounded by the headers walked so far: some 2 KiB at the most.
    #[allow(clippy::cast_possible_truncation, reason = "bounded, see above")]
    let end = offset as u32 + total_len;
    if total_len == 0 {
        Ok(packet_len)
    } else if end <= packet_len {
        Ok(end)
    } else {
        Err(Unparsed::Truncated)
    }
}

/// Walks the extension headers to the TCP header.
#[inline(always)]
fn transport_offset<P: Load + ?Sized, const PLAIN: bool>(
    packet: &P,
    first: u8,
    start: usize,
) -> Result<usize, Unparsed> {
    let mut next_header = first;
    let mut offset = start;
    for _ in 0..MAX_EXTENSION_HEADERS {
        if next_header == TCP {
            return Ok(offset);
        }
        if ![HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS, AUTHENTICATION, FRAGMENT].contains(&next_header) {
            return Err(if next_header == ICMPV6 { Unparsed::Icmp } else { Unparsed::NotTcp });
        }
        if PLAIN {
            return Err(Unparsed::TooDeep);
        }
        let header = window::<P, 4>(packet, offset)?;
        let (following, len) = (header.byte::<0>(), header.byte::<1>());
        if next_header == FRAGMENT && header.be16::<2>() & 0xfff8 != 0 {
            // In a later fragment the next header names what the first one began with.
            return Err(if following == TCP { Unparsed::Fragment } else { Unparsed::NotTcp });
        }
        offset += match next_header {
            FRAGMENT => 8,
            AUTHENTICATION => (usize::from(len) + 2) * 4,
            _ => (usize::from(len) + 1) * 8,
        };
        offset = bounded(offset, following.into())?;
        next_header = following;
    }
    if next_header == TCP { Ok(offset) } else { Err(Unparsed::TooDeep) }
}

/// Headers end before this, in bytes: one that says otherwise is made to be odd.
pub(crate) const MAX_OFFSET: usize = 0x3fff;

/// An offset behind one more header. The kernel's verifier forgets how it came about: else it would look at all that follows
/// for every way that leads there. `any` is something of the packet, see [`forget`].
#[inline(always)]
pub(crate) fn bounded(offset: usize, any: u16) -> Result<usize, Unparsed> {
    let offset = forget(offset, any.into());
    if offset > MAX_OFFSET { Err(Unparsed::Truncated) } else { Ok(offset) }
}

/// What a segment keeps of its IP header, beside the addresses.
#[derive(Clone, Copy)]
struct Ip {
    family: Family,
    ident: u16,
    ttl: u8,
}

#[inline(always)]
fn tcp<P: Load + ?Sized>(
    packet: &P,
    ip: Ip,
    (source, destination): ([u64; 2], [u64; 2]),
    offset: usize,
    end: u32,
) -> Result<Segment, Unparsed> {
    let header = window::<P, TCP_MIN_LEN>(packet, offset)?;
    let header_len = usize::from(header.byte::<12>() >> 4) * 4;
    #[allow(clippy::cast_possible_truncation, reason = "as in `end_of_ip`")]
    let payload = (offset + header_len) as u32;
    if header_len < TCP_MIN_LEN || payload > end {
        return Err(Unparsed::Malformed);
    }
    #[allow(clippy::cast_possible_truncation, reason = "offset as in `end_of_ip`; 0 to 40 of options")]
    let (options_offset, options_len) = ((offset + TCP_MIN_LEN) as u16, (header_len - TCP_MIN_LEN) as u8);
    Ok(Segment {
        source,
        destination,
        source_port: header.be16::<0>(),
        destination_port: header.be16::<2>(),
        family: ip.family,
        seq: header.be32::<4>(),
        ack: header.be32::<8>(),
        flags: TcpFlags(header.byte::<13>()),
        payload_len: end - payload,
        options_offset,
        options: options_len | if header.be16::<14>() == 0 { Segment::CLOSED } else { 0 },
        ttl: ip.ttl,
        ident: ip.ident,
    })
}

#[inline(always)]
pub(crate) fn window<P: Load + ?Sized, const N: usize>(
    packet: &P,
    offset: usize,
) -> Result<P::Window<'_>, Unparsed> {
    packet.window::<N>(offset).ok_or(Unparsed::Truncated)
}
