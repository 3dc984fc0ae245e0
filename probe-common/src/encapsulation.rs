//! From the first byte of a packet to the IP header that carries its TCP segment, through whatever stands before it.
//!
//! VLAN tags (IEEE 802.1Q), LLC/SNAP (IEEE 802.2), PPPoE (RFC 2516), MPLS (RFC 3032), and one tunnel: IP in IP (RFC 2003,
//! 2473, 4213), GRE (RFC 2784, 2890), ERSPAN (draft-foschiano-erspan), VXLAN (RFC 7348), GENEVE (RFC 8926) or GTP-U (3GPP TS
//! 29.281). A tunnel within a tunnel is not looked into. Loops are bounded.

use crate::bytes::{Load, Window};
use crate::icmp;
use crate::parse;
use crate::protocols::{
    AUTHENTICATION, ERSPAN_2, ERSPAN_3, FIRST_ETHERTYPE, GENEVE_PORT, GRE, GTP_PORT, IP_IN_IP, IPV4, IPV6,
    IPV6_IN_IP, MPLS, PPP_IPV4, PPP_IPV6, PPP_MPLS, PPPOE_SESSION, PassedOver, TCP, TRANSPARENT_ETHERNET,
    UDP, VLAN, VXLAN_PORT, VXLAN_PORT_OF_LINUX, udp_tunnel,
};
use crate::segment::Family;
use crate::verifier::forget;

/// What begins at an offset of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Layer {
    /// An Ethernet header.
    Ethernet,
    /// An LLC header (IEEE 802.2).
    Llc,
    /// What frames of this EtherType carry.
    EtherType(u16),
    /// An IP header of either version.
    Ip,
}

/// A [`Layer`] as a word: an EtherType is itself, and the others have words above.
const ETHERNET: u32 = 0x1_0000;
const LLC: u32 = 0x1_0001;
const IP: u32 = 0x1_0002;
const LAYER_MASK: u32 = 0x1_ffff;

impl Layer {
    #[inline(always)]
    const fn word(self) -> u32 {
        match self {
            Self::Ethernet => ETHERNET,
            Self::Llc => LLC,
            Self::Ip => IP,
            Self::EtherType(ethertype) => ethertype as u32,
        }
    }
}

/// What carries the IP packet of a segment, when that is not plain Ethernet, with or without VLAN tags, or no link layer at all.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
#[repr(u8)]
pub enum Encapsulation {
    /// Nothing.
    #[default]
    None = 0,
    /// LLC and SNAP on Ethernet.
    Snap = 1,
    /// PPP over Ethernet.
    Pppoe = 2,
    /// MPLS labels.
    Mpls = 3,
    /// IPv4 in IPv4.
    Ip4In4 = 4,
    /// IPv6 in IPv4 (SIT, 6to4, 6rd).
    Ip6In4 = 5,
    /// IPv4 in IPv6 (DS-Lite).
    Ip4In6 = 6,
    /// IPv6 in IPv6.
    Ip6In6 = 7,
    /// GRE.
    Gre = 8,
    /// ERSPAN of type I, II or III.
    Erspan = 9,
    /// VXLAN.
    Vxlan = 10,
    /// GENEVE.
    Geneve = 11,
    /// GTP-U.
    Gtp = 12,
}

impl Encapsulation {
    /// Every one, in the order of its number.
    pub const ALL: [Self; 13] = [
        Self::None,
        Self::Snap,
        Self::Pppoe,
        Self::Mpls,
        Self::Ip4In4,
        Self::Ip6In4,
        Self::Ip4In6,
        Self::Ip6In6,
        Self::Gre,
        Self::Erspan,
        Self::Vxlan,
        Self::Geneve,
        Self::Gtp,
    ];

    /// The one with this number.
    #[inline(always)]
    #[must_use]
    const fn of_number(number: u8) -> Self {
        match number {
            1 => Self::Snap,
            2 => Self::Pppoe,
            3 => Self::Mpls,
            4 => Self::Ip4In4,
            5 => Self::Ip6In4,
            6 => Self::Ip4In6,
            7 => Self::Ip6In6,
            8 => Self::Gre,
            9 => Self::Erspan,
            10 => Self::Vxlan,
            11 => Self::Geneve,
            12 => Self::Gtp,
            _ => Self::None,
        }
    }

