//! Retransmits of single connections, for those who ask: with labels that are addresses, and so with a hard limit.

use std::collections::BTreeMap;
use std::net::Ipv6Addr;

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use probe_common::Endpoint;
use tcptop_core::{Flow, Party, Retransmit};

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
    /// By the number of the connection.
    series: BTreeMap<u64, Series>,
    folded: Counter,
}

/// The series of one connection: of what this host sent, and of what the other end did.
#[derive(Debug, Default)]
struct Series {
    labels: [Option<Labels>; 2],
    latest_ns: u64,
}

/// A series ends when nothing was retransmitted for so long: nobody says of every connection when it ends.
const IDLE_NS: u64 = 600_000_000_000;

impl Connections {
    /// None yet; up to so many at the same time.
    pub(super) fn new(most: usize) -> Self {
        let (retransmissions, folded) = Default::default();
        Self { most, retransmissions, series: BTreeMap::new(), folded }
    }

    pub(super) fn register(&self, registry: &mut Registry) {
        let what = "Retransmitted segments of a connection, until it ends or is idle for ten minutes";
        registry.register("tcp_retransmissions", what, self.retransmissions.clone());
        let what = "Retransmitted segments of connections that have no series of their own";
        registry.register("tcptop_folded_retransmissions", what, self.folded.clone());
    }

    pub(super) fn retransmit(&mut self, retransmit: &Retransmit) {
        let Retransmit { flow, by, time_ns, .. } = retransmit;
        let segments = u64::from(retransmit.segments);
        let has_room = self.series.len() < self.most;
        if !has_room && !self.series.contains_key(&flow.id()) {
            self.folded.inc_by(segments);
            return;
        }
        let series = self.series.entry(flow.id()).or_default();
        let [of_local, of_remote] = &mut series.labels;
        let (labels, source, destination) = match by {
            Party::Local => (of_local, flow.local(), flow.remote()),
            Party::Remote => (of_remote, flow.remote(), flow.local()),
        };
        let labels = labels.get_or_insert_with(|| Labels::new(source, destination));
        self.retransmissions.get_or_create(labels).inc_by(segments);
        series.latest_ns = *time_ns;
    }

    /// The series of a connection, or of an attempt, end with it.
    pub(super) fn end(&mut self, flow: &Flow) {
        if let Some(series) = self.series.remove(&flow.id()) {
            self.remove(&series);
        }
    }

    /// The series of what is idle end, too.
    pub(super) fn expire(&mut self, now_ns: u64) {
        let is_idle = |_: &u64, series: &mut Series| now_ns.saturating_sub(series.latest_ns) > IDLE_NS;
        let idle: Vec<Series> = self.series.extract_if(.., is_idle).map(|(_, series)| series).collect();
        idle.iter().for_each(|series| self.remove(series));
    }

    fn remove(&self, series: &Series) {
        series.labels.iter().flatten().for_each(|labels| _ = self.retransmissions.remove(labels));
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

#[cfg(test)]
mod tests {
    use super::*;

    fn labelled(connections: &mut Connections, id: u64, latest_ns: u64) {
        let end = |port| Endpoint { address: [1; 16], port };
        let labels = Labels::new(end(1), end(u16::try_from(id).unwrap()));
        connections.retransmissions.get_or_create(&labels).inc();
        connections.series.insert(id, Series { labels: [Some(labels), None], latest_ns });
    }

    /// How many series are scraped.
    fn kept(connections: &Connections) -> usize {
        let mut registry = Registry::default();
        connections.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).expect("memory takes it");
        text.matches("tcp_retransmissions_total{").count()
    }

    #[test]
    fn what_is_idle_makes_room() {
        let mut connections = Connections::new(2);
        labelled(&mut connections, 1, 0);
        labelled(&mut connections, 2, 5);
        connections.expire(IDLE_NS);
        assert_eq!((connections.series.len(), kept(&connections)), (2, 2));
        connections.expire(IDLE_NS + 1);
        assert_eq!((connections.series.len(), kept(&connections)), (1, 1));
        assert!(connections.series.contains_key(&2));
    }
}
