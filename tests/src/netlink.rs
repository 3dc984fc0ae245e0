//! What is set up inside a namespace over netlink: interfaces, addresses, neighbours, routes.

use std::future::Future;
use std::net::IpAddr;
use std::os::fd::AsRawFd;

use anyhow::{Context, Result};
use ipnet::IpNet;
use rtnetlink::packet_route::address::AddressHeaderFlags;
use rtnetlink::packet_route::link::{InfoData, InfoVeth, LinkMessage, MacVlanMode};
use rtnetlink::packet_route::route::{RouteScope, RouteType};
use rtnetlink::{
    Handle, LinkBridge, LinkMacVlan, LinkMessageBuilder, LinkUnspec, LinkVeth, LinkVrf, RouteMessageBuilder,
};

use crate::namespace::Namespace;

/// How a router answers what it does not forward.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rejection {
    /// That it is prohibited: ICMP 3/13, `ICMPv6` 1/1.
    Prohibit,
    /// That the host cannot be reached: ICMP 3/1, `ICMPv6` 1/3 or 1/0.
    Unreachable,
    /// Not at all.
    Drop,
}

/// The routing table of what is the host's own (`RT_TABLE_LOCAL`).
const LOCAL_TABLE: u32 = 255;

/// A link-layer address.
pub(crate) type Mac = [u8; 6];

