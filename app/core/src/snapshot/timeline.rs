//! The last minutes, slot by slot.

use super::Bar;
use crate::flow::Outcome;
use crate::stats::scale::{STEPS, begin_ns, end_ns, step};
use crate::stats::{Counts, Latency, Part, Percentiles, Tally, Times};

/// The last five minutes, or as much of them as was watched.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Timeline {
    /// Slots, the oldest first, without gaps; the newest is the current one. At most [`SLOTS`](Self::SLOTS).
    pub moments: Vec<Moment>,
}

/// One slot.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Moment {
    /// When it began, in nanoseconds of the monotonic clock.
    pub from_ns: u64,
    /// Attempts.
    pub opened: u64,
    /// Attempts without an answer, to the SYN or the SYN-ACK, dated to when they were given up.
    pub unanswered: u64,
    /// Attempts that were refused.
    pub refused: u64,
    /// Attempts that an ICMP error answered.
    pub unreachable: u64,
    /// Handshakes whose setup time is slow.
    pub slow_setups: u64,
    /// Segments that were retransmits.
    pub retransmits: u64,
    /// Segments that could have been retransmits.
    pub segments: u64,
    /// Round-trip times, if there are any: the ends of the [steps](crate::scale) that they fall on, which are a tenth wide.
    pub rtt: Option<Percentiles>,
    /// Histogram of the round-trip times, without the bars that none fell on.
    pub bars: Vec<Bar>,
    /// Setup times, likewise.
    pub setup: Option<Percentiles>,
    /// Their histogram.
    pub setup_bars: Vec<Bar>,
}

impl Moment {
    /// The percentiles of one latency, if there are any.
    #[must_use]
    pub const fn latency(&self, latency: Latency) -> Option<&Percentiles> {
        match latency {
            Latency::Rtt => self.rtt.as_ref(),
            Latency::Setup => self.setup.as_ref(),
        }
    }

    /// The histogram of one latency.
    #[must_use]
    pub fn bars(&self, latency: Latency) -> &[Bar] {
        match latency {
            Latency::Rtt => &self.bars,
            Latency::Setup => &self.setup_bars,
        }
    }
}

impl Timeline {
    /// The length of a slot, in nanoseconds.
    pub const SLOT_NS: u64 = 5_000_000_000;
    /// How many slots there are at most.
    pub const SLOTS: u64 = 60;

    /// The sum of tallies at `now_ns`, as far back as `started_ns`, whenever a reader restarted its counts.
    pub(super) fn of<'a>(tallies: impl Iterator<Item = &'a Tally>, started_ns: u64, now_ns: u64) -> Self {
        let now = now_ns / Self::SLOT_NS;
        let first = (started_ns / Self::SLOT_NS).max((now + 1).saturating_sub(Self::SLOTS));
        let mut sums: Vec<Sum> = (first..=now).map(|_| Sum::default()).collect();
        for (slot_ns, part) in tallies.flat_map(|tally| tally.parts(0, first * Self::SLOT_NS, now_ns)) {
            let index = usize::try_from(slot_ns / Self::SLOT_NS - first).unwrap_or(usize::MAX);
            let Some(sum) = sums.get_mut(index) else { continue };
            match part {
                Part::Count(number, more) => sum.counts.add(number, more),
                Part::Latencies(latency, end_ns, count) => {
                    let steps = sum.steps.of_mut(latency).get_or_insert_with(|| Box::new([0; STEPS]));
                    steps[usize::from(step(end_ns))] += count;
                }
                Part::Longest(..) => {}
            }
        }
        let moments = (first..=now).zip(sums).map(|(slot, sum)| sum.moment(slot * Self::SLOT_NS)).collect();
        Self { moments }
    }
}

/// What adds up to a moment.
#[derive(Default)]
struct Sum {
    counts: Counts,
    steps: Times<Option<Box<[u64; STEPS]>>>,
}

impl Sum {
    fn moment(self, from_ns: u64) -> Moment {
        let Self { counts, steps } = self;
        let (rtt, bars) = steps.rtt.map_or((None, Vec::new()), |steps| figures(&steps[..]));
        let (setup, setup_bars) = steps.setup.map_or((None, Vec::new()), |steps| figures(&steps[..]));
        Moment {
            from_ns,
            opened: counts.opened,
            unanswered: counts.unanswered(),
            refused: counts.of(Outcome::Refused),
            unreachable: counts.of(Outcome::Unreachable),
            slow_setups: counts.slow_setups,
            retransmits: counts.retransmits(),
            segments: counts.segments(),
            rtt,
            bars,
            setup,
            setup_bars,
        }
    }
}

/// The percentiles and the histogram of what fell on each step.
fn figures(steps: &[u64]) -> (Option<Percentiles>, Vec<Bar>) {
    // A bar is two steps wide.
    let bars = steps
        .chunks(2)
        .enumerate()
        .map(|(pair, counts)| Bar { from_ns: begin_ns(2 * pair), count: counts.iter().sum() });
    (percentiles(steps), bars.filter(|bar| bar.count > 0).collect())
}

fn percentiles(steps: &[u64]) -> Option<Percentiles> {
    let samples: u64 = steps.iter().sum();
    let reached = |hundredths: u64| {
        let wanted = (samples * hundredths).div_ceil(100).max(1);
        let mut sum = 0;
        let step = steps.iter().position(|count| {
            sum += count;
            sum >= wanted
        });
        end_ns(step.unwrap_or(STEPS - 1))
    };
    (samples > 0).then(|| Percentiles {
        p50_ns: reached(50),
        p90_ns: reached(90),
        p99_ns: reached(99),
        max_ns: reached(100),
        samples,
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::PeerEvent;

    const SLOT_NS: u64 = Timeline::SLOT_NS;
    const START: u64 = 1_000 * SLOT_NS + 1;

    fn record(tally: &mut Tally, rtt_ns: u64) {
        tally.record(Times { rtt: Some(rtt_ns), setup: None }, START);
    }

    #[test]
    fn tallies_add_up_slot_by_slot() {
        let [mut one, mut other] = [Tally::default(), Tally::default()];
        (0..90).for_each(|_| record(&mut one, 1_000_000));
        for slot in 0..3 {
            (0..2).for_each(|_| _ = one.count(PeerEvent::Opened, START + slot * SLOT_NS));
        }
        (0..10).for_each(|_| record(&mut other, 210_000_000));
        (0..5).for_each(|_| _ = other.count(PeerEvent::Opened, START + SLOT_NS));
        let past = Timeline::of([&one, &other].into_iter(), START, START + 3 * SLOT_NS);
        let opened: Vec<u64> = past.moments.iter().map(|moment| moment.opened).collect();
        assert_eq!(opened, [2, 7, 2, 0]);
        let first = &past.moments[0];
        let rtt = first.rtt.expect("there are some");
        assert_eq!((rtt.p50_ns, rtt.p90_ns, rtt.p99_ns), (1_099_999, 1_099_999, 219_999_999));
        assert_eq!(
            first.bars,
            [Bar { from_ns: 1_000_000, count: 90 }, Bar { from_ns: 180_000_000, count: 10 }]
        );
        assert_eq!(past.moments[1].rtt, None);
    }

    #[test]
    fn what_was_not_watched_is_not_there() {
        let none = || core::iter::empty::<&Tally>();
        assert_eq!(Timeline::of(none(), START, START).moments.len(), 1);
        assert_eq!(Timeline::of(none(), START, START + 7 * SLOT_NS).moments.len(), 8);
        assert_eq!(Timeline::of(none(), START, START + 700 * SLOT_NS).moments.len(), 60);
    }
}
