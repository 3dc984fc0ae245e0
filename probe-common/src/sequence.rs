//! One direction of a flow: which sequence numbers have passed, and which are missing.
//!
//! A segment that begins where the last one ended is the rule, and costs a comparison and three additions. Any other is
//! looked at more closely: it opens a hole, fills one, or repeats what has passed.

use crate::segment::{Segment, TcpFlags, Timestamps};
use crate::transmission::{Cause, Transmission};
use crate::verifier::assign_words;

/// As many holes are remembered. When another opens, the oldest is forgotten: then only the sender's own counters tell
/// whether what fills it was overtaken or retransmitted.
const HOLES: usize = 6;
/// Sequence numbers this far from the expected one have nothing to do with what is known: the flow took another path for
/// a while, or the segment belongs to another connection. Windows are smaller in practice (64 MiB).
const FAR: u32 = 1 << 26;
/// A hole that is filled this soon was no loss but reordering, while no round-trip time is known: 3 ms, in
/// microseconds.
const UNKNOWN_RTT_US: u32 = 3_000;
/// IP IDs this far apart, or less, are of packets that were sent shortly after each other, where a sender counts them.
/// Some senders draw them at random: two of those lie so close by chance once in 32 times.
const NEAR_IDENTS: i16 = 1_024;
/// IP IDs are compared for this long, in microseconds: after 2^16 packets they begin again.
const IDENT_LIFETIME_US: u32 = 1_000_000;

/// From one moment to another, in microseconds; both wrap after 71 minutes. 0 when the later one is earlier: captures have
/// such times.
#[inline(always)]
pub(crate) const fn elapsed_us(earlier_us: u32, later_us: u32) -> u32 {
    let elapsed_us = later_us.wrapping_sub(earlier_us);
    if elapsed_us > u32::MAX / 2 { 0 } else { elapsed_us }
}

/// Sequence numbers that are missing.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Hole {
    start: u32,
    /// The first number behind it; equal to `start` when there is no hole.
    end: u32,
    /// When it opened, in microseconds of the monotonic clock; wraps after 71 minutes.
    opened_us: u32,
    /// TSval of the segment that opened it, or its IP ID where its sender gives no timestamps.
    opener: u32,
}

impl Hole {
    const NONE: Self = Self { start: 0, end: 0, opened_us: 0, opener: 0 };
}

/// What is known of the holes that a segment fills.
#[derive(Clone, Copy)]
struct Filled {
    /// When the oldest of them opened.
    opened_us: u32,
    /// When the newest of them opened.
    newest_us: u32,
    /// The counter of the segment that opened that one.
    opener: u32,
}

/// When a sender sent a segment, by its own counters.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SentMark {
    /// TSval, where `is_stamped`.
    ts_value: u32,
    /// When it passed, in microseconds of the monotonic clock; wraps after 71 minutes.
    at_us: u32,
    /// The packet's IP ID; 0 where there is none, or the sender does not count.
    ident: u16,
    /// 1 where it had timestamps.
    is_stamped: u16,
}

impl SentMark {
    const NONE: Self = Self { ts_value: 0, at_us: 0, ident: 0, is_stamped: 0 };

    #[inline(always)]
    const fn of(range: &SequenceRange, now_us: u32) -> Self {
        Self { ts_value: range.ts_value, at_us: now_us, ident: range.ident, is_stamped: range.is_stamped }
    }

    /// What a hole that this segment opens remembers of it.
    #[inline(always)]
    const fn counter(&self) -> u32 {
        if self.is_stamped != 0 { self.ts_value } else { self.ident as u32 }
    }

