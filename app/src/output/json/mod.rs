//! One JSON object a line, for programs.

pub mod kernel;
pub mod label;
pub mod objects;
pub mod schema;
pub mod socket;
pub mod states;
pub mod stats;

use super::explain::{Explanation, explain};
use super::kernel_retransmits::Resent;
use super::line_writer::Lines;
use super::{Output, RenderContext, since_start};
use label::{Label, MissedPackets, MissedRecords};
use objects::{
    AcceptQueue, AllWitnesses, AlsoAt, Close, Connection, Direction, Drop, Figures, Handshake, Head,
    HostCounters, Ip, Object, Owner, PassedOver, Peer, PeerVerdict, Process, Report, Retransmit,
    RetransmitCauses, SchemaNumber, Strangers, Summary, Thresholds, Time, Witnesses,
};
use probe_common::encapsulation::Encapsulation;
use socket::Socket;
use tcptop_core::{
    Event, Flow, Group, Host, HostCounter, Leg, Missed, Outcome, Party, Percentiles, Query, RetransmitCause,
    Role, Row, RowKey, Sighting, Slow, Snapshot, SnapshotRequest, Why, Workload,
};

/// The output of objects.
#[derive(Clone, Copy, Debug)]
pub struct Json;

impl Output for Json {
    fn takes_events(&self) -> bool {
        true
    }

    fn event(&mut self, happened: &Event, context: &RenderContext, lines: &mut Lines) {
        push(&event(happened, context), lines);
    }

    fn closing_request(&self, query: &Query) -> Option<SnapshotRequest> {
        Some(request(query))
    }

    fn close(&mut self, snapshot: &Snapshot, context: &RenderContext, lines: &mut Lines) {
        closing(snapshot, context).for_each(|object| push(&object, lines));
    }
}

/// The snapshot that the last objects are made of: peers one by one, however people want them grouped.
#[must_use]
pub fn request(query: &Query) -> SnapshotRequest {
    since_start(Query { group: Group::Peer, ..query.clone() })
}

/// Adds an object as a line.
pub fn push(object: &Object<'_>, lines: &mut Lines) {
    lines.push(|bytes| {
        serde_json::to_writer(bytes, object).expect("memory takes it, and every key is a string");
    });
}

/// What was decided, as an object.
#[must_use]
pub fn event<'a>(event: &'a Event, context: &'a RenderContext) -> Object<'a> {
    match event {
        Event::Handshake(flow) => Object::Handshake(handshake(flow, None, context)),
        Event::Correction(flow, told) => Object::Handshake(handshake(flow, Some(*told), context)),
        Event::Close(flow) => Object::Close(close(flow, context)),
        Event::Retransmit(resent) => Object::Retransmit(retransmit(resent, context)),
        Event::KernelRetransmit(sent) => {
            Object::KernelRetransmit(Box::new(kernel::retransmit(&Resent::of(sent), context)))
        }
    }
}

/// The last objects: each peer of the snapshot, then the summary.
pub fn closing<'a>(snapshot: &'a Snapshot, context: &'a RenderContext) -> impl Iterator<Item = Object<'a>> {
    let summary = Object::Summary(summary(snapshot, context));
    peers(snapshot, context).map(Object::Peer).chain([summary])
}

/// The same in one object.
#[must_use]
pub fn report<'a>(snapshot: &'a Snapshot, context: &'a RenderContext) -> Object<'a> {
    Object::Report(Report {
        schema: SchemaNumber,
        summary: summary(snapshot, context),
        peers: peers(snapshot, context).collect(),
    })
}

fn handshake<'a>(flow: &'a Flow, corrects: Option<Outcome>, context: &'a RenderContext) -> Handshake<'a> {
    let exact = |leg: Option<Leg>| leg.and_then(Leg::exact);
    let (server_leg_min_ns, server_leg_max_ns) = bounds(flow.server_leg());
    let (refusal_min_ns, refusal_max_ns) = bounds(flow.refusal());
    let (unreachable_min_ns, unreachable_max_ns) = bounds(flow.unreachable_after());
    let (client_leg_min_ns, client_leg_max_ns) = bounds(flow.client_leg());
    Handshake {
        connection: connection(flow, flow.changed_ns(), context),
        corrects: corrects.map(Label),
        tries: flow.tries(),
        syn_acks: flow.syn_acks(),
        rtt_ns: exact(flow.rtt()),
        server_leg_ns: exact(flow.server_leg()),
        client_leg_ns: exact(flow.client_leg()),
        turnaround_ns: exact(flow.turnaround()),
        setup_ns: flow.setup_ns(),
        refusal_ns: exact(flow.refusal()),
        unreachable_ns: exact(flow.unreachable_after()),
        aborted: flow.is_aborted(),
        ambiguous: flow.is_ambiguous(),
        server_leg_min_ns,
        server_leg_max_ns,
        client_leg_min_ns,
        client_leg_max_ns,
        refusal_min_ns,
        refusal_max_ns,
        unreachable_min_ns,
        unreachable_max_ns,
        also_at: also_at(flow, context),
    }
}

