//! What the kernel knows of a socket, as an object.

use std::borrow::Cow;

use schemars::{JsonSchema, Schema, SchemaGenerator, json_schema};
use serde::{Serialize, Serializer};
use serde_json::{Map, Value, json};

use super::label::Label;
use super::objects::Time;
use tcptop_core::{CongestionDetails, InfoField, SocketState, TcpInfo, TimerKind};

/// What the kernel knew of a socket at one moment.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct Socket<'a> {
    /// When the kernel said it.
    pub time: Time,
    /// Number of the socket, the same as in `ss -e`. Null if it has none.
    pub cookie: Option<u64>,
    /// Its state (RFC 9293).
    pub state: Label<SocketState>,
    /// The timer that it waits for. Null if there is none.
    pub timer: Option<Timer>,
    /// Bytes received that the application has not read. Of a listener: connections that it has not accepted.
    pub recv_queue: u32,
    /// Bytes of the application that the peer has not acknowledged. Of a listener: how many connections may wait.
    pub send_queue: u32,
    /// Number of the user that made it.
    pub uid: u32,
    /// Its inode. Null if no process holds it.
    pub inode: Option<u32>,
    /// Identifier of the control group (v2) that made it.
    pub cgroup_id: Option<u64>,
    /// Index of the interface that it is bound to. Null if it is bound to none.
    pub bound_interface: Option<u32>,
    /// Type of service of what it sends (IPv4).
    pub tos: Option<u8>,
    /// Traffic class of what it sends (IPv6).
    pub traffic_class: Option<u8>,
    /// Directions that the application has shut down, as bits: 1 receiving, 2 sending.
    pub shutdown: Option<u8>,
    /// Its mark (`SO_MARK`). Null also where the kernel does not say.
    pub mark: Option<u32>,
    /// Options that are set, by the names of `struct inet_diag_sockopt`.
    pub options: Vec<&'static str>,
    /// Its memory.
    pub memory: Option<Memory>,
    /// Its congestion control.
    pub congestion_control: Option<&'a str>,
    /// What BBR tells of itself. Null for other congestion controls.
    pub bbr: Option<Bbr>,
    /// What Vegas, Veno, Illinois or YeAH tell of themselves. Null for others.
    pub vegas: Option<Vegas>,
    /// What DCTCP tells of itself. Null for others.
    pub dctcp: Option<Dctcp>,
    /// `struct tcp_info`. Null where the kernel keeps no more than a timer, and for listeners.
    pub tcp_info: Option<Info<'a>>,
}

/// A timer of a socket.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Timer {
    /// What it is for.
    pub kind: Label<TimerKind>,
    /// In how many milliseconds it expires.
    pub expires_ms: u32,
    /// Retransmits or probes in a row so far.
    pub count: u8,
}

/// The memory of a socket, in bytes.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Memory {
    /// Taken by received segments.
    pub receive_alloc: u32,
    /// Limit of `receive_alloc`.
    pub receive_buffer: u32,
    /// Taken by segments that were handed to the interface and not sent yet.
    pub send_alloc: u32,
    /// Limit of the send queue.
    pub send_buffer: u32,
    /// Reserved for what comes.
    pub forward_alloc: u32,
    /// Taken by the send queue.
    pub send_queued: u32,
    /// Taken by options.
    pub option_memory: u32,
    /// Taken by segments that waited because the application used the socket at that moment.
    pub backlog: u32,
    /// Packets, not bytes, that were dropped at the socket.
    pub drops: u32,
}

/// What BBR tells of itself.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Bbr {
    /// Estimated bandwidth.
    pub bandwidth_bytes_per_s: u64,
    /// Shortest round-trip time of the last seconds.
    pub min_rtt_us: Option<u32>,
    /// Pacing gain.
    pub pacing_gain: f64,
    /// Gain of the congestion window.
    pub cwnd_gain: f64,
}

/// What Vegas and its like tell of themselves.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Vegas {
    /// Whether it is at work.
    pub enabled: bool,
    /// Round-trip times that were measured since the window last changed.
    pub rtt_count: u32,
    /// The latest or the mean of them, by congestion control.
    pub rtt_us: u32,
    /// The shortest round-trip time.
    pub min_rtt_us: Option<u32>,
}

/// What DCTCP tells of itself.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Dctcp {
    /// Whether it is at work: ECN was negotiated.
    pub enabled: bool,
    /// Whether the latest segment that was received was marked.
    pub ce_state: bool,
    /// Share of marked bytes, 0 to 1.
    pub alpha: f64,
    /// Bytes of the current window that were acknowledged as marked.
    pub ab_ecn_bytes: u32,
    /// All bytes of it that were acknowledged.
    pub ab_tot_bytes: u32,
}

