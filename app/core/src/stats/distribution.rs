//! A distribution of latencies that is small while it has few samples.

use hdrhistogram::Histogram;

/// The resolution in nanoseconds; above 8 µs the two digits below are coarser.
const LOWEST_NS: u64 = 64;
/// Longer latencies count as this one: 2^37 ns, some 137 s. A handshake is given up before: Linux tries for 127 s by
/// default.
const HIGHEST_NS: u64 = 1 << 37;
/// Two significant digits: a figure is off by less than 1 %.
const DIGITS: u8 = 2;
/// Latencies that differ in their highest bits only are in one bucket: in so many behind the first one that is set.
const BUCKET_BITS: u32 = 7;
/// How many buckets there are.
pub(super) const BUCKETS: u16 = 25 << BUCKET_BITS;
/// Up to this many samples are kept as they are: 2 KiB. A histogram takes 1 to 13 KiB.
const FEW: usize = 256;

/// The bucket of a latency in nanoseconds: that of the histogram.
pub(super) fn bucket(latency_ns: u64) -> u16 {
    let units = latency_ns.min(HIGHEST_NS - 1) / LOWEST_NS;
    let octave = u64::from(units.checked_ilog2().unwrap_or(0).saturating_sub(BUCKET_BITS));
    u16::try_from((octave << BUCKET_BITS) + (units >> octave)).expect("latencies are limited to the highest")
}

/// The highest latency of a bucket, in nanoseconds.
pub(super) fn bucket_end_ns(bucket: u16) -> u64 {
    let octave = (u64::from(bucket) >> BUCKET_BITS).saturating_sub(1);
    let units = u64::from(bucket) - (octave << BUCKET_BITS);
    ((units + 1) << octave) * LOWEST_NS - 1
}

/// Latencies counted in buckets, and the exact longest one.
///
/// Counts are 32 bits wide: they saturate after half a day with 100,000 samples a second in one bucket.
#[derive(Clone, Debug)]
pub(crate) struct Latencies {
    histogram: Histogram<u32>,
    max_ns: u64,
}

impl Latencies {
    /// None yet; spans the whole range at once, to merge others into.
    #[must_use]
    pub(crate) fn spanning() -> Self {
        Self::up_to(HIGHEST_NS)
    }

    /// None yet; grows with what it is given.
    fn growing() -> Self {
        let mut latencies = Self::up_to(2 * LOWEST_NS);
        latencies.histogram.auto(true);
        latencies
    }

    fn up_to(highest_ns: u64) -> Self {
        let histogram = Histogram::new_with_bounds(LOWEST_NS, highest_ns, DIGITS);
        Self { histogram: histogram.expect("the bounds are constants that fit"), max_ns: 0 }
    }

    /// Adds one latency, in nanoseconds.
    pub(crate) fn record(&mut self, latency_ns: u64) {
        let within = latency_ns.min(HIGHEST_NS - 1);
        self.histogram.record(within).expect("within the range, or the histogram grows");
        self.max_ns = self.max_ns.max(latency_ns);
    }

    /// Adds so many latencies that lie in the bucket which ends at `end_ns`. How long the longest is remains to be said.
    pub(crate) fn record_bucket(&mut self, end_ns: u64, count: u64) {
        self.histogram
            .record_n(end_ns.min(HIGHEST_NS - 1), count.try_into().unwrap_or(u32::MAX))
            .expect("within the range");
    }

    /// Says that one of the latencies, which are counted otherwise, is as long as this, in nanoseconds.
    pub(crate) fn raise_max(&mut self, latency_ns: u64) {
        self.max_ns = self.max_ns.max(latency_ns);
    }

    /// Adds all of another.
    pub(crate) fn add(&mut self, other: &Self) {
        self.histogram.add(&other.histogram).expect("what is merged into spans the whole range");
        self.max_ns = self.max_ns.max(other.max_ns);
    }

