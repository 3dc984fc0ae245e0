//! Looking at the flows of the table.

use super::peer::PeerKey;
use super::report::{FlowName, FlowReport};
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