    /// Its name in lower case, or `None` for nothing.
    #[must_use]
    pub const fn name(self) -> Option<&'static str> {
        Some(match self {
            Self::None => return None,
            Self::Snap => "snap",
            Self::Pppoe => "pppoe",
            Self::Mpls => "mpls",
            Self::Ip4In4 => "4in4",
            Self::Ip6In4 => "6in4",
            Self::Ip4In6 => "4in6",
            Self::Ip6In6 => "6in6",
            Self::Gre => "gre",
            Self::Erspan => "erspan",
            Self::Vxlan => "vxlan",
            Self::Geneve => "geneve",
            Self::Gtp => "gtp-u",
        })
    }
}

/// An IP packet within a packet, which holds TCP as far as its headers say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Inner {
    /// IPv4 or IPv6.
    pub family: Family,
    /// How many bytes stand before it.
    pub offset: usize,
    /// What carries it.
    pub encapsulation: Encapsulation,
}

/// Bits and fields of the word that [`find_network`] returns when it finds one.
const FOUND: u64 = 1 << 63;
const IS_V6: u64 = 1 << 40;
const ENCAPSULATION_SHIFT: u32 = 32;

/// The word for it.
#[inline(always)]
const fn found(family: Family, offset: usize, encapsulation: u32) -> u64 {
    let version = match family {
        Family::V4 => 0,
        Family::V6 => IS_V6,
    };
    FOUND | version | (encapsulation as u64) << ENCAPSULATION_SHIFT | offset as u64
}

impl Inner {
    /// What [`find_network`] says.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "each field is as wide as its type")]
    fn of(word: u64) -> Result<Self, PassedOver> {
        if word & FOUND == 0 {
            return Err(PassedOver::of_word(word as u32));
        }
        Ok(Self {
            family: if word & IS_V6 == 0 { Family::V4 } else { Family::V6 },
            offset: word as usize & parse::MAX_OFFSET,
            encapsulation: Encapsulation::of_number((word >> ENCAPSULATION_SHIFT) as u8),
        })
    }
}

/// Tags, labels and the like before an IP header, each counted: more than networks stack.
const MAX_LINK_HEADERS: usize = 12;
/// As for plain IPv6.
const MAX_EXTENSION_HEADERS: usize = 8;
const MAX_GTP_EXTENSIONS: usize = 4;

/// Finds the IP header of what may be a TCP segment in `packet`, which begins with `first`. With `decap` it looks
/// through everything that this module names, without it through VLAN tags only.
///
/// # Errors
/// Says what the packet is when it holds no TCP.
#[inline(always)]
pub fn locate<P: FindNetwork + ?Sized>(packet: &P, first: Layer, decap: bool) -> Result<Inner, PassedOver> {
    let outer = network(packet, first, 0, Encapsulation::None, decap)?;
    let (protocol, payload) = protocol(packet, outer)?;
    if protocol == TCP {
        return Ok(outer);
    }
    let passed_over = passed_over(packet, protocol, payload);
    if !decap {
        return Err(passed_over);
    }
    let Some(tunnel) = tunnel(packet, outer.family, protocol, payload) else { return Err(passed_over) };
    let start = bounded(tunnel.offset, tunnel.any)?;
    let inner = match network(packet, tunnel.layer, start, tunnel.encapsulation, true) {
        Err(PassedOver::EtherType(_) | PassedOver::NotIp) => return Err(passed_over),
        inner => inner?,
    };
    match self::protocol(packet, inner)? {
        (TCP, _) => Ok(inner),
        (other, Some(payload)) if other == icmp::number(inner.family) => {
            let icmp_type = window::<P, 8>(packet, payload)?.byte::<0>();
            let is_error = icmp::is_error(inner.family, icmp_type);
            Err(if is_error { PassedOver::IcmpError } else { PassedOver::Protocol(other) })
        }
        (other, payload) => Err(self::passed_over(packet, other, payload)),
    }
}

/// The outermost IP header of a packet that begins with `first`. `decap` as of [`locate`].
///
/// # Errors
/// Says what the packet is when there is none.
pub fn outer<P: FindNetwork + ?Sized>(packet: &P, first: Layer, decap: bool) -> Result<Inner, PassedOver> {
    network(packet, first, 0, Encapsulation::None, decap)
}

