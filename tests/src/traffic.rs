//! TCP servers and clients inside a namespace: real sockets of the kernel's own stack.

mod clients;
mod server;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::os::fd::AsFd;
use std::time::{Duration, Instant};

use nix::poll::{PollFd, PollFlags};
use socket2::{Domain, SockRef, Socket, Type};

use crate::namespace::Namespace;
use crate::worker::{Stop, is_ready, readable, wait_any};

pub use clients::{ClientPlan, Clients, Tally};
pub use server::{Mode, Server};

/// Connects from inside the namespace to `remote`, from `local` if given (port 0: any port). A port that a
/// closed connection lingers on (TIME-WAIT) can be given again. The stream blocks.
///
/// # Errors
/// `TimedOut` when `timeout` is over, `ConnectionRefused`, or what else the kernel says.
pub fn connect(
    namespace: &Namespace,
    local: Option<SocketAddr>,
    remote: SocketAddr,
    timeout: Duration,
) -> io::Result<TcpStream> {
    let socket = namespace.run(|| open(local, remote))?;
    let stream = complete(socket, remote, Instant::now() + timeout, None)?;
    stream.set_nonblocking(false)?;
    Ok(stream)
}

/// Ends a connection by a RST, whatever is still to be sent or read.
///
/// # Errors
/// When the kernel refuses.
pub fn reset(stream: TcpStream) -> io::Result<()> {
    SockRef::from(&stream).set_linger(Some(Duration::ZERO))?;
    drop(stream);
    Ok(())
}

/// Connects and closes `count` times, one after the other, from the same namespace; answers how many
/// connections were made. Takes at most `count` times `timeout`.
///
/// # Errors
/// When a socket cannot be made, say for want of ports or descriptors. A connection that fails is not an error.
pub fn connect_many(
    namespace: &Namespace,
    remote: SocketAddr,
    count: usize,
    timeout: Duration,
) -> io::Result<usize> {
    namespace.run(|| {
        let mut connected = 0;
        for _ in 0..count {
            let socket = open(None, remote)?;
            connected += usize::from(complete(socket, remote, Instant::now() + timeout, None).is_ok());
        }
        Ok(connected)
    })
}

/// A socket that does not block, bound to `local` if given. It belongs to the calling thread's namespace.
fn open(local: Option<SocketAddr>, remote: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(remote), Type::STREAM, None)?;
    socket.set_nonblocking(true)?;
    if let Some(local) = local {
        socket.set_reuse_address(true)?;
        socket.bind(&local.into())?;
    }
    Ok(socket)
}

/// Connects an open socket; gives up at `deadline` or when told to stop. The stream does not block.
fn complete(
    socket: Socket,
    remote: SocketAddr,
    deadline: Instant,
    stop: Option<&Stop>,
) -> io::Result<TcpStream> {
    match socket.connect(&remote.into()) {
        Err(error) if error.raw_os_error() != Some(nix::libc::EINPROGRESS) => return Err(error),
        Ok(()) | Err(_) => {}
    }
    wait_io(&socket, PollFlags::POLLOUT, deadline, stop)?;
    match socket.take_error()? {
        Some(error) => Err(error),
        None => Ok(socket.into()),
    }
}

/// Waits until the socket has one of the `events`, or an error.
fn wait_io(socket: &impl AsFd, events: PollFlags, deadline: Instant, stop: Option<&Stop>) -> io::Result<()> {
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let mut sources = vec![PollFd::new(socket.as_fd(), events)];
        sources.extend(stop.map(readable));
        wait_any(&mut sources, Some(left))?;
        if is_ready(&sources[0]) {
            return Ok(());
        }
        if sources.get(1).is_some_and(is_ready) {
            return Err(io::Error::new(io::ErrorKind::Interrupted, "told to stop"));
        }
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
    }
}
