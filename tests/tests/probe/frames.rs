//! Frames made byte by byte, apart from the parser that they are to test.

use std::time::Duration;

use probe_common::{Family, SegmentClass, SegmentKind, TcpFlags, Timestamps, Unparsed, Volume};

pub(crate) const SYN: u8 = TcpFlags::SYN.0;
pub(crate) const ACK: u8 = TcpFlags::ACK.0;
pub(crate) const RST: u8 = TcpFlags::RST.0;
pub(crate) const FIN: u8 = TcpFlags::FIN.0;
pub(crate) const PSH: u8 = 0x08;

pub(crate) const TCP: u8 = 6;
pub(crate) const HOP_BY_HOP: u8 = 0;
pub(crate) const ROUTING: u8 = 43;
pub(crate) const FRAGMENT: u8 = 44;
pub(crate) const AUTHENTICATION: u8 = 51;
pub(crate) const DESTINATION: u8 = 60;
/// "Fragment", more to follow (RFC 791, RFC 8200).
pub(crate) const V4_MORE: u16 = 0x2000;
pub(crate) const V6_MORE: u16 = 1;

/// What a TCP segment is to say, and so what must be read from it.
#[derive(Clone, Debug)]
pub(crate) struct Spec {
    pub(crate) family: Family,
    /// Host number and port.
    pub(crate) source: (u8, u16),
    pub(crate) destination: (u8, u16),
    pub(crate) seq: u32,
    pub(crate) ack: u32,
    pub(crate) flags: u8,
    pub(crate) options: Vec<u8>,
    pub(crate) payload: usize,
    /// How many segments it stands for (GSO, GRO).
    pub(crate) segments: u32,
    /// `None`: what fits.
    pub(crate) data_offset: Option<u8>,
}

/// What must come of a frame.
#[derive(Clone, Debug)]
pub(crate) enum Want {
    Nothing,
    Unparsed(Unparsed),
    Told(Told),
}

/// A record, as it must be.
#[derive(Clone, Debug)]
pub(crate) struct Told {
    pub(crate) kind: SegmentKind,
    pub(crate) spec: Spec,
    pub(crate) timestamps: Timestamps,
    /// The age of a hole is 1 where there must be one, whatever it is.
    pub(crate) class: SegmentClass,
    pub(crate) volumes: [Volume; 2],
}

/// One frame of several, and what must come of it.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// How long nothing passes before it.
    pub(crate) pause: Duration,
    pub(crate) bytes: Vec<u8>,
    /// How many segments it stands for.
    pub(crate) segments: u32,
    pub(crate) want: Want,
}

impl From<(Vec<u8>, Want)> for Step {
    fn from((bytes, want): (Vec<u8>, Want)) -> Self {
        Self { pause: Duration::ZERO, bytes, segments: 1, want }
    }
}

/// Segments, bytes, and segments that were sent again.
pub(crate) const fn volume(segments: u64, bytes: u64, retransmits: u64) -> Volume {
    Volume { segments, bytes, retransmits }
}

impl Step {
    /// A record of this kind.
    pub(crate) fn told(spec: &Spec, kind: SegmentKind) -> Self {
        Self { segments: spec.segments, ..(spec.packet(), spec.record(kind)).into() }
    }

    /// No record.
    pub(crate) fn silent(spec: &Spec) -> Self {
        Self { segments: spec.segments, ..(spec.packet(), Want::Nothing).into() }
    }

    /// Sent again, and passed before.
    pub(crate) fn again(spec: &Spec, kind: SegmentKind) -> Self {
        Self::told(spec, kind).classed(SegmentClass::retransmit(0))
    }

    /// Sent again, into a hole that was there for too long.
    pub(crate) fn filling(spec: &Spec, kind: SegmentKind) -> Self {
        Self::told(spec, kind).classed(SegmentClass::retransmit(1))
    }

    fn classed(mut self, class: SegmentClass) -> Self {
        if let Want::Told(told) = &mut self.want {
            told.class = class;
        }
        self
    }

    /// What its sender and the other end have sent until then, itself included.
    pub(crate) fn volumes(mut self, own: Volume, other: Volume) -> Self {
        if let Want::Told(told) = &mut self.want {
            told.volumes = [own, other];
        }
        self
    }

    /// After a while.
    pub(crate) fn after(self, pause: Duration) -> Self {
        Self { pause, ..self }
    }
}

impl Spec {
    /// From host 1 (the opener in all cases) to host 2.
    pub(crate) fn out(family: Family, flags: u8, seq: u32, ack: u32) -> Self {
        Self {
            family,
            source: (1, 40_000),
            destination: (2, 443),
            seq,
            ack,
            flags,
            options: Vec::new(),
            payload: 0,
            segments: 1,
            data_offset: None,
        }
    }

    /// From host 2 to host 1.
    pub(crate) fn back(family: Family, flags: u8, seq: u32, ack: u32) -> Self {
        let out = Self::out(family, flags, seq, ack);
        Self { source: out.destination, destination: out.source, ..out }
    }

    pub(crate) fn flags(self, flags: u8) -> Self {
        Self { flags, ..self }
    }

