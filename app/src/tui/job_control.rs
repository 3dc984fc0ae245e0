//! Job control: Ctrl-Z and the shell's `fg`. While the process is stopped, the terminal is the shell's.

use std::io;

use nix::sys::signal::{SaFlags, SigAction, SigHandler, SigSet, Signal as Number, kill, raise, sigaction};
use nix::unistd::Pid;
use tokio::signal::unix::{Signal, SignalKind};

use crate::stop::{listen, received};

/// A signal of job control.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum JobSignal {
    /// SIGTSTP.
    Stop,
    /// SIGCONT.
    Continue,
}

/// Receives the signals of job control.
#[derive(Debug)]
pub(super) struct JobSignals {
    stop: Option<Signal>,
    cont: Option<Signal>,
}

impl JobSignals {
    /// Installs the handlers. Until then the signals have their default actions.
    ///
    /// # Errors
    /// When the system refuses a handler.
    pub(super) fn listen() -> io::Result<Self> {
        let kind = |signal: Number| SignalKind::from_raw(signal as i32);
        Ok(Self { stop: listen(kind(Number::SIGTSTP))?, cont: listen(kind(Number::SIGCONT))? })
    }

    /// The next of them.
    pub(super) async fn next(&mut self) -> JobSignal {
        tokio::select! {
            () = received(&mut self.stop) => JobSignal::Stop,
            () = received(&mut self.cont) => JobSignal::Continue,
        }
    }
}

/// Stops the whole process group, as the terminal does on Ctrl-Z outside raw mode.
///
/// # Errors
/// When the system refuses.
pub(super) fn stop_process_group() -> io::Result<()> {
    kill(Pid::from_raw(0), Number::SIGTSTP).map_err(io::Error::from)
}

/// Stops this process and returns when it is continued. Without a shell to continue it nothing happens: SIGTSTP, unlike
/// SIGSTOP, does not stop orphaned process groups (POSIX, 2.4.3).
///
/// # Errors
/// When the system refuses.
pub(super) fn stop_process() -> io::Result<()> {
    let default = SigAction::new(SigHandler::SigDfl, SaFlags::empty(), SigSet::empty());
    // SAFETY: the default action runs no code of ours.
    let ours = unsafe { sigaction(Number::SIGTSTP, &default) }?;
    let stopped = raise(Number::SIGTSTP);
    // SAFETY: it is the handler that was in use before.
    unsafe { sigaction(Number::SIGTSTP, &ours) }?;
    stopped.map_err(io::Error::from)
}