    /// Was `other`, which passed after this, sent before or after it? `None` where the counters do not tell. Timestamps
    /// come first: every sender counts them up (RFC 7323, 4.1). Linux counts the IP IDs of a connection, Windows those of
    /// the host.
    #[inline(always)]
    #[allow(clippy::cast_possible_wrap, reason = "differences of numbers that wrap (RFC 1982)")]
    const fn followed_by(&self, other: &Self) -> Option<bool> {
        let ticks = other.ts_value.wrapping_sub(self.ts_value) as i32;
        if self.is_stamped & other.is_stamped != 0 && ticks != 0 {
            return Some(ticks > 0);
        }
        let packets = other.ident.wrapping_sub(self.ident) as i16;
        let is_recent = elapsed_us(self.at_us, other.at_us) < IDENT_LIFETIME_US;
        let is_counted = self.ident != 0 && other.ident != 0 && is_recent;
        if is_counted && packets != 0 && packets >= -NEAR_IDENTS && packets <= NEAR_IDENTS {
            return Some(packets > 0);
        }
        None
    }
}

/// One direction of a flow. Lies in a kernel map: integers, no padding. What every segment needs comes first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct SequenceTracker {
    /// The sequence number that follows all that has passed, once anything has.
    pub next_seq: u32,
    /// The initial sequence number, once a SYN has passed.
    pub isn: u32,
    /// What was sent.
    pub volume: Volume,
    /// What is known of the two numbers, as the bits below.
    known: u32,
    /// Of the segments that opened a hole the one that was sent last: what fills no hole is compared with it.
    mark: SentMark,
    holes: [Hole; HOLES],
}

const NEXT: u32 = 1;
const ISN: u32 = 2;

/// How much was sent in one direction. A super-packet (GSO, GRO) counts as the segments that it holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[repr(C)]
pub struct Volume {
    /// Segments with data.
    pub segments: u64,
    /// Bytes of data, retransmitted ones included.
    pub bytes: u64,
    /// Segments of them that were retransmitted.
    pub retransmits: u32,
    /// Those of them that the sender says are [fast retransmits](Cause::Fast).
    pub fast: u32,
    /// Those that it says are [slow-start retransmits](Cause::SlowStart).
    pub slow_starts: u32,
    /// Those that it says are [timeouts](Cause::Timeout): so many at most that the cause of more is not known.
    pub timeouts: u16,
    /// Those that it says are [tail loss probes](Cause::TailLossProbe), likewise.
    pub probes: u16,
}

impl Volume {
    /// Nothing.
    pub const NONE: Self =
        Self { segments: 0, bytes: 0, retransmits: 0, fast: 0, slow_starts: 0, timeouts: 0, probes: 0 };

    /// Retransmitted segments whose sender says that this is the cause.
    #[must_use]
    pub fn caused_by(&self, cause: Cause) -> u64 {
        match cause {
            Cause::Timeout => self.timeouts.into(),
            Cause::SlowStart => self.slow_starts.into(),
            Cause::Fast => self.fast.into(),
            Cause::TailLossProbe => self.probes.into(),
        }
    }

    /// Counts segments with data that are retransmits.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "a packet stands for at most 65,535 segments")]
    const fn count_retransmits(&mut self, segments: u32, said: Transmission) {
        self.retransmits = self.retransmits.saturating_add(segments);
        let few = (segments & 0xffff) as u16;
        // One that does not fit in is not counted in part.
        match said.cause() {
            Some(Cause::Fast) => self.fast += segments,
            Some(Cause::SlowStart) => self.slow_starts += segments,
            Some(Cause::Timeout) if self.timeouts < 0x8000 => self.timeouts = self.timeouts.wrapping_add(few),
            Some(Cause::TailLossProbe) if self.probes < 0x8000 => self.probes = self.probes.wrapping_add(few),
            _ => {}
        }
    }
}

const _: () =
    assert!(size_of::<SequenceTracker>() == 152, "a padding byte would be uninitialised in the map");

/// Whether a segment is a retransmit, and how old the hole is that it fills; of a RST whether it fits its flow. A word,
/// because a function of the kernel's byte code can return no more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct SegmentClass(u64);

impl SegmentClass {
    /// Not a retransmit, as far as is known.
    pub const NEW: Self = Self(0);
    /// A RST that its receiver has to ignore: its sequence number is out of the window (RFC 9293, 3.10.7.4).
    pub const OUT_OF_WINDOW: Self = Self(1 << 33);
    const RETRANSMIT: u64 = 1 << 32;

