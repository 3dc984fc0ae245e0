//! The time of a capture: one that does not go back, out of stamps that may.
//!
//! Captures are appended to each other, clocks are set, and kernels and cards write single wrong stamps. The times of
//! records follow the stamps, but for two cases: a jump that the following packets do not share is a wrong stamp, and one
//! back that they share is another clock, whose time begins where that of the one before ended.

use std::time::Duration;

use super::order::WINDOW_NS;

/// A stamp is looked at more closely when it is so far from the one before, in nanoseconds. Less than any patience.
const JUMP_NS: u64 = 1_000_000_000;
/// As many of the packets that follow say whether it is wrong.
const WITNESSES: usize = 4;
/// More changes of the clock are not remembered: the wall-clock times behind them are wrong.
const MOST_STEPS: usize = 4_096;

/// The time of a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct PacketTime {
    /// Nanoseconds of the capture's time.
    pub(super) time_ns: u64,
    /// See `SegmentRecord::timebase`.
    pub(super) timebase: u32,
}

/// From a moment on, the wall-clock time of a capture is so far from its own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClockStep {
    /// The moment, in nanoseconds of the capture's time.
    pub from_ns: u64,
    /// What to add to the capture's time to get nanoseconds since 1970.
    pub add_ns: i64,
}

/// Gives stamps their times.
#[derive(Debug, Default)]
pub(super) struct CaptureClock {
    /// The latest stamp of the present clock.
    latest_ns: Option<u64>,
    /// How long nothing came since then, in nanoseconds of the reader's clock.
    rested_ns: u64,
    /// What to add to a stamp to get the capture's time.
    add_ns: u64,
    timebase: u32,
    timebases: u32,
    steps: Vec<ClockStep>,
    /// Stamps that were wrong.
    pub(super) wrong: u64,
}

impl CaptureClock {
    /// How many of the packets that follow one with this stamp are needed to give it its time.
    pub(super) fn witnesses(&self, stamp_ns: u64) -> usize {
        if self.is_jump(stamp_ns) { WITNESSES } else { 0 }
    }

    /// The reader has waited for so long: time has passed.
    pub(super) fn rest(&mut self, rest: Duration) {
        self.rested_ns = self.rested_ns.saturating_add(u64::try_from(rest.as_nanos()).unwrap_or(u64::MAX));
    }

    fn is_jump(&self, stamp_ns: u64) -> bool {
        self.latest_ns.is_some_and(|latest_ns| {
            stamp_ns > latest_ns.saturating_add(JUMP_NS).saturating_add(self.rested_ns)
                || stamp_ns.saturating_add(JUMP_NS) < latest_ns
        })
    }

    /// The time of the next packet. `following_ns` are the stamps of those behind it, as far as there are any.
    pub(super) fn time(&mut self, stamp_ns: u64, following_ns: impl Iterator<Item = u64>) -> PacketTime {
        let Some(latest_ns) = self.latest_ns else {
            self.latest_ns = Some(stamp_ns);
            return self.at(stamp_ns);
        };
        if self.is_jump(stamp_ns) {
            if is_wrong(stamp_ns, latest_ns, following_ns.take(WITNESSES)) {
                self.wrong += 1;
                self.timebases = self.timebases.wrapping_add(1);
                return PacketTime { timebase: self.timebases, ..self.at(latest_ns) };
            }
            if stamp_ns < latest_ns {
                self.step(latest_ns, stamp_ns);
            }
            self.latest_ns = Some(stamp_ns);
        } else {
            self.latest_ns = Some(latest_ns.max(stamp_ns));
        }
        self.rested_ns = 0;
        self.at(stamp_ns)
    }

    /// Changes of the clock so far, in order.
    pub(super) fn steps(&self) -> &[ClockStep] {
        &self.steps
    }

    fn at(&self, stamp_ns: u64) -> PacketTime {
        PacketTime { time_ns: stamp_ns.wrapping_add(self.add_ns), timebase: self.timebase }
    }

    /// The clock goes back: the capture's time goes on behind the latest moment, as far as packets may be out of order.
    fn step(&mut self, latest_ns: u64, stamp_ns: u64) {
        let from_ns = self.at(latest_ns).time_ns.saturating_add(WINDOW_NS);
        self.add_ns = from_ns.wrapping_sub(stamp_ns);
        self.timebases = self.timebases.wrapping_add(1);
        self.timebase = self.timebases;
        if self.steps.len() < MOST_STEPS {
            self.steps.push(ClockStep { from_ns, add_ns: self.add_ns.wrapping_neg().cast_signed() });
        }
    }
}

