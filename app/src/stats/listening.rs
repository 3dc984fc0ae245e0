//! What one list of sockets says of others in it, and of those of earlier lists.

use std::collections::HashMap;

use probe_common::Endpoint;
use tcptop_core::{Extremes, Socket, SocketState, SocketSums, listening_end};

/// The most sockets whose extremes are kept.
const KEPT: usize = 1 << 18;

/// The listeners of a list, and how many connections each has.
#[derive(Debug, Default)]
pub(super) struct Listening {
    listeners: Vec<Socket>,
    ends: HashMap<Endpoint, End>,
}

/// Who listens at one end.
#[derive(Debug, Default)]
struct End {
    sockets: usize,
    is_v6_only: bool,
    /// Connections that were accepted, and those in `SYN-RECEIVED`.
    counts: [u64; 2],
}

impl Listening {
    /// Takes listeners over.
    pub(super) fn note(&mut self, sockets: &[Socket]) {
        for socket in sockets.iter().filter(|socket| socket.listens()) {
            let end = self.ends.entry(socket.local).or_default();
            end.sockets += 1;
            end.is_v6_only = socket.is_v6_only == Some(true);
            self.listeners.push(socket.clone());
        }
    }

    /// Counts a connection for those that listen for it, if anybody does. Returns whether anybody does.
    pub(super) fn accept(&mut self, connection: &Socket) -> bool {
        let listening = listening_end(&connection.local, |end| self.ends.get(end).map(|end| end.is_v6_only));
        let Some(end) = listening.and_then(|end| self.ends.get_mut(&end)) else { return false };
        let [accepted, pending] = &mut end.counts;
        // Until it is accepted, no process holds it.
        *accepted += u64::from(connection.state == SocketState::Established && connection.inode != 0);
        *pending += u64::from(connection.state == SocketState::SynRecv);
        true
    }

    /// All listeners, each with its connections that were accepted and those in `SYN-RECEIVED`: `None` where several sockets listen
    /// at one end (`SO_REUSEPORT`), as nobody can say which of them has which.
    pub(super) fn iter(&self) -> impl Iterator<Item = (&Socket, Option<[u64; 2]>)> {
        self.listeners.iter().map(|listener| {
            let end = self.ends.get(&listener.local).filter(|end| end.sockets == 1);
            (listener, end.map(|end| end.counts))
        })
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
    pub(super) fn note(&mut self, socket: &Socket, sums: Option<&SocketSums>) -> Option<&Extremes> {
        let is_crowded = self.extremes.len() >= KEPT && !self.extremes.contains_key(&socket.cookie);
        if socket.cookie == 0 || is_crowded {
            return None;
        }
        let (list, extremes) = self.extremes.entry(socket.cookie).or_default();
        *list = self.list;
        extremes.note(socket, sums);
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
        let workers = [10, 11].map(|cookie| socket(cookie, one, 83, SocketState::Listen));
        listening.note(&[
            socket(1, mapped([0; 4]), 80, SocketState::Listen),
            socket(2, one, 80, SocketState::Listen),
            only_v6,
        ]);
        listening.note(&workers);
        let accepted = |cookie, address, port| Socket {
            inode: 9,
            ..socket(cookie, address, port, SocketState::Established)
        };
        assert!(listening.accept(&accepted(4, one, 80)), "it is that of the address, not of all");
        assert!(listening.accept(&socket(5, mapped([10, 0, 0, 2]), 80, SocketState::SynRecv)));
        assert!(listening.accept(&accepted(6, v6, 81)));
        assert!(listening.accept(&socket(12, v6, 81, SocketState::Established)), "it was not accepted yet");
        assert!(listening.accept(&accepted(13, one, 83)));
        assert!(!listening.accept(&accepted(7, v6, 80)), "IPv4's do not take it");
        assert!(!listening.accept(&accepted(8, one, 81)), "it takes IPv6 only");
        assert!(!listening.accept(&accepted(9, one, 82)));
        let counts: Vec<_> = listening.iter().map(|(listener, counts)| (listener.cookie, counts)).collect();
        let [all, address, v6] = [[0, 1], [1, 0], [1, 0]].map(Some);
        assert_eq!(counts, [(1, all), (2, address), (3, v6), (10, None), (11, None)]);
    }

    #[test]
    fn sockets_that_are_gone_are_forgotten() {
        let mut seen = Seen::default();
        let [first, second] = [1, 2].map(|cookie| socket(cookie, [0; 16], 80, SocketState::Established));
        assert!(seen.note(&first, None).is_some() && seen.note(&second, None).is_some());
        seen.complete();
        assert!(seen.note(&second, None).is_some());
        seen.complete();
        assert_eq!(seen.extremes.keys().collect::<Vec<_>>(), [&2]);
        assert!(seen.note(&socket(0, [0; 16], 80, SocketState::TimeWait), None).is_none());
    }
}