/// What further interfaces show of it, if any does.
fn also_at<'a>(flow: &'a Flow, context: &'a RenderContext) -> Option<Vec<AlsoAt<'a>>> {
    let exact = |leg: Option<Leg>| leg.and_then(Leg::exact);
    let at = |sighting: &'a Sighting| {
        let here = sighting.flow();
        let [sent, received] = sighting.volumes(flow);
        let ends = sighting.translated(flow);
        let [client, server] = [0, 1].map(|end| ends.map(|ends| ends[end]));
        AlsoAt {
            interface: context.interface_name(here.interface()),
            first_seen: time(here.first_ns(), context),
            client_ip: client.map(|end| Ip(end.address)),
            client_port: client.map(|end| end.port),
            server_ip: server.map(|end| Ip(end.address)),
            server_port: server.map(|end| end.port),
            tries: here.tries(),
            syn_acks: here.syn_acks(),
            server_leg_ns: exact(here.server_leg()),
            client_leg_ns: exact(here.client_leg()),
            refusal_ns: exact(here.refusal()),
            sent_data_segments: sent.segments,
            sent_data_retransmits: sent.retransmits,
            received_data_segments: received.segments,
            received_data_retransmits: received.retransmits,
        }
    };
    let all: Vec<AlsoAt<'_>> = flow.sightings().iter().map(at).collect();
    (!all.is_empty()).then_some(all)
}

fn bounds(leg: Option<Leg>) -> (Option<u64>, Option<u64>) {
    match leg {
        Some(Leg::Between { min_ns, max_ns }) => (Some(min_ns), Some(max_ns)),
        Some(Leg::Exact(_)) | None => (None, None),
    }
}

fn close<'a>(flow: &'a Flow, context: &'a RenderContext) -> Close<'a> {
    let [sent, received] = flow.volumes();
    Close {
        connection: connection(flow, flow.changed_ns(), context),
        lifetime_ns: flow.lifetime_ns(),
        closed_by: flow.closed_by().map(Label),
        aborted: flow.is_aborted(),
        sent_data_segments: sent.segments,
        sent_data_retransmits: sent.retransmits,
        sent_bytes: sent.bytes,
        received_data_segments: received.segments,
        received_data_retransmits: received.retransmits,
        received_bytes: received.bytes,
        retransmit_witnesses: flow
            .retransmit_witnesses()
            .map(|both| Witnesses { wire: both.wire, kernel: both.kernel }),
        retransmit_causes: flow.retransmit_causes().main().map(|_| causes(&flow.retransmit_causes())),
        socket: flow
            .kernel_socket(Party::Local)
            .map(|known| Socket::of(&known.socket, time(known.at_ns, context))),
        also_at: also_at(flow, context),
    }
}

fn retransmit<'a>(resent: &'a tcptop_core::Retransmit, context: &'a RenderContext) -> Retransmit<'a> {
    Retransmit {
        connection: connection(&resent.flow, resent.time_ns, context),
        kind: Label(resent.kind),
        sent_by: Label(resent.by),
        seq: resent.seq,
        payload_bytes: resent.len,
        segments: resent.segments,
        after_ns: resent.after_ns,
        no_loss: resent.no_loss.map(Label),
        cause: resent.cause.map(Label),
        timeouts: resent.timeouts,
    }
}

const fn causes(causes: &tcptop_core::RetransmitCauses) -> RetransmitCauses {
    RetransmitCauses {
        timeout: causes.of(RetransmitCause::Timeout),
        slow_start: causes.of(RetransmitCause::SlowStart),
        fast: causes.of(RetransmitCause::Fast),
        tail_loss_probe: causes.of(RetransmitCause::TailLossProbe),
        unknown: causes.unknown(),
        spurious: causes.spurious(),
    }
}

