//! `cargo xtask screenshots`: draws pictures of the screen from a replay of a small capture.
//!
//! The capture is committed as well, and only written again if asked for.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use crate::shell;

/// The folder of the pictures and the capture.
const FOLDER: &str = "screenshots";
const CAPTURE: &str = "capture.pcap.gz";
/// Converts SVG to PNG, if it is installed.
const CONVERTER: &str = "rsvg-convert";

#[derive(clap::Args)]
pub(crate) struct Args {
    /// Fail if the pictures are out of date, instead of writing them
    #[arg(long, conflicts_with = "capture")]
    check: bool,

    /// Write the capture again, too
    #[arg(long)]
    capture: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let folder = shell::root().join(FOLDER);
    let capture = folder.join(CAPTURE);
    if args.capture {
        write_capture(&capture)?;
    }
    let fresh = if args.check { shell::target_dir()?.join(FOLDER) } else { folder.clone() };
    draw(&capture, &fresh)?;
    if args.check {
        return compare(&folder, &fresh);
    }
    to_png(&fresh)
}

fn write_capture(path: &Path) -> Result<()> {
    let write = ["run", "--quiet", "--package", "demo", "--bin", "screenshot-capture", "--"];
    shell::call(shell::cargo(write).arg(path))
}

/// Draws the pictures with tcptop's own view, in an example of its package.
fn draw(capture: &Path, folder: &Path) -> Result<()> {
    if folder.exists() {
        for old in pictures(folder, "svg")? {
            fs::remove_file(old)?;
        }
    }
    fs::create_dir_all(folder)?;
    let example = ["run", "--quiet", "--package", "tcptop", "--example", "screenshots", "--"];
    shell::call(shell::cargo(example).arg(capture).arg(folder))
}

/// All files with this extension, sorted.
fn pictures(folder: &Path, extension: &str) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    let mut files: Vec<PathBuf> =
        entries.map(|entry| entry.map(|entry| entry.path())).collect::<Result<_, _>>()?;
    files.retain(|file| file.extension().is_some_and(|found| found == extension));
    files.sort();
    Ok(files)
}

fn compare(committed: &Path, fresh: &Path) -> Result<()> {
    let names = |folder: &Path| -> Result<Vec<_>> {
        Ok(pictures(folder, "svg")?
            .iter()
            .filter_map(|file| file.file_name().map(ToOwned::to_owned))
            .collect())
    };
    let (old, new) = (names(committed)?, names(fresh)?);
    let mut stale: Vec<String> = Vec::new();
    for name in old.iter().chain(new.iter().filter(|name| !old.contains(name))) {
        let same = match (fs::read(committed.join(name)), fs::read(fresh.join(name))) {
            (Ok(old), Ok(new)) => old == new,
            _ => false,
        };
        if !same {
            stale.push(name.to_string_lossy().into_owned());
        }
    }
    if !stale.is_empty() {
        bail!("out of date: {}; `cargo xtask screenshots` makes them anew", stale.join(", "));
    }
    println!("screenshots: {} pictures are up to date", new.len());
    Ok(())
}

fn to_png(folder: &Path) -> Result<()> {
    let drawn = pictures(folder, "svg")?;
    let Some(converter) = shell::on_path(CONVERTER).into_iter().next() else {
        println!("screenshots: {} SVG; no PNG without {CONVERTER} (Debian's librsvg2-bin)", drawn.len());
        return Ok(());
    };
    for svg in &drawn {
        let png = svg.with_extension("png");
        shell::call(Command::new(&converter).arg("--zoom=1.5").arg(svg).arg("--output").arg(png))?;
    }
    println!("screenshots: {} SVG, and as many PNG", drawn.len());
    Ok(())
}
