//! Looking at the flows of the table.

use probe_common::Endpoint;

use core::ops::Range;

use super::flow::Flow;
use super::handshake::Handshake;
use super::leg::Leg;
use super::peer::PeerKey;
use super::report::{FlowName, FlowReport, crossing_leg, repeats, telling_port};
use super::table::{FlowTable, QUEUES};

impl FlowTable {
    /// How many flows are known.
    #[must_use]
    pub(crate) fn len(&self) -> usize {
        self.flows.len()
    }

    /// The flows of `peer`, the newest first.
    pub(crate) fn chain_of(&self, peer: PeerKey) -> impl Iterator<Item = &Flow> {
        let slots = self.chains.of(peer.fingerprint(), move |slot| self.is_of(slot, &peer));
        slots.filter_map(|slot| self.flows.get(slot))
    }

    /// How many flows `peer` has.
    #[must_use]
    pub(crate) fn count_of(&self, peer: &PeerKey) -> usize {
        self.chains.len_of(peer.fingerprint(), |slot| self.is_of(slot, peer))
    }

    /// How many slots there are for flows, used or not.
    #[must_use]
    pub(crate) fn slots(&self) -> usize {
        self.flows.slots()
    }

    /// The flows in some of the slots.
    pub(crate) fn in_slots(&self, slots: Range<usize>) -> impl Iterator<Item = &Flow> {
        self.flows.range(slots)
    }

    /// Of the flows that are pending, of those that last and of those that have ended, so many that became so lately.
    pub(crate) fn latest(&self, each: usize) -> impl Iterator<Item = &Flow> {
        let queues = (0..QUEUES).flat_map(move |queue| self.flows.newest(queue).take(each));
        queues.filter_map(|slot| self.flows.get(slot))
    }

    /// What is known of one flow at `now_ns`, while it is.
    #[must_use]
    pub(crate) fn flow(&self, name: &FlowName, now_ns: u64) -> Option<FlowReport> {
        Some(self.look_up(name)?.report(now_ns))
    }

    /// One flow, while it is known.
    #[must_use]
    pub(crate) fn look_up(&self, name: &FlowName) -> Option<&Flow> {
        self.flows.get(self.find(&name.tuple)?).filter(|flow| flow.id == name.id)
    }

    /// A new flow of `peer`.
    pub(super) fn chain(&mut self, slot: u32, peer: PeerKey) {
        let flows = &self.flows;
        let peer_of = |slot: u32| flows.get(slot).map(Flow::peer);
        let hash_of = |slot: u32| peer_of(slot).map_or(0, |peer| peer.fingerprint());
        self.chains.join(slot, peer.fingerprint(), |other| peer_of(other) == Some(peer), hash_of);
    }

    /// A flow is about to go.
    pub(super) fn unchain(&mut self, slot: u32) {
        let flows = &self.flows;
        let Some(peer) = flows.get(slot).map(Flow::peer) else { return };
        self.chains.leave(slot, peer.fingerprint(), |other| {
            flows.get(other).is_some_and(|flow| flow.peer() == peer)
        });
    }

    fn is_of(&self, slot: u32, peer: &PeerKey) -> bool {
        self.flows.get(slot).is_some_and(|flow| flow.peer() == *peer)
    }
}

/// Single figures of a [`FlowReport`], without the rest of it.
impl Flow {
    /// By which it can be found again.
    #[must_use]
    pub const fn name(&self) -> FlowName {
        FlowName { tuple: self.tuple, id: self.id }
    }

    /// This host's end.
    #[must_use]
    pub const fn local(&self) -> Endpoint {
        let [low, high] = self.tuple.ends();
        if self.is_low_local { low } else { high }
    }

    /// The other end.
    #[must_use]
    pub const fn remote(&self) -> Endpoint {
        let [low, high] = self.tuple.ends();
        if self.is_low_local { high } else { low }
    }

    /// The peer it belongs to.
    #[must_use]
    pub fn peer(&self) -> PeerKey {
        PeerKey::of(self.tuple.interface(), self.role, &self.local(), &self.remote())
    }

    /// The leg that crosses the network, where it is known, in nanoseconds.
    #[must_use]
    pub fn rtt_ns(&self) -> Option<u64> {
        let handshake = self.handshake.as_ref()?;
        crossing_leg(self.role, handshake.server_leg(), handshake.client_leg()).and_then(Leg::exact)
    }

    /// The port that tells this connection from the peer's others: the client's.
    #[must_use]
    pub fn port(&self) -> u16 {
        telling_port(self.role, self.local(), self.remote())
    }

    /// How many SYNs and how many SYN-ACKs were seen.
    #[must_use]
    pub fn syns(&self) -> [Option<u32>; 2] {
        let handshake = self.handshake.as_ref();
        [handshake.and_then(Handshake::tries), handshake.and_then(Handshake::syn_acks)]
    }

    /// Everything that was sent again, in both directions: SYNs, SYN-ACKs and data.
    #[must_use]
    pub fn retransmits(&self) -> u64 {
        let [tries, syn_acks] = self.syns();
        repeats(tries, syn_acks) + self.volumes().iter().map(|volume| volume.retransmits).sum::<u64>()
    }

    /// Everything that could have been: data, and the SYNs and SYN-ACKs.
    #[must_use]
    pub fn segments(&self) -> u64 {
        let handshake: u64 = self.syns().into_iter().flatten().map(u64::from).sum();
        handshake + self.volumes().iter().map(|volume| volume.segments).sum::<u64>()
    }
}
