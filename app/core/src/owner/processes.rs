//! The processes that connections of a peer belong to.

use std::collections::VecDeque;
use std::sync::Arc;

use super::Process;

/// The most that are remembered, of a peer and of a row.
const KEPT: usize = 4;

/// A few processes, the latest first. Processes of one name in one container count as one.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Processes {
    latest: VecDeque<Arc<Process>>,
    /// Whether there were more.
    has_more: bool,
}

impl Processes {
    /// Each of them, the latest first.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = &Process> {
        self.latest.iter().map(|process| &**process)
    }

    /// Whether there were others, which are not remembered.
    #[must_use]
    pub const fn has_more(&self) -> bool {
        self.has_more
    }

    /// Adds a process. Returns whether anything has changed.
    pub(crate) fn add(&mut self, process: &Arc<Process>) -> bool {
        if self.latest.front().is_some_and(|latest| latest == process) {
            return false;
        }
        self.latest.retain(|known| !known.is_like(process));
        self.latest.push_front(Arc::clone(process));
        self.has_more |= self.latest.len() > KEPT;
        self.latest.truncate(KEPT);
        true
    }

    /// Adds those of another peer of the same row, behind those that are known.
    pub(crate) fn add_all(&mut self, others: &Self) {
        self.has_more |= others.has_more;
        for process in &others.latest {
            if self.latest.iter().any(|known| known.is_like(process)) {
                continue;
            }
            if self.latest.len() == KEPT {
                self.has_more = true;
                return;
            }
            self.latest.push_back(Arc::clone(process));
        }
    }

    /// What it takes on the heap, in bytes, as if nobody else knew these processes.
    pub(crate) fn heap_bytes(&self) -> usize {
        let texts = |process: &Process| {
            let optional = [&process.executable, &process.command].into_iter().flatten();
            process.name.capacity() + optional.map(String::capacity).sum::<usize>()
        };
        let processes =
            self.iter().map(|process| size_of::<Process>() + 2 * size_of::<usize>() + texts(process));
        self.latest.capacity() * size_of::<Arc<Process>>() + processes.sum::<usize>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn process(pid: u32, name: &str) -> Arc<Process> {
        Arc::new(Process { pid, name: name.to_owned(), ..Process::default() })
    }

    fn shown(processes: &Processes) -> Vec<(u32, &str)> {
        processes.iter().map(|process| (process.pid, process.name.as_str())).collect()
    }

    #[test]
    fn the_latest_processes_of_a_peer_are_remembered() {
        let mut processes = Processes::default();
        let curl = process(1, "curl");
        assert!(processes.add(&curl) && !processes.add(&curl));
        assert!(processes.add(&process(2, "ssh")) && processes.add(&process(3, "curl")));
        assert_eq!(shown(&processes), [(3, "curl"), (2, "ssh")]);
        let before = processes.heap_bytes();
        (4..8).for_each(|pid| assert!(processes.add(&process(pid, &format!("process{pid}")))));
        assert_eq!(shown(&processes)[..2], [(7, "process7"), (6, "process6")]);
        assert!(processes.iter().len() == KEPT && processes.has_more() && processes.heap_bytes() > before);
    }

    #[test]
    fn those_of_several_peers_are_joined() {
        let mut row = Processes::default();
        let [mut one, mut other] = [Processes::default(), Processes::default()];
        one.add(&process(1, "curl"));
        other.add(&process(2, "ssh"));
        other.add(&process(3, "curl"));
        row.add_all(&one);
        row.add_all(&other);
        assert_eq!((shown(&row), row.has_more()), (vec![(1, "curl"), (2, "ssh")], false));
        (4..9).for_each(|pid| assert!(other.add(&process(pid, &format!("process{pid}")))));
        row.add_all(&other);
        assert!(row.iter().len() == KEPT && row.has_more());
    }
}
