//! Network namespaces that need no cleaning up.

use std::fs::{self, File};
use std::io;
use std::os::unix::process::CommandExt;
use std::panic::resume_unwind;
use std::path::Path;
use std::process::Command;
use std::sync::Arc;
use std::thread::{self, JoinHandle};

use anyhow::{Context, Result, bail};
use nix::sched::{CloneFlags, setns, unshare};
use nix::sys::signal::{SigHandler, Signal};

/// Settings of a new namespace that make what happens in it depend on the test alone.
const SETTLED: [(&str, &str); 5] = [
    // An IPv6 address is usable at once instead of a second later (duplicate address detection).
    ("net/ipv6/conf/all/accept_dad", "0"),
    ("net/ipv6/conf/default/accept_dad", "0"),
    // There is no router; do not ask for one again and again.
    ("net/ipv6/conf/all/router_solicitations", "0"),
    ("net/ipv6/conf/default/router_solicitations", "0"),
    // The kernel would carry round-trip times and thresholds over from one connection to the next.
    ("net/ipv4/tcp_no_metrics_save", "1"),
];

/// An anonymous network namespace. Only descriptors hold it: when the last clone is dropped, or the process
/// dies in any way, the kernel takes it down with all that is in it. Loopback is up (127.0.0.1 and ::1).
///
/// Tasks inside see their own `/proc/sys/net` and `/proc/thread-self/net`, but `/sys/class/net` is of the mount
/// and keeps showing the interfaces outside.
#[derive(Clone, Debug)]
pub struct Namespace {
    handle: Arc<File>,
}

impl Namespace {
    /// Makes an empty namespace.
    ///
    /// # Errors
    /// Without `CAP_SYS_ADMIN`, or when the kernel has no network namespaces or no IPv6.
    pub fn new() -> Result<Self> {
        let handle = thread::spawn(unshared).join().expect("the thread only makes two system calls");
        let handle = handle.context("cannot make a network namespace; this needs root")?;
        let namespace = Self { handle: Arc::new(handle) };
        for (key, value) in SETTLED {
            namespace.set_sysctl(key, value)?;
        }
        namespace.link_up("lo")?;
        Ok(namespace)
    }

    /// The namespace that this thread is in, as a child process whose parent has put it there.
    ///
    /// # Errors
    /// Without `/proc`.
    pub fn current() -> Result<Self> {
        let handle = File::open("/proc/thread-self/ns/net").context("cannot open this network namespace")?;
        Ok(Self { handle: Arc::new(handle) })
    }

    /// Runs `task` inside the namespace, on a thread of its own, and returns what it returns. What the task
    /// opens (sockets, interfaces) stays in the namespace wherever it is used later. Child processes that it
    /// starts are inside too.
    ///
    /// # Panics
    /// With the task's own panic; or when the thread cannot enter, which the privilege that
    /// [`new`](Self::new) needed rules out as long as it is held.
    pub fn run<T: Send>(&self, task: impl FnOnce() -> T + Send) -> T {
        let inside = || {
            self.enter().expect("who could make the namespace can enter it");
            task()
        };
        thread::scope(|scope| scope.spawn(inside).join()).unwrap_or_else(|panic| resume_unwind(panic))
    }

