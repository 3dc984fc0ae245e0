//! Where records come from.

pub mod capture;
pub mod host_counters;
pub mod interface;
pub mod kernel;
pub mod namespace;
pub mod netlink;
pub mod owner;
mod passed_over;
pub mod privilege;
pub mod replay;
pub mod selection;
pub mod sock_diag;
mod traffic_control;

use std::fs;
use std::os::unix::fs::MetadataExt;

/// The number of the network namespace of this thread: the inode of its file. `None` where `/proc` does not say it.
#[must_use]
pub fn own_network_namespace() -> Option<u32> {
    let file = fs::metadata("/proc/thread-self/ns/net").ok()?;
    u32::try_from(file.ino()).ok()
}
