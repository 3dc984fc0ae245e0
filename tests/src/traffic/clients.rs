//! Clients that keep coming.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use nix::poll::PollFlags;

use crate::namespace::Namespace;
use crate::traffic::{complete, open, wait_io};
use crate::worker::{Stop, Worker};

/// What a steady client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientPlan {
    /// Where it connects to.
    pub remote: SocketAddr,
    /// Where it connects from (port 0: any port); `None` leaves it to the kernel.
    pub local: Option<SocketAddr>,
    /// Time from one connection's start to the next one's. When a connection takes longer than that, the next
    /// starts right after it.
    pub period: Duration,
    /// How long a connection may take, its exchange included.
    pub timeout: Duration,
    /// Bytes to send, and to wait for the echo of, before it closes; 0 to close at once.
    pub exchange: usize,
}

impl ClientPlan {
    /// Connects to `remote` every `period` and closes at once; gives up after 10 s.
    #[must_use]
    pub fn new(remote: SocketAddr, period: Duration) -> Self {
        Self { remote, local: None, period, timeout: Duration::from_secs(10), exchange: 0 }
    }
}

/// How the connections of a steady client ended so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// Made, with a whole exchange.
    pub succeeded: u64,
    /// Refused, reset or given up.
    pub failed: u64,
}

/// A client that connects again and again, one connection at a time, on a thread of its own. Dropping it ends
/// the connection under way and the thread, at once.
#[derive(Debug)]
pub struct Clients {
    counts: Arc<Counts>,
    _worker: Worker,
}

#[derive(Debug, Default)]
struct Counts {
    succeeded: AtomicU64,
    failed: AtomicU64,
}

impl Clients {
    /// Connects to `remote` every `period` and closes at once.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn every(namespace: &Namespace, remote: SocketAddr, period: Duration) -> io::Result<Self> {
        Self::with(namespace, ClientPlan::new(remote, period))
    }

    /// Connects as the plan says; the first connection starts at once.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn with(namespace: &Namespace, plan: ClientPlan) -> io::Result<Self> {
        let counts = Arc::new(Counts::default());
        let (kept, namespace) = (Arc::clone(&counts), namespace.clone());
        let body = move |stop: &Stop| {
            namespace.enter().expect("who could make the namespace can enter it");
            keep_coming(&plan, &kept, stop).expect("poll works on descriptors it owns");
        };
        let worker = Worker::spawn(&format!("client {}", plan.remote.port()), body)?;
        Ok(Self { counts, _worker: worker })
    }

    /// How its connections ended so far.
    #[must_use]
    pub fn tally(&self) -> Tally {
        Tally {
            succeeded: self.counts.succeeded.load(Ordering::Relaxed),
            failed: self.counts.failed.load(Ordering::Relaxed),
        }
    }
}

fn keep_coming(plan: &ClientPlan, counts: &Counts, stop: &Stop) -> io::Result<()> {
    loop {
        let started = Instant::now();
        let outcome = visit(plan, started + plan.timeout, stop);
        let count = if outcome.is_ok() { &counts.succeeded } else { &counts.failed };
        count.fetch_add(1, Ordering::Relaxed);
        if stop.wait(plan.period.saturating_sub(started.elapsed()))? {
            return Ok(());
        }
    }
}

fn visit(plan: &ClientPlan, deadline: Instant, stop: &Stop) -> io::Result<()> {
    let stream = complete(open(plan.local, plan.remote)?, plan.remote, deadline, Some(stop))?;
    exchange(&stream, plan.exchange, deadline, stop)
}

/// Sends `length` bytes and reads as many back, whichever is possible first: neither side's buffers can block
/// the other.
fn exchange(mut stream: &TcpStream, length: usize, deadline: Instant, stop: &Stop) -> io::Result<()> {
    let mut buffer = [0x5a; 16 * 1024];
    let (mut unsent, mut unread) = (length, length);
    while unread > 0 {
        let sending = if unsent > 0 { PollFlags::POLLOUT } else { PollFlags::empty() };
        wait_io(stream, PollFlags::POLLIN | sending, deadline, Some(stop))?;
        if unsent > 0 {
            let chunk = unsent.min(buffer.len());
            unsent -= unless_blocked(stream.write(&buffer[..chunk]))?.unwrap_or(0);
        }
        match unless_blocked(stream.read(&mut buffer))? {
            Some(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
            Some(read) => unread = unread.saturating_sub(read),
            None => {}
        }
    }
    Ok(())
}

fn unless_blocked(result: io::Result<usize>) -> io::Result<Option<usize>> {
    match result {
        Ok(length) => Ok(Some(length)),
        Err(error) if error.kind() == io::ErrorKind::WouldBlock => Ok(None),
        Err(error) => Err(error),
    }
}
