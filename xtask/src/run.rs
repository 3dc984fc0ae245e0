//! `cargo xtask run`: runs a release build of tcptop as root.

use std::ffi::OsString;
use std::os::unix::process::CommandExt;
use std::process::Command;

use anyhow::{Result, anyhow};

use crate::shell;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Arguments for tcptop
    #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
    tcptop: Vec<OsString>,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let root = shell::is_root();
    if !root {
        shell::need_sudo("tcptop")?;
    }
    shell::call(&mut shell::cargo(["build", "--release", "--package", "tcptop"]))?;
    let tcptop = shell::target_dir()?.join("release/tcptop");

    let mut command = if root {
        Command::new(&tcptop)
    } else {
        let mut sudo = Command::new("sudo");
        sudo.arg(&tcptop);
        sudo
    };
    // Replaces this process, so that signals and the exit code are tcptop's own.
    let error = command.args(&args.tcptop).exec();
    Err(anyhow!(error).context(format!("cannot start {}", tcptop.display())))
}
