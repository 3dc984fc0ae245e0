//! Two hosts for a scene: on the lab's wire, or on a veth pair, which has offloads.

use std::net::IpAddr;

use anyhow::Result;
use lab::link::NEAR_HOSTS;
use lab::{Cable, Counters, Direction, Link, Medium, Namespace, Script, Wire, near_v4, near_v6};

/// What is between the two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A wire that does what a script says.
    Wire(Medium),
    /// A veth pair, with or without packets that are longer than its MTU.
    Pair { offloads: bool },
}

/// Two hosts that reach each other.
pub(super) struct Bench {
    pub(super) near: Namespace,
    pub(super) far: Namespace,
    wire: Option<Wire>,
}

impl Bench {
    pub(super) fn new(kind: Kind, script: Script, timestamps: bool) -> Result<Self> {
        let bench = match kind {
            Kind::Wire(medium) => {
                let Link { near, far, wire, .. } = Link::over(medium, script)?;
                Self { near, far, wire: Some(wire) }
            }
            Kind::Pair { offloads } => {
                let Cable { near, far } = Cable::new(offloads)?;
                Self { near, far, wire: None }
            }
        };
        for host in [&bench.near, &bench.far] {
            host.set_sysctl("net/ipv4/tcp_timestamps", if timestamps { "1" } else { "0" })?;
        }
        Ok(bench)
    }

    /// What the wire did, each way; nothing without one.
    pub(super) fn counters(&self) -> [Counters; 2] {
        let both = [Direction::ToFar, Direction::ToNear];
        both.map(|way| self.wire.as_ref().map_or_else(Counters::default, |wire| wire.counters(way)))
    }
}

/// Is this an address of the near host?
pub(super) fn is_near(address: IpAddr) -> bool {
    NEAR_HOSTS.into_iter().any(|host| address == near_v4(host) || address == near_v6(host))
}
