//! What the kernel knows of the sockets at the ends of flows.

use std::sync::Arc;

use probe_common::{Endpoint, Side};

use super::owning::side_of;
use super::{FlowTable, LASTING, OWN_LASTING, OWN_PENDING, PENDING};
use crate::flow::{FlowTuple, Party};
use crate::socket::Socket;

/// So many flows of each queue, the newest, are looked at when an accept queue is full.
const LOOKED_AT: usize = 1 << 13;

impl FlowTable {
    /// Learns of some sockets of this network namespace; of the last of them when `is_last`.
    pub(crate) fn handle_sockets(&mut self, sockets: &[Socket], now_ns: u64, is_last: bool) {
        let mut found = Vec::new();
        for socket in sockets {
            if socket.listens() {
                self.listeners.note(socket, now_ns);
                continue;
            }
            self.flows_of_socket(socket.cookie, [socket.local, socket.remote], true, &mut found);
            if found.is_empty() {
                self.unclaimed.note(socket);
            }
            for (slot, side) in found.drain(..) {
                self.note_socket(slot, side, socket, now_ns);
            }
        }
        if is_last {
            self.listeners.complete();
            self.rtts.complete();
            self.unclaimed.complete(now_ns);
            self.has_sockets = true;
            self.note_full_queues();
        }
    }

    /// The flows that a socket is an end of, and which end. It is found by its ends, and its cookie is the same where that is
    /// known. `is_here` is whether it is of the network namespace whose interfaces are watched: only there are equal ends the
    /// same connection.
    pub(super) fn flows_of_socket(
        &self,
        cookie: u64,
        [local, remote]: [Endpoint; 2],
        is_here: bool,
        found: &mut Vec<(u32, Side)>,
    ) {
        // Interfaces are no part of the hash, nor of a socket.
        let tuple = FlowTuple::new(&self.hasher, 0, local, remote);
        for slot in self.index.iter_hash(tuple.hash()).copied() {
            let Some(tracked) = self.flows.get(slot) else { continue };
            let side = side_of(&tracked.flow.name().tuple, &local);
            let known = tracked.flow.sockets.as_ref().and_then(|sockets| sockets.cookie(side));
            let is_it = known.map_or(is_here, |known| known == cookie);
            if is_it && tracked.flow.name().tuple.ends() == tuple.ends() {
                found.push((slot, side));
            }
        }
    }

    /// Learns of the sockets of a connection that was open before, if they were listed.
    pub(super) fn claim_sockets(&mut self, slot: u32) {
        let Some([low, high]) = self.flow(slot).map(|flow| flow.name().tuple.ends()) else { return };
        for (ends, side) in [([low, high], Side::Low), ([high, low], Side::High)] {
            if let Some((socket, at_ns)) = self.unclaimed.claim(ends) {
                self.note_socket(slot, side, &socket, at_ns);
            }
        }
    }

    fn note_socket(&mut self, slot: u32, side: Side, socket: &Socket, now_ns: u64) {
        let Some(tracked) = self.flows.get_mut(slot) else { return };
        // What has ended has no socket, and the ports may be used again.
        let is_over = !tracked.is_open() && !tracked.is_up();
        let sockets = &mut tracked.flow.sockets;
        if is_over && sockets.as_ref().is_none_or(|sockets| sockets.cookie(side).is_none()) {
            return;
        }
        Arc::make_mut(sockets.get_or_insert_default()).note_kernel(side, socket, now_ns);
        // On loopback the other end is a socket, too.
        let is_shown = !is_over && tracked.flow.side(Party::Local) == side;
        if let Some(info) = socket.info.as_ref().filter(|_| is_shown) {
            self.rtts.note(tracked.flow.peer(), info);
        }
    }

    /// Notes on attempts that this host has not answered, or not accepted, that the queue of their listener is full.
    fn note_full_queues(&mut self) {
        if !self.listeners.has_full() {
            return;
        }
        let queues = [PENDING, OWN_PENDING, LASTING, OWN_LASTING];
        let newest = queues.into_iter().flat_map(|queue| self.flows.newest(queue).take(LOOKED_AT));
        let full = newest.filter_map(|slot| {
            let tracked = self.flows.get(slot)?;
            let listening = tracked.flow.responder_here().filter(|_| tracked.waits_for_listener())?;
            let queue = self.listeners.queue_of(&listening).filter(|queue| queue.is_full())?;
            Some((slot, queue))
        });
        for (slot, queue) in full.collect::<Vec<_>>() {
            let Some(tracked) = self.flows.get_mut(slot) else { continue };
            tracked.flow.note_accept_queue(queue);
            let peer = tracked.flow.peer();
            self.stats.note_accept_queue(&peer, queue);
        }
    }
}
