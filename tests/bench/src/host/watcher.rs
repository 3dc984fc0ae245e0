//! The watchers of the near interface.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{NEAR, Namespace, Output, Place, Signal, Tcptop};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// Much longer than a watcher takes to start or to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// This long after the load, a watcher has processed everything.
const SETTLED: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watcher {
    /// With a report at the end only: the least output, and all measurements.
    Tcptop,
    Tcpdump,
}

/// What a watcher counted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Totals {
    /// Handshakes.
    pub(super) established: u64,
    /// Data segments (tcptop) or packets (tcpdump).
    pub(super) segments: u64,
    /// What it counted as missed.
    pub(super) missed: u64,
    /// Processor time of its process.
    pub(super) own_ns: u64,
}

impl Watcher {
    pub(super) const ALL: [Self; 2] = [Self::Tcptop, Self::Tcpdump];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Tcptop => "tcptop --report",
            Self::Tcpdump => "tcpdump -w /dev/null tcp",
        }
    }
}

/// A running watcher.
pub(super) struct Running {
    watcher: Watcher,
    child: Tcptop,
    begun_ns: u64,
}

impl Running {
    /// Starts it in its place, and waits until it is attached.
    pub(super) fn start(watcher: Watcher, near: &Namespace, tcptop: &Path, place: &Place) -> Result<Self> {
        let (program, arguments, ready) = match watcher {
            Watcher::Tcptop => (tcptop, &[NEAR, "--report=json"][..], "watching"),
            Watcher::Tcpdump => {
                (Path::new("tcpdump"), &["-i", NEAR, "-w", "/dev/null", "tcp"][..], "listening on")
            }
        };
        let mut command = Command::new(program);
        command.args(arguments).env("LC_ALL", "C");
        place.give(&mut command);
        let child = Tcptop::spawn_command(near, command)?;
        child.wait_stderr(PATIENCE, |line| line.contains(ready))?;
        let begun_ns = processor_time_ns(&child)?;
        Ok(Self { watcher, child, begun_ns })
    }

    pub(super) fn stop(self) -> Result<Totals> {
        thread::sleep(SETTLED);
        let own_ns = processor_time_ns(&self.child)?.saturating_sub(self.begun_ns);
        self.child.signal(Signal::SIGTERM)?;
        let output = self.child.wait(PATIENCE)?;
        ensure!(output.status.success(), "{} ended with {output:?}", self.watcher.name());
        let totals = match self.watcher {
            Watcher::Tcptop => of_tcptop(&output),
            Watcher::Tcpdump => of_tcpdump(&output.stderr),
        };
        let totals = totals
            .with_context(|| format!("{} does not say what it saw: {output:?}", self.watcher.name()))?;
        Ok(Totals { own_ns, ..totals })
    }
}

/// Processor time of all threads of a process so far.
fn processor_time_ns(child: &Tcptop) -> Result<u64> {
    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(child.pid())?))?;
    let time = Duration::from(clock.now()?);
    Ok(u64::try_from(time.as_nanos())?)
}

fn of_tcptop(output: &Output) -> Option<Totals> {
    let summary = lab::objects(&output.stdout).pop()?.object("summary");
    Some(Totals {
        established: summary.number("established")?,
        segments: summary.number("data_segments")?,
        missed: summary.number("missed")?,
        own_ns: 0,
    })
}

fn of_tcpdump(text: &str) -> Option<Totals> {
    let (segments, missed) =
        (before(text, " packets captured")?, before(text, " packets dropped by kernel")?);
    Some(Totals { established: 0, segments, missed, own_ns: 0 })
}

/// The number just before these words.
fn before(text: &str, words: &str) -> Option<u64> {
    let (text, _) = text.split_once(words)?;
    let digits = text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    text[digits..].parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tcpdump_says_what_it_saw() {
        let said = "tcpdump: listening on near0, link-type EN10MB (Ethernet), snapshot length 262144 bytes\n\
                    99 packets captured\n102 packets received by filter\n3 packets dropped by kernel\n";
        assert_eq!(of_tcpdump(said), Some(Totals { established: 0, segments: 99, missed: 3, own_ns: 0 }));
        assert_eq!(of_tcpdump("tcpdump: near0: No such device exists\n"), None);
    }
}
