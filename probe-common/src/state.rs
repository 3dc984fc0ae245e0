//! What the probe remembers of a flow between packets, and where.

use crate::key::{Key, Side};
use crate::packet::Direction;
use crate::segment::Segment;
use crate::sequence::{SegmentClass, SequenceRange, SequenceTracker, Volume};
use crate::verifier;

/// How far a flow has come. An integer in the kernel's map, hence not an enum. The numbers are in the order of eviction,
/// the first to go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Phase(u32);

impl Phase {
    /// Nothing is known.
    pub const FREE: Self = Self(0);
    /// It has ended: by a RST, or by a FIN of each end.
    pub const ENDED: Self = Self(1);
    /// A SYN was seen, no answer yet.
    pub const OPENING: Self = Self(2);
    /// A SYN-ACK was seen; the next ACK of the opener that fits it completes the handshake.
    pub const ANSWERED: Self = Self(3);
    /// SYN-ACKs with different sequence numbers were seen; the next ACK of the opener completes the handshake,
    /// whichever of them it took.
    pub const ANSWERED_TWICE: Self = Self(4);
    /// The handshake is complete, or the flow was open before the probe was there.
    pub const OPEN: Self = Self(5);

    /// Returns whether there is a handshake to complete.
    #[inline(always)]
    #[must_use]
    pub const fn is_opening(self) -> bool {
        self.0.wrapping_sub(Self::OPENING.0) < Self::OPEN.0 - Self::OPENING.0
    }
}

/// What the probe remembers of a flow between packets. Lies in a kernel map: integers, no padding.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct FlowState {
    /// How far it has come.
    pub phase: Phase,
    /// Index into `trackers` of the end that sent the SYN.
    pub opener: u32,
    /// When the latest SYN passed, in microseconds of the monotonic clock; wraps after 71 minutes.
    pub opened_us: u32,
    /// From the latest SYN to the ACK that completed the handshake, in microseconds; 0 when it is not known.
    pub rtt_us: u32,
    /// The epoch of its last packet, see [`Clock::epoch`].
    pub epoch: u32,
    /// Bits: ends that sent a FIN, by [`Side`]; [`SYN_UNSEEN`](Self::SYN_UNSEEN); what [`learned`](Self::learned)
    /// returns; [`OPENED_HERE`](Self::OPENED_HERE).
    pub flags: u32,
    /// By [`Side`]: 1 while the receive window of this end is closed.
    pub closed: [u32; 2],
    /// By [`Side`]: the sequence number of this end up to which the other end has acknowledged all, once it has. What is
    /// before it is not in flight.
    pub acked: [u32; 2],
    /// Both directions, by [`Side`].
    pub trackers: [SequenceTracker; 2],
}

const _: () = assert!(size_of::<FlowState>() == 344, "a padding byte would be uninitialised in the map");

impl FlowState {
    /// The state of a flow of which nothing is known.
    pub const FREE: Self = Self {
        phase: Phase::FREE,
        opener: 0,
        opened_us: 0,
        rtt_us: 0,
        epoch: 0,
        flags: 0,
        closed: [0; 2],
        acked: [0; 2],
        trackers: [SequenceTracker::UNKNOWN; 2],
    };

    /// A bit of `flags`: when the SYN passed is not known, or what followed it had to be repeated.
    pub const SYN_UNSEEN: u32 = 4;
    /// Where `flags` say which way the low end sends, as one more than the number of a [`Direction`]; 0 when a SYN or a
    /// SYN-ACK was the first segment seen.
    const LOW_SENDS_SHIFT: u32 = 3;
    const LOW_SENDS_MASK: u32 = 7;
    /// A bit of `flags`: this host sent the SYN. Nobody else can have forged it.
    pub const OPENED_HERE: u32 = 1 << 6;

    /// The flags of a flow that is learned mid-stream, from data that `side` sends in this direction.
    #[inline(always)]
    #[must_use]
    pub const fn learned_from(direction: Direction, side: Side) -> u32 {
        let low_sends = match (direction, side) {
            (Direction::Ingress, Side::High) => Direction::Egress,
            (Direction::Egress, Side::High) => Direction::Ingress,
            (same, Side::Low | Side::High) => same,
        };
        (low_sends as u32 + 1) << Self::LOW_SENDS_SHIFT
    }