    /// The class that [`word`](Self::word) returned.
    #[inline(always)]
    #[must_use]
    pub const fn of(word: u64) -> Self {
        Self(word)
    }

    /// The class as a word.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u64 {
        self.0
    }

    /// A retransmit, `hole_age_us` after the hole opened that it fills; 0 when it fills none.
    #[inline(always)]
    #[must_use]
    pub const fn retransmit(hole_age_us: u32) -> Self {
        Self(Self::RETRANSMIT | hole_age_us as u64)
    }

    /// Returns whether the segment repeats sequence space that was sent before.
    #[inline(always)]
    #[must_use]
    pub const fn is_retransmit(self) -> bool {
        self.0 & Self::RETRANSMIT != 0
    }

    /// Returns whether it is [`OUT_OF_WINDOW`](Self::OUT_OF_WINDOW).
    #[inline(always)]
    #[must_use]
    pub const fn is_out_of_window(self) -> bool {
        self.0 & Self::OUT_OF_WINDOW.0 != 0
    }

    /// How long ago the hole opened that it fills, in microseconds; 0 when it fills none, because what it repeats has been
    /// seen.
    #[inline(always)]
    #[must_use]
    pub const fn hole_age_us(self) -> u32 {
        (self.0 & 0xffff_ffff) as u32
    }
}

/// The sequence numbers that a segment takes.
#[derive(Clone, Copy, Debug)]
#[repr(C)]
pub struct SequenceRange {
    /// Its first number.
    pub seq: u32,
    /// How many they are: its payload, and one for a FIN.
    pub len: u32,
    /// Bytes of payload.
    pub payload_len: u32,
    /// How many segments it stands for.
    pub segments: u32,
    /// TSval, where `is_stamped`.
    pub ts_value: u32,
    /// The packet's IP ID, 0 for none.
    pub ident: u16,
    /// 1 where it has timestamps.
    pub is_stamped: u16,
    /// What its sender says of it.
    pub said: Transmission,
}

impl SequenceRange {
    /// The range of a segment that stands for `segments` (GSO, GRO), and has these timestamps.
    #[inline(always)]
    #[must_use]
    pub const fn of(segment: &Segment, segments: u32, timestamps: Timestamps) -> Self {
        let fin = segment.flags.has(TcpFlags::FIN) as u32;
        let payload_len = segment.payload_len;
        Self {
            seq: segment.seq,
            len: payload_len.wrapping_add(fin),
            payload_len,
            segments,
            ts_value: timestamps.value,
            ident: segment.ident,
            is_stamped: timestamps.present as u16,
            said: Transmission::UNKNOWN,
        }
    }
}

impl SequenceTracker {
    /// A tracker that knows nothing.
    pub const UNKNOWN: Self = Self {
        next_seq: 0,
        isn: 0,
        volume: Volume::NONE,
        known: 0,
        mark: SentMark::NONE,
        holes: [Hole::NONE; HOLES],
    };

    /// Begins after a SYN.
    #[inline(always)]
    pub fn begin(&mut self, isn: u32) {
        self.isn = isn;
        self.next_seq = isn.wrapping_add(1);
        self.known = NEXT | ISN;
    }

    /// Returns whether a SYN with this initial sequence number has passed.
    #[inline(always)]
    #[must_use]
    pub const fn began_with(&self, isn: u32) -> bool {
        self.known & ISN != 0 && self.isn == isn
    }

    /// Forgets the sequence numbers: the next data shows them.
    #[inline(always)]
    pub fn lose_track(&mut self) {
        self.known = 0;
    }

    /// Returns whether the next sequence number is known.
    #[inline(always)]
    #[must_use]
    pub const fn is_known(&self) -> bool {
        self.known & NEXT != 0
    }

