//! Programs that are measured.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

/// How often a running program is asked for its peak: it cannot be asked any more when it has ended.
const ASKED_EVERY: Duration = Duration::from_millis(2);

/// How long a program takes from its start to its end, in seconds, with its output thrown away.
pub(super) fn time(command: &mut Command) -> Result<f64> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let name = command.get_program().to_string_lossy().into_owned();
    let begin = Instant::now();
    let output = command.output().with_context(|| format!("cannot start {name}"))?;
    let taken = begin.elapsed();
    succeeded(&name, output.status, &output.stderr)?;
    Ok(taken.as_secs_f64())
}

/// What a program says and needs when nobody times it.
pub(super) struct Observed {
    /// The last line of its output.
    pub(super) last_line: String,
    /// The most memory that it had resident, in bytes.
    pub(super) peak_bytes: u64,
}

/// Runs a program to its end and watches it.
pub(super) fn observe(command: &mut Command) -> Result<Observed> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    let (ended, waiting) = mpsc::channel();
    let status_file = format!("/proc/{}/status", child.id());
    let sampler = thread::spawn(move || sample(&status_file, &waiting));
    let last_line = last_line(&mut child);
    drop(ended);
    let status = child.wait()?;
    let peak_bytes = sampler.join().unwrap_or_default();
    succeeded(&name, status, b"")?;
    Ok(Observed { last_line: last_line?, peak_bytes })
}

fn last_line(child: &mut Child) -> Result<String> {
    let output = child.stdout.take().context("the output is piped")?;
    let mut last = String::new();
    for line in BufReader::new(output).lines() {
        last = line.context("the output is no text")?;
    }
    Ok(last)
}

fn sample(status_file: &str, waiting: &mpsc::Receiver<()>) -> u64 {
    let mut peak_bytes = 0;
    loop {
        let status = fs::read_to_string(status_file).unwrap_or_default();
        peak_bytes = peak_bytes.max(peak(&status).unwrap_or(0));
        if waiting.recv_timeout(ASKED_EVERY) != Err(RecvTimeoutError::Timeout) {
            return peak_bytes;
        }
    }
}

/// The peak of the resident set (`VmHWM`, proc_pid_status(5)), in bytes.
fn peak(status: &str) -> Option<u64> {
    let kib = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    kib.trim().strip_suffix("kB")?.trim().parse::<u64>().ok().map(|kib| kib * 1_024)
}

fn succeeded(name: &str, status: ExitStatus, said: &[u8]) -> Result<()> {
    if !status.success() {
        bail!("{name} ended with {status}\n{}", String::from_utf8_lossy(said));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_program_is_watched_to_its_end() {
        let observed = observe(Command::new("sh").args(["-c", "echo one; sleep 0.1; echo two"])).unwrap();
        assert_eq!(observed.last_line, "two");
        assert!(observed.peak_bytes > 0);
        assert!(time(&mut Command::new("false")).is_err());
    }

    #[test]
    fn the_peak_is_read_in_bytes() {
        assert_eq!(peak("Name:\tx\nVmPeak:\t   10 kB\nVmHWM:\t    2048 kB\n"), Some(2 << 20));
        assert_eq!(peak("Name:\tx\nState:\tZ (zombie)\n"), None);
    }
}