    /// Which way the low end of a flow sends that was learned mid-stream and has not ended. Records say it of all others.
    #[inline(always)]
    #[must_use]
    pub fn learned(&self) -> Option<Direction> {
        if self.phase == Phase::ENDED {
            return None;
        }
        match self.low_sends() {
            1 => Some(Direction::Ingress),
            2 => Some(Direction::Egress),
            3 => Some(Direction::Local),
            4 => Some(Direction::Unknown),
            _ => None,
        }
    }

    #[inline(always)]
    const fn low_sends(&self) -> u32 {
        self.flags >> Self::LOW_SENDS_SHIFT & Self::LOW_SENDS_MASK
    }

    /// Returns whether all that is known of it came in from outside, where anybody can have forged it: it was learned
    /// mid-stream, and this host has sent no data.
    #[inline(always)]
    const fn is_unconfirmed(&self) -> bool {
        match self.low_sends() {
            1 => self.trackers[Side::High as usize].volume.segments == 0,
            2 => self.trackers[Side::Low as usize].volume.segments == 0,
            _ => false,
        }
    }

    /// The order of eviction, lowest first: its class, then when it was last seen. Of handshakes under way,
    /// of which a flood brings thousands within one epoch, the one that began first is evicted first.
    #[inline(always)]
    #[must_use]
    pub const fn eviction_rank(&self) -> u32 {
        let is_opening = self.phase.is_opening();
        let class = if self.phase.0 <= Phase::ENDED.0 {
            EvictionClass::Ended
        } else if self.flags & Self::OPENED_HERE != 0 {
            if is_opening { EvictionClass::OpeningHere } else { EvictionClass::OpenedHere }
        } else if is_opening {
            EvictionClass::Opening
        } else if self.is_unconfirmed() {
            EvictionClass::Unconfirmed
        } else {
            EvictionClass::Open
        };
        let age = if is_opening { self.opened_us >> (32 - EPOCH_BITS) } else { self.epoch & EPOCH_MASK };
        (class as u32) << EPOCH_BITS | age
    }

    /// Notes whether the receive window of `side` is closed.
    #[inline(always)]
    pub const fn note_window(&mut self, segment: &Segment, side: Side) {
        self.closed[side as usize] = segment.is_closed() as u32;
    }

    /// Notes what `side` acknowledges.
    #[inline(always)]
    pub const fn note_ack(&mut self, segment: &Segment, side: Side) {
        self.acked[side.other() as usize] = segment.ack;
    }

    /// Begins what `side` sends, with a SYN that is in flight.
    #[inline(always)]
    pub fn begin(&mut self, side: Side, isn: u32) {
        self.tracker(side).begin(isn);
        self.acked[side as usize] = isn;
    }

    /// Returns whether a segment of `side` with this sequence number is in flight: it was sent, as far as is known, and the
    /// other end has not acknowledged it.
    #[inline(always)]
    #[must_use]
    pub const fn is_in_flight(&self, seq: u32, side: Side) -> bool {
        let (tracker, acked) = (&self.trackers[side as usize], self.acked[side as usize]);
        let in_flight = tracker.next_seq.wrapping_sub(acked);
        self.phase.0 > Phase::ENDED.0
            && tracker.is_known()
            && in_flight <= MOST_IN_FLIGHT
            && seq.wrapping_sub(acked) < in_flight
    }

    /// Returns whether `side` probes the closed window of the other end. See [`SequenceTracker::is_probed_by`].
    #[inline(always)]
    #[must_use]
    pub const fn is_probed_by(&self, range: &SequenceRange, side: Side) -> bool {
        self.closed[side.other() as usize] != 0 && self.trackers[side as usize].is_probed_by(range)
    }

    /// Forgets everything.
    #[inline(always)]
    pub fn clear(&mut self) {
        verifier::assign_words(self, &Self::FREE);
    }

    /// The tracker of what an end sends.
    #[inline(always)]
    pub fn tracker(&mut self, side: Side) -> &mut SequenceTracker {
        &mut self.trackers[side as usize]
    }

    /// What `side` has sent, and what the other end has.
    #[inline(always)]
    #[must_use]
    pub const fn volumes(&self, side: Side) -> [Volume; 2] {
        [self.trackers[side as usize].volume, self.trackers[side.other() as usize].volume]
    }
}

/// More than any window, in bytes: of a flow that is learned mid-stream nothing is acknowledged until its other end is seen.
const MOST_IN_FLIGHT: u32 = 1 << 26;

const EPOCH_BITS: u32 = 28;
const EPOCH_MASK: u32 = (1 << EPOCH_BITS) - 1;
/// Lower than the rank of any flow that has not ended.
pub const RANK_UNENDED: u32 = (EvictionClass::Unconfirmed as u32) << EPOCH_BITS;

