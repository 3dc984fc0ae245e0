//! Connects that fail on this host before any SYN leaves it, as the kernel says it.
//!
//! What a socket says when it gives up comes from the program that names processes, see [`owners`](super::owners). That there is no
//! route, programs of the control group find out. They are loaded apart: where the kernel refuses them, all else goes on, and a
//! sentence says what is missing.

use std::fs;
use std::net::{Ipv6Addr, SocketAddr, UdpSocket};
use std::os::fd::AsRawFd;
use std::os::unix::fs::MetadataExt;

use aya::programs::{CgroupAttachMode, CgroupSockAddr};
use aya::{Ebpf, EbpfLoader};
use nix::libc;
use probe_common::failure::Place;
use probe_common::{Endpoint, FailureRecord, FailureStage};
use probe_ebpf::names;

use super::btf::Types;
use super::owners::{cgroup, first_line, program, words};

/// `SO_NETNS_COOKIE` (Linux 5.14).
const NETNS_COOKIE: libc::c_int = 71;

/// Where the kernel's fields are, and which network namespace is the own one.
#[derive(Debug, Default)]
pub(super) struct Layout {
    /// By the numbers of [`Place`]; `None` where failures are not told.
    places: Option<[u32; Place::COUNT]>,
    namespace: u32,
    cookie: u64,
}

impl Layout {
    /// As this kernel describes it.
    pub(super) fn of(types: &Types<'_>) -> Self {
        let inode = fs::metadata("/proc/thread-self/ns/net").map_or(0, |metadata| metadata.ino());
        let namespace = u32::try_from(inode).unwrap_or(0);
        Self { places: types.places(Place::ALL), namespace, cookie: namespace_cookie().unwrap_or(0) }
    }

    /// Nothing is told.
    pub(super) fn forget(&mut self) {
        *self = Self::default();
    }

    /// Whether sockets are asked.
    pub(super) const fn is_on(&self) -> bool {
        self.places.is_some() && self.namespace != 0
    }

    /// Tells the programs.
    pub(super) fn set<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        let [namespace, cookie] = names::FAILURE_NAMESPACE;
        if let Some(places) = &self.places {
            loader.override_global(names::FAILURE_PLACES, &places[..], true);
            loader.override_global(namespace, &self.namespace, true);
        }
        loader.override_global(cookie, &self.cookie, true);
    }
}

/// The cookie of the network namespace of this thread.
fn namespace_cookie() -> Option<u64> {
    let socket = UdpSocket::bind("0.0.0.0:0").or_else(|_| UdpSocket::bind("[::]:0")).ok()?;
    let mut cookie = 0_u64;
    let mut len = libc::socklen_t::try_from(size_of::<u64>()).ok()?;
    // SAFETY: the room is as long as is said, and the kernel writes no more.
    let got = unsafe {
        libc::getsockopt(
            socket.as_raw_fd(),
            libc::SOL_SOCKET,
            NETNS_COOKIE,
            (&raw mut cookie).cast(),
            &raw mut len,
        )
    };
    (got == 0).then_some(cookie)
}

/// Loads and attaches the programs that note connects. `has_states` is whether the program of socket states is attached, without
/// which nobody takes their notes back.
///
/// # Errors
/// Why connects without a route are not known, or none that fail: a sentence.
pub(super) fn attach(ebpf: &mut Ebpf, layout: &Layout, has_states: bool) -> Result<(), String> {
    if !layout.is_on() || !has_states {
        let why = if has_states {
            "the kernel does not describe its sockets"
        } else {
            "the kernel does not tell the states of sockets"
        };
        return Err(format!("connects that fail on this host are not known: {why}"));
    }
    let attached = if layout.cookie == 0 {
        Err("the kernel gives network namespaces no cookies".to_owned())
    } else {
        names::CONNECTS.into_iter().try_for_each(|name| attach_one(ebpf, name))
    };
    attached.map_err(|error| format!("connects without a route are not known: {}", first_line(&error)))
}

fn attach_one(ebpf: &mut Ebpf, name: &str) -> Result<(), String> {
    let root = cgroup()?;
    let program: &mut CgroupSockAddr = program(ebpf, name)?;
    program.load().map_err(words)?;
    program.attach(root, CgroupAttachMode::default()).map(drop).map_err(words)
}

/// Completes what is known of a connect that had not begun: the route to that end says what the application was told.
pub(super) fn ask_route(failure: &mut FailureRecord) {
    if failure.stage == FailureStage::Route && failure.errno.is_none() {
        failure.errno = route_error(&failure.remote);
    }
}

/// What the kernel says of the route to an end, by a socket that sends nothing; `None` where there is one, or it does not depend on
/// the address alone.
fn route_error(remote: &Endpoint) -> Option<u16> {
    let address = Ipv6Addr::from(remote.address);
    if address.is_unicast_link_local() {
        return None;
    }
    let any = if address.to_ipv4_mapped().is_some() { "0.0.0.0:0" } else { "[::]:0" };
    let socket = UdpSocket::bind(any).ok()?;
    // Any port but 0 will do.
    let connected = socket.connect(SocketAddr::new(address.to_canonical(), remote.port.max(1)));
    connected.err().and_then(|error| u16::try_from(error.raw_os_error()?).ok())
}

#[cfg(test)]
mod tests {
    use super::*;
    use probe_common::segment::mapped;

    #[test]
    fn the_route_to_this_host_has_no_error() {
        assert_eq!(route_error(&Endpoint { address: mapped([127, 0, 0, 1]), port: 9 }), None);
    }

    #[test]
    fn this_namespace_has_a_cookie() {
        assert!(namespace_cookie().is_none_or(|cookie| cookie > 0));
    }
}
