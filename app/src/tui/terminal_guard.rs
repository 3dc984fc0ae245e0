//! A second process that restores the terminal when this one is killed and cannot do it itself.
//!
//! It is this program again, with one argument that nobody types. It holds one end of a socket pair: a byte means that
//! the terminal was restored, the end of the stream without a byte that the process is gone.

use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

use nix::sys::termios::{SetArg, tcgetattr, tcsetattr};
use nix::unistd::setsid;

use super::restore::leave_screen;

/// The argument that makes this program a guard.
pub const ARGUMENT: &str = "--guard-terminal";

/// The guard process, as its parent sees it.
#[derive(Debug)]
pub struct TerminalGuard {
    socket: UnixStream,
    process: Child,
}

impl TerminalGuard {
    /// Starts the guard, which saves the current terminal settings.
    ///
    /// # Errors
    /// When no process can be started. tcptop works without a guard.
    pub fn start() -> io::Result<Self> {
        let (mut socket, theirs) = UnixStream::pair()?;
        let process = Command::new("/proc/self/exe")
            // Another name than tcptop's: `pkill tcptop` must not kill the guard, too.
            .arg0("terminal-guard")
            .arg(ARGUMENT)
            .stdin(Stdio::from(std::os::fd::OwnedFd::from(theirs)))
            .stderr(Stdio::null())
            .spawn()?;
        socket.read_exact(&mut [0])?;
        Ok(Self { socket, process })
    }

    /// Ends the guard: the terminal was restored.
    pub fn dismiss(&mut self) {
        // If the guard is gone there is nothing to end.
        let _ = self.socket.write_all(b"q");
        let _ = self.process.wait();
    }
}

/// Runs as the guard until the parent dismisses it or is gone.
///
/// # Errors
/// When standard output is no terminal, or standard input no socket.
pub fn run() -> io::Result<()> {
    let terminal = io::stdout();
    let saved = tcgetattr(&terminal)?;
    // A session of its own, so that a hang-up, Ctrl-C and Ctrl-Z do not reach the guard.
    setsid()?;
    // The name by which `killall` and `pkill` find processes. Without it the guard still works.
    let _ = std::fs::write("/proc/self/comm", "terminal-guard");
    let mut socket = UnixStream::from(std::os::fd::AsFd::as_fd(&io::stdin()).try_clone_to_owned()?);
    socket.write_all(b"r")?;
    if socket.read(&mut [0])? == 0 {
        leave_screen(&mut io::stdout())?;
        tcsetattr(&terminal, SetArg::TCSANOW, &saved)?;
    }
    Ok(())
}
