//! What the kernel knows of the sockets of a row.

use super::figures::Period;
use crate::socket::{AcceptQueue, PeerRtts, SocketRtts};
use crate::stats::Peer;

/// What the kernel knows of the sockets of a row.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RowSockets {
    /// The queue of a listener of this host that the peers connect to, when it was last full while an attempt waited, within the
    /// span of time that was requested.
    pub accept_queue: Option<AcceptQueue>,
    /// The round-trip times of its open connections.
    pub rtts: Option<SocketRtts>,
}

impl RowSockets {
    /// Of a row with these peers; `None` if nothing is known.
    pub(super) fn of<'a>(
        peers: impl Iterator<Item = &'a Peer> + Clone,
        rtts: &PeerRtts,
        period: Period,
    ) -> Option<Self> {
        let rtts = rtts.of(peers.clone().map(|peer| peer.key));
        let since_ns = period.begins_ns();
        let full = peers.filter_map(|peer| peer.accept_queue).filter(|queue| queue.at_ns >= since_ns);
        let accept_queue = full.max_by_key(|queue| queue.at_ns);
        (accept_queue.is_some() || rtts.is_some()).then_some(Self { accept_queue, rtts })
    }
}
