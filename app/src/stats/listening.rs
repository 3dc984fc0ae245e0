//! What one list of sockets says of others in it, and of those of earlier lists.

use std::collections::HashMap;
use std::net::Ipv6Addr;

use tcptop_core::{Extremes, Socket, SocketState};

/// The most sockets whose extremes are kept.
const KEPT: usize = 1 << 18;

/// The listeners of a list, and how many connections each has.
#[derive(Debug, Default)]
pub(super) struct Listening {
    listeners: Vec<(Socket, [u64; 2])>,
    by_port: HashMap<u16, Vec<usize>>,
}

impl Listening {
    /// Takes listeners over.
    pub(super) fn note(&mut self, sockets: &[Socket]) {
        for socket in sockets.iter().filter(|socket| socket.listens()) {
            self.by_port.entry(socket.local.port).or_default().push(self.listeners.len());
            self.listeners.push((socket.clone(), [0; 2]));
        }
    }

    /// Counts a connection for its listeners, if it has any: several can listen at one end (`SO_REUSEPORT`). Returns whether it has.
    pub(super) fn accept(&mut self, connection: &Socket) -> bool {
        let places = self.by_port.get(&connection.local.port).map_or(&[][..], Vec::as_slice);
        let mut is_accepted = false;
        for place in places {
            let Some((listener, [established, pending])) = self.listeners.get_mut(*place) else { continue };
            if takes(listener, connection) {
                is_accepted = true;
                *established += u64::from(connection.state == SocketState::Established);
                *pending += u64::from(connection.state == SocketState::SynRecv);
            }
        }
        is_accepted
    }

    /// All listeners, each with its connections in `ESTABLISHED` and in `SYN-RECEIVED`.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Socket, [u64; 2])> {
        self.listeners.iter().map(|(listener, counts)| (listener, *counts))
    }
}

/// Whether connections to this end are the listener's.
fn takes(listener: &Socket, connection: &Socket) -> bool {
    let [listens, connected] = [listener, connection].map(|socket| Ipv6Addr::from(socket.local.address));
    let is_v4 = connected.to_ipv4_mapped().is_some();
    match listens.to_ipv4_mapped() {
        Some(v4) if v4.is_unspecified() => is_v4,
        None if listens.is_unspecified() => !(is_v4 && listener.is_v6_only == Some(true)),
        Some(_) | None => listens == connected,
    }
}

/// The sockets of earlier lists.
#[derive(Debug, Default)]
pub(super) struct Seen {
    /// By cookie, with the number of the list that the socket was last in.
    extremes: HashMap<u64, (u64, Extremes)>,
    list: u64,
}

impl Seen {
    /// Takes a socket of the current list into account, and returns its extremes so far.
    pub(super) fn note(&mut self, socket: &Socket) -> Option<&Extremes> {
        let is_crowded = self.extremes.len() >= KEPT && !self.extremes.contains_key(&socket.cookie);
        if socket.cookie == 0 || is_crowded {
            return None;
        }
        let (list, extremes) = self.extremes.entry(socket.cookie).or_default();
        *list = self.list;
        extremes.note(socket);
        Some(extremes)
    }

    /// The list is complete: sockets that were not in it are gone.
    pub(super) fn complete(&mut self) {
        let current = self.list;
        self.extremes.retain(|_, (list, _)| *list == current);
        self.list += 1;
    }
}

#[cfg(test)]
mod tests {
    use probe_common::Endpoint;
    use probe_common::segment::mapped;

    use super::*;

    fn socket(cookie: u64, address: [u8; 16], port: u16, state: SocketState) -> Socket {
        let local = Endpoint { address, port };
        Socket::new(cookie, local, Endpoint { address: [0; 16], port: 0 }, state)
    }

    #[test]
    fn connections_are_those_of_the_listeners_at_their_end() {
        let one = mapped([10, 0, 0, 1]);
        let v6 = [0x20; 16];
        let mut listening = Listening::default();
        let only_v6 = Socket { is_v6_only: Some(true), ..socket(3, [0; 16], 81, SocketState::Listen) };
        listening.note(&[
            socket(1, mapped([0; 4]), 80, SocketState::Listen),
            socket(2, one, 80, SocketState::Listen),
            only_v6,
        ]);
        assert!(listening.accept(&socket(4, one, 80, SocketState::Established)));
        assert!(listening.accept(&socket(5, mapped([10, 0, 0, 2]), 80, SocketState::SynRecv)));
        assert!(listening.accept(&socket(6, v6, 81, SocketState::Established)));
        assert!(!listening.accept(&socket(7, v6, 80, SocketState::Established)), "IPv4's do not take it");
        assert!(!listening.accept(&socket(8, one, 81, SocketState::Established)), "it takes IPv6 only");
        assert!(!listening.accept(&socket(9, one, 82, SocketState::Established)));
        let counts: Vec<_> = listening.iter().map(|(listener, counts)| (listener.cookie, counts)).collect();
        assert_eq!(counts, [(1, [1, 1]), (2, [1, 0]), (3, [1, 0])]);
    }

    #[test]
    fn sockets_that_are_gone_are_forgotten() {
        let mut seen = Seen::default();
        let [first, second] = [1, 2].map(|cookie| socket(cookie, [0; 16], 80, SocketState::Established));
        assert!(seen.note(&first).is_some() && seen.note(&second).is_some());
        seen.complete();
        assert!(seen.note(&second).is_some());
        seen.complete();
        assert_eq!(seen.extremes.keys().collect::<Vec<_>>(), [&2]);
        assert!(seen.note(&socket(0, [0; 16], 80, SocketState::TimeWait)).is_none());
    }
}
