//! Job control: Ctrl-Z and the shell's `fg`. The terminal is the shell's while the process is stopped.

use std::io;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal as Number, kill, raise, sigaction};
use nix::unistd::Pid;
use tokio::signal::unix::{Signal, SignalKind};

use crate::stop::{listen, received};

/// What the shell wants.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Job {
    /// To have the terminal.
    Stop,
    /// To go on with this.
    Resume,
}

/// The signals for it.
#[derive(Debug)]
pub(super) struct Jobs {
    stop: Option<Signal>,
    resume: Option<Signal>,
}

impl Jobs {
    /// Begins to listen. Until then the signals do what they always do.
    ///
    /// # Errors
    /// When the system does not let signals be listened to.
    pub(super) fn listen() -> io::Result<Self> {
        let number = |signal: Number| SignalKind::from_raw(signal as i32);
        Ok(Self { stop: listen(number(Number::SIGTSTP))?, resume: listen(number(Number::SIGCONT))? })
    }

    /// The next of them.
    pub(super) async fn next(&mut self) -> Job {
        tokio::select! {
            () = received(&mut self.stop) => Job::Stop,
            () = received(&mut self.resume) => Job::Resume,
        }
    }
}

/// What the terminal would do on Ctrl-Z, had it been left to: everybody in front of it is told to stop.
///
/// # Errors
/// When the system does not allow it.
pub(super) fn stop_all() -> io::Result<()> {
    kill(Pid::from_raw(0), Number::SIGTSTP).map_err(io::Error::from)
}

/// Stops this process, and returns when it goes on. Nothing happens when there is no shell that could make it
/// go on: the kernel does not stop orphans that way (POSIX, 2.4.3), which is why this is not SIGSTOP.
///
/// # Errors
/// When the system does not allow it.
pub(super) fn stop_this() -> io::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action runs no code of ours.
    let ours = unsafe { sigaction(Number::SIGTSTP, &default) }?;
    let stopped = raise(Number::SIGTSTP);
    // SAFETY: it is the handler that was in use before.
    unsafe { sigaction(Number::SIGTSTP, &ours) }?;
    stopped.map_err(io::Error::from)
}
