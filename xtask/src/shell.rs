//! Paths, and how other programs are run.

use std::env;
use std::ffi::OsString;
use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The workspace's root folder.
///
/// Determined at run time: with a shared target directory, the binary may have been built from another checkout.
pub(crate) fn root() -> PathBuf {
    let xtask = env::var_os("CARGO_MANIFEST_DIR").map(PathBuf::from);
    let xtask = xtask.unwrap_or_else(|| PathBuf::from(env!("CARGO_MANIFEST_DIR")));
    xtask.parent().map(Path::to_path_buf).unwrap_or_default()
}

/// The target directory, which this program was built into.
pub(crate) fn target_dir() -> Result<PathBuf> {
    let this = env::current_exe().context("cannot tell where xtask was built; is /proc mounted?")?;
    match this.parent().and_then(Path::parent) {
        Some(target) => Ok(target.to_path_buf()),
        None => bail!("{} is not in a target directory; start it by `cargo xtask`", this.display()),
    }
}

/// The cargo that runs this, in the workspace's root.
pub(crate) fn cargo<I>(args: I) -> Command
where
    I: IntoIterator,
    I::Item: Into<OsString>,
{
    let mut command = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(args.into_iter().map(Into::into)).current_dir(root());
    // A relative path is relative to the caller's folder, which the line above leaves.
    if let Some(target) = env::var_os("CARGO_TARGET_DIR").and_then(|dir| std::path::absolute(dir).ok()) {
        command.env("CARGO_TARGET_DIR", target);
    }
    command
}

/// Runs a command on this terminal; anything but success is an error.
pub(crate) fn call(command: &mut Command) -> Result<()> {
    let status = command.status().with_context(|| format!("cannot start {}", words(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", words(command));
    }
    Ok(())
}

/// Returns what a command prints on stdout, or `None` if it cannot be started or fails.
pub(crate) fn ask(command: &mut Command) -> Option<String> {
    let output = command.stdin(Stdio::null()).stderr(Stdio::null()).output().ok()?;
    if !output.status.success() {
        return None;
    }
    Some(String::from_utf8(output.stdout).ok()?.trim().to_owned())
}

/// All files of this name in the folders of `PATH`, in order.
pub(crate) fn on_path(name: &str) -> Vec<PathBuf> {
    let path = env::var_os("PATH").unwrap_or_default();
    let mut found: Vec<PathBuf> = Vec::new();
    for file in env::split_paths(&path).map(|folder| folder.join(name)).filter(|file| file.is_file()) {
        if !found.contains(&file) {
            found.push(file);
        }
    }
    found
}

/// Whether this process runs as root.
pub(crate) fn is_root() -> bool {
    // The owner of /proc/self is the effective user.
    fs::metadata("/proc/self").is_ok_and(|metadata| metadata.uid() == 0)
}

/// Checks for `sudo` before a long build.
pub(crate) fn need_sudo(what: &str) -> Result<()> {
    if on_path("sudo").is_empty() {
        bail!("{what} needs root, and there is no sudo here; run the same command as root");
    }
    Ok(())
}

/// Whether this runs in CI, where nothing may be skipped.
pub(crate) fn in_ci() -> bool {
    env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false" && value != "0")
}

fn words(command: &Command) -> String {
    let program = Path::new(command.get_program()).file_name().unwrap_or(command.get_program());
    let args = command.get_args().map(|arg| arg.to_string_lossy().into_owned());
    let all: Vec<String> = std::iter::once(program.to_string_lossy().into_owned()).chain(args).collect();
    format!("`{}`", all.join(" "))
}
