//! What the probe remembers of a flow between packets, and where.

use crate::key::{Key, Side};
use crate::parsed::Direction;
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
    /// returns.
    pub flags: u32,
    /// Both directions, by [`Side`].
    pub trackers: [SequenceTracker; 2],
}

const _: () = assert!(size_of::<FlowState>() == 168, "a padding byte would be uninitialised in the map");

impl FlowState {
    /// The state of a flow of which nothing is known.
    pub const FREE: Self = Self {
        phase: Phase::FREE,
        opener: 0,
        opened_us: 0,
        rtt_us: 0,
        epoch: 0,
        flags: 0,
        trackers: [SequenceTracker::UNKNOWN; 2],
    };
    /// The highest rank of a flow that has ended.
    pub const RANK_ENDED: u32 = (Phase::ENDED.0 << Self::EPOCH_BITS) | Self::EPOCH_MASK;
    const EPOCH_BITS: u32 = 28;
    const EPOCH_MASK: u32 = (1 << Self::EPOCH_BITS) - 1;

    /// A bit of `flags`: when the SYN passed is not known, or what followed it had to be repeated.
    pub const SYN_UNSEEN: u32 = 4;
    /// Where `flags` say which way the low end sends, as one more than the number of a [`Direction`]; 0 when a SYN or a
    /// SYN-ACK was the first segment seen.
    const LOW_SENDS_SHIFT: u32 = 3;

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
        match self.flags >> Self::LOW_SENDS_SHIFT {
            1 => Some(Direction::Ingress),
            2 => Some(Direction::Egress),
            3 => Some(Direction::Local),
            4 => Some(Direction::Unknown),
            _ => None,
        }
    }

    /// The order of eviction, lowest first: how far a flow has come, then when it was last seen. Of handshakes under way,
    /// of which a flood brings thousands within one epoch, the one that began first is evicted first.
    #[inline(always)]
    #[must_use]
    pub const fn eviction_rank(&self) -> u32 {
        if self.phase.is_opening() {
            return Phase::OPENING.0 << Self::EPOCH_BITS | self.opened_us >> (32 - Self::EPOCH_BITS);
        }
        self.phase.0 << Self::EPOCH_BITS | self.epoch & Self::EPOCH_MASK
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

/// The flow states of one address family: a map in the kernel, memory on the host.
pub trait FlowStates<K: Key> {
    /// The state of a flow, to be edited in place, or `None` when the flow is not known.
    fn find(&mut self, key: &K) -> Option<&mut FlowState>;

    /// The same; a flow that is not known is remembered from now on, as [`FlowState::FREE`]. Another may be evicted for
    /// it: one that has not ended is passed to `evict` first.
    fn find_or_claim(&mut self, key: &K, evict: impl FnOnce(&K, &FlowState)) -> Option<&mut FlowState>;

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
