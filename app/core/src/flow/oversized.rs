//! Segments of full size that do not get through although smaller ones do: a black hole for packets above the MTU of the
//! path, whose routers do not say so (RFC 2923, 2.1).
//!
//! Loss hits any segment, and seldom the same one three times. So what counts is how often one and the same large segment is
//! retransmitted, and what passed before it.

use probe_common::SegmentRecord;

use super::outcome::Party;
use super::traffic::Traffic;

/// Segments with less payload pass everywhere, in bytes: IPv6 asks for an MTU of 1,280 bytes (RFC 8200, 5).
const LEAST_BYTES: u32 = 1_200;
/// Retransmits of one segment that is among the first of its size. At a loss of 5% one of 8,000 segments has as many.
const RETRANSMITS: u32 = 3;
/// The same of a connection that was given up, or when nothing more can be seen: the last one did not arrive either.
const RETRANSMITS_AT_END: u32 = 2;
/// The same where segments of this size got through before: the path may have changed, or the loss is heavy.
const LATER_RETRANSMITS: u32 = 4;
/// So many segments of full size at the beginning of a connection are its first ones.
const FIRST: u32 = 4;
/// A sender that sends so many new segments was not stuck.
const MOVED: u64 = 16;
/// Retransmitted segments that are told apart. A sender that is stuck comes back to the same one.
const KEPT: usize = 4;

/// Both ends' segments that were retransmitted, by [`Party`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Oversized([Sender; 2]);

/// What one end retransmitted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sender {
    segments: [Large; KEPT],
    /// Bytes of payload of the segments that do not get through.
    stuck_bytes: Option<u32>,
    /// Segments that were no retransmits when the latest retransmit passed.
    new_segments: u64,
}

/// A segment of full size.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Large {
    seq: u32,
    /// Bytes of payload on the wire.
    bytes: u32,
    /// How often it was retransmitted; 0 for none.
    retransmits: u32,
    /// Whether segments of its size had passed before, as far as is known.
    is_usual: bool,
    /// Segments with data of the other end when the first retransmit passed.
    received: u64,
}

const fn new_segments(sent: &Traffic) -> u64 {
    sent.segments.saturating_sub(sent.retransmits)
}

impl Oversized {
    /// Handles retransmitted data of `by`, which began to send with `isn`. Returns whether it shows now that segments of this
    /// size do not get through.
    pub(super) fn retransmitted(&mut self, by: Party, record: &SegmentRecord, isn: Option<u32>) -> bool {
        let bytes = record.payload_len.div_ceil(record.segments.max(1));
        if bytes < LEAST_BYTES || !record.class.is_retransmit() {
            return false;
        }
        let [own, other] = &record.volumes.each_ref().map(Traffic::from);
        let sender = &mut self.0[by as usize];
        sender.new_segments = new_segments(own);
        let large = sender.find(record.seq).unwrap_or(Large {
            seq: record.seq,
            bytes,
            retransmits: 0,
            is_usual: !is_first_of_its_size(record.seq, bytes, own, isn),
            received: other.segments,
        });
        let large = Large { retransmits: large.retransmits + 1, bytes: bytes.min(large.bytes), ..large };
        sender.keep(large);
        let is_stuck = if large.is_usual {
            // Others still pass in the other direction.
            large.retransmits >= LATER_RETRANSMITS && other.segments > large.received
        } else {
            large.retransmits >= RETRANSMITS
        };
        let is_new = is_stuck && sender.stuck_bytes.is_none();
        if is_stuck {
            sender.stuck_bytes = Some(large.bytes);
        }
        is_new
    }

    /// `by` acknowledged all before this sequence number.
    pub(super) fn acknowledged(&mut self, by: Party, ack: u32) {
        let other = match by {
            Party::Local => Party::Remote,
            Party::Remote => Party::Local,
        };
        let sender = &mut self.0[other as usize];
        let arrived = |large: &Large| {
            let behind = ack.wrapping_sub(large.seq.wrapping_add(large.bytes));
            large.retransmits > 0 && behind < u32::MAX / 2
        };
        if sender.segments.iter().any(arrived) {
            *sender = Sender::default();
        }
    }

    /// Learns what both ends have sent so far.
    pub(super) fn learn_volumes(&mut self, volumes: &[Traffic; 2]) {
        for (sender, volume) in self.0.iter_mut().zip(volumes) {
            if new_segments(volume) >= sender.new_segments.saturating_add(MOVED) {
                *sender = Sender::default();
            }
        }
    }

    /// Nothing more can be seen. Returns whether it shows now that segments of full size did not get through.
    pub(super) fn end(&mut self) -> bool {
        let mut is_new = false;
        for sender in &mut self.0 {
            let is_stuck = |large: &&Large| !large.is_usual && large.retransmits >= RETRANSMITS_AT_END;
            let stuck = sender.segments.iter().find(is_stuck).filter(|_| sender.stuck_bytes.is_none());
            if let Some(large) = stuck {
                sender.stuck_bytes = Some(large.bytes);
                is_new = true;
            }
        }
        is_new
    }

    /// Bytes of payload of segments that do not get through.
    pub(super) fn stuck_bytes(&self) -> Option<u32> {
        self.0.iter().filter_map(|sender| sender.stuck_bytes).min()
    }
}

impl Sender {
    fn find(&self, seq: u32) -> Option<Large> {
        self.segments.iter().copied().find(|large| large.retransmits > 0 && large.seq == seq)
    }

    /// The latest one is first, and the one that was not retransmitted for longest goes.
    fn keep(&mut self, large: Large) {
        let place = self.segments.iter().position(|known| known.retransmits > 0 && known.seq == large.seq);
        self.segments.copy_within(..place.unwrap_or(KEPT - 1), 1);
        self.segments[0] = large;
    }
}

