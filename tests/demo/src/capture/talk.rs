//! One connection, as a capture at one of its ends has it.

use probe_common::{Direction, Endpoint, SegmentClass, SegmentKind, SegmentRecord, TcpFlags, Timestamps};

use super::story::{MS, S};

const ACK: TcpFlags = TcpFlags::ACK;
const PSH: TcpFlags = TcpFlags(0x08);
/// What a request and an answer are long, in bytes.
const REQUEST: u32 = 180;
const ANSWER: u32 = 1_200;
/// How long an end takes to react.
const TURN_NS: u64 = 40_000;

/// The packets of one connection so far.
pub(super) struct Talk {
    ends: [Endpoint; 2],
    /// Next sequence number of each end.
    seq: [u32; 2],
    now_ns: u64,
    /// The capture is from the end that is connected to.
    at_responder: bool,
    pub(super) records: Vec<SegmentRecord>,
}

impl Talk {
    /// Between an opener and another, which begins at `start_ns`.
    pub(super) fn new(ends: [Endpoint; 2], start_ns: u64, at_responder: bool) -> Self {
        // Ports are not used again: any numbers do, and these take little room.
        Self { ends, seq: [1_000, 5_000], now_ns: start_ns, at_responder, records: Vec::new() }
    }

    /// From the first SYN to the last ACK; the first SYN or the request may have been lost behind the capture.
    pub(super) fn whole(&mut self, rtt_ns: u64, syn_is_lost: bool, data_is_lost: bool) {
        self.opened(rtt_ns, syn_is_lost);
        self.request(rtt_ns, data_is_lost);
        self.send(0, ACK.with(TcpFlags::FIN), 0, MS);
        self.send(1, ACK.with(TcpFlags::FIN), 0, self.there(rtt_ns));
        self.send(0, ACK, 0, self.back(rtt_ns));
    }

    /// The handshake.
    pub(super) fn opened(&mut self, rtt_ns: u64, syn_is_lost: bool) {
        self.send(0, TcpFlags::SYN, 0, 0);
        if syn_is_lost {
            self.again(S);
        }
        self.send(1, TcpFlags::SYN.with(ACK), 0, self.there(rtt_ns));
        self.send(0, ACK, 0, self.back(rtt_ns));
    }

    /// A request and its answer.
    pub(super) fn request(&mut self, rtt_ns: u64, is_lost: bool) {
        self.send(0, ACK.with(PSH), REQUEST, TURN_NS);
        if is_lost {
            self.again(210 * MS);
        }
        self.send(1, ACK.with(PSH), ANSWER, self.there(rtt_ns) + 2 * MS);
        self.send(0, ACK, 0, self.back(rtt_ns));
    }

    pub(super) fn refused(&mut self, after_ns: u64) {
        self.send(0, TcpFlags::SYN, 0, 0);
        self.send(1, TcpFlags::RST.with(ACK), 0, after_ns);
    }

    /// The opener tries twice.
    pub(super) fn unanswered(&mut self) {
        self.send(0, TcpFlags::SYN, 0, 0);
        self.again(S);
    }

    /// The answer is repeated, and nobody completes the handshake.
    pub(super) fn half_open(&mut self) {
        self.send(0, TcpFlags::SYN, 0, 0);
        self.send(1, TcpFlags::SYN.with(ACK), 0, TURN_NS);
        self.again(S);
        self.again(2 * S);
    }

    /// The end that is connected to has had enough.
    pub(super) fn reset(&mut self, after_ns: u64) {
        self.send(1, TcpFlags::RST.with(ACK), 0, after_ns);
    }

    /// How long after the opener's packet the other end's is captured, and the other way round.
    const fn there(&self, rtt_ns: u64) -> u64 {
        if self.at_responder { TURN_NS } else { rtt_ns }
    }

    const fn back(&self, rtt_ns: u64) -> u64 {
        if self.at_responder { rtt_ns } else { TURN_NS }
    }

    fn send(&mut self, end: usize, flags: TcpFlags, payload_len: u32, after_ns: u64) {
        self.now_ns += after_ns;
        let record = SegmentRecord {
            time_ns: self.now_ns,
            interface: 1,
            kind: SegmentKind::Ack,
            direction: Direction::Unknown,
            source: self.ends[end],
            destination: self.ends[1 - end],
            seq: self.seq[end],
            ack: if flags.has(ACK) { self.seq[1 - end] } else { 0 },
            flags,
            payload_len,
            timestamps: Timestamps::default(),
            segments: 1,
            class: SegmentClass::NEW,
            volumes: Default::default(),
            encapsulation: Default::default(),
            timebase: 0,
        };
        let counted = u32::from(flags.has(TcpFlags::SYN) || flags.has(TcpFlags::FIN));
        self.seq[end] = self.seq[end].wrapping_add(payload_len + counted);
        self.records.push(record);
    }

    /// The last packet once more.
    fn again(&mut self, after_ns: u64) {
        self.now_ns += after_ns;
        let last = self.records.last().copied();
        self.records.extend(last.map(|record| SegmentRecord { time_ns: self.now_ns, ..record }));
    }
}
