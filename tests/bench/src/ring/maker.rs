//! Records from the kernel, as many as are wanted: the programs that a running tcptop has attached are shown frames of
//! connections by test runs, faster than this machine could send them. What comes of it goes the way of all records.

use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::bpf::{self, Hook};
use lab::conversation::{Conversation, End, v4};
use lab::{Namespace, capture};
use probe_common::TcpFlags;

const ETHERNET: u16 = 1;
/// Where the addresses are in an IPv4 packet behind an Ethernet header: the source's, the destination's.
const ADDRESSES: [u16; 2] = [14 + 12, 14 + 16];
/// The first client is 11.0.0.0.
const FIRST_CLIENT: u32 = 11 << 24;
const SERVER: [u8; 4] = [10, 2, 0, 1];
/// Connections that do the same at a time.
const TOGETHER: u32 = 32;
const PAYLOAD_LEN: u32 = 100;

/// What a connection does, and from which end. Each but the first data is a record.
const STEPS: [(End, TcpFlags, u32); 7] = [
    (End::Opener, TcpFlags::SYN, 0),
    (End::Responder, TcpFlags::SYN.with(TcpFlags::ACK), 0),
    (End::Opener, TcpFlags::ACK, 0),
    (End::Opener, TcpFlags::ACK, PAYLOAD_LEN),
    (End::Opener, TcpFlags::ACK, PAYLOAD_LEN),
    (End::Opener, TcpFlags::FIN.with(TcpFlags::ACK), 0),
    (End::Responder, TcpFlags::FIN.with(TcpFlags::ACK), 0),
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
            for ((from, ..), frame) in STEPS.into_iter().zip(self.frames()) {
                bpf::test_run(self.stepping[from as usize].as_fd(), &frame, TOGETHER)?;
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
        bpf::test_run(self.program.as_fd(), &self.frames()[step], 1)?;
        Ok(())
    }

    /// The frame of each step of the connection that comes next.
    fn frames(&self) -> Vec<Vec<u8>> {
        let client = (FIRST_CLIENT + self.connections).to_be_bytes();
        let mut talk = Conversation::new([v4(client, 40_000), v4(SERVER, 443)], [0, 0], 0);
        for (from, flags, payload_len) in STEPS {
            // Data is sent twice, but counts once.
            if talk.segments().last().is_some_and(|last| last.payload_len > 0) && payload_len > 0 {
                talk.send_again(0);
            } else {
                talk.send(from, flags, payload_len, 0);
            }
        }
        talk.segments().iter().map(|segment| capture::packet(segment, ETHERNET)).collect()
    }
}
