//! Writes the capture that the screenshots are made from.

use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context, Result};
use clap::Parser;
use flate2::{Compression, GzBuilder};
use lab::capture::Format;

mod connection;
mod peers;

/// Write the capture that the screenshots are made from
#[derive(Parser)]
#[command(name = "screenshot-capture")]
struct Args {
    /// The file to write, compressed
    file: PathBuf,
}

fn main() -> ExitCode {
    let args = Args::parse();
    lab::program::run(|| write(&args).with_context(|| format!("cannot write {}", args.file.display())))
}

/// Without time and name in the header, so that the bytes are the same every time.
fn write(args: &Args) -> Result<()> {
    let mut gzip = GzBuilder::new().mtime(0).write(File::create(&args.file)?, Compression::best());
    gzip.write_all(&Format::USUAL.pcap(&peers::packets()))?;
    gzip.finish()?;
    Ok(())
}
