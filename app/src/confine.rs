//! What this process gives up before it parses what comes from outside: capabilities, new privileges, files and system calls that
//! it does not need. A bug in a parser of hostile bytes must not be root.
//!
//! A capture needs nothing more once it and the outputs are open. A live run keeps what attaching to interfaces takes that appear
//! later, and what naming processes takes.

use std::collections::BTreeMap;
use std::path::Path;

use caps::{CapSet, Capability, CapsHashSet};
use landlock::{
    ABI, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError,
};
use nix::libc;
use nix::sys::prctl::set_no_new_privs;
use seccompiler::{
    BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter, SeccompRule,
};

/// What the run does from now on.
#[derive(Clone, Copy, Debug)]
pub struct Confinement {
    /// Whether it watches interfaces; else it reads a capture that is open.
    pub is_live: bool,
    /// Whether it reads of other processes what only their owner may.
    pub names_processes: bool,
    /// Whether there is a screen, which asks for names and starts a second process that restores the terminal.
    pub has_screen: bool,
    /// Whether it opens sockets later: to hand things on, or to ask the kernel for a route.
    pub connects: bool,
    /// Whether it opens its files again, wherever they are.
    pub opens_files: bool,
}

/// What the time zone, the names of hosts and the second process of the screen are read from.
const ZONES: [&str; 3] = ["/etc/localtime", "/etc/timezone", "/usr/share/zoneinfo"];
const OF_SCREEN: [&str; 16] = [
    "/dev/tty",
    "/etc/gai.conf",
    "/etc/host.conf",
    "/etc/hosts",
    "/etc/ld.so.cache",
    "/etc/nsswitch.conf",
    "/etc/resolv.conf",
    "/etc/services",
    "/lib",
    "/lib64",
    "/nix/store",
    "/proc",
    "/run/systemd/resolve",
    "/usr/lib",
    "/usr/lib64",
    "/usr/share/terminfo",
];
/// What may be written: the second process of the screen gets the first one for its errors, and the screen is on the second one,
/// where standard input is something else.
const WRITABLE: [&str; 2] = ["/dev/null", "/dev/tty"];

/// System calls that no run makes.
const DENIED: [libc::c_long; 27] = [
    libc::SYS_acct,
    libc::SYS_add_key,
    libc::SYS_chroot,
    libc::SYS_clock_settime,
    libc::SYS_delete_module,
    libc::SYS_finit_module,
    libc::SYS_init_module,
    libc::SYS_io_uring_setup,
    libc::SYS_kexec_load,
    libc::SYS_keyctl,
    libc::SYS_mount,
    libc::SYS_move_mount,
    libc::SYS_open_by_handle_at,
    libc::SYS_open_tree,
    libc::SYS_perf_event_open,
    libc::SYS_pidfd_getfd,
    libc::SYS_pivot_root,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_ptrace,
    libc::SYS_reboot,
    libc::SYS_request_key,
    libc::SYS_setns,
    libc::SYS_swapon,
    libc::SYS_umount2,
    libc::SYS_unshare,
    libc::SYS_userfaultfd,
];

