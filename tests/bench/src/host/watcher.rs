//! Who watches the near interface.

use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{NEAR, Namespace, Place, Signal, Tcptop};
use nix::time::clock_getcpuclockid;
use nix::unistd::Pid;

/// How long a watcher may take to begin and to end.
const PATIENCE: Duration = Duration::from_secs(30);
/// So long after the load, a watcher has taken all that was there for it.
const SETTLED: Duration = Duration::from_millis(100);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Watcher {
    /// With a report at its end and nothing before: the least that it can do, and all that it measures.
    Tcptop,
    Tcpdump,
}

/// What a watcher said at its end.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Told {
    /// Handshakes.
    pub(super) established: u64,
    /// tcptop's data segments, tcpdump's packets.
    pub(super) segments: u64,
    /// What it knows that it did not see.
    pub(super) lost: u64,
    /// What its process needed of a processor's time.
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

/// A watcher at work.
pub(super) struct Running {
    watcher: Watcher,
    child: Tcptop,
    begun_ns: u64,
}

impl Running {
    /// Starts it in its place, and waits until it watches.
    pub(super) fn start(watcher: Watcher, near: &Namespace, tcptop: &Path, place: &Place) -> Result<Self> {
        let (program, arguments, ready) = match watcher {
            Watcher::Tcptop => (tcptop, &[NEAR, "--report"][..], "watching"),
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

    pub(super) fn stop(self) -> Result<Told> {
        thread::sleep(SETTLED);
        let own_ns = processor_time_ns(&self.child)?.saturating_sub(self.begun_ns);
        self.child.signal(Signal::SIGTERM)?;
        let output = self.child.wait(PATIENCE)?;
        let mut text: String = output.stdout.iter().map(|line| line.text.clone() + "\n").collect();
        text += &output.stderr;
        ensure!(output.status.success(), "{} ended with {}: {text}", self.watcher.name(), output.status);
        let told = match self.watcher {
            Watcher::Tcptop => of_tcptop(&text),
            Watcher::Tcpdump => of_tcpdump(&text),
        };
        let told =
            told.with_context(|| format!("{} does not say what it saw: {text}", self.watcher.name()))?;
        Ok(Told { own_ns, ..told })
    }
}

/// What all threads of a process needed so far.
fn processor_time_ns(child: &Tcptop) -> Result<u64> {
    let clock = clock_getcpuclockid(Pid::from_raw(i32::try_from(child.pid())?))?;
    let time = Duration::from(clock.now()?);
    Ok(u64::try_from(time.as_nanos())?)
}

fn of_tcptop(text: &str) -> Option<Told> {
    Some(Told {
        established: before(text, " established")?,
        // The line is left out where there were none.
        segments: before(text, " data segment").unwrap_or(0),
        lost: after(text, "missed ")?,
        own_ns: 0,
    })
}

fn of_tcpdump(text: &str) -> Option<Told> {
    let (segments, lost) = (before(text, " packets captured")?, before(text, " packets dropped by kernel")?);
    Some(Told { established: 0, segments, lost, own_ns: 0 })
}

/// The number that ends where these words begin.
fn before(text: &str, words: &str) -> Option<u64> {
    let (text, _) = text.split_once(words)?;
    let digits = text.trim_end_matches(|c: char| c.is_ascii_digit()).len();
    text[digits..].parse().ok()
}

/// The number that begins where these words end.
fn after(text: &str, words: &str) -> Option<u64> {
    let (_, text) = text.split_once(words)?;
    text.split(|c: char| !c.is_ascii_digit()).next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_report_says_what_was_seen() {
        let report = "tcptop 0.1.0 on near0\n\nwatched 401ms: 1 handshake (1 established), 0 SYN or SYN-ACK repeats\n\
                      84577 data segments, 0 of them sent again (0.0% of all segments)\n5 records, missed 3 (3 kernel flows)\n";
        let told = Told { established: 1, segments: 84_577, lost: 3, own_ns: 0 };
        assert_eq!(of_tcptop(report), Some(told));
        let without = report.replace("84577 data segments,", "");
        assert_eq!(of_tcptop(&without), Some(Told { segments: 0, ..told }));
        assert_eq!(of_tcptop("watching near0 (tcx)\n"), None);
    }

    #[test]
    fn tcpdump_says_what_it_saw() {
        let said = "tcpdump: listening on near0, link-type EN10MB (Ethernet), snapshot length 262144 bytes\n\
                    99 packets captured\n102 packets received by filter\n3 packets dropped by kernel\n";
        assert_eq!(of_tcpdump(said), Some(Told { established: 0, segments: 99, lost: 3, own_ns: 0 }));
        assert_eq!(of_tcpdump("tcpdump: near0: No such device exists\n"), None);
    }
}
