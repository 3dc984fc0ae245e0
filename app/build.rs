//! Puts into `tcptop --version` what this is built from: the commit, where there is one, and the kernel object.
//!
//! No time, host or path goes in, so that the same source gives the same bytes.

use std::env;
use std::fs;
use std::path::Path;
use std::process::Command;

use probe_ebpf::BUILD;

/// Digits of a hash that tell one build from another.
const DIGITS: usize = 12;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=TCPTOP_COMMIT");
    let object = BUILD.lines().find_map(|line| line.strip_prefix("sha256: ")).expect("it has a hash");
    // Debug builds have none: each commit would build them anew.
    let is_release = env::var("PROFILE").is_ok_and(|profile| profile == "release");
    let commit = env::var("TCPTOP_COMMIT").ok().or_else(|| if is_release { commit() } else { None });
    let commit = commit.and_then(|commit| Some(format!(" ({})", commit.get(..DIGITS)?))).unwrap_or_default();
    println!("cargo::rustc-env=TCPTOP_VERSION={}{commit}", env!("CARGO_PKG_VERSION"));
    println!("cargo::rustc-env=TCPTOP_OBJECT={}", &object[..DIGITS]);
}

/// The commit of this workspace. A source archive has none, even where it was unpacked into another repository.
fn commit() -> Option<String> {
    let folder = git(&["rev-parse", "--show-toplevel"])?;
    if fs::canonicalize(folder).ok()? != fs::canonicalize("..").ok()? {
        return None;
    }
    // It changes with every commit and checkout. Cargo would build anew each time if it was not there.
    let log = git(&["rev-parse", "--git-path", "logs/HEAD"]).filter(|log| Path::new(log).exists());
    if let Some(log) = log {
        println!("cargo::rerun-if-changed={log}");
    }
    git(&["rev-parse", "HEAD"])
}

fn git(arguments: &[&str]) -> Option<String> {
    let output = Command::new("git").args(arguments).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
