//! What a filter and an order ask of one flow, worked out only when it is asked for: a million flows may be asked.

use probe_common::Endpoint;

use crate::table::flow::Flow;
use crate::table::{FlowReport, Leg, Outcome, PeerKey, Role};

/// One flow, at one moment.
pub trait FlowFacts {
    /// Its number.
    fn id(&self) -> u64;
    /// The peer it belongs to, and with it the interface.
    fn peer(&self) -> PeerKey;
    /// Who opened it, where that was seen.
    fn role(&self) -> Option<Role>;
    /// This host's end.
    fn local(&self) -> Endpoint;
    /// The other end.
    fn remote(&self) -> Endpoint;
    /// What has become of it at `now_ns`.
    fn outcome(&self, now_ns: u64) -> Outcome;
    /// The leg that crosses the network, where it is known, in nanoseconds.
    fn rtt_ns(&self) -> Option<u64>;
    /// From the first SYN to the ACK, in nanoseconds.
    fn setup_ns(&self) -> Option<u64>;
    /// How many SYNs were seen.
    fn tries(&self) -> Option<u32>;
    /// Everything that was sent again.
    fn retransmits(&self) -> u64;
    /// Everything that was sent and could have been again.
    fn segments(&self) -> u64;
    /// When the first segment of it was seen.
    fn first_ns(&self) -> u64;
    /// The port that tells this connection from the peer's others.
    fn port(&self) -> u16;
}

impl FlowFacts for FlowReport {
    fn id(&self) -> u64 {
        self.id
    }

    fn peer(&self) -> PeerKey {
        self.peer
    }

    fn role(&self) -> Option<Role> {
        self.role
    }

    fn local(&self) -> Endpoint {
        self.local
    }

    fn remote(&self) -> Endpoint {
        self.remote
    }

    fn outcome(&self, _now_ns: u64) -> Outcome {
        self.outcome
    }

    fn rtt_ns(&self) -> Option<u64> {
        self.rtt().and_then(Leg::exact)
    }

    fn setup_ns(&self) -> Option<u64> {
        self.setup_ns
    }

    fn tries(&self) -> Option<u32> {
        self.tries
    }

    fn retransmits(&self) -> u64 {
        Self::retransmits(self)
    }

    fn segments(&self) -> u64 {
        Self::segments(self)
    }

    fn first_ns(&self) -> u64 {
        self.first_ns
    }

    fn port(&self) -> u16 {
        Self::port(self)
    }
}

impl FlowFacts for Flow {
    fn id(&self) -> u64 {
        self.id
    }

    fn peer(&self) -> PeerKey {
        Self::peer(self)
    }

    fn role(&self) -> Option<Role> {
        self.role
    }

    fn local(&self) -> Endpoint {
        Self::local(self)
    }

    fn remote(&self) -> Endpoint {
        Self::remote(self)
    }

    fn outcome(&self, now_ns: u64) -> Outcome {
        Self::outcome(self, now_ns)
    }

    fn rtt_ns(&self) -> Option<u64> {
        Self::rtt_ns(self)
    }

    fn setup_ns(&self) -> Option<u64> {
        self.handshake.as_ref()?.setup_ns()
    }

    fn tries(&self) -> Option<u32> {
        self.syns()[0]
    }

    fn retransmits(&self) -> u64 {
        Self::retransmits(self)
    }

    fn segments(&self) -> u64 {
        Self::segments(self)
    }

    fn first_ns(&self) -> u64 {
        self.first_ns
    }

    fn port(&self) -> u16 {
        Self::port(self)
    }
}
