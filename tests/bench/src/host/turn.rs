//! The cost of a watcher in one turn.

use super::load::Run;
use super::watcher::Totals;

/// The figures of one turn.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Turn {
    /// Packets or connections per second, without and with the watcher.
    pub(super) without_per_s: f64,
    pub(super) with_per_s: f64,
    /// Processor time of the watcher's process per packet or connection, in nanoseconds; 0 if it shares the load's
    /// processor.
    pub(super) own_ns: f64,
    pub(super) missed: u64,
}

impl Turn {
    pub(super) fn new(without: &Run, with: &Run, totals: &Totals, apart: bool) -> Self {
        let own_ns = totals.own_ns as f64 / with.all_units as f64;
        Self {
            without_per_s: without.units as f64 / without.s,
            with_per_s: with.units as f64 / with.s,
            own_ns: if apart { own_ns } else { 0.0 },
            missed: totals.missed,
        }
    }

    pub(super) fn ratio(&self) -> f64 {
        self.with_per_s / self.without_per_s
    }

    /// How much longer each took with the watcher, in nanoseconds.
    pub(super) fn more_ns(&self) -> f64 {
        1e9 / self.with_per_s - 1e9 / self.without_per_s
    }

    /// The ratio if the watcher's process shared the load's processor.
    pub(super) fn ratio_on_one(&self) -> f64 {
        1e9 / self.without_per_s / (1e9 / self.with_per_s + self.own_ns)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(units: u64, s: f64) -> Run {
        Run { units, s, all_units: units, ..Run::default() }
    }

    /// 40 µs each without the watcher, 50 with it, and 30 in its own process.
    #[test]
    fn what_a_watcher_costs_on_the_way_and_beside() {
        let totals = Totals { own_ns: 60_000, ..Totals::default() };
        let turn = Turn::new(&run(25_000, 1.0), &run(2, 100e-6), &totals, true);
        let close = |figure: f64, wanted: f64| assert!((figure - wanted).abs() < 1e-6, "{figure}, {turn:?}");
        close(turn.ratio(), 0.8);
        close(turn.more_ns(), 10_000.0);
        close(turn.ratio_on_one(), 0.5);
        let together = Turn::new(&run(25_000, 1.0), &run(2, 100e-6), &totals, false);
        close(together.ratio_on_one(), 0.8);
    }
}
