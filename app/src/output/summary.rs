//! A few lines at the end, like those of `ping`.

use probe_common::PassedOver;

use super::format::{self, age, causes, counted, duration, estimate, maybe_duration, percent};
use super::host;
use super::line_writer::Lines;
use super::{Output, RenderContext, since_start};
use tcptop_core::{Event, Verdict};
use tcptop_core::{
    Figures, IcmpCounts, Outcome, Percentiles, Query, Row, Snapshot, SnapshotRequest, Strangers,
};

/// The most peers with a verdict that are named.
const WORST: usize = 3;
/// The most kinds of packets without TCP that are named.
const KINDS: usize = 6;

/// The output of these lines.
#[derive(Clone, Copy, Debug)]
pub struct Summary;

impl Output for Summary {
    fn takes_events(&self) -> bool {
        false
    }

    fn event(&mut self, _: &Event, _: &RenderContext, _: &mut Lines) {}

    fn closing_request(&self, query: &Query) -> Option<SnapshotRequest> {
        Some(since_start(query.clone()))
    }

    fn close(&mut self, snapshot: &Snapshot, context: &RenderContext, lines: &mut Lines) {
        lines.push_text(&summary(snapshot, context));
    }
}

/// Time watched, handshakes, latencies, worst peers, and what was missed.
#[must_use]
pub fn summary(snapshot: &Snapshot, context: &RenderContext) -> String {
    let since = format!(" since {}", context.date_time(snapshot.counted_ns));
    let mut lines = vec![format!("--- tcptop {} ---", context.all_interfaces())];
    lines.extend(totals(snapshot, &since));
    lines.extend(filtered(snapshot));
    let mut failing = snapshot.rows.iter().filter(|row| row.verdict.is_some());
    lines.extend(failing.by_ref().take(WORST).map(|row| problem(row, snapshot, context)));
    // The rows are not all: what stands behind them in the order is not looked at.
    let (more, unseen) = (failing.count(), snapshot.matching.saturating_sub(snapshot.rows.len()));
    if more > 0 {
        let least = if unseen > 0 { "at least " } else { "" };
        lines.push(format!("and {least}{more} more with a verdict"));
    }
    lines.extend(stuck(snapshot, context));
    lines.extend(full_queues(snapshot, context));
    lines.extend(strangers(snapshot));
    lines.push(missed(snapshot));
    lines.extend(witnesses(snapshot));
    lines.extend(icmp(snapshot));
    lines.extend(passed_over(snapshot));
    lines.extend(host_lines(snapshot, context));
    lines.join("\n")
}

/// Counts and latencies of all. `since` stands behind the time that was watched.
pub(super) fn totals(snapshot: &Snapshot, since: &str) -> Vec<String> {
    let Figures { counts, rtt, setup, .. } = &snapshot.total;
    let watched_ns = snapshot.taken_ns.saturating_sub(snapshot.counted_ns);
    let all =
        Outcome::DECIDED.into_iter().chain([Outcome::Pending]).map(|outcome| (counts.of(outcome), outcome));
    let named = all.filter(|(count, outcome)| *count > 0 || *outcome == Outcome::Established);
    let named: Vec<String> = named.map(|(count, outcome)| format!("{count} {}", outcome.name())).collect();
    let mut lines = vec![format!(
        "watched {}{since}: {} ({}), {}",
        if watched_ns < 60_000_000_000 { duration(watched_ns) } else { age(watched_ns) },
        counted(counts.attempts(), "handshake"),
        named.join(", "),
        counted(counts.repeated, "SYN or SYN-ACK retransmit"),
    )];
    if counts.sent > 0 {
        let share = percent(counts.retransmit_share());
        let data = counted(counts.sent, "data segment");
        lines.push(format!(
            "{data}, {} retransmitted; {share}% of all segments, SYNs included",
            counts.retransmitted
        ));
    }
    if counts.retransmits() > 0 {
        let (sent, received) = (counts.sent_retransmits(), counts.received_retransmits);
        let arrived = match counts.arrived() {
            0 => String::new(),
            arrived => format!(", {arrived} of segments that had arrived"),
        };
        lines.push(format!("retransmits: {sent} sent, {received} received{arrived}"));
        lines.extend(
            causes(&counts.retransmit_causes()).map(|causes| format!("retransmits by cause: {causes}")),
        );
    }
    if counts.aborted > 0 {
        lines.push(format!(
            "{} aborted: accepted, then reset before any data",
            counted(counts.aborted, "connection")
        ));
    }
    for (name, percentiles) in [("RTT", rtt), ("setup", setup)] {
        let Some(Percentiles { p50_ns, p90_ns, p99_ns, max_ns, samples }) = *percentiles else { continue };
        let shown = [p50_ns, p90_ns, p99_ns, max_ns].map(duration);
        lines.push(format!("{name} p50/p90/p99/max {} of {}", shown.join("/"), counted(samples, "sample")));
    }
    lines
}

