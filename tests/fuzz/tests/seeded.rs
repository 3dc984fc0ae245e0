//! Every target, a fixed number of times: what CI runs. `TCPTOP_FUZZ_EXECUTIONS` asks for another number,
//! `TCPTOP_FUZZ_SEED` for other inputs.

use std::env;

use fuzz::{CAPTURE, FILTER, PACKETS, RECORD, TARGETS, Target, runner};

const SEED: u64 = 0x7c97_0f22;

fn asked<T: std::str::FromStr>(name: &str) -> Option<T> {
    env::var(name).ok().map(|text| text.parse().unwrap_or_else(|_| panic!("{name}: {text} is no number")))
}

fn run(target: &Target) {
    let executions = asked("TCPTOP_FUZZ_EXECUTIONS").unwrap_or(target.executions);
    runner::run(target, executions, asked("TCPTOP_FUZZ_SEED").unwrap_or(SEED));
}

#[test]
fn packets() {
    run(&PACKETS);
}

#[test]
fn captures() {
    run(&CAPTURE);
}

#[test]
fn filters() {
    run(&FILTER);
}

#[test]
fn records() {
    run(&RECORD);
}

/// Inputs that failed once.
#[test]
fn regressions() {
    for target in TARGETS {
        let count = runner::run_regressions(&target).expect("a folder of this crate");
        eprintln!("{}: {count} inputs", target.name);
    }
}
