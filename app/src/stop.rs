//! What ends a run from outside: signals and `--duration`.

use std::fs::File;
use std::io;
use std::mem::MaybeUninit;
use std::ptr;
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
    /// Whether SIGHUP does not end the run, and whether the process had a terminal that it may lose.
    hangup: Hangup,
    /// When it is judged what the latest SIGHUP means.
    hung_up: Option<Instant>,
}

/// What SIGHUP means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Hangup {
    Ends,
    Reopens { had_terminal: bool },
}

/// What was asked for from outside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Asked {
    /// To end.
    Stop,
    /// To open files again.
    Reopen,
}

/// The kernel takes the terminal from the processes of a session after it has sent SIGHUP to some of them.
const HANGUP: Duration = Duration::from_millis(200);

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
        Ok(Self { signals, deadline: None, was_wanted: false, hangup: Hangup::Ends, hung_up: None })
    }

    /// From now on SIGHUP asks for files to be opened again, unless it comes because the terminal is gone.
    pub fn reopen_on_hangup(&mut self) {
        self.hangup = Hangup::Reopens { had_terminal: has_terminal() };
    }

    /// Waits for a signal or the deadline. It may be cancelled: what has come by then is not lost.
    pub async fn asked(&mut self) -> Asked {
        loop {
            let [interrupt, terminate, hangup] = &mut self.signals;
            let [judged, deadline] = [self.hung_up, self.deadline].map(|at| at.unwrap_or_else(Instant::now));
            tokio::select! {
                () = received(interrupt) => break,
                () = received(terminate) => break,
                () = received(hangup) => match self.hangup {
                    Hangup::Ends => break,
                    Hangup::Reopens { .. } => self.hung_up = Some(Instant::now() + HANGUP),
                },
                () = sleep_until(judged), if self.hung_up.is_some() => {
                    self.hung_up = None;
                    if self.hangup == (Hangup::Reopens { had_terminal: has_terminal() }) {
                        return Asked::Reopen;
                    }
                    break;
                }
                () = sleep_until(deadline), if self.deadline.is_some() => break,
            }
        }
        self.was_wanted = true;
        Asked::Stop
    }

    /// Sets the deadline to this long from now; without a duration there is none.
    pub fn within(&mut self, duration: Option<Duration>) {
        // A deadline beyond the clock's range is none.
        self.deadline = duration.and_then(|duration| Instant::now().checked_add(duration));
    }

    /// Waits for a signal or the deadline, whatever it asks for.
    pub async fn wanted(&mut self) {
        self.asked().await;
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

/// Whether there is a controlling terminal.
fn has_terminal() -> bool {
    File::open("/dev/tty").is_ok()
}

/// Installs a handler for a signal, unless the signal was ignored when this process started.
///
/// # Errors
/// When the handler cannot be installed.
pub(crate) fn listen(kind: SignalKind) -> io::Result<Option<Signal>> {
    if is_ignored(kind) { Ok(None) } else { signal(kind).map(Some) }
}

/// Whether a signal is ignored, as `nohup` and shells that are no terminal's have it for what they start.
fn is_ignored(kind: SignalKind) -> bool {
    let mut present = MaybeUninit::<libc::sigaction>::zeroed();
    // SAFETY: without a new action the kernel changes nothing, and writes the present one where there is room for it.
    let read = unsafe { libc::sigaction(kind.as_raw_value(), ptr::null(), present.as_mut_ptr()) };
    // SAFETY: it was written, and a structure of zeros is one, too.
    read == 0 && unsafe { present.assume_init() }.sa_sigaction == libc::SIG_IGN
}

/// Waits for a signal; forever, if it is ignored.
pub(crate) async fn received(signal: &mut Option<Signal>) {
    match signal {
        Some(signal) => drop(signal.recv().await),
        None => std::future::pending().await,
    }
}
