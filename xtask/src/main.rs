//! The project's own commands: `cargo xtask` lists them.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use tool::Tool;

mod ci;
mod ebpf;
mod run;
mod screenshots;
mod shell;
mod test;
mod tool;

/// The project's own commands.
#[derive(Parser)]
#[command(name = "cargo xtask", bin_name = "cargo xtask", disable_help_subcommand = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Task>,
}

#[derive(Subcommand)]
enum Task {
    /// Build tcptop (release) and show it at work on a network of its own, as root
    Demo(tool::Args),
    /// Build tcptop and run every test, the end-to-end ones as root
    Test(test::Args),
    /// Compare tcptop with tcpdump and tshark, on captures made in network namespaces, as root
    Conform(tool::Args),
    /// Build tcptop (release) and run it as root
    Run(run::Args),
    /// Measure tcptop, and fail where it misses its limits
    Bench(tool::Args),
    /// Draw pictures of the screen, from a replay of a small capture, or check that they are up to date
    Screenshots(screenshots::Args),
    /// Everything that every change has to pass
    Ci,
    /// What takes longer or needs an idle machine: tests ten times, more seeds, benchmarks with their limits
    Nightly,
    /// Build the kernel object that is committed, or check that it comes from the committed source
    Ebpf(ebpf::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        None => Cli::command().print_help().map_err(Into::into),
        Some(Task::Demo(_)) => Tool::Demo.run(),
        Some(Task::Test(args)) => test::run(&args),
        Some(Task::Conform(_)) => Tool::Conform.run(),
        Some(Task::Run(args)) => run::run(&args),
        Some(Task::Bench(_)) => Tool::Bench.run(),
        Some(Task::Screenshots(args)) => screenshots::run(&args),
        Some(Task::Ci) => ci::ci(),
        Some(Task::Nightly) => ci::nightly(),
        Some(Task::Ebpf(args)) => ebpf::run(&args),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}
