//! A second process that gives the terminal back when this one is killed and cannot do it itself.
//!
//! It is this program again, with one argument that no person types. It holds one end of a socket pair:
//! a byte says that the terminal was given back, an end without a byte that nobody is left to do it.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::sys::termios::{SetArg, tcgetattr, tcsetattr};
use nix::unistd::setsid;

use super::terminal::leave;

/// The argument that makes this program a guard.
pub const ARGUMENT: &str = "--guard-terminal";

/// The guard, seen from the process that it guards.
#[derive(Debug)]
pub struct Guard {
    line: UnixStream,
    process: Child,
}

impl Guard {
    /// Starts the guard, which remembers the terminal as it is now.
    ///
    /// # Errors
    /// When there can be no other process; tcptop can do without.
    pub fn start() -> io::Result<Self> {
        let (mut line, theirs) = UnixStream::pair()?;
        let process = Command::new("/proc/self/exe")
            // Not to be hit by `pkill tcptop`, which would leave nobody to give the terminal back.
            .arg0("terminal-guard")
            .arg(ARGUMENT)
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .stderr(Stdio::null())
            .spawn()?;
        line.read_exact(&mut [0])?;
        Ok(Self { line, process })
    }

    /// Sends the guard home: the terminal was given back.
    pub fn dismiss(&mut self) {
        // A guard that is gone already cannot be told, nor waited for.
        let _ = self.line.write_all(b"q");
        let _ = self.process.wait();
    }
}

/// The guard's whole life.
///
/// # Errors
/// When standard output is no terminal, or the other process is none of ours.
pub fn stand() -> io::Result<()> {
    let terminal = io::stdout();
    let as_it_was = tcgetattr(&terminal)?;
    // Away from the terminal's signals: a hang-up, Ctrl-C and Ctrl-Z are not for the guard.
    setsid()?;
    // The name by which `killall` and `pkill` find processes; without it the guard still works.
    let _ = std::fs::write("/proc/self/comm", "terminal-guard");
    let mut line = UnixStream::from(std::os::fd::AsFd::as_fd(&io::stdin()).try_clone_to_owned()?);
    line.write_all(b"r")?;
    if line.read(&mut [0])? == 0 {
        leave(&mut io::stdout())?;
        tcsetattr(&terminal, SetArg::TCSANOW, &as_it_was)?;
    }
    Ok(())
}