    /// Takes a segment that begins where the last one ended. Returns false, and takes nothing, when it does not.
    #[inline(always)]
    pub fn accept_next(&mut self, range: &SequenceRange) -> bool {
        let in_order = range.seq == self.next_seq && self.is_known();
        if in_order {
            self.next_seq = range.seq.wrapping_add(range.len);
            self.count(range);
        }
        in_order
    }

    /// As [`accept_next`](Self::accept_next), and accepts pure ACKs that say nothing new: a pure ACK has the number that
    /// follows everything its sender has sent, and only one ahead of what has passed shows that some is missing.
    #[inline(always)]
    pub fn accept_in_order(&mut self, range: &SequenceRange) -> bool {
        self.accept_next(range)
            || (range.len == 0 && !(self.is_known() && range.seq.wrapping_sub(self.next_seq) < FAR))
    }

    /// Returns whether this is what a sender probes the closed window of the other end with (RFC 9293, 3.8.6.1): the next byte alone. It
    /// is not taken, and comes again as the first of others. A pure ACK behind it shows no byte that is missing.
    #[inline(always)]
    #[must_use]
    pub const fn is_probed_by(&self, range: &SequenceRange) -> bool {
        let end = range.seq.wrapping_add(range.len);
        self.is_known()
            && end.wrapping_sub(self.next_seq) == 1
            && range.len <= 1
            && range.payload_len == range.len
    }

    /// Returns whether the number of this segment is near the next one.
    #[inline(always)]
    #[must_use]
    pub const fn is_near(&self, range: &SequenceRange) -> bool {
        let ahead = range.seq.wrapping_sub(self.next_seq);
        self.is_known() && (ahead < FAR || ahead.wrapping_neg() < FAR)
    }

    /// Takes any other segment, at `now_us`. `rtt_us` is the round-trip time, 0 when it is not known.
    ///
    /// Whatever fills a hole was overtaken on its way, or is a retransmit. The sender's own counters tell which: a segment
    /// that was overtaken was sent before the one that opened the hole. A retransmit was sent after that, even if others that
    /// opened younger holes have overtaken it. Where they do not tell, the time does. Where the sender is on
    /// this host and says which it is, it is that.
    pub fn accept_out_of_order(&mut self, range: &SequenceRange, now_us: u32, rtt_us: u32) -> SegmentClass {
        let end = range.seq.wrapping_add(range.len);
        let ahead = range.seq.wrapping_sub(self.next_seq);
        let behind = self.next_seq.wrapping_sub(range.seq);
        if !self.is_known() || (ahead >= FAR && behind >= FAR) {
            self.learn(range, now_us);
            return SegmentClass::NEW;
        }
        let sent = SentMark::of(range, now_us);
        if ahead < FAR {
            if self.mark.followed_by(&sent) != Some(false) {
                assign_words(&mut self.mark, &sent);
            }
            let opener = sent.counter();
            self.open(Hole { start: self.next_seq, end: range.seq, opened_us: now_us, opener });
            self.next_seq = end;
            self.count(range);
            return SegmentClass::NEW;
        }
        let filled = self.fill(range.seq, end);
        let (opened_us, is_later) = match filled {
            Some(filled) => (Some(filled.opened_us), self.opener(&filled).followed_by(&sent)),
            None => (None, self.mark.followed_by(&sent)),
        };
        // A keep-alive or a window probe: nothing, or a byte that is known, just below the next number
        // (RFC 9293, 3.8.4 and 3.8.6.1). A FIN takes a number, too, but no payload.
        let is_probe = behind == 1 && range.len <= 1 && range.payload_len == range.len && opened_us.is_none();
        if is_probe && range.said.is_retransmit() != Some(true) {
            return SegmentClass::NEW;
        }
        let is_last = end == self.next_seq;
        if behind < range.len {
            self.next_seq = end;
        }
        self.count(range);
        let hole_age_us = opened_us.map_or(0, |opened_us| elapsed_us(opened_us, now_us));
        // Just before the last number there is, only a pure ACK can have overtaken it. Nothing asks for its retransmission
        // but a timer, which may fire within the round trip.
        let patience_us =
            if rtt_us == 0 || (is_last && rtt_us > UNKNOWN_RTT_US) { UNKNOWN_RTT_US } else { rtt_us };
        let was_overtaken = match (range.said.is_retransmit(), is_later) {
            (Some(is_retransmit), _) => !is_retransmit,
            (None, Some(is_later)) => !is_later,
            (None, None) => opened_us.is_some() && hole_age_us <= patience_us,
        };
        if was_overtaken {
            return SegmentClass::NEW;
        }
        if range.payload_len > 0 {
            self.volume.count_retransmits(range.segments, range.said);
        }
        SegmentClass::retransmit(hole_age_us)
    }

