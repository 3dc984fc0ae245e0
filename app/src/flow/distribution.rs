//! A distribution of latencies that is small while it has few samples.

use hdrhistogram::Histogram;

/// Latencies are told apart down to this many nanoseconds; above 8 µs the two digits below are coarser.
const LOWEST_NS: u64 = 64;
/// The longest latency that is told apart: 2^37 ns, some 137 s. A handshake that takes longer than Linux
/// tries (127 s by default) is given up before. Longer ones count as this.
const HIGHEST_NS: u64 = 1 << 37;
/// Two significant digits: a figure is off by less than 1 %.
const DIGITS: u8 = 2;
/// Up to this many samples are kept as they are: 2 KiB. A histogram takes 1 to 13 KiB.
const FEW: usize = 256;

/// A histogram over the whole range of latencies, in nanoseconds.
///
/// Counts are 32 bits wide: at 100,000 samples a second in one bucket they last for half a day, and then
/// saturate.
pub type Latencies = Histogram<u32>;

/// An empty histogram that spans the whole range at once, to merge others into.
#[must_use]
pub fn empty() -> Latencies {
    Histogram::new_with_bounds(LOWEST_NS, HIGHEST_NS, DIGITS).expect("the bounds are constants that fit")
}

/// Latencies in nanoseconds: the samples themselves while they are few, a histogram from then on.
#[derive(Clone, Debug)]
pub enum Distribution {
    /// Each sample as it came.
    Few(Vec<u64>),
    /// Counts in buckets.
    Many(Box<Latencies>),
}

impl Default for Distribution {
    fn default() -> Self {
        Self::Few(Vec::new())
    }
}

impl Distribution {
    /// Adds one latency, in nanoseconds.
    pub fn record(&mut self, latency_ns: u64) {
        match self {
            Self::Few(samples) if samples.len() < FEW => samples.push(latency_ns),
            Self::Few(samples) => {
                let mut histogram = Histogram::new_with_bounds(LOWEST_NS, 2 * LOWEST_NS, DIGITS)
                    .expect("the bounds are constants that fit");
                histogram.auto(true);
                for &sample in samples.iter() {
                    add(&mut histogram, sample);
                }
                add(&mut histogram, latency_ns);
                *self = Self::Many(Box::new(histogram));
            }
            Self::Many(histogram) => add(histogram, latency_ns),
        }
    }

    /// Adds all of this to `sum`.
    pub fn merge_into(&self, sum: &mut Latencies) {
        match self {
            Self::Few(samples) => samples.iter().for_each(|&sample| add(sum, sample)),
            Self::Many(histogram) => {
                sum.add(&**histogram).expect("`empty` spans the range that every sample is cut to");
            }
        }
    }

    /// Forgets all samples.
    pub fn clear(&mut self) {
        match self {
            Self::Few(samples) => samples.clear(),
            Self::Many(_) => *self = Self::default(),
        }
    }

    /// What it takes on the heap, in bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        match self {
            Self::Few(samples) => samples.capacity() * size_of::<u64>(),
            Self::Many(histogram) => size_of::<Latencies>() + histogram.distinct_values() * size_of::<u32>(),
        }
    }
}

fn add(histogram: &mut Latencies, latency_ns: u64) {
    histogram.record(latency_ns.min(HIGHEST_NS - 1)).expect("within the range, or the histogram grows");
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(distribution: &Distribution) -> Latencies {
        let mut sum = empty();
        distribution.merge_into(&mut sum);
        sum
    }

    #[test]
    fn few_and_many_give_the_same_figures() {
        let mut distribution = Distribution::default();
        let mut all = empty();
        for sample in 1..=2_000_u64 {
            distribution.record(sample * 50_000);
            add(&mut all, sample * 50_000);
            if sample == FEW as u64 || sample == 2_000 {
                assert_eq!(merged(&distribution).value_at_quantile(0.9), all.value_at_quantile(0.9));
                assert_eq!(merged(&distribution).len(), sample);
            }
        }
        assert!(matches!(distribution, Distribution::Many(_)));
    }

    #[test]
    fn a_figure_is_off_by_less_than_one_percent() {
        for sample in [10_000_u64, 210_000, 40_123_456, 3_000_000_000, 127_000_000_000] {
            let mut distribution = Distribution::default();
            (0..1_000).for_each(|_| distribution.record(sample));
            let shown = merged(&distribution).value_at_quantile(0.5);
            assert!(shown.abs_diff(sample) * 100 < sample, "{sample} is shown as {shown}");
        }
    }

    #[test]
    fn memory_stays_within_what_the_budget_counts_on() {
        let mut distribution = Distribution::default();
        (0..100_000_u64).for_each(|sample| distribution.record(sample * 1_370_000));
        distribution.record(u64::MAX);
        assert!(distribution.heap_bytes() < 16 << 10, "{} bytes", distribution.heap_bytes());
    }
}
