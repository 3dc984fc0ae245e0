//! Handshakes in data files: the packets that pass, and the objects that must come of them.
//!
//! Each file in `tests/scenarios/` is one scenario (TOML). Its folder is named after the hard case that it is about
//! (`docs/hard-cases.md`). The fields are explained at [`Scenario`], [`Packet`] and [`Expected`].

mod expect;

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use probe_common::segment::mapped;
use probe_common::{Direction, Endpoint, SegmentRecord, TcpFlags, Timestamps};
use serde::Deserialize;
use toml::Table;

use crate::conversation::segment;

/// 2026-01-01T00:00:00Z, in nanoseconds since 1970: when every scenario begins.
pub const START_NS: u64 = 1_767_225_600_000_000_000;
const US: u64 = 1_000;
/// The opener's port, where there is one connection.
const CLIENT: u16 = 40_000;
/// The responder's port.
const SERVICE: u16 = 443;
/// The port of the connection that nothing is told of.
const ELSEWHERE: u16 = 49_999;

/// A scenario as its file has it.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Scenario {
    /// Folder and file name, such as `port-reuse/stale-fin`.
    #[serde(skip)]
    pub name: String,
    /// Names of other hard cases that it is about, beside that of its folder.
    #[serde(default)]
    pub also: Vec<String>,
    /// What it shows, in a sentence.
    pub shows: String,
    /// Where the packets are seen.
    pub seen_from: Place,
    /// Both ends have one address and one port.
    #[serde(default)]
    pub to_itself: bool,
    /// What is expected is reported in a live run only: a capture has copies of packets, which `replay` knows and the kernel
    /// programs do not.
    #[serde(default)]
    pub live_only: bool,
    /// What passes, in this order.
    pub packets: Vec<Packet>,
    /// When the last packet passes, of another connection and worth nothing: so that time goes on.
    pub until_us: Option<u64>,
    /// What must be told, in this order.
    #[serde(default)]
    pub expect: Vec<Expected>,
    /// The `retransmit` objects that must be told, in this order. Without any, those of SYNs, SYN-ACKs and FINs are
    /// passed over, and there must be none of data.
    #[serde(default)]
    pub retransmits: Vec<Expected>,
    /// Fields of the summary; `missed` and `unmatched` are 0 unless they are here.
    #[serde(default)]
    pub summary: Table,
}

/// Where packets are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Place {
    /// On the host that opens.
    Opener,
    /// On the host that is connected to.
    Responder,
    /// On a host that is both.
    Loopback,
    /// Somewhere between, where no direction is known.
    Between,
}

/// One end of the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum End {
    /// The one that opens.
    Opener,
    /// The other.
    Responder,
}

/// One packet.
#[derive(Clone, Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Packet {
    /// When it passes, in microseconds since the beginning.
    pub at_us: u64,
    /// Who sends it.
    pub from: End,
    /// Its flags by name, such as `SYN ACK`.
    pub is: String,
    /// Sequence number.
    pub seq: u32,
    /// Acknowledgement number.
    #[serde(default)]
    pub ack: u32,
    /// Bytes of payload.
    #[serde(default)]
    pub payload: u32,
    /// TSval and TSecr.
    pub ts: Option<(u32, u32)>,
    /// The opener's port, where there are several connections.
    pub port: Option<u16>,
}

/// One object that must be told. A field of the object that is not here must be null (or false); the addresses and
/// the role follow from the scenario, unless they are here. `"-"` stands for null.
#[derive(Clone, Debug, Deserialize)]
pub struct Expected {
    /// `handshake`, `close` or `retransmit`.
    pub r#type: String,
    /// The time that it carries, in microseconds since the beginning.
    pub at_us: u64,
    /// The opener's port, where there are several connections.
    pub port: Option<u16>,
    /// Fields of the object.
    #[serde(flatten)]
    pub fields: Table,
}

/// What a scenario says nothing about, and what must not matter.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Variant {
    /// The addresses are IPv6.
    pub v6: bool,
    /// The opener has the higher address.
    pub opener_is_high: bool,
}

impl Variant {
    /// All of them.
    pub const ALL: [Self; 4] = [
        Self { v6: false, opener_is_high: false },
        Self { v6: false, opener_is_high: true },
        Self { v6: true, opener_is_high: false },
        Self { v6: true, opener_is_high: true },
    ];
}

