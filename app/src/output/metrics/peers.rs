//! Metrics of single peers, for those who ask: their addresses are labels, and so there is a hard limit.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::{Registry, Unit};

use super::bounded::Bounded;
use super::place::{FoldedLabels, OTHER, role};
use super::{Times, seconds, times};
use tcptop_core::{Flow, Leg, Outcome, Party, Retransmit};

/// The metrics of a peer end when nothing was decided or retransmitted for so long.
const IDLE_NS: u64 = 3_600_000_000_000;

/// A peer, or all that have no series of their own.
#[derive(Clone, Debug, Hash, PartialEq, Eq, PartialOrd, Ord, EncodeLabelSet)]
struct Peer {
    role: &'static str,
    peer: String,
    port: String,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct AttemptLabels {
    outcome: &'static str,
    #[prometheus(flatten)]
    peer: Peer,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct RetransmitLabels {
    direction: &'static str,
    #[prometheus(flatten)]
    peer: Peer,
}

/// The peers that have series.
#[derive(Debug)]
pub(super) struct Peers {
    own: Bounded<Peer>,
    latest_ns: BTreeMap<Peer, u64>,
    attempts: Family<AttemptLabels, Counter>,
    rtt: Times<Peer>,
    retransmits: Family<RetransmitLabels, Counter>,
}

/// What a retransmit's direction is called.
pub(super) const fn direction(by: Party) -> &'static str {
    match by {
        Party::Local => "sent",
        Party::Remote => "received",
    }
}

impl Peers {
    /// None yet; up to so many at the same time.
    pub(super) fn new(most: usize) -> Self {
        let (attempts, retransmits) = Default::default();
        Self { own: Bounded::new(most), latest_ns: BTreeMap::new(), attempts, rtt: times(), retransmits }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let what = "Connection attempts whose outcome was decided, by peer";
        registry.register("peer_handshakes", what, self.attempts.clone());
        let what = "Round-trip times of handshakes across the network, by peer";
        registry.register_with_unit("peer_rtt", what, Unit::Seconds, self.rtt.clone());
        let what = "Retransmitted segments, by peer";
        registry.register("peer_retransmits", what, self.retransmits.clone());
    }

    pub(super) fn handshake(&mut self, flow: &Flow, folded: &Family<FoldedLabels, Counter>) {
        let outcome = flow.outcome();
        let mut peer = Peer::of(flow);
        if self.own.has(&peer, outcome == Outcome::Established) {
            self.latest_ns.insert(peer.clone(), flow.changed_ns());
        } else {
            folded.get_or_create(&FoldedLabels { label: "peer" }).inc();
            peer = peer.other();
        }
        if let Some(ns) = flow.rtt().and_then(Leg::exact).filter(|_| outcome == Outcome::Established) {
            self.rtt.get_or_create(&peer).observe(seconds(ns));
        }
        self.attempts.get_or_create(&AttemptLabels { outcome: outcome.label(), peer }).inc();
    }

    pub(super) fn retransmit(&mut self, retransmit: &Retransmit) {
        let mut peer = Peer::of(&retransmit.flow);
        if self.own.is_own(&peer) {
            self.latest_ns.insert(peer.clone(), retransmit.time_ns);
        } else {
            peer = peer.other();
        }
        let labels = RetransmitLabels { direction: direction(retransmit.by), peer };
        self.retransmits.get_or_create(&labels).inc_by(retransmit.segments.into());
    }

    /// The series of peers that are idle end.
    pub(super) fn expire(&mut self, now_ns: u64) {
        let is_idle = |_: &Peer, latest_ns: &mut u64| now_ns.saturating_sub(*latest_ns) > IDLE_NS;
        let idle: Vec<Peer> = self.latest_ns.extract_if(.., is_idle).map(|(peer, _)| peer).collect();
        for peer in idle {
            self.own.remove(&peer);
            self.rtt.remove(&peer);
            for outcome in Outcome::ALL.map(Outcome::label) {
                self.attempts.remove(&AttemptLabels { outcome, peer: peer.clone() });
            }
            for direction in [Party::Local, Party::Remote].map(direction) {
                self.retransmits.remove(&RetransmitLabels { direction, peer: peer.clone() });
            }
        }
    }
}

impl Peer {
    fn of(flow: &Flow) -> Self {
        let service = flow.peer().service;
        let peer = Ipv6Addr::from(service.address).to_canonical().to_string();
        Self { role: role(flow), peer, port: service.port.to_string() }
    }

    fn other(self) -> Self {
        Self { peer: OTHER.to_owned(), port: OTHER.to_owned(), ..self }
    }
}
