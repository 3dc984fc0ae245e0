//! Segments of connections that are made up: what captures and frames are written from.

use std::ops::Range;

use probe_common::encapsulation::Encapsulation;
use probe_common::segment::mapped;
use probe_common::{
    Direction, Endpoint, SegmentClass, SegmentKind, SegmentRecord, TcpFlags, Timestamps, Transmission, Volume,
};

/// Linux's own choice of ephemeral ports (`ip_local_port_range`).
pub const EPHEMERAL_PORTS: Range<u16> = 32_768..60_999;
/// The sender wants its data handed on.
pub const PSH: TcpFlags = TcpFlags(0x08);

/// A segment of which only its ends and flags are known: at time 0, on interface 1, with no direction, numbers of 0,
/// without payload and timestamps. Its kind follows from the flags.
#[must_use]
pub const fn segment(source: Endpoint, destination: Endpoint, flags: TcpFlags) -> SegmentRecord {
    let kind = match flags {
        _ if flags.has(TcpFlags::RST) => SegmentKind::Rst,
        _ if flags.has(TcpFlags::SYN.with(TcpFlags::ACK)) => SegmentKind::SynAck,
        _ if flags.has(TcpFlags::SYN) => SegmentKind::Syn,
        _ if flags.has(TcpFlags::FIN) => SegmentKind::Fin,
        _ => SegmentKind::Ack,
    };
    SegmentRecord {
        time_ns: 0,
        interface: 1,
        kind,
        direction: Direction::Unknown,
        source,
        destination,
        seq: 0,
        ack: 0,
        flags,
        payload_len: 0,
        timestamps: Timestamps { value: 0, echo: 0, present: false },
        segments: 1,
        class: SegmentClass::NEW,
        volumes: [Volume::NONE; 2],
        encapsulation: Encapsulation::None,
        cookie: 0,
        said: Transmission::UNKNOWN,
        dsacks: None,
        ttl: None,
        reset: None,
        timebase: 0,
    }
}

/// An address and port of IPv4.
#[must_use]
pub fn v4(address: [u8; 4], port: u16) -> Endpoint {
    Endpoint { address: mapped(address), port }
}

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum End {
    /// The one that opens the connection.
    Opener,
    /// The other.
    Responder,
}

/// The segments of one connection so far, in the order of their times.
#[derive(Clone, Debug)]
pub struct Conversation {
    ends: [Endpoint; 2],
    /// The next sequence number of each end.
    next: [u32; 2],
    /// What each end's timestamp clock is ahead of time in milliseconds, and the last TSval that it sent.
    clocks: Option<[(u32, u32); 2]>,
    now_ns: u64,
    segments: Vec<SegmentRecord>,
}

impl Conversation {
    /// Between an opener and a responder with these initial sequence numbers, from `start_ns` on.
    #[must_use]
    pub fn new(ends: [Endpoint; 2], isns: [u32; 2], start_ns: u64) -> Self {
        Self { ends, next: isns, clocks: None, now_ns: start_ns, segments: Vec::new() }
    }

    /// The same with timestamps, whose clocks are so far ahead.
    #[must_use]
    pub fn with_timestamps(self, ahead_ms: [u32; 2]) -> Self {
        Self { clocks: Some(ahead_ms.map(|ahead_ms| (ahead_ms, 0))), ..self }
    }

    /// One end sends a segment.
    pub fn send(&mut self, from: End, flags: TcpFlags, payload_len: u32, after_ns: u64) {
        self.now_ns += after_ns;
        let (own, other) = (from as usize, 1 - from as usize);
        let counted = u32::from(flags.has(TcpFlags::SYN)) + u32::from(flags.has(TcpFlags::FIN));
        let sent = SegmentRecord {
            time_ns: self.now_ns,
            seq: self.next[own],
            ack: if flags.has(TcpFlags::ACK) { self.next[other] } else { 0 },
            payload_len,
            timestamps: self.stamp(own),
            ..segment(self.ends[own], self.ends[other], flags)
        };
        self.segments.push(sent);
        self.next[own] = self.next[own].wrapping_add(payload_len + counted);
    }

    /// The last segment is sent again.
    pub fn send_again(&mut self, after_ns: u64) {
        let Some(last) = self.segments.last().copied() else { return };
        self.now_ns += after_ns;
        let own = usize::from(last.source != self.ends[0]);
        let timestamps = Timestamps { value: self.stamp(own).value, ..last.timestamps };
        self.segments.push(SegmentRecord { time_ns: self.now_ns, timestamps, ..last });
    }

    fn stamp(&mut self, own: usize) -> Timestamps {
        let Some(clocks) = &mut self.clocks else { return Timestamps::default() };
        let ms = u32::try_from(self.now_ns / 1_000_000 % (1 << 32)).unwrap_or_default();
        clocks[own].1 = clocks[own].0.wrapping_add(ms);
        Timestamps { value: clocks[own].1, echo: clocks[1 - own].1, present: true }
    }

    /// All segments so far.
    #[must_use]
    pub fn segments(&self) -> &[SegmentRecord] {
        &self.segments
    }

    /// All segments.
    #[must_use]
    pub fn into_segments(self) -> Vec<SegmentRecord> {
        self.segments
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ACK: TcpFlags = TcpFlags::ACK;

    #[test]
    fn numbers_and_timestamps_follow_what_was_sent() {
        let mut talk =
            Conversation::new([v4([10, 0, 0, 1], 40_000), v4([10, 0, 0, 2], 80)], [u32::MAX, 7], 0)
                .with_timestamps([100, 200]);
        talk.send(End::Opener, TcpFlags::SYN, 0, 0);
        talk.send_again(1_000_000_000);
        talk.send(End::Responder, TcpFlags::SYN.with(ACK), 0, 20_000_000);
        talk.send(End::Opener, ACK, 50, 0);
        talk.send(End::Responder, ACK.with(TcpFlags::FIN), 0, 0);
        talk.send(End::Opener, ACK, 0, 0);
        let numbers: Vec<_> = talk.segments().iter().map(|segment| (segment.seq, segment.ack)).collect();
        assert_eq!(numbers, [(u32::MAX, 0), (u32::MAX, 0), (7, 0), (0, 8), (8, 50), (50, 9)]);
        let stamps: Vec<_> =
            talk.segments().iter().map(|s| (s.timestamps.value, s.timestamps.echo)).take(4).collect();
        assert_eq!(stamps, [(100, 0), (1_100, 0), (1_220, 1_100), (1_120, 1_220)]);
        let kinds: Vec<_> = talk.into_segments().iter().map(|segment| segment.kind).collect();
        use SegmentKind::{Ack, Fin, Syn, SynAck};
        assert_eq!(kinds, [Syn, Syn, SynAck, Ack, Fin, Ack]);
    }
}