/// `struct tcp_info`, field by field.
#[derive(Clone, Copy, Debug)]
pub struct Info<'a>(pub &'a TcpInfo);

impl<'a> Socket<'a> {
    /// What was known of a socket at `time`.
    #[must_use]
    pub fn of(socket: &'a tcptop_core::Socket, time: Time) -> Self {
        let details = socket.congestion.and_then(|congestion| congestion.details);
        let nonzero = |number: u32| Some(number).filter(|number| *number != 0);
        Self {
            time,
            cookie: Some(socket.cookie).filter(|cookie| *cookie != 0),
            state: Label(socket.state),
            timer: socket.timer.map(|tcptop_core::Timer { kind, expires_ms, count }| Timer {
                kind: Label(kind),
                expires_ms,
                count,
            }),
            recv_queue: socket.receive_queue,
            send_queue: socket.send_queue,
            uid: socket.user,
            inode: nonzero(socket.inode),
            cgroup_id: socket.cgroup,
            bound_interface: nonzero(socket.interface),
            tos: socket.tos,
            traffic_class: socket.traffic_class,
            shutdown: socket.shutdown,
            mark: socket.mark,
            options: socket.options.map(|options| options.names().collect()).unwrap_or_default(),
            memory: socket.memory.map(Memory::from),
            congestion_control: socket.congestion.as_ref().map(|congestion| congestion.algorithm.name()),
            bbr: details.and_then(bbr),
            vegas: details.and_then(vegas),
            dctcp: details.and_then(dctcp),
            tcp_info: socket.info.as_ref().map(Info),
        }
    }
}

impl From<tcptop_core::SocketMemory> for Memory {
    fn from(memory: tcptop_core::SocketMemory) -> Self {
        let tcptop_core::SocketMemory { receive_alloc, receive_buffer, send_alloc, send_buffer, .. } = memory;
        let tcptop_core::SocketMemory { forward_alloc, send_queued, option_memory, backlog, drops, .. } =
            memory;
        Self {
            receive_alloc,
            receive_buffer,
            send_alloc,
            send_buffer,
            forward_alloc,
            send_queued,
            option_memory,
            backlog,
            drops,
        }
    }
}

fn bbr(details: CongestionDetails) -> Option<Bbr> {
    let CongestionDetails::Bbr { bandwidth, min_rtt_us, pacing_gain, cwnd_gain } = details else {
        return None;
    };
    let gain = |parts: u32| f64::from(parts) / 256.0;
    Some(Bbr {
        bandwidth_bytes_per_s: bandwidth,
        min_rtt_us,
        pacing_gain: gain(pacing_gain),
        cwnd_gain: gain(cwnd_gain),
    })
}

fn vegas(details: CongestionDetails) -> Option<Vegas> {
    let CongestionDetails::Vegas { is_enabled, rtt_count, rtt_us, min_rtt_us } = details else { return None };
    Some(Vegas { enabled: is_enabled, rtt_count, rtt_us, min_rtt_us })
}

fn dctcp(details: CongestionDetails) -> Option<Dctcp> {
    let CongestionDetails::Dctcp { is_enabled, is_marked, alpha, marked_bytes, acked_bytes } = details else {
        return None;
    };
    Some(Dctcp {
        enabled: is_enabled,
        ce_state: is_marked,
        alpha: f64::from(alpha) / 1_024.0,
        ab_ecn_bytes: marked_bytes,
        ab_tot_bytes: acked_bytes,
    })
}

impl Serialize for Info<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(InfoField::ALL.iter().map(|field| (field.layout().name, self.0.get(*field))))
    }
}

impl JsonSchema for Info<'_> {
    fn schema_name() -> Cow<'static, str> {
        "tcp_info".into()
    }

    fn json_schema(_: &mut SchemaGenerator) -> Schema {
        let field = |field: &InfoField| {
            let layout = field.layout();
            let schema = json!({
                "description": layout.meaning,
                "type": ["integer", "null"],
                "format": "uint64",
                "minimum": 0,
            });
            (layout.name.to_owned(), schema)
        };
        let properties: Map<String, Value> = InfoField::ALL.iter().map(field).collect();
        let required: Vec<&str> = InfoField::ALL.iter().map(|field| field.layout().name).collect();
        json_schema!({ "type": "object", "properties": properties, "required": required })
    }
}
