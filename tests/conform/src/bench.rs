//! The two hosts of a scene: on the lab's wire, or on a veth pair, which has offloads.

use std::net::IpAddr;

use anyhow::Result;
use lab::link::NEAR_HOSTS;
use lab::{Cable, Counters, Direction, Link, Medium, Namespace, Script, Wire, near_v4, near_v6};

/// What connects the two hosts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A wire that follows a script.
    Wire(Medium),
    /// A veth pair, with or without segmentation offloads.
    Pair { offloads: bool },
}

/// The conditions that connections meet.
#[derive(Clone)]
pub(super) struct Conditions {
    pub(super) kind: Kind,
    /// What the wire does at first.
    pub(super) script: Script,
    /// What it does after [`Bench::change`].
    pub(super) later: Script,
    pub(super) timestamps: bool,
    pub(super) sack: bool,
}

/// Two hosts that reach each other.
pub(super) struct Bench {
    pub(super) near: Namespace,
    pub(super) far: Namespace,
    wire: Option<Wire>,
    later: Script,
}

impl Bench {
    pub(super) fn new(conditions: Conditions) -> Result<Self> {
        let Conditions { kind, script, later, timestamps, sack } = conditions;
        let (near, far, wire) = match kind {
            Kind::Wire(medium) => {
                let Link { near, far, wire, .. } = Link::over(medium, script)?;
                (near, far, Some(wire))
            }
            Kind::Pair { offloads } => {
                let Cable { near, far } = Cable::new(offloads)?;
                (near, far, None)
            }
        };
        for host in [&near, &far] {
            for (key, is_on) in [("timestamps", timestamps), ("sack", sack)] {
                host.set_sysctl(&format!("net/ipv4/tcp_{key}"), if is_on { "1" } else { "0" })?;
            }
        }
        Ok(Self { near, far, wire, later })
    }

    /// Switches the wire to its later script.
    pub(super) fn change(&self) {
        if let Some(wire) = &self.wire {
            wire.set_script(self.later.clone());
        }
    }

    /// The wire's counters, each way; zeros without a wire.
    pub(super) fn counters(&self) -> [Counters; 2] {
        let both = [Direction::ToFar, Direction::ToNear];
        both.map(|way| self.wire.as_ref().map_or_else(Counters::default, |wire| wire.counters(way)))
    }
}

/// Whether this is an address of the near host.
pub(super) fn is_near(address: IpAddr) -> bool {
    NEAR_HOSTS.into_iter().any(|host| address == near_v4(host) || address == near_v6(host))
}