fn connection<'a>(flow: &'a Flow, time_ns: u64, context: &'a RenderContext) -> Connection<'a> {
    let (icmp, path_mtu) = (flow.icmp_error(), flow.path_mtu());
    let (reset, ttls) = (flow.reset(), flow.strange_reset_ttl());
    Connection {
        head: head(time_ns, context),
        interface: context.interface_name(flow.interface()),
        encapsulation: Some(flow.encapsulation())
            .filter(|&encapsulation| encapsulation != Encapsulation::None)
            .map(Label),
        connection: flow.id(),
        role: flow.role().map(Label),
        local_ip: Ip(flow.local().address),
        local_port: Some(flow.local().port).filter(|&port| port > 0),
        remote_ip: Ip(flow.remote().address),
        remote_port: flow.remote().port,
        owner: flow.owner(Party::Local).map(owner),
        remote_owner: flow.owner(Party::Remote).map(owner),
        client_isn: flow.client_isn(),
        server_isn: flow.server_isn(),
        icmp_error: icmp.map(|error| Label(error.reason)),
        icmp_type: icmp.map(|error| error.icmp_type),
        icmp_code: icmp.map(|error| error.code),
        icmp_from: icmp.map(|error| Ip(error.sender)),
        icmp_count: icmp.map(|error| error.count),
        path_mtu: path_mtu.and_then(|path_mtu| path_mtu.mtu),
        path_mtu_from: path_mtu.map(|path_mtu| Ip(path_mtu.router)),
        stuck_segment_bytes: flow.stuck_bytes(),
        failure: flow.failure().map(|failure| Label(failure.cause)),
        errno: flow.failure().and_then(|failure| failure.errno),
        reset_by: reset.map(|reset| Label(reset.by)),
        reset_stage: reset.map(|reset| Label(reset.stage)),
        reset_reason: reset.and_then(|reset| reset.reason).map(Label),
        reset_ttl: ttls.map(|[ttl, _]| ttl),
        reset_usual_ttl: ttls.map(|[_, usual]| usual),
        accept_queue: flow.accept_queue().map(|queue| accept_queue(queue, context)),
        outcome: Label(flow.outcome()),
    }
}

pub(super) fn owner(owner: &tcptop_core::Owner) -> Owner<'_> {
    Owner { evidence: Label(owner.evidence), others: owner.others, process: process(&owner.process) }
}

fn process(process: &tcptop_core::Process) -> Process<'_> {
    let workload = |text: fn(&Workload) -> &Option<String>| text(process.workload.as_deref()?).as_deref();
    Process {
        pid: process.pid,
        process: &process.name,
        is_thread_name: process.is_thread_name,
        executable: process.executable.as_deref(),
        uid: process.user,
        unit: workload(|workload| &workload.unit),
        container: workload(|workload| &workload.container),
        container_id: workload(|workload| &workload.container_id),
        pod: workload(|workload| &workload.pod),
        namespace: workload(|workload| &workload.namespace),
    }
}

fn accept_queue(queue: tcptop_core::AcceptQueue, context: &RenderContext) -> AcceptQueue {
    let tcptop_core::AcceptQueue { waiting, limit, at_ns } = queue;
    AcceptQueue { waiting, limit, time: time(at_ns, context) }
}

fn head(time_ns: u64, context: &RenderContext) -> Head<'_> {
    Head {
        schema: SchemaNumber,
        time: time(time_ns, context),
        host: context.host.as_deref(),
        run: &context.run,
    }
}

fn time(time_ns: u64, context: &RenderContext) -> Time {
    Time(context.anchor.wall(time_ns))
}

fn peers<'a>(snapshot: &'a Snapshot, context: &'a RenderContext) -> impl Iterator<Item = Peer<'a>> {
    snapshot.rows.iter().filter_map(move |row| peer(row, snapshot, context))
}

/// `None` for what several peers have in common.
fn peer<'a>(row: &Row, snapshot: &'a Snapshot, context: &'a RenderContext) -> Option<Peer<'a>> {
    let RowKey::Peer(key) = row.key else { return None };
    let processes = snapshot.owners.rows.get(&row.key);
    let queue = snapshot.sockets.get(&row.key).and_then(|sockets| sockets.accept_queue);
    let verdict =
        |(verdict, since_ns)| PeerVerdict { verdict: Label(verdict), since: time(since_ns, context) };
    let Explanation { sentences, next } = explain(row, snapshot, context).unwrap_or_default();
    Some(Peer {
        head: head(snapshot.taken_ns, context),
        interface: context.interface_name(key.interface),
        direction: match key.role {
            Role::Client | Role::Local | Role::Observer => Direction::Outbound,
            Role::Server => Direction::Inbound,
            Role::Forwarded => Direction::Forwarded,
        },
        remote_ip: Ip(key.service.address),
        service_port: key.service.port,
        first_seen: time(row.first_ns, context),
        verdicts: row.present.iter().map(verdict).collect(),
        why: row.why.map(Why::label),
        explanation: sentences,
        next_steps: next,
        accept_queue: queue.map(|queue| accept_queue(queue, context)),
        processes: processes.map(|processes| processes.iter().map(process).collect()).unwrap_or_default(),
        figures: figures(&row.figures),
    })
}

