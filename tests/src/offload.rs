//! What an interface does in place of the TCP stack, and how to stop it.

use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use nix::libc::{__c_anonymous_ifr_ifru, ifreq};
use nix::sys::socket::{AddressFamily, SockFlag, SockType, socket};
use rtnetlink::LinkUnspec;
use rtnetlink::packet_route::link::LinkAttribute;

use crate::namespace::Namespace;
use crate::tap::request;

/// Commands that switch one offload each (<linux/ethtool.h>): `ETHTOOL_STSO`, `ETHTOOL_SGSO`, `ETHTOOL_SGRO`.
const SEGMENTATION_AND_MERGING: [u32; 3] = [0x1f, 0x24, 0x2c];

/// `struct ethtool_value` of <linux/ethtool.h>.
#[repr(C)]
struct Switch {
    command: u32,
    value: u32,
}

nix::ioctl_write_ptr_bad!(
    /// Runs an ethtool command (<linux/sockios.h>).
    ethtool,
    0x8946,
    ifreq
);

impl Namespace {
    /// Lets the interface handle several TCP segments as one packet, longer than its MTU, on the way out (TSO, GSO)
    /// and in (GRO), or forbids it. A veth pair allows it from the start. Connections that are open keep to what was
    /// so when they were opened.
    ///
    /// # Errors
    /// When there is no such interface, or it cannot be switched.
    pub fn set_segmentation_offloads(&self, interface: &str, on: bool) -> Result<()> {
        let switch_all =
            || SEGMENTATION_AND_MERGING.into_iter().try_for_each(|one| switch(interface, one, on));
        self.run(switch_all).with_context(|| format!("cannot switch the offloads of {interface}"))?;
        // TCP makes packets of several segments for any interface, whatever it is able to (`sk_setup_caps`): they are
        // cut behind the hooks, where taps do not see it, but a program at the hooks does. It keeps to this limit.
        let most_segments = LinkAttribute::GsoMaxSegs(if on { u32::from(u16::MAX) } else { 1 });
        let change = LinkUnspec::new_with_name(interface).append_extra_attribute(most_segments);
        self.set_link(change.build()).with_context(|| format!("cannot limit the segments of {interface}"))
    }
}

fn switch(interface: &str, command: u32, on: bool) -> Result<()> {
    let any = socket(AddressFamily::Inet, SockType::Datagram, SockFlag::SOCK_CLOEXEC, None)?;
    let mut switch = Switch { command, value: on.into() };
    let request = request(interface, __c_anonymous_ifr_ifru { ifru_data: (&raw mut switch).cast() })?;
    // SAFETY: the descriptor is open, the kernel reads a `struct ifreq`, and what its pointer names lives until the
    // call returns.
    unsafe { ethtool(any.as_raw_fd(), &raw const request) }?;
    Ok(())
}
