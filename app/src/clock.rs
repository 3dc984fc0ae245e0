//! The monotonic and the wall clock, and the anchor that converts one into the other. Nothing else reads them.

use std::sync::Arc;

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`, which the probe's records carry, too (`bpf_ktime_get_ns`). It stops while the
/// machine is suspended.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the monotonic clock can always be read");
    u64::try_from(now.tv_sec()).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec()).unwrap_or(0)
}

/// Nanoseconds since 1970 of the wall clock, which may be set at any time.
#[must_use]
pub fn wall_ns() -> u64 {
    u64::try_from(Timestamp::now().as_nanosecond()).unwrap_or(0)
}

/// A time of both clocks, to convert monotonic into wall-clock time. It is taken once per run, so that a step of the wall
/// clock does not change the distances between the times of a run.
///
/// The clock of a capture may have been set, and captures may be appended to each other: then there are steps.
#[derive(Clone, Debug)]
pub struct Anchor {
    monotonic_ns: u64,
    wall: Timestamp,
    /// From a monotonic time on, so many nanoseconds are added to the wall-clock time. In order.
    steps: Arc<[(u64, i64)]>,
}

impl Anchor {
    /// Both clocks, read one after the other.
    #[must_use]
    pub fn now() -> Self {
        Self::new(monotonic_ns(), Timestamp::now())
    }

    /// An anchor for records that are not live.
    #[must_use]
    pub fn new(monotonic_ns: u64, wall: Timestamp) -> Self {
        Self { monotonic_ns, wall, steps: Arc::new([]) }
    }

    /// The same with these steps of the wall clock: from when on, in order, and how many nanoseconds are to be added to what
    /// the time would be without any.
    #[must_use]
    pub fn with_steps(self, steps: impl Iterator<Item = (u64, i64)>) -> Self {
        Self { steps: steps.collect(), ..self }
    }

    /// The wall-clock time at `monotonic_ns`.
    #[must_use]
    pub fn wall(&self, monotonic_ns: u64) -> Timestamp {
        let steps = self.steps.partition_point(|(from_ns, _)| *from_ns <= monotonic_ns);
        let add_ns =
            steps.checked_sub(1).and_then(|last| self.steps.get(last)).map_or(0, |(_, add_ns)| *add_ns);
        let since = i128::from(monotonic_ns) - i128::from(self.monotonic_ns) + i128::from(add_ns);
        Timestamp::from_nanosecond(self.wall.as_nanosecond() + since).unwrap_or(Timestamp::MAX)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_before_and_after_the_anchor_keep_their_distance() {
        let anchor = Anchor::new(5_000, Timestamp::from_nanosecond(1_000_000_000).unwrap());
        assert_eq!(anchor.wall(5_001).as_nanosecond(), 1_000_000_001);
        assert_eq!(anchor.wall(4_000).as_nanosecond(), 999_999_000);
    }

    #[test]
    fn the_wall_clock_steps() {
        let anchor = Anchor::new(0, Timestamp::UNIX_EPOCH).with_steps([(100, -90), (200, 1_000)].into_iter());
        let wall = [0, 99, 100, 199, 200, 300].map(|ns| anchor.wall(ns).as_nanosecond());
        assert_eq!(wall, [0, 99, 10, 109, 1_200, 1_300]);
    }
}