/// Every scenario, by name.
///
/// # Errors
/// When a file cannot be read, is not a scenario, or is in no folder named after a hard case.
pub fn all() -> Result<Vec<Scenario>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
    let mut scenarios = Vec::new();
    for folder in list(&root)? {
        for path in list(&folder)? {
            let name = path.strip_prefix(&root).expect("it is listed there").with_extension("");
            let mut scenario = read(&path).with_context(|| path.display().to_string())?;
            scenario.name = name.to_string_lossy().into_owned();
            scenarios.push(scenario);
        }
    }
    scenarios.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(scenarios)
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot list {}", folder.display()))?;
    entries.map(|entry| Ok(entry?.path())).collect()
}

fn read(path: &Path) -> Result<Scenario> {
    let scenario: Scenario = toml::from_str(&fs::read_to_string(path)?)?;
    for packet in &scenario.packets {
        flags(&packet.is)?;
    }
    Ok(scenario)
}

impl Scenario {
    /// Names of the hard cases that it is about, that of its folder first.
    pub fn hard_cases(&self) -> impl Iterator<Item = &str> {
        self.name.split('/').take(1).chain(self.also.iter().map(String::as_str))
    }

    /// The packets, as segments on their way; what is neither SYN, RST nor FIN is called an ACK.
    #[must_use]
    pub fn records(&self, variant: Variant) -> Vec<SegmentRecord> {
        let last = self.until_us.map(|at_us| Packet {
            at_us,
            from: End::Opener,
            is: "ACK".to_owned(),
            seq: 1,
            ack: 1,
            payload: 0,
            ts: None,
            port: Some(ELSEWHERE),
        });
        self.packets.iter().chain(&last).map(|packet| self.record(packet, variant)).collect()
    }

    /// Addresses of the host where the packets are seen, for `--local`; none where no direction is known.
    #[must_use]
    pub fn local_addresses(&self, variant: Variant) -> Vec<IpAddr> {
        let [opener, responder] = self.addresses(variant);
        match self.seen_from {
            Place::Opener => vec![opener],
            Place::Responder => vec![responder],
            Place::Loopback => vec![opener, responder],
            Place::Between => Vec::new(),
        }
    }

    fn addresses(&self, variant: Variant) -> [IpAddr; 2] {
        let text = if variant.v6 { ["fd01::1", "fd01::2"] } else { ["10.1.0.1", "10.1.0.2"] };
        let [low, high] = text.map(|text| text.parse().expect("it is one"));
        match (self.to_itself, variant.opener_is_high) {
            (true, _) => [low, low],
            (false, false) => [low, high],
            (false, true) => [high, low],
        }
    }

    /// Opener and responder.
    fn ends(&self, variant: Variant, port: Option<u16>) -> [SocketAddr; 2] {
        let [opener, responder] = self.addresses(variant);
        let port = port.unwrap_or(CLIENT);
        [(opener, port).into(), (responder, if self.to_itself { port } else { SERVICE }).into()]
    }

    fn record(&self, packet: &Packet, variant: Variant) -> SegmentRecord {
        let ends = self.ends(variant, packet.port).map(endpoint);
        let [source, destination] = match packet.from {
            End::Opener => ends,
            End::Responder => [ends[1], ends[0]],
        };
        let flags = flags(&packet.is).expect("checked when it was read");
        let (value, echo) = packet.ts.unwrap_or_default();
        SegmentRecord {
            time_ns: START_NS + packet.at_us * US,
            direction: match (self.seen_from, packet.from) {
                (Place::Opener, End::Opener) | (Place::Responder, End::Responder) => Direction::Egress,
                (Place::Opener, End::Responder) | (Place::Responder, End::Opener) => Direction::Ingress,
                (Place::Loopback, _) => Direction::Local,
                (Place::Between, _) => Direction::Unknown,
            },
            seq: packet.seq,
            ack: packet.ack,
            payload_len: packet.payload,
            timestamps: Timestamps { value, echo, present: packet.ts.is_some() },
            ..segment(source, destination, flags)
        }
    }
}

fn endpoint(end: SocketAddr) -> Endpoint {
    let address = match end.ip() {
        IpAddr::V4(v4) => mapped(v4.octets()),
        IpAddr::V6(v6) => v6.octets(),
    };
    Endpoint { address, port: end.port() }
}

fn flags(names: &str) -> Result<TcpFlags> {
    names.split_whitespace().try_fold(TcpFlags(0), |flags, name| {
        Ok(flags.with(match name {
            "SYN" => TcpFlags::SYN,
            "ACK" => TcpFlags::ACK,
            "RST" => TcpFlags::RST,
            "FIN" => TcpFlags::FIN,
            "PSH" => TcpFlags(0x08),
            other => bail!("`{other}` is no flag"),
        }))
    })
}
