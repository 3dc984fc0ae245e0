//! Distributions as figures: percentiles, and bars on a logarithmic scale.

use crate::flow::distribution::Latencies;
use crate::flow::scale::{STEPS, begin_ns, step};

/// The figures that are shown of a distribution, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentiles {
    /// Half of the samples are no longer.
    pub p50_ns: u64,
    /// Nine of ten are no longer.
    pub p90_ns: u64,
    /// 99 of 100 are no longer.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// How many samples there are: at least 1.
    pub samples: u64,
}

impl Percentiles {
    /// The figures of a distribution, or `None` when it has no samples.
    #[must_use]
    pub fn of(latencies: &Latencies) -> Option<Self> {
        (!latencies.is_empty()).then(|| Self {
            p50_ns: latencies.quantile_ns(0.50),
            p90_ns: latencies.quantile_ns(0.90),
            p99_ns: latencies.quantile_ns(0.99),
            max_ns: latencies.max_ns(),
            samples: latencies.len(),
        })
    }
}

/// One bar of a histogram: how many samples were in a range.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bar {
    /// The range begins here, in nanoseconds; it ends where the next begins.
    pub from_ns: u64,
    /// Samples in it.
    pub count: u64,
}

/// A bar is two steps of the scale wide: a sixth to a quarter.
const BARS: usize = STEPS / 2;

/// The bars from the first to the last that has samples.
#[must_use]
pub fn bars(latencies: &Latencies) -> Vec<Bar> {
    let mut counts = [0_u64; BARS];
    for (latency_ns, count) in latencies.buckets() {
        counts[usize::from(step(latency_ns)) / 2] += count;
    }
    let Some(first) = counts.iter().position(|&count| count > 0) else { return Vec::new() };
    let last = counts.iter().rposition(|&count| count > 0).unwrap_or(first);
    (first..=last).map(|index| Bar { from_ns: begin_ns(2 * index), count: counts[index] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::flow::distribution::Distribution;

    #[test]
    fn bars_cover_the_samples_and_nothing_else() {
        let mut samples = Distribution::default();
        for sample in [151_000, 179_000, 900_000, 40_000_000] {
            samples.record(sample);
        }
        let mut sum = Latencies::spanning();
        samples.merge_into(&mut sum);
        let bars = bars(&sum);
        assert_eq!(bars.first(), Some(&Bar { from_ns: 150_000, count: 2 }));
        assert_eq!(bars.last(), Some(&Bar { from_ns: 39_000_000, count: 1 }));
        assert_eq!(bars.iter().map(|bar| bar.count).sum::<u64>(), 4);
    }

    #[test]
    fn no_samples_give_no_figures() {
        assert_eq!(Percentiles::of(&Latencies::spanning()), None);
        assert_eq!(bars(&Latencies::spanning()), []);
    }
}
