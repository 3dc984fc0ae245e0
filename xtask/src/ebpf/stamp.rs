//! The text file `BUILD` next to the committed object: its sources, toolchain and hash.

use std::fmt::{self, Display};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::toolchain::Toolchain;
use crate::shell;

/// The sources of the object; `lib.rs` of probe-ebpf is the host's side.
const SOURCES: &[&str] =
    &["probe-common/Cargo.toml", "probe-common/src", "probe-ebpf/Cargo.toml", "probe-ebpf/src"];
const NOT_SOURCES: &[&str] = &["probe-ebpf/src/lib.rs"];

#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stamp {
    rustc: String,
    linker: String,
    pub(super) sources: String,
    /// SHA-256 of the object, which `tcptop --version` shows.
    pub(super) sha256: String,
}

impl Stamp {
    /// The stamp of an object that this toolchain has built from these sources.
    pub(super) fn new(toolchain: &Toolchain, sources: &str, object: &Path) -> Result<Self> {
        Ok(Self {
            rustc: toolchain.rustc_version.clone(),
            linker: toolchain.linker_version.clone(),
            sources: sources.to_owned(),
            sha256: sha256(object)?,
        })
    }

    pub(super) fn parse(text: &str) -> Result<Self> {
        let field = |name: &str| {
            let value = text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
            value.map(str::to_owned).with_context(|| format!("the line `{name}: ...` is missing"))
        };
        Ok(Self {
            rustc: field("rustc")?,
            linker: field("bpf-linker")?,
            sources: field("sources")?,
            sha256: field("sha256")?,
        })
    }

    pub(super) fn toolchain(&self) -> String {
        format!("{} and {}", self.rustc, self.linker)
    }
}

impl Display for Stamp {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        writeln!(
            out,
            "# tcptop.bpf.o, as `cargo xtask ebpf` built it; `cargo xtask ebpf --check` compares."
        )?;
        writeln!(out, "rustc: {}", self.rustc)?;
        writeln!(out, "bpf-linker: {}", self.linker)?;
        writeln!(out, "sources: {}", self.sources)?;
        writeln!(out, "sha256: {}", self.sha256)
    }
}

pub(super) fn sha256(file: &Path) -> Result<String> {
    let output = shell::ask(Command::new("sha256sum").arg(file));
    let hash = output.as_deref().and_then(|output| output.split_whitespace().next());
    Ok(hash.with_context(|| format!("`sha256sum {}` fails", file.display()))?.to_owned())
}

/// A hash of everything that the object is built from: paths and bytes of the sources, versions of their crates, and
/// the profiles.
pub(super) fn hash_sources(root: &Path) -> Result<String> {
    let mut files = Vec::new();
    for source in SOURCES {
        collect(root, Path::new(source), &mut files)?;
    }
    files.retain(|file| !NOT_SOURCES.iter().any(|not| file == Path::new(not)));
    files.sort();

    let mut hash = Fnv::new();
    for file in &files {
        hash.part(file.to_string_lossy().as_bytes());
        hash.part(&read(root, file)?);
    }
    let lock = String::from_utf8(read(root, Path::new("Cargo.lock"))?).context("Cargo.lock is not UTF-8")?;
    for package in lock.split("\n\n").filter(|package| package.contains("name = \"aya-ebpf")) {
        hash.part(package.trim().as_bytes());
    }
    let manifest =
        String::from_utf8(read(root, Path::new("Cargo.toml"))?).context("Cargo.toml is not UTF-8")?;
    for line in profiles(&manifest) {
        hash.part(line.as_bytes());
    }
    Ok(format!("{:016x}", hash.0))
}

fn collect(root: &Path, path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let full = root.join(path);
    if !full.is_dir() {
        files.push(path.to_path_buf());
        return Ok(());
    }
    for entry in fs::read_dir(&full).with_context(|| format!("cannot read {}", full.display()))? {
        collect(root, &path.join(entry?.file_name()), files)?;
    }
    Ok(())
}

fn read(root: &Path, file: &Path) -> Result<Vec<u8>> {
    fs::read(root.join(file)).with_context(|| format!("cannot read {}", file.display()))
}

/// The lines of `[profile.release]` and of `[profile.bpf]`, which inherits it, without comments.
fn profiles(manifest: &str) -> impl Iterator<Item = &str> {
    let mut inside = false;
    manifest.lines().map(str::trim).filter(move |line| {
        if line.starts_with('[') {
            inside = matches!(*line, "[profile.release]" | "[profile.bpf]");
        }
        inside && !line.is_empty() && !line.starts_with('#')
    })
}

/// FNV-1a, which is enough to notice a change, and saves a dependency.
struct Fnv(u64);

impl Fnv {
    const fn new() -> Self {
        Self(0xcbf2_9ce4_8422_2325)
    }

    /// The length goes first, so that parts cannot run into each other.
    fn part(&mut self, bytes: &[u8]) {
        let length = (bytes.len() as u64).to_le_bytes();
        for byte in length.iter().chain(bytes) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# words\nrustc: rustc 1.96.0 (ac68)\nbpf-linker: bpf-linker 0.13.0\nsources: 00ff\nsha256: 12ab\n";

    #[test]
    fn a_stamp_survives_being_written() {
        let stamp = Stamp::parse(TEXT).unwrap();
        assert_eq!(stamp.rustc, "rustc 1.96.0 (ac68)");
        assert_eq!(stamp.linker, "bpf-linker 0.13.0");
        assert_eq!(Stamp::parse(&stamp.to_string()).unwrap(), stamp);
    }

    #[test]
    fn a_missing_line_is_named() {
        let error = Stamp::parse("rustc: 1\nsources: 2\n").unwrap_err();
        assert!(error.to_string().contains("bpf-linker"), "{error}");
    }

    #[test]
    fn parts_do_not_run_into_each_other() {
        let hash = |parts: &[&[u8]]| {
            let mut hash = Fnv::new();
            parts.iter().for_each(|part| hash.part(part));
            hash.0
        };
        assert_ne!(hash(&[b"ab", b"c"]), hash(&[b"a", b"bc"]));
    }

    #[test]
    fn only_the_profiles_in_use_count() {
        let manifest =
            "[profile.release]\nlto = 1\n\n# why\n[profile.dev]\nx = 1\n[profile.bpf]\ndebug = 2\n";
        let lines: Vec<_> = profiles(manifest).collect();
        assert_eq!(lines, ["[profile.release]", "lto = 1", "[profile.bpf]", "debug = 2"]);
    }
}