/// Records that were read, and what was missed.
pub(super) fn missed(snapshot: &Snapshot) -> String {
    let kinds = snapshot.missed.iter().filter(|(_, count)| *count > 0);
    let kinds: Vec<String> = kinds.map(|(missed, count)| counted(count, missed.noun())).collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    format!("{}, missed {}{kinds}", counted(snapshot.records, "record"), snapshot.missed.total())
}

/// What the wire and the kernel itself say of the retransmits of this host.
fn witnesses(snapshot: &Snapshot) -> Vec<String> {
    let Some(witness) = snapshot.witness else { return Vec::new() };
    let wire = witness.wire;
    let missed = if witness.missed > 0 { format!(", {} missed", witness.missed) } else { String::new() };
    vec![
        format!(
            "retransmits of this host: {wire} on the wire, {} by the kernel, {} of connections that were seen{missed}",
            witness.segments, witness.of_connections
        ),
        format!("connections where the two differ: {}", witness.differing),
    ]
}

/// Peers to which segments of full size do not get through.
pub(super) fn stuck(snapshot: &Snapshot, context: &RenderContext) -> Vec<String> {
    let all = snapshot.rows.iter().filter(|row| row.figures.counts.stuck > 0);
    let line = |row: &Row| {
        format!(
            "{}: {}",
            format::row(&row.key, snapshot.owners.rows.get(&row.key), context),
            format::stuck_in(row.figures.counts.stuck)
        )
    };
    let mut lines: Vec<String> = all.clone().take(WORST).map(line).collect();
    let more = all.count().saturating_sub(WORST);
    lines.extend((more > 0).then(|| format!("and to {more} more")));
    lines
}

/// Peers whose attempts waited while the queue of this host's listener was full.
pub(super) fn full_queues(snapshot: &Snapshot, context: &RenderContext) -> Vec<String> {
    let all = snapshot.rows.iter().filter_map(|row| {
        let queue = snapshot.sockets.get(&row.key)?.accept_queue?;
        Some(format!(
            "{}: {}",
            format::row(&row.key, snapshot.owners.rows.get(&row.key), context),
            format::full_queue(&queue)
        ))
    });
    let mut lines: Vec<String> = all.clone().take(WORST).collect();
    let more = all.count().saturating_sub(WORST);
    lines.extend((more > 0).then(|| format!("and for {more} more")));
    lines
}

/// ICMP errors about TCP.
pub(super) fn icmp(snapshot: &Snapshot) -> Option<String> {
    let IcmpCounts { matched, unmatched, tunnel } = snapshot.icmp;
    let kinds = [
        (matched, "about a segment in flight"),
        (unmatched, "about none (late, forged or not seen)"),
        (tunnel, "in or about a tunnel (not looked into)"),
    ];
    let kinds = kinds.iter().filter(|(count, _)| *count > 0);
    let kinds: Vec<String> = kinds.map(|(count, what)| format!("{count} {what}")).collect();
    let all = counted(snapshot.icmp.total(), "ICMP error");
    (!kinds.is_empty()).then(|| format!("{all}: {}", kinds.join(", ")))
}