    /// Forgets all, and keeps its memory.
    pub(crate) fn reset(&mut self) {
        self.histogram.reset();
        self.max_ns = 0;
    }

    /// The highest latency of the bucket that a latency falls into, in nanoseconds.
    #[must_use]
    pub(crate) fn bucket_ns(&self, latency_ns: u64) -> u64 {
        self.histogram.highest_equivalent(latency_ns.min(HIGHEST_NS - 1))
    }

    /// How many there are.
    #[must_use]
    pub(crate) fn len(&self) -> u64 {
        self.histogram.len()
    }

    /// Whether there is none.
    #[must_use]
    pub(crate) fn is_empty(&self) -> bool {
        self.histogram.is_empty()
    }

    /// The longest, in nanoseconds; 0 when there is none.
    #[must_use]
    pub(crate) const fn max_ns(&self) -> u64 {
        self.max_ns
    }

    /// The latency that this share of all do not exceed, 0 to 1, in nanoseconds; 0 when there is none.
    #[must_use]
    pub(crate) fn quantile_ns(&self, share: f64) -> u64 {
        self.histogram.value_at_quantile(share).min(self.max_ns)
    }

    /// The buckets that have samples: the highest latency of each in nanoseconds, and how many.
    pub(crate) fn buckets(&self) -> impl Iterator<Item = (u64, u64)> {
        self.histogram
            .iter_recorded()
            .map(|bucket| (bucket.value_iterated_to(), bucket.count_since_last_iteration()))
    }
}

/// Percentiles of a distribution, in nanoseconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Percentiles {
    /// Median: half of the samples are no longer.
    pub p50_ns: u64,
    /// 90 of 100 samples are no longer.
    pub p90_ns: u64,
    /// 99 of 100 samples are no longer.
    pub p99_ns: u64,
    /// The longest.
    pub max_ns: u64,
    /// How many samples there are, at least 1.
    pub samples: u64,
}

impl Percentiles {
    /// The percentiles of some latencies; `None` when there are none.
    pub(crate) fn of(latencies: &Latencies) -> Option<Self> {
        (!latencies.is_empty()).then(|| Self {
            p50_ns: latencies.quantile_ns(0.50),
            p90_ns: latencies.quantile_ns(0.90),
            p99_ns: latencies.quantile_ns(0.99),
            max_ns: latencies.max_ns(),
            samples: latencies.len(),
        })
    }
}

/// Latencies in nanoseconds: the samples themselves while they are few, a histogram from then on.
#[derive(Clone, Debug)]
pub(crate) enum Distribution {
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
    /// Adds one latency, in nanoseconds. Returns whether it takes more or less heap than before.
    pub(crate) fn record(&mut self, latency_ns: u64) -> bool {
        match self {
            Self::Few(samples) if samples.len() < FEW => {
                let before = samples.capacity();
                samples.push(latency_ns);
                samples.capacity() != before
            }
            Self::Few(samples) => {
                let mut many = Latencies::growing();
                samples.iter().for_each(|&sample| many.record(sample));
                many.record(latency_ns);
                *self = Self::Many(Box::new(many));
                true
            }
            Self::Many(many) => {
                let before = many.histogram.distinct_values();
                many.record(latency_ns);
                many.histogram.distinct_values() != before
            }
        }
    }

    /// How many there are.
    #[must_use]
    pub(crate) fn len(&self) -> u64 {
        match self {
            Self::Few(samples) => samples.len() as u64,
            Self::Many(many) => many.len(),
        }
    }

    /// Adds all of this to `sum`.
    pub(crate) fn merge_into(&self, sum: &mut Latencies) {
        match self {
            Self::Few(samples) => samples.iter().for_each(|&sample| sum.record(sample)),
            Self::Many(many) => sum.add(many),
        }
    }

