//! `cargo xtask bench`: tcptop measured against its limits.

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

/// Measure tcptop, and fail where it misses its limits
#[derive(Parser)]
#[command(name = "bench", bin_name = "cargo xtask bench", disable_help_subcommand = true)]
struct Args {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Send packets and open connections with and without tcptop and tcpdump on the interface, in turns, as root
    Host(host::Args),
    /// Show the kernel programs packets of every kind, and what they cost each
    Probe(probe::Args),
    /// Read the same capture by `tcptop replay` and by `tshark -z conv,tcp`, in turns
    Replay(replay::Args),
    /// Take and draw the screen's pictures while a million flows are known
    Tui(tui::Args),
    /// Let the kernel programs make records as fast as limits ask, and see what tcptop makes of them, as root
    Ring(ring::Args),
    /// Hand records to the table, with few, many and very many flows
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

/// The cargo that built this, in the caller's folder, which is in the workspace.
fn cargo(arguments: &[&str]) -> Command {
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| OsString::from("cargo")));
    command.args(arguments);
    command
}
