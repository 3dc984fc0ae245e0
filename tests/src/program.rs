//! What the programs of the lab have in common: the comparison, the benchmarks and the demo.

use std::env;
use std::fs;
use std::process::ExitCode;

use anyhow::{Context, Result, bail};
use nix::sys::prctl::set_pdeathsig;
use nix::sys::signal::Signal;
use nix::unistd::getppid;

/// Runs a program of the lab; what went wrong goes to standard error, in one line.
pub fn run(main: impl FnOnce() -> Result<()>) -> ExitCode {
    match end_with_sudo().and_then(|()| main()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

/// Nobody but root could end this from outside once sudo is gone.
fn end_with_sudo() -> Result<()> {
    let parent = fs::read_to_string(format!("/proc/{}/comm", getppid())).unwrap_or_default();
    if parent.trim_end() == "sudo" {
        set_pdeathsig(Signal::SIGTERM).context("cannot ask the kernel for a signal")?;
    }
    Ok(())
}

/// Checks that other programs are installed.
///
/// # Errors
/// Names those that are not on `PATH`, and how to get them.
pub fn require(programs: &[&str]) -> Result<()> {
    let path = env::var_os("PATH").unwrap_or_default();
    let installed = |program: &&&str| env::split_paths(&path).any(|folder| folder.join(program).is_file());
    let missing: Vec<&str> = programs.iter().filter(|program| !installed(program)).copied().collect();
    if !missing.is_empty() {
        let names = missing.join(" ");
        bail!("missing: {names}; get it by: apt-get install --no-install-recommends {names}");
    }
    Ok(())
}
