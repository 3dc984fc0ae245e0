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
    /// Build tcptop (release) and run it on a network of its own, with problems to find, as root
    Demo(tool::Args),
    /// Build tcptop and run all tests, as root where they need it
    Test(test::Args),
    /// Let a real Prometheus see a wire in trouble, and each alert fire and clear, as root
    Chaos(tool::Args),
    /// Compare tcptop with tcpdump and tshark, on captures made in network namespaces, as root
    Conform(tool::Args),
    /// Build tcptop (release) and run it as root
    Run(run::Args),
    /// Run tests of the kernel side on other kernels, emulated by QEMU
    Vm(tool::Args),
    /// Measure tcptop, and fail if it exceeds its limits
    Bench(tool::Args),
    /// Draw the screenshots from a small capture, or check that they are up to date
    Screenshots(screenshots::Args),
    /// Build what is installed: static binaries, packages, man page, completions
    Dist(tool::Args),
    /// Run everything that a change has to pass
    Ci,
    /// Run what takes longer or needs an idle machine: tests ten times, more seeds, benchmarks with limits
    Nightly,
    /// Build the committed kernel object, or check that it comes from the committed source
    Ebpf(ebpf::Args),
}

fn main() -> ExitCode {
    let result = match Cli::parse().command {
        None => Cli::command().print_help().map_err(Into::into),
        Some(Task::Demo(_)) => Tool::Demo.run(),
        Some(Task::Test(args)) => test::run(&args),
        Some(Task::Chaos(_)) => Tool::Chaos.run(),
        Some(Task::Conform(_)) => Tool::Conform.run(),
        Some(Task::Run(args)) => run::run(&args),
        Some(Task::Vm(_)) => Tool::Vm.run(),
        Some(Task::Bench(_)) => Tool::Bench.run(),
        Some(Task::Screenshots(args)) => screenshots::run(&args),
        Some(Task::Dist(_)) => Tool::Dist.run(),
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
