//! `cargo xtask test`: runs all tests of the workspace, as root where they need it.

use std::ffi::OsString;
use std::io::{BufRead, BufReader};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

use crate::shell;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Run a test program that fails once more, by itself, and name it: for machines that others use, too
    #[arg(long)]
    twice: bool,
    /// Arguments for `cargo test`, such as the name of one test
    #[arg(last = true)]
    cargo: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut test = command(["--workspace"])?;
    // The end-to-end tests start the binary, which `cargo test` builds only for its own package.
    shell::call(&mut shell::cargo(["build", "--package", "tcptop"]))?;
    if args.twice {
        twice(test.arg("--no-fail-fast").args(&args.cargo))
    } else {
        shell::call(test.args(&args.cargo))
    }
}

/// Runs all tests, then the programs that failed once more, one by one. What fails twice is an error; what passes then
/// is named, because a test that fails now and then is to be mended, too.
fn twice(test: &mut Command) -> Result<()> {
    let failed = failed_programs(test)?;
    for program in &failed {
        println!("once more: cargo test {program}");
        shell::call(command(["--quiet"])?.args(program.split(' ')))
            .with_context(|| format!("`{program}` fails twice"))?;
    }
    if !failed.is_empty() {
        println!("passed only when run once more: {}", failed.join(", "));
    }
    Ok(())
}

/// Runs `cargo test --no-fail-fast` and returns the arguments by which cargo names each test program that failed.
fn failed_programs(test: &mut Command) -> Result<Vec<String>> {
    let mut child = test.stderr(Stdio::piped()).spawn().context("cannot start `cargo test`")?;
    let stderr = child.stderr.take().context("`cargo test` has no stderr")?;
    let mut failed = Vec::new();
    let mut in_list = false;
    for line in BufReader::new(stderr).lines() {
        let line = line.context("cannot read what `cargo test` writes")?;
        eprintln!("{line}");
        in_list |= line.starts_with("error: ") && line.contains("failed:");
        let named = line.strip_prefix("    `").and_then(|line| line.strip_suffix('`'));
        failed.extend(named.filter(|_| in_list).map(str::to_owned));
    }
    let status = child.wait().context("cannot wait for `cargo test`")?;
    if !status.success() && failed.is_empty() {
        bail!("`cargo test` ended with {status}, and names no test program that failed");
    }
    Ok(failed)
}

/// `cargo test` with its test programs run by sudo, so that only they run as root and build artifacts belong to the
/// user.
pub(crate) fn command<const N: usize>(args: [&str; N]) -> Result<Command> {
    let mut test = shell::cargo(["test"]);
    test.args(args);
    if !shell::is_root() {
        shell::need_sudo("attaching to the kernel in the tests")?;
        test.env(runner_variable()?, "sudo -E");
    }
    Ok(test)
}

fn runner_variable() -> Result<String> {
    let version = shell::ask(Command::new("rustc").arg("-vV"));
    let version = version.context("cannot run `rustc -vV`; is Rust on PATH?")?;
    let host = version.lines().find_map(|line| line.strip_prefix("host: "));
    let host = host.context("`rustc -vV` names no host")?;
    Ok(format!("CARGO_TARGET_{}_RUNNER", host.to_uppercase().replace('-', "_")))
}
