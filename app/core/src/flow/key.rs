//! The identities of flows and peers, and the keyed hash that finds them.

use core::fmt;
use core::hash::Hasher;
use std::net::{IpAddr, Ipv6Addr};

use fnv::FnvHasher;
use probe_common::{Endpoint, Record};

use super::outcome::Role;

/// Both ends of a connection and the interface it was seen at, whoever sent first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
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

    /// The tuple of a record's flow; `None` for a record that is not about a flow.
    pub(crate) fn of(hasher: &EndpointHasher, record: &Record) -> Option<Self> {
        let (interface, a, b) = match record {
            Record::Segment(segment) => (segment.interface, segment.source, segment.destination),
            Record::EvictedFlow(flow) => (flow.interface, flow.ends[0], flow.ends[1]),
            Record::Icmp(icmp) => (icmp.interface, icmp.source, icmp.destination),
            Record::Owner(_) | Record::Reset(_) => return None,
        };
        Some(Self::new(hasher, interface, a, b))
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
    /// Remote address and service port: the local port for a connection that the peer opened to this host, else the remote
    /// one.
    pub service: Endpoint,
    /// What this host is to its connections. One that is connected to and connects is two peers: their round-trip times are
    /// those of different legs.
    pub role: Role,
}

impl PeerKey {
    /// The peer of a connection.
    #[must_use]
    pub(crate) const fn of(interface: u32, role: Role, local: &Endpoint, remote: &Endpoint) -> Self {
        let port = match role {
            Role::Client | Role::Local | Role::Forwarded | Role::Observer => remote.port,
            Role::Server => local.port,
        };
        Self { interface, service: Endpoint { address: remote.address, port }, role }
    }

    /// Whether the peer connects to this host.
    #[must_use]
    pub fn is_inbound(&self) -> bool {
        self.role == Role::Server
    }

    /// A hash of all of it.
    pub(crate) fn hash(&self, hasher: &EndpointHasher) -> u64 {
        hasher.hash(&self.service).wrapping_add(u64::from(self.interface) << 3 | self.role as u64)
    }
}

/// `10.20.3.14:5432` where this host connects to it, `10.20.3.14→:443` where it connects to port 443 of this host, and
/// `→10.20.3.14:5432` where others connect to it through this host.
impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.role {
            Role::Client | Role::Local | Role::Observer => {
                return write!(f, "{}", ShownEndpoint(&self.service));
            }
            Role::Forwarded => return write!(f, "→{}", ShownEndpoint(&self.service)),
            Role::Server => {}
        }
        let Endpoint { address, port } = self.service;
        match Ipv6Addr::from(address).to_canonical() {
            IpAddr::V4(address) => write!(f, "{address}→:{port}"),
            IpAddr::V6(address) => write!(f, "[{address}]→:{port}"),
        }
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
/// A secret start would not make FNV such a hash: differences between two inputs pass through it whatever it starts from, so
/// that inputs can be chosen which collide for many starts. Therefore an endpoint is first mapped to 64 bits by a multilinear
/// function with secret factors: two endpoints, chosen without knowledge of the factors, get equal values with a probability
/// of 2^-64 (Lemire and Kaser, "Strongly universal string hashing is fast", 2014). That function is linear, and the hash of a
/// flow is a sum: without a step in between, the sums of two flows would be equal wherever those of their addresses and ports
/// are. FNV-1a of the eight bytes and an avalanche are that step.
#[derive(Clone, Debug)]
pub(crate) struct EndpointHasher {
    factors: [u128; 4],
}

