//! What was measured, as a table.

use anyhow::{Context, Result};

use super::load::{Load, Run};
use super::watcher::{Told, Watcher};
use crate::stats::{Spread, count};

pub(super) const LEGEND: &str = "\
ratio: of the rate without; its median is held against the limit
more each: how much longer a packet or a connection takes on the load's processor
own time: what the watcher's process needs for it, on another processor
one core: the ratio if that were the same processor
lost: what the watcher says that it did not see, in all rounds";

/// What a turn gave.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Turn {
    /// Packets or connections in a second, without the watcher and with it.
    without_per_s: f64,
    with_per_s: f64,
    /// What the watcher's own process needed for each of them, beside the load's processor.
    own_ns: f64,
    lost: u64,
}

impl Turn {
    pub(super) fn new(without: &Run, with: &Run, told: &Told, apart: bool) -> Self {
        let own_ns = told.own_ns as f64 / with.all_units as f64;
        Self {
            without_per_s: without.units as f64 / without.s,
            with_per_s: with.units as f64 / with.s,
            own_ns: if apart { own_ns } else { 0.0 },
            lost: told.lost,
        }
    }

    fn ratio(&self) -> f64 {
        self.with_per_s / self.without_per_s
    }

    /// By how much longer each took, in nanoseconds.
    fn more_ns(&self) -> f64 {
        1e9 / self.with_per_s - 1e9 / self.without_per_s
    }

    /// The ratio if the watcher's process had no processor but the load's.
    fn ratio_on_one(&self) -> f64 {
        1e9 / self.without_per_s / (1e9 / self.with_per_s + self.own_ns)
    }
}

/// All turns of one load.
#[derive(Default)]
pub(super) struct Measured {
    turns: Vec<(Watcher, Turn)>,
}

impl Measured {
    pub(super) fn add(&mut self, watcher: Watcher, turn: Turn) {
        self.turns.push((watcher, turn));
    }

    /// Prints the table, and says which limits were missed.
    pub(super) fn print(&self, load: Load) -> Result<Vec<String>> {
        println!(
            "\n{:<26}{:>13}{:>20}{:>8}{:>16}{:>7}{:>11}{:>11}{:>11}{:>6}",
            load.name(),
            load.rate(),
            "min - max",
            "ratio",
            "min - max",
            "limit",
            "more each",
            "own time",
            "one core",
            "lost"
        );
        let all: Vec<Turn> = self.turns.iter().map(|(_, turn)| *turn).collect();
        println!("{:<26}{}", "without", rates(spread(&all, |turn| turn.without_per_s)?));
        let mut missed = Vec::new();
        for watcher in Watcher::ALL {
            let turns: Vec<Turn> = all_of(&self.turns, watcher);
            let (ratio, limit) = (spread(&turns, Turn::ratio)?, limit(load, watcher));
            println!("{:<26}{}", watcher.name(), row(&turns, ratio, limit)?);
            missed.extend(limit.filter(|limit| ratio.median < *limit).map(|limit| {
                let (load, watcher) = (load.name(), watcher.name());
                format!("{load} with {watcher}: the ratio {:.3} is below its limit {limit}", ratio.median)
            }));
        }
        Ok(missed)
    }
}

fn all_of(turns: &[(Watcher, Turn)], wanted: Watcher) -> Vec<Turn> {
    turns.iter().filter(|(watcher, _)| *watcher == wanted).map(|(_, turn)| *turn).collect()
}

/// The least of the rate without anything that is to be left.
fn limit(load: Load, watcher: Watcher) -> Option<f64> {
    match (load, watcher) {
        (Load::Segments, Watcher::Tcptop) => Some(0.92),
        (Load::Connections, Watcher::Tcptop) => Some(0.93),
        (_, Watcher::Tcpdump) => None,
    }
}

fn row(turns: &[Turn], ratio: Spread, limit: Option<f64>) -> Result<String> {
    let median = |figure| spread(turns, figure).map(|spread| spread.median);
    let Spread { min, median: middle, max } = ratio;
    Ok(format!(
        "{}{middle:>8.3}{:>16}{:>7}{:>11}{:>11}{:>11.3}{:>6}",
        rates(spread(turns, |turn| turn.with_per_s)?),
        format!("{min:.3} - {max:.3}"),
        limit.map_or("-".to_owned(), |limit| format!("{limit:.2}")),
        time(median(Turn::more_ns)?),
        time(median(|turn| turn.own_ns)?),
        median(Turn::ratio_on_one)?,
        count(turns.iter().map(|turn| turn.lost).sum())
    ))
}

fn spread(turns: &[Turn], figure: fn(&Turn) -> f64) -> Result<Spread> {
    let figures: Vec<f64> = turns.iter().map(figure).collect();
    Spread::of(&figures).context("there is at least one round")
}

fn rates(spread: Spread) -> String {
    let Spread { min, median, max } = spread;
    format!("{:>13}{:>20}", rate(median), format!("{} - {}", rate(min), rate(max)))
}

/// Thousands, with three digits: `251 k`, `24.7 k`.
fn rate(per_s: f64) -> String {
    let thousands = per_s / 1e3;
    if thousands < 99.95 { format!("{thousands:.1} k") } else { format!("{thousands:.0} k") }
}

/// `128 ns`, `3.41 µs`.
fn time(ns: f64) -> String {
    if ns.abs() < 999.5 { format!("{ns:.0} ns") } else { format!("{:.2} µs", ns / 1e3) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn run(units: u64, s: f64) -> Run {
        Run { units, s, all_units: units, ..Run::default() }
    }

    /// 40 µs each without, 50 with, and 30 of the watcher's own.
    #[test]
    fn what_a_watcher_costs_on_the_way_and_beside() {
        let told = Told { own_ns: 60_000, ..Told::default() };
        let turn = Turn::new(&run(25_000, 1.0), &run(2, 100e-6), &told, true);
        let close = |figure: f64, wanted: f64| assert!((figure - wanted).abs() < 1e-6, "{figure}, {turn:?}");
        close(turn.ratio(), 0.8);
        close(turn.more_ns(), 10_000.0);
        close(turn.ratio_on_one(), 0.5);
        let together = Turn::new(&run(25_000, 1.0), &run(2, 100e-6), &told, false);
        close(together.ratio_on_one(), 0.8);
    }

    /// A turn in which all was slow counts as much as any.
    #[test]
    fn the_limit_is_for_the_middle_of_the_turns() {
        let mut measured = Measured::default();
        for (without, with) in [(100, 95), (1_000, 929), (50, 46)] {
            let turn = Turn::new(&run(without, 1.0), &run(with, 1.0), &Told::default(), true);
            measured.add(Watcher::Tcptop, turn);
            measured.add(Watcher::Tcpdump, turn);
        }
        assert_eq!(measured.print(Load::Segments).unwrap(), Vec::<String>::new());
        let missed = measured.print(Load::Connections).unwrap();
        assert_eq!(missed, ["connections with tcptop --report: the ratio 0.929 is below its limit 0.93"]);
        assert!(Measured::default().print(Load::Segments).is_err());
    }

    #[test]
    fn figures_are_written_with_their_units() {
        assert_eq!([251_400.0, 24_680.0].map(rate), ["251 k", "24.7 k"]);
        assert_eq!([-3.2, 128.4, 3_412.0].map(time), ["-3 ns", "128 ns", "3.41 µs"]);
    }
}
