//! Which addresses are this host's, as said by a person.

use std::net::{IpAddr, Ipv6Addr};
use std::str::FromStr;

use probe_common::Direction;

/// A block of addresses: `10.0.0.0/8`, `2001:db8::/32`, or one address alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Cidr {
    /// IPv4 mapped into IPv6.
    network: u128,
    mask: u128,
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| format!("`{address}` is no IP address"))?;
        let (mapped, bits) = match address {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped(), 32),
            IpAddr::V6(v6) => (v6, 128),
        };
        let prefix: u32 = prefix.map_or(Ok(bits), |prefix| {
            prefix
                .parse()
                .ok()
                .filter(|p| *p <= bits)
                .ok_or(format!("a prefix is 0 to {bits}, not `{prefix}`"))
        })?;
        let mask = u128::MAX.checked_shl(bits - prefix).unwrap_or(0);
        Ok(Self { network: mapped.to_bits() & mask, mask })
    }
}

impl Cidr {
    fn contains(&self, address: [u8; 16]) -> bool {
        Ipv6Addr::from(address).to_bits() & self.mask == self.network
    }
}

/// The addresses of this host.
#[derive(Clone, Debug, Default)]
pub struct Locals(pub Vec<Cidr>);

impl Locals {
    /// Which way a segment between these addresses went past this host.
    #[must_use]
    pub fn direction(&self, source: [u8; 16], destination: [u8; 16]) -> Direction {
        let is_local = |address| self.0.iter().any(|cidr| cidr.contains(address));
        match (is_local(source), is_local(destination)) {
            (true, true) => Direction::Local,
            (true, false) => Direction::Egress,
            (false, true) => Direction::Ingress,
            (false, false) => Direction::Unknown,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn holds(cidr: &str, address: &str) -> bool {
        let address: IpAddr = address.parse().unwrap();
        let mapped = match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped(),
            IpAddr::V6(v6) => v6,
        };
        cidr.parse::<Cidr>().unwrap().contains(mapped.octets())
    }

    #[test]
    fn blocks_hold_what_they_should() {
        assert!(holds("10.0.0.0/8", "10.255.1.2") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("10.1.2.3", "10.1.2.3") && !holds("10.1.2.3", "10.1.2.4"));
        assert!(holds("2001:db8::/32", "2001:db8:ffff::1") && !holds("2001:db8::/32", "2001:db9::1"));
        assert!(holds("0.0.0.0/0", "192.0.2.1") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("::/0", "2001:db8::1"));
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!("10.0.0.0/33".parse::<Cidr>().unwrap_err(), "a prefix is 0 to 32, not `33`");
        assert_eq!("eth0".parse::<Cidr>().unwrap_err(), "`eth0` is no IP address");
    }
}
