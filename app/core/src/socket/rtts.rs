//! The round-trip times of open connections, as the kernel measures them, by peer.

use core::ops::Range;

use hashbrown::HashMap;

use super::TcpInfo;
use crate::flow::PeerKey;

/// Round-trip times that the kernel measures on the open connections of one or several peers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketRtts {
    /// Connections with a round-trip time.
    pub connections: u64,
    /// Median of their smoothed round-trip times, in nanoseconds.
    pub srtt_p50_ns: u64,
    /// The shortest round-trip time of all, in nanoseconds.
    pub min_rtt_ns: Option<u64>,
}

/// Those of all peers, as they were last listed.
#[derive(Debug, Default)]
pub(crate) struct PeerRtts {
    /// By peer, each with its connections.
    samples: Vec<Sample>,
    places: HashMap<PeerKey, Range<usize>>,
    /// Those that were listed so far of the list that is under way.
    coming: Vec<Sample>,
}

#[derive(Clone, Copy, Debug)]
struct Sample {
    peer: PeerKey,
    srtt_ns: u64,
    min_rtt_ns: Option<u64>,
}

impl PeerRtts {
    /// Takes over a connection of the list.
    pub(crate) fn note(&mut self, peer: PeerKey, info: &TcpInfo) {
        if let Some(srtt_ns) = info.srtt_ns() {
            self.coming.push(Sample { peer, srtt_ns, min_rtt_ns: info.min_rtt_ns() });
        }
    }

    /// The list is complete.
    pub(crate) fn complete(&mut self) {
        self.samples.clear();
        core::mem::swap(&mut self.samples, &mut self.coming);
        self.samples.sort_unstable_by_key(|sample| sample.peer);
        self.places.clear();
        let mut begin = 0;
        for together in self.samples.chunk_by(|one, next| one.peer == next.peer) {
            let end = begin + together.len();
            self.places.insert(together[0].peer, begin..end);
            begin = end;
        }
    }

    /// Those of these peers together; `None` if none of them has a connection with a round-trip time.
    pub(crate) fn of(&self, peers: impl Iterator<Item = PeerKey>) -> Option<SocketRtts> {
        let places = peers.filter_map(|peer| self.places.get(&peer));
        let samples: Vec<&Sample> = places.flat_map(|place| &self.samples[place.clone()]).collect();
        let mut srtts: Vec<u64> = samples.iter().map(|sample| sample.srtt_ns).collect();
        // Of an even number the lower one, as the percentiles have it.
        let middle = srtts.len().checked_sub(1)? / 2;
        let (_, srtt_p50_ns, _) = srtts.select_nth_unstable(middle);
        Some(SocketRtts {
            connections: samples.len() as u64,
            srtt_p50_ns: *srtt_p50_ns,
            min_rtt_ns: samples.iter().filter_map(|sample| sample.min_rtt_ns).min(),
        })
    }
}
