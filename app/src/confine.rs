//! What this process gives up before it parses what comes from outside: capabilities, new privileges, files and system calls that
//! it does not need. A bug in a parser of hostile bytes must not be root.
//!
//! A capture needs nothing more once it and the outputs are open. A live run keeps what attaching to interfaces takes that appear
//! later, and what naming processes takes.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal};
use std::path::Path;

use caps::{CapSet, Capability, CapsHashSet};
use landlock::{
    ABI, AccessFs, CompatLevel, Compatible, PathBeneath, PathFd, Ruleset, RulesetAttr, RulesetCreatedAttr,
    RulesetError,
};
use nix::libc;
use nix::sys::prctl::set_no_new_privs;
use seccompiler::{
    BackendError, BpfProgram, SeccompAction, SeccompCmpArgLen, SeccompCmpOp, SeccompCondition, SeccompFilter,
    SeccompRule,
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
        // Landlock also hides other processes, whose files names are read from.
        if !(self.is_live && self.names_processes) {
            tried(
                "what this process may read and write",
                self.close_files().map_err(|error| error.to_string()),
            );
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
        live.iter().chain(name).copied().collect()
    }

    /// Nothing can be written but what is open; of a capture's run, nothing read but what the screen and the time zone need.
    fn close_files(self) -> Result<(), RulesetError> {
        // Not the right to control devices, which came later: a terminal is one.
        let (writing, reading) = (AccessFs::from_write(ABI::V4), AccessFs::ReadFile | AccessFs::ReadDir);
        let handled = if self.is_live { writing } else { writing | reading };
        let ruleset = Ruleset::default().set_compatibility(CompatLevel::BestEffort).handle_access(handled)?;
        let mut ruleset = ruleset.create()?;
        let screen = if self.has_screen { &OF_SCREEN[..] } else { &[] };
        let readable = ZONES.iter().chain(screen).filter(|_| !self.is_live);
        for path in readable {
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
        let program = program(self.denied().map_err(|error| error.to_string())?)?;
        seccompiler::apply_filter(&program).map_err(|error| error.to_string())
    }

    /// Gives up, in all threads, what only the start of the screen takes: writing files and starting programs. Where the keys do
    /// not come from standard input, the terminal is opened anew to restore it, and this is left out.
    #[must_use]
    pub fn finish(self) -> Option<String> {
        if !self.has_screen || !io::stdin().is_terminal() {
            return None;
        }
        let denied = writing()
            .map_err(|error| error.to_string())
            .map(|denied| [denied, running()].into_iter().flatten());
        let applied = denied.and_then(|denied| program(denied.collect())).and_then(|program| {
            seccompiler::apply_filter_all_threads(&program).map_err(|error| error.to_string())
        });
        applied.err().map(|error| format!("what this process may write is not confined: {error}"))
    }

    /// What is denied: always, or where all conditions of a rule hold.
    fn denied(self) -> Result<BTreeMap<i64, Vec<SeccompRule>>, seccompiler::BackendError> {
        let mut denied: BTreeMap<i64, Vec<SeccompRule>> =
            DENIED.iter().map(|call| (*call, Vec::new())).collect();
        if !self.is_live {
            denied.insert(libc::SYS_bpf, Vec::new());
        }
        if !self.has_screen {
            denied.extend(running());
            denied.extend(writing()?);
        }
        // Names of hosts are asked for over these; interfaces, addresses and sockets over netlink.
        let of_screen = [libc::AF_UNIX, libc::AF_INET, libc::AF_INET6, libc::AF_NETLINK];
        let families = match (self.is_live, self.has_screen) {
            (_, true) => &of_screen[..],
            // The index of an interface is asked for over a local socket.
            (true, false) => &[libc::AF_NETLINK, libc::AF_UNIX],
            (false, false) => &[],
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

/// System calls that are denied: always, or where all conditions of a rule hold.
type Calls = BTreeMap<i64, Vec<SeccompRule>>;

fn program(denied: Calls) -> Result<BpfProgram, String> {
    let architecture = std::env::consts::ARCH.try_into();
    let filter = architecture.and_then(|architecture| {
        let refused = SeccompAction::Errno(libc::EPERM.cast_unsigned());
        SeccompFilter::new(denied, SeccompAction::Allow, refused, architecture)
    });
    filter.and_then(TryInto::try_into).map_err(|error: BackendError| error.to_string())
}

/// Those that start programs.
fn running() -> Calls {
    [libc::SYS_execve, libc::SYS_execveat].map(|call| (call, Vec::new())).into()
}

/// Those that change files by their names, and that open files for anything but reading.
fn writing() -> Result<Calls, BackendError> {
    /// Those of all architectures; older ones are written by these in current libraries.
    const CHANGING: [libc::c_long; 13] = [
        libc::SYS_fchmodat,
        libc::SYS_fchownat,
        libc::SYS_fsetxattr,
        libc::SYS_linkat,
        libc::SYS_lsetxattr,
        libc::SYS_mkdirat,
        libc::SYS_mknodat,
        libc::SYS_openat2,
        libc::SYS_renameat2,
        libc::SYS_setxattr,
        libc::SYS_symlinkat,
        libc::SYS_truncate,
        libc::SYS_unlinkat,
    ];
    let mut denied: Calls = CHANGING.iter().map(|call| (*call, Vec::new())).collect();
    #[cfg(target_arch = "x86_64")]
    denied.extend(
        [
            libc::SYS_chmod,
            libc::SYS_chown,
            libc::SYS_creat,
            libc::SYS_lchown,
            libc::SYS_link,
            libc::SYS_mkdir,
            libc::SYS_mknod,
            libc::SYS_rename,
            libc::SYS_renameat,
            libc::SYS_rmdir,
            libc::SYS_symlink,
            libc::SYS_unlink,
        ]
        .map(|call| (call, Vec::new())),
    );
    denied.insert(libc::SYS_openat, opened_to_write(2)?);
    #[cfg(target_arch = "x86_64")]
    denied.insert(libc::SYS_open, opened_to_write(1)?);
    Ok(denied)
}

/// Rules for a call that opens a file with the flags in this argument.
fn opened_to_write(argument: u8) -> Result<Vec<SeccompRule>, BackendError> {
    let ways = [
        (libc::O_ACCMODE, libc::O_WRONLY),
        (libc::O_ACCMODE, libc::O_RDWR),
        (libc::O_CREAT, libc::O_CREAT),
        (libc::O_TRUNC, libc::O_TRUNC),
    ];
    let rule = |(mask, value): (libc::c_int, libc::c_int)| {
        let [mask, value] = [mask, value].map(|flags| u64::from(flags.cast_unsigned()));
        let is_so = SeccompCmpOp::MaskedEq(mask);
        SeccompRule::new(vec![SeccompCondition::new(argument, SeccompCmpArgLen::Dword, is_so, value)?])
    };
    ways.into_iter().map(rule).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_capture_needs_no_capability_and_interfaces_few() {
        let all: CapsHashSet = caps::all();
        let kept = |is_live, names_processes, permitted: &CapsHashSet| {
            let confinement = Confinement { is_live, names_processes, has_screen: false };
            confinement.kept(permitted).iter().map(ToString::to_string).collect::<Vec<_>>()
        };
        assert_eq!(kept(false, true, &all), [""; 0]);
        assert_eq!(kept(true, false, &all), ["CAP_BPF", "CAP_NET_ADMIN", "CAP_PERFMON"]);
        assert_eq!(kept(true, true, &all).len(), 5);
        let one = [Capability::CAP_SYS_ADMIN].into_iter().collect();
        assert_eq!(kept(true, false, &one)[0], "CAP_SYS_ADMIN");
    }
}