/// The IP header behind link headers. `outer` is what carries them.
#[inline(always)]
fn network<P: FindNetwork + ?Sized>(
    packet: &P,
    first: Layer,
    start: usize,
    outer: Encapsulation,
    decap: bool,
) -> Result<Inner, PassedOver> {
    let decap = if decap { LOOK_INTO } else { 0 };
    #[allow(clippy::cast_possible_truncation, reason = "bounded by `MAX_OFFSET`")]
    Inner::of(packet.find_network(first.word(), start as u32, outer as u32 | decap))
}

/// A packet in which [`find_network`] can be called as a function that the kernel's verifier checks once, rather than on
/// every path that leads to it.
pub trait FindNetwork: Load {
    /// See [`find_network`].
    #[inline(always)]
    fn find_network(&self, first: u32, start: u32, outer: u32) -> u64 {
        find_network(self, first, start, outer)
    }
}

impl FindNetwork for [u8] {}

/// What is added to the number of what carries link headers: they are looked into.
const LOOK_INTO: u32 = 0x100;

/// The IP header behind the link headers that begin at `start` with this layer, as words, because the functions of the
/// kernel programs pass no more: an [`Inner`], or what the packet is.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "the numbers are as wide as their types")]
pub fn find_network<P: Load + ?Sized>(packet: &P, first: u32, start: u32, outer: u32) -> u64 {
    let decap = outer & LOOK_INTO != 0;
    let (mut layer, mut offset, mut carried_by) = (first, start as usize & parse::MAX_OFFSET, outer & 0xff);
    // Nothing is compared with it, so that it stays unknown to the verifier.
    let any = u64::from(start);
    for _ in 0..MAX_LINK_HEADERS {
        let ethertype = layer as u16;
        let through = match layer {
            IP => return ip(packet, offset, carried_by),
            ETHERNET => Through::ethernet(packet, offset),
            LLC if decap => Through::snap(packet, offset),
            LLC => Err(PassedOver::EtherType(0)),
            _ => match ethertype {
                IPV4 => return found(Family::V4, offset, carried_by),
                IPV6 => return found(Family::V6, offset, carried_by),
                tag if VLAN.contains(&tag) => Through::tag(packet, offset),
                other if !decap => Err(PassedOver::EtherType(other)),
                PPPOE_SESSION => Through::pppoe(packet, offset),
                label if MPLS.contains(&label) => Through::label(packet, offset, label),
                other => Err(PassedOver::EtherType(other)),
            },
        };
        let through = match through {
            Ok(through) => through,
            Err(passed_over) => return passed_over.word().into(),
        };
        // Whatever they are: the verifier follows each way through the loop only once.
        offset = forget(offset + through.len, any);
        if offset > parse::MAX_OFFSET {
            return PassedOver::Truncated.word().into();
        }
        layer = forget(through.layer as usize, any) as u32 & LAYER_MASK;
        // A tunnel names what it carries better than what stands within it.
        if outer & 0xff == 0 && through.encapsulation != Encapsulation::None {
            carried_by = through.encapsulation as u32;
        }
        carried_by = forget(carried_by as usize, any) as u32 & 0xff;
    }
    let passed_over =
        if layer < ETHERNET { PassedOver::EtherType(layer as u16) } else { PassedOver::Truncated };
    passed_over.word().into()
}

/// One header that stands before another.
struct Through {
    len: usize,
    /// The word of what follows it.
    layer: u32,
    encapsulation: Encapsulation,
}

impl Through {
    #[inline(always)]
    fn ethernet<P: Load + ?Sized>(packet: &P, offset: usize) -> Result<Self, PassedOver> {
        let ethertype = window::<P, 14>(packet, offset)?.be16::<12>();
        let layer = if ethertype < FIRST_ETHERTYPE { LLC } else { ethertype.into() };
        Ok(Self { len: 14, layer, encapsulation: Encapsulation::None })
    }

    #[inline(always)]
    fn tag<P: Load + ?Sized>(packet: &P, offset: usize) -> Result<Self, PassedOver> {
        let ethertype = window::<P, 4>(packet, offset)?.be16::<2>();
        Ok(Self { len: 4, layer: ethertype.into(), encapsulation: Encapsulation::None })
    }

