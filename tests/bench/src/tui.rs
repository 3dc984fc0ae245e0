//! `cargo xtask bench tui`: what the screen costs with very many flows.

use std::process::Command;

use anyhow::{Context, Result, ensure};

use super::program;
use super::report::{Limit, Report, count};
use crate::cargo;

/// Snapshots per second.
const RATE: f64 = 4.0;
/// Limit of the processor time for snapshots and frames, in percent of one processor.
const LIMIT_PERCENT: f64 = 5.0;
/// Limit of the bytes that a frame at 80x24 sends to the terminal on average.
const LIMIT_BYTES: f64 = 4_096.0;
/// The views, by the names that the example knows, and what they are.
const LOOKS: [(&str, &str); 9] = [
    ("first", "peers, worst first"),
    ("first-filtered", "peers, by a word and a figure"),
    ("hosts", "by host"),
    ("subnets", "by subnet"),
    ("services", "by service"),
    ("roles", "by role"),
    ("flows", "flows, newest first"),
    ("flows-slow", "flows, by a figure, slowest first"),
    ("flows-word", "flows, by a word, failed first"),
];

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each view is measured
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Number of flows
    #[arg(long, value_name = "N", default_value_t = 1_000_000)]
    flows: u64,

    /// Number of peers
    #[arg(long, value_name = "N", default_value_t = 10_000)]
    peers: u64,

    /// New connections per second
    #[arg(long, value_name = "N", default_value_t = 2_000)]
    new: u64,

    /// Snapshots per round
    #[arg(long, value_name = "N", default_value_t = 120, value_parser = clap::value_parser!(u64).range(1..))]
    frames: u64,

    /// Measure only: do not fail if a limit is exceeded
    #[arg(long)]
    no_limits: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let build = ["build", "--release", "--package", "tcptop", "--example", "frames"];
    let status = cargo(&build).status().context("cannot start cargo")?;
    ensure!(status.success(), "`cargo build` ended with {status}");
    let example = lab::tcptop::binary()?.with_file_name("examples").join("frames");
    let mut measured: Vec<Vec<Run>> = vec![Vec::new(); LOOKS.len()];
    for round in 1..=args.rounds {
        eprintln!("bench: round {round} of {}", args.rounds);
        for ((look, _), runs) in LOOKS.iter().zip(&mut measured) {
            let numbers = [args.flows, args.peers, args.new, args.frames].map(|number| number.to_string());
            let mut command = Command::new(&example);
            command.args(numbers).args(["80x24", look]);
            runs.push(Run::read(&program::observe(&mut command)?.last_line)?);
        }
    }
    report(args, &measured)
}

/// The result of one run, per snapshot on average.
#[derive(Clone, Copy, Debug, PartialEq)]
struct Run {
    flows: u64,
    peers: u64,
    snapshot_us: u64,
    draw_us: u64,
    bytes: u64,
}

impl Run {
    fn read(line: &str) -> Result<Self> {
        let words: Vec<&str> = line.split_whitespace().collect();
        let number = |name: &str| -> Result<u64> {
            let at = words.iter().position(|word| *word == name);
            let text = at.and_then(|at| words.get(at + 1));
            text.with_context(|| format!("no {name} in `{line}`"))?.parse().with_context(|| line.to_owned())
        };
        Ok(Self {
            flows: number("flows")?,
            peers: number("peers")?,
            snapshot_us: number("snapshot_us")?,
            draw_us: number("draw_us")?,
            bytes: number("bytes")?,
        })
    }

    /// Processor time, in percent of one processor.
    fn percent(&self) -> f64 {
        (self.snapshot_us + self.draw_us) as f64 * RATE / 1e4
    }
}

fn report(args: &Args, measured: &[Vec<Run>]) -> Result<()> {
    let any = measured.first().and_then(|runs| runs.first()).context("there is at least one round")?;
    // With fewer flows, the measurement would prove nothing.
    ensure!(any.flows == args.flows, "of {} flows {} are known", count(args.flows), count(any.flows));
    let mut report = Report::new(&format!(
        "{} flows, {} peers, {} new/s, {RATE} snapshots a second of 80x24, {} rounds of {}",
        count(args.flows),
        count(any.peers),
        count(args.new),
        args.rounds,
        args.frames
    ));
    for ((_, name), runs) in LOOKS.iter().zip(measured) {
        let mut row = |what: &str, limit, of: fn(&Run) -> f64| {
            report.row(&format!("{name}: {what}"), limit, &runs.iter().map(of).collect::<Vec<_>>())
        };
        row("ms a snapshot", Limit::None, |run| run.snapshot_us as f64 / 1e3)?;
        row("ms a frame", Limit::None, |run| run.draw_us as f64 / 1e3)?;
        row("% of a processor", Limit::AtMost(LIMIT_PERCENT), Run::percent)?;
        row("bytes a frame", Limit::AtMost(LIMIT_BYTES), |run| run.bytes as f64)?;
    }
    report.finish(args.no_limits)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_of_the_example_is_read() {
        let line = "flows 10 peers 2 table_us 9 snapshot_us 3000 snapshot_max_us 1 draw_us 500 draw_max_us 7 bytes 771";
        let run = Run::read(line).unwrap();
        assert_eq!(run, Run { flows: 10, peers: 2, snapshot_us: 3_000, draw_us: 500, bytes: 771 });
        assert!((run.percent() - 1.4).abs() < 1e-9);
        assert!(Run::read("flows 10 peers 2").is_err());
    }
}
