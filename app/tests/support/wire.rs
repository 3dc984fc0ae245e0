//! Packets as they lie in a capture, written byte by byte, and what `tcptop replay` says of them.

use std::io::Write;
use std::net::IpAddr;
use std::process::{Command, Stdio};

use lab::carrier::{ethernet, ip};
use serde_json::Value;

pub const FIN: u8 = 0x01;
pub const SYN: u8 = 0x02;
pub const RST: u8 = 0x04;
pub const PSH: u8 = 0x08;
pub const ACK: u8 = 0x10;

pub const US: u64 = 1_000;
pub const MS: u64 = 1_000 * US;
pub const S: u64 = 1_000 * MS;
/// 2026-01-02T14:02:31Z.
pub const START: u64 = 1_767_362_551 * S;

pub const ETHERNET: u16 = 1;
pub const RAW: u16 = 101;
pub const COOKED: u16 = 113;
pub const COOKED2: u16 = 276;

/// One TCP segment in an IP packet.
#[derive(Clone, Debug)]
pub struct Segment {
    pub source: (IpAddr, u16),
    pub destination: (IpAddr, u16),
    pub seq: u32,
    pub ack: u32,
    pub flags: u8,
    pub payload: usize,
    pub options: Vec<u8>,
    /// IP identification; IPv6 has none.
    pub ident: u16,
    pub ttl: u8,
}

impl Segment {
    pub fn data(mut self, len: usize) -> Self {
        self.payload = len;
        self.flags |= PSH;
        self
    }

    pub fn ident(mut self, ident: u16) -> Self {
        self.ident = ident;
        self
    }

    pub fn ttl(mut self, ttl: u8) -> Self {
        self.ttl = ttl;
        self
    }

    pub fn options(mut self, options: &[u8]) -> Self {
        self.options = options.to_vec();
        self
    }

    pub fn stamped(self, value: u32, echo: u32) -> Self {
        let stamps = [&[1, 1, 8, 10][..], &value.to_be_bytes(), &echo.to_be_bytes()].concat();
        self.options(&stamps)
    }

    fn tcp(&self) -> Vec<u8> {
        let mut options = self.options.clone();
        options.resize(options.len().next_multiple_of(4), 1);
        let words = u8::try_from(5 + options.len() / 4).expect("at most 15");
        let mut tcp = [self.source.1.to_be_bytes(), self.destination.1.to_be_bytes()].concat();
        tcp.extend([self.seq.to_be_bytes(), self.ack.to_be_bytes()].concat());
        tcp.extend([words << 4, self.flags, 0xff, 0xff, 0, 0, 0, 0]);
        tcp.extend(options);
        tcp.resize(tcp.len() + self.payload, b'x');
        tcp
    }

    /// The IP packet.
    pub fn ip(&self) -> Vec<u8> {
        ip(self.source.0, self.destination.0, 6, self.ident, self.ttl, &self.tcp())
    }

    pub fn ethernet(&self) -> Vec<u8> {
        ethernet(&self.ip())
    }
}

/// Both ends of a connection; each numbers its packets and its bytes.
#[derive(Clone, Debug)]
pub struct Talk {
    pub ends: [(IpAddr, u16); 2],
    pub next: [u32; 2],
    pub idents: [u16; 2],
}

pub const CLIENT: usize = 0;
pub const SERVER: usize = 1;

impl Talk {
    pub fn v4(port: u16) -> Self {
        let address = |text: &str| text.parse().expect("an address");
        Self {
            ends: [(address("192.0.2.1"), port), (address("198.51.100.1"), 443)],
            next: [1_000, 5_000],
            idents: [100, 9_000],
        }
    }

    pub fn v6(port: u16) -> Self {
        let address = |text: &str| text.parse().expect("an address");
        Self { ends: [(address("2001:db8::1"), port), (address("2001:db8:1::1"), 443)], ..Self::v4(port) }
    }

    /// The next segment of an end. A SYN, a FIN and payload take numbers.
    pub fn send(&mut self, end: usize, flags: u8, payload: usize) -> Segment {
        self.idents[end] += 1;
        let segment = Segment {
            source: self.ends[end],
            destination: self.ends[1 - end],
            seq: self.next[end],
            ack: if flags & ACK == 0 { 0 } else { self.next[1 - end] },
            flags,
            payload,
            options: Vec::new(),
            ident: self.idents[end],
            ttl: 64,
        };
        let taken = u32::try_from(payload).expect("short") + u32::from(flags & (SYN | FIN) != 0);
        self.next[end] = self.next[end].wrapping_add(taken);
        segment
    }

