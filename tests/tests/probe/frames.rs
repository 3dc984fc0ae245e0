//! Frames built byte by byte, independent of the parser under test.

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
/// The "more fragments" flag (RFC 791, RFC 8200).
pub(crate) const V4_MORE: u16 = 0x2000;
pub(crate) const V6_MORE: u16 = 1;

/// The fields of a TCP segment: what is written, and what must be read.
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
    /// The number of segments in it (GSO, GRO).
    pub(crate) segments: u32,
    /// `None` for the length of the header.
    pub(crate) data_offset: Option<u8>,
    /// The IPv4 identification.
    pub(crate) ident: u16,
    /// The receive window.
    pub(crate) window: u16,
}

/// What a frame must cause.
#[derive(Clone, Debug)]
pub(crate) enum Want {
    Nothing,
    Unparsed(Unparsed),
    Emitted(Emitted),
}

/// A record that must be emitted.
#[derive(Clone, Debug)]
pub(crate) struct Emitted {
    pub(crate) kind: SegmentKind,
    pub(crate) spec: Spec,
    pub(crate) timestamps: Timestamps,
    /// The age of a hole is 1 if there must be one, whatever its value.
    pub(crate) class: SegmentClass,
    pub(crate) volumes: [Volume; 2],
}

/// One frame of several, and what it must cause.
#[derive(Clone, Debug)]
pub(crate) struct Step {
    /// The pause before it.
    pub(crate) pause: Duration,
    pub(crate) bytes: Vec<u8>,
    /// The number of segments in it.
    pub(crate) segments: u32,
    pub(crate) want: Want,
}

impl From<(Vec<u8>, Want)> for Step {
    fn from((bytes, want): (Vec<u8>, Want)) -> Self {
        Self { pause: Duration::ZERO, bytes, segments: 1, want }
    }
}

/// Segments, bytes, and retransmitted segments.
pub(crate) const fn volume(segments: u64, bytes: u64, retransmits: u32) -> Volume {
    Volume { segments, bytes, retransmits, ..Volume::NONE }
}

impl Step {
    /// Must emit a record of this kind.
    pub(crate) fn emits(spec: &Spec, kind: SegmentKind) -> Self {
        Self { segments: spec.segments, ..(spec.packet(), spec.record(kind)).into() }
    }

    /// Must emit no record.
    pub(crate) fn silent(spec: &Spec) -> Self {
        Self { segments: spec.segments, ..(spec.packet(), Want::Nothing).into() }
    }

    /// Must be a retransmit of bytes that passed before.
    pub(crate) fn retransmit(spec: &Spec, kind: SegmentKind) -> Self {
        Self::emits(spec, kind).classed(SegmentClass::retransmit(0))
    }

    /// Must be a retransmit that fills a hole which was open for too long.
    pub(crate) fn filling(spec: &Spec, kind: SegmentKind) -> Self {
        Self::emits(spec, kind).classed(SegmentClass::retransmit(1))
    }

    fn classed(mut self, class: SegmentClass) -> Self {
        if let Want::Emitted(record) = &mut self.want {
            record.class = class;
        }
        self
    }

    /// Must not end a connection.
    pub(crate) fn out_of_window(self) -> Self {
        self.classed(SegmentClass::OUT_OF_WINDOW)
    }

    /// The volumes of its sender and of the other end, this segment included.
    pub(crate) fn volumes(mut self, own: Volume, other: Volume) -> Self {
        if let Want::Emitted(record) = &mut self.want {
            record.volumes = [own, other];
        }
        self
    }

    /// After a pause.
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
            ident: 1,
            window: 0xffff,
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

    /// The packet with this identification, of IPv4.
    pub(crate) fn ident(self, ident: u16) -> Self {
        Self { ident, ..self }
    }

    /// With a closed receive window.
    pub(crate) fn closed(self) -> Self {
        Self { window: 0, ..self }
    }

    /// As if this many segments had been merged.
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
        Want::Emitted(Emitted { kind, spec: self.clone(), timestamps, class: SegmentClass::NEW, volumes })
    }

    /// The address of a host, as in a record.
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
        bytes.extend([self.data_offset.unwrap_or(words) << 4, self.flags]);
        bytes.extend(self.window.to_be_bytes());
        bytes.extend([0; 4]);
        bytes.extend(&self.options);
        bytes.resize(bytes.len() + self.payload, 0x5a);
        bytes
    }

    /// The IP packet, without options or extension headers.
    pub(crate) fn packet(&self) -> Vec<u8> {
        match self.family {
            Family::V4 => self.v4(0, 0),
            Family::V6 => self.v6(&[]),
        }
    }

    /// IPv4 with this many words of options and this fragment field.
    pub(crate) fn v4(&self, option_words: u8, fragment: u16) -> Vec<u8> {
        let tcp = self.tcp();
        let header_len = 20 + 4 * usize::from(option_words);
        let total = u16::try_from(header_len + tcp.len()).expect("short").to_be_bytes();
        let mut bytes = vec![0x45 + option_words, 0, total[0], total[1]];
        bytes.extend(self.ident.to_be_bytes());
        bytes.extend(fragment.to_be_bytes());
        bytes.extend([64, TCP, 0, 0]);
        bytes.extend(&self.address(self.source.0)[12..]);
        bytes.extend(&self.address(self.destination.0)[12..]);
        // No-operation options: a parser that skips 20 bytes only takes them for a TCP header.
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

/// The packet in Ethernet, after these VLAN tags.
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