fn summary<'a>(snapshot: &'a Snapshot, context: &'a RenderContext) -> Summary<'a> {
    let (filter, missed) = (&snapshot.query.filter, &snapshot.missed);
    Summary {
        head: head(snapshot.taken_ns, context),
        version: env!("CARGO_PKG_VERSION"),
        source: context.source,
        interfaces: context.interfaces.values().map(String::as_str).collect(),
        not_known: &context.not_known,
        filter: (!filter.is_empty()).then(|| filter.to_string()),
        since: time(snapshot.counted_ns, context),
        duration_ns: snapshot.taken_ns.saturating_sub(snapshot.counted_ns),
        thresholds: thresholds(&snapshot.thresholds),
        peers: snapshot.matching as u64,
        peers_omitted: snapshot.matching.saturating_sub(snapshot.rows.len()) as u64,
        figures: figures(&snapshot.total),
        records: snapshot.records,
        unmatched: snapshot.unmatched,
        icmp_errors: snapshot.icmp.matched,
        icmp_unmatched: snapshot.icmp.unmatched,
        icmp_tunnel: snapshot.icmp.tunnel,
        host_counters: snapshot.host.as_ref().map(host_counters),
        retransmit_witnesses: snapshot.witness.map(|witness| AllWitnesses {
            wire: witness.wire,
            kernel: witness.segments,
            kernel_of_connections: witness.of_connections,
            differing_connections: witness.differing,
            missed: witness.missed,
        }),
        drops: snapshot.drops.as_ref().map(|drops| drops.iter().map(dropped).collect()),
        copies: snapshot.copies,
        passed_over: snapshot.passed_over.iter().map(|(_, packets)| packets).sum(),
        passed_over_by_kind: snapshot.passed_over.iter().map(passed_over).collect(),
        strangers: strangers(&snapshot.strangers),
        missed: missed.total(),
        missed_records: MissedRecords(missed),
        missed_packets: MissedPackets(missed),
        missed_flows: missed.of_kind(Missed::Flow),
        missed_kernel_flows: missed.of_kind(Missed::KernelFlow),
        missed_peers: missed.of_kind(Missed::Peer),
        missed_lines: missed.of_kind(Missed::Line),
    }
}

fn dropped(tcptop_core::Dropped { reason, port, is_syn, count }: &tcptop_core::Dropped) -> Drop<'_> {
    Drop { reason, port: *port, syn: *is_syn, count: *count }
}

fn host_counters(host: &Host) -> HostCounters<'_> {
    HostCounters {
        retransmitted_segments: host.of(HostCounter::RetransSegs),
        syn_retransmits: host.of(HostCounter::SynRetrans),
        seen_retransmitted_segments: host.retransmits.map(|check| check.seen),
        seen_syn_retransmits: host.syn_retransmits.map(|check| check.seen),
        unwatched_interfaces: &host.unwatched,
        timeouts: host.of(HostCounter::Timeouts),
        loss_probes: host.of(HostCounter::LossProbes),
        fast_retransmits: host.of(HostCounter::FastRetrans),
        listen_overflows: host.of(HostCounter::ListenOverflows),
        listen_drops: host.of(HostCounter::ListenDrops),
        syn_cookies_sent: host.of(HostCounter::CookiesSent),
        syn_cookies_received: host.of(HostCounter::CookiesReceived),
        syn_cookies_failed: host.of(HostCounter::CookiesFailed),
        syn_queue_full_cookies: host.of(HostCounter::SynQueueFullCookies),
        syn_queue_full_drops: host.of(HostCounter::SynQueueFullDrops),
        backlog_drops: host.of(HostCounter::BacklogDrops),
        receive_queue_drops: host.of(HostCounter::ReceiveQueueDrops),
        memory_aborts: host.of(HostCounter::MemoryAborts),
        conntrack_insert_failed: host.of(HostCounter::ConntrackInsertFailed),
        conntrack_drops: host.of(HostCounter::ConntrackDrops),
        conntrack_early_drops: host.of(HostCounter::ConntrackEarlyDrops),
        conntrack_entries: host.conntrack.map(|conntrack| conntrack.entries),
        conntrack_max: host.conntrack.map(|conntrack| conntrack.max),
    }
}

