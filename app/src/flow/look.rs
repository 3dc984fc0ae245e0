//! Looking at the flows of the table.

use super::entry::Flow;
use super::handshake::Handshake;
use super::leg::Leg;
use super::peer::PeerKey;
use super::report::{FlowName, FlowReport, crossing_leg, repeats, telling_port};
use super::table::FlowTable;

impl FlowTable {
    /// What is known of each flow at `now_ns`, in no useful order.
    pub fn flows(&self, now_ns: u64) -> impl Iterator<Item = FlowReport> {
        self.flows.iter().map(move |(_, flow)| flow.report(now_ns))
    }

    /// What is known of each flow of `peer` at `now_ns`, in no useful order.
    pub fn flows_of(&self, peer: PeerKey, now_ns: u64) -> impl Iterator<Item = FlowReport> {
        let flows = self.flows.iter().map(|(_, flow)| flow);
        flows.filter(move |flow| flow.peer == peer).map(move |flow| flow.report(now_ns))
    }

    /// What is known of one flow at `now_ns`, while it is.
    #[must_use]
    pub fn flow(&self, name: &FlowName, now_ns: u64) -> Option<FlowReport> {
        let slot = *self.index.find(name.tuple.hash(), |&slot| self.has(slot, &name.tuple))?;
        let flow = self.flows.get(slot).filter(|flow| flow.id == name.id)?;
        Some(flow.report(now_ns))
    }
}

/// Single figures of a [`FlowReport`], without the rest of it.
impl Flow {
    /// The leg that crosses the network, where it is known, in nanoseconds.
    #[must_use]
    pub fn rtt_ns(&self) -> Option<u64> {
        let handshake = self.handshake.as_ref()?;
        crossing_leg(self.role, handshake.server_leg(), handshake.client_leg()).and_then(Leg::exact)
    }

    /// The port that tells this connection from the peer's others: the client's.
    #[must_use]
    pub fn port(&self) -> u16 {
        telling_port(self.role, self.local, self.remote)
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
