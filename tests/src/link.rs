//! The usual benches: two hosts, and a wire or a cable between them.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::ops::RangeInclusive;

use anyhow::Result;
use ipnet::IpNet;

use crate::namespace::Namespace;
use crate::netlink::Mac;
use crate::script::Script;
use crate::wire::{FAR_MAC, Medium, NEAR_MAC, Wire};

/// Name of the interface in the near namespace.
pub const NEAR: &str = "near0";
/// Name of the interface in the far namespace.
pub const FAR: &str = "far0";

/// Host numbers of the near side.
pub const NEAR_HOSTS: RangeInclusive<u8> = 1..=9;
/// Host numbers of the far side. A port without a server refuses; an address outside is never asked for, since
/// nobody answers its neighbour request: for a peer that does not answer, drop what is for an address inside.
pub const FAR_HOSTS: RangeInclusive<u8> = 10..=49;

/// Two namespaces, `near0` in one and `far0` in the other, a wire between them. The near side has the addresses
/// 10.9.0.1 to 10.9.0.9 and fd09::1 to fd09::9, the far side 10.9.0.10 to 10.9.0.49 and fd09::10 to
/// fd09::49 (the same digits). All can be used at once, and their neighbour entries are permanent, so that no
/// resolution delays a first SYN.
#[derive(Debug)]
pub struct Link {
    /// Where tests usually watch.
    pub near: Namespace,
    /// Where the peers are.
    pub far: Namespace,
    /// What is between them.
    pub wire: Wire,
    medium: Medium,
}

impl Link {
    /// Makes the bench over Ethernet.
    ///
    /// # Errors
    /// Without root, or when the kernel lacks network namespaces, TUN/TAP or IPv6.
    pub fn new(script: Script) -> Result<Self> {
        Self::over(Medium::Ethernet, script)
    }

    /// Makes the bench over a medium of choice.
    ///
    /// # Errors
    /// See [`new`](Self::new).
    pub fn over(medium: Medium, script: Script) -> Result<Self> {
        let (near, far) = (Namespace::new()?, Namespace::new()?);
        let wire = plug(&near, &far, medium, script)?;
        Ok(Self { near, far, wire, medium })
    }

    /// Pulls the wire and its two interfaces out and puts new ones in, with the same names and addresses but
    /// other indexes, and a new script. Counters start at zero.
    ///
    /// # Errors
    /// When an interface of either name is left, say a renamed one's replacement.
    pub fn replug(self, script: Script) -> Result<Self> {
        let Self { near, far, wire, medium } = self;
        drop(wire);
        let wire = plug(&near, &far, medium, script)?;
        Ok(Self { near, far, wire, medium })
    }
}

/// The same two hosts with the same names and addresses, on a veth pair: nothing is delayed or lost, and packets pass
/// at the kernel's own speed.
#[derive(Debug)]
pub struct Cable {
    /// Where tests usually watch.
    pub near: Namespace,
    /// Where the peers are.
    pub far: Namespace,
}

impl Cable {
    /// Makes the bench, with or without packets that are longer than the MTU, at both ends.
    ///
    /// # Errors
    /// Without root, or when the kernel lacks network namespaces, veth or IPv6.
    pub fn new(offloads: bool) -> Result<Self> {
        let (near, far) = (Namespace::new()?, Namespace::new()?);
        near.veth_pair(NEAR, &far, FAR)?;
        for (host, interface, addresses) in [(&near, NEAR, own(NEAR_HOSTS)), (&far, FAR, own(FAR_HOSTS))] {
            host.add_hosts(interface, &addresses, &[])?;
            host.set_segmentation_offloads(interface, offloads)?;
        }
        Ok(Self { near, far })
    }
}

/// 10.9.0.`host` of the near side.
///
/// # Panics
/// When the near side has no such host.
#[must_use]
pub fn near_v4(host: u8) -> IpAddr {
    assert!(NEAR_HOSTS.contains(&host), "near hosts are {NEAR_HOSTS:?}");
    v4(host)
}

/// fd09::`host` of the near side.
///
/// # Panics
/// When the near side has no such host.
#[must_use]
pub fn near_v6(host: u8) -> IpAddr {
    assert!(NEAR_HOSTS.contains(&host), "near hosts are {NEAR_HOSTS:?}");
    v6(host)
}

/// 10.9.0.`host` of the far side.
///
/// # Panics
/// When the far side has no such host.
#[must_use]
pub fn far_v4(host: u8) -> IpAddr {
    assert!(FAR_HOSTS.contains(&host), "far hosts are {FAR_HOSTS:?}");
    v4(host)
}

/// fd09::`host` of the far side; 14 is fd09::14.
///
/// # Panics
/// When the far side has no such host.
#[must_use]
pub fn far_v6(host: u8) -> IpAddr {
    assert!(FAR_HOSTS.contains(&host), "far hosts are {FAR_HOSTS:?}");
    v6(host)
}

fn plug(near: &Namespace, far: &Namespace, medium: Medium, script: Script) -> Result<Wire> {
    let wire = Wire::over(medium, (near, NEAR), (far, FAR), script)?;
    near.add_hosts(NEAR, &own(NEAR_HOSTS), &neighbours(medium, FAR_HOSTS, FAR_MAC))?;
    far.add_hosts(FAR, &own(FAR_HOSTS), &neighbours(medium, NEAR_HOSTS, NEAR_MAC))?;
    Ok(wire)
}

fn own(hosts: RangeInclusive<u8>) -> Vec<IpNet> {
    let net = |address, prefix_len| IpNet::new(address, prefix_len).expect("not longer than the address");
    let both = |host| [net(v4(host), 24), net(v6(host), 64)];
    hosts.flat_map(both).collect()
}

/// Without a link layer there are no neighbours to know.
fn neighbours(medium: Medium, hosts: RangeInclusive<u8>, mac: Mac) -> Vec<(IpAddr, Mac)> {
    match medium {
        Medium::Ethernet | Medium::LongFrames => {
            hosts.flat_map(|host| [(v4(host), mac), (v6(host), mac)]).collect()
        }
        Medium::Ip => Vec::new(),
    }
}

fn v4(host: u8) -> IpAddr {
    Ipv4Addr::new(10, 9, 0, host).into()
}

/// The decimal digits of the host number, read as hexadecimal, so that both families look alike.
fn v6(host: u8) -> IpAddr {
    let digits = u16::from(host / 10) << 4 | u16::from(host % 10);
    Ipv6Addr::new(0xfd09, 0, 0, 0, 0, 0, 0, digits).into()
}