fn strangers(strangers: &tcptop_core::Strangers) -> Strangers {
    let tcptop_core::Strangers { addresses, total, evicted, .. } = strangers;
    let (addresses, addresses_exact) = (addresses.number, addresses.is_exact);
    Strangers { addresses, addresses_exact, attempts: total.attempts(), evicted: *evicted }
}

fn passed_over((what, packets): &(Option<probe_common::PassedOver>, u64)) -> PassedOver {
    PassedOver { what: what.map(|what| what.to_string()), packets: *packets }
}

fn figures(figures: &tcptop_core::Figures) -> Figures {
    let tcptop_core::Figures { counts, rtt, setup, refusals } = figures;
    let rtt_ns = |percentile: fn(&Percentiles) -> u64| rtt.as_ref().map(percentile);
    let setup_ns = |percentile: fn(&Percentiles) -> u64| setup.as_ref().map(percentile);
    Figures {
        handshakes: counts.attempts(),
        established: counts.of(Outcome::Established),
        refused: counts.of(Outcome::Refused),
        unreachable: counts.of(Outcome::Unreachable),
        failed_locally: counts.of(Outcome::FailedLocally),
        unanswered: counts.of(Outcome::Unanswered),
        half_open: counts.of(Outcome::HalfOpen),
        reset: counts.of(Outcome::Reset),
        challenged: counts.of(Outcome::Challenged),
        unknown: counts.of(Outcome::Unknown),
        pending: counts.of(Outcome::Pending),
        segments: counts.segments(),
        retransmits: counts.retransmits(),
        sent_retransmits: counts.sent_retransmits(),
        received_retransmits: counts.received_retransmits,
        arrived_retransmits: counts.arrived(),
        retransmit_causes: causes(&counts.retransmit_causes()),
        stuck_connections: counts.stuck,
        handshake_retransmits: counts.repeated,
        data_segments: counts.sent,
        data_retransmits: counts.retransmitted,
        rtt_samples: rtt.map_or(0, |rtt| rtt.samples),
        rtt_p50_ns: rtt_ns(|rtt| rtt.p50_ns),
        rtt_p90_ns: rtt_ns(|rtt| rtt.p90_ns),
        rtt_p99_ns: rtt_ns(|rtt| rtt.p99_ns),
        rtt_max_ns: rtt_ns(|rtt| rtt.max_ns),
        setup_samples: setup.map_or(0, |setup| setup.samples),
        setup_p50_ns: setup_ns(|setup| setup.p50_ns),
        setup_p90_ns: setup_ns(|setup| setup.p90_ns),
        setup_p99_ns: setup_ns(|setup| setup.p99_ns),
        setup_max_ns: setup_ns(|setup| setup.max_ns),
        slow_setups: counts.slow_setups,
        aborted: counts.aborted,
        refusal_min_ns: refusals.map(|refusals| refusals.bounds().0),
        refusal_max_ns: refusals.map(|refusals| refusals.bounds().1),
    }
}

#[allow(clippy::cast_precision_loss, reason = "a multiple of thousandths, as it was typed")]
fn thresholds(thresholds: &tcptop_core::Thresholds) -> Thresholds {
    let (slow_rtt_p90_ns, slow_rtt_p90_medians) = match thresholds.slow {
        Slow::From(ns) => (Some(ns), None),
        Slow::Usual(thousandths) => (None, Some(thousandths as f64 / 1_000.0)),
    };
    Thresholds {
        unanswered_share: thresholds.unanswered.fraction(),
        failed_share: thresholds.failed.fraction(),
        unreachable_share: thresholds.unreachable.fraction(),
        refused_share: thresholds.refused.fraction(),
        aborted_share: thresholds.aborted.fraction(),
        slow_setup_ns: thresholds.slow_setup_ns,
        slow_setup_share: tcptop_core::Thresholds::SLOW_SETUP_SHARE.fraction(),
        loss_share: thresholds.loss.fraction(),
        min_attempts: thresholds.min_attempts,
        slow_rtt_p90_ns,
        slow_rtt_p90_medians,
    }
}
