//! Runs tests of the lab on other kernels, emulated by QEMU: the verifier's budget, headers outside the linear area, and live
//! figures against those of a capture, on loopback and a cable, IPv4 and IPv6.

mod guest;
mod kernel;
mod shell;

use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use clap::Parser;
use serde_json::Value;

use crate::guest::Guest;
use crate::kernel::Kernel;

/// The tests, and which of them, by names that the harness filters by. What depends on how fast a machine is has no place here.
const TESTS: [(&str, &[&str]); 2] =
    [("probe", &["verifiers_budget", "outside_the_linear_area"]), ("kernels", &[])];

/// Run tests of the kernel side on other kernels, emulated by QEMU
#[derive(Parser)]
#[command(name = "cargo xtask vm", bin_name = "cargo xtask vm")]
struct Args {
    /// Kernels: versions that Debian has, or paths of a bzImage or of a folder with vmlinuz and lib/modules
    #[arg(long = "kernel", value_name = "NAME", num_args = 1.., default_values = ["6.1", "6.12"])]
    kernels: Vec<String>,
    /// Until a kernel is given up, in seconds
    #[arg(long, value_name = "SECONDS", default_value = "600")]
    patience: u64,
}

fn main() -> ExitCode {
    match run(&Args::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(args: &Args) -> Result<()> {
    let this = std::env::current_exe().context("cannot tell where this was built; is /proc mounted?")?;
    let debug = this.parent().context("it is in a folder")?;
    let folder = debug.parent().context("it is in a target folder")?.join("vm");
    let mut programs = tests()?;
    programs.push(debug.join("tcptop"));
    programs.push(shell::on_path("tcpdump").context("tcpdump is not installed")?);
    for name in &args.kernels {
        let begin = Instant::now();
        let kernel = Kernel::find(name, &folder)?;
        let guest = Guest { kernel: &kernel, programs: &programs, folder: &folder };
        println!("==> {name}");
        let is_passed = guest.run(&script(&programs), Duration::from_secs(args.patience))?;
        ensure!(is_passed, "the tests fail on {name}");
        println!("<== {name}: {:.0} s", begin.elapsed().as_secs_f32());
    }
    Ok(())
}

/// What the guest runs: as `sh` reads it. It ends with the first test that fails.
fn script(programs: &[PathBuf]) -> String {
    let mut script = String::from("uname -r; export TCPTOP_BIN=/bin/tcptop; set -e\n");
    for ((_, filters), program) in TESTS.iter().zip(programs) {
        script += &format!("{} --test-threads=1 {}\n", name_of(program), filters.join(" "));
    }
    script
}

fn name_of(program: &Path) -> String {
    program.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default()
}

/// Builds the tests, and gives their programs in the order of [`TESTS`].
fn tests() -> Result<Vec<PathBuf>> {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    cargo.args(["test", "--quiet", "--package", "lab", "--no-run", "--message-format=json"]);
    cargo.args(TESTS.iter().flat_map(|(test, _)| ["--test", test]));
    let said = shell::output(&mut cargo)?;
    let messages: Vec<Value> = said.lines().filter_map(|line| serde_json::from_str(line).ok()).collect();
    let program = |test: &str| {
        let of_test = messages
            .iter()
            .find(|message| message["target"]["name"] == test && message["executable"].is_string());
        let path = of_test.and_then(|message| message["executable"].as_str()).map(PathBuf::from);
        path.with_context(|| format!("cargo names no program of the test {test}"))
    };
    TESTS.iter().map(|(test, _)| program(test)).collect()
}
