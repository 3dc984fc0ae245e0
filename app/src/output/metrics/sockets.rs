//! What the kernel says of its TCP sockets when they are listed (see `--sockets`): how many there are, how long listeners' queues
//! are, and, for those who ask, what is known of each connection.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::mem;
use std::net::Ipv6Addr;
use std::sync::{Arc, Mutex, PoisonError};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::Unit;

use super::facts::{FACTS, Fact, Kind};
use super::place::PortLabel;
use tcptop_core::{Socket, SocketState};

/// The most ports of listeners that have series of their own, those with the lowest numbers.
const LISTENERS: usize = 200;

/// The ends of a connection, as labels.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Ends {
    local_ip: String,
    local_port: u16,
    remote_ip: String,
    remote_port: u16,
    /// Who says so.
    source: &'static str,
}

/// Sockets as they were listed the last time, and how they are counted until the list is complete.
#[derive(Debug)]
pub(super) struct Sockets {
    /// How many connections have series; 0 for none.
    most: usize,
    known: BTreeSet<Key>,
    new: Vec<Listed>,
    list: List,
    published: Arc<Published>,
}

/// What is scraped: replaced as a whole, so nobody waits for a scrape.
#[derive(Debug, Default)]
pub(super) struct Published(Mutex<Arc<List>>);

type Key = (u64, [u8; 16], u16, [u8; 16], u16);

#[derive(Debug, Default)]
struct List {
    has_connections: bool,
    connections: Vec<Listed>,
    /// Connections without series.
    folded: u64,
    states: BTreeMap<&'static str, u64>,
    /// Waiting connections and how many may wait, by port.
    listeners: BTreeMap<u16, (u64, u64)>,
    memory: BTreeMap<&'static str, u64>,
}

/// What the kernel says of one connection.
#[derive(Debug)]
struct Listed {
    key: Key,
    ends: Ends,
    values: Vec<Option<f64>>,
    algorithm: Option<String>,
}

impl Sockets {
    /// No list yet. Up to so many connections have series of their own.
    pub(super) fn new(most: Option<usize>) -> Self {
        let list = List { has_connections: most.is_some(), ..List::default() };
        let most = most.unwrap_or_default();
        Self { most, known: BTreeSet::new(), new: Vec::new(), list, published: Arc::default() }
    }

    /// What is scraped.
    pub(super) fn collector(&self) -> Box<dyn Collector> {
        Box::new(Arc::clone(&self.published))
    }

    /// Takes in some sockets of a list, and publishes it when it is complete.
    pub(super) fn list(&mut self, sockets: &[Socket], is_last: bool) {
        sockets.iter().for_each(|socket| self.note(socket));
        if !is_last {
            return;
        }
        let room = self.most.saturating_sub(self.list.connections.len());
        let mut new = mem::take(&mut self.new);
        self.list.folded += new.len().saturating_sub(room) as u64;
        new.truncate(room);
        self.list.connections.append(&mut new);
        self.known = self.list.connections.iter().map(|listed| listed.key).collect();
        let next = List { has_connections: self.list.has_connections, ..List::default() };
        let list = Arc::new(mem::replace(&mut self.list, next));
        *self.published.0.lock().unwrap_or_else(PoisonError::into_inner) = list;
    }

    fn note(&mut self, socket: &Socket) {
        *self.list.states.entry(socket.state.name()).or_default() += 1;
        if let Some(memory) = &socket.memory {
            for (kind, bytes) in [
                ("receive_alloc", memory.receive_alloc),
                ("send_alloc", memory.send_alloc),
                ("forward_alloc", memory.forward_alloc),
                ("send_queued", memory.send_queued),
                ("option_memory", memory.option_memory),
                ("backlog", memory.backlog),
            ] {
                *self.list.memory.entry(kind).or_default() += u64::from(bytes);
            }
        }
        if socket.state == SocketState::Listen {
            let (waiting, limit) = self.list.listeners.entry(socket.local.port).or_default();
            *waiting += u64::from(socket.receive_queue);
            *limit += u64::from(socket.send_queue);
        } else if self.list.has_connections {
            self.note_connection(socket);
        }
    }

