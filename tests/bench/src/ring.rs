//! `cargo xtask bench ring`: what a running tcptop makes of records from the kernel: whether all arrive, how often it
//! is woken, and how late single records are.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::processor::allowed;
use lab::{Namespace, Place, Tcptop};

use self::maker::Maker;
use super::report::{Limit, Report};

mod maker;

const PATIENCE: Duration = Duration::from_secs(30);
/// This long after the last record, tcptop has read all and sleeps until the next one.
const SILENCE: Duration = Duration::from_millis(700);
/// Time between SYN-ACK and ACK where lateness is measured: tcptop may be asleep again.
const APART: Duration = Duration::from_millis(7);
/// Real-time priorities, as in `bench host`, so that other processes do not disturb.
const MAKER_PRIORITY: i32 = 1;
const READER_PRIORITY: i32 = 2;

/// Records per second of which none may be missed.
const FULL: u32 = 500_000;
/// Records per second at which wake-ups are counted, and the minimum number of records per wake-up.
const STEADY: u32 = 100_000;
const RECORDS_A_WAKE_UP: f64 = 100.0;
/// How late a record may be reported.
const LATE_MS: f64 = 50.0;

#[derive(clap::Args)]
pub(crate) struct Args {
    /// How often everything is measured
    #[arg(long, value_name = "N", default_value_t = 3, value_parser = clap::value_parser!(u32).range(1..))]
    rounds: u32,

    /// How long records come in a round
    #[arg(long, value_name = "S", default_value_t = 3, value_parser = clap::value_parser!(u64).range(1..=60))]
    seconds: u64,

    /// Measure only: do not fail if a limit is exceeded
    #[arg(long)]
    no_limits: bool,
}

pub(crate) fn run(args: &Args) -> Result<()> {
    let bench = Bench::new(Duration::from_secs(args.seconds))?;
    let mut measured = Measured::default();
    for round in 1..=args.rounds {
        eprintln!("bench: round {round} of {}", args.rounds);
        bench.round(&mut measured)?;
    }
    measured.report(args)
}

struct Bench {
    tcptop: PathBuf,
    time: Duration,
    maker: Place,
    reader: Place,
}

/// The result of a storm.
struct Storm {
    per_s: f64,
    missed: u64,
    records_a_wake_up: f64,
}

impl Bench {
    fn new(time: Duration) -> Result<Self> {
        let tcptop = lab::tcptop::binary()?;
        let processors = allowed().context("cannot tell on which processors this may run")?;
        let (last, others) = processors.split_last().context("this runs on some processor")?;
        let readers = if others.is_empty() { &processors } else { others };
        let (maker, reader) = (Place::on(&[*last])?, Place::on(readers)?);
        let (maker, reader) = (maker.ahead(MAKER_PRIORITY), reader.ahead(READER_PRIORITY));
        Ok(Self { tcptop, time, maker, reader })
    }

    fn round(&self, measured: &mut Measured) -> Result<()> {
        // Placement is per thread, and a child ends with the thread that started it.
        let made: Result<()> = thread::scope(|scope| {
            let round = || -> Result<()> {
                self.maker.take().context("cannot run ahead of others; this needs root")?;
                measured.full.push(self.storm(FULL)?);
                measured.steady.push(self.storm(STEADY)?);
                self.lateness(measured)
            };
            scope.spawn(round).join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        });
        made
    }

    fn start(&self, output: &str) -> Result<(Tcptop, Maker)> {
        let namespace = Namespace::new()?;
        let mut command = Command::new(&self.tcptop);
        command.args(["lo", output]);
        self.reader.give(&mut command);
        let tcptop = Tcptop::spawn_command(&namespace, command)?;
        tcptop.wait_ready(PATIENCE)?;
        let maker = Maker::new(&namespace)?;
        Ok((tcptop, maker))
    }