    pub(crate) fn options(self, options: &[u8]) -> Self {
        Self { options: options.to_vec(), ..self }
    }

    pub(crate) fn payload(self, payload: usize) -> Self {
        Self { payload, ..self }
    }

    /// As if so many segments had been put together.
    pub(crate) fn segments(self, segments: u32) -> Self {
        Self { segments, ..self }
    }

    pub(crate) fn record(&self, kind: SegmentKind) -> Want {
        self.want(kind, Timestamps::default())
    }

    pub(crate) fn stamped(&self, kind: SegmentKind, value: u32, echo: u32) -> Want {
        self.want(kind, Timestamps { value, echo, present: true })
    }

    fn want(&self, kind: SegmentKind, timestamps: Timestamps) -> Want {
        let volumes = [Volume::default(); 2];
        Want::Told(Told { kind, spec: self.clone(), timestamps, class: SegmentClass::NEW, volumes })
    }

    /// The address of a host, as a record has it.
    pub(crate) fn address(&self, host: u8) -> [u8; 16] {
        match self.family {
            Family::V4 => [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff, 10, 1, 0, host],
            Family::V6 => [0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host],
        }
    }

    /// TCP header and payload.
    fn tcp(&self) -> Vec<u8> {
        let words = 5 + u8::try_from(self.options.len() / 4).expect("at most 40 bytes of options");
        let mut bytes = [self.source.1.to_be_bytes(), self.destination.1.to_be_bytes()].concat();
        bytes.extend([self.seq.to_be_bytes(), self.ack.to_be_bytes()].concat());
        bytes.extend([self.data_offset.unwrap_or(words) << 4, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
        bytes.extend(&self.options);
        bytes.resize(bytes.len() + self.payload, 0x5a);
        bytes
    }

    /// The IP packet, with nothing unusual about it.
    pub(crate) fn packet(&self) -> Vec<u8> {
        match self.family {
            Family::V4 => self.v4(0, 0),
            Family::V6 => self.v6(&[]),
        }
    }

    /// IPv4 with so many words of options and this fragment field.
    pub(crate) fn v4(&self, option_words: u8, fragment: u16) -> Vec<u8> {
        let tcp = self.tcp();
        let header_len = 20 + 4 * usize::from(option_words);
        let total = u16::try_from(header_len + tcp.len()).expect("short").to_be_bytes();
        let mut bytes = vec![0x45 + option_words, 0, total[0], total[1], 0, 1];
        bytes.extend(fragment.to_be_bytes());
        bytes.extend([64, TCP, 0, 0]);
        bytes.extend(&self.address(self.source.0)[12..]);
        bytes.extend(&self.address(self.destination.0)[12..]);
        // No-operation options that look like a TCP header to who skips 20 bytes only.
        bytes.resize(header_len, 1);
        bytes.extend(tcp);
        bytes
    }

    /// IPv6 with these extension headers: the number of each and its bytes, the first of which is set here.
    pub(crate) fn v6(&self, extensions: &[(u8, Vec<u8>)]) -> Vec<u8> {
        let mut body = Vec::new();
        for (place, (_, extension)) in extensions.iter().enumerate() {
            let following = extensions.get(place + 1).map_or(TCP, |(number, _)| *number);
            let start = body.len();
            body.extend(extension);
            body[start] = following;
        }
        body.extend(self.tcp());
        let length = u16::try_from(body.len()).expect("short").to_be_bytes();
        let first = extensions.first().map_or(TCP, |(number, _)| *number);
        let mut bytes = vec![0x60, 0, 0, 0, length[0], length[1], first, 64];
        bytes.extend(self.address(self.source.0));
        bytes.extend(self.address(self.destination.0));
        bytes.extend(body);
        bytes
    }
}

/// An extension header of `units` times 8 bytes (4 for authentication, and at least 2 of them).
pub(crate) fn extension(number: u8, units: u8) -> (u8, Vec<u8>) {
    let (unit, length) = if number == AUTHENTICATION { (4, units - 2) } else { (8, units - 1) };
    let mut bytes = vec![0xee; usize::from(units) * unit];
    bytes[1] = length;
    (number, bytes)
}

/// A fragment header with this offset, in units of 8 bytes.
pub(crate) fn fragment(offset: u16, more: u16) -> (u8, Vec<u8>) {
    let [hi, lo] = (offset << 3 | more).to_be_bytes();
    (FRAGMENT, vec![0, 0, hi, lo, 0, 0, 0, 7])
}

/// The packet in Ethernet, behind these VLAN tags.
pub(crate) fn ethernet(tags: &[u16], packet: &[u8]) -> Vec<u8> {
    let ethertype: u16 = if packet[0] >> 4 == 6 { 0x86dd } else { 0x0800 };
    let mut bytes = vec![2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2];
    for tag in tags {
        bytes.extend(tag.to_be_bytes());
        bytes.extend([0x20, 0x05]);
    }
    bytes.extend(ethertype.to_be_bytes());
    bytes.extend(packet);
    bytes
}

/// The timestamp option (RFC 7323).
pub(crate) fn timestamps(value: u32, echo: u32) -> Vec<u8> {
    [&[8, 10][..], &value.to_be_bytes(), &echo.to_be_bytes()].concat()
}
