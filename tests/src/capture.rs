//! Captures of every kind, written from the segments that they are to hold.

use probe_common::segment::mapped;
use probe_common::{Direction, SegmentRecord, TcpFlags};

/// How a capture is written. A segment is given as a [`SegmentRecord`]; its kind is not looked at, and its payload is
/// filled with `x`.
#[derive(Clone, Copy, Debug)]
pub struct Format {
    /// Whose byte order the numbers have.
    pub big_endian: bool,
    /// Times in nanoseconds; in microseconds else.
    pub nanoseconds: bool,
    /// 0 (null), 1 (Ethernet), 101 (raw IP), 113 or 276 (Linux cooked, version 1 or 2).
    pub link_type: u16,
}

impl Format {
    /// What all captures of tcpdump on Ethernet are today, but for the nanoseconds.
    pub const USUAL: Self = Self { big_endian: false, nanoseconds: true, link_type: 1 };

    fn u16(self, number: u16) -> [u8; 2] {
        if self.big_endian { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    fn u32(self, number: u32) -> [u8; 4] {
        if self.big_endian { number.to_be_bytes() } else { number.to_le_bytes() }
    }

    fn units(self, time_ns: u64) -> u64 {
        if self.nanoseconds { time_ns } else { time_ns / 1_000 }
    }

    /// A pcap file.
    ///
    /// # Panics
    /// When a time is too large for the format, or a segment too long for IP.
    #[must_use]
    pub fn pcap(self, records: &[SegmentRecord]) -> Vec<u8> {
        let packets = records.iter().flat_map(|record| self.pcap_packet(record));
        self.pcap_header().into_iter().chain(packets).collect()
    }

    /// The beginning of a pcap file.
    #[must_use]
    pub fn pcap_header(self) -> Vec<u8> {
        let magic = if self.nanoseconds { 0xa1b2_3c4d } else { 0xa1b2_c3d4 };
        let mut file = self.u32(magic).to_vec();
        file.extend([self.u16(2), self.u16(4)].concat());
        file.extend([0, 0, 262_144, u32::from(self.link_type)].map(|number| self.u32(number)).concat());
        file
    }

    /// One packet of a pcap file.
    ///
    /// # Panics
    /// See [`pcap`](Self::pcap).
    #[must_use]
    pub fn pcap_packet(self, record: &SegmentRecord) -> Vec<u8> {
        self.pcap_frame(record.time_ns, &packet(record, self.link_type))
    }

    /// The same of any packet, from its link header on.
    ///
    /// # Panics
    /// When the time is too large for the format.
    #[must_use]
    pub fn pcap_frame(self, time_ns: u64, packet: &[u8]) -> Vec<u8> {
        let per_s = self.units(1_000_000_000);
        let units = self.units(time_ns);
        let (s, fraction) = (narrow(units / per_s), narrow(units % per_s));
        let len = narrow(packet.len() as u64);
        let head = [s, fraction, len, len].map(|number| self.u32(number)).concat();
        [&head, packet].concat()
    }

    /// A pcapng file with one section and two interfaces, the second of which saw everything, and says which
    /// way each packet went.
    ///
    /// # Panics
    /// See [`pcap`](Self::pcap).
    #[must_use]
    pub fn pcapng(self, records: &[SegmentRecord]) -> Vec<u8> {
        let body = [&self.u32(0x1a2b_3c4d)[..], &self.u16(1), &self.u16(0), &[0xff; 8]].concat();
        let mut file = self.block(0x0a0d_0d0a, &body);
        for name in ["first", "second"] {
            let mut body = [&self.u16(self.link_type)[..], &self.u16(0), &self.u32(262_144)].concat();
            body.extend(self.option(2, name.as_bytes()));
            body.extend(self.option(9, &[if self.nanoseconds { 9 } else { 6 }]));
            file.extend(self.block(1, &body));
        }
        for record in records {
            let packet = packet(record, self.link_type);
            let units = self.units(record.time_ns);
            let len = narrow(packet.len() as u64);
            let head = [1, narrow(units >> 32), narrow(units & 0xffff_ffff), len, len];
            let mut body = head.map(|number| self.u32(number)).concat();
            body.extend(padded(&packet));
            let way = match record.direction {
                Direction::Ingress => 1,
                Direction::Egress => 2,
                Direction::Local | Direction::Unknown => 0,
            };
            body.extend(self.option(2, &self.u32(way)));
            file.extend(self.block(6, &body));
        }
        file
    }

    /// One block of a pcapng file.
    ///
    /// # Panics
    /// When the body is too long for the format.
    #[must_use]
    pub fn block(self, kind: u32, body: &[u8]) -> Vec<u8> {
        let len = self.u32(narrow(body.len() as u64 + 12));
        [&self.u32(kind)[..], &len, body, &len].concat()
    }

    fn option(self, code: u16, value: &[u8]) -> Vec<u8> {
        let len = u16::try_from(value.len()).expect("short");
        [&self.u16(code)[..], &self.u16(len), &padded(value)].concat()
    }
}

fn padded(bytes: &[u8]) -> Vec<u8> {
    let mut bytes = bytes.to_vec();
    bytes.resize(bytes.len().next_multiple_of(4), 0);
    bytes
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).expect("fits")
}

/// The packet of a segment behind the link header of this type.
///
/// # Panics
/// When the link type is none of those that a [`Format`] can have.
#[must_use]
pub fn packet(record: &SegmentRecord, link_type: u16) -> Vec<u8> {
    let v4 = record.source.address.starts_with(&mapped([0; 4])[..12]);
    let ethertype: u16 = if v4 { 0x0800 } else { 0x86dd };
    let outgoing = u8::from(record.direction == Direction::Egress) * 4;
    let link = match link_type {
        1 => [&[2; 12][..], &ethertype.to_be_bytes()].concat(),
        0 => vec![if v4 { 2 } else { 30 }, 0, 0, 0],
        101 => Vec::new(),
        113 => [&[0, outgoing], &[0; 12][..], &ethertype.to_be_bytes()].concat(),
        276 => [&ethertype.to_be_bytes()[..], &[0; 8], &[outgoing], &[0; 9]].concat(),
        other => panic!("link type {other}"),
    };
    [link, ip(record, v4)].concat()
}

fn ip(record: &SegmentRecord, v4: bool) -> Vec<u8> {
    let tcp = tcp(record);
    let len = u16::try_from(tcp.len()).expect("short");
    let (source, destination) = (record.source.address, record.destination.address);
    if v4 {
        let len = (len + 20).to_be_bytes();
        let ident = ident(record.time_ns).to_be_bytes();
        let head = [0x45, 0, len[0], len[1], ident[0], ident[1], 0x40, 0, 64, 6, 0, 0];
        [&head[..], &source[12..], &destination[12..], &tcp].concat()
    } else {
        let len = len.to_be_bytes();
        [&[0x60, 0, 0, 0, len[0], len[1], 6, 64][..], &source, &destination, &tcp].concat()
    }
}

/// The identification of a packet: another one each microsecond, far from those before, as of a sender that does not count
/// its packets. Of two packets with the same one the second is a copy.
fn ident(time_ns: u64) -> u16 {
    /// Has no divisor in common with the number of identifications.
    const STEP: u64 = 7_919;
    u16::try_from(time_ns / 1_000 * STEP % 65_535).expect("in range") + 1
}

fn tcp(record: &SegmentRecord) -> Vec<u8> {
    let options = if record.timestamps.present {
        let (value, echo) = (record.timestamps.value.to_be_bytes(), record.timestamps.echo.to_be_bytes());
        [&[1, 1, 8, 10][..], &value, &echo].concat()
    } else {
        Vec::new()
    };
    let words = u8::try_from(5 + options.len() / 4).expect("at most 15");
    let TcpFlags(flags) = record.flags;
    let mut segment = [record.source.port.to_be_bytes(), record.destination.port.to_be_bytes()].concat();
    segment.extend([record.seq.to_be_bytes(), record.ack.to_be_bytes()].concat());
    segment.extend([words << 4, flags, 0xff, 0xff, 0, 0, 0, 0]);
    segment.extend(options);
    segment.extend(vec![b'x'; record.payload_len as usize]);
    segment
}
