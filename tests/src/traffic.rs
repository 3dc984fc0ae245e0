//! TCP servers and clients inside a namespace: real sockets of the kernel's own stack.

mod clients;
mod server;

use std::io;
use std::net::{SocketAddr, TcpStream};
use std::time::Duration;

use socket2::{Domain, SockRef, Socket, Type};

use crate::namespace::Namespace;

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
    socket.connect_timeout(&remote.into(), timeout)?;
    Ok(socket.into())
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
            connected += usize::from(open(None, remote)?.connect_timeout(&remote.into(), timeout).is_ok());
        }
        Ok(connected)
    })
}

/// A socket that is bound to `local` if given. It belongs to the calling thread's namespace.
fn open(local: Option<SocketAddr>, remote: SocketAddr) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(remote), Type::STREAM, None)?;
    if let Some(local) = local {
        socket.set_reuse_address(true)?;
        socket.bind(&local.into())?;
    }
    Ok(socket)
}
