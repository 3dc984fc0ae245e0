//! What this process may still do once it runs: a mistake in what reads bytes of strangers must not be root's.
//!
//! Capabilities, `no_new_privs` and filters belong to threads, and new threads have those of the one that starts them: all of
//! this is done before there are others. What the kernel does not offer is left out; what it refuses is an error.

use std::collections::BTreeMap;
use std::env::consts::ARCH;
use std::io;

use caps::{CapSet, Capability, CapsHashSet};
use landlock::{ABI, AccessFs, CompatLevel, Compatible, Ruleset, RulesetAttr};
use nix::libc;
use seccompiler::{BpfProgram, SeccompAction, SeccompFilter, apply_filter};

use crate::error::Error;

/// What watching takes for as long as it lasts: interfaces come back and are attached to again, the names of other users'
/// processes are read, and configuration that only root can read says what containers are called.
const WATCHING: [Capability; 5] = [
    Capability::CAP_BPF,
    Capability::CAP_NET_ADMIN,
    Capability::CAP_PERFMON,
    Capability::CAP_SYS_PTRACE,
    Capability::CAP_DAC_READ_SEARCH,
];
/// The newest rights that are asked for; kernels that know fewer of them are asked for those.
const RIGHTS: ABI = ABI::V5;

/// Calls by which a process looks into others or changes the host. Nothing here needs them.
const OF_NOBODY: [libc::c_long; 15] = [
    libc::SYS_ptrace,
    libc::SYS_process_vm_readv,
    libc::SYS_process_vm_writev,
    libc::SYS_pidfd_getfd,
    libc::SYS_mount,
    libc::SYS_umount2,
    libc::SYS_pivot_root,
    libc::SYS_chroot,
    libc::SYS_init_module,
    libc::SYS_finit_module,
    libc::SYS_delete_module,
    libc::SYS_kexec_load,
    libc::SYS_reboot,
    libc::SYS_keyctl,
    libc::SYS_userfaultfd,
];
/// Calls by which a thread gets at anything that it was not given. One that only reads an open capture needs none of them.
const OF_PARSERS: [libc::c_long; 24] = [
    libc::SYS_execve,
    libc::SYS_execveat,
    libc::SYS_openat,
    libc::SYS_openat2,
    libc::SYS_open_by_handle_at,
    libc::SYS_socket,
    libc::SYS_socketpair,
    libc::SYS_connect,
    libc::SYS_bind,
    libc::SYS_accept4,
    libc::SYS_sendto,
    libc::SYS_sendmsg,
    libc::SYS_bpf,
    libc::SYS_perf_event_open,
    libc::SYS_io_uring_setup,
    libc::SYS_setns,
    libc::SYS_unshare,
    libc::SYS_unlinkat,
    libc::SYS_renameat2,
    libc::SYS_linkat,
    libc::SYS_symlinkat,
    libc::SYS_mkdirat,
    libc::SYS_fchmodat,
    libc::SYS_fchownat,
];
/// The older forms of those, which newer processors do not have.
#[cfg(target_arch = "x86_64")]
const OLDER: &[libc::c_long] = &[
    libc::SYS_open,
    libc::SYS_creat,
    libc::SYS_accept,
    libc::SYS_unlink,
    libc::SYS_rename,
    libc::SYS_link,
    libc::SYS_symlink,
    libc::SYS_mkdir,
    libc::SYS_chmod,
    libc::SYS_chown,
    libc::SYS_fork,
    libc::SYS_vfork,
];
#[cfg(not(target_arch = "x86_64"))]
const OLDER: &[libc::c_long] = &[libc::SYS_accept];

/// Keeps the capabilities that watching takes, and `more`. `CAP_SYS_ADMIN` stays where it stands for one of them that is missing.
///
/// # Errors
/// When the kernel refuses.
pub fn watching(more: &[Capability]) -> Result<(), Error> {
    let held = caps::read(None, CapSet::Effective).map_err(|error| refused(io::Error::other(error)))?;
    let stand_in =
        WATCHING[..3].iter().any(|needed| !held.contains(needed)).then_some(Capability::CAP_SYS_ADMIN);
    keep(&WATCHING.iter().chain(more).copied().chain(stand_in).collect())?;
    no_new_privileges()?;
    filter(&OF_NOBODY)
}

/// Gives up every capability, and the right to write or remove any file. What is open stays so.
///
/// # Errors
/// When the kernel refuses.
pub fn reading() -> Result<(), Error> {
    keep(&CapsHashSet::new())?;
    no_new_privileges()?;
    let rules = Ruleset::default().set_compatibility(CompatLevel::BestEffort);
    let rules = rules.handle_access(AccessFs::from_write(RIGHTS));
    let restricted = rules.and_then(Ruleset::create).and_then(|rules| rules.restrict_self());
    restricted.map(drop).map_err(|error| refused(io::Error::other(error)))?;
    filter(&OF_NOBODY)
}

/// Gives up, for this thread, whatever a parser of strangers' bytes does not need: files, sockets and other processes.
///
/// # Errors
/// When the kernel refuses.
pub fn parser() -> Result<(), Error> {
    no_new_privileges()?;
    let calls: Vec<libc::c_long> = [&OF_NOBODY[..], &OF_PARSERS, OLDER].concat();
    filter(&calls)
}

