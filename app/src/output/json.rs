//! One JSON object a line, flat. A value that is not known is `null`.
//!
//! `schema` is raised when a field changes its meaning or goes away; new fields may come at any time.

use probe_common::encapsulation::PassedOver;
use serde::Serialize;
use serde_json::{Map, Value};

use super::RenderContext;
use super::format::address;
use tcptop_core::snapshot::{Figures, Snapshot};
use tcptop_core::table::{FlowReport, Leg, Party, RetransmitReport, Role};

const SCHEMA: u32 = 1;

/// What `handshake` and `close` objects share.
#[derive(Serialize)]
struct Head {
    schema: u32,
    r#type: &'static str,
    time: String,
    interface: String,
    encapsulation: Option<&'static str>,
    role: Option<&'static str>,
    local_ip: String,
    local_port: u16,
    remote_ip: String,
    remote_port: u16,
    outcome: &'static str,
}

#[derive(Serialize)]
struct Handshake {
    #[serde(flatten)]
    head: Head,
    tries: Option<u32>,
    syn_acks: Option<u32>,
    server_leg_ns: Option<u64>,
    client_leg_ns: Option<u64>,
    rtt_ns: Option<u64>,
    turnaround_ns: Option<u64>,
    setup_ns: Option<u64>,
    refusal_ns: Option<u64>,
    ambiguous: bool,
    refusal_min_ns: Option<u64>,
    refusal_max_ns: Option<u64>,
    server_leg_min_ns: Option<u64>,
    server_leg_max_ns: Option<u64>,
    client_leg_min_ns: Option<u64>,
    client_leg_max_ns: Option<u64>,
}

#[derive(Serialize)]
struct Close {
    #[serde(flatten)]
    head: Head,
    lifetime_ns: Option<u64>,
    closed_by: Option<&'static str>,
    sent_segments: u64,
    sent_bytes: u64,
    sent_retransmits: u64,
    received_segments: u64,
    received_bytes: u64,
    received_retransmits: u64,
}

#[derive(Serialize)]
struct Retransmit {
    #[serde(flatten)]
    head: Head,
    kind: &'static str,
    sent_by: &'static str,
    seq: u32,
    length: u32,
    segments: u32,
    after_ns: Option<u64>,
}

#[derive(Serialize)]
struct Summary {
    schema: u32,
    r#type: &'static str,
    time: String,
    interfaces: String,
    duration_ns: u64,
    filter: Option<String>,
    handshakes: u64,
    pending: u64,
    established: u64,
    refused: u64,
    unanswered: u64,
    half_open: u64,
    reset: u64,
    unknown: u64,
    repeated_syns: u64,
    data_segments: u64,
    data_retransmits: u64,
    rtt_samples: u64,
    rtt_p50_ns: Option<u64>,
    rtt_p90_ns: Option<u64>,
    rtt_p99_ns: Option<u64>,
    rtt_max_ns: Option<u64>,
    records: u64,
    unmatched: u64,
    copies: u64,
    passed_over: u64,
    passed_over_by_kind: Map<String, Value>,
    lost: u64,
    #[serde(flatten)]
    lost_by_kind: Map<String, Value>,
}

/// The outcome of one handshake.
#[must_use]
pub fn handshake(flow: &FlowReport, context: &RenderContext) -> String {
    let exact = |leg: Option<Leg>| leg.and_then(Leg::exact);
    let (server_leg_min_ns, server_leg_max_ns) = bounds(flow.server_leg);
    let (refusal_min_ns, refusal_max_ns) = bounds(flow.refusal);
    let (client_leg_min_ns, client_leg_max_ns) = bounds(flow.client_leg);
    line(&Handshake {
        head: head("handshake", flow, flow.changed_ns, context),
        tries: flow.tries,
        syn_acks: flow.syn_acks,
        server_leg_ns: exact(flow.server_leg),
        client_leg_ns: exact(flow.client_leg),
        rtt_ns: exact(flow.rtt()),
        turnaround_ns: exact(flow.turnaround()),
        setup_ns: flow.setup_ns,
        refusal_ns: exact(flow.refusal),
        ambiguous: flow.is_ambiguous(),
        refusal_min_ns,
        refusal_max_ns,
        server_leg_min_ns,
        server_leg_max_ns,
        client_leg_min_ns,
        client_leg_max_ns,
    })
}

