//! `cargo xtask bench probe`: what the kernel programs cost a packet, more than a program that does nothing.

mod cases;
mod chain;
mod programs;

use anyhow::{Result, bail};

use self::cases::{Case, SMALL};
use self::chain::Chain;
use self::programs::Programs;
use super::stats::Spread;

/// As many flows as tcptop remembers when it is not asked for another number.
const FLOWS: u32 = 65_536;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often everything is measured, in turns
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Only packets whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,

    /// Only measure: what costs more than its limit is no failure
    #[arg(long)]
    no_limits: bool,
}

/// What one kind of packet costs.
struct Row {
    name: String,
    limit_ns: Option<f64>,
    /// More than the empty program took, each round.
    costs_ns: Vec<f64>,
    /// What the empty program took.
    floors_ns: Vec<f64>,
}

impl Row {
    fn new(name: &str, limit_ns: Option<f64>) -> Self {
        Self { name: name.to_owned(), limit_ns, costs_ns: Vec::new(), floors_ns: Vec::new() }
    }

    fn add(&mut self, (ours_ns, floor_ns): (f64, f64)) {
        self.costs_ns.push(ours_ns - floor_ns);
        self.floors_ns.push(floor_ns);
    }
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let (mut programs, mut small) = (Programs::load(FLOWS)?, Programs::load(SMALL)?);
    let mut cases = Case::all();
    cases.retain(|case| case.name.contains(&args.only));
    let mut chains = Chain::all(&mut programs)?;
    chains.retain(|chain| chain.name().contains(&args.only));
    let mut rows: Vec<_> = cases.iter().map(|case| Row::new(case.name, case.limit_ns)).collect();
    let mut live: Vec<_> = chains.iter().map(|chain| Row::new(&chain.name(), None)).collect();
    for round in 1..=args.rounds {
        eprintln!("bench: round {round} of {}", args.rounds);
        for (case, row) in cases.iter().zip(&mut rows) {
            row.add(case.measure(&mut programs, &mut small, round)?);
        }
        for (chain, row) in chains.iter().zip(&mut live) {
            row.add(chain.measure()?);
        }
    }
    rows.append(&mut live);
    let too_dear = print(&rows, args.rounds);
    if !args.no_limits && !too_dear.is_empty() {
        bail!("above the limit: {}", too_dear.join(", "));
    }
    Ok(())
}

/// Prints the table; gives what is above its limit.
fn print(rows: &[Row], rounds: u32) -> Vec<&str> {
    println!("nanoseconds a packet, more than an empty program took in the same round; rounds: {rounds}");
    println!("{:<44}{:>8}{:>8}{:>16}{:>8}", "", "limit", "median", "min - max", "empty");
    let mut too_dear = Vec::new();
    for row in rows {
        let (Some(cost), Some(floor)) = (Spread::of(&row.costs_ns), Spread::of(&row.floors_ns)) else {
            continue;
        };
        let is_too_dear = row.limit_ns.is_some_and(|limit_ns| cost.median > limit_ns);
        if is_too_dear {
            too_dear.push(row.name.as_str());
        }
        println!(
            "{:<44}{:>8}{:>8.1}{:>16}{:>8.1}{}",
            row.name,
            row.limit_ns.map_or("-".to_owned(), |limit_ns| format!("{limit_ns:.0}")),
            cost.median,
            format!("{:.1} - {:.1}", cost.min, cost.max),
            floor.median,
            if is_too_dear { "  above" } else { "" }
        );
    }
    too_dear
}
