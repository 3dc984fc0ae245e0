//! What is read of a packet before the state of its flow is looked up.

use crate::encapsulation::Inner;
use crate::key::{FlowKey4, FlowKey6, Key, Side};
use crate::options::{FindTimestamps, timestamps};
use crate::parse::{LinkLayer, Network, Unparsed, parse, segment};
use crate::segment::{Family, Segment, TcpFlags, Timestamps};
use crate::sequence::SequenceRange;
use crate::transmission::Transmission;

/// Which way a packet passed its interface. The numbers are those in records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Direction {
    /// Into this host.
    Ingress = 0,
    /// Out of this host.
    Egress = 1,
    /// Loopback: both ends are this host, and each packet is looked at once.
    Local = 2,
    /// Not known: a capture does not always say. The kernel programs always know.
    Unknown = 3,
}

/// Where a packet was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Index of the interface: not 0.
    pub interface: u32,
    /// Which way packets pass here.
    pub direction: Direction,
    /// What stands before the IP header.
    pub link: LinkLayer,
}

/// The size of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Its length in bytes, at its interface.
    pub bytes: u32,
    /// How many segments it stands for (GSO, GRO): at least 1.
    pub segments: u32,
}

/// A segment, and where it passed. Integers without padding: the kernel's verifier wants to see every byte written of
/// what is passed to a function.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct ParsedPacket {
    pub(crate) segment: Segment,
    /// How many segments it stands for.
    pub(crate) segments: u32,
    pub(crate) interface: u32,
    /// The direction's number, and the encapsulation's in the upper half.
    pub(crate) direction: u16,
    /// Which end sent it.
    side: u16,
    /// What was found in its options: one of the constants below.
    pub(crate) options: u16,
    /// Of a RST, the number of the [`ResetReason`](crate::ResetReason) that its sender gives; 0 for none.
    pub(crate) reset: u16,
    pub(crate) ts_value: u32,
    pub(crate) ts_echo: u32,
    /// See [`SegmentRecord::cookie`](crate::SegmentRecord::cookie).
    pub(crate) cookie: u64,
    /// What its sender says of it.
    pub(crate) said: Transmission,
    /// See [`SegmentRecord::dsacks`](crate::SegmentRecord::dsacks).
    pub(crate) dsacks: u32,
}

const _: () = assert!(size_of::<ParsedPacket>() == 96, "a padding byte would not be written");

const DIRECTION_MASK: u16 = 0xff;
const ENCAPSULATION_SHIFT: u32 = 8;

impl ParsedPacket {
    /// Room for one.
    pub const NOTHING: Self = Self {
        segment: Segment::NOTHING,
        segments: 0,
        interface: 0,
        direction: 0,
        side: 0,
        options: 0,
        reset: 0,
        ts_value: 0,
        ts_echo: 0,
        cookie: 0,
        said: Transmission::UNKNOWN,
        dsacks: 0,
    };

    /// Reads a packet.
    ///
    /// # Errors
    /// Says why the packet gives no segment.
    #[inline(always)]
    pub fn read<P: FindTimestamps + ?Sized>(packet: &P, size: Size, hook: &Hook) -> Result<Self, Unparsed> {
        let segment = parse(packet, hook.link, size.bytes)?;
        Ok(Self::of(packet, segment, size, hook))
    }

    /// Reads the IP packet that was [located](crate::encapsulation::locate) within a packet. The link layer of the hook is
    /// not looked at.
    ///
    /// # Errors
    /// As [`read`](Self::read).
    #[inline(always)]
    pub fn read_inner<P: FindTimestamps + ?Sized>(
        packet: &P,
        inner: Inner,
        size: Size,
        hook: &Hook,
    ) -> Result<Self, Unparsed> {
        let network = Network { family: inner.family, offset: inner.offset };
        let segment = segment::<P, false>(packet, network, size.bytes)?;
        let mut parsed = Self::of(packet, segment, size, hook);
        parsed.direction |= (inner.encapsulation as u16) << ENCAPSULATION_SHIFT;
        Ok(parsed)
    }

    #[inline(always)]
    fn of<P: FindTimestamps + ?Sized>(packet: &P, segment: Segment, size: Size, hook: &Hook) -> Self {
        let (ts_value, ts_echo, options) = match timestamps(packet, &segment) {
            Timestamps { present: false, .. } => (0, 0, Self::WITHOUT_TIMESTAMPS),
            Timestamps { value, echo, .. } => (value, echo, Self::WITH_TIMESTAMPS),
        };
        let interface = hook.interface;
        let side = match segment.family {
            Family::V4 => FlowKey4::of(&segment, interface).1,
            Family::V6 => FlowKey6::of(&segment, interface).1,
        };
        let (direction, side) = (hook.direction as u16, side as u16);
        Self {
            segment,
            segments: size.segments,
            interface,
            direction,
            side,
            options,
            reset: 0,
            ts_value,
            ts_echo,
            cookie: 0,
            said: Transmission::UNKNOWN,
            dsacks: 0,
        }
    }

