//! Servers.

use std::io;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use anyhow::{Context, Result};
use socket2::{Domain, Socket, Type};
use tokio::io::{BufReader, copy_buf, sink};
use tokio::net::TcpStream;

use crate::namespace::Namespace;
use crate::worker::Worker;

/// Connections that the kernel completes ahead of `accept`; it caps this at `net/core/somaxconn`.
const BACKLOG: i32 = 4096;
/// Bytes taken from a connection in one turn.
const CHUNK: usize = 64 * 1024;

/// What a server does with the connections it accepts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// Closes them at once, with a FIN.
    CloseAtOnce,
    /// Resets them at once, with an RST.
    ResetAtOnce,
    /// Reads and forgets what comes; closes when the client does.
    HoldOpen,
    /// Sends back what comes; closes when the client does and all is sent back.
    Echo,
}

/// A TCP server on a thread of its own. Dropping it ends the thread, the listening socket and all connections.
#[derive(Debug)]
pub struct Server {
    address: SocketAddr,
    accepted: Arc<AtomicU64>,
    _worker: Worker,
}

impl Server {
    /// Listens at `address` inside the namespace (port 0: any free port). Connections are answered from the
    /// moment this returns.
    ///
    /// # Errors
    /// When the namespace does not have the address, or the port is taken.
    pub fn bind(namespace: &Namespace, address: SocketAddr, mode: Mode) -> Result<Self> {
        let listener =
            namespace.run(|| listen(address)).with_context(|| format!("cannot listen at {address}"))?;
        let address = listener.local_addr()?;
        let accepted = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&accepted);
        let worker = Worker::spawn_async(&format!("server {}", address.port()), async move || {
            let listener = tokio::net::TcpListener::from_std(listener).expect("it does not block");
            loop {
                // Any error but want of descriptors is that of one connection which was reset while it waited.
                let Ok((stream, _)) = listener.accept().await else { continue };
                count.fetch_add(1, Ordering::Relaxed);
                serve(stream, mode);
            }
        })?;
        Ok(Self { address, accepted, _worker: worker })
    }

    /// Where it listens.
    #[must_use]
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// How many connections it accepted so far.
    #[must_use]
    pub fn accepted(&self) -> u64 {
        self.accepted.load(Ordering::Relaxed)
    }
}

fn listen(address: SocketAddr) -> io::Result<TcpListener> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, None)?;
    socket.set_reuse_address(true)?;
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}

fn serve(mut stream: TcpStream, mode: Mode) {
    match mode {
        Mode::CloseAtOnce => {}
        // Fails for a connection that is reset already.
        Mode::ResetAtOnce => drop(stream.set_zero_linger()),
        // Both end when the client closes or breaks the connection.
        Mode::HoldOpen => drop(tokio::spawn(async move {
            copy_buf(&mut BufReader::with_capacity(CHUNK, stream), &mut sink()).await
        })),
        Mode::Echo => drop(tokio::spawn(async move {
            let (reader, mut writer) = stream.split();
            copy_buf(&mut BufReader::with_capacity(CHUNK, reader), &mut writer).await
        })),
    }
}