/// What the kernel counts for the whole host: signs of trouble, and its own count of retransmits.
pub(super) fn host_lines(snapshot: &Snapshot, context: &RenderContext) -> Vec<String> {
    let troubles = snapshot.host.as_ref().and_then(|known| host::troubles(known, context));
    troubles.into_iter().chain(host::drops(snapshot)).chain(host::cross_check(snapshot)).collect()
}

/// Addresses that are too many to be kept one by one, and attempts that had to give way. Neither is missed.
pub(super) fn strangers(snapshot: &Snapshot) -> Vec<String> {
    let Strangers { addresses, total, evicted, .. } = &snapshot.strangers;
    let mut lines = Vec::new();
    if total.attempts() > 0 {
        let attempts = counted(total.attempts(), "attempt");
        lines.push(format!("SYNs from {} addresses, none completed: {attempts}", estimate(*addresses)));
    }
    if *evicted > 0 {
        let attempts = counted(*evicted, "attempt");
        lines.push(format!("{attempts} from addresses that completed none evicted before the end"));
    }
    lines
}

/// What there was besides: copies, and packets without TCP, by what they are.
pub(crate) fn passed_over(snapshot: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    if snapshot.copies > 0 {
        let copies = counted(snapshot.copies, "packet");
        lines.push(format!(
            "{copies} seen twice (mirror port, several interfaces, late copies), counted once"
        ));
    }
    let total: u64 = snapshot.passed_over.iter().map(|(_, count)| count).sum();
    if total > 0 {
        let (named, others) = snapshot.passed_over.split_at(snapshot.passed_over.len().min(KINDS));
        let name = |(what, count): &(Option<PassedOver>, u64)| match what {
            Some(what) => format!("{count} of {what}"),
            None => format!("{count} others"),
        };
        let mut kinds: Vec<String> = named.iter().map(name).collect();
        let others: u64 = others.iter().map(|(_, count)| count).sum();
        kinds.extend((others > 0).then(|| format!("{others} others")));
        lines.push(format!("{} without TCP passed over: {}", counted(total, "packet"), kinds.join(", ")));
    }
    lines
}

/// The filter and how many rows match it. The totals are of all.
pub(super) fn filtered(snapshot: &Snapshot) -> Option<String> {
    let Query { filter, group, .. } = &snapshot.query;
    let (matching, all) = (snapshot.matching, counted(snapshot.row_count as u64, group.name()));
    (!filter.is_empty()).then(|| format!("filter {filter}: {matching} of {all}"))
}

/// `N 10.20.9.7:443 unanswered 1 of 1`
fn problem(row: &Row, snapshot: &Snapshot, context: &RenderContext) -> String {
    let counts = &row.figures.counts;
    let what = match row.verdict {
        Some(Verdict::Unanswered) => format!("unanswered {} of {}", counts.unanswered(), counts.attempts()),
        Some(Verdict::Unreachable) => {
            format!("unreachable {} of {}", counts.of(Outcome::Unreachable), counts.attempts())
        }
        Some(Verdict::Refused) => format!("refused {} of {}", counts.of(Outcome::Refused), counts.attempts()),
        Some(Verdict::Aborted) => format!("aborted {} of {}", counts.aborted, counts.attempts()),
        Some(Verdict::SlowSetup) => {
            let (slow, handshakes) =
                (counts.slow_setups, counted(counts.of(Outcome::Established), "handshake"));
            let p99 = maybe_duration(row.figures.setup.map(|setup| setup.p99_ns));
            format!("slow-setup, {slow} of {handshakes}, setup p99 {p99}")
        }
        Some(Verdict::Slow) => {
            format!("slow, RTT p90 {}", maybe_duration(row.figures.rtt.map(|rtt| rtt.p90_ns)))
        }
        Some(Verdict::Loss) => {
            let segments = counted(counts.segments(), "segment");
            format!("loss, {} of {segments} retransmitted", counts.retransmits())
        }
        None => "healthy".to_owned(),
    };
    let letter = row.verdict.map_or(' ', Verdict::letter);
    format!("{letter} {} {what}", format::row(&row.key, snapshot.owners.rows.get(&row.key), context))
}
