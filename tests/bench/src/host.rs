//! `cargo xtask bench host`: what a host loses while it is watched by tcptop, and by tcpdump for comparison.
//!
//! Real TCP runs over two veth pairs, in short turns over the one that is watched and the one that is not. Other load
//! on the machine slows both alike: it can take away a third, for seconds.

use std::panic::resume_unwind;
use std::path::PathBuf;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::processor::allowed;
use lab::{Cable, Place};

use self::load::{Load, Run};
use self::turn::Turn;
use self::watcher::{Running, Totals, Watcher};
use crate::report::{Limit, Report};

mod load;
mod turn;
mod watcher;

/// Real-time priorities of the load, so that other processes do not disturb it, and of the watchers, which must not
/// wait for the load if there is only one processor.
const LOAD_PRIORITY: i32 = 1;
const WATCHER_PRIORITY: i32 = 2;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each is measured
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Seconds of load per turn, with and without the watcher
    #[arg(long, value_name = "S", default_value_t = 0.4, value_parser = seconds)]
    seconds: f64,

    /// Measure only: do not fail if a limit is exceeded
    #[arg(long)]
    no_limits: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    lab::program::require(&["tcpdump"])?;
    let bench = Bench::new(args)?;
    let mut measured = Vec::new();
    for load in Load::ALL {
        for round in 1..=args.rounds {
            eprintln!("bench: {}, round {round} of {}", load.name(), args.rounds);
            // Each watcher is first in every second round.
            let mut order = Watcher::ALL;
            order.rotate_left(usize::from(round % 2 == 0));
            for watcher in order {
                measured.push((load, watcher, bench.turn(load, watcher)?));
            }
        }
    }
    report(args, &measured)
}

fn report(args: &Args, measured: &[(Load, Watcher, Turn)]) -> Result<()> {
    let mut report = Report::new(&format!("with a watcher and without, by turns; rounds: {}", args.rounds));
    for load in Load::ALL {
        let of_load = measured.iter().filter(|(of, ..)| *of == load);
        let without: Vec<f64> = of_load.map(|(.., turn)| turn.without_per_s).collect();
        report.row(&format!("{} without", load.rate()), Limit::None, &without)?;
        for watcher in Watcher::ALL {
            let turns = measured.iter().filter(|(of, by, _)| (*of, *by) == (load, watcher));
            let figures = |figure: fn(&Turn) -> f64| -> Vec<f64> {
                turns.clone().map(|(.., turn)| figure(turn)).collect()
            };
            let name = watcher.name();
            report.row(&format!("{} with {name}", load.rate()), Limit::None, &figures(|t| t.with_per_s))?;
            report.row(
                &format!("  of the {} without", load.rate()),
                limit(load, watcher),
                &figures(Turn::ratio),
            )?;
            report.row("  ns more each, on the load's processor", Limit::None, &figures(Turn::more_ns))?;
            report.row("  ns of the watcher's own each", Limit::None, &figures(|turn| turn.own_ns))?;
            report.row(
                "  of the rate without, on one processor",
                Limit::None,
                &figures(Turn::ratio_on_one),
            )?;
            report.row("  not seen, by its own count", Limit::None, &figures(|turn| turn.missed as f64))?;
        }
    }
    report.finish(args.no_limits)
}

/// The minimum ratio of the rate with a watcher to that without.
const fn limit(load: Load, watcher: Watcher) -> Limit {
    match (load, watcher) {
        (Load::Segments, Watcher::Tcptop) => Limit::AtLeast(0.92),
        (Load::Connections, Watcher::Tcptop) => Limit::AtLeast(0.93),
        (_, Watcher::Tcpdump) => Limit::None,
    }
}

/// The setup of all turns.
struct Bench {
    tcptop: PathBuf,
    time: Duration,
    load: Place,
    watcher: Place,
    /// Whether the watchers have another processor than the load.
    apart: bool,
}

impl Bench {
    fn new(args: &Args) -> Result<Self> {
        let processors = allowed().context("cannot tell on which processors this may run")?;
        // The first processor handles most interrupts.
        let (load, others) = processors.split_last().context("this runs on some processor")?;
        let apart = !others.is_empty();
        let watchers = if apart { others } else { &processors };
        println!(
            "load on processor {load}, watchers on {watchers:?}; rounds: {}, {} s each; offloads off",
            args.rounds, args.seconds
        );
        let (mut load, mut watcher) = (Place::on(&[*load])?, Place::on(watchers)?);
        let ahead = load.ahead(LOAD_PRIORITY);
        match thread::scope(|scope| scope.spawn(|| ahead.take()).join()) {
            Ok(Ok(())) => (load, watcher) = (ahead, watcher.ahead(WATCHER_PRIORITY)),
            Ok(Err(error)) => {
                eprintln!("bench: no real-time priority ({error}): what else runs here disturbs the figures");
            }
            Err(panic) => resume_unwind(panic),
        }
        let tcptop = lab::tcptop::binary()?;
        Ok(Self { tcptop, time: Duration::from_secs_f64(args.seconds), load, watcher, apart })
    }

    /// Runs one turn on new pairs, so that nothing is left over from the turn before. Costs that all interfaces of a
    /// host have as soon as one is watched are on both sides: a branch at the TCX hooks, and a timestamp per packet
    /// with tcpdump.
    fn turn(&self, load: Load, watcher: Watcher) -> Result<Turn> {
        let (bare, watched) = (Cable::new(false)?, Cable::new(false)?);
        let running = Running::start(watcher, &watched.near, &self.tcptop, &self.watcher)?;
        let [without, with] = load.run([&bare, &watched], &self.load, self.time)?;
        let totals = running.stop()?;
        check(watcher, &with, &totals).with_context(|| format!("{} did not watch", watcher.name()))?;
        Ok(Turn::new(&without, &with, &totals, self.apart))
    }
}

/// A watcher that is not attached costs nothing, so this checks that it saw all, except for what it counts as missed.
fn check(watcher: Watcher, run: &Run, totals: &Totals) -> Result<()> {
    let sees = |what: &str, seen: u64, all: u64| {
        ensure!(
            seen + totals.missed >= all,
            "it saw {seen} of {all} {what} and says that it missed {}",
            totals.missed
        );
        Ok(())
    };
    match watcher {
        Watcher::Tcptop => {
            sees("handshakes", totals.established, run.connections)?;
            // Until the congestion window has opened, several writes may share a segment.
            sees("data segments", totals.segments, run.writes / 10 * 9)
        }
        Watcher::Tcpdump => sees("packets", totals.segments, run.units),
    }
}

fn seconds(text: &str) -> Result<f64, String> {
    let seconds = text.parse::<f64>().ok().filter(|seconds| (0.05..=10.0).contains(seconds));
    seconds.ok_or_else(|| "must be a number from 0.05 to 10".to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_watcher_that_is_not_attached_is_found_out() {
        let run = Run { units: 90, s: 1.0, all_units: 100, connections: 100, writes: 0 };
        let totals = Totals { established: 98, segments: 90, missed: 2, own_ns: 0 };
        assert!(
            check(Watcher::Tcptop, &run, &totals).is_ok() && check(Watcher::Tcpdump, &run, &totals).is_ok()
        );
        assert!(check(Watcher::Tcptop, &Run { writes: 200, ..run }, &totals).is_err());
        for watcher in Watcher::ALL {
            let asleep = Totals { established: 97, segments: 87, ..totals };
            assert!(check(watcher, &run, &asleep).is_err(), "{watcher:?}");
        }
    }
}
