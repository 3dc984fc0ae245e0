//! The identity of a flow in user space.

use core::fmt;
use core::hash::Hasher;
use std::net::Ipv6Addr;

use fnv::FnvHasher;
use probe_common::{Endpoint, Record};

/// Both ends of a connection and the interface it was seen at, whoever sent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowTuple {
    /// First, because it differs first.
    hash: u64,
    interface: u32,
    low: Endpoint,
    high: Endpoint,
}

impl FlowTuple {
    /// The tuple of a segment from `a` to `b`, equal to that of a segment from `b` to `a`.
    #[must_use]
    pub fn new(interface: u32, a: Endpoint, b: Endpoint) -> Self {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        Self { hash: endpoint_hash(&low).wrapping_add(endpoint_hash(&high)), interface, low, high }
    }

    /// The tuple of a record's flow.
    #[must_use]
    pub fn of(record: &Record) -> Self {
        match record {
            Record::Segment(segment) => Self::new(segment.interface, segment.source, segment.destination),
            Record::EvictedFlow(flow) => Self::new(flow.interface, flow.ends[0], flow.ends[1]),
        }
    }

    /// Index of the interface.
    #[must_use]
    pub const fn interface(&self) -> u32 {
        self.interface
    }

    /// Both ends, the lower one first.
    #[must_use]
    pub const fn ends(&self) -> [Endpoint; 2] {
        [self.low, self.high]
    }

    /// The commutative hash of the two endpoints. It only chooses the bucket: equality is the tuple's.
    #[must_use]
    pub const fn hash(&self) -> u64 {
        self.hash
    }
}

/// An endpoint as people write it: `10.20.3.14:5432`, `[2001:db8::8d]:443`.
#[derive(Clone, Copy, Debug)]
pub struct Shown<'a>(pub &'a Endpoint);

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Endpoint { address, port } = *self.0;
        let address = Ipv6Addr::from(address).to_canonical();
        if address.is_ipv6() { write!(f, "[{address}]:{port}") } else { write!(f, "{address}:{port}") }
    }
}

/// FNV-1a of an endpoint, finished by an avalanche.
///
/// Without it the sum of two endpoints has few values: the port is hashed last, so that within one
/// address the hashes differ by few multiples of the FNV prime. One client, one server, ports 80 and 443
/// and 56,464 flows gave 11,100 equal sums.
pub(super) fn endpoint_hash(endpoint: &Endpoint) -> u64 {
    let (known, rest) = match endpoint.address.strip_prefix(&MAPPED_PREFIX) {
        Some(v4) => (FNV_OF_MAPPED_PREFIX, v4),
        None => (FNV_OF_NOTHING, &endpoint.address[..]),
    };
    let mut hasher = FnvHasher::with_key(known);
    hasher.write(rest);
    hasher.write(&endpoint.port.to_be_bytes());
    avalanche(hasher.finish())
}

/// What all IPv4 addresses begin with (RFC 4291, 2.5.5.2).
const MAPPED_PREFIX: [u8; 12] = [0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0xff, 0xff];
/// The basis of 64-bit FNV.
const FNV_OF_NOTHING: u64 = 0xcbf2_9ce4_8422_2325;
/// FNV goes byte by byte, so that twelve multiplications need not be done again for each IPv4 address.
const FNV_OF_MAPPED_PREFIX: u64 = {
    let (mut hash, mut at) = (FNV_OF_NOTHING, 0);
    while at < MAPPED_PREFIX.len() {
        hash = (hash ^ MAPPED_PREFIX[at] as u64).wrapping_mul(0x0000_0100_0000_01b3);
        at += 1;
    }
    hash
};

/// The 64-bit finaliser of `MurmurHash3` (Austin Appleby, public domain): each input bit changes each
/// output bit with a probability near one half.
const fn avalanche(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::HashSet;

    fn endpoint(last: u8, port: u16) -> Endpoint {
        Endpoint { address: probe_common::segment::mapped([10, 0, 0, last]), port }
    }

    #[test]
    fn the_hash_of_an_address_is_fnv() {
        for address in [probe_common::segment::mapped([10, 0, 0, 1]), [7; 16]] {
            let mut hasher = FnvHasher::default();
            hasher.write(&address);
            hasher.write(&80_u16.to_be_bytes());
            assert_eq!(endpoint_hash(&Endpoint { address, port: 80 }), avalanche(hasher.finish()));
        }
    }

    #[test]
    fn both_directions_are_one_flow() {
        let (a, b) = (endpoint(1, 40_000), endpoint(2, 80));
        assert_eq!(FlowTuple::new(1, a, b), FlowTuple::new(1, b, a));
        assert_eq!(FlowTuple::new(1, a, b).hash(), FlowTuple::new(1, b, a).hash());
    }

    #[test]
    fn interfaces_are_kept_apart() {
        let (a, b) = (endpoint(1, 40_000), endpoint(2, 80));
        assert_ne!(FlowTuple::new(1, a, b), FlowTuple::new(2, a, b));
    }

    /// Hard case `hash-collisions`: one client address, one server address, 16 service ports, all client ports.
    #[test]
    fn the_sum_of_endpoint_hashes_does_not_collide_structurally() {
        let mut sums = HashSet::new();
        let mut flows = 0;
        for service in 1..=16 {
            for client in 32_768..61_000 {
                let tuple = FlowTuple::new(1, endpoint(1, client), endpoint(2, service));
                sums.insert(tuple.hash());
                flows += 1;
            }
        }
        assert_eq!(flows, 451_712);
        assert_eq!(sums.len(), flows);
    }
}