/// Whether no segment of this size can have passed before: it is among the first bytes of the connection, or most that was sent
/// before was much smaller.
fn is_first_of_its_size(seq: u32, bytes: u32, sent: &Traffic, isn: Option<u32>) -> bool {
    let is_early = isn.is_some_and(|isn| seq.wrapping_sub(isn.wrapping_add(1)) < FIRST * bytes);
    let (all, retransmitted) = (sent.segments, sent.retransmits.saturating_mul(bytes.into()));
    let others = all.saturating_sub(sent.retransmits);
    is_early
        || sent.bytes.saturating_sub(retransmitted).saturating_mul(2) < others.saturating_mul(bytes.into())
}

#[cfg(test)]
mod tests {
    use probe_common::{
        Direction, Endpoint, SegmentClass, SegmentKind, TcpFlags, Timestamps, Transmission, Volume,
    };

    use super::*;

    const ISN: u32 = u32::MAX - 2_000;

    fn volume(segments: u64, retransmits: u32, size: u64) -> Volume {
        Volume { segments, retransmits, bytes: segments * size, ..Volume::NONE }
    }

    /// Data that `offset` bytes precede, retransmitted.
    fn data(offset: u32, payload_len: u32, segments: u32, volumes: [Volume; 2]) -> SegmentRecord {
        let end = Endpoint { address: [0; 16], port: 1 };
        SegmentRecord {
            time_ns: 0,
            interface: 1,
            kind: SegmentKind::Retransmit,
            direction: Direction::Egress,
            source: end,
            destination: end,
            seq: ISN.wrapping_add(1 + offset),
            ack: 1,
            flags: TcpFlags::ACK,
            payload_len,
            timestamps: Timestamps::default(),
            segments,
            class: SegmentClass::retransmit(0),
            volumes,
            encapsulation: Default::default(),
            timebase: 0,
            cookie: 0,
            said: Transmission::UNKNOWN,
            dsacks: None,
            ttl: None,
            reset: None,
        }
    }

    fn first(oversized: &mut Oversized, times: u32) -> Vec<bool> {
        let one =
            |time: u32| data(200, 1_448, 1, [volume(10 + u64::from(time), time, 1_448), volume(1, 0, 100)]);
        (1..=times).map(|time| oversized.retransmitted(Party::Local, &one(time), Some(ISN))).collect()
    }

    #[test]
    fn the_first_large_segment_that_never_arrives_is_stuck() {
        let mut oversized = Oversized::default();
        assert_eq!(first(&mut oversized, 4), [false, false, true, false]);
        assert_eq!(oversized.stuck_bytes(), Some(1_448));
        oversized.acknowledged(Party::Remote, ISN.wrapping_add(201));
        assert_eq!(oversized.stuck_bytes(), Some(1_448), "what is before it was acknowledged");
        oversized.acknowledged(Party::Remote, ISN.wrapping_add(201 + 1_448));
        assert_eq!(oversized.stuck_bytes(), None, "it arrived");
    }

    #[test]
    fn two_retransmits_count_once_nothing_more_comes() {
        let mut oversized = Oversized::default();
        first(&mut oversized, 2);
        assert_eq!(oversized.stuck_bytes(), None);
        assert!(oversized.end() && !oversized.end());
        assert_eq!(oversized.stuck_bytes(), Some(1_448));
        let mut acknowledged = Oversized::default();
        first(&mut acknowledged, 2);
        acknowledged.acknowledged(Party::Remote, ISN.wrapping_add(9_000));
        assert!(!acknowledged.end());
    }

    #[test]
    fn small_segments_are_lost_like_others() {
        let mut oversized = Oversized::default();
        let small = data(200, 1_000, 1, [volume(10, 1, 1_000), volume(1, 0, 100)]);
        assert!(!(0..9).any(|_| oversized.retransmitted(Party::Local, &small, Some(ISN))));
        let super_segment = data(200, 5_000, 5, [volume(10, 1, 1_000), volume(1, 0, 100)]);
        assert!(!(0..9).any(|_| oversized.retransmitted(Party::Local, &super_segment, Some(ISN))));
        assert!(!oversized.end());
    }

    #[test]
    fn where_large_segments_passed_before_it_takes_more() {
        let mut oversized = Oversized::default();
        let later = |received| data(1_000_000, 1_448, 1, [volume(1_000, 9, 1_448), volume(received, 0, 100)]);
        let mut seen = |received| oversized.retransmitted(Party::Local, &later(received), Some(ISN));
        assert_eq!([7, 7, 7, 7].map(&mut seen), [false; 4], "nothing shows that anything passes");
        assert!(seen(8));
        let mut moved = Oversized::default();
        first(&mut moved, 3);
        let volumes = [volume(40, 3, 1_448), volume(1, 0, 100)];
        moved.learn_volumes(&volumes.each_ref().map(Traffic::from));
        assert_eq!(moved.stuck_bytes(), None, "the sender goes on");
    }

    #[test]
    fn a_connection_of_small_messages_has_a_first_large_one_late() {
        let mut oversized = Oversized::default();
        let sent = |times: u32| Volume {
            segments: 1_000 + u64::from(times),
            retransmits: times,
            bytes: 100_000 + u64::from(times) * 1_448,
            ..Volume::NONE
        };
        let one = |times| data(100_000, 1_448, 1, [sent(times), volume(1_000, 0, 80)]);
        let seen = [1, 2, 3].map(|times| oversized.retransmitted(Party::Remote, &one(times), None));
        assert_eq!(seen, [false, false, true]);
    }
}
