//! ICMP errors about TCP: destination unreachable and time exceeded (RFC 792), and the four errors of ICMPv6 (RFC 4443, 3).
//!
//! Whoever cannot deliver a packet says so to its sender, and quotes the beginning of the packet: its IP header and at least
//! eight bytes behind it, which are the ports and the sequence number of a TCP header. Anybody can make up such a message;
//! only who sees the connection, or guesses well, knows a sequence number that is in flight (RFC 5927, 4.1).
//!
//! What stands behind the quoted header is not read: more of the packet, padding, or extensions (RFC 4884).

use crate::bytes::{Load, Window};
use crate::encapsulation::{Encapsulation, Inner, is_tunnel, protocol};
use crate::icmp::{V4_FRAGMENTATION_NEEDED, V4_UNREACHABLE, V6_PACKET_TOO_BIG, is_error, number};
use crate::packet::{Hook, Size};
use crate::parse::{Network, Unparsed, end_of_ip, network, window};
use crate::segment::{Family, Segment, mapped_words};

const TCP: u8 = 6;
/// The header of a message. What it quotes follows.
const HEADER_LEN: usize = 8;
const IPV4_MIN_LEN: usize = 20;
const IPV6_LEN: usize = 40;
/// What is quoted of a TCP header at least: the ports and the sequence number.
const QUOTED_LEN: usize = 8;

/// An ICMP error about a TCP segment, and where it passed. Integers without padding, for the same reason as
/// [`ParsedPacket`](crate::ParsedPacket).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct ParsedIcmp {
    /// The segment that is quoted: its ends and its sequence number. The rest is not known.
    pub(crate) quoted: Segment,
    /// Who sent the error.
    pub(crate) sender: [u64; 2],
    pub(crate) interface: u32,
    /// The largest packet that fits, in bytes; 0 where the error is about something else, or does not say.
    pub(crate) mtu: u32,
    /// The number of a [`Direction`](crate::Direction).
    pub(crate) direction: u16,
    /// 1 when it is addressed to the sender of the segment.
    pub(crate) is_addressed: u16,
    pub(crate) icmp_type: u16,
    pub(crate) code: u16,
}

const _: () = assert!(size_of::<ParsedIcmp>() == 88, "a padding byte would not be written");

impl ParsedIcmp {
    /// Reads a packet of which the parser says that it holds [ICMP](Unparsed::Icmp).
    ///
    /// # Errors
    /// [`Unparsed::NotTcp`] when it is no error, or one about something else, [`Unparsed::IcmpTunnel`] when it is one about
    /// a tunnel; otherwise why it cannot be read.
    #[inline(always)]
    pub fn read<P: Load + ?Sized>(packet: &P, size: Size, hook: &Hook) -> Result<Self, Unparsed> {
        let Network { family, offset } = network(packet, hook.link)?;
        Self::read_at(packet, family, offset, size, hook)
    }

    /// The same of the IP packet behind `offset` bytes. The link layer of the hook is not looked at.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    #[inline(always)]
    pub fn read_at<P: Load + ?Sized>(
        packet: &P,
        family: Family,
        offset: usize,
        size: Size,
        hook: &Hook,
    ) -> Result<Self, Unparsed> {
        let (protocol, Some(start)) = payload(packet, family, offset)? else { return Err(Unparsed::NotTcp) };
        if protocol != number(family) {
            return Err(Unparsed::NotTcp);
        }
        let message = window::<P, HEADER_LEN>(packet, start)?;
        let (icmp_type, code) = (message.byte::<0>(), message.byte::<1>());
        if !is_error(family, icmp_type) {
            return Err(Unparsed::NotTcp);
        }
        let mtu = match (family, icmp_type, code) {
            (Family::V4, V4_UNREACHABLE, V4_FRAGMENTATION_NEEDED) => message.be16::<6>().into(),
            (Family::V6, V6_PACKET_TOO_BIG, _) => message.be32::<4>(),
            _ => 0,
        };
        let outer = Header::read(packet, family, offset)?;
        let end = end_of_ip(outer.total_len, offset, size.bytes)?;
        let quoted = quoted(packet, family, start + HEADER_LEN, end)?;
        Ok(Self {
            quoted,
            sender: outer.source,
            interface: hook.interface,
            mtu,
            direction: hook.direction as u16,
            is_addressed: u16::from(outer.destination == quoted.source),
            icmp_type: icmp_type.into(),
            code: code.into(),
        })
    }

