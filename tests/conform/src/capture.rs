//! tcpdump as a child process: there before the traffic, and stopped when it has written all of it.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::path::{Path, PathBuf};
use std::process::{Child, ChildStderr, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail, ensure};
use lab::{Namespace, Signal};
use nix::sys::signal::kill;
use nix::unistd::Pid;

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

/// A capture that is being made. Killed when dropped, and when the thread that started it ends.
pub(super) struct Capture {
    child: Child,
    messages: BufReader<ChildStderr>,
    file: PathBuf,
}

impl Capture {
    /// Starts to capture TCP inside the namespace; no packet from now on is missed.
    ///
    /// The file is opened here and handed over, for tcpdump gives up root's rights before it would open one.
    pub(super) fn start(namespace: &Namespace, plan: Plan, file: &Path) -> Result<Self> {
        let mut command = Command::new("tcpdump");
        command.args(["-i", plan.interface, "-n", "-U", "--immediate-mode", "-B", "16384", "-s"]);
        command.arg(plan.snap.to_string());
        if plan.interface == "any" {
            // Tells the direction of each packet, as the older version does, and names the interface.
            command.args(["-y", "LINUX_SLL2"]);
        }
        let precision = if plan.nanoseconds { "nano" } else { "micro" };
        command.arg(format!("--time-stamp-precision={precision}")).args(["-w", "-", "tcp"]);
        let output = File::create(file).with_context(|| format!("cannot write {}", file.display()))?;
        command.stdin(Stdio::null()).stdout(output).stderr(Stdio::piped()).env("LC_ALL", "C");
        namespace.enter_command(&mut command);
        lab::end_with_parent(&mut command, Signal::SIGKILL);
        let mut child = command.spawn().context("cannot start tcpdump")?;
        let messages = BufReader::new(child.stderr.take().context("standard error is piped")?);
        let mut capture = Self { child, messages, file: file.to_owned() };
        capture.wait_ready()?;
        Ok(capture)
    }

    /// Waits until nothing more comes, stops, and answers how many packets there are. Fails when one was missed; one
    /// that comes while tcpdump is told to stop is as one that comes after.
    pub(super) fn stop(mut self) -> Result<u64> {
        self.wait_quiet()?;
        let id = Pid::from_raw(i32::try_from(self.child.id())?);
        // Its id cannot be another process's before it is waited for.
        kill(id, Signal::SIGINT).context("cannot stop tcpdump")?;
        let mut told = String::new();
        self.messages.read_to_string(&mut told).context("cannot read what tcpdump says")?;
        let status = self.child.wait()?;
        ensure!(status.success(), "tcpdump ended with {status}: {told}");
        whole(&told).with_context(|| format!("tcpdump said: {told}"))
    }

    fn wait_ready(&mut self) -> Result<()> {
        let mut told = String::new();
        // It says so after it has opened the interface.
        while !told.contains("listening on") {
            if self.messages.read_line(&mut told).context("cannot read what tcpdump says")? == 0 {
                bail!("tcpdump does not capture: {told}");
            }
        }
        Ok(())
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

impl Drop for Capture {
    fn drop(&mut self) {
        // Both fail only for a process that was waited for.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
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
