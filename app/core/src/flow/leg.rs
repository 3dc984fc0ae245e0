//! One leg of a handshake: which of several segments was answered, and when.

use probe_common::SegmentRecord;

/// How many SYNs or SYN-ACKs of one handshake are remembered one by one. Linux sends 7 SYNs by default, and 11 with linear
/// timeouts (`tcp_syn_retries`, `tcp_syn_linear_timeouts`).
const REMEMBERED: usize = 16;

/// A sender that is silent for twice its last interval has given up, but not before this: Windows waits 3 s before it
/// retransmits its first SYN.
const FIRST_RETRY_NS: u64 = 3_000_000_000;
/// What a timer and a queue may add to an interval.
const SLACK_NS: u64 = 1_000_000_000;

/// A sender that ignores an error retransmits its first SYN after 1 s (RFC 6298, 2.1).
const ERROR_RETRY_NS: u64 = 1_000_000_000;
/// What a timer may add to that.
const ERROR_SLACK_NS: u64 = 500_000_000;

/// One leg of a handshake, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leg {
    /// Measured.
    Exact(u64),
    /// One of several transmissions was answered, and it is not known which (Karn's problem): the bounds.
    Between {
        /// From the last of them.
        min_ns: u64,
        /// From the first of them.
        max_ns: u64,
    },
}

impl Leg {
    /// The leg in nanoseconds, if it is not ambiguous.
    #[must_use]
    pub const fn exact(self) -> Option<u64> {
        match self {
            Self::Exact(ns) => Some(ns),
            Self::Between { .. } => None,
        }
    }

    /// This leg and another after it.
    #[must_use]
    pub const fn plus(self, other: Self) -> Self {
        let ((min_ns, max_ns), (other_min_ns, other_max_ns)) = (self.bounds(), other.bounds());
        let (min_ns, max_ns) = (min_ns.saturating_add(other_min_ns), max_ns.saturating_add(other_max_ns));
        if min_ns == max_ns { Self::Exact(min_ns) } else { Self::Between { min_ns, max_ns } }
    }

    /// The bounds of this leg and another one, of two connections.
    #[must_use]
    pub fn spanning(self, other: Self) -> Self {
        let ((min_ns, max_ns), (other_min_ns, other_max_ns)) = (self.bounds(), other.bounds());
        let (min_ns, max_ns) = (min_ns.min(other_min_ns), max_ns.max(other_max_ns));
        if min_ns == max_ns { Self::Exact(min_ns) } else { Self::Between { min_ns, max_ns } }
    }

    /// The shortest and the longest that it can be, in nanoseconds.
    #[must_use]
    pub const fn bounds(self) -> (u64, u64) {
        match self {
            Self::Exact(ns) => (ns, ns),
            Self::Between { min_ns, max_ns } => (min_ns, max_ns),
        }
    }
}

/// A leg that may not be known, in 16 bytes instead of 24: flows hold two of them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct MaybeLeg {
    /// [`NEVER`](Self::NEVER) where it is not known.
    min_ns: u64,
    /// `NEVER` where it is exact.
    max_ns: u64,
}

impl MaybeLeg {
    const NEVER: u64 = u64::MAX;
    pub(super) const UNKNOWN: Self = Self { min_ns: Self::NEVER, max_ns: Self::NEVER };

    pub(super) const fn of(leg: Option<Leg>) -> Self {
        match leg {
            None => Self::UNKNOWN,
            Some(Leg::Exact(ns)) => Self { min_ns: ns, max_ns: Self::NEVER },
            Some(Leg::Between { min_ns, max_ns }) => Self { min_ns, max_ns },
        }
    }

    pub(super) const fn get(self) -> Option<Leg> {
        match self {
            Self::UNKNOWN => None,
            Self { min_ns, max_ns: Self::NEVER } => Some(Leg::Exact(min_ns)),
            Self { min_ns, max_ns } => Some(Leg::Between { min_ns, max_ns }),
        }
    }
}

/// When something happened, by which clock.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Moment {
    pub(super) time_ns: u64,
    pub(super) timebase: u32,
}

impl Moment {
    /// When a segment passed.
    pub(super) const fn of(record: &SegmentRecord) -> Self {
        Self { time_ns: record.time_ns, timebase: record.timebase }
    }

