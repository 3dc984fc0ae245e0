//! What the kernel says over rtnetlink(7) of this network namespace: its addresses, and which interfaces are ports of others.

use std::io;
use std::iter;
use std::net::IpAddr;

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{InfoKind, LinkAttribute, LinkInfo, LinkMessage};
use netlink_packet_route::route::{
    RouteAddress, RouteAttribute, RouteFlags, RouteHeader, RouteMessage, RouteProtocol, RouteScope, RouteType,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use nix::libc;
use tcptop_core::Cidr;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Notifications of interfaces that come, go or change.
pub struct LinkChanges {
    socket: AsyncFd<Socket>,
}

/// What has happened to interfaces.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LinkNews {
    /// The indexes of those that are gone: others may have them by now.
    pub removed: Vec<u32>,
    /// Whether anything has changed.
    pub is_any: bool,
}

impl LinkChanges {
    /// Subscribes to changes in this network namespace.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn subscribe() -> io::Result<Self> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, libc::RTMGRP_LINK.cast_unsigned()))?;
        socket.set_non_blocking(true)?;
        // SAFETY: the socket owns its descriptor, returns the same one at every call and is only dropped with this `AsyncFd`.
        let socket = unsafe { AsyncFd::register_with_interest(socket, Interest::READABLE) }?;
        Ok(Self { socket })
    }

    /// Waits for changes.
    ///
    /// # Errors
    /// When the reactor is gone.
    pub async fn readable(&self) -> io::Result<()> {
        self.socket.readable().await?.clear_ready();
        Ok(())
    }

    /// What has changed since the last call.
    pub fn take(&self) -> LinkNews {
        let mut news = LinkNews::default();
        loop {
            let mut room = Vec::with_capacity(LINK_NOTIFICATION);
            match self.socket.get_ref().recv(&mut room, 0) {
                Ok(_) => {
                    news.is_any = true;
                    news.removed.extend(removed(&room));
                }
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return news,
                // ENOBUFS: there were more than the socket could keep.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => news.is_any = true,
                Err(_) => return news,
            }
        }
    }
}

/// As much of a notification of an interface is read.
const LINK_NOTIFICATION: usize = 4_096;

/// The index of the interface that a notification says is gone. A bridge says so of its ports, too, which only leave it.
fn removed(notification: &[u8]) -> Option<u32> {
    let kind = u16::from_ne_bytes(notification.get(4..6)?.try_into().ok()?);
    let family = *notification.get(HEADER)?;
    let index = u32::from_ne_bytes(notification.get(HEADER + 4..HEADER + 8)?.try_into().ok()?);
    (kind == libc::RTM_DELLINK && i32::from(family) == libc::AF_UNSPEC).then_some(index)
}

/// The groups that are notified when an address or a route of IPv4 or IPv6 comes or goes.
const GROUPS: u32 =
    (libc::RTMGRP_IPV4_IFADDR | libc::RTMGRP_IPV6_IFADDR | libc::RTMGRP_IPV4_ROUTE | libc::RTMGRP_IPV6_ROUTE)
        .cast_unsigned();
