//! Sockets of connections that no flow is known of yet: without a screen, those that were open before are known only when they
//! end.

use hashbrown::HashMap;
use probe_common::Endpoint;

use super::Socket;

/// The most that are kept: some 500 bytes each.
const MOST: usize = 1 << 14;

/// Both ends of a connection, the socket's own first.
type Ends = [Endpoint; 2];

/// Those of the latest list.
#[derive(Debug, Default)]
pub(crate) struct Unclaimed {
    listed: HashMap<Ends, Socket>,
    at_ns: u64,
    /// Those that were listed so far of the list that is under way.
    coming: HashMap<Ends, Socket>,
}

impl Unclaimed {
    /// Keeps one of the list, if there is room.
    pub(crate) fn note(&mut self, socket: &Socket) {
        if self.coming.len() < MOST {
            self.coming.insert([socket.local, socket.remote], socket.clone());
        }
    }

    /// The list, of this moment, is complete.
    pub(crate) fn complete(&mut self, at_ns: u64) {
        self.listed.clear();
        core::mem::swap(&mut self.listed, &mut self.coming);
        self.at_ns = at_ns;
    }

    /// Takes out the socket with these ends, and when it was listed.
    pub(crate) fn claim(&mut self, ends: Ends) -> Option<(Socket, u64)> {
        Some((self.listed.remove(&ends)?, self.at_ns))
    }
}
