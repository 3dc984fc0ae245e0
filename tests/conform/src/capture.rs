//! tcpdump as a child process: there before the traffic, and stopped when it has written all of it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{Namespace, Signal, Tcptop};

/// How long the file must not grow before all is over: longer than the kernel's least retransmission timeout
/// (200 ms), also on a busy machine.
const QUIET: Duration = Duration::from_millis(500);
/// A capture that does not come to rest within this time never will.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is captured, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// An interface of the near side, or `any`.
    pub(super) interface: &'static str,
    /// Bytes kept of each packet.
    pub(super) snap: u32,
    /// Times in nanoseconds; in microseconds else.
    pub(super) nanoseconds: bool,
}

/// A capture that is being made. tcpdump is killed when this is dropped, and when the thread that started it ends.
pub(super) struct Capture {
    tcpdump: Tcptop,
    file: PathBuf,
}

impl Capture {
    /// Starts to capture TCP inside the namespace; no packet from now on is missed.
    pub(super) fn start(namespace: &Namespace, plan: Plan, file: &Path) -> Result<Self> {
        let mut command = Command::new("tcpdump");
        // It would give up root's rights before it opens the file.
        command.args(["-i", plan.interface, "-n", "-U", "--immediate-mode", "-B", "16384", "-Z", "root"]);
        command.args(["-s", &plan.snap.to_string()]);
        if plan.interface == "any" {
            // Tells the direction of each packet, as the older version does, and names the interface.
            command.args(["-y", "LINUX_SLL2"]);
        }
        let precision = if plan.nanoseconds { "nano" } else { "micro" };
        command.arg(format!("--time-stamp-precision={precision}")).arg("-w").arg(file).arg("tcp");
        command.env("LC_ALL", "C");
        let tcpdump = Tcptop::spawn_command(namespace, command)?;
        // It says so after it has opened the interface.
        tcpdump.wait_stderr(PATIENCE, |line| line.contains("listening on"))?;
        Ok(Self { tcpdump, file: file.to_owned() })
    }

    /// Waits until nothing more comes, stops, and answers how many packets there are. Fails when one was missed; one
    /// that comes while tcpdump is told to stop is as one that comes after.
    pub(super) fn stop(self) -> Result<u64> {
        self.wait_quiet()?;
        self.tcpdump.signal(Signal::SIGINT)?;
        let output = self.tcpdump.wait(PATIENCE)?;
        ensure!(output.status.success(), "tcpdump ended with {output:?}");
        whole(&output.stderr).with_context(|| format!("tcpdump said: {}", output.stderr))
    }

    fn wait_quiet(&self) -> Result<()> {
        let start = Instant::now();
        let (mut len, mut since) = (0, start);
        while since.elapsed() < QUIET {
            ensure!(start.elapsed() < PATIENCE, "the traffic does not end");
            thread::sleep(Duration::from_millis(20));
            let now = fs::metadata(&self.file)?.len();
            if now != len {
                (len, since) = (now, Instant::now());
            }
        }
        Ok(())
    }
}

/// The line that names tcpdump's version.
pub(super) fn version() -> Result<String> {
    let output = Command::new("tcpdump").arg("--version").output().context("cannot start tcpdump")?;
    // Which of the two it writes to depends on the version.
    let told = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&told).lines().next().unwrap_or_default().to_owned())
}

/// How many packets were written, when none before the last of them is missing.
fn whole(told: &str) -> Result<u64> {
    let count = |what: &str| {
        let line = told.lines().find(|line| line.contains(what));
        let number = line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok());
        number.with_context(|| format!("no count of packets {what}"))
    };
    let dropped = count("dropped by kernel")?;
    ensure!(dropped == 0, "the kernel dropped {dropped} packets");
    count("captured")
}

#[cfg(test)]
mod tests {
    use super::whole;

    #[test]
    fn a_capture_is_whole_or_nothing() {
        let told = |captured, dropped| {
            format!(
                "tcpdump: listening on near0\n{captured} packets captured\n20 packets received by filter\n\
                 {dropped} packets dropped by kernel\n"
            )
        };
        assert_eq!(whole(&told(12, 0)).unwrap(), 12);
        assert!(whole(&told(12, 1)).is_err());
        assert!(whole("").is_err());
    }
}
