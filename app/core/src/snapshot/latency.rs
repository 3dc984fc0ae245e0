//! Distributions as figures: percentiles, and histograms on a logarithmic scale.

use crate::stats::scale::{STEPS, begin_ns, step};
use crate::stats::{Distribution, Latencies, Percentiles};

/// Up to so many samples are sorted; more are counted in buckets.
const SORTED: usize = 1_024;

/// Memory to merge latencies in, reused: to allocate it costs more than all else.
#[derive(Clone, Debug)]
pub(super) struct Scratch {
    /// Latencies, or the ends of their buckets.
    few: Vec<u64>,
    many: Latencies,
    max_ns: u64,
}

impl Default for Scratch {
    fn default() -> Self {
        Self { few: Vec::new(), many: Latencies::spanning(), max_ns: 0 }
    }
}

impl Scratch {
    pub(super) fn add(&mut self, latencies: &Distribution) {
        match latencies {
            Distribution::Few(samples) => {
                samples.iter().for_each(|&sample| self.add_bucket(sample, 1));
                self.add_longest(samples.iter().copied().max().unwrap_or(0));
            }
            Distribution::Many(many) => {
                self.many.add(many);
                self.add_longest(many.max_ns());
            }
        }
    }

    /// Adds so many latencies that lie in the bucket of `end_ns`. How long the longest is remains to be added.
    pub(super) fn add_bucket(&mut self, end_ns: u64, count: u64) {
        if self.few.len() as u64 + count <= SORTED as u64 {
            (0..count).for_each(|_| self.few.push(end_ns));
        } else {
            self.many.record_bucket(end_ns, count);
        }
    }

    /// Says that one of the latencies is as long as this, in nanoseconds.
    pub(super) fn add_longest(&mut self, latency_ns: u64) {
        self.max_ns = self.max_ns.max(latency_ns);
    }

    /// The percentiles of what was added, which is forgotten.
    pub(super) fn take(&mut self) -> Option<Percentiles> {
        if self.many.is_empty() {
            return self.take_few();
        }
        self.take_all(Percentiles::of)
    }

    /// The percentiles and the histogram of what was added, which is forgotten.
    pub(super) fn take_with_bars(&mut self) -> (Option<Percentiles>, Vec<Bar>) {
        if self.many.is_empty() {
            let bars = bars_of(self.few.iter().map(|&sample| (self.many.bucket_ns(sample), 1)));
            return (self.take_few(), bars);
        }
        self.take_all(|all| (Percentiles::of(all), bars(all)))
    }

    fn take_all<T>(&mut self, figures: impl FnOnce(&Latencies) -> T) -> T {
        self.few.drain(..).for_each(|sample| self.many.record_bucket(sample, 1));
        self.many.raise_max(core::mem::take(&mut self.max_ns));
        let figures = figures(&self.many);
        self.many.reset();
        figures
    }

    /// The same figures as those of buckets: a sample counts as the highest of its bucket, except for the longest.
    fn take_few(&mut self) -> Option<Percentiles> {
        let max_ns = core::mem::take(&mut self.max_ns);
        if self.few.is_empty() {
            return None;
        }
        self.few.sort_unstable();
        let samples = self.few.len();
        let ranked = |hundredths: usize| {
            let rank = (samples * hundredths).div_ceil(100).max(1);
            self.many.bucket_ns(self.few[rank - 1]).min(max_ns)
        };
        let (p50_ns, p90_ns, p99_ns) = (ranked(50), ranked(90), ranked(99));
        self.few.clear();
        Some(Percentiles { p50_ns, p90_ns, p99_ns, max_ns, samples: samples as u64 })
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
fn bars(latencies: &Latencies) -> Vec<Bar> {
    bars_of(latencies.buckets())
}

/// The bars of latencies in nanoseconds, each with how often it was.
fn bars_of(latencies: impl Iterator<Item = (u64, u64)>) -> Vec<Bar> {
    let mut counts = [0_u64; BARS];
    for (latency_ns, count) in latencies {
        counts[usize::from(step(latency_ns)) / 2] += count;
    }
    let Some(first) = counts.iter().position(|&count| count > 0) else { return Vec::new() };
    let last = counts.iter().rposition(|&count| count > 0).unwrap_or(first);
    (first..=last).map(|index| Bar { from_ns: begin_ns(2 * index), count: counts[index] }).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

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
    fn few_samples_and_many_give_the_same_figures() {
        let mut scratch = Scratch::default();
        for samples in [1_u64, 2, 9, 10, 99, 100, 101, 255] {
            let mut few = Distribution::default();
            let mut all = Latencies::spanning();
            for sample in (1..=samples).rev().map(|sample| sample * 777_777) {
                few.record(sample);
                all.record(sample);
            }
            scratch.add(&few);
            assert_eq!(scratch.take(), Percentiles::of(&all), "{samples} samples");
            scratch.add(&few);
            assert_eq!(scratch.take_with_bars(), (Percentiles::of(&all), bars(&all)), "{samples} samples");
            assert_eq!(scratch.take(), None, "it is empty again");
        }
    }

    #[test]
    fn many_samples_are_all_in_the_figures() {
        let (mut scratch, mut all) = (Scratch::default(), Latencies::spanning());
        for part in 0..10_u64 {
            let mut distribution = Distribution::default();
            for sample in 0..(if part == 3 { 3_000 } else { 200 }) {
                distribution.record((sample + 1) * (part + 1) * 10_000);
                all.record((sample + 1) * (part + 1) * 10_000);
            }
            scratch.add(&distribution);
        }
        assert_eq!(scratch.take(), Percentiles::of(&all));
        assert_eq!(scratch.take(), None, "it is empty again");
    }

    #[test]
    fn no_samples_give_no_figures() {
        assert_eq!(Percentiles::of(&Latencies::spanning()), None);
        assert_eq!(bars(&Latencies::spanning()), []);
    }
}
