//! Blocks of addresses, as people write them.

use core::fmt;
use core::str::FromStr;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// How many of the 128 bits come before an IPv4 address that is mapped into IPv6.
const MAPPED_BITS: u32 = 96;

/// A block of addresses: `10.0.0.0/8`, `2001:db8::/32`, or one address alone.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr {
    /// IPv4 mapped into IPv6.
    network: u128,
    /// How many of its 128 bits count.
    bits: u32,
}

impl Cidr {
    /// The network that an address lies in: `v4_bits` long for IPv4, `v6_bits` for IPv6.
    #[must_use]
    pub fn around(address: [u8; 16], v4_bits: u32, v6_bits: u32) -> Self {
        let is_v4 = Ipv6Addr::from(address).to_ipv4_mapped().is_some();
        let bits = if is_v4 { MAPPED_BITS + v4_bits.min(32) } else { v6_bits.min(128) };
        Self { network: Ipv6Addr::from(address).to_bits() & mask(bits), bits }
    }

    /// Does this address lie in it? No IPv4 address lies in a network of IPv6, such as `::/0`, though it is written as one
    /// of IPv6 here.
    #[must_use]
    pub fn contains(&self, address: [u8; 16]) -> bool {
        let address = Ipv6Addr::from(address);
        let is_other_family = self.bits < MAPPED_BITS && address.to_ipv4_mapped().is_some();
        !is_other_family && address.to_bits() & mask(self.bits) == self.network
    }
}

impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let address: IpAddr = address.parse().map_err(|_| format!("`{address}` is no IP address"))?;
        let (mapped, most) = match address {
            IpAddr::V4(v4) => (v4.to_ipv6_mapped(), 32),
            IpAddr::V6(v6) => (v6, 128),
        };
        let prefix: u32 = prefix.map_or(Ok(most), |prefix| {
            prefix
                .parse()
                .ok()
                .filter(|p| *p <= most)
                .ok_or(format!("a prefix is 0 to {most}, not `{prefix}`"))
        })?;
        let bits = 128 - most + prefix;
        Ok(Self { network: mapped.to_bits() & mask(bits), bits })
    }
}

impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let address = Ipv6Addr::from_bits(self.network);
        let (address, bits, most): (IpAddr, _, _) = match address.to_ipv4_mapped() {
            Some(v4) if self.bits >= MAPPED_BITS => (Ipv4Addr::into(v4), self.bits - MAPPED_BITS, 32),
            Some(_) | None => (Ipv6Addr::into(address), self.bits, 128),
        };
        if bits == most { write!(f, "{address}") } else { write!(f, "{address}/{bits}") }
    }
}

fn mask(bits: u32) -> u128 {
    u128::MAX.checked_shl(128 - bits).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mapped(address: &str) -> [u8; 16] {
        let address: IpAddr = address.parse().unwrap();
        match address {
            IpAddr::V4(v4) => v4.to_ipv6_mapped().octets(),
            IpAddr::V6(v6) => v6.octets(),
        }
    }

    fn holds(cidr: &str, address: &str) -> bool {
        cidr.parse::<Cidr>().unwrap().contains(mapped(address))
    }

    #[test]
    fn blocks_hold_what_they_should() {
        assert!(holds("10.0.0.0/8", "10.255.1.2") && !holds("10.0.0.0/8", "11.0.0.1"));
        assert!(holds("10.1.2.3", "10.1.2.3") && !holds("10.1.2.3", "10.1.2.4"));
        assert!(holds("2001:db8::/32", "2001:db8:ffff::1") && !holds("2001:db8::/32", "2001:db9::1"));
        assert!(holds("0.0.0.0/0", "192.0.2.1") && !holds("0.0.0.0/0", "2001:db8::1"));
        assert!(holds("::/0", "2001:db8::1") && !holds("::/0", "192.0.2.1"));
    }

    #[test]
    fn blocks_are_written_as_they_are_read() {
        for text in ["10.0.0.0/8", "10.1.2.3", "0.0.0.0/0", "2001:db8::/32", "::1", "::/0"] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), text);
        }
        assert_eq!(Cidr::around(mapped("10.1.2.3"), 24, 64).to_string(), "10.1.2.0/24");
        assert_eq!(Cidr::around(mapped("2001:db8::1:2:3:4"), 24, 64).to_string(), "2001:db8::/64");
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!("10.0.0.0/33".parse::<Cidr>().unwrap_err(), "a prefix is 0 to 32, not `33`");
        assert_eq!("eth0".parse::<Cidr>().unwrap_err(), "`eth0` is no IP address");
    }
}
