//! What the kernel itself says of retransmits, as objects.

use schemars::JsonSchema;
use serde::Serialize;

use super::label::Label;
use super::objects::{Head, Ip, Owner, SchemaNumber, Time};
use crate::output::RenderContext;
use crate::output::kernel_retransmits::{Resent, Totals, error_name};
use tcptop_core::{RetransmitCause, RetransmitKind, Role, SocketState};

/// A segment that the kernel retransmitted, whichever interface and network namespace it passed.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct KernelRetransmit<'a> {
    /// When and where.
    #[serde(flatten)]
    pub head: Head<'a>,
    /// Address of this host's end.
    pub local_ip: Ip,
    /// Port of this host's end.
    pub local_port: u16,
    /// Address of the other end.
    pub remote_ip: Ip,
    /// Port of the other end.
    pub remote_port: u16,
    /// 4 also for the IPv4 connections of sockets of IPv6.
    pub ip_version: u8,
    /// `server` where a socket listens on the local port, else `client`.
    pub role: Label<Role>,
    /// What was retransmitted.
    pub kind: Label<RetransmitKind>,
    /// State of the socket at that moment. Null if the kernel has one that tcptop does not know.
    pub state: Option<Label<SocketState>>,
    /// Its first sequence number. Null for a SYN-ACK: the connection has no socket yet.
    pub seq: Option<u32>,
    /// Bytes of payload.
    pub payload_bytes: u32,
    /// Segments that it is on the wire: the network card cuts a large one into several.
    pub segments: u32,
    /// Why it was retransmitted: `timeout` (the retransmission timer ran out), `slow_start` (the rest of what was in flight then),
    /// `fast` (acknowledgements say that it was lost) or `tail_loss_probe`. Null where the kernel does not say, as for a SYN-ACK, of
    /// which it tells neither whether a timer ran out nor whether the SYN came again.
    pub cause: Option<Label<RetransmitCause>>,
    /// Of a `timeout`, how often the timer ran out since anything was acknowledged; 255 stands for more, too.
    pub timeouts: Option<u32>,
    /// Of a SYN-ACK, how often it was retransmitted, this time included. Null for all else.
    pub repeats: Option<u32>,
    /// What the kernel's attempt to send it returned: an error number of Linux; 0 if it was sent. Null for SYN-ACKs, and
    /// on kernels that do not tell of those that fail.
    pub error: Option<u32>,
    /// The name of the error: `ENOBUFS`. Null if there is none.
    pub error_name: Option<String>,
    /// Number of its network namespace: the inode of `/proc/PID/ns/net`.
    pub network_namespace: u32,
    /// Whether that is the one that tcptop runs in.
    pub is_own_namespace: bool,
    /// Number of the socket, the same as in `ss -e`. Null if it has none yet.
    pub cookie: Option<u64>,
    /// The process at this host's end. Null if it is not known.
    pub owner: Option<Owner<'a>>,
}

/// All that the kernel retransmitted during a run, whatever the filter. What was missed is in no other count.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct KernelRetransmits<'a> {
    /// When and where.
    #[serde(flatten)]
    pub head: Head<'a>,
    /// Version of tcptop.
    pub version: &'static str,
    /// What the kernel did not let be known although it was wanted: a sentence for each.
    pub not_known: &'a [String],
    /// The filter, as `--filter` takes it. It restricts the other objects, not these counts.
    pub filter: Option<String>,
    /// When counting began.
    pub since: Time,
    /// How long was counted.
    pub duration_ns: u64,
    /// Retransmits.
    pub retransmits: u64,
    /// Segments that they are on the wire.
    pub segments: u64,
    /// Segments by cause.
    pub causes: Causes,
    /// Retransmits that the kernel could not send. Null where it does not tell of them.
    pub failed: Option<u64>,
    /// Segments of the network namespace that tcptop runs in, between the two moments at which `retrans_segs` was read.
    pub own_segments: u64,
    /// How much the kernel's own count of them, `TcpRetransSegs`, grew between those moments. Null if it could not be read. It also
    /// counts what is missed, and what the kernel could not send.
    pub retrans_segs: Option<u64>,
    /// Segments of other network namespaces.
    pub other_segments: u64,
    /// How many other network namespaces these are of, as far as they are counted one by one: at most 4,096.
    pub other_namespaces: u64,
    /// Retransmits that were missed, because tcptop did not keep up.
    pub missed: u64,
    /// Segments of them.
    pub missed_segments: u64,
    /// Lines that this output's reader was too slow for.
    pub missed_lines: u64,
}

/// Segments by cause.
#[derive(Clone, Copy, Debug, Serialize, JsonSchema)]
pub struct Causes {
    /// The retransmission timer ran out.
    pub timeout: u64,
    /// The rest of what was in flight then.
    pub slow_start: u64,
    /// Acknowledgements say that they were lost.
    pub fast: u64,
    /// Nothing was acknowledged for two round-trip times.
    pub tail_loss_probe: u64,
    /// SYN-ACKs, and others of which the kernel does not say it.
    pub unknown: u64,
}

/// A retransmit as an object.
#[must_use]
pub fn retransmit<'a>(resent: &Resent<'a>, context: &'a RenderContext) -> KernelRetransmit<'a> {
    let record = resent.record;
    KernelRetransmit {
        head: super::head(record.time_ns, context),
        local_ip: Ip(record.local.address),
        local_port: record.local.port,
        remote_ip: Ip(record.remote.address),
        remote_port: record.remote.port,
        ip_version: if resent.is_v4() { 4 } else { 6 },
        role: Label(resent.role),
        kind: Label(resent.kind()),
        state: SocketState::of(record.state).map(Label),
        seq: record.seq,
        payload_bytes: record.len,
        segments: record.segments,
        cause: record.transmission.cause().map(Label),
        timeouts: record.transmission.timeouts(),
        repeats: record.repeats,
        error: record.error,
        error_name: record.error.and_then(error_name),
        network_namespace: record.namespace,
        is_own_namespace: resent.is_here,
        cookie: record.cookie,
        owner: resent.owner.map(super::owner),
    }
}

/// All of them as an object.
#[must_use]
pub fn totals<'a>(
    totals: &Totals,
    filter: Option<String>,
    context: &'a RenderContext,
) -> KernelRetransmits<'a> {
    let of = |cause: RetransmitCause| totals.by_cause[cause as usize];
    KernelRetransmits {
        head: Head { schema: SchemaNumber, ..super::head(totals.until_ns, context) },
        version: env!("CARGO_PKG_VERSION"),
        not_known: &context.not_known,
        filter,
        since: super::time(totals.since_ns, context),
        duration_ns: totals.until_ns.saturating_sub(totals.since_ns),
        retransmits: totals.retransmits,
        segments: totals.segments,
        causes: Causes {
            timeout: of(RetransmitCause::Timeout),
            slow_start: of(RetransmitCause::SlowStart),
            fast: of(RetransmitCause::Fast),
            tail_loss_probe: of(RetransmitCause::TailLossProbe),
            unknown: totals.segments.saturating_sub(totals.by_cause.iter().sum()),
        },
        failed: totals.failed,
        own_segments: totals.own_segments,
        retrans_segs: totals.retrans_segs,
        other_segments: totals.other_segments,
        other_namespaces: totals.other_namespaces,
        missed: totals.missed,
        missed_segments: totals.missed_segments,
        missed_lines: totals.missed_lines,
    }
}