/// As much of a notification is read: its header, and that of a route.
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
        changes.bind(&SocketAddr::new(0, GROUPS))?;
        changes.set_non_blocking(true)?;
        Ok(Self { changes })
    }

    /// Whether any came or went since the last call.
    pub fn has_changed(&self) -> bool {
        let mut has_changed = false;
        loop {
            let mut room = Vec::with_capacity(NOTIFICATION);
            match self.changes.recv(&mut room, 0) {
                Ok(_) => has_changed |= is_of_addresses(&room),
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
        dump(RouteNetlinkMessage::GetAddress(AddressMessage::default()), Check::Lenient, |message| {
            if let RouteNetlinkMessage::NewAddress(message) = message {
                addresses.extend(own(&message).map(|address| (message.header.index, address)));
            }
        })?;
        Ok(addresses)
    }

    /// The blocks that somebody has routed to this host itself (AnyIP, `ip route add local 10.1.0.0/16 dev lo`): whole, though
    /// no interface has an address of them.
    ///
    /// # Errors
    /// When the kernel does not say.
    pub fn read_routed(&self) -> io::Result<Vec<Cidr>> {
        let mut blocks = Vec::new();
        for family in [AddressFamily::Inet, AddressFamily::Inet6] {
            let mut request = RouteMessage::default();
            // The kernel leaves out all others: a router may have a million.
            request.header = RouteHeader { address_family: family, ..LOCAL };
            let read = dump(RouteNetlinkMessage::GetRoute(request), Check::Strict, |message| {
                if let RouteNetlinkMessage::NewRoute(route) = message {
                    blocks.extend(routed(&route));
                }
            });
            match read.map_err(|error| error.raw_os_error()) {
                // There is no such table before the first address, and none of a family that the kernel lacks.
                Ok(()) | Err(Some(libc::ENOENT | libc::EAFNOSUPPORT | libc::EOPNOTSUPP)) => {}
                Err(number) => {
                    return Err(
                        number.map_or_else(|| io::ErrorKind::Other.into(), io::Error::from_raw_os_error)
                    );
                }
            }
        }
        Ok(blocks)
    }
}

/// What a route to this host itself is.
const LOCAL: RouteHeader = RouteHeader {
    address_family: AddressFamily::Unspec,
    destination_prefix_length: 0,
    source_prefix_length: 0,
    tos: 0,
    table: libc::RT_TABLE_LOCAL,
    protocol: RouteProtocol::Unspec,
    scope: RouteScope::Universe,
    kind: RouteType::Local,
    flags: RouteFlags::empty(),
};

/// The block that is routed to this host, unless the kernel has made the route for an address. A default route makes no address
/// the host's own: it is for what a rule picks out, as that of a transparent proxy.
fn routed(route: &RouteMessage) -> Option<Cidr> {
    let RouteHeader { table, kind, protocol, destination_prefix_length: bits, .. } = route.header;
    if !is_routed(table, protocol, kind) || bits == 0 {
        return None;
    }
    let address: IpAddr = route.attributes.iter().find_map(|attribute| match attribute {
        RouteAttribute::Destination(RouteAddress::Inet(v4)) => Some((*v4).into()),
        RouteAttribute::Destination(RouteAddress::Inet6(v6)) => Some((*v6).into()),
        _ => None,
    })?;
    Some(Cidr::around(mapped(address), bits, bits))
}

/// Whether such a route is one to this host itself, and of more than an address that it has: the kernel's own are.
fn is_routed(table: u8, protocol: RouteProtocol, kind: RouteType) -> bool {
    (table, kind) == (LOCAL.table, LOCAL.kind) && protocol != RouteProtocol::Kernel
}

/// Whether a notification is one of an address, or of a route that makes addresses this host's. Routers change others often.
fn is_of_addresses(notification: &[u8]) -> bool {
    let kind = notification.get(4..6).and_then(|kind| kind.try_into().ok()).map(u16::from_ne_bytes);
    let route = || RouteHeader::parse(notification.get(HEADER..).unwrap_or_default()).ok();
    match kind {
        Some(libc::RTM_NEWROUTE | libc::RTM_DELROUTE) => {
            route().is_none_or(|route| is_routed(route.table, route.protocol, route.kind))
        }
        Some(_) | None => true,
    }
}

fn mapped(address: IpAddr) -> [u8; 16] {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
        IpAddr::V6(v6) => v6.octets(),
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
    local.or_else(address).map(|address| mapped(*address))
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
    dump(RouteNetlinkMessage::GetLink(LinkMessage::default()), Check::Lenient, |message| {
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

/// How the kernel reads a request.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Check {
    /// It gives all objects, whatever else the request says.
    Lenient,
    /// It gives those that are as the request says.
    Strict,
}

/// Asks for all objects of a kind and passes each to `take`. One that this version of the library cannot read is left out.
fn dump(
    request: RouteNetlinkMessage,
    check: Check,
    mut take: impl FnMut(RouteNetlinkMessage),
) -> io::Result<()> {
    exchange(request, NLM_F_DUMP, check, |message| {
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
    check: Check,
    mut take: impl FnMut(&[u8]),
) -> io::Result<()> {
    let socket = Socket::new(NETLINK_ROUTE)?;
    if check == Check::Strict {
        socket.set_netlink_get_strict_chk(true)?;
    }
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut request = NetlinkMessage::from(request);
    request.header.flags = NLM_F_REQUEST | flags;
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;
    loop {
        let (bytes, _) = socket.recv_from_full()?;
        for message in messages(&bytes) {
            match control(message) {
                Some(result) => return result,
                None => take(message),
            }
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

/// The messages in what one call received: each begins with its length, and they are aligned to four bytes (netlink(7)).
pub(super) fn messages(received: &[u8]) -> impl Iterator<Item = &[u8]> {
    let mut rest = received;
    iter::from_fn(move || {
        let length = u32::from_ne_bytes(*rest.first_chunk()?) as usize;
        let message = rest.get(..length).filter(|message| message.len() >= HEADER)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some(message)
    })
}

/// The kind and the value of each attribute: each begins with its length and its kind, and they are aligned to four bytes
/// (netlink(7)).
pub(super) fn attributes(bytes: &[u8]) -> impl Iterator<Item = (u16, &[u8])> {
    /// Length of the header of an attribute.
    const HEAD: usize = 4;
    /// The two highest bits of a kind are flags.
    const KIND: u16 = 0x3fff;
    let mut rest = bytes;
    iter::from_fn(move || {
        let [a, b, c, d] = *rest.first_chunk()?;
        let (length, kind) = (usize::from(u16::from_ne_bytes([a, b])), u16::from_ne_bytes([c, d]) & KIND);
        let value = rest.get(HEAD..length)?;
        rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
        Some((kind, value))
    })
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
        assert!(addresses.read_routed().is_ok());
    }

    #[test]
    fn a_route_to_this_host_makes_its_block_the_hosts() {
        let of = |change: fn(&mut RouteMessage)| {
            let mut route = RouteMessage::default();
            route.header =
                RouteHeader { destination_prefix_length: 16, protocol: RouteProtocol::Boot, ..LOCAL };
            let destination = RouteAddress::Inet([10, 1, 0, 0].into());
            route.attributes = vec![RouteAttribute::Destination(destination)];
            change(&mut route);
            routed(&route).map(|block| block.to_string())
        };
        assert_eq!(of(|_| ()).as_deref(), Some("10.1.0.0/16"));
        assert_eq!(of(|route| route.header.protocol = RouteProtocol::Kernel), None, "an address's own");
        assert_eq!(of(|route| route.header.kind = RouteType::Unicast), None);
        assert_eq!(of(|route| route.header.table = RouteHeader::RT_TABLE_MAIN), None);
        let default = |route: &mut RouteMessage| {
            route.header.destination_prefix_length = 0;
            route.attributes.clear();
        };
        assert_eq!(of(default), None);
    }

    #[test]
    fn of_routes_only_those_to_this_host_are_changes() {
        let notified = |kind: u16, table, protocol, route| {
            let mut bytes = vec![0; HEADER];
            bytes[4..6].copy_from_slice(&kind.to_ne_bytes());
            bytes.extend([2, 16, 0, 0, table, protocol, 0, route, 0, 0, 0, 0]);
            is_of_addresses(&bytes)
        };
        let (main, local) = (libc::RT_TABLE_MAIN, libc::RT_TABLE_LOCAL);
        assert!(notified(libc::RTM_NEWROUTE, local, libc::RTPROT_BOOT, libc::RTN_LOCAL));
        assert!(notified(libc::RTM_DELROUTE, local, libc::RTPROT_STATIC, libc::RTN_LOCAL));
        assert!(!notified(libc::RTM_NEWROUTE, main, libc::RTPROT_BOOT, libc::RTN_UNICAST));
        assert!(!notified(libc::RTM_NEWROUTE, local, libc::RTPROT_KERNEL, libc::RTN_LOCAL));
        assert!(notified(libc::RTM_NEWADDR, main, 0, 0));
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
