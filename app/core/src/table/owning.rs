//! Which process each end of a flow belongs to.

use std::sync::Arc;

use probe_common::{Direction, Endpoint, SegmentKind, SegmentRecord, Side};

use super::FlowTable;
use crate::flow::{Flow, FlowTuple, Party, Role};
use crate::owner::{Evidence, Owner, SocketHolder, Sockets};

impl FlowTable {
    /// Learns from a segment of a flow which socket sent it, unless it may open another connection on the same ports.
    pub(super) fn learn_owner(&mut self, slot: u32, record: &SegmentRecord) {
        let is_opening = matches!(record.kind, SegmentKind::Syn | SegmentKind::SynAck);
        let Some(tracked) = self.flows.get_mut(slot) else { return };
        if record.cookie != 0 && !is_opening {
            note_cookie(&mut tracked.flow, record);
        }
        if tracked.flow.sockets.is_some() {
            self.look_for_owners(slot);
        }
    }

    /// Learns the same from a segment whose flow was not known before, or that may have opened another one.
    pub(super) fn learn_owner_of_new(
        &mut self,
        known: Option<u32>,
        tuple: &FlowTuple,
        record: &SegmentRecord,
    ) {
        let is_opening = matches!(record.kind, SegmentKind::Syn | SegmentKind::SynAck);
        let is_accepted_here = record.kind == SegmentKind::SynAck
            && matches!(record.direction, Direction::Egress | Direction::Local);
        if record.cookie == 0 && !is_accepted_here || known.is_some() && !is_opening {
            return;
        }
        let Some(slot) = self.find(tuple) else { return };
        if record.cookie != 0
            && let Some(tracked) = self.flows.get_mut(slot)
        {
            note_cookie(&mut tracked.flow, record);
            self.look_for_owners(slot);
        }
        if is_accepted_here && let Some(owner) = self.owners.listener(&record.source).cloned() {
            self.offer_owner(slot, side_of(tuple, &record.source), &owner);
        }
    }

    /// Learns which processes hold sockets. A connection that was open before is found by its ends: no segment said its cookie.
    pub(crate) fn handle_holders(&mut self, holders: &[SocketHolder]) {
        self.owners.set_listeners(holders.iter());
        holders.iter().for_each(|holder| self.owners.note_process(&holder.process));
        let mut found = Vec::new();
        for holder in holders.iter().filter(|holder| !holder.listens) {
            self.flows_of_socket(holder.cookie, [holder.local, holder.remote], holder.is_here, &mut found);
            for (slot, side) in found.drain(..) {
                let process = Arc::clone(&holder.process);
                let owner = Owner { process, others: holder.others, evidence: Evidence::Holds };
                self.offer_owner(slot, side, &owner);
            }
        }
    }

    /// Looks whether the processes at ends whose sockets are known were named meanwhile.
    fn look_for_owners(&mut self, slot: u32) {
        for side in [Side::Low, Side::High] {
            let Some(sockets) = self.flow(slot).and_then(|flow| flow.sockets.as_ref()) else { return };
            let cookie = sockets.cookie(side).filter(|_| !sockets.is_certain(side));
            if let Some(owner) = cookie.and_then(|cookie| self.owners.acting(cookie)).cloned() {
                self.offer_owner(slot, side, &owner);
            }
        }
    }

    /// Sets the owner of an end, if it was not known as well before, and names it to the peer.
    pub(super) fn offer_owner(&mut self, slot: u32, side: Side, owner: &Owner) {
        let Some(tracked) = self.flows.get_mut(slot) else { return };
        let sockets = tracked.flow.sockets.get_or_insert_default();
        if !sockets.wants(side, owner) {
            return;
        }
        Arc::make_mut(sockets).set_owner(side, owner.clone());
        let flow = &tracked.flow;
        // On loopback and behind a veth the other end is a process of this host, too. But who connects to a service of this host
        // is not whose service it is.
        let is_ours = matches!(flow.role(), Some(Role::Client | Role::Server));
        let is_named = flow.side(Party::Local) == side || !is_ours && flow.owner(Party::Local).is_none();
        if is_named {
            self.stats.own(flow.peer(), &owner.process);
        }
    }
}

fn note_cookie(flow: &mut Flow, record: &SegmentRecord) {
    let side = side_of(&flow.name().tuple, &record.source);
    let sockets = flow.sockets.get_or_insert_default();
    if sockets.cookie(side) != Some(record.cookie) {
        Arc::<Sockets>::make_mut(sockets).note_cookie(side, record.cookie);
    }
}

/// Which end of the tuple this is. Of a connection of an end with itself, the low one.
pub(super) fn side_of(tuple: &FlowTuple, end: &Endpoint) -> Side {
    if tuple.ends()[0] == *end { Side::Low } else { Side::High }
}
