//! One TCP connection as a capture near its client has it, from the first SYN to the last ACK.

use fastrand::Rng;
use probe_common::segment::mapped;
use probe_common::{Direction, Endpoint, SegmentClass, SegmentKind, SegmentRecord, TcpFlags, Timestamps};

const MS: u64 = 1_000_000;
/// What fits into a segment on Ethernet beside the timestamp option.
const MSS: u32 = 1_448;
const PSH: TcpFlags = TcpFlags(0x08);

/// Ports that tshark has no dissector for: it would spend further time on making sense of the payload.
const PORTS: [u16; 4] = [7_101, 7_102, 7_103, 7_104];
const SERVERS: u32 = 500;
const CLIENTS: u32 = 2_000;
/// Linux's own choice of ephemeral ports (`ip_local_port_range`).
const EPHEMERAL: std::ops::Range<u32> = 32_768..61_000;

/// What a segment makes of its handshake.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// It opens it.
    Opens,
    /// It completes it.
    Establishes,
    /// It refuses it.
    Refuses,
}

/// One end of a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum End {
    Client,
    Server,
}

/// The segments of one connection, in the order of their times.
pub(super) struct Conversation {
    ends: [Endpoint; 2],
    /// Next sequence number of each end.
    seq: [u32; 2],
    /// Each end's timestamp clock beside ours, and the last TSval that it sent.
    clocks: Option<[(u32, u32); 2]>,
    now_ns: u64,
    segments: Vec<(SegmentRecord, Option<Step>)>,
}

impl Conversation {
    /// The connection of this number, beginning at `start_ns`. No two numbers have the same addresses and
    /// ports, as long as there are fewer than 56 million.
    pub(super) fn new(number: u32, start_ns: u64, rng: &mut Rng) -> Self {
        let clocks = [(rng.u32(..), 0), (rng.u32(..), 0)];
        let mut this = Self {
            ends: ends(number, rng),
            seq: [rng.u32(..), rng.u32(..)],
            clocks: (rng.u8(0..10) > 0).then_some(clocks),
            now_ns: start_ns,
            segments: Vec::new(),
        };
        let rtt_ns = rng.u64(MS / 5..120 * MS);
        match rng.u8(0..100) {
            0..3 => this.is_refused(rtt_ns),
            3..5 => this.is_unanswered(),
            5..8 => {
                this.syn();
                this.again(1_000 * MS);
                this.is_answered(rtt_ns, rng);
            }
            _ => {
                this.syn();
                this.is_answered(rtt_ns, rng);
            }
        }
        this
    }

    pub(super) fn into_segments(self) -> std::vec::IntoIter<(SegmentRecord, Option<Step>)> {
        self.segments.into_iter()
    }

    fn syn(&mut self) {
        self.send(End::Client, TcpFlags::SYN, 0, 0, Some(Step::Opens));
    }

    fn is_refused(&mut self, rtt_ns: u64) {
        self.syn();
        self.send(End::Server, TcpFlags::RST.with(TcpFlags::ACK), 0, rtt_ns, Some(Step::Refuses));
    }

    fn is_unanswered(&mut self) {
        self.syn();
        self.again(1_000 * MS);
        self.again(2_000 * MS);
    }

    fn is_answered(&mut self, rtt_ns: u64, rng: &mut Rng) {
        let turn_ns = rng.u64(5_000..60_000);
        self.send(End::Server, TcpFlags::SYN.with(TcpFlags::ACK), 0, rtt_ns, None);
        self.send(End::Client, TcpFlags::ACK, 0, turn_ns, Some(Step::Establishes));
        for _ in 0..rng.u32(1..4) {
            self.exchange(rtt_ns, rng);
        }
        if rng.u8(0..20) == 0 {
            return self.send(End::Client, TcpFlags::RST.with(TcpFlags::ACK), 0, turn_ns, None);
        }
        self.send(End::Client, TcpFlags::FIN.with(TcpFlags::ACK), 0, turn_ns, None);
        self.send(End::Server, TcpFlags::FIN.with(TcpFlags::ACK), 0, rtt_ns, None);
        self.send(End::Client, TcpFlags::ACK, 0, turn_ns, None);
    }

