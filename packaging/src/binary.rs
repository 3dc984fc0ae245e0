//! The static binary for one kind of processor.

use std::env;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};
use clap::ValueEnum;

use crate::call;
use crate::source::Source;

/// The largest that a binary may be, in bytes: it is copied over slow lines to hosts in trouble.
const LIMIT: u64 = 5_000_000;

/// A kind of processor.
#[derive(Clone, Copy, ValueEnum)]
pub(crate) enum Target {
    #[value(name = "x86_64")]
    X86_64,
    #[value(name = "aarch64")]
    Aarch64,
}

impl Target {
    /// As the kernel names it (`uname -m`).
    pub(crate) const fn name(self) -> &'static str {
        match self {
            Self::X86_64 => "x86_64",
            Self::Aarch64 => "aarch64",
        }
    }

    /// As Debian names it.
    pub(crate) const fn debian(self) -> &'static str {
        match self {
            Self::X86_64 => "amd64",
            Self::Aarch64 => "arm64",
        }
    }

    fn triple(self) -> String {
        format!("{}-unknown-linux-musl", self.name())
    }

    /// Builds it: static, so that it runs whatever C library the host has, or none.
    pub(crate) fn build(self, source: &Source) -> Result<PathBuf> {
        let triple = self.triple();
        let mut cargo = Command::new(env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
        cargo.args([
            "build",
            "--locked",
            "--package",
            "tcptop",
            "--bin",
            "tcptop",
            "--profile",
            "dist",
            "--target",
            &triple,
        ]);
        cargo.current_dir(&source.root).env("CARGO_TARGET_DIR", &source.target);
        cargo.env("CARGO_ENCODED_RUSTFLAGS", remapped(&source.root)?);
        if matches!(self, Self::Aarch64) {
            cargo.env("CARGO_TARGET_AARCH64_UNKNOWN_LINUX_MUSL_LINKER", "rust-lld");
        }
        call(&mut cargo)
            .with_context(|| format!("cannot build for {triple}: `rustup target add {triple}`?"))?;
        let binary = source.target.join(&triple).join("dist").join("tcptop");
        let size = binary.metadata().with_context(|| format!("no {}", binary.display()))?.len();
        if size > LIMIT {
            bail!("the binary for {triple} has {size} bytes; {LIMIT} is the limit");
        }
        Ok(binary)
    }
}

/// Flags that keep the paths of this machine out of the binary, as cargo takes them.
fn remapped(root: &Path) -> Result<String> {
    let home = env::var_os("HOME").map(PathBuf::from);
    let cargo = env::var_os("CARGO_HOME").map(PathBuf::from).or_else(|| home.map(|home| home.join(".cargo")));
    let cargo = cargo.context("neither CARGO_HOME nor HOME is set")?;
    let remap = |from: &Path, to: &str| format!("--remap-path-prefix={}={to}", from.display());
    Ok([remap(root, "/tcptop"), remap(&cargo, "/cargo")].join("\u{1f}"))
}