/// Interfaces, addresses, routes. Every function fails when the interface is not there.
impl Namespace {
    /// Sets the interface up.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn link_up(&self, interface: &str) -> Result<()> {
        let change = LinkUnspec::new_with_name(interface).up().build();
        self.set_link(change).with_context(|| format!("cannot set {interface} up"))
    }

    /// Sets the interface down: its routes, IPv6 addresses and neighbour entries (permanent ones too) go away.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn link_down(&self, interface: &str) -> Result<()> {
        let change = LinkUnspec::new_with_name(interface).down().build();
        self.set_link(change).with_context(|| format!("cannot set {interface} down"))
    }

    /// Gives the interface another name; it keeps its index.
    ///
    /// # Errors
    /// When the name is taken, or longer than 15 bytes, or the kernel refuses (before 6.2: of any that is up).
    pub fn rename_link(&self, interface: &str, name: &str) -> Result<()> {
        let index = self.link_index(interface)?;
        let change = LinkUnspec::new_with_index(index).name(name).build();
        self.set_link(change).with_context(|| format!("cannot rename {interface} to {name}"))
    }

    /// Moves the interface to another namespace, where it is down.
    ///
    /// # Errors
    /// When its name is taken there, or the kernel refuses.
    pub fn move_link(&self, interface: &str, to: &Self) -> Result<()> {
        let change = LinkUnspec::new_with_index(self.link_index(interface)?)
            .setns_by_fd(to.handle().as_raw_fd())
            .build();
        self.set_link(change).with_context(|| format!("cannot move {interface}"))
    }

    /// Removes the interface; of a pair, the other half goes too.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn delete_link(&self, interface: &str) -> Result<()> {
        let index = self.link_index(interface)?;
        self.netlink(|handle| async move { handle.link().del(index).execute().await })
            .with_context(|| format!("cannot delete {interface}"))
    }

    /// The interface's index in this namespace.
    ///
    /// # Errors
    /// When there is no such interface.
    pub fn link_index(&self, interface: &str) -> Result<u32> {
        self.run(|| nix::net::if_::if_nametoindex(interface))
            .with_context(|| format!("no interface {interface}"))
    }

    /// Joins an interface `name` here to one called `peer_name` in the namespace `peer` (which may be this
    /// one), and sets both up.
    ///
    /// # Errors
    /// When a name is taken or too long (15 bytes).
    pub fn veth_pair(&self, name: &str, peer: &Self, peer_name: &str) -> Result<()> {
        self.veth_pair_at(None, name, peer, peer_name)
    }

    /// The same with this index here.
    ///
    /// # Errors
    /// Also when the index is taken.
    pub fn veth_pair_at(&self, index: Option<u32>, name: &str, peer: &Self, peer_name: &str) -> Result<()> {
        let far_half = LinkMessageBuilder::<LinkUnspec>::new()
            .name(peer_name)
            .setns_by_fd(peer.handle().as_raw_fd())
            .build();
        // The peer is born in its namespace, so its name cannot clash with one in use here.
        let veth = InfoData::Veth(InfoVeth::Peer(far_half));
        let mut message = LinkVeth::new(name, peer_name).set_info_data(veth).build();
        message.header.index = index.unwrap_or(0);
        self.add_link(message).with_context(|| format!("cannot make the pair {name} and {peer_name}"))?;
        self.link_up(name)?;
        peer.link_up(peer_name)
    }

    /// Makes an interface `name` in the namespace `owner` that sends and receives by the interface `lower` here (macvlan), and sets
    /// it up.
    ///
    /// # Errors
    /// When the name is taken or too long, there is no interface `lower`, or the kernel has no macvlan.
    pub fn add_macvlan(&self, lower: &str, owner: &Self, name: &str) -> Result<()> {
        let message = LinkMacVlan::new(name, self.link_index(lower)?, MacVlanMode::Bridge)
            .setns_by_fd(owner.handle().as_raw_fd())
            .build();
        self.add_link(message).with_context(|| format!("cannot make {name} over {lower}"))?;
        owner.link_up(name)
    }

    /// Makes a bridge without ports and sets it up.
    ///
    /// # Errors
    /// When the name is taken or too long, or the kernel has no bridges.
    pub fn add_bridge(&self, name: &str) -> Result<()> {
        self.add_link(LinkBridge::new(name).up().build())
            .with_context(|| format!("cannot make the bridge {name}"))
    }

    /// Makes a VRF with this routing table and sets it up.
    ///
    /// # Errors
    /// When the name is taken or too long, or the kernel has no VRFs.
    pub fn add_vrf(&self, name: &str, table: u32) -> Result<()> {
        self.add_link(LinkVrf::new(name, table).up().build())
            .with_context(|| format!("cannot make the VRF {name}"))
    }

    /// Makes the interface a port of a bridge, or puts it into a VRF.
    ///
    /// # Errors
    /// When there is no such interface, or it cannot be one.
    pub fn join(&self, interface: &str, master: &str) -> Result<()> {
        let master = self.link_index(master)?;
        let change = LinkUnspec::new_with_index(self.link_index(interface)?).controller(master).build();
        self.set_link(change).with_context(|| format!("cannot make {interface} a port"))
    }

    fn add_link(&self, message: LinkMessage) -> Result<()> {
        self.netlink(|handle| async move { handle.link().add(message).execute().await })
    }

    /// Gives the interface an address that can be used at once, IPv6 included.
    ///
    /// # Errors
    /// When it has the address already.
    pub fn add_address(&self, interface: &str, address: IpNet) -> Result<()> {
        self.add_hosts(interface, &[address], &[])
            .with_context(|| format!("cannot give {address} to {interface}"))
    }

    /// Gives the interface addresses, and names the link-layer address behind others for good, so that no
    /// ARP or neighbour discovery delays the first packet to them.
    pub(crate) fn add_hosts(
        &self,
        interface: &str,
        own: &[IpNet],
        neighbours: &[(IpAddr, Mac)],
    ) -> Result<()> {
        let index = self.link_index(interface)?;
        self.netlink(|handle| async move {
            for cidr in own {
                let mut request = handle.address().add(index, cidr.addr(), cidr.prefix_len());
                // Otherwise an IPv6 address cannot be used before a worker of the kernel has found out that nobody
                // is to be asked whether it is taken.
                request.message_mut().header.flags |= AddressHeaderFlags::Nodad;
                request.execute().await?;
            }
            for (address, mac) in neighbours {
                handle.neighbours().add(index, *address).link_layer_address(mac).execute().await?;
            }
            Ok(())
        })
    }

    /// Routes `network` through `gateway`.
    ///
    /// # Errors
    /// When the gateway cannot be reached, or is of the other family than the network.
    pub fn add_route(&self, network: IpNet, gateway: IpAddr) -> Result<()> {
        let route = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(network.addr(), network.prefix_len())
            .and_then(|route| route.gateway(gateway))
            .with_context(|| format!("cannot route {network} through {gateway}"))?
            .build();
        self.netlink(|handle| async move { handle.route().add(route).execute().await })
            .with_context(|| format!("cannot route {network} through {gateway}"))
    }

    /// Answers packets to `network` that are to be forwarded by an ICMP error, or drops them.
    ///
    /// # Errors
    /// When there is such a route.
    pub fn add_rejecting_route(&self, network: IpNet, rejection: Rejection) -> Result<()> {
        let kind = match rejection {
            Rejection::Prohibit => RouteType::Prohibit,
            Rejection::Unreachable => RouteType::Unreachable,
            Rejection::Drop => RouteType::BlackHole,
        };
        let context = || format!("cannot reject {network}");
        let route = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(network.addr(), network.prefix_len())
            .with_context(context)?
            .kind(kind)
            .build();
        self.netlink(|handle| async move { handle.route().add(route).execute().await }).with_context(context)
    }

    /// Makes this namespace take packets to any address of `network` for its own (AnyIP).
    ///
    /// # Errors
    /// When there is such a route.
    pub fn add_local_route(&self, network: IpNet) -> Result<()> {
        let context = || format!("cannot route {network} to the host itself");
        let loopback = self.link_index("lo")?;
        let route = RouteMessageBuilder::<IpAddr>::new()
            .destination_prefix(network.addr(), network.prefix_len())
            .with_context(context)?
            .kind(RouteType::Local)
            .scope(RouteScope::Host)
            .table_id(LOCAL_TABLE)
            .output_interface(loopback)
            .build();
        self.netlink(|handle| async move { handle.route().add(route).execute().await }).with_context(context)
    }

    /// Sets the interface's MTU, in bytes.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn set_mtu(&self, interface: &str, bytes: u32) -> Result<()> {
        let change = LinkUnspec::new_with_name(interface).mtu(bytes).build();
        self.set_link(change).with_context(|| format!("cannot set the MTU of {interface}"))
    }

    /// Changes an interface as the message says.
    pub(crate) fn set_link(&self, change: LinkMessage) -> Result<()> {
        self.netlink(|handle| async move { handle.link().set(change).execute().await })
    }

    /// Runs one conversation with the kernel, on a runtime of its own inside the namespace.
    fn netlink<F, Talk>(&self, talk: F) -> Result<()>
    where
        F: FnOnce(Handle) -> Talk + Send,
        Talk: Future<Output = Result<(), rtnetlink::Error>>,
    {
        self.run(|| {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build()?;
            runtime.block_on(async {
                let (connection, handle, _unasked) = rtnetlink::new_connection()?;
                tokio::spawn(connection);
                Ok(talk(handle).await?)
            })
        })
    }
}
