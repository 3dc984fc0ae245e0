//! A network interface whose other side is a file.

use std::fs::{File, OpenOptions};
use std::io::{self, IoSlice, Read, Write};
use std::mem::size_of;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd};
use std::os::unix::fs::OpenOptionsExt;

use anyhow::{Context, Result, ensure};
use nix::libc::{
    __c_anonymous_ifr_ifru, IFF_NO_PI, IFF_TAP, IFF_TUN, IFF_VNET_HDR, IFNAMSIZ, O_NONBLOCK, c_int, ifreq,
};
use probe_common::LinkLayer;
use rtnetlink::LinkUnspec;

use crate::namespace::Namespace;
use crate::netlink::Mac;
use crate::wire::Medium;

/// Frames that the interface keeps for a wire that is late (the default of 500 overflows within a burst).
const QUEUE_FRAMES: u32 = 8192;

/// Length of `struct virtio_net_hdr`, which precedes each frame with `IFF_VNET_HDR` (<linux/virtio_net.h>).
pub(crate) const VIRTIO_HEADER_LEN: usize = 10;
/// Checksums and segmentation (TSO) of both families are the file's part: `TUN_F_CSUM`, `TUN_F_TSO4`, `TUN_F_TSO6` of
/// <linux/if_tun.h>.
const OFFLOADS: c_int = 0x01 | 0x02 | 0x04;

nix::ioctl_readwrite_bad!(
    /// Makes the open file the other side of an interface. The request's number says `int`, though what it
    /// takes is a `struct ifreq` (<linux/if_tun.h>).
    tun_set_interface,
    nix::request_code_write!(b'T', 202, size_of::<c_int>()),
    ifreq
);

nix::ioctl_write_int_bad!(
    /// Says what the file takes over from the interface. The request's number says `unsigned int`.
    tun_set_offloads,
    nix::request_code_write!(b'T', 208, size_of::<c_int>())
);

/// A TAP (or TUN) interface; it goes away with this.
#[derive(Debug)]
pub(crate) struct Tap {
    file: File,
}

impl Tap {
    /// Makes the interface `name` inside the namespace, with the link-layer address `mac` if the medium has
    /// any, and sets it up.
    pub(crate) fn new(namespace: &Namespace, name: &str, medium: Medium, mac: Mac) -> Result<Self> {
        let flags = match medium {
            Medium::Ethernet | Medium::Ip => IFF_NO_PI,
            Medium::LongFrames => IFF_NO_PI | IFF_VNET_HDR,
        };
        Self::with_flags(namespace, name, medium, mac, flags)
    }

    /// As [`new`](Self::new), with `IFF_` flags of choice beside the medium's.
    pub(crate) fn with_flags(
        namespace: &Namespace,
        name: &str,
        medium: Medium,
        mac: Mac,
        flags: c_int,
    ) -> Result<Self> {
        let tap = namespace
            .run(|| Self::open(name, medium, flags))
            .with_context(|| format!("cannot make the interface {name}"))?;
        let mut change = LinkUnspec::new_with_name(name).txqueuelen(QUEUE_FRAMES).up();
        if medium.link_layer() == LinkLayer::Ethernet {
            change = change.address(mac.to_vec());
        }
        namespace.set_link(change.build()).with_context(|| format!("cannot set {name} up"))?;
        Ok(tap)
    }

    fn open(name: &str, medium: Medium, flags: c_int) -> Result<Self> {
        let file = OpenOptions::new()
            .read(true)
            .write(true)
            .custom_flags(O_NONBLOCK)
            .open("/dev/net/tun")
            .context("the kernel needs TUN/TAP")?;
        let layer = match medium.link_layer() {
            LinkLayer::Ethernet => IFF_TAP,
            LinkLayer::None => IFF_TUN,
        };
        let flags = u16::try_from(layer | flags)?.cast_signed();
        let mut request = request(name, __c_anonymous_ifr_ifru { ifru_flags: flags })?;
        // SAFETY: the descriptor is open, and the kernel reads and writes a `struct ifreq`, which the request is.
        unsafe { tun_set_interface(file.as_raw_fd(), &raw mut request) }?;
        if medium == Medium::LongFrames {
            // SAFETY: the descriptor is open, and the argument is a number.
            unsafe { tun_set_offloads(file.as_raw_fd(), OFFLOADS) }?;
        }
        Ok(Self { file })
    }

    /// Takes the next frame that the namespace sent; `WouldBlock` when there is none.
    pub(crate) fn read(&self, buffer: &mut [u8]) -> io::Result<usize> {
        (&self.file).read(buffer)
    }

    /// Hands the namespace a frame.
    pub(crate) fn write(&self, frame: &[u8]) -> io::Result<()> {
        (&self.file).write(frame).map(drop)
    }

    /// Hands the namespace a frame that lies in several pieces.
    pub(crate) fn write_pieces(&self, pieces: &[IoSlice<'_>]) -> io::Result<()> {
        (&self.file).write_vectored(pieces).map(drop)
    }
}

/// What the kernel takes about an interface (netdevice(7)).
pub(crate) fn request(interface: &str, about: __c_anonymous_ifr_ifru) -> Result<ifreq> {
    ensure!(interface.len() < IFNAMSIZ, "an interface's name has at most {} bytes", IFNAMSIZ - 1);
    let mut request = ifreq { ifr_name: [0; IFNAMSIZ], ifr_ifru: about };
    for (to, byte) in request.ifr_name.iter_mut().zip(interface.bytes()) {
        *to = byte.cast_signed();
    }
    Ok(request)
}

impl AsFd for Tap {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.file.as_fd()
    }
}