    /// Starts `task` inside the namespace on a thread called `name` (15 bytes are kept).
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn spawn<T: Send + 'static>(
        &self,
        name: &str,
        task: impl FnOnce() -> T + Send + 'static,
    ) -> io::Result<JoinHandle<T>> {
        let namespace = self.clone();
        thread::Builder::new().name(name.to_owned()).spawn(move || {
            namespace.enter().expect("who could make the namespace can enter it");
            task()
        })
    }

    /// Makes the child process that `command` starts run inside the namespace, with the default action for every signal:
    /// `nohup` and shells without job control start this process with some of them ignored, which children inherit.
    pub fn enter_command<'c>(&self, command: &'c mut Command) -> &'c mut Command {
        let handle = Arc::clone(&self.handle);
        let enter = move || {
            for signal in Signal::iterator() {
                // SAFETY: the default action runs no code of ours. It fails for SIGKILL and SIGSTOP, which have no other.
                let _ = unsafe { nix::sys::signal::signal(signal, SigHandler::SigDfl) };
            }
            Ok(setns(&*handle, CloneFlags::CLONE_NEWNET)?)
        };
        // SAFETY: between fork and exec only async-signal-safe calls are allowed: `enter` makes system calls only, on a
        // descriptor that the closure owns, and allocates nothing.
        unsafe { command.pre_exec(enter) }
    }

    /// Sets a sysctl of this namespace, as in `("net/ipv4/tcp_timestamps", "0")`.
    ///
    /// # Errors
    /// When the key is not under `net/`, unknown, not per namespace, or the value is refused.
    pub fn set_sysctl(&self, key: &str, value: &str) -> Result<()> {
        let path = sysctl_path(key)?;
        self.run(|| fs::write(&path, value)).with_context(|| format!("cannot set {key} to {value}"))
    }

    /// Reads a sysctl of this namespace, without the line's end.
    ///
    /// # Errors
    /// When the key is not under `net/`, unknown, or not readable.
    pub fn sysctl(&self, key: &str) -> Result<String> {
        let path = sysctl_path(key)?;
        let value = self.run(|| fs::read_to_string(&path)).with_context(|| format!("cannot read {key}"))?;
        Ok(value.trim_end().to_owned())
    }

    /// One of the namespace's own TCP counts, by its name in `/proc/net/snmp`, such as `RetransSegs`.
    ///
    /// # Errors
    /// When the kernel has no such count.
    pub fn tcp_count(&self, name: &str) -> Result<u64> {
        self.count("/proc/thread-self/net/snmp", "Tcp: ", name)
    }

    /// The same of the further ones in `/proc/net/netstat`, such as `TCPTimeouts`.
    ///
    /// # Errors
    /// When the kernel has no such count.
    pub fn tcp_ext_count(&self, name: &str) -> Result<u64> {
        self.count("/proc/thread-self/net/netstat", "TcpExt: ", name)
    }

    fn count(&self, path: &str, of: &str, name: &str) -> Result<u64> {
        let table = self.run(|| fs::read_to_string(path)).with_context(|| format!("cannot read {path}"))?;
        let mut tcp = table.lines().filter_map(|line| line.strip_prefix(of));
        let (names, values) = tcp.next().zip(tcp.next()).context("the kernel counts no TCP")?;
        let value = names.split(' ').zip(values.split(' ')).find(|(known, _)| *known == name);
        let (_, value) = value.with_context(|| format!("the kernel has no count {name}"))?;
        value.parse().with_context(|| format!("{name} is {value}"))
    }

    /// How many packets the interface itself counted so far: received and sent.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn packets(&self, interface: &str) -> Result<[u64; 2]> {
        let path = "/proc/thread-self/net/dev";
        let table = self.run(|| fs::read_to_string(path)).with_context(|| format!("cannot read {path}"))?;
        let row = table.lines().find_map(|line| line.trim_start().strip_prefix(interface)?.strip_prefix(':'));
        let row = row.with_context(|| format!("no interface {interface}"))?;
        let cells: Vec<&str> = row.split_whitespace().collect();
        // Eight columns each way, bytes first, then packets.
        let count = |column: usize| cells.get(column)?.parse().ok();
        count(1)
            .zip(count(9))
            .map(Into::into)
            .with_context(|| format!("{interface} counts no packets: {row}"))
    }

    /// Names of the interfaces inside, sorted.
    ///
    /// # Errors
    /// When the kernel cannot list them.
    pub fn interfaces(&self) -> Result<Vec<String>> {
        let list = || {
            let listed = nix::net::if_::if_nameindex()?;
            Ok::<_, nix::Error>(listed.iter().map(|one| one.name().to_string_lossy().into_owned()).collect())
        };
        let mut names: Vec<String> = self.run(list).context("cannot list the interfaces")?;
        names.sort();
        Ok(names)
    }

    /// Moves the calling thread into the namespace, for good: for threads that the lab owns.
    pub(crate) fn enter(&self) -> io::Result<()> {
        Ok(setns(&*self.handle, CloneFlags::CLONE_NEWNET)?)
    }

    /// The descriptor that holds the namespace.
    pub(crate) fn handle(&self) -> &File {
        &self.handle
    }
}

/// Ends the test here, passed, unless it runs as root: see [`require_root`](crate::require_root).
#[macro_export]
macro_rules! needs_root {
    () => {
        if !$crate::require_root() {
            return;
        }
    };
}

/// Whether the lab can be used: is this root? When not, says so on standard error.
///
/// # Panics
/// When not root and the environment has `CI`: there, a test that is skipped is a test that failed.
#[must_use = "without root the test has to return"]
pub fn require_root() -> bool {
    let root = nix::unistd::geteuid().is_root();
    if !root {
        let told = "the lab makes network namespaces and needs root: run it with sudo, or `cargo xtask test`";
        assert!(std::env::var_os("CI").is_none(), "{told}");
        eprintln!("SKIPPED: {told}");
    }
    root
}

/// Runs on a thread that ends right after, so that nothing else ever runs in its namespace by accident.
fn unshared() -> io::Result<File> {
    unshare(CloneFlags::CLONE_NEWNET)?;
    File::open("/proc/thread-self/ns/net")
}

/// Only `net/` belongs to the namespace; anything else would change the whole machine.
fn sysctl_path(key: &str) -> Result<std::path::PathBuf> {
    if !key.starts_with("net/") || key.contains("..") {
        bail!("{key} is not a sysctl of a network namespace; write it like net/ipv4/tcp_timestamps");
    }
    Ok(Path::new("/proc/sys").join(key))
}
