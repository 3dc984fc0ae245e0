//! Flow states on the host, as the kernel's maps keep them there.

use hashbrown::HashTable;
use probe_common::{FlowKey, FlowState, FlowStates};
use std::hash::{BuildHasher, RandomState};

use crate::flow::slab::Slab;

/// As many flow states as were asked for; the one that was silent for longest gives way.
#[derive(Debug)]
pub struct HostStates {
    flows: Slab<(FlowKey, FlowState), 1>,
    index: HashTable<u32>,
    hasher: RandomState,
    limit: usize,
}

impl HostStates {
    /// Room for `limit` flows, at least 1.
    #[must_use]
    pub fn new(limit: usize) -> Self {
        let (flows, index) = (Slab::new(), HashTable::new());
        Self { flows, index, hasher: RandomState::new(), limit: limit.max(1) }
    }

    fn find(&self, key: &FlowKey) -> Option<u32> {
        let is_it = |&slot: &u32| self.flows.get(slot).is_some_and(|(known, _)| known == key);
        self.index.find(self.hasher.hash_one(key), is_it).copied()
    }

    fn forget(&mut self, slot: u32) {
        if let Some((key, _)) = self.flows.remove(slot)
            && let Ok(entry) = self.index.find_entry(self.hasher.hash_one(key), |&other| other == slot)
        {
            entry.remove();
        }
    }
}

impl FlowStates for HostStates {
    fn get(&mut self, key: &FlowKey) -> Option<&mut FlowState> {
        let slot = self.find(key)?;
        self.flows.touch(slot, 0);
        self.flows.get_mut(slot).map(|(_, state)| state)
    }

    fn insert(&mut self, key: &FlowKey, state: FlowState) {
        if let Some(known) = self.get(key) {
            *known = state;
            return;
        }
        while self.flows.len() >= self.limit
            && let Some(oldest) = self.flows.oldest(0)
        {
            self.forget(oldest);
        }
        let slot = self.flows.insert((*key, state), 0);
        let (flows, hasher) = (&self.flows, &self.hasher);
        let rehash = |&slot: &u32| flows.get(slot).map_or(0, |(key, _)| hasher.hash_one(key));
        self.index.insert_unique(hasher.hash_one(key), slot, rehash);
    }

    fn remove(&mut self, key: &FlowKey) {
        if let Some(slot) = self.find(key) {
            self.forget(slot);
        }
    }
}
