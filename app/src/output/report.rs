//! What is left when tcptop ends: a few lines like `ping`'s, or a report to paste into a ticket.

use super::RenderContext;
use super::format::{self, age, counted, duration, maybe_duration, percent};
use tcptop_core::snapshot::{Figures, Percentiles, Query, Row, Snapshot};
use tcptop_core::table::Verdict;

/// As many of the worst peers are named in a summary.
const WORST: usize = 3;
/// As many kinds of packets that are no TCP are named.
const KINDS: usize = 6;
/// As many peers are listed in a report.
const LISTED: usize = 20;

/// A few lines: time watched, handshakes, latencies, worst peers, what was missed.
#[must_use]
pub fn summary(snapshot: &Snapshot, context: &RenderContext) -> String {
    let mut lines = vec![format!("--- tcptop {} ---", context.all_interfaces())];
    lines.extend(totals(snapshot));
    lines.extend(filtered(snapshot));
    lines.extend(failing(snapshot).take(WORST).map(|row| problem(row, context)));
    lines.push(missed(snapshot));
    lines.extend(passed_over(snapshot));
    lines.join("\n")
}

/// The same at more length, with a table of peers: to be pasted into a ticket. `snapshot` was taken with
/// peers since the start.
#[must_use]
pub fn report(snapshot: &Snapshot, context: &RenderContext) -> String {
    let began = context.anchor.wall(snapshot.counted_ns);
    let ended = context.anchor.wall(snapshot.taken_ns);
    let mut lines = vec![
        format!("tcptop {} on {}", env!("CARGO_PKG_VERSION"), context.all_interfaces()),
        format!("{began:.0} to {ended:.0}"),
        String::new(),
    ];
    lines.extend(totals(snapshot));
    lines.push(missed(snapshot));
    lines.extend(passed_over(snapshot));
    lines.extend(filtered(snapshot));
    if !snapshot.rows.is_empty() {
        lines.push(String::new());
        lines.extend(table(snapshot, context));
    }
    lines.join("\n")
}

fn totals(snapshot: &Snapshot) -> Vec<String> {
    let Figures { outcomes, rtt } = &snapshot.total;
    let watched_ns = snapshot.taken_ns.saturating_sub(snapshot.counted_ns);
    let pending = snapshot.told.saturating_sub(outcomes.decided());
    let counts = [
        (outcomes.established, "established"),
        (outcomes.refused, "refused"),
        (outcomes.unanswered, "unanswered"),
        (outcomes.half_open, "half-open"),
        (outcomes.reset, "reset"),
        (outcomes.unknown, "unknown"),
        (pending, "pending"),
    ];
    let named = counts.iter().filter(|(count, name)| *count > 0 || *name == "established");
    let named: Vec<String> = named.map(|(count, name)| format!("{count} {name}")).collect();
    let mut lines = vec![format!(
        "watched {}: {} ({}), {}",
        if watched_ns < 60_000_000_000 { duration(watched_ns) } else { age(watched_ns) },
        counted(snapshot.told, "handshake"),
        named.join(", "),
        counted(outcomes.repeated, "SYN or SYN-ACK repeat"),
    )];
    if outcomes.sent > 0 {
        let share = percent(outcomes.retransmit_share());
        let data = counted(outcomes.sent, "data segment");
        lines.push(format!("{data}, {} of them sent again ({share}% of all segments)", outcomes.resent));
    }
    if let Some(rtt) = rtt {
        let Percentiles { p50_ns, p90_ns, p99_ns, max_ns, samples } = *rtt;
        let shown = [p50_ns, p90_ns, p99_ns, max_ns].map(duration);
        lines.push(format!("rtt p50/p90/p99/max {} of {}", shown.join("/"), counted(samples, "sample")));
    }
    lines
}

fn missed(snapshot: &Snapshot) -> String {
    let kinds = snapshot.missed.iter().filter(|(_, count)| *count > 0);
    let kinds: Vec<String> = kinds.map(|(missed, count)| counted(count, missed.noun())).collect();
    let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
    format!("{}, missed {}{kinds}", counted(snapshot.records, "record"), snapshot.missed.total())
}

