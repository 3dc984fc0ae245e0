//! The listeners of this network namespace, and how many connections wait for each to accept them.

use core::fmt;
use std::net::Ipv6Addr;

use hashbrown::HashMap;
use probe_common::Endpoint;
use probe_common::segment::mapped;

use super::Socket;

/// The most listeners that are remembered.
const LISTENERS: usize = 1 << 16;

/// The connections that a listener has not accepted, at one moment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct AcceptQueue {
    /// How many wait.
    pub waiting: u32,
    /// How many may wait: the argument of `listen(2)`, at most `net.core.somaxconn`.
    pub limit: u32,
    /// When that was so, in nanoseconds of the monotonic clock.
    pub at_ns: u64,
}

impl AcceptQueue {
    /// That of a listener.
    #[must_use]
    pub const fn of(listener: &Socket, at_ns: u64) -> Self {
        Self { waiting: listener.receive_queue, limit: listener.send_queue, at_ns }
    }

    /// Whether Linux drops SYNs and the ACKs of handshakes because of it: one more than the limit wait.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.waiting > self.limit
    }

    /// How many could still wait. Full ones have no room.
    const fn room(&self) -> u32 {
        (self.limit + 1).saturating_sub(self.waiting)
    }
}

impl fmt::Display for AcceptQueue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} of {}", self.waiting, self.limit)
    }
}

/// All listeners, as they were last listed.
#[derive(Debug, Default)]
pub(crate) struct Listeners {
    listed: HashMap<Endpoint, Listener>,
    /// Those that were listed so far of the list that is under way.
    coming: HashMap<Endpoint, Listener>,
}

/// All sockets that listen at one end.
#[derive(Clone, Copy, Debug)]
struct Listener {
    /// The queue that has most room: with several sockets (`SO_REUSEPORT`) nobody can say which of them a SYN is for.
    emptiest: AcceptQueue,
    is_v6_only: bool,
}

impl Listeners {
    /// Takes over one of the list.
    pub(crate) fn note(&mut self, listener: &Socket, now_ns: u64) {
        let queue = AcceptQueue::of(listener, now_ns);
        let is_v6_only = listener.is_v6_only.unwrap_or(false);
        let listed = Listener { emptiest: queue, is_v6_only };
        let is_crowded = self.coming.len() >= LISTENERS;
        match self.coming.get_mut(&listener.local) {
            Some(other) if queue.room() > other.emptiest.room() => *other = listed,
            None if !is_crowded => drop(self.coming.insert(listener.local, listed)),
            Some(_) | None => {}
        }
    }

    /// The list is complete: who is not in it no longer listens.
    pub(crate) fn complete(&mut self) {
        self.listed.clear();
        core::mem::swap(&mut self.listed, &mut self.coming);
    }

    /// Whether any queue is full.
    pub(crate) fn has_full(&self) -> bool {
        self.listed.values().any(|listener| listener.emptiest.is_full())
    }

    /// The queue of the connections to this end, if somebody listens there: on the address, or else on all.
    pub(crate) fn queue_of(&self, end: &Endpoint) -> Option<AcceptQueue> {
        let listening = listening_end(end, |end| self.listed.get(end).map(|listener| listener.is_v6_only))?;
        self.listed.get(&listening).map(|listener| listener.emptiest)
    }
}

/// Where those listen that take connections to this end: on its address, or else on all. `is_v6_only` says of an end whether who
/// listens there takes only IPv6, if anybody listens there.
#[must_use]
pub fn listening_end(end: &Endpoint, is_v6_only: impl Fn(&Endpoint) -> Option<bool>) -> Option<Endpoint> {
    let is_v4 = Ipv6Addr::from(end.address).to_ipv4_mapped().is_some();
    let on = |address| Endpoint { address, port: end.port };
    let exact = Some(*end).filter(|end| is_v6_only(end).is_some());
    let of_v4 = || Some(on(mapped([0; 4]))).filter(|all| is_v4 && is_v6_only(all).is_some());
    let of_all = || Some(on([0; 16])).filter(|all| is_v6_only(all).is_some_and(|only| !(is_v4 && only)));
    exact.or_else(of_v4).or_else(of_all)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::socket::SocketState;

    fn end(address: [u8; 16], port: u16) -> Endpoint {
        Endpoint { address, port }
    }

    fn listener(address: [u8; 16], waiting: u32, is_v6_only: bool) -> Socket {
        let local = end(address, 80);
        let socket = Socket::new(1, local, end([0; 16], 0), SocketState::Listen);
        Socket { receive_queue: waiting, send_queue: 2, is_v6_only: Some(is_v6_only), ..socket }
    }

    fn listeners(all: &[Socket]) -> Listeners {
        let mut listeners = Listeners::default();
        all.iter().for_each(|listener| listeners.note(listener, 7));
        listeners.complete();
        listeners
    }

    const V6: [u8; 16] = [0x20, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 1];

    #[test]
    fn a_queue_is_full_with_one_more_than_its_limit() {
        let full = |waiting| AcceptQueue { waiting, limit: 128, at_ns: 0 }.is_full();
        assert_eq!([0, 127, 128, 129].map(full), [false, false, false, true]);
        assert_eq!(AcceptQueue { waiting: 129, limit: 128, at_ns: 0 }.to_string(), "129 of 128");
    }

    #[test]
    fn the_listener_of_a_connection_is_the_one_that_the_kernel_asks() {
        let waiting = |listeners: &Listeners, address, port| {
            listeners.queue_of(&end(address, port)).map(|queue| queue.waiting)
        };
        let v4 = |last| mapped([10, 0, 0, last]);
        let all = listeners(&[listener([0; 16], 1, false), listener(v4(1), 3, false)]);
        assert_eq!(waiting(&all, v4(1), 80), Some(3));
        assert_eq!(waiting(&all, v4(2), 80), Some(1), "IPv6's takes IPv4, too");
        assert_eq!(waiting(&all, V6, 80), Some(1));
        assert_eq!(waiting(&all, V6, 81), None);
        assert!(all.has_full());
        let only_v6 = listeners(&[listener([0; 16], 1, true)]);
        assert_eq!(waiting(&only_v6, v4(1), 80), None);
        assert!(waiting(&only_v6, V6, 80) == Some(1) && !only_v6.has_full());
        let both = listeners(&[listener([0; 16], 1, true), listener(mapped([0; 4]), 2, false)]);
        assert_eq!(waiting(&both, v4(1), 80), Some(2));
    }

    #[test]
    fn of_several_sockets_at_one_end_the_emptiest_counts() {
        let workers = [3, 1, 2].map(|waiting| listener([0; 16], waiting, false));
        assert!(!listeners(&workers).has_full());
        let mut all = listeners(&[3, 4].map(|waiting| listener([0; 16], waiting, false)));
        assert_eq!(all.queue_of(&end(V6, 80)).map(|queue| (queue.waiting, queue.at_ns)), Some((3, 7)));
        all.complete();
        assert_eq!(all.queue_of(&end(V6, 80)), None, "they no longer listen");
    }
}
