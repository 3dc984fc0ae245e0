//! Distributions as figures: percentiles, and bars on a logarithmic scale.

use crate::flow::distribution::Latencies;

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

/// Where bars begin within a decade, in tenths: 12 steps that are about equally wide on a logarithmic scale
/// (the E12 series of preferred numbers, IEC 60063).
const TENTHS: [u64; 12] = [10, 12, 15, 18, 22, 27, 33, 39, 47, 56, 68, 82];
/// From 1 µs to 82 s. Shorter ones count to the first.
const STEPS: usize = 8 * TENTHS.len();

fn step_ns(index: usize) -> u64 {
    let decade = u32::try_from(index / TENTHS.len()).unwrap_or(u32::MAX);
    TENTHS[index % TENTHS.len()] * 100 * 10_u64.saturating_pow(decade)
}

/// The bars from the first to the last that has samples.
#[must_use]
pub fn bars(latencies: &Latencies) -> Vec<Bar> {
    let mut counts = [0_u64; STEPS];
    for (latency_ns, count) in latencies.buckets() {
        let above = (0..STEPS).rev().find(|&index| latency_ns >= step_ns(index));
        counts[above.unwrap_or(0)] += count;
    }
    let Some(first) = counts.iter().position(|&count| count > 0) else { return Vec::new() };
    let last = counts.iter().rposition(|&count| count > 0).unwrap_or(first);
    (first..=last).map(|index| Bar { from_ns: step_ns(index), count: counts[index] }).collect()
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
