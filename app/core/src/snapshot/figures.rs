//! Counts and latencies of a span of time.

use super::Span;
use super::latency::Scratch;
use crate::flow::Leg;
use crate::stats::{Counts, Latency, Percentiles, Tally};

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
    /// Length of a slot of the window.
    pub(super) slot_ns: u64,
    pub(super) now_ns: u64,
}

impl Period {
    pub(super) fn figures(&self, tally: &Tally, scratch: &mut Scratch) -> Figures {
        let mut percentiles = |latency: Latency| {
            self.add(latency, tally, scratch);
            scratch.take()
        };
        let (rtt, setup) = (percentiles(Latency::Rtt), percentiles(Latency::Setup));
        Figures { counts: self.counts(tally), rtt, setup, refusals: tally.refusals() }
    }

    pub(super) fn counts(&self, tally: &Tally) -> Counts {
        match self.span {
            Span::Window => tally.within_window(self.now_ns, self.slot_ns),
            Span::SinceStart => tally.since_start(),
        }
    }

    /// Adds the samples of one latency.
    pub(super) fn add(&self, latency: Latency, tally: &Tally, scratch: &mut Scratch) {
        match self.span {
            Span::Window => {
                let slots = tally.latencies(self.now_ns, self.slot_ns);
                slots.for_each(|latencies| scratch.add(latencies.of(latency)));
            }
            Span::SinceStart => scratch.add(tally.latencies_since_start().of(latency)),
        }
    }

    /// How long the refusals of several peers took together.
    pub(super) fn refusals<'a>(tallies: impl Iterator<Item = &'a Tally>) -> Option<Leg> {
        tallies.filter_map(Tally::refusals).reduce(Leg::spanning)
    }

    /// The number of the current slot: figures of another one are other figures.
    pub(super) const fn slide(&self) -> u64 {
        match self.span {
            Span::Window => self.now_ns / self.slot_ns,
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
