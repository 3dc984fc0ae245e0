//! The clocks: the only place that reads them, and the one anchor between the two.

use jiff::Timestamp;
use nix::time::{ClockId, clock_gettime};

/// Nanoseconds of the kernel's monotonic clock, the one that the probe's records carry
/// (`bpf_ktime_get_ns` reads `CLOCK_MONOTONIC`: it stands still while the machine is suspended).
#[must_use]
pub fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("the monotonic clock can always be read");
    u64::try_from(now.tv_sec()).unwrap_or(0) * 1_000_000_000 + u64::try_from(now.tv_nsec()).unwrap_or(0)
}

/// Where the monotonic clock stood when the wall clock showed something: turns the one into the other.
/// Taken once, so that a wall clock that is stepped later does not tear the times of one run apart.
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

    /// An anchor between two given moments, for what is not live.
    #[must_use]
    pub const fn new(monotonic_ns: u64, wall: Timestamp) -> Self {
        Self { monotonic_ns, wall }
    }

    /// The wall clock's time when the monotonic clock showed `monotonic_ns`.
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