    /// Makes this many records per second, with no output but the report at the end.
    fn storm(&self, per_s: u32) -> Result<Storm> {
        let (tcptop, mut maker) = self.start("--report=json")?;
        let before = wake_ups(tcptop.pid())?;
        let (made, taken) = maker.storm(per_s, self.time)?;
        let wake_ups = wake_ups(tcptop.pid())? - before;
        thread::sleep(SILENCE);
        tcptop.signal(lab::Signal::SIGINT)?;
        let output = tcptop.wait(PATIENCE)?;
        let report = lab::objects(&output.stdout).pop().with_context(|| format!("no report: {output:?}"))?;
        let summary = report.object("summary");
        let (records, missed) = summary
            .number("records")
            .zip(summary.number("missed"))
            .with_context(|| format!("tcptop does not say what it saw: {summary:?}"))?;
        ensure!(
            records + missed == made,
            "{made} records were made, {records} arrived and {missed} are said to be missed"
        );
        Ok(Storm {
            per_s: made as f64 / taken.as_secs_f64(),
            missed,
            records_a_wake_up: made as f64 / wake_ups.max(1) as f64,
        })
    }

    /// Measures how late a record is reported that is the first after a pause, and one that follows shortly after
    /// others.
    fn lateness(&self, measured: &mut Measured) -> Result<()> {
        let (tcptop, mut maker) = self.start("--json")?;
        for line in 1..=5 {
            thread::sleep(SILENCE);
            let passed = maker.open(APART)?;
            measured.behind_ms.push(late_ms(&tcptop, "handshake", line, passed)?);
            thread::sleep(SILENCE);
            let passed = maker.send_again()?;
            measured.first_ms.push(late_ms(&tcptop, "retransmit", line, passed)?);
            maker.next();
        }
        Ok(())
    }
}

/// How long after `passed` the line of this kind and number was written.
fn late_ms(tcptop: &Tcptop, kind: &str, number: usize, passed: Instant) -> Result<f64> {
    tcptop.wait_objects(kind, number, PATIENCE)?;
    let wanted = format!("\"type\":\"{kind}\"");
    let line = tcptop.stdout().into_iter().filter(|line| line.text.contains(&wanted)).nth(number - 1);
    let line = line.context("a line that was there is gone")?;
    Ok(line.at.saturating_duration_since(passed).as_secs_f64() * 1e3)
}

/// How often the threads of a process went to sleep, and were woken by the kernel's programs or their own timers.
fn wake_ups(process: u32) -> Result<u64> {
    let mut sum = 0;
    for thread in fs::read_dir(Path::new("/proc").join(process.to_string()).join("task"))? {
        let status = fs::read_to_string(thread?.path().join("status"))?;
        let count = status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"));
        sum += count.context("the kernel does not count switches")?.trim().parse::<u64>()?;
    }
    Ok(sum)
}

/// All measurements.
#[derive(Default)]
struct Measured {
    full: Vec<Storm>,
    steady: Vec<Storm>,
    first_ms: Vec<f64>,
    behind_ms: Vec<f64>,
}

impl Measured {
    fn report(&self, args: &Args) -> Result<()> {
        let mut report = Report::new(&format!(
            "records by test runs of the attached program, into the ring of a running tcptop; rounds: {} of {} s",
            args.rounds, args.seconds
        ));
        let rate = |storms: &[Storm]| storms.iter().map(|storm| storm.per_s).collect::<Vec<_>>();
        let missed: Vec<f64> = self.full.iter().map(|storm| storm.missed as f64).collect();
        let for_each: Vec<f64> = self.steady.iter().map(|storm| storm.records_a_wake_up).collect();
        let enough = |per_s: u32| Limit::AtLeast(f64::from(per_s) * 0.99);
        report.row("records a second", enough(FULL), &rate(&self.full))?;
        report.row("  of these missed", Limit::EachAtMost(0.0), &missed)?;
        report.row("records a second, at a steady rate", enough(STEADY), &rate(&self.steady))?;
        report.row("  for each wake-up of tcptop", Limit::EachAtLeast(RECORDS_A_WAKE_UP), &for_each)?;
        let late = Limit::EachAtMost(LATE_MS);
        report.row("ms until the first record after a silence is reported", late, &self.first_ms)?;
        report.row("ms until one that comes 7 ms later is reported", late, &self.behind_ms)?;
        report.finish(args.no_limits)
    }
}
