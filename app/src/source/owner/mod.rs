//! Names for owners: the kernel says numbers, the files of this host what they are called.
//!
//! Nothing here is waited for: what has gone meanwhile keeps the name of its thread, which comes with the record.

mod cgroup;
mod container;
mod descriptors;
mod process;

use std::collections::HashMap;
use std::fs;
use std::path::Path;
use std::sync::Arc;

use probe_common::OwnerRecord;
use probe_common::holder::Holder;
use tcptop_core::{Process, SocketHolder, SocketOwner, Workload};

pub use self::descriptors::Descriptors;

use self::cgroup::ControlGroups;
use self::process::{Found, Processes};

/// Processes that are remembered; then all are asked for again.
const KEPT: usize = 4_096;
/// What was read of a process is believed for this long, in nanoseconds, if all that comes with the record is the same.
const FRESH_NS: u64 = 1_000_000_000;
/// The same of holders of sockets, of which all are listed once a second.
const HOLDER_FRESH_NS: u64 = 5_000_000_000;

/// Where it is known from which process uses which socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OwnerSource {
    /// Nobody is asked.
    None,
    /// `/proc`, now and then: it says nothing of sockets that are closed soon.
    Proc,
    /// The kernel, of each socket; and `/proc` for what this kernel does not say.
    Kernel,
}

impl std::str::FromStr for OwnerSource {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        match text {
            "on" => Ok(Self::Kernel),
            "proc" => Ok(Self::Proc),
            "off" => Ok(Self::None),
            _ => Err("must be on, proc or off".to_owned()),
        }
    }
}

/// Names processes, and remembers what it has read.
#[derive(Debug)]
pub struct Owners {
    processes: Processes,
    groups: ControlGroups,
    known: HashMap<u32, Known>,
    /// The network namespace of this process.
    own_network: Option<u64>,
}

/// A process that was read.
#[derive(Clone, Debug)]
struct Known {
    process: Arc<Process>,
    /// When it was started, in nanoseconds of the monotonic clock.
    started_ns: u64,
    /// When that was last so.
    read_ns: u64,
    network: Option<u64>,
    /// As in the latest record about it.
    named: Option<Named>,
}

/// What a record says of a process besides its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Named {
    cgroup: u64,
    user: u32,
    name: [u8; 16],
}

/// The process with the lowest number whose workload is the one that is wanted, on a host whose files begin at `root`. None where
/// `/proc` shows no such process.
#[must_use]
pub fn process_in(root: &Path, is_wanted: impl Fn(&Workload) -> bool) -> Option<u32> {
    let mut groups = ControlGroups::of(root);
    let entries = fs::read_dir(root.join("proc")).ok()?.flatten();
    let mut numbers: Vec<u32> =
        entries.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).collect();
    numbers.sort_unstable();
    numbers.into_iter().find(|pid| {
        let lines = fs::read_to_string(root.join(format!("proc/{pid}/cgroup"))).unwrap_or_default();
        groups.workload(&lines).is_some_and(|workload| is_wanted(&workload))
    })
}

impl Owners {
    /// Names of this host's processes.
    #[must_use]
    pub fn new() -> Self {
        Self::of(Path::new("/"))
    }

    /// The same where the files of the host are in another place than usual.
    fn of(root: &Path) -> Self {
        let processes = Processes::of(root);
        let own_network = processes.own_network();
        Self { processes, groups: ControlGroups::of(root), known: HashMap::new(), own_network }
    }

    /// Why processes may have the wrong names, if they may: a sentence.
    #[must_use]
    pub fn lacking(&self) -> Option<String> {
        let reason =
            "processes have the names of their threads: this PID namespace does not show those of the host";
        (!self.processes.are_of_host()).then(|| reason.to_owned())
    }

    /// The owner of a socket, with its names.
    pub fn name(&mut self, record: &OwnerRecord) -> SocketOwner {
        let process = self.process(record);
        SocketOwner { cookie: record.cookie, action: record.action, process }
    }