    /// SNAP with an EtherType, of which the organisation is 0, or that of bridged Ethernet 0x0000f8 (IEEE 802.1H).
    #[inline(always)]
    fn snap<P: Load + ?Sized>(packet: &P, offset: usize) -> Result<Self, PassedOver> {
        let header = window::<P, 8>(packet, offset)?;
        let is_snap = header.be16::<0>() == 0xaaaa && matches!(header.be32::<2>(), 0x0300_0000 | 0x0300_00f8);
        if !is_snap {
            // The length stands for all frames of IEEE 802.3.
            return Err(PassedOver::EtherType(0));
        }
        let ethertype = header.be16::<6>();
        Ok(Self { len: 8, layer: ethertype.into(), encapsulation: Encapsulation::Snap })
    }

    #[inline(always)]
    fn pppoe<P: Load + ?Sized>(packet: &P, offset: usize) -> Result<Self, PassedOver> {
        let header = window::<P, 8>(packet, offset)?;
        let protocol = header.be16::<6>();
        let ethertype = match (header.be16::<0>(), protocol) {
            (0x1100, PPP_IPV4) => IPV4,
            (0x1100, PPP_IPV6) => IPV6,
            (0x1100, PPP_MPLS) => MPLS[0],
            _ => return Err(PassedOver::EtherType(PPPOE_SESSION)),
        };
        Ok(Self { len: 8, layer: ethertype.into(), encapsulation: Encapsulation::Pppoe })
    }

    /// One label of a stack, which does not say what it carries: IP shows by its version, and Ethernet by the control word
    /// before it, whose first four bits are 0 (RFC 4385, 3; RFC 4928, 3).
    #[inline(always)]
    fn label<P: Load + ?Sized>(packet: &P, offset: usize, ethertype: u16) -> Result<Self, PassedOver> {
        const BOTTOM: u16 = 0x100;
        let low = window::<P, 4>(packet, offset)?.be16::<2>();
        let (len, layer) = if low & BOTTOM == 0 {
            (4, ethertype.into())
        } else {
            match window::<P, 4>(packet, offset + 4)?.byte::<0>() >> 4 {
                4 => (4, IPV4.into()),
                6 => (4, IPV6.into()),
                0 => (8, ETHERNET),
                _ => return Err(PassedOver::EtherType(ethertype)),
            }
        };
        Ok(Self { len, layer, encapsulation: Encapsulation::Mpls })
    }
}

#[inline(always)]
fn ip<P: Load + ?Sized>(packet: &P, offset: usize, carried_by: u32) -> u64 {
    // Two bytes: of a check for one the verifier learns nothing, see `parse`.
    let passed_over = match window::<P, 2>(packet, offset).map(|header| header.byte::<0>() >> 4) {
        Ok(4) => return found(Family::V4, offset, carried_by),
        Ok(6) => return found(Family::V6, offset, carried_by),
        Ok(_) => PassedOver::NotIp,
        Err(passed_over) => passed_over,
    };
    passed_over.word().into()
}

/// The protocol of an IP packet, and where it begins. In a later fragment it begins nowhere, and is not looked for.
#[inline(always)]
pub(crate) fn protocol<P: Load + ?Sized>(packet: &P, ip: Inner) -> Result<(u8, Option<usize>), PassedOver> {
    match ip.family {
        Family::V4 => {
            let header = window::<P, 20>(packet, ip.offset)?;
            let protocol = header.byte::<9>();
            let payload = ip.offset + usize::from(header.byte::<0>() & 0x0f) * 4;
            let first = (protocol, bounded(payload, protocol.into())?);
            let is_later_fragment = header.be16::<6>() & 0x1fff != 0;
            if is_later_fragment { Ok((first.0, None)) } else { behind_authentication(packet, first) }
        }
        Family::V6 => behind_extensions(packet, ip.offset),
    }
}

#[inline(always)]
fn behind_authentication<P: Load + ?Sized>(
    packet: &P,
    (protocol, offset): (u8, usize),
) -> Result<(u8, Option<usize>), PassedOver> {
    if protocol != AUTHENTICATION {
        return Ok((protocol, Some(offset)));
    }
    let header = window::<P, 4>(packet, offset)?;
    let (next, words) = (header.byte::<0>(), header.byte::<1>());
    Ok((next, Some(bounded(offset + (usize::from(words) + 2) * 4, next.into())?)))
}

