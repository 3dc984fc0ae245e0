//! `cargo xtask test`: runs all tests of the workspace, as root where they need it.

use std::ffi::OsString;
use std::process::Command;

use anyhow::{Context, Result};

use crate::shell;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments for `cargo test`, such as the name of one test
    #[arg(last = true)]
    cargo: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let mut test = command(["--workspace"])?;
    // The end-to-end tests start the binary, which `cargo test` builds only for its own package.
    shell::call(&mut shell::cargo(["build", "--package", "tcptop"]))?;
    shell::call(test.args(&args.cargo))
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