    /// Index of the interface that it passed.
    #[inline(always)]
    #[must_use]
    pub const fn interface(&self) -> u32 {
        self.interface
    }

    /// Whether the socket that sent it is that of the connection: a process's. RSTs and pure ACKs may come from a socket of
    /// the kernel's own, and what a tunnel carries from that of the tunnel.
    #[inline(always)]
    #[must_use]
    pub const fn is_of_socket(&self) -> bool {
        let flags = self.segment.flags.0;
        let is_sent_by_process =
            flags & (TcpFlags::SYN.0 | TcpFlags::FIN.0) != 0 || self.segment.payload_len > 0;
        is_sent_by_process && flags & TcpFlags::RST.0 == 0 && self.encapsulation() == 0
    }

    /// Notes the cookie of the socket that sent it.
    #[inline(always)]
    pub const fn set_cookie(&mut self, cookie: u64) {
        self.cookie = cookie;
    }

    /// Whether its sender may know whether it was sent before: all that is sent again but the SYN-ACK, which a socket sends that is
    /// not complete yet.
    #[inline(always)]
    #[must_use]
    pub const fn is_of_full_socket(&self) -> bool {
        self.is_of_socket() && !self.segment.flags.has(TcpFlags::SYN.with(TcpFlags::ACK))
    }

    /// Whether it is a RST that is not carried by a tunnel.
    #[inline(always)]
    #[must_use]
    pub const fn is_plain_reset(&self) -> bool {
        self.segment.flags.has(TcpFlags::RST) && self.encapsulation() == 0
    }

    /// Notes the number of the [`ResetReason`](crate::ResetReason) for which its sender sends it.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "there are few")]
    pub const fn set_reset(&mut self, reason: u32) {
        self.reset = reason as u16;
    }

    /// Notes what the socket that sent it says of it, and how many segments the other end has said arrived twice.
    #[inline(always)]
    pub const fn set_said(&mut self, said: Transmission, dsacks: u32) {
        self.said = said;
        self.dsacks = dsacks;
    }

    /// Forgets why it is retransmitted: neither what is counted nor the record says it.
    #[inline(always)]
    pub(crate) const fn forget_cause(&mut self) {
        self.said = self.said.without_cause();
    }

    /// The same packet, had it passed another interface: not 0.
    #[must_use]
    pub const fn at_interface(self, interface: u32) -> Self {
        Self { interface, ..self }
    }

    /// The segment.
    #[inline(always)]
    #[must_use]
    pub const fn segment(&self) -> &Segment {
        &self.segment
    }

    /// Its timestamps.
    #[inline(always)]
    #[must_use]
    pub const fn timestamps(&self) -> Timestamps {
        let present = self.options == Self::WITH_TIMESTAMPS;
        Timestamps { value: self.ts_value, echo: self.ts_echo, present }
    }

    /// The IP version that carried it.
    #[inline(always)]
    #[must_use]
    pub const fn family(&self) -> Family {
        self.segment.family
    }

    const WITHOUT_TIMESTAMPS: u16 = 0;
    pub(crate) const WITH_TIMESTAMPS: u16 = 1;

    #[inline(always)]
    pub(crate) const fn direction(&self) -> Direction {
        match self.direction & DIRECTION_MASK {
            0 => Direction::Ingress,
            1 => Direction::Egress,
            2 => Direction::Local,
            _ => Direction::Unknown,
        }
    }

    /// The number of what carried it.
    #[inline(always)]
    pub(crate) const fn encapsulation(&self) -> u8 {
        (self.direction >> ENCAPSULATION_SHIFT) as u8
    }

    #[inline(always)]
    pub(crate) const fn side(&self) -> Side {
        Side::from_bit(self.side as u32)
    }

    #[inline(always)]
    pub(crate) fn key<K: Key>(&self) -> K {
        K::of(&self.segment, self.interface).0
    }

    #[inline(always)]
    pub(crate) const fn range(&self) -> SequenceRange {
        let range = SequenceRange::of(&self.segment, self.segments, self.timestamps());
        SequenceRange { said: self.said, ..range }
    }
}