#[inline(always)]
fn behind_extensions<P: Load + ?Sized>(packet: &P, start: usize) -> Result<(u8, Option<usize>), PassedOver> {
    const HOP_BY_HOP: u8 = 0;
    const ROUTING: u8 = 43;
    const FRAGMENT: u8 = 44;
    const DESTINATION_OPTIONS: u8 = 60;
    let mut next = window::<P, 40>(packet, start)?.byte::<6>();
    let mut offset = start + 40;
    for _ in 0..MAX_EXTENSION_HEADERS {
        if ![HOP_BY_HOP, ROUTING, DESTINATION_OPTIONS, AUTHENTICATION, FRAGMENT].contains(&next) {
            return Ok((next, Some(offset)));
        }
        let header = window::<P, 4>(packet, offset)?;
        let (following, len) = (header.byte::<0>(), usize::from(header.byte::<1>()));
        if next == FRAGMENT && header.be16::<2>() & 0xfff8 != 0 {
            return Ok((following, None));
        }
        offset += match next {
            FRAGMENT => 8,
            AUTHENTICATION => (len + 2) * 4,
            _ => (len + 1) * 8,
        };
        offset = bounded(offset, following.into())?;
        next = following;
    }
    // Parsing says that these are too many.
    Ok((TCP, None))
}

/// What a packet of this protocol is, which is not TCP.
#[inline(always)]
fn passed_over<P: Load + ?Sized>(packet: &P, protocol: u8, payload: Option<usize>) -> PassedOver {
    let udp = payload.filter(|_| protocol == UDP).and_then(|offset| packet.window::<8>(offset));
    match udp.map(|header| header.be16::<2>()) {
        Some(port) if udp_tunnel(port).is_some() => PassedOver::UdpPort(port),
        _ => PassedOver::Protocol(protocol),
    }
}

/// Returns whether packets of this protocol may carry others, as those do that are looked into here.
#[inline(always)]
pub(crate) fn is_tunnel<P: Load + ?Sized>(packet: &P, protocol: u8, payload: Option<usize>) -> bool {
    match protocol {
        IP_IN_IP | IPV6_IN_IP | GRE => true,
        UDP => matches!(passed_over(packet, protocol, payload), PassedOver::UdpPort(_)),
        _ => false,
    }
}

/// What a tunnel carries.
struct Tunnel {
    offset: usize,
    /// See [`bounded`].
    any: u16,
    layer: Layer,
    encapsulation: Encapsulation,
}

/// What the tunnel carries whose header begins at `payload`, if it is one.
#[inline(always)]
fn tunnel<P: Load + ?Sized>(
    packet: &P,
    outer: Family,
    protocol: u8,
    payload: Option<usize>,
) -> Option<Tunnel> {
    let offset = payload?;
    match protocol {
        IP_IN_IP => {
            let v4 = outer == Family::V4;
            let encapsulation = if v4 { Encapsulation::Ip4In4 } else { Encapsulation::Ip4In6 };
            Some(Tunnel { offset, any: protocol.into(), layer: Layer::EtherType(IPV4), encapsulation })
        }
        IPV6_IN_IP => {
            let v4 = outer == Family::V4;
            let encapsulation = if v4 { Encapsulation::Ip6In4 } else { Encapsulation::Ip6In6 };
            Some(Tunnel { offset, any: protocol.into(), layer: Layer::EtherType(IPV6), encapsulation })
        }
        GRE => Tunnel::gre(packet, offset),
        UDP => {
            let port = packet.window::<8>(offset)?.be16::<2>();
            match port {
                VXLAN_PORT | VXLAN_PORT_OF_LINUX => Tunnel::vxlan(packet, offset + 8),
                GENEVE_PORT => Tunnel::geneve(packet, offset + 8),
                GTP_PORT => Tunnel::gtp(packet, offset + 8),
                _ => None,
            }
        }
        _ => None,
    }
}

