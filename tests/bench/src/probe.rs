//! `cargo xtask bench probe`: what the kernel programs cost per packet, compared with an empty program.

mod cases;
mod chain;
mod programs;

use anyhow::Result;

use self::cases::{Case, SMALL};
use self::chain::Chain;
use self::programs::Programs;
use super::report::{Limit, Report};

/// The default of `--max-flows`.
const FLOWS: u32 = 65_536;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often everything is measured, in turns
    #[arg(long, value_name = "N", default_value_t = 9, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Measure only packets whose name contains this
    #[arg(long, value_name = "TEXT", default_value = "")]
    only: String,

    /// Measure only: do not fail if a limit is exceeded
    #[arg(long)]
    no_limits: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let (mut programs, mut small) = (Programs::load(FLOWS)?, Programs::load(SMALL)?);
    let mut cases = Case::all();
    cases.retain(|case| case.name.contains(&args.only));
    let mut chains = Chain::all(&mut programs)?;
    chains.retain(|chain| chain.name().contains(&args.only));
    let mut costs = vec![Vec::new(); cases.len() + chains.len()];
    let mut floors_ns = Vec::new();
    for round in 1..=args.rounds {
        eprintln!("bench: round {round} of {}", args.rounds);
        let measured = cases.iter().map(|case| case.measure(&mut programs, &mut small, round));
        for (costs_ns, measured) in costs.iter_mut().zip(measured.chain(chains.iter().map(Chain::measure))) {
            let (ours_ns, floor_ns) = measured?;
            costs_ns.push(ours_ns - floor_ns);
            floors_ns.push(floor_ns);
        }
    }
    let mut report = Report::new(&format!(
        "nanoseconds a packet, more than an empty program took in the same round; rounds: {}",
        args.rounds
    ));
    let names = cases.iter().map(|case| (case.name.to_owned(), case.limit));
    let names = names.chain(chains.iter().map(|chain| (chain.name(), Limit::None)));
    for ((name, limit), costs_ns) in names.zip(&costs) {
        report.row(&name, limit, costs_ns)?;
    }
    report.row("the empty program itself", Limit::None, &floors_ns)?;
    report.finish(args.no_limits)
}