    /// Adds all of another.
    pub(super) fn absorb(&mut self, other: &Self) {
        match (&mut *self, other) {
            (_, Self::Few(samples)) => samples.iter().for_each(|&sample| _ = self.record(sample)),
            (Self::Many(sum), Self::Many(many)) => sum.add(many),
            (Self::Few(samples), Self::Many(many)) => {
                let mut sum = many.clone();
                samples.iter().for_each(|&sample| sum.record(sample));
                *self = Self::Many(sum);
            }
        }
    }

    /// What it takes on the heap, in bytes.
    #[must_use]
    pub(crate) fn heap_bytes(&self) -> usize {
        match self {
            Self::Few(samples) => samples.capacity() * size_of::<u64>(),
            Self::Many(many) => size_of::<Latencies>() + many.histogram.distinct_values() * size_of::<u32>(),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn merged(distribution: &Distribution) -> Latencies {
        let mut sum = Latencies::spanning();
        distribution.merge_into(&mut sum);
        sum
    }

    #[test]
    fn few_and_many_give_the_same_figures() {
        let mut distribution = Distribution::default();
        let mut all = Latencies::spanning();
        for sample in 1..=2_000_u64 {
            distribution.record(sample * 50_000);
            all.record(sample * 50_000);
            if sample == FEW as u64 || sample == 2_000 {
                assert_eq!(merged(&distribution).quantile_ns(0.9), all.quantile_ns(0.9));
                assert_eq!(merged(&distribution).len(), sample);
            }
        }
        assert!(matches!(distribution, Distribution::Many(_)));
    }

    #[test]
    fn buckets_are_those_of_the_histogram() {
        let latencies = Latencies::spanning();
        let all = (0..1_000_000).map(|n: u64| n * n / 7).chain([HIGHEST_NS - 1, HIGHEST_NS, u64::MAX]);
        for latency_ns in all {
            assert_eq!(bucket_end_ns(bucket(latency_ns)), latencies.bucket_ns(latency_ns), "{latency_ns}");
        }
        assert_eq!(bucket(u64::MAX), BUCKETS - 1);
    }

    #[test]
    fn parts_add_up() {
        for lens in [[3, 5], [200, 100], [300, 5], [5, 300], [300, 400]] {
            let [mut sum, other] = lens.map(|len| {
                let mut part = Distribution::default();
                (1..=len).for_each(|n| _ = part.record(n * len * 77_777));
                part
            });
            let mut both = merged(&sum);
            other.merge_into(&mut both);
            sum.absorb(&other);
            let sum = merged(&sum);
            assert_eq!(Percentiles::of(&sum), Percentiles::of(&both), "{lens:?}");
        }
    }

    #[test]
    fn a_figure_is_off_by_less_than_one_percent() {
        for sample in [10_000_u64, 210_000, 40_123_456, 3_000_000_000, 127_000_000_000] {
            let mut distribution = Distribution::default();
            (0..1_000).for_each(|_| _ = distribution.record(sample));
            distribution.record(2 * sample);
            let shown = merged(&distribution).quantile_ns(0.5);
            assert!(shown.abs_diff(sample) * 100 < sample, "{sample} is shown as {shown}");
        }
    }

    #[test]
    fn the_longest_is_exact() {
        let mut distribution = Distribution::default();
        for sample in [912_345, 1_234_567] {
            distribution.record(sample);
        }
        assert_eq!(merged(&distribution).max_ns(), 1_234_567);
        assert_eq!(merged(&distribution).quantile_ns(0.99), 1_234_567);
    }

    #[test]
    fn memory_stays_within_what_the_budget_counts_on() {
        let mut distribution = Distribution::default();
        let mut charged = 0;
        let samples = (0..100_000_u64).map(|sample| sample * 1_370_000).chain([u64::MAX]);
        for sample in samples {
            if distribution.record(sample) {
                charged = distribution.heap_bytes();
            }
            assert_eq!(charged, distribution.heap_bytes());
        }
        assert!(distribution.heap_bytes() < 16 << 10, "{} bytes", distribution.heap_bytes());
    }
}