    /// How long after another one, in nanoseconds. `None` when the two do not compare, or when this one is earlier although
    /// it cannot be: then one of them is wrong.
    pub(super) fn since(self, earlier: Self) -> Option<u64> {
        self.time_ns.checked_sub(earlier.time_ns).filter(|_| self.timebase == earlier.timebase)
    }

    /// Whether it is earlier than one that came before it.
    pub(super) const fn contradicts(self, earlier: Self) -> bool {
        self.timebase == earlier.timebase && self.time_ns < earlier.time_ns
    }
}

/// One transmission of a SYN or SYN-ACK.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Stamp {
    // Not a `Moment`, which would be padded.
    time_ns: u64,
    timebase: u32,
    isn: u32,
    /// Its TSval.
    value: Option<u32>,
}

/// A SYN or SYN-ACK and its retransmissions.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Sent {
    first: Stamp,
    /// Apart, because nearly all are sent once.
    again: Option<Box<Again>>,
}

/// The retransmissions of a segment.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Again {
    /// Those that are remembered.
    stamps: Vec<Stamp>,
    /// The latest one, remembered or not; the first segment, where that came last.
    last: Stamp,
    last_gap_ns: Option<u64>,
    /// The initial sequence number that the other end acknowledged, once it did.
    acknowledged: Option<u32>,
}

impl Sent {
    pub(super) fn new(record: &SegmentRecord) -> Self {
        Self { first: Stamp::of(record), again: None }
    }

    pub(super) fn retransmitted(&mut self, record: &SegmentRecord) {
        let (stamp, last) = (Stamp::of(record), self.last());
        let again = || Box::new(Again { stamps: Vec::new(), last, last_gap_ns: None, acknowledged: None });
        let again = self.again.get_or_insert_with(again);
        again.last_gap_ns = stamp.at().since(last.at());
        if stamp.time_ns >= last.time_ns {
            again.last = stamp;
        }
        if again.stamps.len() + 1 < REMEMBERED {
            again.stamps.push(stamp);
        }
    }

    /// The latest one alone.
    pub(super) fn latest(&self) -> Self {
        Self { first: self.last(), again: None }
    }

    fn last(&self) -> Stamp {
        self.again.as_ref().map_or(self.first, |again| again.last)
    }

    /// In the order of their arrival; the last may appear twice.
    fn stamps(&self) -> impl Iterator<Item = &Stamp> {
        let again = self.again.iter().flat_map(|again| again.stamps.iter().chain([&again.last]));
        core::iter::once(&self.first).chain(again)
    }

    /// Initial sequence numbers of those that are remembered, some more than once.
    pub(super) fn isns(&self) -> impl Iterator<Item = u32> {
        self.stamps().map(|stamp| stamp.isn)
    }

    /// The other end acknowledged this initial sequence number.
    pub(super) fn acknowledge(&mut self, isn: u32) {
        let is_known = self.isns().any(|known| known == isn);
        if let Some(again) = self.again.as_mut().filter(|_| is_known) {
            again.acknowledged = Some(isn);
        }
    }

    /// The initial sequence number of the connection. A server that keeps no state (SYN cookies) may retransmit its SYN-ACK with
    /// another one: then it is the one that was acknowledged, and not known before.
    pub(super) fn isn(&self) -> Option<u32> {
        let acknowledged = self.again.as_ref().and_then(|again| again.acknowledged);
        acknowledged.or_else(|| Some(self.first.isn).filter(|&first| self.isns().all(|isn| isn == first)))
    }

