//! Which processes hold which sockets, by the open files in `/proc`: where the kernel's iterator over them is not there.

use std::collections::HashMap;
use std::ffi::OsStr;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use probe_common::holder::Holder;
use tcptop_core::SocketState;

use crate::source::sock_diag::{CONNECTED_OR_LISTENING, SockDiag};

/// Lists holders of sockets of this network namespace.
#[derive(Debug)]
pub struct Descriptors {
    proc: PathBuf,
    sock_diag: SockDiag,
}

impl Default for Descriptors {
    fn default() -> Self {
        Self { proc: PathBuf::from("/proc"), sock_diag: SockDiag::default() }
    }
}

impl Descriptors {
    /// Every process that holds a TCP socket, once for each descriptor. Processes whose files cannot be read are left out, and so
    /// is what comes or goes meanwhile.
    ///
    /// # Errors
    /// When the kernel does not list its sockets.
    pub fn holders(&mut self) -> io::Result<Vec<Holder>> {
        let mut sockets = HashMap::new();
        self.sock_diag.dump(CONNECTED_OR_LISTENING, |listed| {
            let held = listed.iter().filter(|socket| socket.inode != 0);
            sockets.extend(held.map(|socket| {
                let listens = socket.state == SocketState::Listen;
                let (local, remote) = (socket.local, socket.remote);
                (
                    u64::from(socket.inode),
                    Holder { cookie: socket.cookie, process: 0, local, remote, listens },
                )
            }));
        })?;
        let mut holders = Vec::new();
        if sockets.is_empty() {
            return Ok(holders);
        }
        for (process, folder) in processes(&self.proc)? {
            let Ok(descriptors) = fs::read_dir(folder.join("fd")) else { continue };
            let links = descriptors.flatten().filter_map(|descriptor| fs::read_link(descriptor.path()).ok());
            let held = links.filter_map(|link| sockets.get(&socket_inode(link.as_os_str())?));
            holders.extend(held.map(|holder| Holder { process, ..*holder }));
        }
        Ok(holders)
    }
}

/// The folders of processes, and their numbers.
fn processes(proc: &Path) -> io::Result<impl Iterator<Item = (u32, PathBuf)>> {
    let entries = fs::read_dir(proc)?.flatten();
    Ok(entries.filter_map(|entry| Some((entry.file_name().to_str()?.parse().ok()?, entry.path()))))
}

/// The inode of the socket that the link of a descriptor names: `socket:[12345]`.
fn socket_inode(link: &OsStr) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

#[cfg(test)]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn sockets_of_this_process_are_held_by_it() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let opened = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
        let port = listener.local_addr().unwrap().port();
        let mut descriptors = Descriptors::default();
        let mut of = |local: u16, remote: u16| -> Vec<bool> {
            let holders = descriptors.holders().unwrap();
            let own = holders.iter().filter(|holder| holder.process == std::process::id());
            let found = own.filter(|holder| (holder.local.port, holder.remote.port) == (local, remote));
            found.map(|holder| holder.listens).collect()
        };
        let from = opened.local_addr().unwrap().port();
        assert_eq!((of(port, 0), of(from, port)), (vec![true], vec![false]));
        // Nobody holds it before it is accepted.
        assert!(of(port, from).is_empty());
        let (_accepted, _) = listener.accept().unwrap();
        assert_eq!(of(port, from), [false]);
        drop(opened);
        assert!(of(from, port).is_empty());
    }

    #[test]
    fn only_links_of_sockets_have_inodes() {
        let of = |link: &str| socket_inode(OsStr::new(link));
        assert_eq!(of("socket:[4026]"), Some(4_026));
        for other in ["pipe:[4026]", "socket:[]", "socket:[1", "/tmp/socket:[1]", "anon_inode:[eventpoll]"] {
            assert_eq!(of(other), None, "{other}");
        }
    }
}
