//! `cargo xtask bench replay`: a capture read by tcptop and by tshark, in turns, on the same machine.

use std::fs::{self, File};
use std::io::{BufWriter, Write};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail, ensure};
use lab::Object;

use super::program::{self, Observed};
use super::stats::{Spread, count, seconds};
use super::traffic::{self, Contents};

/// How many times faster than tshark tcptop is to be at the least.
const LIMIT: f64 = 20.0;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often each program reads the capture
    #[arg(long, value_name = "N", default_value_t = 5, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// Packets in the capture
    #[arg(long, value_name = "N", default_value_t = 1_000_000, value_parser = clap::value_parser!(u64).range(1..))]
    packets: u64,

    /// Another seed makes another capture
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Only measure: a ratio below the limit is no failure
    #[arg(long)]
    no_limits: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    lab::program::require(&["tshark"])?;
    let tcptop = lab::tcptop::binary()?;
    eprintln!("bench: writing a capture of {} packets", count(args.packets));
    let (capture, contents) = Capture::write(args)?;

    // The first reading of each is not timed: it brings the file into memory, and shows what is read.
    let ours = program::observe(&mut tcptop_reads(&tcptop, &capture))?;
    check(&ours.last_line, &contents)?;
    let theirs = program::observe(&mut tshark_reads(&capture))?;

    let mut measured = Measured::default();
    for round in 1..=args.rounds {
        eprintln!("bench: round {round} of {}", args.rounds);
        let ours_s = program::time(&mut tcptop_reads(&tcptop, &capture))?;
        let theirs_s = program::time(&mut tshark_reads(&capture))?;
        measured.ours_s.push(ours_s);
        measured.theirs_s.push(theirs_s);
        measured.ratios.push(theirs_s / ours_s);
    }
    let ratio = measured.print(args, &contents, &ours, &theirs)?;
    if ratio.median < LIMIT && !args.no_limits {
        bail!("the ratio {:.1} is below its limit {LIMIT:.1}", ratio.median);
    }
    Ok(())
}

/// With all that it can say, so that no work is left out.
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

/// Speed is worth nothing if handshakes are missed.
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

/// A file that goes away with this.
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
        // Else the disk is busy with it while others read.
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

/// Wall time of each run, in seconds, and for each round how many times longer tshark took.
#[derive(Default)]
struct Measured {
    ours_s: Vec<f64>,
    theirs_s: Vec<f64>,
    ratios: Vec<f64>,
}

impl Measured {
    /// Prints the table and gives the ratio.
    fn print(&self, args: &Args, contents: &Contents, ours: &Observed, theirs: &Observed) -> Result<Spread> {
        let spread = |measured: &[f64]| Spread::of(measured).context("there is at least one round");
        println!(
            "{} packets, {} MiB, {} handshakes; rounds: {}",
            count(args.packets),
            contents.bytes >> 20,
            count(contents.handshakes),
            args.rounds
        );
        println!("{:<24}{:>9}{:>20}{:>12}{:>10}", "", "median", "min - max", "packets/s", "peak");
        let rows =
            [("tcptop replay --json", &self.ours_s, ours), ("tshark -z conv,tcp", &self.theirs_s, theirs)];
        for (name, measured_s, observed) in rows {
            let Spread { min, median, max } = spread(measured_s)?;
            println!(
                "{name:<24}{:>9}{:>20}{:>12}{:>10}",
                seconds(median),
                format!("{} - {}", seconds(min), seconds(max)),
                rate(args.packets, median),
                format!("{} MiB", observed.peak_bytes >> 20)
            );
        }
        let ratio = spread(&self.ratios)?;
        let Spread { min, median, max } = ratio;
        println!("ratio {median:.1} ({min:.1} - {max:.1}); at least {LIMIT:.1} is wanted");
        Ok(ratio)
    }
}

/// `2.41 M` or `96 k` packets per second.
fn rate(packets: u64, s: f64) -> String {
    let per_s = packets as f64 / s;
    if per_s < 1e6 { format!("{:.0} k", per_s / 1e3) } else { format!("{:.2} M", per_s / 1e6) }
}