/// What a flow is to the eviction, the first to go first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u32)]
enum EvictionClass {
    /// It has ended.
    Ended = 1,
    /// Learned mid-stream from what came in from outside.
    Unconfirmed = 2,
    /// A handshake under way that was opened from outside.
    Opening = 3,
    /// Open, or learned from what this host sent.
    Open = 4,
    /// A handshake under way that this host opened.
    OpeningHere = 5,
    /// Open, and opened by this host.
    OpenedHere = 6,
}

/// Which flows a new one may evict. What this host opened is never evicted for what came from outside, and a handshake
/// under way never for a flow that is learned mid-stream: the latter is learned again by its next segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(transparent)]
pub struct Evictable(u32);

impl Evictable {
    /// By a segment that makes no flow known: it does not even get a free slot.
    pub const NOTHING: Self = Self(0);
    /// By a SYN of this host, or one of which nobody knows where it comes from.
    pub const ALL: Self = Self::of(&[
        EvictionClass::Ended,
        EvictionClass::Unconfirmed,
        EvictionClass::Opening,
        EvictionClass::Open,
        EvictionClass::OpeningHere,
        EvictionClass::OpenedHere,
    ]);
    /// By a SYN, or a SYN-ACK, from outside.
    pub const FOR_STRANGERS: Self = Self::of(&[
        EvictionClass::Ended,
        EvictionClass::Unconfirmed,
        EvictionClass::Opening,
        EvictionClass::Open,
    ]);
    /// By a flow that is learned from what this host sent.
    pub const FOR_LEARNED: Self = Self::of(&[
        EvictionClass::Ended,
        EvictionClass::Unconfirmed,
        EvictionClass::Open,
        EvictionClass::OpenedHere,
    ]);
    /// By a flow that is learned from what came in.
    pub const FOR_UNCONFIRMED: Self = Self::of(&[EvictionClass::Ended, EvictionClass::Unconfirmed]);

    const fn of(classes: &[EvictionClass]) -> Self {
        let (mut bits, mut at) = (0, 0);
        while at < classes.len() {
            bits |= 1 << classes[at] as u32;
            at += 1;
        }
        Self(bits)
    }

    /// The flows as a word.
    #[inline(always)]
    #[must_use]
    pub const fn word(self) -> u32 {
        self.0
    }

    /// The flows that [`word`](Self::word) returned.
    #[inline(always)]
    #[must_use]
    pub const fn from_word(word: u32) -> Self {
        Self(word)
    }

    /// The place of a flow in the order of eviction, see [`FlowState::eviction_rank`]; `u32::MAX` when it must not be
    /// evicted.
    #[inline(always)]
    #[must_use]
    pub const fn rank(self, state: &FlowState) -> u32 {
        let rank = state.eviction_rank();
        if self.0 >> (rank >> EPOCH_BITS) & 1 == 0 { u32::MAX } else { rank }
    }
}

/// The flow states of one address family: a map in the kernel, memory on the host.
pub trait FlowStates<K: Key> {
    /// The state of a flow, to be edited in place, or `None` when the flow is not known.
    fn find(&mut self, key: &K) -> Option<&mut FlowState>;

    /// The same; a flow that is not known is remembered from now on, as [`FlowState::FREE`]. Another one that is
    /// `evictable` may be evicted for it: one that has not ended is passed to `evict` first. `None` when there is none, or
    /// [`Evictable::NOTHING`] may be.
    fn find_or_claim(
        &mut self,
        key: &K,
        evictable: Evictable,
        evict: impl FnOnce(&K, &FlowState),
    ) -> Option<&mut FlowState>;

    /// [`SequenceTracker::accept_out_of_order`], as a function that the kernel's verifier checks once, rather than on
    /// every path that leads to it.
    #[inline(always)]
    fn accept_out_of_order(
        tracker: &mut SequenceTracker,
        range: &SequenceRange,
        now_us: u32,
        rtt_us: u32,
    ) -> SegmentClass {
        tracker.accept_out_of_order(range, now_us, rtt_us)
    }
}

/// What time it is: the monotonic clock in the kernel, the capture's time on the host.
pub trait Clock {
    /// The time, in nanoseconds of the clock of records. Reading it costs as much as all the rest: only for what makes a
    /// record, or opens a hole.
    fn now_ns(&self) -> u64;
    /// A number that grows a few times a second and costs next to nothing to read.
    fn epoch(&self) -> u32;
}
