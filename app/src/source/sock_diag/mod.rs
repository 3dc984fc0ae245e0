//! All TCP sockets of this network namespace, as the kernel lists them over sock_diag(7).

mod decode;

use std::io;

use netlink_sys::protocols::NETLINK_SOCK_DIAG;
use netlink_sys::{Socket as NetlinkSocket, SocketAddr};
use nix::libc;
use tcptop_core::{Socket, SocketState};

use super::netlink::{HEADER, messages};

/// `SOCK_DIAG_BY_FAMILY`.
const BY_FAMILY: u16 = 20;
/// Everything that can be asked for: the bits of `idiag_ext`.
const ALL_EXTENSIONS: u8 = 0xff;
/// Length of `struct inet_diag_req_v2` with the header of its message.
const REQUEST: usize = HEADER + 56;
/// The kernel writes up to 32 KiB at once where it finds room for them (`netlink_dump`).
const ROOM: usize = 32 << 10;

/// The states of sockets that the kernel knows more of than a timer.
pub const CONNECTED_OR_LISTENING: u32 =
    ALL_STATES & !(SocketState::TimeWait.bit() | SocketState::Close.bit());
/// Every state.
pub const ALL_STATES: u32 = 0xffe;

/// Lists sockets.
#[derive(Debug, Default)]
pub struct SockDiag {
    /// What one call receives, and what is read of it.
    received: Vec<u8>,
    sockets: Vec<Socket>,
}

impl SockDiag {
    /// Passes every socket in one of these states to `take`, some dozens at a time. A socket that comes or goes meanwhile may be
    /// among them or not, and one that changes its place may be there twice.
    ///
    /// # Errors
    /// When the kernel does not list them.
    pub fn dump(&mut self, states: u32, mut take: impl FnMut(&[Socket])) -> io::Result<()> {
        [libc::AF_INET, libc::AF_INET6].into_iter().try_for_each(|family| {
            let family = u8::try_from(family).expect("both are small");
            match self.dump_family(&request(family, states), &mut take) {
                // IPv6 can be switched off.
                Err(error) if family != 2 && error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
                result => result,
            }
        })
    }

    fn dump_family(&mut self, request: &[u8; REQUEST], take: &mut impl FnMut(&[Socket])) -> io::Result<()> {
        // A socket of its own: it has no answers of a dump that was broken off.
        let netlink = NetlinkSocket::new(NETLINK_SOCK_DIAG)?;
        netlink.connect(&SocketAddr::new(0, 0))?;
        netlink.send(request, 0)?;
        loop {
            self.received.clear();
            self.received.reserve(ROOM);
            let length = netlink.recv(&mut self.received, libc::MSG_TRUNC)?;
            let received =
                self.received.get(..length).ok_or_else(|| io::Error::other("a message was cut"))?;
            self.sockets.clear();
            let mut end = None;
            for message in messages(received) {
                match decode::message(message) {
                    decode::Message::Socket(socket) => self.sockets.push(*socket),
                    decode::Message::Unreadable => {}
                    decode::Message::End(result) => end = Some(result),
                }
            }
            if !self.sockets.is_empty() {
                take(&self.sockets);
            }
            match end {
                Some(0) => return Ok(()),
                Some(errno) => return Err(io::Error::from_raw_os_error(errno)),
                None if received.is_empty() => return Err(io::ErrorKind::UnexpectedEof.into()),
                None => {}
            }
        }
    }
}

/// Asks for all TCP sockets of a family: `struct inet_diag_req_v2`, behind the header of its message.
fn request(family: u8, states: u32) -> [u8; REQUEST] {
    let flags = u16::try_from(libc::NLM_F_REQUEST | libc::NLM_F_DUMP).expect("both fit");
    let protocol = u8::try_from(libc::IPPROTO_TCP).expect("it is 6");
    let mut request = [0; REQUEST];
    request[..4].copy_from_slice(&u32::try_from(REQUEST).expect("it is short").to_ne_bytes());
    request[4..6].copy_from_slice(&BY_FAMILY.to_ne_bytes());
    request[6..8].copy_from_slice(&flags.to_ne_bytes());
    request[HEADER..HEADER + 3].copy_from_slice(&[family, protocol, ALL_EXTENSIONS]);
    request[HEADER + 4..HEADER + 8].copy_from_slice(&states.to_ne_bytes());
    request
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use tcptop_core::InfoField;

    use super::*;

    fn all() -> Vec<Socket> {
        let mut sockets = Vec::new();
        SockDiag::default().dump(CONNECTED_OR_LISTENING, |some| sockets.extend_from_slice(some)).unwrap();
        sockets
    }

    #[test]
    fn both_ends_of_a_connection_and_its_listener_are_listed() {
        for address in ["127.0.0.1:0", "[::1]:0"] {
            let Ok(listener) = TcpListener::bind(address) else {
                assert!(address.starts_with('['), "only IPv6 may be off");
                continue;
            };
            let port = listener.local_addr().unwrap().port();
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let client_port = client.local_addr().unwrap().port();
            let sockets = all();
            let of = |local, remote| {
                let is_it = |socket: &&Socket| socket.local.port == local && socket.remote.port == remote;
                sockets.iter().find(is_it).unwrap_or_else(|| panic!("{local} to {remote}"))
            };
            let (opener, accepted, listening) = (of(client_port, port), of(port, client_port), of(port, 0));
            assert_eq!(listening.state, SocketState::Listen);
            // Nobody accepts it.
            assert_eq!((listening.receive_queue, listening.info), (1, None));
            assert!(listening.send_queue >= 1, "{listening:?}");
            for end in [opener, accepted] {
                assert_eq!(end.state, SocketState::Established);
                let info = end.info.unwrap();
                assert!(info.get(InfoField::Rtt).is_some_and(|us| us < 10_000_000), "{info:?}");
                assert!(end.congestion.is_some() && end.memory.is_some() && end.cookie != 0, "{end:?}");
            }
            assert_ne!(opener.cookie, accepted.cookie);
            assert_eq!((opener.local, opener.remote), (accepted.remote, accepted.local));
            assert!(opener.inode != 0 && accepted.inode == 0, "nobody holds what was not accepted");
        }
    }

    #[test]
    fn the_states_are_those_that_were_asked_for() {
        let _listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let mut states = Vec::new();
        let listening = SocketState::Listen.bit();
        SockDiag::default()
            .dump(listening, |some| states.extend(some.iter().map(|socket| socket.state)))
            .unwrap();
        assert!(!states.is_empty() && states.iter().all(|state| *state == SocketState::Listen), "{states:?}");
    }
}
