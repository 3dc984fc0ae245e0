//! `cargo xtask bench table`: how many records per second user space handles, from the ring's bytes to the figures.
//!
//! A `cargo bench` target measures, because it is built with optimizations, like tcptop; this may be a debug build.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, ensure};

use super::report::{Limit, Report, count};
use crate::cargo;

/// The number of flows with a limit, and the minimum records per second of processor time.
const LIMIT: (u64, f64) = (65_536, 2_000_000.0);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each number of flows is measured, in turns
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Measure only: do not fail if a limit is exceeded
    #[arg(long)]
    no_limits: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let rounds = args.rounds.to_string();
    let words = ["bench", "--package", "tcptop", "--bench", "records", "--", "--rounds", &rounds];
    let mut child = cargo(&words).stdout(Stdio::piped()).spawn().context("cannot start cargo")?;
    let output = child.stdout.take().context("the output is piped")?;
    let mut measured: Vec<(u64, Vec<f64>)> = Vec::new();
    for line in BufReader::new(output).lines() {
        let line = line?;
        let (flows, per_s) = parse(&line).with_context(|| format!("no figure: {line}"))?;
        match measured.iter_mut().find(|(known, _)| *known == flows) {
            Some((_, all)) => all.push(per_s),
            None => measured.push((flows, vec![per_s])),
        }
    }
    let status = child.wait()?;
    ensure!(status.success(), "`cargo bench` ended with {status}");
    let mut report = Report::new(&format!(
        "records in a second of one processor: decoded, taken into the table, their events handed on; rounds: {}",
        args.rounds
    ));
    for (flows, all) in &measured {
        let limit = if *flows == LIMIT.0 { Limit::AtLeast(LIMIT.1) } else { Limit::None };
        report.row(&format!("with {} flows", count(*flows)), limit, all)?;
    }
    report.finish(args.no_limits)
}

/// Parses a line of the bench target: flows and records per second.
fn parse(line: &str) -> Option<(u64, f64)> {
    let (flows, per_s) = line.split_once(' ')?;
    Some((flows.parse().ok()?, per_s.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_is_flows_and_a_rate() {
        assert_eq!(parse("65536 2412345"), Some((65_536, 2_412_345.0)));
        assert_eq!(parse("Benchmarking"), None);
    }
}