/// What a capture held besides: copies, and packets that are no TCP, by what they are.
fn passed_over(snapshot: &Snapshot) -> Vec<String> {
    let mut lines = Vec::new();
    if snapshot.copies > 0 {
        let copies = counted(snapshot.copies, "packet");
        lines.push(format!("{copies} seen twice (mirror port or several interfaces), counted once"));
    }
    let total: u64 = snapshot.passed_over.iter().map(|(_, count)| count).sum();
    if total > 0 {
        let (named, others) = snapshot.passed_over.split_at(snapshot.passed_over.len().min(KINDS));
        let mut kinds: Vec<String> = named
            .iter()
            .map(|(what, count)| match what {
                Some(what) => format!("{count} of {what}"),
                None => format!("{count} others"),
            })
            .collect();
        let others: u64 = others.iter().map(|(_, count)| count).sum();
        kinds.extend((others > 0).then(|| format!("{others} others")));
        lines.push(format!("{} without TCP passed over: {}", counted(total, "packet"), kinds.join(", ")));
    }
    lines
}

/// The totals are of all; what is named one by one is what matches.
fn filtered(snapshot: &Snapshot) -> Option<String> {
    let Query { filter, group, .. } = &snapshot.query;
    let (matching, all) = (snapshot.matching, counted(snapshot.row_count as u64, group.name()));
    (!filter.is_empty()).then(|| format!("filter {filter}: {matching} of {all}"))
}

fn failing(snapshot: &Snapshot) -> impl Iterator<Item = &Row> {
    snapshot.rows.iter().filter(|row| row.verdict.is_some())
}

fn problem(row: &Row, context: &RenderContext) -> String {
    let outcomes = &row.figures.outcomes;
    let what = match row.verdict {
        Some(Verdict::NoAnswer) => format!("no answer to {} of {}", outcomes.silent(), outcomes.opened),
        Some(Verdict::Refuses) => format!("refused {} of {}", outcomes.refused, outcomes.opened),
        Some(Verdict::Slow) => format!("slow, p90 {}", maybe_duration(row.figures.rtt.map(|rtt| rtt.p90_ns))),
        Some(Verdict::Loses) => format!(
            "loses, {} of {} retransmitted",
            outcomes.retransmits(),
            counted(outcomes.segments(), "segment")
        ),
        None => "nothing wrong".to_owned(),
    };
    let letter = row.verdict.map_or(' ', Verdict::letter);
    format!("{letter} {} {what}", format::row(&row.key, context))
}

const TITLES: [&str; 10] = ["", "", "TRIED", "OK", "P50", "P90", "P99", "UNANS", "REFUSED", "RETR%"];

/// The peers in columns, each as wide as its widest cell; the first two are aligned to the left.
fn table(snapshot: &Snapshot, context: &RenderContext) -> Vec<String> {
    let rows = snapshot.rows.iter().take(LISTED).map(|row| cells(row, context));
    let mut titles = TITLES.map(str::to_owned);
    titles[1] = snapshot.query.group.name().to_uppercase();
    let cells: Vec<[String; 10]> = std::iter::once(titles).chain(rows).collect();
    let width = |column: usize| cells.iter().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 10] = std::array::from_fn(width);
    let line = |row: &[String; 10]| {
        let padded = row.iter().zip(widths).enumerate().map(|(column, (cell, width))| {
            if column < 2 { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        padded.collect::<Vec<_>>().join("  ")
    };
    let mut lines: Vec<String> = cells.iter().map(line).collect();
    let more = snapshot.matching.saturating_sub(LISTED);
    if more > 0 {
        lines.push(format!("... and {more} more {}s", snapshot.query.group.name()));
    }
    lines
}

fn cells(row: &Row, context: &RenderContext) -> [String; 10] {
    let Figures { outcomes, rtt } = &row.figures;
    [
        row.verdict.map_or(" ".to_owned(), |verdict| verdict.letter().to_string()),
        format::row(&row.key, context),
        outcomes.opened.to_string(),
        outcomes.established.to_string(),
        maybe_duration(rtt.map(|rtt| rtt.p50_ns)),
        maybe_duration(rtt.map(|rtt| rtt.p90_ns)),
        maybe_duration(rtt.map(|rtt| rtt.p99_ns)),
        outcomes.silent().to_string(),
        outcomes.refused.to_string(),
        percent(outcomes.retransmit_share()),
    ]
}
