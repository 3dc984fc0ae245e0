//! Clients that keep coming.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpSocket;
use tokio::time::{Instant, sleep_until, timeout};

use super::open;
use crate::namespace::Namespace;
use crate::worker::Worker;

/// What a steady client does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClientPlan {
    /// Where it connects to.
    pub remote: SocketAddr,
    /// Where it connects from (port 0: any port); `None` leaves it to the kernel.
    pub local: Option<SocketAddr>,
    /// Time from one connection's start to the next one's, in whole milliseconds. When a connection takes longer than
    /// that, the next starts right after it.
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
        let worker = Worker::spawn_async(&format!("client {}", plan.remote.port()), async move || {
            namespace.enter().expect("who could make the namespace can enter it");
            keep_coming(&plan, &kept).await;
        })?;
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

async fn keep_coming(plan: &ClientPlan, counts: &Counts) {
    loop {
        let started = Instant::now();
        let succeeded = matches!(timeout(plan.timeout, visit(plan)).await, Ok(Ok(())));
        let count = if succeeded { &counts.succeeded } else { &counts.failed };
        count.fetch_add(1, Ordering::Relaxed);
        sleep_until(started + plan.period).await;
    }
}

/// Connects, sends and reads back at the same time, so that neither side's buffers can block the other.
async fn visit(plan: &ClientPlan) -> io::Result<()> {
    let socket = open(plan.local, plan.remote)?;
    socket.set_nonblocking(true)?;
    let mut stream = TcpSocket::from_std_stream(socket.into()).connect(plan.remote).await?;
    let (mut reader, mut writer) = stream.split();
    let (sent, mut received) = (vec![0x5a; plan.exchange], vec![0; plan.exchange]);
    tokio::try_join!(writer.write_all(&sent), reader.read_exact(&mut received))?;
    Ok(())
}
