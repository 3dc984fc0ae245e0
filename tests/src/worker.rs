//! Threads that end when their owner does.

use std::io;
use std::os::fd::{AsFd, BorrowedFd};
use std::panic::resume_unwind;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use nix::errno::Errno;
use nix::poll::{PollFd, PollFlags, ppoll};
use nix::sys::eventfd::{EfdFlags, EventFd};
use nix::sys::time::TimeSpec;
use tokio::io::unix::AsyncFd;

/// A thread that is told to stop, and waited for, when this is dropped.
#[derive(Debug)]
pub(crate) struct Worker {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Worker {
    /// Starts `body` on a thread called `name` (the kernel keeps its first 15 bytes).
    pub(crate) fn spawn(name: &str, body: impl FnOnce(&Stop) + Send + 'static) -> io::Result<Self> {
        let stop = Stop(Arc::new(EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?));
        let told = stop.clone();
        let thread = thread::Builder::new().name(name.to_owned()).spawn(move || body(&told))?;
        Ok(Self { stop, thread: Some(thread) })
    }

    /// Starts `body` on a runtime of its own; all of its tasks end with it.
    pub(crate) fn spawn_async(name: &str, body: impl AsyncFnOnce() + Send + 'static) -> io::Result<Self> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        Self::spawn(name, move |stop| {
            runtime.block_on(async {
                // SAFETY: the eventfd's descriptor is the same, and open, for as long as there is a clone of it.
                let stop = unsafe { AsyncFd::register(Arc::clone(&stop.0)) }.expect("it can be waited for");
                tokio::select! {
                    _ = stop.readable() => {}
                    () = body() => {}
                }
            });
        })
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        self.stop.0.write(1).expect("an eventfd that is written once is never full");
        let Some(thread) = self.thread.take() else { return };
        if let Err(panic) = thread.join()
            && !thread::panicking()
        {
            // A worker that broke must fail the test that owned it; while that one already fails, its own
            // panic says more, and a second one would abort the process.
            resume_unwind(panic);
        }
    }
}

/// Becomes readable, for good, when the owner of the worker lets go of it.
#[derive(Clone, Debug)]
pub(crate) struct Stop(Arc<EventFd>);

impl AsFd for Stop {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.0.as_fd()
    }
}

/// A poll entry for "there is something to read".
pub(crate) fn readable(source: &impl AsFd) -> PollFd<'_> {
    PollFd::new(source.as_fd(), PollFlags::POLLIN)
}

/// Whether the entry had any event, an error or a hang-up included: the next read or write tells which.
pub(crate) fn is_ready(source: &PollFd<'_>) -> bool {
    source.revents().is_none_or(|events| !events.is_empty())
}

/// Waits until a source is ready or `timeout` (nanosecond resolution; `None`: for ever) is over. A signal may
/// end it early, with no source ready.
pub(crate) fn wait_any(sources: &mut [PollFd<'_>], timeout: Option<Duration>) -> io::Result<()> {
    match ppoll(sources, timeout.map(TimeSpec::from_duration), None) {
        Ok(_) | Err(Errno::EINTR) => Ok(()),
        Err(error) => Err(error.into()),
    }
}
