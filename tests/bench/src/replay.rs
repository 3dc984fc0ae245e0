//! `cargo xtask bench replay`: compares how fast tcptop and tshark read the same capture, in turns.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, ensure};
use lab::Object;

use super::program;
use super::report::{Limit, Report, count};
use super::traffic::{self, Contents};

/// The minimum speed of tcptop, as a multiple of tshark's.
const LIMIT: f64 = 20.0;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each program reads the capture
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Packets in the capture
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    packets: u64,

    /// Seed for the contents of the capture
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Measure only: do not fail if a limit is exceeded
    #[arg(long)]
    no_limits: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    lab::program::require(&["tshark"])?;
    let tcptop = lab::tcptop::binary()?;
    eprintln!("bench: writing a capture of {} packets", count(args.packets));
    let (capture, contents) = Capture::write(args)?;

    // The first run of each is not timed: it brings the file into the page cache, and its output is checked.
    let ours = program::observe(&mut tcptop_reads(&tcptop, &capture))?;
    check(&ours.last_line, &contents)?;
    let theirs = program::observe(&mut tshark_reads(&capture))?;

    let (mut ours_s, mut theirs_s) = (Vec::new(), Vec::new());
    for round in 1..=args.rounds {
        eprintln!("bench: round {round} of {}", args.rounds);
        ours_s.push(program::time(&mut tcptop_reads(&tcptop, &capture))?);
        theirs_s.push(program::time(&mut tshark_reads(&capture))?);
    }
    let mut report = Report::new(&format!(
        "{} packets, {} MiB, {} handshakes; rounds: {}",
        count(args.packets),
        contents.bytes >> 20,
        count(contents.handshakes),
        args.rounds
    ));
    for (name, measured_s, observed) in
        [("tcptop replay --json", &ours_s, ours), ("tshark -z conv,tcp", &theirs_s, theirs)]
    {
        let per_s: Vec<f64> = measured_s.iter().map(|s| args.packets as f64 / s).collect();
        report.row(&format!("{name}: s"), Limit::None, measured_s)?;
        report.row(&format!("{name}: packets/s"), Limit::None, &per_s)?;
        let peak_mib = observed.peak_bytes as f64 / f64::from(1 << 20);
        report.row(&format!("{name}: MiB at its peak"), Limit::None, &[peak_mib])?;
    }
    let ratios: Vec<f64> = theirs_s.iter().zip(&ours_s).map(|(theirs, ours)| theirs / ours).collect();
    report.row("how many times longer tshark takes", Limit::AtLeast(LIMIT), &ratios)?;
    report.finish(args.no_limits)
}

/// With the most output, so that no work is left out.
fn tcptop_reads(tcptop: &Path, capture: &Capture) -> Command {
    let mut command = Command::new(tcptop);
    command.arg("replay").arg(&capture.path).arg("--json");
    command
}

fn tshark_reads(capture: &Capture) -> Command {
    let mut command = Command::new("tshark");
    command.args(["-n", "-q", "-z", "conv,tcp", "-r"]).arg(&capture.path);
    command
}

/// Checks that tcptop found everything that was written.
fn check(summary: &str, contents: &Contents) -> Result<()> {
    ensure!(summary.starts_with('{'), "tcptop ended without a summary: {summary}");
    let summary = Object::parse(summary);
    let found = |field: &str| summary.number(field).unwrap_or_default();
    let Contents { handshakes, established, refused, .. } = *contents;
    for (field, written) in
        [("handshakes", handshakes), ("established", established), ("refused", refused), ("missed", 0)]
    {
        ensure!(
            found(field) == written,
            "the capture has {written} as `{field}`, tcptop found {}",
            found(field)
        );
    }
    Ok(())
}

/// A file that is removed when this is dropped.
struct Capture {
    path: PathBuf,
}

impl Capture {
    fn write(args: &Args) -> Result<(Self, Contents)> {
        let path = lab::tcptop::binary()?.with_file_name(format!("bench-{}.pcap", std::process::id()));
        let this = Self { path };
        let written = || format!("cannot write {}", this.path.display());
        let mut file = BufWriter::new(File::create(&this.path).with_context(written)?);
        let contents = traffic::write(args.packets, args.seed, &mut file).with_context(written)?;
        file.flush().with_context(written)?;
        // Otherwise the disk is still busy with it later.
        file.get_ref().sync_all().with_context(written)?;
        Ok((this, contents))
    }
}

impl Drop for Capture {
    fn drop(&mut self) {
        if let Err(error) = fs::remove_file(&self.path) {
            eprintln!("bench: cannot remove {}: {error}", self.path.display());
        }
    }
}
