//! `cargo xtask bench`: measures tcptop against its limits.

use std::env;
use std::ffi::OsString;
use std::process::{Command, ExitCode};

use clap::{Parser, Subcommand};

mod conversation;
mod host;
mod probe;
mod program;
mod replay;
mod report;
mod ring;
mod table;
mod traffic;
mod tui;

/// Measure tcptop, and fail if it exceeds its limits
#[derive(Parser)]
#[command(name = "bench", bin_name = "cargo xtask bench", disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Measure how much slower a host's traffic is with tcptop, and with tcpdump, on the interface, as root
    Host(host::Args),
    /// Measure the cost of the kernel programs per kind of packet, as root
    Probe(probe::Args),
    /// Compare the speed of `tcptop replay` with that of `tshark -z conv,tcp`
    Replay(replay::Args),
    /// Measure snapshots and frames of the screen with a million flows
    Tui(tui::Args),
    /// Measure missed records, wake-ups and latency of a running tcptop under a storm of records, as root
    Ring(ring::Args),
    /// Measure how many records per second user space handles
    Table(table::Args),
}

fn main() -> ExitCode {
    let args = Args::parse();
    lab::program::run(|| match &args.bench {
        Bench::Host(args) => host::run(args),
        Bench::Probe(args) => probe::run(args),
        Bench::Replay(args) => replay::run(args),
        Bench::Tui(args) => tui::run(args),
        Bench::Ring(args) => ring::run(args),
        Bench::Table(args) => table::run(args),
    })
}

/// The cargo that built this, in the current directory, which is in the workspace.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.args(arguments);
    command
}
