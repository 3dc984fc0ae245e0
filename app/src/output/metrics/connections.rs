//! Retransmits of single connections, for those who ask: with labels that are addresses, and so with a hard limit.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use probe_common::Endpoint;
use tcptop_core::{Flow, Party};

/// Who sent the segment, and to whom.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Labels {
    ip_version: &'static str,
    src_ip: String,
    src_port: u16,
    dst_ip: String,
    dst_port: u16,
}

/// The connections that have series, until they end.
#[derive(Debug)]
pub(super) struct Connections {
    most: usize,
    retransmissions: Family<Labels, Counter>,
    /// The series of each connection, by its number.
    series: BTreeMap<u64, [Option<Labels>; 2]>,
    folded: Counter,
}

impl Connections {
    /// None yet; up to so many at the same time.
    pub(super) fn new(most: usize) -> Self {
        let (retransmissions, folded) = Default::default();
        Self { most, retransmissions, series: BTreeMap::new(), folded }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let what = "Retransmitted segments of a connection, until it ends";
        registry.register("tcp_retransmissions", what, self.retransmissions.clone());
        let what = "Retransmitted segments of connections that have no series of their own";
        registry.register("tcptop_folded_retransmissions", what, self.folded.clone());
    }

    pub(super) fn retransmit(&mut self, flow: &Flow, by: Party, segments: u64) {
        let has_room = self.series.len() < self.most;
        if !has_room && !self.series.contains_key(&flow.id()) {
            self.folded.inc_by(segments);
            return;
        }
        let [of_local, of_remote] = self.series.entry(flow.id()).or_default();
        let (series, source, destination) = match by {
            Party::Local => (of_local, flow.local(), flow.remote()),
            Party::Remote => (of_remote, flow.remote(), flow.local()),
        };
        let labels = series.get_or_insert_with(|| Labels::new(source, destination));
        self.retransmissions.get_or_create(labels).inc_by(segments);
    }

    /// The series of a connection end with it.
    pub(super) fn close(&mut self, flow: &Flow) {
        for labels in self.series.remove(&flow.id()).into_iter().flatten().flatten() {
            self.retransmissions.remove(&labels);
        }
    }
}

impl Labels {
    fn new(source: Endpoint, destination: Endpoint) -> Self {
        let ip = |endpoint: Endpoint| Ipv6Addr::from(endpoint.address).to_canonical();
        let source_ip = ip(source);
        Self {
            ip_version: if source_ip.is_ipv4() { "4" } else { "6" },
            src_ip: source_ip.to_string(),
            src_port: source.port,
            dst_ip: ip(destination).to_string(),
            dst_port: destination.port,
        }
    }
}
