//! `cargo xtask bench table`: how many records a second user space takes, from the ring's bytes to the figures.
//!
//! The measuring is done by `cargo bench`'s own program, which is built as tcptop is: this may be a debug build.

use std::io::{BufRead, BufReader};
use std::process::Stdio;

use anyhow::{Context, Result, bail, ensure};

use super::stats::{Spread, count};
use crate::cargo;

/// At so many flows there is a limit: the least records in a second of one processor's time.
const LIMIT: (u64, f64) = (65_536, 2_000_000.0);

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each number of flows is measured, in turns
    #[arg(long, value_name = "N", default_value_t = 15, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Only measure: a rate below its limit is no failure
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
    print(&measured, args)
}

/// A line of the program that measures: flows, and records in a second.
fn parse(line: &str) -> Option<(u64, f64)> {
    let (flows, per_s) = line.split_once(' ')?;
    Some((flows.parse().ok()?, per_s.parse().ok()?))
}

fn print(measured: &[(u64, Vec<f64>)], args: &Args) -> Result<()> {
    println!("records in a second of one processor: decoded, taken into the table, their events handed on");
    println!("rounds, in turns: {}", args.rounds);
    println!("{:>12}{:>12}{:>12}{:>24}", "flows", "limit", "median", "min - max");
    let mut missed = None;
    for (flows, all) in measured {
        let rate = Spread::of(all).context("there is at least one round")?;
        let limit = Some(LIMIT.1).filter(|_| *flows == LIMIT.0);
        let is_missed = limit.is_some_and(|limit| rate.median < limit);
        println!(
            "{:>12}{:>12}{:>12}{:>24}{}",
            count(*flows),
            limit.map_or("-".to_owned(), millions),
            millions(rate.median),
            format!("{} - {}", millions(rate.min), millions(rate.max)),
            if is_missed { "  below" } else { "" }
        );
        missed = missed.or(Some(rate.median).filter(|_| is_missed));
    }
    match missed {
        Some(rate) if !args.no_limits => bail!(
            "{} records a second at {} flows, below the limit of {}",
            millions(rate),
            count(LIMIT.0),
            millions(LIMIT.1)
        ),
        _ => Ok(()),
    }
}

/// `2.41 M`.
fn millions(per_s: f64) -> String {
    format!("{:.2} M", per_s / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(per_s: &[f64], no_limits: bool) -> Result<()> {
        print(&[(1_000, vec![1.0]), (65_536, per_s.to_vec())], &Args { rounds: 3, no_limits })
    }

    #[test]
    fn the_limit_is_for_the_middle_of_the_rounds() {
        assert!(at(&[1.0, 2e6, 3e6], false).is_ok());
        assert!(at(&[1.0, 1.9e6, 3e6], false).is_err());
        assert!(at(&[1.0, 1.9e6, 3e6], true).is_ok());
    }

    #[test]
    fn a_line_is_flows_and_a_rate() {
        assert_eq!(parse("65536 2412345"), Some((65_536, 2_412_345.0)));
        assert_eq!(parse("Benchmarking"), None);
    }
}