/// The end of a connection.
#[must_use]
pub fn close(flow: &FlowReport, context: &RenderContext) -> String {
    let [sent, received] = flow.volumes;
    line(&Close {
        head: head("close", flow, flow.changed_ns, context),
        lifetime_ns: flow.lifetime_ns,
        closed_by: flow.closed_by.map(Party::name),
        sent_segments: sent.segments,
        sent_bytes: sent.bytes,
        sent_retransmits: sent.retransmits,
        received_segments: received.segments,
        received_bytes: received.bytes,
        received_retransmits: received.retransmits,
    })
}

/// Something that was sent again.
#[must_use]
pub fn retransmit(resent: &RetransmitReport, context: &RenderContext) -> String {
    line(&Retransmit {
        head: head("retransmit", &resent.flow, resent.time_ns, context),
        kind: resent.kind.name(),
        sent_by: resent.by.name(),
        seq: resent.seq,
        length: resent.len,
        segments: resent.segments,
        after_ns: resent.after_ns,
    })
}

/// The last object: totals, and what is missing from them.
#[must_use]
pub fn summary(snapshot: &Snapshot, context: &RenderContext) -> String {
    let Figures { outcomes, rtt } = &snapshot.total;
    let lost = snapshot.losses.iter();
    line(&Summary {
        schema: SCHEMA,
        r#type: "summary",
        time: rfc3339(snapshot.taken_ns, context),
        interfaces: context.all_interfaces(),
        duration_ns: snapshot.taken_ns.saturating_sub(snapshot.counted_ns),
        filter: Some(&snapshot.query.filter).filter(|filter| !filter.is_empty()).map(ToString::to_string),
        handshakes: snapshot.told,
        pending: snapshot.told.saturating_sub(outcomes.decided()),
        established: outcomes.established,
        refused: outcomes.refused,
        unanswered: outcomes.unanswered,
        half_open: outcomes.half_open,
        reset: outcomes.reset,
        unknown: outcomes.unknown,
        repeated_syns: outcomes.repeated,
        data_segments: outcomes.sent,
        data_retransmits: outcomes.resent,
        rtt_samples: rtt.map_or(0, |rtt| rtt.samples),
        rtt_p50_ns: rtt.map(|rtt| rtt.p50_ns),
        rtt_p90_ns: rtt.map(|rtt| rtt.p90_ns),
        rtt_p99_ns: rtt.map(|rtt| rtt.p99_ns),
        rtt_max_ns: rtt.map(|rtt| rtt.max_ns),
        records: snapshot.records,
        unmatched: snapshot.unmatched,
        copies: snapshot.copies,
        passed_over: snapshot.passed_over.iter().map(|(_, count)| count).sum(),
        passed_over_by_kind: passed_over(&snapshot.passed_over),
        lost: snapshot.losses.total(),
        lost_by_kind: lost.map(|(kind, count)| (format!("lost_{kind}"), count.into())).collect(),
    })
}

/// What was not TCP, by its name.
fn passed_over(counts: &[(Option<PassedOver>, u64)]) -> Map<String, Value> {
    let name = |what: &Option<PassedOver>| what.map_or_else(|| "others".to_owned(), |what| what.to_string());
    counts.iter().map(|(what, count)| (name(what), (*count).into())).collect()
}

fn head(kind: &'static str, flow: &FlowReport, time_ns: u64, context: &RenderContext) -> Head {
    Head {
        schema: SCHEMA,
        r#type: kind,
        time: rfc3339(time_ns, context),
        interface: context.interface(flow.interface),
        encapsulation: flow.encapsulation.name(),
        role: flow.role.map(Role::name),
        local_ip: address(&flow.local.address),
        local_port: flow.local.port,
        remote_ip: address(&flow.remote.address),
        remote_port: flow.remote.port,
        outcome: flow.outcome.name(),
    }
}

fn bounds(leg: Option<Leg>) -> (Option<u64>, Option<u64>) {
    match leg {
        Some(Leg::Between { min_ns, max_ns }) => (Some(min_ns), Some(max_ns)),
        Some(Leg::Exact(_)) | None => (None, None),
    }
}

/// UTC with nanoseconds: `2026-01-02T03:04:05.000000006Z` (RFC 3339).
fn rfc3339(monotonic_ns: u64, context: &RenderContext) -> String {
    format!("{:.9}", context.anchor.wall(monotonic_ns))
}

fn line(object: &impl Serialize) -> String {
    serde_json::to_string(object).expect("strings, numbers and nulls under string keys")
}
