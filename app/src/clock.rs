//! The monotonic and the wall clock, and the anchor that converts one into the other. Nothing else reads them.

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of `CLOCK_MONOTONIC`, which the probe's records carry, too (`bpf_ktime_get_ns`). It stops while the
/// machine is suspended.
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the monotonic clock can always be read");
    u64::try_from(now.tv_sec()).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec()).unwrap_or(0)
}

/// A time of both clocks, to convert monotonic into wall-clock time. It is taken once per run, so that a step of the wall
/// clock does not change the distances between the times of a run.
#[derive(Clone, Copy, Debug)]
pub struct Anchor {
    monotonic_ns: u64,
    wall: Timestamp,
}

impl Anchor {
    /// Both clocks, read one after the other.
    #[must_use]
    pub fn now() -> Self {
        Self { monotonic_ns: monotonic_ns(), wall: Timestamp::now() }
    }

    /// An anchor for records that are not live.
    #[must_use]
    pub const fn new(monotonic_ns: u64, wall: Timestamp) -> Self {
        Self { monotonic_ns, wall }
    }

    /// The wall-clock time at `monotonic_ns`.
    #[must_use]
    pub fn wall(&self, monotonic_ns: u64) -> Timestamp {
        let since = i128::from(monotonic_ns) - i128::from(self.monotonic_ns);
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
}