/// What a thread does not call that only parses what is open.
const OF_PARSER: [libc::c_long; 20] = [
    libc::SYS_accept4,
    libc::SYS_bind,
    libc::SYS_bpf,
    libc::SYS_connect,
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
    libc::SYS_linkat,
    libc::SYS_mkdirat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_renameat2,
    libc::SYS_sendmsg,
    libc::SYS_sendto,
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_symlinkat,
    libc::SYS_truncate,
    libc::SYS_unlinkat,
];
/// The older forms of those, which newer processors do not have.
#[cfg(target_arch = "x86_64")]
const OLDER: &[libc::c_long] = &[
    libc::SYS_accept,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_creat,
    libc::SYS_fork,
    libc::SYS_link,
    libc::SYS_mkdir,
    libc::SYS_open,
    libc::SYS_rename,
    libc::SYS_symlink,
    libc::SYS_unlink,
    libc::SYS_vfork,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[libc::c_long] = &[libc::SYS_accept];

impl Confinement {
    /// Gives up what is not needed, in this thread and all that it starts: to be called before there are others. What this kernel
    /// does not offer is left out. Returns what could not be given up although the kernel offers it: a sentence for each.
    #[must_use]
    pub fn enter(self) -> Vec<String> {
        let mut kept = Vec::new();
        let mut tried = |what: &str, result: Result<(), String>| {
            kept.extend(result.err().map(|error| format!("{what} is not confined: {error}")));
        };
        tried("what this process may do", self.drop_capabilities().map_err(|error| error.to_string()));
        // The next two need it where there is no CAP_SYS_ADMIN.
        tried("what this process may become", set_no_new_privs().map_err(|errno| errno.to_string()));
        // A process that is confined so may not ask which program another one runs.
        if !self.is_live || !self.names_processes && !self.opens_files {
            tried("what this process may write", self.close_files().map_err(|error| error.to_string()));
        }
        tried("which system calls are made", self.deny_calls());
        kept
    }

    fn drop_capabilities(self) -> Result<(), caps::errors::CapsError> {
        let permitted = caps::read(None, CapSet::Permitted)?;
        let kept: CapsHashSet =
            self.kept(&permitted).into_iter().filter(|one| permitted.contains(one)).collect();
        // The effective ones are some of the permitted ones, and so they go first.
        caps::clear(None, CapSet::Inheritable)?;
        caps::set(None, CapSet::Effective, &kept)?;
        caps::set(None, CapSet::Permitted, &kept)
    }

    /// What attaching to interfaces takes, and naming processes.
    fn kept(self, permitted: &CapsHashSet) -> Vec<Capability> {
        const ATTACH: [Capability; 3] =
            [Capability::CAP_BPF, Capability::CAP_NET_ADMIN, Capability::CAP_PERFMON];
        const NAME: [Capability; 2] = [Capability::CAP_SYS_PTRACE, Capability::CAP_DAC_READ_SEARCH];
        let has_all = ATTACH.iter().all(|one| permitted.contains(one));
        // It stands for all three, where they are not there.
        let attach =
            if has_all { &ATTACH[..] } else { &[Capability::CAP_SYS_ADMIN, Capability::CAP_NET_ADMIN] };
        let live = if self.is_live { attach } else { &[] };
        let name = if self.is_live && self.names_processes { &NAME[..] } else { &[] };
        let open = if self.opens_files { &[Capability::CAP_DAC_OVERRIDE][..] } else { &[] };
        live.iter().chain(name).chain(open).copied().collect()
    }

    /// Nothing can be written but what is open; of a capture's run, nothing read but what the screen and the time zone need.
    fn close_files(self) -> Result<(), RulesetError> {
        // Not the right to control devices, which came later: a terminal is one.
        let (writing, reading) = (AccessFs::from_write(ABI::V4), AccessFs::ReadFile | AccessFs::ReadDir);
        let handled = if self.is_live { writing } else { writing | reading };
        let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(handled)?;
        let mut ruleset = ruleset.create()?;
        let screen = if self.has_screen { &OF_SCREEN[..] } else { &[] };
        for path in ZONES.iter().chain(screen).filter(|_| !self.is_live) {
            // One that is not there is not needed.
            let Ok(file) = PathFd::new(path) else { continue };
            let access = if Path::new(path).is_dir() { reading } else { AccessFs::ReadFile.into() };
            ruleset = ruleset.add_rule(PathBeneath::new(file, access))?;
        }
        let writable = WRITABLE.iter().take(if self.has_screen { 2 } else { 1 });
        for file in writable.filter_map(|path| PathFd::new(path).ok()) {
            let access = AccessFs::WriteFile | AccessFs::ReadFile;
            ruleset = ruleset.add_rule(PathBeneath::new(file, access & handled))?;
        }
        ruleset.restrict_self().map(drop)
    }

    fn deny_calls(self) -> Result<(), String> {
        deny(self.denied().map_err(|error| error.to_string())?)
    }

    /// What is denied: always, or where all conditions of a rule hold.
    fn denied(self) -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
        let mut denied: BTreeMap<i64, Vec<SeccompRule>> =
            DENIED.iter().map(|call| (*call, Vec::new())).collect();
        if !self.is_live {
            denied.insert(libc::SYS_bpf, Vec::new());
        }
        if !self.has_screen {
            denied.insert(libc::SYS_execve, Vec::new());
            denied.insert(libc::SYS_execveat, Vec::new());
        }
        // Names of hosts are asked for over these; interfaces, addresses and sockets over netlink.
        let of_screen = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
        let families = match self.is_live {
            _ if self.has_screen || self.connects => &of_screen[..],
            // The C library asks for the index of an interface over a local socket.
            true => &[libc::AF_NETLINK, libc::AF_UNIX],
            false => &[],
        };
        let is_not = |family: &libc::c_int| {
            let family = u64::from(family.cast_unsigned());
            SeccompCondition::new(0, SeccompCmpArgLen::Dword, SeccompCmpOp::Ne, family)
        };
        let conditions = families.iter().map(is_not).collect::<Result<Vec<_>, _>>()?;
        let rules = if conditions.is_empty() { Vec::new() } else { vec![SeccompRule::new(conditions)?] };
        denied.insert(libc::SYS_socket, rules);
        Ok(denied)
    }
}

