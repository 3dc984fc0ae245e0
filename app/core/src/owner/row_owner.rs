//! Whose connections a row shows, where rows are those of processes or of containers.

use core::hash::{Hash, Hasher};
use std::hash::DefaultHasher;

use super::{Process, Processes};

/// Whose the connections of a peer are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum RowOwner {
    /// They are all of one owner, whose name is that of the row's processes. What is kept here is the hash of that name.
    One(u64),
    /// Of several: how much of the peer's figures is whose is not known.
    Several,
    /// No process is known.
    #[default]
    Unknown,
}

/// Whose the connections of a peer are, by either way to group.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeerOwners {
    /// Of processes: those of one name in one container are one.
    pub(crate) process: RowOwner,
    /// Of containers; all processes outside of containers are one owner, too.
    pub(crate) container: RowOwner,
}

impl PeerOwners {
    /// Those of a peer with these processes.
    pub(crate) fn of(processes: &Processes) -> Self {
        let container = |process: &Process| process.workload.as_ref().and_then(|all| all.shown_container());
        Self {
            process: only(processes, |process| hash(&(&process.name, &process.workload))),
            container: only(processes, |process| hash(&container(process))),
        }
    }
}

/// The owner that all processes have, if they have one.
fn only(processes: &Processes, owner: impl Fn(&Process) -> u64) -> RowOwner {
    let mut owners = processes.iter().map(owner);
    match owners.next() {
        None => RowOwner::Unknown,
        Some(first) if !processes.has_more() && owners.all(|other| other == first) => RowOwner::One(first),
        Some(_) => RowOwner::Several,
    }
}

/// The same in every run: rows keep their order.
fn hash(name: &impl Hash) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use super::*;
    use crate::owner::Workload;

    fn process(pid: u32, name: &str, container: Option<&str>) -> Arc<Process> {
        let container = container.map(str::to_owned);
        let workload =
            container.map(|name| Arc::new(Workload { container: Some(name), ..Workload::default() }));
        Arc::new(Process { pid, name: name.to_owned(), workload, ..Process::default() })
    }

    fn of(all: &[Arc<Process>]) -> PeerOwners {
        let mut processes = Processes::default();
        all.iter().for_each(|process| _ = processes.add(process));
        PeerOwners::of(&processes)
    }

    #[test]
    fn a_peer_has_one_owner_several_or_none() {
        assert_eq!(of(&[]), PeerOwners::default());
        let curl = of(&[process(1, "curl", None)]);
        assert!(matches!(curl.process, RowOwner::One(_)) && matches!(curl.container, RowOwner::One(_)));
        assert_eq!(of(&[process(1, "curl", None), process(2, "curl", None)]), curl, "of one name");
        let beside = of(&[process(1, "curl", None), process(2, "ssh", None)]);
        assert_eq!((beside.process, beside.container), (RowOwner::Several, curl.container));
        let within = of(&[process(1, "curl", Some("web"))]);
        assert_ne!((within.process, within.container), (curl.process, curl.container));
        let both = of(&[process(1, "curl", None), process(2, "curl", Some("web"))]);
        assert_eq!((both.process, both.container), (RowOwner::Several, RowOwner::Several));
    }

    #[test]
    fn more_processes_than_are_remembered_are_several() {
        let many: Vec<_> = (0..9).map(|n| process(n, &format!("process{n}"), Some("web"))).collect();
        assert_eq!(of(&many).process, RowOwner::Several);
        assert_eq!(of(&many).container, RowOwner::Several, "the others may run elsewhere");
    }
}