    /// A handshake from `at_ns` on, with legs of 20 ms and 1 ms.
    pub fn handshake(&mut self, at_ns: u64) -> Vec<(u64, Segment)> {
        vec![
            (at_ns, self.send(CLIENT, SYN, 0)),
            (at_ns + 20 * MS, self.send(SERVER, SYN | ACK, 0)),
            (at_ns + 21 * MS, self.send(CLIENT, ACK, 0)),
        ]
    }

    /// A handshake, `turns` questions of 100 bytes and answers of 1,000, and the end by the client.
    pub fn whole(&mut self, at_ns: u64, turns: u64) -> Vec<(u64, Segment)> {
        let mut talk = self.handshake(at_ns);
        for turn in 0..turns {
            let at_ns = at_ns + (25 + 30 * turn) * MS;
            talk.push((at_ns, self.send(CLIENT, ACK | PSH, 100)));
            talk.push((at_ns + 20 * MS, self.send(SERVER, ACK | PSH, 1_000)));
            talk.push((at_ns + 21 * MS, self.send(CLIENT, ACK, 0)));
        }
        let at_ns = at_ns + (25 + 30 * turns) * MS;
        talk.push((at_ns, self.send(CLIENT, FIN | ACK, 0)));
        talk.push((at_ns + 20 * MS, self.send(SERVER, FIN | ACK, 0)));
        talk.push((at_ns + 21 * MS, self.send(CLIENT, ACK, 0)));
        talk
    }
}

/// A packet of a capture.
#[derive(Clone, Debug)]
pub struct Shot {
    pub time_ns: u64,
    pub bytes: Vec<u8>,
    /// How long it was on the wire, where that is not its length here.
    pub wire_len: Option<u32>,
    /// Index of its interface in its section.
    pub interface: u32,
}

impl Shot {
    pub fn new(time_ns: u64, bytes: Vec<u8>) -> Self {
        Self { time_ns, bytes, wire_len: None, interface: 0 }
    }
}

/// Each segment made to a packet.
pub fn shots(segments: &[(u64, Segment)], bytes: impl Fn(&Segment) -> Vec<u8>) -> Vec<Shot> {
    segments.iter().map(|(time_ns, segment)| Shot::new(*time_ns, bytes(segment))).collect()
}

fn narrow(number: u64) -> u32 {
    u32::try_from(number).expect("fits")
}

fn len_of(bytes: &[u8]) -> u32 {
    narrow(bytes.len() as u64)
}

/// A pcap file in nanoseconds, little-endian.
pub fn pcap(link_type: u16, shots: &[Shot]) -> Vec<u8> {
    let mut file = pcap_header((2, 4), u32::from(link_type));
    for shot in shots {
        file.extend(pcap_head(shot).concat());
        file.extend(&shot.bytes);
    }
    file
}

pub fn pcap_header((major, minor): (u16, u16), link_type: u32) -> Vec<u8> {
    let mut file = 0xa1b2_3c4d_u32.to_le_bytes().to_vec();
    file.extend([major.to_le_bytes(), minor.to_le_bytes()].concat());
    file.extend([0, 0, 262_144, link_type].map(u32::to_le_bytes).concat());
    file
}

/// Seconds, nanoseconds, captured and original length.
pub fn pcap_head(shot: &Shot) -> [[u8; 4]; 4] {
    let (s, ns) = (narrow(shot.time_ns / S), narrow(shot.time_ns % S));
    let len = len_of(&shot.bytes);
    [s, ns, len, shot.wire_len.unwrap_or(len)].map(u32::to_le_bytes)
}

/// A pcapng block, little-endian.
pub fn block(kind: u32, body: &[u8]) -> Vec<u8> {
    let mut body = body.to_vec();
    body.resize(body.len().next_multiple_of(4), 0);
    let len = (len_of(&body) + 12).to_le_bytes();
    [&kind.to_le_bytes()[..], &len, &body, &len].concat()
}

pub fn option(code: u16, value: &[u8]) -> Vec<u8> {
    let mut padded = value.to_vec();
    padded.resize(padded.len().next_multiple_of(4), 0);
    let len = u16::try_from(value.len()).expect("short").to_le_bytes();
    [&code.to_le_bytes()[..], &len, &padded].concat()
}