/// Lets this thread, which only parses what is open, open no file and no socket, and become no other program: whatever the
/// rest of the process still may.
///
/// # Errors
/// Why it still may: a sentence.
pub fn parser() -> Result<(), String> {
    let calls = [&DENIED[..], &OF_PARSER, OLDER].concat();
    let denied = set_no_new_privs().map_err(|errno| errno.to_string());
    let denied = denied.and_then(|()| deny(calls.into_iter().map(|call| (call, Vec::new())).collect()));
    denied.map_err(|error| format!("what reads the capture is not confined: {error}"))
}

/// Lets these calls fail with EPERM in this thread and those that it starts.
fn deny(calls: BTreeMap<i64, Vec<SeccompRule>>) -> Result<(), String> {
    let words = |error: seccompiler::BackendError| error.to_string();
    let processor = std::env::consts::ARCH.try_into().map_err(words)?;
    let denied = SeccompAction::Errno(libc::EPERM.cast_unsigned());
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, denied, processor);
    let program: BpfProgram = filter.and_then(TryInto::try_into).map_err(words)?;
    seccompiler::apply_filter(&program).map_err(|error| error.to_string())
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::io;
    use std::net::UdpSocket;
    use std::process::Command;
    use std::thread;

    use nix::errno::Errno;
    use nix::sys::ptrace;
    use nix::unistd::Pid;

    use super::*;

    /// What is given up is a thread's: it takes one of its own.
    #[test]
    fn a_parser_that_misbehaves_gets_at_nothing() {
        let confined = thread::spawn(|| {
            let nobody = Pid::from_raw(i32::MAX);
            assert!(File::open("/proc/version").is_ok() && UdpSocket::bind("127.0.0.1:0").is_ok());
            assert_eq!(ptrace::read(nobody, std::ptr::null_mut()), Err(Errno::ESRCH));
            parser().expect("the kernel allows it");
            let code = |error: io::Error| error.raw_os_error();
            assert_eq!(File::open("/proc/version").err().and_then(code), Some(libc::EPERM));
            assert_eq!(File::create("/tmp/tcptop-parser").err().and_then(code), Some(libc::EPERM));
            assert_eq!(UdpSocket::bind("127.0.0.1:0").err().and_then(code), Some(libc::EPERM));
            assert_eq!(fs::remove_file("/tmp/no-such-file").err().and_then(code), Some(libc::EPERM));
            assert_eq!(ptrace::read(nobody, std::ptr::null_mut()), Err(Errno::EPERM));
            assert!(Command::new("/bin/true").status().is_err());
        });
        confined.join().expect("it does not panic");
        assert!(File::open("/proc/version").is_ok(), "other threads go on");
    }

    #[test]
    fn a_capture_needs_no_capability_and_interfaces_few() {
        let all: CapsHashSet = caps::all();
        let kept = |is_live, names_processes, permitted: &CapsHashSet| {
            let confinement = Confinement {
                is_live,
                names_processes,
                has_screen: false,
                connects: false,
                opens_files: false,
            };
            confinement.kept(permitted).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(kept(false, true, &all), [""; 0]);
        assert_eq!(kept(true, false, &all), ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]);
        assert_eq!(kept(true, true, &all).len(), 5);
        let one = [Capability::CAP_SYS_ADMIN].into_iter().collect();
        assert_eq!(kept(true, false, &one)[0], "CAP_SYS_ADMIN");
    }
}
