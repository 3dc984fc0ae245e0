//! An interface without a wire: the test makes the frames that come in.

use std::io::{self, IoSlice};

use anyhow::Result;
use nix::libc::{IFF_NO_PI, IFF_VNET_HDR};

use crate::namespace::Namespace;
use crate::tap::{Tap, VIRTIO_HEADER_LEN};
use crate::wire::{Medium, NEAR_MAC};

/// An interface that the test feeds. It has no addresses: the namespace takes nothing for its own and answers
/// nothing. What it sends nobody reads.
#[derive(Debug)]
pub struct Port {
    tap: Tap,
}

impl Port {
    /// Makes the interface `name` inside the namespace and sets it up.
    ///
    /// # Errors
    /// When the name is taken, or the kernel has no TUN/TAP.
    pub fn new(namespace: &Namespace, name: &str, medium: Medium) -> Result<Self> {
        let tap = Tap::with_flags(namespace, name, medium, NEAR_MAC, IFF_NO_PI | IFF_VNET_HDR)?;
        Ok(Self { tap })
    }

    /// Lets a frame come in. Programs at the interface's ingress hook have run when this returns.
    ///
    /// # Errors
    /// When the interface is down or deleted.
    pub fn send(&self, frame: &[u8]) -> io::Result<()> {
        self.send_split(frame, 0)
    }

    /// Lets a frame come in of which only the first `linear` bytes are directly addressable in the packet buffer;
    /// the rest lies in its fragments. The kernel does so for frames above a page (tun_alloc_skb), and puts
    /// shorter ones into one piece whatever is asked for, as it does with 0.
    ///
    /// # Errors
    /// See [`send`](Self::send); and when less than the Ethernet header is to be addressable.
    pub fn send_split(&self, frame: &[u8], linear: u16) -> io::Result<()> {
        let mut header = [0; VIRTIO_HEADER_LEN];
        header[2..4].copy_from_slice(&linear.to_ne_bytes());
        self.tap.write_pieces(&[IoSlice::new(&header), IoSlice::new(frame)])
    }
}
