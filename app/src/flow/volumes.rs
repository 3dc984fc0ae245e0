//! What flows send, and send again: the table's part in it.

use probe_common::key::Ends;
use probe_common::{Endpoint, Record, Volume};

use super::entry::Flow;
use super::key::FlowTuple;
use super::peer::Happening;
use super::report::{Event, Resent};
use super::table::FlowTable;

impl FlowTable {
    /// Takes what both ends of a flow have sent so far, the low end first. Of one that is not known nothing is taken:
    /// which end is this host's is not told here.
    pub fn take_volumes(&mut self, ends: &Ends, volumes: [Volume; 2], now_ns: u64) {
        let [low, high] = ends.endpoints();
        let tuple = FlowTuple::new(ends.interface, low, high);
        if let Some(slot) = self.index.find(tuple.hash(), |&slot| self.has(slot, &tuple)).copied() {
            self.learn_volumes(slot, low, volumes, now_ns);
        }
    }

    /// Data was sent that had been sent before.
    pub(super) fn resent(&mut self, slot: Option<u32>, tuple: FlowTuple, record: &Record) {
        let slot = slot.unwrap_or_else(|| self.open(Flow::new(tuple, record, None)));
        let Some(flow) = self.flows.get(slot) else { return };
        self.events.push(Event::Retransmit(flow.retransmit(Resent::Data, record)));
    }

    /// What was sent since it was last told is counted to the peer.
    pub(super) fn learn_volumes(&mut self, slot: u32, source: Endpoint, volumes: [Volume; 2], now_ns: u64) {
        let Some(flow) = self.flows.get_mut(slot) else { return };
        let (segments, retransmits) = flow.takes_volumes(source, volumes);
        let peer = flow.peer;
        for (happening, count) in [(Happening::Sent, segments), (Happening::Resent, retransmits)] {
            if count > 0 {
                self.stats.count_many(peer, happening, count, now_ns);
            }
        }
    }
}