    /// A request, and an answer of a few segments, every second of which is acknowledged.
    fn exchange(&mut self, rtt_ns: u64, rng: &mut Rng) {
        self.send(End::Client, TcpFlags::ACK.with(PSH), rng.u32(80..900), rng.u64(0..50 * MS), None);
        let mut gap_ns = rtt_ns;
        for segment in 0..rng.u32(0..6) {
            self.send(End::Server, TcpFlags::ACK, MSS, gap_ns, None);
            gap_ns = rng.u64(2_000..200_000);
            if segment % 2 == 1 {
                self.send(End::Client, TcpFlags::ACK, 0, 5_000, None);
            }
        }
        self.send(End::Server, TcpFlags::ACK.with(PSH), rng.u32(1..MSS), gap_ns, None);
        self.send(End::Client, TcpFlags::ACK, 0, 5_000, None);
    }

    fn send(&mut self, end: End, flags: TcpFlags, payload_len: u32, after_ns: u64, step: Option<Step>) {
        self.now_ns += after_ns;
        let (own, other) = (end as usize, 1 - end as usize);
        let (value, echo) = self.stamp(own, other);
        let record = SegmentRecord {
            time_ns: self.now_ns,
            interface: 1,
            kind: SegmentKind::Ack,
            direction: Direction::Unknown,
            source: self.ends[own],
            destination: self.ends[other],
            seq: self.seq[own],
            ack: if flags.has(TcpFlags::ACK) { self.seq[other] } else { 0 },
            flags,
            payload_len,
            timestamps: Timestamps { value, echo, present: self.clocks.is_some() },
            segments: 1,
            class: SegmentClass::NEW,
            volumes: Default::default(),
            encapsulation: Default::default(),
            timebase: 0,
        };
        let flag = u32::from(flags.has(TcpFlags::SYN) || flags.has(TcpFlags::FIN));
        self.seq[own] = self.seq[own].wrapping_add(payload_len + flag);
        self.segments.push((record, step));
    }

    /// The last segment once more, as its sender gets no answer.
    fn again(&mut self, after_ns: u64) {
        let Some((mut record, _)) = self.segments.last().copied() else { return };
        self.now_ns += after_ns;
        (record.timestamps.value, _) = self.stamp(0, 1);
        record.time_ns = self.now_ns;
        self.segments.push((record, None));
    }

    /// TSval and TSecr of the next segment.
    fn stamp(&mut self, own: usize, other: usize) -> (u32, u32) {
        let Some(clocks) = &mut self.clocks else { return (0, 0) };
        let ms = u32::try_from(self.now_ns / MS % (1 << 32)).unwrap_or_default();
        clocks[own].1 = clocks[own].0.wrapping_add(ms);
        (clocks[own].1, clocks[other].1)
    }
}

/// Client and server; three of ten speak IPv6.
fn ends(number: u32, rng: &mut Rng) -> [Endpoint; 2] {
    let port = EPHEMERAL.start + number / CLIENTS % (EPHEMERAL.end - EPHEMERAL.start);
    let (client, server) = (number % CLIENTS, rng.u32(0..SERVERS));
    let (client_port, server_port) =
        (u16::try_from(port).unwrap_or(u16::MAX), PORTS[rng.usize(0..PORTS.len())]);
    let [_, _, c, d] = client.to_be_bytes();
    let [_, _, s, t] = server.to_be_bytes();
    let addresses = if number % 10 < 3 {
        let in_net = |net: u8, high, low| [0x20, 1, 0xd, 0xb8, 0, net, 0, 0, 0, 0, 0, 0, 0, 0, high, low];
        [in_net(1, c, d), in_net(2, s, t)]
    } else {
        [mapped([10, 1, c, d]), mapped([10, 2, s, t])]
    };
    [
        Endpoint { address: addresses[0], port: client_port },
        Endpoint { address: addresses[1], port: server_port },
    ]
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What is known of a capture is held against what tcptop says of it, so it must be one of TCP.
    #[test]
    fn each_opens_once_and_its_times_go_forward() {
        let mut rng = Rng::with_seed(7);
        for number in 0..500 {
            let segments: Vec<_> = Conversation::new(number, 5, &mut rng).into_segments().collect();
            assert_eq!(segments[0].1, Some(Step::Opens));
            assert_eq!(segments.iter().filter(|(_, step)| *step == Some(Step::Opens)).count(), 1);
            assert!(segments.iter().filter(|(_, step)| step.is_some()).count() <= 2);
            assert!(segments.is_sorted_by_key(|(record, _)| record.time_ns));
            for pair in segments.windows(2).filter(|pair| pair[0].0.source == pair[1].0.source) {
                let next = pair[0].0.seq.wrapping_add(pair[0].0.payload_len);
                let repeated = pair[1].0.seq == pair[0].0.seq && pair[0].0.flags.has(TcpFlags::SYN);
                assert!(repeated || pair[1].0.seq == next, "{pair:?}");
            }
        }
    }
}
