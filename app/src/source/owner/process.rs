//! What `/proc` says of a process.

use std::fs;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use nix::time::{ClockId, clock_gettime};
use nix::unistd::{SysconfVar, sysconf};
use tcptop_core::Process;

use super::plain;

/// The inode of the initial PID namespace (`PROC_PID_INIT_INO`, `include/linux/proc_ns.h`).
const HOST_PIDS: u64 = 0xefff_fffc;
/// Letters of a command line that are kept.
const COMMAND: usize = 256;
/// Ticks a second of the times in `/proc/PID/stat`, where the system does not say.
const TICKS: u64 = 100;

/// The files about processes.
#[derive(Debug)]
pub(super) struct Processes {
    proc: PathBuf,
    are_of_host: bool,
    tick_ns: u64,
}

/// A process that was found.
#[derive(Clone, Debug)]
pub(super) struct Found {
    /// Without its workload.
    pub(super) process: Process,
    /// When it was started, in nanoseconds of the monotonic clock; up to a tick too early.
    pub(super) started_ns: u64,
    /// Its network namespace.
    pub(super) network: Option<u64>,
    /// The lines of `/proc/PID/cgroup`.
    pub(super) groups: String,
}

impl Processes {
    pub(super) fn of(root: &Path) -> Self {
        let proc = root.join("proc");
        let are_of_host = inode(&proc.join("self/ns/pid")).is_none_or(|pids| pids == HOST_PIDS);
        let ticks = sysconf(SysconfVar::CLK_TCK).ok().flatten().and_then(|ticks| u64::try_from(ticks).ok());
        let tick_ns = 1_000_000_000 / ticks.filter(|ticks| *ticks > 0).unwrap_or(TICKS);
        Self { proc, are_of_host, tick_ns }
    }

    /// Whether processes have the numbers by which the kernel names them.
    pub(super) const fn are_of_host(&self) -> bool {
        self.are_of_host
    }

    pub(super) fn own_network(&self) -> Option<u64> {
        inode(&self.proc.join("thread-self/ns/net"))
    }

    /// The process with this number. `None` when there is none, or its files cannot be read.
    pub(super) fn read(&self, pid: u32) -> Option<Found> {
        if !self.are_of_host {
            return None;
        }
        let folder = self.proc.join(pid.to_string());
        let stat = fs::read(folder.join("stat")).ok()?;
        let started_ns = started_ticks(&stat)?.saturating_mul(self.tick_ns);
        let text =
            |name: &str| Some(String::from_utf8_lossy(&fs::read(folder.join(name)).ok()?).into_owned());
        let process = Process {
            pid,
            name: plain(text("comm")?.trim_end_matches('\n')),
            is_thread_name: false,
            executable: fs::read_link(folder.join("exe")).ok().map(|path| plain(&path.to_string_lossy())),
            command: text("cmdline").as_deref().and_then(command),
            user: fs::metadata(&folder).ok()?.uid(),
            workload: None,
        };
        Some(Found {
            process,
            // Processes count from when the machine was started, also while it is suspended; records do not.
            started_ns: started_ns.saturating_sub(suspended_ns()),
            network: inode(&folder.join("ns/net")),
            groups: text("cgroup").unwrap_or_default(),
        })
    }
}

/// Field 22 of `/proc/PID/stat`. The name in it is in parentheses, and can have any in it.
fn started_ticks(stat: &[u8]) -> Option<u64> {
    let end = stat.iter().rposition(|&byte| byte == b')')?;
    let rest = std::str::from_utf8(stat.get(end + 1..)?).ok()?;
    rest.split_ascii_whitespace().nth(19)?.parse().ok()
}

/// The arguments with spaces between. Threads of the kernel have none.
fn command(arguments: &str) -> Option<String> {
    let words = arguments.trim_end_matches('\0').replace('\0', " ");
    let shown: String = words.chars().take(COMMAND).collect();
    (!shown.is_empty()).then(|| plain(&shown))
}

/// For how long this machine was suspended since it was started.
fn suspended_ns() -> u64 {
    let ns = |clock| {
        let time = clock_gettime(clock).ok()?;
        let (s, ns) = (u64::try_from(time.tv_sec()).ok()?, u64::try_from(time.tv_nsec()).ok()?);
        Some(s * 1_000_000_000 + ns)
    };
    let (all, awake) = (ns(ClockId::CLOCK_BOOTTIME), ns(ClockId::CLOCK_MONOTONIC));
    all.zip(awake).map_or(0, |(all, awake)| all.saturating_sub(awake))
}

/// What a link of `/proc/PID/ns` leads to: `net:[4026531840]`.
fn inode(link: &Path) -> Option<u64> {
    let target = fs::read_link(link).ok()?.to_string_lossy().into_owned();
    target.split_once('[')?.1.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_start_is_found_behind_any_name() {
        let stat = |name: &str| {
            let fields: Vec<String> = (3..=52).map(|field| field.to_string()).collect();
            format!("7 ({name}) {}\n", fields.join(" ")).into_bytes()
        };
        for name in ["cat", "a b", ") R 1 (", "\u{fc}"] {
            assert_eq!(started_ticks(&stat(name)), Some(22), "{name}");
        }
        assert_eq!(started_ticks(b"7 (cat) R 1"), None);
        assert_eq!(started_ticks(b""), None);
    }

    #[test]
    fn this_process_is_found() {
        let processes = Processes::of(Path::new("/"));
        let found = processes.read(std::process::id()).expect("it runs");
        let own = std::env::current_exe().expect("it has one");
        assert_eq!(found.process.executable.as_deref(), own.to_str());
        assert!(found.process.command.is_some_and(|command| !command.contains('\0')));
        assert!(found.network.is_some() && found.network == processes.own_network());
        let age_ns =
            crate::clock::monotonic_ns().checked_sub(found.started_ns).expect("it was started before");
        assert!(age_ns < 3_600_000_000_000, "{age_ns}");
        assert!(processes.read(u32::MAX).is_none());
    }

    #[test]
    fn commands_are_cut_and_escaped() {
        assert_eq!(command("a\0b c\0\0"), Some("a b c".to_owned()));
        assert_eq!(command("\x1b]0;x\x07\0"), Some("\\u{1b}]0;x\\u{7}".to_owned()));
        assert_eq!(command(""), None);
        assert_eq!(command(&"x".repeat(10_000)).map(|command| command.len()), Some(COMMAND));
    }
}
