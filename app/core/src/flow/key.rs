//! The identities of flows and peers, and the keyed hash that finds them.

use core::fmt;
use core::hash::Hasher;
use std::net::Ipv6Addr;

use fnv::FnvHasher;
use probe_common::{Endpoint, Record};

use super::outcome::Role;

/// Both ends of a connection and the interface it was seen at, whoever sent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) struct FlowTuple {
    /// First, because it differs first.
    hash: u64,
    interface: u32,
    low: Endpoint,
    high: Endpoint,
}

impl FlowTuple {
    /// The tuple of a segment from `a` to `b`, equal to that of a segment from `b` to `a`.
    pub(crate) fn new(hasher: &EndpointHasher, interface: u32, a: Endpoint, b: Endpoint) -> Self {
        let (low, high) = if a <= b { (a, b) } else { (b, a) };
        Self { hash: hasher.hash(&low).wrapping_add(hasher.hash(&high)), interface, low, high }
    }

    /// The tuple of a record's flow.
    pub(crate) fn of(hasher: &EndpointHasher, record: &Record) -> Self {
        let (interface, a, b) = match record {
            Record::Segment(segment) => (segment.interface, segment.source, segment.destination),
            Record::EvictedFlow(flow) => (flow.interface, flow.ends[0], flow.ends[1]),
        };
        Self::new(hasher, interface, a, b)
    }

    /// Index of the interface.
    pub(crate) const fn interface(&self) -> u32 {
        self.interface
    }

    /// Both ends, the lower one first.
    pub(crate) const fn ends(&self) -> [Endpoint; 2] {
        [self.low, self.high]
    }

    /// The commutative hash of the two endpoints. It only chooses the bucket: equality compares the whole tuple.
    pub(crate) const fn hash(&self) -> u64 {
        self.hash
    }
}

/// The remote address and the service port, at one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerKey {
    /// Index of the interface.
    pub interface: u32,
    /// Remote address and service port: the remote port for a connection that this host opened, the local one for a
    /// connection that the peer opened.
    pub service: Endpoint,
    /// Whether the peer connects to this host. One that is connected to and connects is two peers: their round-trip
    /// times are those of different legs.
    pub inbound: bool,
}

impl PeerKey {
    /// The peer of a connection. When the opener is not known, the lower port is taken for the service: clients get
    /// theirs from the upper half (RFC 6335, 6).
    #[must_use]
    pub(crate) fn of(interface: u32, role: Option<Role>, local: &Endpoint, remote: &Endpoint) -> Self {
        let (port, inbound) = match role {
            Some(Role::Client | Role::Local | Role::Observer) => (remote.port, false),
            Some(Role::Server) => (local.port, true),
            None => (remote.port.min(local.port), local.port < remote.port),
        };
        Self { interface, service: Endpoint { address: remote.address, port }, inbound }
    }

    /// A hash of all of it.
    pub(crate) fn hash(&self, hasher: &EndpointHasher) -> u64 {
        hasher.hash(&self.service).wrapping_add(u64::from(self.interface) << 1 | u64::from(self.inbound))
    }
}

/// `10.20.3.14:5432` where this host connects to it, `10.20.3.14→:443` where it connects to port 443 of this host.
impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.inbound {
            return write!(f, "{}", ShownEndpoint(&self.service));
        }
        let Endpoint { address, port } = self.service;
        write!(f, "{}→:{port}", Ipv6Addr::from(address).to_canonical())
    }
}

/// An endpoint as people write it: `10.20.3.14:5432`, `[2001:db8::8d]:443`.
#[derive(Clone, Copy, Debug)]
pub struct ShownEndpoint<'a>(pub &'a Endpoint);

impl fmt::Display for ShownEndpoint<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Endpoint { address, port } = *self.0;
        let address = Ipv6Addr::from(address).to_canonical();
        if address.is_ipv6() { write!(f, "[{address}]:{port}") } else { write!(f, "{address}:{port}") }
    }
}

/// Hashes endpoints with a key that is not known outside the process, so that nobody can choose addresses that collide.
///
/// FNV alone cannot be keyed well: whatever it starts from, the difference between two inputs passes through it almost
/// unchanged, so that addresses which collide for one start collide for many. Therefore an endpoint is first mapped to
/// 64 bits by a multilinear function with secret factors. Of any two endpoints, chosen without knowledge of the factors,
/// the probability of equal values is 2^-64 (Lemire and Kaser, "Strongly universal string hashing is fast", 2014). That
/// function is linear, and the hash of a flow is a sum: without a step in between, `a + b` would equal `c + d` wherever
/// the addresses and ports do. FNV-1a over the eight bytes and an avalanche are that step.
#[derive(Clone, Debug)]
pub(crate) struct EndpointHasher {
    factors: [u128; 4],
}

impl EndpointHasher {
    /// The hash with this key. Any number will do, as long as it is random.
    pub(crate) fn new(seed: u64) -> Self {
        // SplitMix64 (Steele, Lea and Flood 2014): the n-th number is the avalanche of seed + n * 2^64 / golden ratio.
        let number = |n: u64| avalanche(seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let factor = |n: u64| u128::from(number(2 * n + 1)) << 64 | u128::from(number(2 * n + 2));
        Self { factors: [0, 1, 2, 3].map(factor) }
    }

    fn hash(&self, endpoint: &Endpoint) -> u64 {
        let address = u128::from_be_bytes(endpoint.address);
        let words = [address >> 64, address & u128::from(u64::MAX), endpoint.port.into()];
        let [start, factors @ ..] = &self.factors;
        let products = words.iter().zip(factors).map(|(word, factor)| word.wrapping_mul(*factor));
        let sum = products.fold(*start, u128::wrapping_add);
        let mut fnv = FnvHasher::default();
        fnv.write(&sum.to_be_bytes()[..8]);
        avalanche(fnv.finish())
    }
}

/// The 64-bit finaliser of `MurmurHash3` in the variant of `SplitMix64` (public domain): each input bit changes each
/// output bit with a probability near one half.
const fn avalanche(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}
