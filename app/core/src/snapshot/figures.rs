//! Counts and latencies of a span of time.

use super::Span;
use super::latency::Scratch;
use crate::flow::Leg;
use crate::stats::{Counts, Latency, Part, Percentiles, Tally, Times, View};

/// Counts and latencies of one span of time.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Figures {
    /// Counts.
    pub counts: Counts,
    /// Round-trip times, if there are any.
    pub rtt: Option<Percentiles>,
    /// Setup times, if there are any: from the first SYN to the ACK, repeated SYNs included.
    pub setup: Option<Percentiles>,
    /// How long after the SYN refusals came, from the quickest to the slowest. Always since the start.
    pub refusals: Option<Leg>,
}

impl Figures {
    /// The percentiles of one latency, if there are any.
    #[must_use]
    pub const fn latency(&self, latency: Latency) -> Option<Percentiles> {
        match latency {
            Latency::Rtt => self.rtt,
            Latency::Setup => self.setup,
        }
    }
}

/// The span of time that figures cover.
#[derive(Clone, Copy, Debug)]
pub(super) struct Period {
    pub(super) span: Span,
    pub(super) view: View,
    pub(super) now_ns: u64,
}

impl Period {
    /// How much time it covers, in nanoseconds.
    pub(super) fn length_ns(&self) -> u64 {
        match self.span {
            Span::Window => self.view.covered_ns(self.now_ns),
            Span::SinceStart => self.now_ns.saturating_sub(self.view.counted_ns).max(1),
        }
    }

    pub(super) fn figures(&self, tally: &Tally, scratch: &mut Times<Scratch>) -> Figures {
        let counts = tally.with_open(self.add(tally, scratch));
        let (rtt, setup) = (scratch.rtt.take(), scratch.setup.take());
        Figures { counts, rtt, setup, refusals: tally.refusals(self.view.era) }
    }

    /// Adds the latencies to others, and returns the counts without the attempts that are open.
    pub(super) fn add(&self, tally: &Tally, scratch: &mut Times<Scratch>) -> Counts {
        let mut counts = Counts::default();
        match self.span {
            Span::Window => {
                let View { window, era, .. } = self.view;
                let (from_ns, to_ns) = (window.begins_ns(self.now_ns), window.ends_ns(self.now_ns));
                // Not a loop: nested iterators are much faster from inside.
                tally.parts(era, from_ns, to_ns).for_each(|(_, part)| match part {
                    Part::Count(number, more) => counts.add(number, more),
                    Part::Latencies(latency, end_ns, more) => {
                        scratch.of_mut(latency).add_bucket(end_ns, more);
                    }
                    Part::Longest(latency, ns) => scratch.of_mut(latency).add_longest(ns),
                });
            }
            Span::SinceStart => {
                for era in tally.eras(self.view.era) {
                    counts += &era.counts;
                    for latency in Latency::ALL {
                        scratch.of_mut(latency).add(era.latencies.of(latency));
                    }
                }
            }
        }
        counts
    }

    /// How long the refusals of several peers took together.
    pub(super) fn refusals<'a>(&self, tallies: impl Iterator<Item = &'a Tally>) -> Option<Leg> {
        tallies.filter_map(|tally| tally.refusals(self.view.era)).reduce(Leg::spanning)
    }

    /// When it begins, in nanoseconds.
    pub(super) fn begins_ns(&self) -> u64 {
        match self.span {
            Span::Window => self.now_ns.saturating_sub(self.length_ns()),
            Span::SinceStart => self.view.counted_ns,
        }
    }

    /// The number of the current slot: figures of another one are other figures.
    pub(super) const fn slide(&self) -> u64 {
        match self.span {
            Span::Window => self.view.window.slot(self.now_ns),
            Span::SinceStart => 0,
        }
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "2^53 ns are 104 days, and the result is shown with three digits"
)]
pub(super) fn per_second(count: u64, ns: u64) -> f64 {
    count as f64 / (ns as f64 / 1e9)
}
