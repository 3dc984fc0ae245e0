//! Which addresses are the watched host's: its role in a connection follows from them.

use probe_common::{Direction, Endpoint};

use crate::cidr::Cidr;
use crate::flow::Role;

/// The addresses of the watched host, as far as they are known.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Locals {
    /// They are not known: the direction of a packet says which end is the host's, where the source knows one.
    #[default]
    Unknown,
    /// A person has named them, of the host that a capture was made on. They override the direction.
    Named(Vec<Cidr>),
    /// The host has them, all of them. They override the direction: at the host's end of a container's veth, on a bridge
    /// or on a router, what comes in is rarely for the host itself.
    Host(HostAddresses),
}

/// All addresses of a host, to be found fast.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HostAddresses {
    /// In order, each once; IPv4 mapped into IPv6, in network order.
    everywhere: Vec<[u8; 16]>,
    /// Those of one link: the interface, and the address there. In order, each once.
    on_link: Vec<(u32, [u8; 16])>,
    blocks: Vec<Cidr>,
}

impl HostAddresses {
    /// `addresses` are those that interfaces have, with the index of the interface. `blocks` are the host's, too, whole:
    /// loopback's, and those that a person has named.
    pub fn new(addresses: impl IntoIterator<Item = (u32, [u8; 16])>, blocks: Vec<Cidr>) -> Self {
        let (mut on_link, everywhere): (Vec<_>, Vec<_>) =
            addresses.into_iter().partition(|(_, address)| is_of_link(*address));
        let mut everywhere: Vec<_> = everywhere.into_iter().map(|(_, address)| address).collect();
        everywhere.sort_unstable();
        everywhere.dedup();
        on_link.sort_unstable();
        on_link.dedup();
        Self { everywhere, on_link, blocks }
    }

    fn contains(&self, interface: u32, address: [u8; 16]) -> bool {
        let found = if is_of_link(address) {
            self.on_link.binary_search(&(interface, address)).is_ok()
        } else {
            self.everywhere.binary_search(&address).is_ok()
        };
        found || self.blocks.iter().any(|block| block.contains(address))
    }
}

/// Whether it is an IPv6 address of one link (RFC 4291, 2.5.6): on another link it may be another host's.
const fn is_of_link(address: [u8; 16]) -> bool {
    address[0] == 0xfe && address[1] & 0xc0 == 0x80
}

impl Locals {
    /// The direction, as seen from the host, of what the first of two ends sends to the second one: [`Direction::Unknown`]
    /// when neither is known to be the host's. `seen` is the direction at the hook, or the one that a capture says.
    #[must_use]
    pub fn direction(&self, interface: u32, seen: Direction, [from, to]: [Endpoint; 2]) -> Direction {
        let is_local = |end: Endpoint| match self {
            Self::Unknown => false,
            Self::Named(blocks) => blocks.iter().any(|block| block.contains(end.address)),
            Self::Host(host) => host.contains(interface, end.address),
        };
        match (self, seen) {
            (Self::Unknown, seen) => seen,
            // Loopback: whatever the addresses are, nobody else takes part.
            (Self::Host(_), Direction::Local) => Direction::Local,
            (Self::Named(_) | Self::Host(_), _) => match (is_local(from), is_local(to)) {
                (true, true) => Direction::Local,
                (true, false) => Direction::Egress,
                (false, true) => Direction::Ingress,
                (false, false) => Direction::Unknown,
            },
        }
    }

    /// What the host is to a connection of which neither end is known to be its own.
    pub(crate) const fn role_between(&self) -> Role {
        match self {
            Self::Unknown | Self::Named(_) => Role::Observer,
            Self::Host(_) => Role::Forwarded,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::net::IpAddr;

    use super::*;

    fn address(text: &str) -> [u8; 16] {
        match text.parse().unwrap() {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        }
    }

    fn seen(locals: &Locals, interface: u32, seen: Direction, from: &str, to: &str) -> Direction {
        let ends = [from, to].map(|text| Endpoint { address: address(text), port: 1 });
        locals.direction(interface, seen, ends)
    }

    fn host() -> Locals {
        let addresses = ["10.0.0.1", "2001:db8::1", "fe80::1"].map(|text| (3, address(text)));
        Locals::Host(HostAddresses::new(addresses, vec!["127.0.0.0/8".parse().unwrap()]))
    }

    #[test]
    fn addresses_override_the_hook() {
        for hook in [Direction::Ingress, Direction::Egress] {
            for (from, to, expected) in [
                ("10.0.0.1", "192.0.2.1", Direction::Egress),
                ("192.0.2.1", "10.0.0.1", Direction::Ingress),
                ("10.0.0.1", "127.0.0.9", Direction::Local),
                ("10.0.0.2", "192.0.2.1", Direction::Unknown),
                ("2001:db8::1", "2001:db8::2", Direction::Egress),
                ("2001:db8::3", "2001:db8::2", Direction::Unknown),
            ] {
                assert_eq!(seen(&host(), 3, hook, from, to), expected, "{from} {to}");
                assert_eq!(seen(&host(), 4, hook, from, to), expected, "at every interface: {from} {to}");
            }
        }
        assert_eq!(host().role_between(), Role::Forwarded);
    }

    #[test]
    fn what_passes_loopback_is_local_whatever_its_addresses() {
        assert_eq!(seen(&host(), 1, Direction::Local, "203.0.113.1", "203.0.113.2"), Direction::Local);
    }

    #[test]
    fn an_address_of_a_link_is_the_hosts_on_that_link_only() {
        assert_eq!(seen(&host(), 3, Direction::Ingress, "fe80::2", "fe80::1"), Direction::Ingress);
        assert_eq!(seen(&host(), 4, Direction::Ingress, "fe80::2", "fe80::1"), Direction::Unknown);
    }

    #[test]
    fn where_nobody_has_said_the_direction_counts() {
        let (unknown, named) = (Locals::Unknown, Locals::Named(vec!["10.0.0.0/8".parse().unwrap()]));
        for said in [Direction::Ingress, Direction::Egress, Direction::Local, Direction::Unknown] {
            assert_eq!(seen(&unknown, 1, said, "10.0.0.1", "192.0.2.1"), said);
            assert_eq!(seen(&named, 1, said, "10.0.0.1", "192.0.2.1"), Direction::Egress);
            assert_eq!(seen(&named, 1, said, "192.0.2.2", "192.0.2.1"), Direction::Unknown);
        }
        assert_eq!([unknown.role_between(), named.role_between()], [Role::Observer; 2]);
    }
}
