//! The processes that were named lately, by the sockets that they use.

use std::collections::VecDeque;
use std::sync::Arc;

use hashbrown::HashMap;
use probe_common::Endpoint;

use super::{Evidence, Owner, OwnerAction, Process, SocketHolder, SocketOwner};

/// The fewest and the most sockets that are remembered: of each the owner comes just before its segment does, and a busy ring
/// brings some thousand at once.
const LEAST: usize = 1 << 10;
const MOST: usize = 1 << 16;
/// The most listeners that are remembered.
const LISTENERS: usize = 1 << 16;

/// What was named and not forgotten.
#[derive(Debug)]
pub(crate) struct OwnerTable {
    limit: usize,
    acting: HashMap<u64, Owner>,
    /// Their cookies, the oldest first.
    order: VecDeque<u64>,
    /// Whether any process was named, and any that runs in a container.
    pub(crate) has_any: bool,
    pub(crate) has_containers: bool,
    /// By port: the address, which is 0 for all, and the owner.
    listeners: HashMap<u16, Vec<(Endpoint, Owner)>>,
}

impl OwnerTable {
    /// An empty table, for so many flows.
    pub(crate) fn new(max_flows: usize) -> Self {
        let limit = max_flows.clamp(LEAST, MOST);
        Self {
            limit,
            acting: HashMap::new(),
            order: VecDeque::new(),
            has_any: false,
            has_containers: false,
            listeners: HashMap::new(),
        }
    }

    /// A process is named.
    pub(crate) fn note_process(&mut self, process: &Process) {
        self.has_any = true;
        let workload = process.workload.as_deref();
        self.has_containers |= workload.is_some_and(|workload| workload.shown_container().is_some());
    }

    /// A process does something with a socket. Who opened a connection stays its owner, whoever closes it.
    pub(crate) fn note(&mut self, owner: &SocketOwner) {
        let SocketOwner { cookie, action, process } = owner;
        self.note_process(process);
        let is_known = self.acting.contains_key(cookie);
        if *action == OwnerAction::Listen || is_known && *action == OwnerAction::Close {
            return;
        }
        let owner = Owner { process: Arc::clone(process), others: 0, evidence: Evidence::Acts };
        self.acting.insert(*cookie, owner);
        if !is_known {
            self.order.push_back(*cookie);
        }
        while self.order.len() > self.limit
            && let Some(oldest) = self.order.pop_front()
        {
            self.acting.remove(&oldest);
        }
    }

    /// The process that opened or closed the connection of this socket, if that was lately.
    pub(crate) fn acting(&self, cookie: u64) -> Option<&Owner> {
        self.acting.get(&cookie)
    }

    /// Forgets who listened: others do now.
    pub(crate) fn set_listeners<'a>(&mut self, holders: impl Iterator<Item = &'a SocketHolder>) {
        self.listeners.clear();
        for holder in holders.filter(|holder| holder.listens && holder.is_here).take(LISTENERS) {
            let owner = Owner {
                process: Arc::clone(&holder.process),
                others: holder.others,
                evidence: Evidence::Listens,
            };
            self.listeners.entry(holder.local.port).or_default().push((holder.local, owner));
        }
    }

    /// The process that listens at this end: on this address, or else on all. `None` also when several listen there (each with a
    /// socket of its own, `SO_REUSEPORT`): nobody can say which of them it is.
    pub(crate) fn listener(&self, end: &Endpoint) -> Option<&Owner> {
        let listeners = self.listeners.get(&end.port)?;
        let at = |is_it: &dyn Fn(&Endpoint) -> bool| {
            let mut there = listeners.iter().filter(|(address, _)| is_it(address)).map(|(_, owner)| owner);
            let first = there.next()?;
            Some(Some(first).filter(|_| there.all(|other| other.process.is_like(&first.process))))
        };
        at(&|listener| listener.address == end.address).or_else(|| at(&is_any))?
    }
}

/// Whether the address stands for all of either family.
fn is_any(end: &Endpoint) -> bool {
    end.address == [0; 16] || end.address == probe_common::segment::mapped([0; 4])
}

#[cfg(test)]
mod tests {
    use super::*;
    use probe_common::segment::mapped;

    fn process(pid: u32, name: &str) -> Arc<Process> {
        Arc::new(Process { pid, name: name.to_owned(), ..Process::default() })
    }

    fn owner(cookie: u64, action: OwnerAction, name: &str) -> SocketOwner {
        SocketOwner { cookie, action, process: process(1, name) }
    }

    fn listener(address: [u8; 4], pid: u32, name: &str) -> SocketHolder {
        let local = Endpoint { address: mapped(address), port: 80 };
        let remote = Endpoint { address: [0; 16], port: 0 };
        let process = process(pid, name);
        SocketHolder { cookie: pid.into(), local, remote, listens: true, is_here: true, process, others: 0 }
    }

    #[test]
    fn who_opened_a_connection_stays_its_owner() {
        let mut table = OwnerTable::new(0);
        table.note(&owner(7, OwnerAction::Close, "worker"));
        table.note(&owner(7, OwnerAction::Connect, "client"));
        table.note(&owner(7, OwnerAction::Close, "child"));
        table.note(&owner(8, OwnerAction::Listen, "server"));
        let name = |cookie| table.acting(cookie).map(|owner| owner.process.name.as_str());
        assert_eq!([7, 8, 9].map(name), [Some("client"), None, None]);
    }

    #[test]
    fn a_flood_of_owners_is_forgotten_the_oldest_first() {
        let mut table = OwnerTable::new(1);
        (0..10 * LEAST as u64).for_each(|cookie| table.note(&owner(cookie, OwnerAction::Connect, "flood")));
        assert_eq!((table.acting.len(), table.order.len()), (LEAST, LEAST));
        let latest = 10 * LEAST as u64 - 1;
        let is_known = |cookie| table.acting(cookie).is_some();
        assert_eq!(
            [0, latest - LEAST as u64, latest + 1 - LEAST as u64, latest].map(is_known),
            [false, false, true, true]
        );
    }

    #[test]
    fn a_listener_on_the_address_comes_before_one_on_all() {
        let mut table = OwnerTable::new(1);
        let all = [listener([0; 4], 1, "all"), listener([10, 0, 0, 1], 2, "one")];
        table.set_listeners(all.iter());
        let name = |table: &OwnerTable, last, port| {
            let end = Endpoint { address: mapped([10, 0, 0, last]), port };
            table.listener(&end).map(|owner| owner.process.name.clone())
        };
        assert_eq!(name(&table, 1, 80).as_deref(), Some("one"));
        assert_eq!(name(&table, 2, 80).as_deref(), Some("all"));
        assert_eq!(name(&table, 1, 81), None);
        // The workers of one program are as good as one; two programs are not.
        let workers = [listener([0; 4], 1, "worker"), listener([0; 4], 2, "worker")];
        table.set_listeners(workers.iter());
        assert_eq!(name(&table, 2, 80).as_deref(), Some("worker"));
        let several = [listener([0; 4], 1, "one"), listener([0; 4], 2, "other")];
        table.set_listeners(several.iter());
        assert_eq!(name(&table, 2, 80), None);
        let elsewhere = SocketHolder { is_here: false, ..listener([0; 4], 1, "container") };
        table.set_listeners([elsewhere].iter());
        assert_eq!(name(&table, 2, 80), None);
    }
}