/// The header of a pcapng section.
pub fn section() -> Vec<u8> {
    let body = [&0x1a2b_3c4d_u32.to_le_bytes()[..], &[1, 0, 0, 0], &[0xff; 8]].concat();
    block(0x0a0d_0d0a, &body)
}

/// The description of an interface, with these options.
pub fn interface(link_type: u16, options: &[Vec<u8>]) -> Vec<u8> {
    let head = [&link_type.to_le_bytes()[..], &[0; 2], &262_144_u32.to_le_bytes()].concat();
    block(1, &[head, options.concat()].concat())
}

/// An interface of this name, in nanoseconds.
pub fn named(link_type: u16, name: &str) -> Vec<u8> {
    interface(link_type, &[option(2, name.as_bytes()), option(9, &[9])])
}

/// A packet at `units` of its interface's clock.
pub fn enhanced(units: u64, shot: &Shot) -> Vec<u8> {
    let len = len_of(&shot.bytes);
    let head =
        [shot.interface, narrow(units >> 32), narrow(units & 0xffff_ffff), len, shot.wire_len.unwrap_or(len)];
    block(6, &[head.map(u32::to_le_bytes).concat(), shot.bytes.clone()].concat())
}

/// Packets of interfaces in nanoseconds.
pub fn packets(shots: &[Shot]) -> Vec<u8> {
    shots.iter().flat_map(|shot| enhanced(shot.time_ns, shot)).collect()
}

/// What the command said.
#[derive(Debug)]
pub struct Said {
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

pub fn replay(file: &[u8], arguments: &[&str]) -> Said {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tcptop"));
    command.args(["replay", "-"]).args(arguments);
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().expect("it was built");
    let mut stdin = child.stdin.take().expect("piped");
    let file = file.to_vec();
    let writer = std::thread::spawn(move || {
        // It may end before it has read everything, when that is damaged.
        let _ = stdin.write_all(&file);
    });
    let output = child.wait_with_output().expect("it ends");
    writer.join().expect("it writes");
    let text = |bytes: Vec<u8>| String::from_utf8(bytes).expect("UTF-8");
    Said {
        code: output.status.code().expect("no signal"),
        stdout: text(output.stdout),
        stderr: text(output.stderr),
    }
}

/// `tcptop replay - --json`.
pub fn json(file: &[u8], arguments: &[&str]) -> Said {
    replay(file, &[&["--json"], arguments].concat())
}

impl Said {
    /// The JSON objects of this type.
    pub fn objects(&self, kind: &str) -> Vec<Value> {
        let objects = self.stdout.lines().map(|line| serde_json::from_str::<Value>(line).expect("JSON"));
        objects.filter(|object| object["type"] == kind).collect()
    }

    pub fn handshakes(&self) -> Vec<Value> {
        self.objects("handshake")
    }

    pub fn retransmits(&self) -> Vec<Value> {
        self.objects("retransmit")
    }

    pub fn summary(&self) -> Value {
        self.objects("summary").pop().unwrap_or_else(|| panic!("{self:?}"))
    }

    /// How many packets or records the summary says were missed for this reason.
    pub fn missed(&self, reason: &str) -> u64 {
        let summary = self.summary();
        let groups = [&summary["missed_packets"], &summary["missed_records"]];
        groups.into_iter().find_map(|group| group.get(reason)?.as_u64()).expect(reason)
    }

    /// As many established handshakes, each with these legs in nanoseconds and one try, and no retransmit.
    pub fn assert_faultless(&self, handshakes: usize, (server_leg, client_leg): (u64, u64)) {
        let all = self.handshakes();
        assert_eq!(all.len(), handshakes, "{self:?}");
        for handshake in &all {
            assert_eq!(handshake["outcome"], "established", "{self:?}");
            assert_eq!(handshake["tries"], 1, "{self:?}");
            assert_eq!(handshake["server_leg_ns"], server_leg, "{self:?}");
            assert_eq!(handshake["client_leg_ns"], client_leg, "{self:?}");
        }
        assert_eq!(self.retransmits(), Vec::<Value>::new(), "{self:?}");
    }

    /// One handshake as [`Talk::handshake`] has it, and no retransmit.
    pub fn assert_one_handshake(&self) {
        assert_eq!(self.code, 0, "{self:?}");
        self.assert_faultless(1, (20 * MS, MS));
    }
}
