//! Changes of the states of sockets, as objects and as lines.

use probe_common::Endpoint;
use schemars::JsonSchema;
use serde::Serialize;

use super::label::Label;
use super::objects::{Head, Ip, Time};
use crate::output::RenderContext;
use crate::output::format::{counted, duration, endpoint};
use tcptop_core::SocketState;

/// A change of a socket's state.
#[derive(Clone, Copy, Debug)]
pub struct Change {
    /// When, in nanoseconds of the monotonic clock.
    pub time_ns: u64,
    /// The socket's cookie.
    pub cookie: u64,
    /// The socket's own end.
    pub local: Endpoint,
    /// The other end.
    pub remote: Endpoint,
    /// The state before.
    pub from: SocketState,
    /// The state after.
    pub to: SocketState,
    /// The smoothed round-trip time, in microseconds.
    pub srtt_us: Option<u32>,
    /// Segments that the socket has retransmitted.
    pub retransmits: u32,
}

/// Counts over a run.
#[derive(Clone, Copy, Debug)]
pub struct Totals {
    /// When it began, in nanoseconds of the monotonic clock.
    pub since_ns: u64,
    /// When it ended.
    pub until_ns: u64,
    /// Changes that were read, whatever the filter.
    pub changes: u64,
    /// Changes that were missed.
    pub missed: u64,
    /// Lines that were dropped.
    pub missed_lines: u64,
}

/// A change of a socket's state (RFC 9293).
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StateChange<'a> {
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
    /// Number of the socket, the same as in `ss -e`.
    pub cookie: u64,
    /// The state before.
    pub old_state: Label<SocketState>,
    /// The state after.
    pub new_state: Label<SocketState>,
    /// The smoothed round-trip time at that moment. Null while none was measured.
    pub srtt_us: Option<u32>,
    /// Segments that the socket had retransmitted.
    pub retransmits: u32,
}

/// All changes of a run, whatever the filter.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub struct StateChanges<'a> {
    /// When and where.
    #[serde(flatten)]
    pub head: Head<'a>,
    /// When the run began.
    pub since: Time,
    /// Changes that were read.
    pub changes: u64,
    /// Changes that were missed, because tcptop did not keep up.
    pub missed: u64,
    /// Lines that this output's reader was too slow for.
    pub missed_lines: u64,
}

/// A change as an object.
#[must_use]
pub fn change<'a>(change: &Change, context: &'a RenderContext) -> StateChange<'a> {
    StateChange {
        head: super::head(change.time_ns, context),
        local_ip: Ip(change.local.address),
        local_port: change.local.port,
        remote_ip: Ip(change.remote.address),
        remote_port: change.remote.port,
        cookie: change.cookie,
        old_state: Label(change.from),
        new_state: Label(change.to),
        srtt_us: change.srtt_us,
        retransmits: change.retransmits,
    }
}

/// All of them as an object.
#[must_use]
pub fn totals<'a>(totals: &Totals, context: &'a RenderContext) -> StateChanges<'a> {
    StateChanges {
        head: super::head(totals.until_ns, context),
        since: super::time(totals.since_ns, context),
        changes: totals.changes,
        missed: totals.missed,
        missed_lines: totals.missed_lines,
    }
}

/// A change as a line for people.
///
/// `2026-01-02T14:02:31.123+01:00 10.0.0.1:40000 - 10.0.0.2:443 syn_sent -> established srtt 1.20ms cookie 7`
#[must_use]
pub fn line(change: &Change, context: &RenderContext) -> String {
    let srtt =
        change.srtt_us.map(|us| format!(" srtt {}", duration(u64::from(us) * 1_000))).unwrap_or_default();
    let resent = match change.retransmits {
        0 => String::new(),
        count => format!(" {}", counted(count.into(), "retransmit")),
    };
    format!(
        "{} {} - {} {} -> {}{srtt}{resent} cookie {}",
        context.timestamp(change.time_ns),
        endpoint(&change.local),
        endpoint(&change.remote),
        change.from.name(),
        change.to.name(),
        change.cookie
    )
}

/// What was counted.
#[must_use]
pub fn summary(totals: &Totals) -> String {
    format!(
        "--- {} in {}, missed: {}, {}",
        counted(totals.changes, "change"),
        duration(totals.until_ns.saturating_sub(totals.since_ns)),
        counted(totals.missed, "change"),
        counted(totals.missed_lines, "line")
    )
}
