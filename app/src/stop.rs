//! What ends a run from outside: signals and `--duration`.

use std::io;
use std::time::Duration;

use nix::libc;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until};

use crate::error::Error;

/// The signals that end a run, and its deadline.
pub struct Stop {
    /// Without those that were ignored when this process started, as SIGHUP is under `nohup`.
    signals: [Option<Signal>; 3],
    deadline: Option<Instant>,
    was_wanted: bool,
}

impl Stop {
    /// Installs the signal handlers. There is no deadline yet.
    ///
    /// # Errors
    /// When a handler cannot be installed.
    pub fn new() -> Result<Self, Error> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds
            .map(|kind| listen(kind).map_err(|source| Error::System { what: "listen to signals", source }));
        let signals = [interrupt?, terminate?, hangup?];
        Ok(Self { signals, deadline: None, was_wanted: false })
    }

    /// Sets the deadline to this long from now; without a duration there is none.
    pub fn within(&mut self, duration: Option<Duration>) {
        // A deadline beyond the clock's range is none.
        self.deadline = duration.and_then(|duration| Instant::now().checked_add(duration));
    }

    /// Waits for a signal or the deadline.
    pub async fn wanted(&mut self) {
        let [interrupt, terminate, hangup] = &mut self.signals;
        tokio::select! {
            () = received(interrupt) => {}
            () = received(terminate) => {}
            () = received(hangup) => {}
            () = sleep_until(self.deadline.unwrap_or_else(Instant::now)), if self.deadline.is_some() => {}
        }
        self.was_wanted = true;
    }

    /// Waits until the end of the run can wait no longer: `patience` after it was requested by a signal or the deadline,
    /// or, if the run ends by itself, until it is requested.
    pub async fn overdue(&mut self, patience: Duration) {
        if self.was_wanted {
            sleep(patience).await;
        } else {
            self.wanted().await;
        }
    }
}

/// Installs a handler for a signal, unless the signal was ignored when this process started.
///
/// # Errors
/// When the handler cannot be installed.
pub(crate) fn listen(kind: SignalKind) -> io::Result<Option<Signal>> {
    if is_ignored(kind) { Ok(None) } else { signal(kind).map(Some) }
}

/// Whether a signal is ignored, as far as the kernel says. Asked without a file: a confined process opens none.
fn is_ignored(kind: SignalKind) -> bool {
    // SAFETY: a structure of integers, for which zeros are a value.
    let mut action: libc::sigaction = unsafe { std::mem::zeroed() };
    // SAFETY: without a new action the call only writes the present one to a structure of that type.
    let asked = unsafe { libc::sigaction(kind.as_raw_value(), std::ptr::null(), &raw mut action) };
    asked == 0 && action.sa_sigaction == libc::SIG_IGN
}

/// Waits for a signal; forever, if it is ignored.
pub(crate) async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
