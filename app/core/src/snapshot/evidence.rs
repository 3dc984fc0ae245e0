//! What explains a row, beside its own figures: only for rows that are described in words.

use std::collections::{BTreeMap, BTreeSet};

use super::figures::Period;
use super::latency::Scratch;
use super::peer_cache::{PeerCache, Scan};
use super::{Row, Span};
use crate::flow::{IcmpError, Outcome, PeerKey};
use crate::query::RowKey;
use crate::stats::{Times, Verdict};

/// Ports of the same address that are named.
const PORTS: usize = 3;

/// What explains the verdict on a peer.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct RowEvidence {
    /// The latest ICMP error about its connections, since the start.
    pub icmp: Option<IcmpError>,
    /// Other ports of its address with which handshakes were completed in the time that the row covers, the lowest first, and
    /// only some of them.
    pub answering_ports: Vec<u16>,
    /// Its shortest round-trip time since counts began.
    pub fastest_ns: Option<u64>,
}

/// The evidence of these rows, as far as they are single peers with a verdict.
pub(super) fn of(
    rows: &[&Row],
    cache: &PeerCache,
    scan: &Scan<'_>,
    scratch: &mut Times<Scratch>,
) -> BTreeMap<RowKey, RowEvidence> {
    let failing = rows.iter().filter_map(|row| match (row.key, row.verdict) {
        (RowKey::Peer(peer), Some(verdict)) => Some((peer, verdict)),
        _ => None,
    });
    let failing: BTreeMap<PeerKey, Verdict> = failing.collect();
    if failing.is_empty() {
        return BTreeMap::new();
    }
    let answering = answering(&failing, cache);
    let since_start = Period { span: Span::SinceStart, ..scan.period };
    let evidence = |(key, verdict): (&PeerKey, &Verdict)| {
        let peer = scan.stats.peer(key)?;
        let fastest_ns = (*verdict == Verdict::Slow).then(|| {
            since_start.add(&peer.tally, scratch);
            scratch.setup.take();
            scratch.rtt.take_with_bars().1.first().map(|bar| bar.from_ns)
        });
        let ports = answering.get(&key.service.address).into_iter().flatten();
        let others = ports.filter(|port| **port != key.service.port && !key.is_inbound());
        Some((
            RowKey::Peer(*key),
            RowEvidence {
                icmp: peer.icmp.as_deref().copied(),
                answering_ports: others.take(PORTS).copied().collect(),
                fastest_ns: fastest_ns.flatten(),
            },
        ))
    };
    failing.iter().filter_map(evidence).collect()
}

/// The ports at which the addresses of peers that fail complete handshakes.
fn answering(failing: &BTreeMap<PeerKey, Verdict>, cache: &PeerCache) -> BTreeMap<[u8; 16], BTreeSet<u16>> {
    let mut answering: BTreeMap<[u8; 16], BTreeSet<u16>> =
        failing.keys().map(|key| (key.service.address, BTreeSet::new())).collect();
    for (_, peer) in cache.all().filter(|(_, peer)| !peer.key.is_inbound()) {
        if peer.figures.counts.of(Outcome::Established) > 0
            && let Some(ports) = answering.get_mut(&peer.key.service.address)
        {
            ports.insert(peer.key.service.port);
        }
    }
    answering
}