    /// Room for one.
    pub const NOTHING: Self = Self {
        quoted: Segment::NOTHING,
        sender: [0; 2],
        interface: 0,
        mtu: 0,
        direction: 0,
        is_addressed: 0,
        icmp_type: 0,
        code: 0,
    };

    /// The segment that it is about: its ends and its sequence number. The rest of it is not known.
    #[inline(always)]
    #[must_use]
    pub const fn quoted(&self) -> &Segment {
        &self.quoted
    }

    /// Index of the interface that it passed.
    #[inline(always)]
    #[must_use]
    pub const fn interface(&self) -> u32 {
        self.interface
    }

    /// The same error, had it passed another interface: not 0.
    #[must_use]
    pub const fn at_interface(self, interface: u32) -> Self {
        Self { interface, ..self }
    }
}

/// What an IP header says beside its protocol.
struct Header {
    source: [u64; 2],
    destination: [u64; 2],
    /// Length of the packet in bytes; 0 when it is longer than the field can say.
    total_len: u32,
}

impl Header {
    #[inline(always)]
    fn read<P: Load + ?Sized>(packet: &P, family: Family, offset: usize) -> Result<Self, Unparsed> {
        match family {
            Family::V4 => {
                let header = window::<P, IPV4_MIN_LEN>(packet, offset)?;
                let version_ihl = header.byte::<0>();
                if version_ihl >> 4 != 4 || version_ihl & 0x0f < 5 {
                    return Err(Unparsed::Malformed);
                }
                Ok(Self {
                    source: mapped_words(header.be32::<12>()),
                    destination: mapped_words(header.be32::<16>()),
                    total_len: header.be16::<2>().into(),
                })
            }
            Family::V6 => {
                let header = window::<P, IPV6_LEN>(packet, offset)?;
                if header.byte::<0>() >> 4 != 6 {
                    return Err(Unparsed::Malformed);
                }
                let payload_len = u32::from(header.be16::<4>());
                Ok(Self {
                    source: [header.be64::<8, 12>(), header.be64::<16, 20>()],
                    destination: [header.be64::<24, 28>(), header.be64::<32, 36>()],
                    total_len: if payload_len == 0 { 0 } else { payload_len + 40 },
                })
            }
        }
    }
}

/// The protocol of an IP packet, and where it begins, unless this is a later fragment.
#[inline(always)]
fn payload<P: Load + ?Sized>(
    packet: &P,
    family: Family,
    offset: usize,
) -> Result<(u8, Option<usize>), Unparsed> {
    let ip = Inner { family, offset, encapsulation: Encapsulation::None };
    protocol(packet, ip).map_err(|_| Unparsed::Truncated)
}

/// The segment whose IP header begins at `offset`. `end` is where the message ends.
#[inline(always)]
fn quoted<P: Load + ?Sized>(
    packet: &P,
    family: Family,
    offset: usize,
    end: u32,
) -> Result<Segment, Unparsed> {
    let header = Header::read(packet, family, offset)?;
    let (protocol, start) = payload(packet, family, offset)?;
    if protocol != TCP {
        return Err(if is_tunnel(packet, protocol, start) { Unparsed::IcmpTunnel } else { Unparsed::NotTcp });
    }
    let Some(start) = start else { return Err(Unparsed::NotTcp) };
    #[allow(clippy::cast_possible_truncation, reason = "offsets are bounded, see `protocol`")]
    if (start + QUOTED_LEN) as u32 > end {
        return Err(Unparsed::Malformed);
    }
    let tcp = window::<P, QUOTED_LEN>(packet, start)?;
    Ok(Segment {
        source: header.source,
        destination: header.destination,
        source_port: tcp.be16::<0>(),
        destination_port: tcp.be16::<2>(),
        seq: tcp.be32::<4>(),
        family,
        ..Segment::NOTHING
    })
}
