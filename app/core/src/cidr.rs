//! Blocks of addresses, as people write them.

use core::fmt;
use core::str::FromStr;
use std::net::{IpAddr, Ipv6Addr};

use ipnet::IpNet;

/// How many of the 128 bits come before an IPv4 address that is mapped into IPv6.
const MAPPED_BITS: u8 = 96;

/// A block of addresses: `10.0.0.0/8`, `2001:db8::/32`, or one address alone. Bits behind the prefix are 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Cidr(IpNet);

impl Cidr {
    /// The network that an address lies in: `v4_bits` long for IPv4 (at most 32), `v6_bits` for IPv6 (at most 128).
    #[must_use]
    pub fn around(address: [u8; 16], v4_bits: u8, v6_bits: u8) -> Self {
        let address = Ipv6Addr::from(address).to_canonical();
        let bits = if address.is_ipv4() { v4_bits.min(32) } else { v6_bits.min(128) };
        Self(IpNet::new(address, bits).unwrap_or(address.into()).trunc())
    }

    /// Returns whether this address lies in the block. An IPv4 address lies in no block of IPv6, such as `::/0`, though
    /// it is passed as one of IPv6 here.
    #[must_use]
    pub fn contains(&self, address: [u8; 16]) -> bool {
        self.0.contains(&Ipv6Addr::from(address).to_canonical())
    }
}

/// An IPv4 address that is mapped into IPv6 is that IPv4 address: `::ffff:10.0.0.0/104` is `10.0.0.0/8`.
impl FromStr for Cidr {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (address, prefix) = text.split_once('/').map_or((text, None), |(a, p)| (a, Some(p)));
        let parsed: IpAddr = address.parse().map_err(|_| format!("`{address}` is no IP address"))?;
        let net = match prefix {
            None => IpNet::from(parsed),
            Some(prefix) => {
                prefix.parse().ok().and_then(|bits| IpNet::new(parsed, bits).ok()).ok_or_else(|| {
                    format!("a prefix is 0 to {}, not `{prefix}`", IpNet::from(parsed).max_prefix_len())
                })?
            }
        };
        let unmapped = match (net.addr().to_canonical(), net.prefix_len().checked_sub(MAPPED_BITS)) {
            (v4 @ IpAddr::V4(_), Some(bits)) if net.addr().is_ipv6() => IpNet::new(v4, bits).unwrap_or(net),
            _ => net,
        };
        Ok(Self(unmapped.trunc()))
    }
}

/// A block of one address is written without its prefix.
impl fmt::Display for Cidr {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self(net) = self;
        if net.prefix_len() == net.max_prefix_len() {
            write!(f, "{}", net.addr())
        } else {
            write!(f, "{net}")
        }
    }
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
        assert_eq!("::ffff:10.9.0.0/104".parse::<Cidr>().unwrap().to_string(), "10.0.0.0/8");
        for text in ["10.0.0.0/8", "10.1.2.3", "0.0.0.0/0", "2001:db8::/32", "::1", "::/0"] {
            assert_eq!(text.parse::<Cidr>().unwrap().to_string(), text);
        }
        assert_eq!(Cidr::around(mapped("10.1.2.3"), 24, 64).to_string(), "10.1.2.0/24");
        assert_eq!(Cidr::around(mapped("2001:db8::1:2:3:4"), 24, 64).to_string(), "2001:db8::/64");
    }

    #[test]
    fn nonsense_is_named() {
        assert_eq!("10.0.0.0/33".parse::<Cidr>().unwrap_err(), "a prefix is 0 to 32, not `33`");
        assert_eq!("10.0.0.0/-1".parse::<Cidr>().unwrap_err(), "a prefix is 0 to 32, not `-1`");
        assert_eq!("eth0".parse::<Cidr>().unwrap_err(), "`eth0` is no IP address");
    }
}
