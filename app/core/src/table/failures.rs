//! Connects that fail before any SYN has passed: attempts that no packet shows.

use probe_common::FailureRecord;

use super::owning::side_of;
use super::{FINISHED, FlowTable};
use crate::flow::{Event, FlowTuple, Outcome, Tracked};
use crate::stats::PeerEvent;

/// They have no interface, which no segment lacks: what is seen later on the same ports is another flow, whatever it is.
const NOWHERE: u32 = 0;

impl FlowTable {
    /// A connect of this host has failed. It is over: nothing that is seen later belongs to it.
    pub(super) fn failed(&mut self, failure: &FailureRecord) {
        let tuple = FlowTuple::new(&self.hasher, NOWHERE, failure.local, failure.remote);
        if let Some(before) = self.find(&tuple) {
            self.retire(before, failure.time_ns);
        }
        let mut failed = Tracked::failed(tuple, failure, &self.locals);
        failed.era = self.stats.era();
        let (peer, now_ns) = (failed.flow.peer(), failed.flow.changed_ns());
        // When it ended, which is long after it began: a window has both or neither.
        let account = self.stats.open(peer, now_ns);
        self.stats.count(account, PeerEvent::Ended(Outcome::FailedLocally), now_ns);
        self.stats.note_failure(&failed.flow);
        self.reported += 1;
        let slot = self.open(failed.clone());
        if let Some(slot) = slot {
            self.flows.requeue(slot, FINISHED);
            if let Some(owner) = self.owners.acting(failure.cookie).cloned() {
                self.offer_owner(slot, side_of(&tuple, &failure.local), &owner);
            }
        } else {
            // There is no room to keep it; it is told all the same.
            failed.flow.id = self.next_id;
            self.next_id += 1;
        }
        let flow = slot.and_then(|slot| self.flow(slot)).cloned().unwrap_or(failed.flow);
        self.events.push(Event::Handshake(flow));
    }
}
