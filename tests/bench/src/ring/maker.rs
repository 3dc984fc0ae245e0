//! Makes records in the kernel at any rate: test runs of the programs that a running tcptop has attached, faster than
//! this machine could send packets. The records then take their usual way.

use std::os::fd::{AsFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::bpf::{self, Hook};
use lab::conversation::{Conversation, End, v4};
use lab::{Namespace, capture};
use probe_common::TcpFlags;

const ETHERNET: u16 = 1;
/// Offsets of source and destination in an IPv4 packet after an Ethernet header.
const ADDRESSES: [u16; 2] = [14 + 12, 14 + 16];
/// The first client is 11.0.0.0.
const FIRST_CLIENT: u32 = 11 << 24;
const SERVER: [u8; 4] = [10, 2, 0, 1];
/// How many connections take each step at once.
const TOGETHER: u32 = 32;
const PAYLOAD_LEN: u32 = 100;

/// The segments of a connection. Each but the first data makes a record.
const STEPS: [(End, TcpFlags, u32); 7] = [
    (End::Opener, TcpFlags::SYN, 0),
    (End::Responder, TcpFlags::SYN.with(TcpFlags::ACK), 0),
    (End::Opener, TcpFlags::ACK, 0),
    (End::Opener, TcpFlags::ACK, PAYLOAD_LEN),
    (End::Opener, TcpFlags::ACK, PAYLOAD_LEN),
    (End::Opener, TcpFlags::FIN.with(TcpFlags::ACK), 0),
    (End::Responder, TcpFlags::FIN.with(TcpFlags::ACK), 0),
];
/// Records per connection.
pub(super) const RECORDS_EACH: u64 = 6;
/// The step that completes the handshake, and the one that retransmits data.
const COMPLETES: usize = 2;
const SENDS_AGAIN: usize = 4;

/// Runs the program of one tcptop on loopback.
pub(super) struct Maker {
    program: OwnedFd,
    /// The program behind one that increments the client's address: as source, and as destination.
    stepping: [OwnedFd; 2],
    _next: OwnedFd,
    /// Connections so far.
    connections: u32,
}

impl Maker {
    /// Finds the program of the tcptop that watches loopback in this namespace.
    pub(super) fn new(namespace: &Namespace) -> Result<Self> {
        let index = namespace.link_index("lo")?;
        let program = namespace.run(|| bpf::first_attached(index, Hook::Egress));
        let program = program.context("tcptop has attached nothing")?;
        let next = bpf::single_program(program.as_fd()).context("cannot make a map of programs")?;
        let step = |offset: u16| bpf::load(&bpf::counting_up(offset.cast_signed(), 1, &next));
        let stepping = [step(ADDRESSES[0])?, step(ADDRESSES[1])?];
        Ok(Self { program, stepping, _next: next, connections: 0 })
    }

    /// Makes records at this rate for this time, in short bursts; returns how many, and how long it took.
    pub(super) fn storm(&mut self, per_s: u32, time: Duration) -> Result<(u64, Duration)> {
        let burst = u64::from(TOGETHER) * RECORDS_EACH;
        let (began, mut made) = (Instant::now(), 0);
        loop {
            let due = Duration::from_nanos(made * 1_000_000_000 / u64::from(per_s));
            if due >= time {
                return Ok((made, began.elapsed()));
            }
            // A longer sleep is made up for by the next burst.
            thread::sleep(due.saturating_sub(began.elapsed()));
            for ((from, ..), frame) in STEPS.into_iter().zip(self.frames()) {
                bpf::test_run(self.stepping[from as usize].as_fd(), &frame, TOGETHER)?;
            }
            self.connections += TOGETHER;
            made += burst;
        }
    }

    /// Opens a connection with this time between SYN-ACK and ACK; returns when the ACK passed.
    pub(super) fn open(&mut self, apart: Duration) -> Result<Instant> {
        self.show(0)?;
        self.show(1)?;
        thread::sleep(apart);
        let now = Instant::now();
        self.show(COMPLETES)?;
        self.show(COMPLETES + 1)?;
        Ok(now)
    }

    /// Retransmits the data of the last connection; returns when it passed.
    pub(super) fn send_again(&mut self) -> Result<Instant> {
        let now = Instant::now();
        self.show(SENDS_AGAIN)?;
        Ok(now)
    }

    /// Moves on to another connection.
    pub(super) fn next(&mut self) {
        self.connections += 1;
    }

    fn show(&self, step: usize) -> Result<()> {
        bpf::test_run(self.program.as_fd(), &self.frames()[step], 1)?;
        Ok(())
    }

    /// The frames of the next connection, one per step.
    fn frames(&self) -> Vec<Vec<u8>> {
        let client = (FIRST_CLIENT + self.connections).to_be_bytes();
        let mut talk = Conversation::new([v4(client, 40_000), v4(SERVER, 443)], [0, 0], 0);
        for (from, flags, payload_len) in STEPS {
            // The second data is a retransmit.
            if talk.segments().last().is_some_and(|last| last.payload_len > 0) && payload_len > 0 {
                talk.send_again(0);
            } else {
                talk.send(from, flags, payload_len, 0);
            }
        }
        talk.segments().iter().map(|segment| capture::packet(segment, ETHERNET)).collect()
    }
}