impl Tunnel {
    /// Version 0 without routing (RFC 2784, 2.1; RFC 2890, 2). ERSPAN's type I has no header of its own.
    #[inline(always)]
    fn gre<P: Load + ?Sized>(packet: &P, start: usize) -> Option<Self> {
        const CHECKSUM: u16 = 0x8000;
        const ROUTING: u16 = 0x4000;
        const KEY: u16 = 0x2000;
        const SEQUENCE: u16 = 0x1000;
        const VERSION: u16 = 0x0007;
        let header = packet.window::<4>(start)?;
        let (flags, carries) = (header.be16::<0>(), header.be16::<2>());
        if flags & (ROUTING | VERSION) != 0 {
            return None;
        }
        let field = |flag: u16| if flags & flag == 0 { 0 } else { 4 };
        let offset = start + 4 + field(CHECKSUM) + field(KEY) + field(SEQUENCE);
        let carried = |len, layer, encapsulation| {
            Some(Self { offset: offset + len, any: carries, layer, encapsulation })
        };
        let erspan = |len| carried(len, Layer::Ethernet, Encapsulation::Erspan);
        match carries {
            ERSPAN_2 if flags & SEQUENCE == 0 => erspan(0),
            ERSPAN_2 => erspan(8),
            // The last bit of its header says that eight bytes of the platform's follow.
            ERSPAN_3 => erspan(if packet.window::<12>(offset)?.byte::<11>() & 1 == 0 { 12 } else { 20 }),
            TRANSPARENT_ETHERNET => carried(0, Layer::Ethernet, Encapsulation::Gre),
            other => carried(0, Layer::EtherType(other), Encapsulation::Gre),
        }
    }

    #[inline(always)]
    fn vxlan<P: Load + ?Sized>(packet: &P, offset: usize) -> Option<Self> {
        /// The network's number is valid, which it must be (RFC 7348, 5).
        const VALID: u8 = 0x08;
        let flags = packet.window::<8>(offset)?.byte::<0>();
        let (any, layer, encapsulation) = (flags.into(), Layer::Ethernet, Encapsulation::Vxlan);
        let carried = Self { offset: offset + 8, any, layer, encapsulation };
        (flags & VALID != 0).then_some(carried)
    }

    #[inline(always)]
    fn geneve<P: Load + ?Sized>(packet: &P, start: usize) -> Option<Self> {
        let header = packet.window::<8>(start)?;
        let (version_len, carries) = (header.byte::<0>(), header.be16::<2>());
        if version_len >> 6 != 0 {
            return None;
        }
        let offset = start + 8 + usize::from(version_len & 0x3f) * 4;
        let layer = if carries == TRANSPARENT_ETHERNET { Layer::Ethernet } else { Layer::EtherType(carries) };
        Some(Self { offset, any: carries, layer, encapsulation: Encapsulation::Geneve })
    }

    /// User data (a G-PDU) of version 1, behind the extension headers of its own (TS 29.281, 5.1 and 5.2).
    #[inline(always)]
    fn gtp<P: Load + ?Sized>(packet: &P, start: usize) -> Option<Self> {
        const VERSION_1_OF_GTP: u8 = 0x30;
        const G_PDU: u8 = 255;
        const EXTENSION: u8 = 4;
        const OPTIONAL: u8 = 7;
        let header = packet.window::<8>(start)?;
        let flags = header.byte::<0>();
        if flags & 0xf0 != VERSION_1_OF_GTP || header.byte::<1>() != G_PDU {
            return None;
        }
        let mut offset = start + 8;
        if flags & OPTIONAL != 0 {
            // Without the flag the type of the next header means nothing.
            let named = packet.window::<4>(offset)?.byte::<3>();
            let mut next = if flags & EXTENSION == 0 { 0 } else { named };
            offset += 4;
            for _ in 0..MAX_GTP_EXTENSIONS {
                if next == 0 {
                    break;
                }
                let len = usize::from(packet.window::<2>(offset)?.byte::<0>()) * 4;
                if len == 0 {
                    return None;
                }
                offset = bounded(offset + len, next.into()).ok()?;
                // The next one's type is the last byte of this one.
                let last = bounded(offset.wrapping_sub(2), next.into()).ok()?;
                next = packet.window::<2>(last)?.byte::<1>();
            }
        }
        Some(Self { offset, any: flags.into(), layer: Layer::Ip, encapsulation: Encapsulation::Gtp })
    }
}

/// See [`parse::bounded`].
#[inline(always)]
fn bounded(offset: usize, any: u16) -> Result<usize, PassedOver> {
    parse::bounded(offset, any).map_err(|_| PassedOver::Truncated)
}

#[inline(always)]
fn window<P: Load + ?Sized, const N: usize>(packet: &P, offset: usize) -> Result<P::Window<'_>, PassedOver> {
    packet.window::<N>(offset).ok_or(PassedOver::Truncated)
}