impl EndpointHasher {
    /// The hash with this key. Any number will do, as long as it is random.
    pub(crate) fn new(seed: u64) -> Self {
        // As SplitMix64 does (Steele, Lea and Flood 2014): steps of 2^64 / golden ratio, and an avalanche of each.
        let number = |n: u64| avalanche(seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15)));
        let factor = |n: u64| u128::from(number(2 * n + 1)) << 64 | u128::from(number(2 * n + 2));
        Self { factors: [0, 1, 2, 3].map(factor) }
    }

    /// A hash of an address.
    pub(crate) fn hash_address(&self, address: [u8; 16]) -> u64 {
        self.hash(&Endpoint { address, port: 0 })
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

/// The 64-bit finaliser of `MurmurHash3` (Austin Appleby, public domain): each input bit changes each output bit with a
/// probability near one half.
const fn avalanche(mut hash: u64) -> u64 {
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xff51_afd7_ed55_8ccd);
    hash ^= hash >> 33;
    hash = hash.wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

#[cfg(test)]
mod tests {
    use std::collections::{HashMap, HashSet};

    use super::*;

    const SEEDS: [u64; 5] = [0, 1, 2, 0x0123_4567_89ab_cdef, u64::MAX];
    const PRIME: u64 = 0x0100_0000_01b3;

    fn endpoint(last: u8, port: u16) -> Endpoint {
        Endpoint { address: probe_common::segment::mapped([10, 0, 0, last]), port }
    }

    /// What anybody can compute: the hash without a key.
    fn public_fnv(endpoint: &Endpoint) -> u64 {
        let mut fnv = FnvHasher::default();
        fnv.write(&endpoint.address);
        fnv.write(&endpoint.port.to_be_bytes());
        fnv.finish()
    }

    #[test]
    fn both_directions_are_one_flow() {
        let (a, b) = (endpoint(1, 40_000), endpoint(2, 80));
        for hasher in SEEDS.map(EndpointHasher::new) {
            assert_eq!(FlowTuple::new(&hasher, 1, a, b), FlowTuple::new(&hasher, 1, b, a));
        }
    }

    #[test]
    fn interfaces_are_kept_apart() {
        let (hasher, a, b) = (EndpointHasher::new(7), endpoint(1, 40_000), endpoint(2, 80));
        assert_ne!(FlowTuple::new(&hasher, 1, a, b), FlowTuple::new(&hasher, 2, a, b));
    }

    #[test]
    fn every_seed_gives_another_hash() {
        let hashes: HashSet<u64> =
            (0..1_000).map(|seed| EndpointHasher::new(seed).hash(&endpoint(1, 1))).collect();
        assert_eq!(hashes.len(), 1_000);
    }

    /// One client address, one server address, 16 service ports, all client ports: without the avalanche the sums take few
    /// values, because the ports are hashed last.
    #[test]
    fn the_sum_of_endpoint_hashes_does_not_collide_structurally() {
        let hasher = EndpointHasher::new(7);
        let mut sums = HashSet::new();
        let mut flows = 0;
        for service in 1..=16 {
            for client in 32_768..61_000 {
                sums.insert(FlowTuple::new(&hasher, 1, endpoint(1, client), endpoint(2, service)).hash());
                flows += 1;
            }
        }
        assert_eq!(flows, 451_712);
        assert_eq!(sums.len(), flows);
    }

    /// Flows whose ends have equal sums: a hash that is linear in the endpoints would be equal.
    #[test]
    fn ends_with_equal_sums_do_not_collide() {
        for hasher in SEEDS.map(EndpointHasher::new) {
            let hash =
                |a: u16, b: u16| hasher.hash(&endpoint(1, a)).wrapping_add(hasher.hash(&endpoint(1, b)));
            let sums: HashSet<u64> = (0..10_000).map(|port| hash(port, 20_000 - port)).collect();
            assert_eq!(sums.len(), 10_000);
        }
    }

    /// Ends that are chosen so that, without a key, their flows with one server all fall into one of 4,096 buckets.
    #[test]
    fn chosen_ends_fall_into_as_many_buckets_as_random_ones() {
        const CHOSEN: usize = 2_000;
        const BUCKETS: u64 = 4_096;
        let server = endpoint(2, 443);
        let public_hash =
            |end: &Endpoint| avalanche(public_fnv(end)).wrapping_add(avalanche(public_fnv(&server)));
        let all = (0..=255).flat_map(|last| (0..=u16::MAX).map(move |port| endpoint(last, port)));
        let chosen: Vec<Endpoint> = all.filter(|end| public_hash(end) % BUCKETS == 0).take(CHOSEN).collect();
        assert_eq!(chosen.len(), CHOSEN);
        for hasher in SEEDS.map(EndpointHasher::new) {
            let mut buckets: HashMap<u64, usize> = HashMap::new();
            let hashes: HashSet<u64> =
                chosen.iter().map(|end| FlowTuple::new(&hasher, 1, *end, server).hash()).collect();
            assert_eq!(hashes.len(), CHOSEN, "no two are equal");
            hashes.iter().for_each(|hash| *buckets.entry(hash % BUCKETS).or_default() += 1);
            // Of 4,096 buckets 2,000 balls leave 61.4 % empty, give or take 0.5 %; nine in one of them are less likely than
            // one in 10,000.
            assert!((1_500..1_660).contains(&buckets.len()), "{} buckets", buckets.len());
            assert!(buckets.values().all(|&flows| flows < 9), "{:?}", buckets.values().max());
        }
    }

    /// Differences of the bytes of two endpoints, found by lattice reduction, that FNV-1a multiplies to 0.
    const VANISHING: [i16; 18] = [-1, -6, 3, -1, 8, 0, 2, 2, 1, 6, 2, 3, -1, 2, 2, -2, -3, -3];

    /// Two endpoints with these differences, whose FNV-1a is equal in all 64 bits. Not every number gives a pair.
    fn colliding(mut random: u64) -> Option<[Endpoint; 2]> {
        let start = FnvHasher::default().finish();
        let (mut states, mut bytes) = ([start; 2], [[0; 18]; 2]);
        for (index, vanishing) in VANISHING.into_iter().enumerate() {
            let lows = states.map(|state| state.to_le_bytes()[0]);
            let difference = i16::from(lows[1]) - i16::from(lows[0]) + vanishing;
            random = avalanche(random);
            // The lowest byte of the first state once the byte is in it, so that that of the second fits, too.
            let (least, most) = ((-difference).max(0), 255 - difference.max(0));
            let choices = Some(most - least + 1).filter(|&choices| choices > 0)?;
            let first = least + i16::from(random.to_le_bytes()[0]) % choices;
            let mixed = [first, first + difference].map(|low| u8::try_from(low).expect("a byte"));
            for ((state, bytes), (mixed, low)) in
                states.iter_mut().zip(&mut bytes).zip(mixed.into_iter().zip(lows))
            {
                bytes[index] = mixed ^ low;
                *state = (*state ^ u64::from(bytes[index])).wrapping_mul(PRIME);
            }
        }
        Some(bytes.map(endpoint_of))
    }

    fn endpoint_of(bytes: [u8; 18]) -> Endpoint {
        let (address, port) = bytes.split_at(16);
        let address = address.try_into().expect("16 bytes");
        Endpoint { address, port: u16::from_be_bytes([port[0], port[1]]) }
    }

    #[test]
    fn endpoints_with_equal_public_hashes_do_not_collide() {
        let pairs: Vec<_> = (1..10_000).filter_map(colliding).collect();
        assert!(pairs.len() > 5_000, "{} pairs", pairs.len());
        for [one, other] in pairs {
            assert!(one != other && public_fnv(&one) == public_fnv(&other));
            for hasher in SEEDS.map(EndpointHasher::new) {
                assert_ne!(hasher.hash(&one), hasher.hash(&other), "{one:?} {other:?}");
            }
        }
    }
}
