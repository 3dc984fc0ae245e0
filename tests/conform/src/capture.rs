//! Runs tcpdump: it starts before the traffic, and is stopped when it has written all packets.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{Namespace, Signal, Tcptop};

/// The traffic has ended when the file has not grown for this time: longer than the kernel's minimum retransmission
/// timeout (200 ms), even on a busy machine.
const QUIET: Duration = Duration::from_millis(500);
/// Much longer than any traffic lasts.
const PATIENCE: Duration = Duration::from_secs(20);

/// What is captured, and how.
#[derive(Clone, Copy, Debug)]
pub(super) struct Plan {
    /// An interface of the near side, or `any`.
    pub(super) interface: &'static str,
    /// Bytes kept of each packet.
    pub(super) snap: u32,
    /// Whether times are in nanoseconds; otherwise in microseconds.
    pub(super) nanoseconds: bool,
}

/// A running capture. tcpdump is killed when this is dropped, and when the thread that started it ends.
pub(super) struct Capture {
    tcpdump: Tcptop,
    file: PathBuf,
}

impl Capture {
    /// Starts to capture TCP inside the namespace; no packet from now on is missed.
    pub(super) fn start(namespace: &Namespace, plan: Plan, file: &Path) -> Result<Self> {
        let mut command = Command::new("tcpdump");
        // By default it drops root's privileges before it opens the file.
        command.args(["-i", plan.interface, "-n", "-U", "--immediate-mode", "-B", "16384", "-Z", "root"]);
        command.args(["-s", &plan.snap.to_string()]);
        if plan.interface == "any" {
            // Version 2 has the direction of each packet, like version 1, and the interface.
            command.args(["-y", "LINUX_SLL2"]);
        }
        let precision = if plan.nanoseconds { "nano" } else { "micro" };
        command.arg(format!("--time-stamp-precision={precision}")).arg("-w").arg(file).arg("tcp");
        command.env("LC_ALL", "C");
        let tcpdump = Tcptop::spawn_command(namespace, command)?;
        // Printed once the interface is open.
        tcpdump.wait_stderr(PATIENCE, |line| line.contains("listening on"))?;
        Ok(Self { tcpdump, file: file.to_owned() })
    }

    /// Waits until no more packets arrive, stops tcpdump and returns the number of packets. Fails if the kernel dropped
    /// any.
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

/// Returns the line with tcpdump's version.
pub(super) fn version() -> Result<String> {
    let output = Command::new("tcpdump").arg("--version").output().context("cannot start tcpdump")?;
    // Older versions write it to standard error.
    let messages = [output.stdout, output.stderr].concat();
    Ok(String::from_utf8_lossy(&messages).lines().next().unwrap_or_default().to_owned())
}

/// Returns how many packets were written; an error if the kernel dropped any.
fn whole(messages: &str) -> Result<u64> {
    let count = |what: &str| {
        let line = messages.lines().find(|line| line.contains(what));
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
        let messages = |captured, dropped| {
            format!(
                "tcpdump: listening on near0\n{captured} packets captured\n20 packets received by filter\n\
                 {dropped} packets dropped by kernel\n"
            )
        };
        assert_eq!(whole(&messages(12, 0)).unwrap(), 12);
        assert!(whole(&messages(12, 1)).is_err());
        assert!(whole("").is_err());
    }
}
