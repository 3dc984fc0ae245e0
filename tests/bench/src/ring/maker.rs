//! Records from the kernel, as many as are wanted: the programs that a running tcptop has attached are shown frames of
//! connections by test runs, faster than this machine could send them. What comes of it goes the way of all records.

use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::bpf::{self, Hook};
use lab::{Namespace, capture};
use probe_common::segment::mapped;
use probe_common::{Direction, Endpoint, SegmentClass, SegmentKind, SegmentRecord, TcpFlags, Timestamps};

const ETHERNET: u16 = 1;
/// Where the addresses are in an IPv4 packet behind an Ethernet header: the source's, the destination's.
const ADDRESSES: [u16; 2] = [14 + 12, 14 + 16];
/// The first client is 11.0.0.0.
const FIRST_CLIENT: u32 = 11 << 24;
const SERVER: [u8; 4] = [10, 2, 0, 1];
/// Connections that do the same at a time.
const TOGETHER: u32 = 32;
const PAYLOAD_LEN: u32 = 100;

/// What a connection does, and from which end: 0 is the client. Each but the first data is a record.
const STEPS: [(usize, TcpFlags, u32); 7] = [
    (0, TcpFlags::SYN, 0),
    (1, TcpFlags::SYN.with(TcpFlags::ACK), 0),
    (0, TcpFlags::ACK, 0),
    (0, TcpFlags::ACK, PAYLOAD_LEN),
    (0, TcpFlags::ACK, PAYLOAD_LEN),
    (0, TcpFlags::FIN.with(TcpFlags::ACK), 0),
    (1, TcpFlags::FIN.with(TcpFlags::ACK), 0),
];
/// Records of a connection.
pub(super) const RECORDS_EACH: u64 = 6;
/// The step that completes the handshake, and the one that sends data again.
const COMPLETES: usize = 2;
const SENDS_AGAIN: usize = 4;

/// Shows frames to the program of one tcptop on loopback.
pub(super) struct Maker {
    program: OwnedFd,
    /// The program behind one that makes each frame that of the next client: as source, and as destination.
    stepping: [OwnedFd; 2],
    _next: OwnedFd,
    /// Connections so far.
    connections: u32,
}

impl Maker {
    /// Of the tcptop that watches loopback in there.
    pub(super) fn new(namespace: &Namespace) -> Result<Self> {
        let index = namespace.link_index("lo")?;
        let program = namespace.run(|| bpf::first_attached(index, Hook::Egress));
        let program = program.context("tcptop has attached nothing")?;
        let next = bpf::single_program(program.as_fd()).context("cannot make a map of programs")?;
        let step = |offset: u16| bpf::load(&bpf::counting_up(offset.cast_signed(), 1, &next));
        let stepping = [step(ADDRESSES[0])?, step(ADDRESSES[1])?];
        Ok(Self { program, stepping, _next: next, connections: 0 })
    }

    /// Makes so many records a second for so long, in short bursts. Gives how many, and in what time.
    pub(super) fn storm(&mut self, per_s: u32, time: Duration) -> Result<(u64, Duration)> {
        let burst = u64::from(TOGETHER) * RECORDS_EACH;
        let (began, mut made) = (Instant::now(), 0);
        loop {
            let due = Duration::from_nanos(made * 1_000_000_000 / u64::from(per_s));
            if due >= time {
                return Ok((made, began.elapsed()));
            }
            // Slept a little too long, it is made up for.
            thread::sleep(due.saturating_sub(began.elapsed()));
            for (from, flags, payload) in STEPS {
                let frame = self.frame(from, flags, payload);
                bpf::test_run(self.stepping[from].as_fd(), &frame, TOGETHER)?;
            }
            self.connections += TOGETHER;
            made += burst;
        }
    }

    /// Opens a connection, with so much time between SYN-ACK and ACK, and gives when the ACK passed.
    pub(super) fn open(&mut self, apart: Duration) -> Result<Instant> {
        self.show(0)?;
        self.show(1)?;
        thread::sleep(apart);
        let now = Instant::now();
        self.show(COMPLETES)?;
        self.show(COMPLETES + 1)?;
        Ok(now)
    }

    /// Sends the data of the connection that was opened last once more, and gives when it passed.
    pub(super) fn send_again(&mut self) -> Result<Instant> {
        let now = Instant::now();
        self.show(SENDS_AGAIN)?;
        Ok(now)
    }

    /// From now on it is another connection.
    pub(super) fn next(&mut self) {
        self.connections += 1;
    }

    fn show(&self, step: usize) -> Result<()> {
        let (from, flags, payload) = STEPS[step];
        bpf::test_run(self.program.as_fd(), &self.frame(from, flags, payload), 1)?;
        Ok(())
    }

    fn frame(&self, from: usize, flags: TcpFlags, payload_len: u32) -> Vec<u8> {
        let client = (FIRST_CLIENT + self.connections).to_be_bytes();
        let ends = [
            Endpoint { address: mapped(client), port: 40_000 },
            Endpoint { address: mapped(SERVER), port: 443 },
        ];
        let opens = flags.has(TcpFlags::SYN);
        let has_sent = from == 0 && flags.has(TcpFlags::FIN) || from == 1 && !opens;
        let sent = u32::from(has_sent) * PAYLOAD_LEN;
        let (seq, ack) = match from {
            0 => (u32::from(!opens) + sent, 1),
            _ => (u32::from(!opens), 1 + sent + u32::from(!opens)),
        };
        let segment = SegmentRecord {
            time_ns: 0,
            interface: 1,
            kind: SegmentKind::Ack,
            direction: Direction::Unknown,
            source: ends[from],
            destination: ends[1 - from],
            seq,
            ack: if flags.has(TcpFlags::ACK) { ack } else { 0 },
            flags,
            payload_len,
            timestamps: Timestamps::default(),
            segments: 1,
            class: SegmentClass::NEW,
            volumes: Default::default(),
            encapsulation: Default::default(),
            timebase: 0,
        };
        capture::packet(&segment, ETHERNET)
    }
}