    /// The holders of sockets, each socket once: with the process that was started last, and how many others there are. Holders
    /// that have gone are left out.
    pub fn holders(&mut self, holders: &[Holder], now_ns: u64) -> Vec<SocketHolder> {
        let mut sockets: HashMap<u64, (u64, SocketHolder)> = HashMap::new();
        let own_network = self.own_network;
        for holder in holders {
            let Some(known) = self.read(holder.process, now_ns, HOLDER_FRESH_NS) else { continue };
            let is_here = known.network.is_some() && known.network == own_network;
            let (age, process) = ((known.started_ns, holder.process), Arc::clone(&known.process));
            let Holder { cookie, local, remote, listens, .. } = *holder;
            let found = SocketHolder { cookie, local, remote, listens, is_here, process, others: 0 };
            match sockets.get_mut(&cookie) {
                // The same process may hold it by several descriptors.
                Some((_, socket)) if socket.process.pid == holder.process => {}
                Some((started_ns, socket)) => {
                    let others = socket.others + 1;
                    if age > (*started_ns, socket.process.pid) {
                        (*started_ns, *socket) = (age.0, found);
                    }
                    socket.others = others;
                }
                None => drop(sockets.insert(cookie, (age.0, found))),
            }
        }
        sockets.into_values().map(|(_, socket)| socket).collect()
    }

    fn process(&mut self, record: &OwnerRecord) -> Arc<Process> {
        let named = Named { cgroup: record.cgroup, user: record.user, name: record.name };
        let fresh = self.known.get(&record.process).filter(|known| {
            known.named == Some(named) && record.time_ns.saturating_sub(known.read_ns) < FRESH_NS
        });
        if let Some(known) = fresh {
            return Arc::clone(&known.process);
        }
        let before = self.known.get(&record.process).map(|known| (Arc::clone(&known.process), known.named));
        // One that was started after the record is another one with the same number.
        let is_it = |known: &&mut Known| known.started_ns <= record.time_ns;
        if let Some(known) = self.read(record.process, record.time_ns, 0).filter(is_it) {
            known.named = Some(named);
            return Arc::clone(&known.process);
        }
        match before {
            Some((process, before)) if before == Some(named) => process,
            _ => self.of_record(record),
        }
    }

    /// A process that has gone: all that is known of it is in the record.
    fn of_record(&self, record: &OwnerRecord) -> Arc<Process> {
        let end = record.name.iter().position(|&byte| byte == 0).unwrap_or(record.name.len());
        Arc::new(Process {
            pid: record.process,
            name: plain(&String::from_utf8_lossy(&record.name[..end])),
            // The first thread has the name of the process.
            is_thread_name: record.thread != record.process,
            user: record.user,
            workload: self.groups.known(record.cgroup),
            ..Process::default()
        })
    }

    /// What is known of a process, read again if it was last read `fresh_ns` ago or earlier. `None` when it has gone.
    fn read(&mut self, pid: u32, now_ns: u64, fresh_ns: u64) -> Option<&mut Known> {
        let is_fresh =
            self.known.get(&pid).is_some_and(|known| now_ns.saturating_sub(known.read_ns) < fresh_ns);
        if !is_fresh {
            let Some(found) = self.processes.read(pid) else {
                self.known.remove(&pid);
                return None;
            };
            let known = self.learn(pid, found, now_ns);
            if self.known.len() >= KEPT && !self.known.contains_key(&pid) {
                self.known.clear();
            }
            self.known.insert(pid, known);
        }
        self.known.get_mut(&pid)
    }

    /// Keeps the process that was known before where nothing has changed: it is shared by all its connections.
    fn learn(&mut self, pid: u32, found: Found, now_ns: u64) -> Known {
        let Found { process, started_ns, network, groups } = found;
        let workload = self.groups.workload(&groups);
        let process = Process { workload, ..process };
        let before = self.known.get(&pid).filter(|known| known.started_ns == started_ns);
        let (named, shared) = match before {
            Some(known) if *known.process == process => (known.named, Arc::clone(&known.process)),
            Some(known) => (known.named, Arc::new(process)),
            None => (None, Arc::new(process)),
        };
        Known { process: shared, started_ns, read_ns: now_ns, network, named }
    }
}