    /// The leg to an answer that acknowledges `isn` and carries this timestamp echo. `None` when the times say none.
    ///
    /// Only an echo of the last transmission and of no other says which one was answered. Linux echoes the first SYN that
    /// it accepted, even when its SYN-ACK is lost and the next one answers a retransmitted SYN (`tcp_check_req` keeps
    /// `ts_recent`), and a client does the same with SYN-ACKs: an echo of an earlier one may be a late answer or not.
    pub(super) fn leg(&self, answer: Moment, isn: u32, echo: Option<u32>) -> Option<Leg> {
        // An answer that acknowledges data, too, has a number that belongs to none of them.
        let is_named = self.isns().any(|known| known == isn);
        let candidates = || self.stamps().filter(|stamp| !is_named || stamp.isn == isn);
        let earliest = |stamps: &mut dyn Iterator<Item = &'_ Stamp>| {
            stamps.map(Stamp::at).min_by_key(|moment| moment.time_ns)
        };
        let echoed = earliest(&mut candidates().filter(|stamp| echo.is_some() && stamp.value == echo));
        let first = echoed.or_else(|| earliest(&mut candidates())).unwrap_or(self.first.at());
        let last = candidates().map(Stamp::at).max_by_key(|moment| moment.time_ns);
        let (min_ns, max_ns) = (answer.since(last.unwrap_or(self.last_at()))?, answer.since(first)?);
        Some(if min_ns == max_ns { Leg::Exact(min_ns) } else { Leg::Between { min_ns, max_ns } })
    }

    /// The first transmission.
    pub(super) const fn first_at(&self) -> Moment {
        self.first.at()
    }

    /// The last transmission.
    pub(super) fn last_at(&self) -> Moment {
        self.last().at()
    }

    /// The time between the latest transmission and the one before, if it is known.
    pub(super) fn last_gap_ns(&self) -> Option<u64> {
        self.again.as_ref().and_then(|again| again.last_gap_ns)
    }

    /// When it was seen last.
    pub(super) fn last_ns(&self) -> u64 {
        self.last().time_ns
    }

    /// Whether the first one had timestamps.
    pub(super) const fn is_stamped(&self) -> bool {
        self.first.value.is_some()
    }

    /// Whether one of them had this timestamp.
    pub(super) fn has_value(&self, value: u32) -> bool {
        self.stamps().any(|stamp| stamp.value == Some(value))
    }

    /// When a sender must have given up that was told that a segment was not delivered: it would have sent the next one.
    pub(super) fn given_up_after_error_ns(&self) -> u64 {
        let wait_ns = self.last_gap_ns().map_or(ERROR_RETRY_NS, |gap_ns| gap_ns.saturating_mul(2));
        self.last_ns().saturating_add(wait_ns).saturating_add(ERROR_SLACK_NS)
    }

    /// When the sender must have given up if it is silent until then. `unknown_ns` is the longest time until the next
    /// transmission while no interval is known.
    pub(super) fn given_up_ns(&self, unknown_ns: u64) -> u64 {
        let least_ns = if self.again.is_none() { unknown_ns.max(FIRST_RETRY_NS) } else { FIRST_RETRY_NS };
        let wait_ns = self.last_gap_ns().unwrap_or(0).saturating_mul(2).max(least_ns);
        self.last_ns().saturating_add(wait_ns).saturating_add(SLACK_NS)
    }
}

impl Stamp {
    fn of(record: &SegmentRecord) -> Self {
        let &SegmentRecord { time_ns, timebase, seq: isn, .. } = record;
        Self { time_ns, timebase, isn, value: record.timestamps.value() }
    }

    const fn at(&self) -> Moment {
        Moment { time_ns: self.time_ns, timebase: self.timebase }
    }
}

#[cfg(test)]
mod tests {
    use probe_common::{Direction, Endpoint, SegmentClass, SegmentKind, TcpFlags, Timestamps, Transmission};

    use super::*;

    #[test]
    fn retransmissions_take_bounded_memory() {
        let end = Endpoint { address: [0; 16], port: 1 };
        let mut syn = SegmentRecord {
            time_ns: 0,
            interface: 1,
            kind: SegmentKind::Syn,
            direction: Direction::Egress,
            source: end,
            destination: end,
            seq: 1,
            ack: 0,
            flags: TcpFlags::SYN,
            payload_len: 0,
            timestamps: Timestamps::default(),
            segments: 1,
            class: SegmentClass::NEW,
            volumes: Default::default(),
            encapsulation: Default::default(),
            cookie: 0,
            said: Transmission::UNKNOWN,
            dsacks: None,
            ttl: None,
            reset: None,
            timebase: 0,
        };
        let mut sent = Sent::new(&syn);
        for _ in 0..1_000 {
            syn.time_ns += 1;
            sent.retransmitted(&syn);
        }
        assert_eq!(sent.again.as_ref().unwrap().stamps.len(), REMEMBERED - 1);
        let at = |time_ns, timebase| Moment { time_ns, timebase };
        assert_eq!(sent.leg(at(1_005, 0), 1, None), Some(Leg::Between { min_ns: 5, max_ns: 1_005 }));
        assert_eq!(sent.leg(at(999, 0), 1, None), None, "before the last one");
        assert_eq!(sent.leg(at(1_005, 1), 1, None), None, "of another clock");
    }
}
