//! What ends a run from outside: signals and the time limit.

use std::fs;
use std::io;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, sleep, sleep_until};

use crate::error::Error;

/// Signals that mean the end, and when the time is over.
pub struct Stop {
    /// Those that this process was not started to ignore, as `nohup` does with a hang-up.
    signals: [Option<Signal>; 3],
    deadline: Option<Instant>,
    was_wanted: bool,
}

impl Stop {
    /// Begins to listen to signals. There is time for ever.
    ///
    /// # Errors
    /// When the system does not let signals be listened to.
    pub fn new() -> Result<Self, Error> {
        let kinds = [SignalKind::interrupt(), SignalKind::terminate(), SignalKind::hangup()];
        let [interrupt, terminate, hangup] = kinds
            .map(|kind| listen(kind).map_err(|source| Error::System { what: "listen to signals", source }));
        let signals = [interrupt?, terminate?, hangup?];
        Ok(Self { signals, deadline: None, was_wanted: false })
    }

    /// There is this much time from now on.
    pub fn within(&mut self, duration: Option<Duration>) {
        // An end beyond the clock's range is none.
        self.deadline = duration.and_then(|duration| Instant::now().checked_add(duration));
    }

    /// Waits until it is time to end.
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

    /// Waits until whoever wants the end has waited for it long enough.
    pub async fn overdue(&mut self, patience: Duration) {
        if self.was_wanted {
            sleep(patience).await;
        } else {
            self.wanted().await;
        }
    }
}

/// Begins to listen to a signal, unless this process was started to ignore it.
///
/// # Errors
/// When the system does not let signals be listened to.
pub(crate) fn listen(kind: SignalKind) -> io::Result<Option<Signal>> {
    let is_ignored = ignored_signals() >> (kind.as_raw_value() - 1) & 1 == 1;
    if is_ignored { Ok(None) } else { signal(kind).map(Some) }
}

/// The signals that are ignored, as bits; none where the kernel does not say.
fn ignored_signals() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0)
}

/// Waits for a signal; for ever, where it is ignored.
pub(crate) async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