impl Default for Owners {
    fn default() -> Self {
        Self::new()
    }
}

/// Text from outside as ASCII that a terminal takes as it is.
fn plain(text: &str) -> String {
    let mut plain = String::with_capacity(text.len());
    for letter in text.chars() {
        match letter {
            ' '..='~' => plain.push(letter),
            _ => plain.extend(letter.escape_default()),
        }
    }
    plain
}

/// Shared by all processes of a control group.
type SharedWorkload = Option<Arc<Workload>>;

#[cfg(test)]
mod tests {
    use std::fs;
    use std::os::unix::fs::symlink;
    use std::path::PathBuf;

    use probe_common::{Endpoint, OwnerAction};

    use super::*;

    /// Files as they are on a host, below a folder of their own, which goes with this.
    pub(super) struct Tree(PathBuf);

    impl Tree {
        pub(super) fn new(name: &str) -> Self {
            let folder = std::env::temp_dir().join(format!("tcptop-owner-{name}-{}", std::process::id()));
            drop(fs::remove_dir_all(&folder));
            Self(folder)
        }

        /// One whose processes have the numbers of the host.
        fn of_host(name: &str) -> Self {
            let tree = Self::new(name);
            tree.link("proc/self/ns/pid", "pid:[4026531836]");
            tree.link("proc/thread-self/ns/net", "net:[7]");
            tree
        }

        pub(super) fn path(&self) -> &Path {
            &self.0
        }

        pub(super) fn write(&self, path: &str, text: &str) {
            let path = self.0.join(path);
            fs::create_dir_all(path.parent().expect("it is in a folder")).expect("there is room");
            fs::write(path, text).expect("there is room");
        }

        fn link(&self, path: &str, target: &str) {
            self.write(path, "");
            fs::remove_file(self.0.join(path)).expect("it is there");
            symlink(target, self.0.join(path)).expect("there is room");
        }

        /// A process that was started so many ticks, of 10 ms, after the machine.
        fn process(&self, pid: u32, name: &str, started: u64, network: u32) {
            let fields = ["0"; 18].join(" ");
            self.write(&format!("proc/{pid}/stat"), &format!("{pid} ({name}) R {fields} {started} 0\n"));
            self.write(&format!("proc/{pid}/comm"), &format!("{name}\n"));
            self.write(&format!("proc/{pid}/cmdline"), &format!("{name}\0-x\0"));
            self.write(&format!("proc/{pid}/cgroup"), "0::/system.slice/web.service\n");
            self.link(&format!("proc/{pid}/exe"), &format!("/usr/bin/{name}"));
            self.link(&format!("proc/{pid}/ns/net"), &format!("net:[{network}]"));
        }

        fn remove(&self, pid: u32) {
            fs::remove_dir_all(self.0.join(format!("proc/{pid}"))).expect("it is there");
        }
    }

    impl Drop for Tree {
        fn drop(&mut self) {
            drop(fs::remove_dir_all(&self.0));
        }
    }

    const S: u64 = 1_000_000_000;

    /// `time_ns` is on a clock that stops while the machine is suspended, which is not so here, or not for long.
    fn record(process: u32, thread: u32, name: &str, time_ns: u64) -> OwnerRecord {
        let mut bytes = [0; 16];
        bytes[..name.len()].copy_from_slice(name.as_bytes());
        let (cgroup, user, action) = (1, 0, OwnerAction::Connect);
        OwnerRecord { time_ns, cookie: 5, cgroup, process, thread, user, name: bytes, action }
    }

