//! The sockets at both ends of a flow, and the processes that they belong to.

use std::sync::Arc;

use probe_common::Side;

use super::{Evidence, Owner};
use crate::socket::Socket;

/// What is known of the sockets of a flow, by the ends of its tuple: which of them is this host's may turn out later.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Sockets {
    low: SocketEnd,
    high: SocketEnd,
}

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct SocketEnd {
    /// 0 while it is not known.
    cookie: u64,
    owner: Option<Owner>,
    kernel: Option<Arc<KernelSocket>>,
}

/// What the kernel knew of a socket at one moment.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct KernelSocket {
    /// What it knew.
    pub socket: Socket,
    /// When, in nanoseconds of the monotonic clock.
    pub at_ns: u64,
}

impl Sockets {
    /// The cookie of the socket at this end, if it is known.
    pub(crate) fn cookie(&self, end: Side) -> Option<u64> {
        Some(self.of(end).cookie).filter(|cookie| *cookie != 0)
    }

    /// The process at this end, if it is known.
    pub(crate) const fn owner(&self, end: Side) -> Option<&Owner> {
        self.of(end).owner.as_ref()
    }

    /// Whether nothing more is to be learned about this end.
    pub(crate) fn is_certain(&self, end: Side) -> bool {
        self.owner(end).is_some_and(|owner| owner.evidence == Evidence::Acts)
    }

    /// Whether an owner that is known so well is news.
    pub(crate) fn wants(&self, end: Side, owner: &Owner) -> bool {
        match self.owner(end) {
            None => true,
            Some(known) if known.evidence == Evidence::Acts => false,
            // A socket may be passed on, and what holds it changes.
            Some(known) => owner.evidence >= known.evidence && known != owner,
        }
    }

    /// Notes the cookie of the socket at this end. Another one is another socket, of which nothing is known.
    pub(crate) fn note_cookie(&mut self, end: Side, cookie: u64) {
        let socket = self.of_mut(end);
        if socket.cookie != 0 && socket.cookie != cookie {
            (socket.owner, socket.kernel) = (None, None);
        }
        socket.cookie = cookie;
    }

    /// What the kernel knows of the socket at this end, if it was listed.
    pub(crate) fn kernel(&self, end: Side) -> Option<&KernelSocket> {
        self.of(end).kernel.as_deref()
    }

    /// Notes what the kernel knows of the socket at this end.
    pub(crate) fn note_kernel(&mut self, end: Side, socket: &Socket, at_ns: u64) {
        if socket.cookie != 0 {
            self.note_cookie(end, socket.cookie);
        }
        let known = &mut self.of_mut(end).kernel;
        match known.as_mut().and_then(Arc::get_mut) {
            Some(known) => {
                known.socket.clone_from(socket);
                known.at_ns = at_ns;
            }
            None => *known = Some(Arc::new(KernelSocket { socket: socket.clone(), at_ns })),
        }
    }

    pub(crate) fn set_owner(&mut self, end: Side, owner: Owner) {
        self.of_mut(end).owner = Some(owner);
    }

    const fn of(&self, end: Side) -> &SocketEnd {
        match end {
            Side::Low => &self.low,
            Side::High => &self.high,
        }
    }

    const fn of_mut(&mut self, end: Side) -> &mut SocketEnd {
        match end {
            Side::Low => &mut self.low,
            Side::High => &mut self.high,
        }
    }
}
