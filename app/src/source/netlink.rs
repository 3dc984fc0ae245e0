//! What the kernel says over rtnetlink(7) of this network namespace: its addresses, and which interfaces are ports of others.

use std::io;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::libc;

/// The groups that are notified when an IPv4 or an IPv6 address comes or goes.
const ADDRESS_GROUPS: u32 = (libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR).cast_unsigned();
/// What a notification says is not read, only that there is one.
const NOTIFICATION: usize = 64;

/// The addresses of this network namespace, now and whenever they change.
pub struct Addresses {
    changes: Socket,
}

impl Addresses {
    /// Subscribes to changes.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn subscribe() -> io::Result<Self> {
        let mut changes = Socket::new(NETLINK_ROUTE)?;
        changes.bind(&SocketAddr::new(0, ADDRESS_GROUPS))?;
        changes.set_non_blocking(true)?;
        Ok(Self { changes })
    }

    /// Whether any came or went since the last call.
    pub fn has_changed(&self) -> bool {
        let mut has_changed = false;
        loop {
            let mut room = Vec::with_capacity(NOTIFICATION);
            match self.changes.recv(&mut room, 0) {
                Ok(_) => has_changed = true,
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return has_changed,
                // ENOBUFS: there were more than the socket could keep.
                Err(_) => return true,
            }
        }
    }

    /// All of them, IPv4 mapped into IPv6, each with the index of its interface.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn read(&self) -> io::Result<Vec<(u32, [u8; 16])>> {
        let mut addresses = Vec::new();
        dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()), |message| {
            if let RouteNetlinkMessage::NewAddress(message) = message {
                addresses.extend(own(&message).map(|address| (message.header.index, address)));
            }
        })?;
        Ok(addresses)
    }
}

/// The host's end: what `IFA_LOCAL` says, without which `IFA_ADDRESS` is not that of the other end of a point-to-point link.
fn own(message: &AddressMessage) -> Option<[u8; 16]> {
    let local = message.attributes.iter().find_map(|attribute| match attribute {
        AddressAttribute::Local(address) => Some(address),
        _ => None,
    });
    let address = || {
        message.attributes.iter().find_map(|attribute| match attribute {
            AddressAttribute::Address(address) => Some(address),
            _ => None,
        })
    };
    Some(match local.or_else(address)? {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
    })
}

/// What an interface with ports is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum MasterKind {
    /// A bridge: what passes from port to port does not pass the bridge's own interface.
    Bridge,
    /// A VRF: routing tables of their own for its interfaces, whose packets do not pass the VRF's own.
    Vrf,
}

/// An interface whose traffic passes its ports, not itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Master {
    /// Its index.
    pub index: u32,
    /// What it is.
    pub kind: MasterKind,
    /// Names of its ports, in the order of their indexes. Can hold control characters.
    pub ports: Vec<String>,
}

/// All bridges and VRFs.
///
/// # Errors
/// When the kernel does not say.
pub fn masters() -> io::Result<Vec<Master>> {
    let mut links = Vec::new();
    dump(RouteNetlinkMessage::GetLink(LinkMessage::default()), |message| {
        if let RouteNetlinkMessage::NewLink(link) = message {
            links.push(link);
        }
    })?;
    links.sort_by_key(|link| link.header.index);
    let masters = links.iter().filter_map(|link| {
        let index = link.header.index;
        let ports = links.iter().filter(|port| controller(port) == Some(index)).filter_map(name);
        Some(Master { index, kind: kind(link)?, ports: ports.collect() })
    });
    Ok(masters.collect())
}

fn kind(link: &LinkMessage) -> Option<MasterKind> {
    let infos = link.attributes.iter().filter_map(|attribute| match attribute {
        LinkAttribute::LinkInfo(infos) => Some(infos),
        _ => None,
    });
    infos.flatten().find_map(|info| match info {
        LinkInfo::Kind(InfoKind::Bridge) => Some(MasterKind::Bridge),
        LinkInfo::Kind(InfoKind::Vrf) => Some(MasterKind::Vrf),
        _ => None,
    })
}

fn controller(link: &LinkMessage) -> Option<u32> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::Controller(index) => Some(*index),
        _ => None,
    })
}

fn name(link: &LinkMessage) -> Option<String> {
    link.attributes.iter().find_map(|attribute| match attribute {
        LinkAttribute::IfName(name) => Some(name.clone()),
        _ => None,
    })
}

/// Asks for all objects of a kind and passes each to `take`. One that this version of the library cannot read is left out.
fn dump(request: RouteNetlinkMessage, mut take: impl FnMut(RouteNetlinkMessage)) -> io::Result<()> {
    exchange(request, NLM_F_DUMP, |message| {
        let read = NetlinkMessage::<RouteNetlinkMessage>::deserialize(message).map(|message| message.payload);
        if let Ok(NetlinkPayload::InnerMessage(object)) = read {
            take(object);
        }
    })
}

/// Sends a request with these flags beside that it is one, and passes the bytes of each message of the answer to `take`, up to
/// the end of a dump or the acknowledgement.
pub(super) fn exchange(
    request: RouteNetlinkMessage,
    flags: u16,
    mut take: impl FnMut(&[u8]),
) -> io::Result<()> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut request = NetlinkMessage::from(request);
    request.header.flags = NLM_F_REQUEST | flags;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        let mut rest = &bytes[..];
        // Each message begins with its length, and they are aligned to four bytes (netlink(7)).
        while let Some(length) = rest.first_chunk().map(|length| u32::from_ne_bytes(*length) as usize)
            && let Some(message) = rest.get(..length).filter(|message| message.len() >= HEADER)
        {
            match control(message) {
                Some(result) => return result,
                None => take(message),
            }
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        }
    }
}

/// The end of an answer, if this message is one.
fn control(message: &[u8]) -> Option<io::Result<()>> {
    /// Where the type is in a message, and those of an error (0 for none) and of the end of a dump (`linux/netlink.h`).
    const TYPE: usize = 4;
    const ERROR: u16 = 2;
    const DONE: u16 = 3;
    let kind = message.get(TYPE..)?.first_chunk().map(|kind| u16::from_ne_bytes(*kind))?;
    let code =
        message.get(HEADER..).and_then(<[u8]>::first_chunk).map_or(0, |code| i32::from_ne_bytes(*code));
    match (kind, code) {
        (DONE, 0..) | (ERROR, 0) => Some(Ok(())),
        (DONE | ERROR, code) => Some(Err(io::Error::from_raw_os_error(-code))),
        _ => None,
    }
}

/// Length of the header of a message.
pub(super) const HEADER: usize = 16;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn loopback_has_its_addresses() {
        let addresses = Addresses::subscribe().unwrap();
        let listed = addresses.read().unwrap();
        let loopback = std::net::Ipv4Addr::LOCALHOST.to_ipv6_mapped().octets();
        assert!(listed.iter().any(|(_, address)| *address == loopback), "{listed:?}");
        assert!(!addresses.has_changed());
    }

    #[test]
    fn of_a_point_to_point_link_the_near_end_is_own() {
        let [near, far] = [[10, 0, 0, 1], [10, 0, 0, 2]].map(IpAddr::from);
        let mut message = AddressMessage::default();
        message.attributes = vec![AddressAttribute::Address(far), AddressAttribute::Local(near)];
        assert_eq!(own(&message).unwrap()[12..], [10, 0, 0, 1]);
        message.attributes.pop();
        assert_eq!(own(&message).unwrap()[12..], [10, 0, 0, 2]);
        message.attributes.pop();
        assert_eq!(own(&message), None);
    }
}