    #[test]
    fn a_process_has_its_own_name_and_not_that_of_its_thread() {
        let tree = Tree::of_host("names");
        tree.process(7, "curl", 100, 7);
        let mut owners = Owners::of(tree.path());
        assert_eq!(owners.lacking(), None);
        let named = owners.name(&record(7, 9, "resolver", 10 * S));
        let process = &named.process;
        assert_eq!((named.cookie, process.pid, process.shown_name().as_str()), (5, 7, "curl"));
        assert_eq!(process.executable.as_deref(), Some("/usr/bin/curl"));
        assert_eq!(process.command.as_deref(), Some("curl -x"));
        let unit = process.workload.as_ref().and_then(|workload| workload.unit.as_deref());
        assert_eq!(unit, Some("web.service"));
        let again = owners.name(&record(7, 8, "other", 20 * S));
        assert!(Arc::ptr_eq(&named.process, &again.process), "nothing has changed: it is shared");
        // It becomes another program.
        tree.process(7, "wget", 100, 7);
        assert_eq!(owners.name(&record(7, 9, "wget", 20 * S + 1)).process.name, "wget");
    }

    #[test]
    fn a_process_that_has_gone_has_the_name_of_its_thread() {
        let tree = Tree::of_host("gone");
        let mut owners = Owners::of(tree.path());
        let shown = |owners: &mut Owners, record: OwnerRecord| owners.name(&record).process.shown_name();
        assert_eq!(
            shown(&mut owners, record(7, 7, "curl", S)),
            "curl",
            "the first thread's is the process's"
        );
        assert_eq!(shown(&mut owners, record(7, 8, "resolver", S)), "~resolver");
        assert_eq!(shown(&mut owners, record(7, 8, "\x1b[2J", S)), "~\\u{1b}[2J");
        // Its number is another one's by now.
        tree.process(7, "other", 1_000, 7);
        assert_eq!(shown(&mut owners, record(7, 7, "curl", 5 * S)), "curl");
        assert_eq!(shown(&mut owners, record(7, 7, "other", 20 * S)), "other");
        // It was seen while it was there.
        tree.remove(7);
        assert_eq!(shown(&mut owners, record(7, 7, "other", 30 * S)), "other");
        assert_eq!(shown(&mut owners, record(7, 8, "thread", 40 * S)), "~thread");
    }

    #[test]
    fn numbers_of_another_pid_namespace_are_not_looked_up() {
        let tree = Tree::of_host("namespace");
        tree.link("proc/self/ns/pid", "pid:[4026532000]");
        tree.process(7, "wrong", 1, 7);
        let mut owners = Owners::of(tree.path());
        assert_eq!(owners.name(&record(7, 7, "right", 10 * S)).process.name, "right");
        assert!(owners.lacking().is_some());
    }

    #[test]
    fn of_several_holders_the_youngest_is_named() {
        let tree = Tree::of_host("holders");
        tree.process(1, "master", 100, 7);
        tree.process(2, "worker", 200, 7);
        tree.process(3, "elsewhere", 300, 8);
        let end = Endpoint { address: [0; 16], port: 80 };
        let holder = |process, cookie| Holder { cookie, process, local: end, remote: end, listens: true };
        let all = [holder(2, 50), holder(1, 50), holder(2, 50), holder(3, 60), holder(4, 70)];
        let mut held = Owners::of(tree.path()).holders(&all, 10 * S);
        held.sort_by_key(|held| held.cookie);
        let of = |held: &SocketHolder| (held.cookie, held.process.pid, held.others, held.is_here);
        assert_eq!(held.iter().map(of).collect::<Vec<_>>(), [(50, 2, 1, true), (60, 3, 0, false)]);
    }

    #[test]
    fn a_flood_of_processes_is_forgotten() {
        let tree = Tree::of_host("flood");
        tree.process(7, "curl", 1, 7);
        let mut owners = Owners::of(tree.path());
        for pid in 0..10_000 {
            if pid > 0 {
                let [old, new] = [pid - 1, pid].map(|pid| tree.path().join(format!("proc/{}", pid + 7)));
                fs::rename(old, new).expect("it is there");
            }
            assert_eq!(owners.name(&record(pid + 7, pid + 7, "curl", 10 * S)).process.name, "curl");
        }
        assert!(owners.known.len() <= KEPT);
    }
}
