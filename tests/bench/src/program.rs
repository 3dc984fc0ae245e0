//! Measures other programs.

use std::io::{self, BufRead, BufReader};
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Instant;

use anyhow::{Context, Result, bail, ensure};
use nix::libc;

/// How long a program runs, in seconds, with its output discarded.
pub(super) fn time(command: &mut Command) -> Result<f64> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::piped());
    let name = command.get_program().to_string_lossy().into_owned();
    let begin = Instant::now();
    let output = command.output().with_context(|| format!("cannot start {name}"))?;
    let taken = begin.elapsed();
    succeeded(&name, output.status, &output.stderr)?;
    Ok(taken.as_secs_f64())
}

/// What a program prints and needs.
pub(super) struct Observed {
    /// The last line of its output.
    pub(super) last_line: String,
    /// Its peak resident memory, in bytes.
    pub(super) peak_bytes: u64,
}

/// Runs a program to its end.
pub(super) fn observe(command: &mut Command) -> Result<Observed> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::null());
    let name = command.get_program().to_string_lossy().into_owned();
    let mut child = command.spawn().with_context(|| format!("cannot start {name}"))?;
    let output = child.stdout.take().context("the output is piped")?;
    let mut last_line = String::new();
    for line in BufReader::new(output).lines() {
        last_line = line.context("the output is no text")?;
    }
    let (status, peak_bytes) = reap(&child)?;
    succeeded(&name, status, b"")?;
    Ok(Observed { last_line, peak_bytes })
}

/// Waits for the end of a child and returns its peak resident memory. The child must not be waited for again.
fn reap(child: &Child) -> Result<(ExitStatus, u64)> {
    let (mut status, pid) = (0, child.id().cast_signed());
    // SAFETY: a structure of integers, for which zeros are a value.
    let mut usage: libc::rusage = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes to the two, which live until the call returns.
    let reaped = unsafe { libc::wait4(pid, &raw mut status, 0, &raw mut usage) };
    ensure!(reaped == pid, "cannot wait for {pid}: {}", io::Error::last_os_error());
    // In KiB, getrusage(2).
    Ok((ExitStatus::from_raw(status), u64::try_from(usage.ru_maxrss)? * 1_024))
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
        assert!((1 << 19..1 << 27).contains(&observed.peak_bytes), "{}", observed.peak_bytes);
        assert!(time(&mut Command::new("false")).is_err());
    }
}