    #[inline(always)]
    fn count(&mut self, range: &SequenceRange) {
        if range.payload_len > 0 {
            self.volume.segments += u64::from(range.segments);
            self.volume.bytes += u64::from(range.payload_len);
        }
    }

    /// Takes the first segment of a flow that is learned mid-stream. What is before it may still be on its way, overtaken
    /// by it.
    #[inline(always)]
    pub fn learn(&mut self, range: &SequenceRange, now_us: u32) {
        self.known |= NEXT;
        self.next_seq = range.seq.wrapping_add(range.len);
        assign_words(&mut self.mark, &SentMark::of(range, now_us));
        assign_words(&mut self.holes, &[Hole::NONE; HOLES]);
        let opener = self.mark.counter();
        self.open(Hole { start: range.seq.wrapping_sub(FAR), end: range.seq, opened_us: now_us, opener });
        self.count(range);
    }

    /// Remembers a hole, at the cost of the oldest.
    #[inline(always)]
    fn open(&mut self, hole: Hole) {
        for older in (1..HOLES).rev() {
            let newer = self.holes[older - 1];
            assign_words(&mut self.holes[older], &newer);
        }
        assign_words(&mut self.holes[0], &hole);
    }

    /// The segment that opened a hole, as far as that is remembered.
    #[inline(always)]
    #[allow(clippy::cast_possible_truncation, reason = "it was widened")]
    const fn opener(&self, filled: &Filled) -> SentMark {
        if self.mark.at_us == filled.newest_us {
            return self.mark;
        }
        let (at_us, is_stamped) = (filled.newest_us, self.mark.is_stamped);
        if is_stamped != 0 {
            SentMark { ts_value: filled.opener, at_us, ident: 0, is_stamped }
        } else {
            SentMark { ts_value: 0, at_us, ident: filled.opener as u16, is_stamped }
        }
    }

    /// Takes these numbers out of all holes that have any of them.
    #[inline(always)]
    fn fill(&mut self, start: u32, end: u32) -> Option<Filled> {
        // No `Option`s: the compiler would read what was not written in them, which verifiers before Linux 6.3 refuse.
        let mut rest = Hole::NONE;
        let mut is_found = false;
        let mut filled = Filled { opened_us: 0, newest_us: 0, opener: 0 };
        // The oldest one stands last.
        for hole in &mut self.holes {
            let before = start.wrapping_sub(hole.start) < FAR && start != hole.start;
            let overlaps = start.wrapping_sub(hole.end) >= FAR && hole.start.wrapping_sub(end) >= FAR;
            if hole.start == hole.end || !overlaps {
                continue;
            }
            if !is_found {
                (filled.newest_us, filled.opener) = (hole.opened_us, hole.opener);
            }
            (is_found, filled.opened_us) = (true, hole.opened_us);
            let behind = hole.end.wrapping_sub(end) < FAR && end != hole.end;
            match (before, behind) {
                (false, false) => assign_words(hole, &Hole::NONE),
                (false, true) => hole.start = end,
                (true, false) => hole.end = start,
                (true, true) => {
                    rest = Hole { start: end, ..*hole };
                    hole.end = start;
                }
            }
        }
        if rest.start != rest.end {
            self.open(rest);
        }
        is_found.then_some(filled)
    }
}
