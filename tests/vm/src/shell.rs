//! How other programs are run.

use std::path::PathBuf;
use std::process::Command;

use anyhow::{Context, Result, ensure};

/// What a command prints on standard output.
pub(crate) fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {command:?}"))?;
    let said = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "{command:?} ends with {}: {said}", output.status);
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

/// A program of this name.
pub(crate) fn on_path(name: &str) -> Option<PathBuf> {
    let folders = std::env::var_os("PATH")?;
    let sbin = ["/usr/sbin", "/sbin"].map(PathBuf::from);
    let mut paths = std::env::split_paths(&folders).chain(sbin).map(|folder| folder.join(name));
    paths.find(|path| path.is_file())
}
