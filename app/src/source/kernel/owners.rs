//! Attaches the programs that say whose sockets are, and reads which process holds which.
//!
//! They are loaded apart from the classifiers: where the kernel refuses one, all else goes on, and a sentence says what is
//! missing.

use std::fs::{self, File};
use std::io::{self, Read};

use aya::programs::{BtfTracePoint, CgroupAttachMode, CgroupSock, Iter};
use aya::{Btf, Ebpf};
use probe_common::holder::{Holder, RawHolder};
use probe_ebpf::names;

/// The tracepoint that tells of each change of a socket's state (`include/trace/events/sock.h`).
const STATES: &str = "inet_sock_set_state";
/// The iterator over the open files of all processes.
const OPEN_FILES: &str = "task_file";

/// What is known of owners.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Owners {
    /// Whether the iterator is loaded.
    pub(super) has_holders: bool,
    /// Whether each process that opens or closes a connection is named.
    pub(super) are_all: bool,
    /// Whether the kernel tells of the states of sockets, and of their end.
    pub(super) has_states: bool,
}

/// Loads and attaches what the kernel allows. Returns also why owners are not known, or not all: a sentence for each.
///
/// `has_fields` is whether the places of the fields that the iterator reads are known.
pub(super) fn attach(ebpf: &mut Ebpf, btf: &Result<Btf, String>, has_fields: bool) -> (Owners, Vec<String>) {
    let btf = match btf {
        Ok(btf) => btf,
        Err(error) => {
            let why = format!(
                "processes are read from /proc, those of short connections are not known: no BTF ({error})"
            );
            return (Owners::default(), vec![why]);
        }
    };
    let mut lacking = Vec::new();
    let states = attach_states(ebpf, btf);
    let has_states = states.is_ok();
    if let Err(error) = states {
        lacking.push(format!("processes of short connections that this host opens are not known: {error}"));
    }
    if let Err(error) = attach_release(ebpf) {
        lacking.push(format!("processes of short accepted connections are not known: {error}"));
    }
    let holders = if has_fields {
        load_holders(ebpf, btf)
    } else {
        Err("the kernel does not describe its sockets".to_owned())
    };
    let owners = Owners { has_holders: holders.is_ok(), are_all: lacking.is_empty(), has_states };
    lacking.extend(
        holders.err().map(|error| format!("which processes hold sockets is read from /proc: {error}")),
    );
    (owners, lacking)
}

/// Loads a program and attaches it to a tracepoint of the kernel.
///
/// # Errors
/// Why it is not: the verifier's words may follow on further lines.
pub(super) fn attach_tracepoint(
    ebpf: &mut Ebpf,
    btf: &Btf,
    name: &str,
    tracepoint: &str,
) -> Result<(), String> {
    let program: &mut BtfTracePoint = program(ebpf, name)?;
    program.load(tracepoint, btf).map_err(words)?;
    program.attach().map(drop).map_err(words)
}

/// Loads and attaches the programs that tell of sockets, where processes are not named.
///
/// # Errors
/// Why they are not.
pub(super) fn attach_sockets(ebpf: &mut Ebpf, btf: &Result<Btf, String>) -> Result<(), String> {
    attach_states(ebpf, btf.as_ref()?)?;
    // Where there is no control group, connects without a route are not known, and why is said there.
    _ = attach_release(ebpf);
    Ok(())
}

fn attach_states(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), String> {
    attach_tracepoint(ebpf, btf, names::SOCKET_STATE, STATES)
}

/// The root of control group v2.
///
/// # Errors
/// When there is none.
pub(super) fn cgroup() -> Result<File, String> {
    let mounts = fs::read_to_string("/proc/self/mounts").map_err(words)?;
    File::open(cgroup_root(&mounts).ok_or("there is no control group v2")?).map_err(words)
}

fn attach_release(ebpf: &mut Ebpf) -> Result<(), String> {
    let root = cgroup()?;
    let program: &mut CgroupSock = program(ebpf, names::SOCKET_RELEASE)?;
    program.load().map_err(words)?;
    program.attach(root, CgroupAttachMode::default()).map(drop).map_err(words)
}

fn load_holders(ebpf: &mut Ebpf, btf: &Btf) -> Result<(), String> {
    let program: &mut Iter = program(ebpf, names::SOCKET_HOLDERS)?;
    program.load(OPEN_FILES, btf).map_err(words)
}

/// Passes every holder of a TCP socket to `take`.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn holders(ebpf: &mut Ebpf, mut take: impl FnMut(Holder)) -> Result<(), String> {
    const LEN: usize = size_of::<RawHolder>();
    iterate::<LEN>(ebpf, names::SOCKET_HOLDERS, 1_024, |raw| take(RawHolder::read(raw).typed()))
}

/// Runs a loaded iterator, and passes each item that it writes to `take`. Room for `at_once` of them is made.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn iterate<const LEN: usize>(
    ebpf: &mut Ebpf,
    name: &str,
    at_once: usize,
    take: impl FnMut(&[u8; LEN]),
) -> Result<(), String> {
    let program: &mut Iter = program(ebpf, name)?;
    let link = program.attach().and_then(|link| program.take_link(link)).map_err(words)?;
    let mut file = link.into_file().map_err(words)?;
    let (mut take, mut bytes, mut filled) = (take, vec![0; at_once * LEN], 0);
    loop {
        match file.read(&mut bytes[filled..]) {
            Ok(0) => return Ok(()),
            Ok(read) => filled += read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(words(error)),
        }
        let (whole, _) = bytes[..filled].as_chunks::<LEN>();
        whole.iter().for_each(&mut take);
        let used = whole.len() * LEN;
        bytes.copy_within(used..filled, 0);
        filled -= used;
    }
}

pub(super) fn program<'a, P>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut P, String>
where
    &'a mut P: TryFrom<&'a mut aya::programs::Program>,
{
    let found = ebpf.program_mut(name).and_then(|program| program.try_into().ok());
    found.ok_or_else(|| format!("the built object has no `{name}`"))
}

/// An error and what has caused it.
pub(super) fn words(error: impl std::error::Error) -> String {
    let mut words = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        words = format!("{words}: {error}");
        source = error.source();
    }
    words
}

/// What the verifier adds is for nobody who only wants to watch.
pub(super) fn first_line(text: &str) -> &str {
    text.lines().next().unwrap_or_default()
}

/// Where control group v2 is mounted, by the lines of `/proc/self/mounts`.
fn cgroup_root(mounts: &str) -> Option<&str> {
    mounts.lines().find_map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
        [_, path, "cgroup2", ..] => Some(path),
        _ => None,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_root_of_control_groups_is_where_it_is_mounted() {
        let only = "proc /proc proc rw 0 0\ncgroup2 /sys/fs/cgroup cgroup2 rw,nsdelegate 0 0\n";
        assert_eq!(cgroup_root(only), Some("/sys/fs/cgroup"));
        let beside =
            "cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\ncgroup2 /sys/fs/cgroup/unified cgroup2 rw 0 0\n";
        assert_eq!(cgroup_root(beside), Some("/sys/fs/cgroup/unified"));
        assert_eq!(cgroup_root("cgroup /sys/fs/cgroup/cpu cgroup rw,cpu 0 0\n"), None);
        assert_eq!(cgroup_root("\n x\n"), None);
    }
}