/// Gives up all capabilities but these, also those of programs that are yet to be run.
fn keep(kept: &CapsHashSet) -> Result<(), Error> {
    let failed = |error| refused(io::Error::other(error));
    // Some kernels, and containers, have no ambient ones or do not let the bounds be lowered.
    let has_setpcap = caps::has_cap(None, CapSet::Effective, Capability::CAP_SETPCAP).unwrap_or(false);
    for capability in caps::all().into_iter().filter(|one| has_setpcap && !kept.contains(one)) {
        _ = caps::drop(None, CapSet::Bounding, capability);
    }
    _ = caps::clear(None, CapSet::Ambient);
    for set in [CapSet::Inheritable, CapSet::Effective, CapSet::Permitted] {
        let held = caps::read(None, set).map_err(failed)?;
        let held: CapsHashSet = held.intersection(kept).copied().collect();
        caps::set(None, set, &held).map_err(failed)?;
    }
    Ok(())
}

fn no_new_privileges() -> Result<(), Error> {
    nix::sys::prctl::set_no_new_privs().map_err(|error| refused(error.into()))
}

/// Lets these calls fail with EPERM. A processor that filters do not know, and a kernel without them, go without.
fn filter(calls: &[libc::c_long]) -> Result<(), Error> {
    let Ok(processor) = ARCH.try_into() else { return Ok(()) };
    let calls: BTreeMap<i64, Vec<_>> = calls.iter().map(|call| (*call, Vec::new())).collect();
    let denied = SeccompAction::Errno(libc::EPERM.unsigned_abs());
    let filter = SeccompFilter::new(calls, SeccompAction::Allow, denied, processor);
    let program = filter.and_then(BpfProgram::try_from).map_err(|error| refused(io::Error::other(error)))?;
    match apply_filter(&program) {
        Err(seccompiler::Error::Prctl(error) | seccompiler::Error::Seccomp(error))
            if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::ENOSYS)) =>
        {
            Ok(())
        }
        applied => applied.map_err(|error| refused(io::Error::other(error))),
    }
}

fn refused(source: io::Error) -> Error {
    Error::System { what: "give up privileges", source }
}

#[cfg(test)]
mod tests {
    use std::fs::{self, File};
    use std::net::UdpSocket;
    use std::process::Command;
    use std::thread;

    use nix::errno::Errno;
    use nix::sys::ptrace;
    use nix::unistd::Pid;

    use super::*;

    /// What is given up is a thread's: each test takes one of its own.
    fn in_a_thread(test: impl FnOnce() + Send + 'static) {
        thread::spawn(test).join().expect("it does not panic");
    }

    /// A process that there is not.
    fn nobody() -> Pid {
        Pid::from_raw(i32::MAX)
    }

    fn status(field: &str) -> String {
        let status = fs::read_to_string("/proc/thread-self/status").expect("a text");
        status.lines().find_map(|line| line.strip_prefix(field)).expect("it is there").trim().to_owned()
    }

    #[test]
    fn a_parser_that_misbehaves_gets_at_nothing() {
        in_a_thread(|| {
            let read = fs::read_to_string("/proc/version");
            assert!(read.is_ok() && UdpSocket::bind("127.0.0.1:0").is_ok(), "what is to be refused works");
            assert_eq!(ptrace::read(nobody(), std::ptr::null_mut()), Err(Errno::ESRCH));
            parser().expect("the kernel allows it");
            let code = |error: io::Error| error.raw_os_error();
            assert_eq!(File::open("/proc/version").err().and_then(code), Some(libc::EPERM));
            assert_eq!(File::create("/tmp/tcptop-parser").err().and_then(code), Some(libc::EPERM));
            assert_eq!(UdpSocket::bind("127.0.0.1:0").err().and_then(code), Some(libc::EPERM));
            assert_eq!(ptrace::read(nobody(), std::ptr::null_mut()), Err(Errno::EPERM));
            assert!(Command::new("/bin/true").status().is_err());
            assert!(fs::remove_file("/tmp/nothing-of-that-name").err().and_then(code) == Some(libc::EPERM));
        });
        assert!(File::open("/proc/version").is_ok(), "other threads go on");
    }

    #[test]
    fn reading_takes_no_capability_and_writes_nothing() {
        in_a_thread(|| {
            let path = std::env::temp_dir().join(format!("tcptop-reading-{}", std::process::id()));
            let mut open = File::create(&path).expect("it can be made");
            reading().expect("the kernel allows it");
            assert_eq!(status("CapEff:"), "0000000000000000");
            assert_eq!(status("CapPrm:"), "0000000000000000");
            assert_eq!(status("NoNewPrivs:"), "1");
            io::Write::write_all(&mut open, b"what is open stays so").expect("it can be written");
            assert!(fs::read_to_string("/proc/version").is_ok());
            if fs::read_to_string("/sys/kernel/security/lsm").is_ok_and(|all| all.contains("landlock")) {
                assert!(File::create(path.with_extension("other")).is_err());
                assert!(fs::remove_file(&path).is_err());
            }
        });
        _ = fs::remove_file(std::env::temp_dir().join(format!("tcptop-reading-{}", std::process::id())));
    }

    #[test]
    fn watching_keeps_few_capabilities() {
        in_a_thread(|| {
            let before = caps::read(None, CapSet::Effective).expect("they are read");
            watching(&[Capability::CAP_SYS_ADMIN]).expect("the kernel allows it");
            let after = caps::read(None, CapSet::Effective).expect("they are read");
            let wanted: CapsHashSet = WATCHING.into_iter().chain([Capability::CAP_SYS_ADMIN]).collect();
            assert_eq!(after, before.intersection(&wanted).copied().collect());
            assert_eq!(caps::read(None, CapSet::Permitted).expect("they are read"), after);
            assert_eq!(status("NoNewPrivs:"), "1");
        });
    }
}
