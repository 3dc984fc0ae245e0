//! Servers.

use std::collections::HashMap;
use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsFd;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use anyhow::{Context, Result};
use nix::sys::epoll::{Epoll, EpollCreateFlags, EpollEvent, EpollFlags, EpollTimeout};
use socket2::{Domain, SockRef, Socket, Type};

use crate::namespace::Namespace;
use crate::worker::{Stop, Worker};

/// Connections that the kernel completes ahead of `accept`; it caps this at `net/core/somaxconn`.
const BACKLOG: i32 = 4096;
/// Bytes taken from a connection in one turn.
const CHUNK: usize = 64 * 1024;

const STOP: u64 = 0;
const LISTENER: u64 = 1;
const FIRST_CONNECTION: u64 = 2;

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
        let epoll = Epoll::new(EpollCreateFlags::EPOLL_CLOEXEC)?;
        epoll.add(&listener, EpollEvent::new(EpollFlags::EPOLLIN, LISTENER))?;
        let mut service = Service {
            listener,
            mode,
            epoll,
            connections: HashMap::new(),
            next: FIRST_CONNECTION,
            accepted: Arc::clone(&accepted),
        };
        let body = move |stop: &Stop| service.run(stop).expect("epoll works on descriptors it owns");
        let worker = Worker::spawn(&format!("server {}", address.port()), body)?;
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

/// The thread's side of a server.
struct Service {
    listener: TcpListener,
    mode: Mode,
    epoll: Epoll,
    connections: HashMap<u64, Connection>,
    next: u64,
    accepted: Arc<AtomicU64>,
}

struct Connection {
    stream: TcpStream,
    /// What is still to be sent back. While there is any, nothing more is read.
    pending: Vec<u8>,
}

impl Service {
    fn run(&mut self, stop: &Stop) -> io::Result<()> {
        self.epoll.add(stop, EpollEvent::new(EpollFlags::EPOLLIN, STOP))?;
        let mut events = [EpollEvent::empty(); 64];
        loop {
            let count = match self.epoll.wait(&mut events, EpollTimeout::NONE) {
                Err(nix::errno::Errno::EINTR) => 0,
                other => other?,
            };
            for event in &events[..count] {
                match event.data() {
                    STOP => return Ok(()),
                    LISTENER => self.accept()?,
                    token => self.serve(token)?,
                }
            }
        }
    }

    fn accept(&mut self) -> io::Result<()> {
        // Any error but want of descriptors is that of one connection which was reset while it waited.
        while let Ok((stream, _)) = self.listener.accept() {
            self.accepted.fetch_add(1, Ordering::Relaxed);
            match self.mode {
                Mode::CloseAtOnce => {}
                // To close with a linger of zero sends an RST in place of the FIN.
                Mode::ResetAtOnce => drop(SockRef::from(&stream).set_linger(Some(Duration::ZERO))),
                Mode::HoldOpen | Mode::Echo => {
                    stream.set_nonblocking(true)?;
                    self.epoll.add(&stream, EpollEvent::new(EpollFlags::EPOLLIN, self.next))?;
                    self.connections.insert(self.next, Connection { stream, pending: Vec::new() });
                    self.next += 1;
                }
            }
        }
        Ok(())
    }

    fn serve(&mut self, token: u64) -> io::Result<()> {
        let Some(connection) = self.connections.get_mut(&token) else { return Ok(()) };
        match connection.turn(self.mode) {
            Ok(interest) => {
                self.epoll.modify(connection.stream.as_fd(), &mut EpollEvent::new(interest, token))?;
            }
            // Closed or broken by the client: to close the socket takes it out of the poll set as well.
            Err(_) => drop(self.connections.remove(&token)),
        }
        Ok(())
    }
}

impl Connection {
    /// Sends back or reads; answers what to wait for next. The error `UnexpectedEof` is the client's FIN.
    fn turn(&mut self, mode: Mode) -> io::Result<EpollFlags> {
        if self.pending.is_empty() {
            let mut buffer = vec![0; CHUNK];
            match self.stream.read(&mut buffer) {
                Ok(0) => return Err(io::ErrorKind::UnexpectedEof.into()),
                Ok(length) if mode == Mode::Echo => self.pending.extend_from_slice(&buffer[..length]),
                Ok(_) => {}
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        if !self.pending.is_empty() {
            match self.stream.write(&self.pending) {
                Ok(sent) => drop(self.pending.drain(..sent)),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => {}
                Err(error) => return Err(error),
            }
        }
        Ok(if self.pending.is_empty() { EpollFlags::EPOLLIN } else { EpollFlags::EPOLLOUT })
    }
}