    /// Those that have series keep them. Of the others some have them if there is room.
    fn note_connection(&mut self, socket: &Socket) {
        let Some(info) = &socket.info else { return };
        let key = (
            socket.cookie,
            socket.local.address,
            socket.local.port,
            socket.remote.address,
            socket.remote.port,
        );
        let is_known = self.known.contains(&key);
        if !is_known && self.new.len() >= self.most {
            self.list.folded += 1;
            return;
        }
        let ip = |address: [u8; 16]| Ipv6Addr::from(address).to_canonical().to_string();
        let ends = Ends {
            local_ip: ip(socket.local.address),
            local_port: socket.local.port,
            remote_ip: ip(socket.remote.address),
            remote_port: socket.remote.port,
            source: "netlink",
        };
        let values = FACTS.iter().map(|fact| fact.value(info)).collect();
        let algorithm = socket.congestion.as_ref().map(|congestion| congestion.algorithm.name().to_owned());
        let listed = Listed { key, ends, values, algorithm };
        if is_known { self.list.connections.push(listed) } else { self.new.push(listed) }
    }
}

impl Collector for Published {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let list = Arc::clone(&self.0.lock().unwrap_or_else(PoisonError::into_inner));
        list.encode_all(&mut encoder)?;
        if list.has_connections {
            list.encode_connections(&mut encoder)?;
        }
        Ok(())
    }
}

impl List {
    fn encode_all(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let gauge = MetricType::Gauge;
        if !self.states.is_empty() {
            let what = "TCP sockets of this network namespace by state; none in TIME-WAIT is listed";
            let mut metric = encoder.encode_descriptor("tcptop_connections", what, None, gauge)?;
            for (state, number) in &self.states {
                metric.encode_family(&[("state", *state)])?.encode_gauge(number)?;
            }
            let what = "Memory of all these sockets by what it is taken by";
            let unit = Some(&Unit::Bytes);
            let mut metric = encoder.encode_descriptor("tcptop_socket_memory", what, unit, gauge)?;
            for (kind, bytes) in &self.memory {
                metric.encode_family(&[("kind", *kind)])?.encode_gauge(bytes)?;
            }
        }
        if self.listeners.is_empty() {
            return Ok(());
        }
        let listeners = self.listeners_by_label();
        for (name, what, of) in [
            ("tcptop_listen_backlog", "Connections that listeners have not accepted", 0),
            ("tcptop_listen_backlog_limit", "How many connections may wait for listeners", 1),
        ] {
            let mut metric = encoder.encode_descriptor(name, what, None, gauge)?;
            for (port, numbers) in &listeners {
                metric.encode_family(&[("port", *port)])?.encode_gauge(&numbers[of])?;
            }
        }
        Ok(())
    }

    fn listeners_by_label(&self) -> BTreeMap<PortLabel, [u64; 2]> {
        let mut listeners = BTreeMap::<PortLabel, [u64; 2]>::new();
        for (number, (port, (waiting, limit))) in self.listeners.iter().enumerate() {
            let label = if number < LISTENERS { PortLabel::Port(*port) } else { PortLabel::Other };
            let sums = listeners.entry(label).or_default();
            *sums = [sums[0] + waiting, sums[1] + limit];
        }
        listeners
    }

    fn encode_connections(&self, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        for (number, fact) in FACTS.iter().enumerate() {
            self.encode_fact(fact, number, encoder)?;
        }
        let what = "The congestion control of a connection";
        let mut metric = encoder.encode_descriptor(
            "tcptop_flow_congestion_control_info",
            what,
            None,
            MetricType::Gauge,
        )?;
        for listed in &self.connections {
            let Some(algorithm) = &listed.algorithm else { continue };
            metric
                .encode_family(&([("algorithm", algorithm.as_str())], listed.ends.clone()))?
                .encode_gauge(&1)?;
        }
        let what = "Connections of this network namespace that have no series of their own";
        let mut metric =
            encoder.encode_descriptor("tcptop_folded_connections", what, None, MetricType::Gauge)?;
        metric.encode_gauge(&self.folded)
    }

    fn encode_fact(&self, fact: &Fact, number: usize, encoder: &mut DescriptorEncoder<'_>) -> fmt::Result {
        let name = format!("tcptop_flow_{}", fact.name);
        let kind = if fact.kind == Kind::Counter { MetricType::Counter } else { MetricType::Gauge };
        let unit = Some(fact.unit());
        let mut metric = encoder.encode_descriptor(&name, fact.meaning, unit.as_ref(), kind)?;
        for listed in &self.connections {
            let Some(value) = listed.values[number] else { continue };
            let mut metric = metric.encode_family(&listed.ends)?;
            match fact.kind {
                Kind::Counter => metric.encode_counter::<NoLabelSet, f64, f64>(&value, None)?,
                Kind::Gauge => metric.encode_gauge(&value)?,
            }
        }
        Ok(())
    }
}
