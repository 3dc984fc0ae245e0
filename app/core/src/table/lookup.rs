//! Which flow a record is of.

use probe_common::Record;

use super::key::FlowTuple;
use super::table::FlowTable;

/// Records whose flows are asked for together.
const TOGETHER: usize = 16;

impl FlowTable {
    /// Takes records until as many outcomes are told as were asked for. Gives how many it took.
    ///
    /// With many flows, what is known of one is in no near cache, and to wait for these one after the other is most of
    /// the work: so the flows of some records are asked for first, and are on their way at the same time.
    pub(crate) fn handle_all(&mut self, records: &[Record]) -> usize {
        let mut taken = 0;
        for together in records.chunks(TOGETHER) {
            let mut tuples = [None; TOGETHER];
            for (record, place) in together.iter().zip(&mut tuples) {
                let tuple = place.insert(FlowTuple::of(record));
                self.index.iter_hash(tuple.hash()).for_each(|slot| self.flows.prefetch(*slot));
            }
            for (record, tuple) in together.iter().zip(tuples.into_iter().flatten()) {
                if self.is_done() {
                    return taken;
                }
                self.handle_of(tuple, record);
                taken += 1;
            }
        }
        taken
    }

    pub(super) fn find(&self, tuple: &FlowTuple) -> Option<u32> {
        let is_it = |slot: &u32| self.flows.get(*slot).is_some_and(|flow| flow.tuple == *tuple);
        self.index.find(tuple.hash(), is_it).copied()
    }
}
