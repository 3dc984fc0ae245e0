//! Builds what is installed: `cargo xtask dist`.
//!
//! The same source gives the same bytes, in whatever folder: paths are remapped, and times are those of the commit.

mod binary;
mod completions;
mod manual;
mod package;
mod sbom;
mod source;
mod tree;

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode};

use anyhow::{Context, Result, bail};
use clap::Parser;

use binary::Target;
use source::Source;

/// Builds static binaries, packages, a bill of materials and checksums.
#[derive(Parser)]
#[command(name = "cargo xtask dist")]
struct Cli {
    /// Processors to build for [default: all]
    #[arg(value_enum)]
    targets: Vec<Target>,

    /// Folder for the result [default: packages in the target directory]
    #[arg(long)]
    out: Option<PathBuf>,

    /// Write only the man page and the completions
    #[arg(long)]
    documents: bool,
}

fn main() -> ExitCode {
    match run(&Cli::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("dist: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run(cli: &Cli) -> Result<()> {
    let source = Source::new()?;
    let out = cli.out.clone().unwrap_or_else(|| source.target.join("packages"));
    fs::create_dir_all(&out).with_context(|| format!("cannot make {}", out.display()))?;
    if cli.documents {
        return tree::documents(&out, &source);
    }
    let all = [Target::X86_64, Target::Aarch64];
    let targets = if cli.targets.is_empty() { &all[..] } else { &cli.targets };
    let mut files = vec![sbom::write(&source, &out)?];
    for target in targets {
        let binary = target.build(&source)?;
        let tree = out.join("tree").join(target.name());
        tree::lay(&tree, &binary, &source)?;
        files.push(tree::archive(&tree, &out, *target, &source)?);
        files.extend(package::pack(&tree, &out, *target, &source)?);
    }
    checksums(&out, &files)
}

/// Writes `SHA256SUMS`, which `sha256sum --check` reads.
fn checksums(out: &Path, files: &[PathBuf]) -> Result<()> {
    let mut names = Vec::new();
    for file in files {
        names.push(file.file_name().context("a file without a name")?);
    }
    names.sort_unstable();
    let sums = output(Command::new("sha256sum").args(names).current_dir(out))?;
    print!("{sums}");
    fs::write(out.join("SHA256SUMS"), sums).context("cannot write the checksums")
}

/// What a command prints.
fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command.output().with_context(|| format!("cannot start {name}"))?;
    if !output.status.success() {
        bail!("{name} ended with {}: {}", output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("{name} printed no text"))
}

/// Runs a command; anything but success is an error.
fn call(command: &mut Command) -> Result<()> {
    let name = command.get_program().to_string_lossy().into_owned();
    let status = command.status().with_context(|| format!("cannot start {name}"))?;
    if status.success() { Ok(()) } else { bail!("{name} ended with {status}") }
}