/// Whether the stamps behind this one go on where those before it were. One that lies before both of them says nothing: that
/// is another clock.
fn is_wrong(stamp_ns: u64, latest_ns: u64, following_ns: impl Iterator<Item = u64>) -> bool {
    let (mut agreeing, mut contradicting) = (0, 0);
    for next_ns in following_ns {
        let distance_ns = next_ns.abs_diff(latest_ns);
        if next_ns.abs_diff(stamp_ns) <= distance_ns {
            agreeing += 1;
        } else if next_ns >= latest_ns.saturating_sub(JUMP_NS) && (agreeing == 0 || distance_ns <= JUMP_NS) {
            contradicting += 1;
        }
    }
    contradicting > 0 && contradicting >= agreeing
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;
    const MS: u64 = 1_000_000;
    const START: u64 = 1_700_000_000 * S;

    /// The times of packets with these stamps, each with as many behind it as there are.
    fn times(clock: &mut CaptureClock, stamps: &[u64]) -> Vec<(u64, u32)> {
        let time = |at: usize| clock.time(stamps[at], stamps[at + 1..].iter().copied());
        (0..stamps.len()).map(time).map(|time| (time.time_ns - START, time.timebase)).collect()
    }

    #[test]
    fn stamps_that_run_on_are_the_times() {
        let stamps = [0, 1, 5 * S, 3_600 * S, 3_600 * S + 1, 7_200 * S].map(|ns| START + ns);
        let expected = stamps.map(|ns| (ns - START, 0));
        assert_eq!(times(&mut CaptureClock::default(), &stamps), expected);
    }

    #[test]
    fn stamps_that_are_a_little_early_stay_so() {
        let stamps = [0, 5 * MS, 2 * MS, 900 * MS, 30 * MS].map(|ns| START + ns);
        let expected = stamps.map(|ns| (ns - START, 0));
        assert_eq!(times(&mut CaptureClock::default(), &stamps), expected);
    }

    #[test]
    fn a_stamp_that_nobody_shares_is_wrong() {
        for wrong in [START + 10_000 * S, START - 10_000 * S, START + 3 * S, u64::MAX, 0] {
            let mut clock = CaptureClock::default();
            let stamps = [START, wrong, START + 21 * MS, START + S, START + S + 20 * MS];
            let expected = [(0, 0), (0, 1), (21 * MS, 0), (S, 0), (S + 20 * MS, 0)];
            assert_eq!(times(&mut clock, &stamps), expected, "{wrong}");
            assert_eq!((clock.wrong, clock.steps()), (1, &[][..]));
        }
    }

    #[test]
    fn two_wrong_stamps_are_two() {
        let stamps =
            [START, START + 9_000 * S, START + 9_001 * S, START + MS, START + 2 * MS, START + 3 * MS];
        let expected = [(0, 0), (0, 1), (0, 2), (MS, 0), (2 * MS, 0), (3 * MS, 0)];
        assert_eq!(times(&mut CaptureClock::default(), &stamps), expected);
    }

    #[test]
    fn a_clock_that_goes_back_goes_on_from_there() {
        let mut clock = CaptureClock::default();
        let stamps = [100 * S, 100 * S + MS, 0, MS, 50 * S, 100 * S, 10 * S, 10 * S + 1].map(|ns| START + ns);
        let second = 100 * S + MS + WINDOW_NS;
        let third = second + 100 * S + WINDOW_NS;
        let expected = [
            (100 * S, 0),
            (100 * S + MS, 0),
            (second, 1),
            (second + MS, 1),
            (second + 50 * S, 1),
            (second + 100 * S, 1),
            (third, 2),
            (third + 1, 2),
        ];
        assert_eq!(times(&mut clock, &stamps), expected);
        let wall: Vec<_> =
            clock.steps().iter().map(|step| step.from_ns.wrapping_add_signed(step.add_ns)).collect();
        assert_eq!(wall, [START, START + 10 * S]);
    }

    #[test]
    fn the_last_packet_is_believed() {
        for last in [START + 3_600 * S, START - 3_600 * S] {
            let mut clock = CaptureClock::default();
            times(&mut clock, &[START, last]);
            assert_eq!(clock.wrong, 0);
        }
    }
}
