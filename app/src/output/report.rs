//! A report at the end, to be pasted into a ticket: what was watched and how, the totals, and the peers.

use super::explain::explain;
use super::format::{self, UNKNOWN, age, maybe_duration, percent};
use super::line_writer::Lines;
use super::summary::{
    filtered, full_queues, host_lines, icmp, missed, passed_over, strangers, stuck, totals,
};
use super::target::ReportFormat;
use super::{Output, RenderContext, json, since_start, text};
use tcptop_core::units::Time;
use tcptop_core::{Event, Slow, Thresholds, Verdict};
use tcptop_core::{Figures, Outcome, PeerKey, Query, Role, Row, RowKey, Snapshot, SnapshotRequest};

/// The most peers whose verdicts are explained.
const EXPLAINED: usize = 5;
/// The most peers in the table.
const LISTED: usize = 20;

/// The output of a report.
#[derive(Clone, Debug)]
pub struct Report {
    /// How it is written.
    pub format: ReportFormat,
    /// The command line that it was made by.
    pub command: String,
}

impl Output for Report {
    fn takes_events(&self) -> bool {
        false
    }

    fn event(&mut self, _: &Event, _: &RenderContext, _: &mut Lines) {}

    fn closing_request(&self, query: &Query) -> Option<SnapshotRequest> {
        Some(match self.format {
            ReportFormat::Text | ReportFormat::Markdown => since_start(query.clone()),
            ReportFormat::Json => json::request(query),
        })
    }

    fn close(&mut self, snapshot: &Snapshot, context: &RenderContext, lines: &mut Lines) {
        match self.format {
            ReportFormat::Text => lines.push_text(&self.text(snapshot, context)),
            ReportFormat::Markdown => lines.push_text(&self.markdown(snapshot, context)),
            ReportFormat::Json => json::push(&json::report(snapshot, context), lines),
        }
    }
}

impl Report {
    /// For people, in a font of fixed width.
    #[must_use]
    pub fn text(&self, snapshot: &Snapshot, context: &RenderContext) -> String {
        let mut lines = vec![format!("tcptop {} report", env!("CARGO_PKG_VERSION"))];
        let facts = self.facts(snapshot, context);
        lines.extend(facts.iter().map(|(name, fact)| format!("{name:<10}  {fact}")));
        lines.push(String::new());
        lines.extend(figures(snapshot, context));
        if !snapshot.rows.is_empty() {
            lines.push(String::new());
            lines.extend(aligned(&Table::of(snapshot, context)));
            lines.extend(more(snapshot));
            lines.extend(explanations(snapshot, context));
        }
        lines.join("\n")
    }

    /// For a ticket, in GitHub's Markdown.
    #[must_use]
    pub fn markdown(&self, snapshot: &Snapshot, context: &RenderContext) -> String {
        let mut lines = vec![format!("## tcptop {} report", env!("CARGO_PKG_VERSION")), String::new()];
        let facts = self.facts(snapshot, context);
        lines.extend(facts.iter().map(|(name, fact)| format!("- **{name}:** {}", escaped(fact))));
        lines.push(String::new());
        lines.extend(figures(snapshot, context).into_iter().map(|line| format!("- {}", escaped(&line))));
        if !snapshot.rows.is_empty() {
            lines.push(String::new());
            lines.extend(piped(&Table::of(snapshot, context)));
            lines.extend(more(snapshot).map(|more| format!("\n{more}")));
            lines.extend(explanations(snapshot, context).iter().map(|line| match line.as_str() {
                "" => String::new(),
                line => format!("- {}", escaped(line)),
            }));
        }
        lines.join("\n")
    }

    /// What was watched, when, how and by which measure.
    fn facts(&self, snapshot: &Snapshot, context: &RenderContext) -> Vec<(&'static str, String)> {
        let watched_ns = snapshot.taken_ns.saturating_sub(snapshot.counted_ns);
        let mut facts = vec![
            ("host", context.host.clone().unwrap_or_else(|| UNKNOWN.to_owned())),
            ("interfaces", format!("{} ({})", context.all_interfaces(), context.source)),
            ("from", context.date_time(snapshot.counted_ns)),
            ("to", format!("{} ({})", context.date_time(snapshot.taken_ns), age(watched_ns))),
        ];
        facts.extend(context.zone.iana_name().map(|name| ("time zone", name.to_owned())));
        facts.push(("command", self.command.clone()));
        facts.push(("thresholds", thresholds(&snapshot.thresholds)));
        facts
    }
}

/// From where on there is a verdict, by its letter.
fn thresholds(thresholds: &Thresholds) -> String {
    let Thresholds {
        unanswered,
        failed,
        unreachable,
        refused,
        aborted,
        slow,
        slow_setup_ns,
        loss,
        min_attempts,
    } = thresholds;
    let slow_setup = Time(*slow_setup_ns);
    let slow = match slow {
        Slow::From(ns) => Time(*ns).to_string(),
        Slow::Usual(thousandths) => format!("{}x the peer's median", decimal(*thousandths)),
    };
    let limits = [
        (Verdict::Unanswered, format!("unanswered {unanswered}")),
        (Verdict::Failed, format!("failed {failed}")),
        (Verdict::Unreachable, format!("unreachable {unreachable}")),
        (Verdict::Refused, format!("refused {refused}")),
        (Verdict::Aborted, format!("aborted {aborted}")),
        (Verdict::Slow, format!("slow, RTT p90 {slow}")),
        (
            Verdict::SlowSetup,
            format!("slow-setup, {slow_setup} in {} of handshakes", Thresholds::SLOW_SETUP_SHARE),
        ),
        (Verdict::Loss, format!("loss {loss}")),
    ];
    let limits = limits.map(|(verdict, limit)| format!("{}: {limit}", verdict.letter()));
    format!("{}; of {min_attempts} or more", limits.join("; "))
}

/// Thousandths as a number: `3`, `2.5`.
fn decimal(thousandths: u64) -> String {
    let text = format!("{}.{:03}", thousandths / 1_000, thousandths % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

fn figures(snapshot: &Snapshot, context: &RenderContext) -> Vec<String> {
    let mut lines = totals(snapshot, "");
    lines.extend(stuck(snapshot, context));
    lines.extend(full_queues(snapshot, context));
    lines.extend(strangers(snapshot));
    lines.push(missed(snapshot));
    lines.extend(icmp(snapshot));
    lines.extend(passed_over(snapshot));
    lines.extend(filtered(snapshot));
    lines.extend(host_lines(snapshot, context));
    lines
}

/// Why the first rows have their verdicts, below an empty line.
fn explanations(snapshot: &Snapshot, context: &RenderContext) -> Vec<String> {
    let explained = snapshot.rows.iter().take(LISTED).filter_map(|row| {
        let (letter, name) =
            (row.verdict?.letter(), format::row(&row.key, snapshot.owners.rows.get(&row.key), context));
        Some(format!("{letter} {name}: {}", explain(row, snapshot, context)?.sentences.join(" ")))
    });
    let mut lines: Vec<String> = explained.take(EXPLAINED).collect();
    if !lines.is_empty() {
        lines.insert(0, String::new());
    }
    lines
}

fn more(snapshot: &Snapshot) -> Option<String> {
    let more = snapshot.matching.saturating_sub(LISTED);
    (more > 0).then(|| format!("... and {more} more {}s", snapshot.query.group.name()))
}

/// Cells of text, under titles.
struct Table {
    titles: Vec<String>,
    rows: Vec<Vec<String>>,
}

/// Columns that are left out where nothing is known for them, or nothing happened.
const OPTIONAL: [&str; 8] =
    ["PROCESS", "CONTAINER", "DIR", "FAILED", "UNRCH", "CHALLENGED", "RST AFTER", "ABORTED"];
/// The column that is left out unless it distinguishes rows.
const INTERFACE: &str = "IFACE";

impl Table {
    fn of(snapshot: &Snapshot, context: &RenderContext) -> Self {
        let group = snapshot.query.group.name().to_uppercase();
        let mut titles = vec!["", &group, "PROCESS", "CONTAINER", INTERFACE, "DIR", "TRIED", "OK"];
        titles.extend([
            "P50",
            "P90",
            "P99",
            "SETUP P99",
            "FAILED",
            "UNANS",
            "UNRCH",
            "CHALLENGED",
            "REFUSED",
        ]);
        titles.extend(["RST AFTER", "ABORTED", "RETR%", "SINCE"]);
        let rows = snapshot.rows.iter().take(LISTED).map(|row| cells(row, snapshot, context));
        let mut table =
            Self { titles: titles.into_iter().map(str::to_owned).collect(), rows: rows.collect() };
        for column in (0..table.titles.len()).rev() {
            let title = table.titles[column].as_str();
            let is_empty = |row: &Vec<String>| [UNKNOWN, "0"].contains(&row[column].as_str());
            let are_equal = || table.rows.windows(2).all(|rows| rows[0][column] == rows[1][column]);
            if OPTIONAL.contains(&title) && table.rows.iter().all(is_empty)
                || title == INTERFACE && are_equal()
            {
                table.titles.remove(column);
                table.rows.iter_mut().for_each(|row| drop(row.remove(column)));
            }
        }
        table
    }

    /// Names are aligned to the left, figures to the right.
    fn is_left(&self, column: usize) -> bool {
        column < 2 || ["PROCESS", "CONTAINER", INTERFACE, "DIR"].contains(&self.titles[column].as_str())
    }

    fn lines(&self) -> impl Iterator<Item = &Vec<String>> {
        std::iter::once(&self.titles).chain(&self.rows)
    }
}

fn cells(row: &Row, snapshot: &Snapshot, context: &RenderContext) -> Vec<String> {
    let Figures { counts, rtt, setup, refusals } = &row.figures;
    let processes = snapshot.owners.rows.get(&row.key);
    let direction = match row.key {
        RowKey::Peer(PeerKey { role, .. }) => match role {
            Role::Server => "in",
            Role::Client | Role::Local | Role::Observer => "out",
            Role::Forwarded => "fwd",
        },
        RowKey::Host { .. }
        | RowKey::Service { .. }
        | RowKey::Subnet { .. }
        | RowKey::Role { .. }
        | RowKey::Interface(_)
        | RowKey::Process { .. }
        | RowKey::Container { .. } => UNKNOWN,
    };
    vec![
        row.verdict.map_or(" ".to_owned(), |verdict| verdict.letter().to_string()),
        format::row(&row.key, processes, context),
        processes.map_or_else(|| UNKNOWN.to_owned(), format::processes),
        processes.map_or_else(|| UNKNOWN.to_owned(), format::container),
        context.interface_name(row.key.interface()).into(),
        direction.to_owned(),
        counts.attempts().to_string(),
        counts.of(Outcome::Established).to_string(),
        maybe_duration(rtt.map(|rtt| rtt.p50_ns)),
        maybe_duration(rtt.map(|rtt| rtt.p90_ns)),
        maybe_duration(rtt.map(|rtt| rtt.p99_ns)),
        maybe_duration(setup.map(|setup| setup.p99_ns)),
        counts.of(Outcome::FailedLocally).to_string(),
        counts.unanswered().to_string(),
        match counts.of(Outcome::Unreachable) {
            0 => UNKNOWN.to_owned(),
            unreachable => unreachable.to_string(),
        },
        counts.of(Outcome::Challenged).to_string(),
        counts.of(Outcome::Refused).to_string(),
        refusals.map_or(UNKNOWN.to_owned(), text::leg),
        counts.aborted.to_string(),
        percent(counts.retransmit_share()),
        row.since_ns.map_or(UNKNOWN.to_owned(), |since_ns| context.since(since_ns, snapshot.taken_ns)),
    ]
}

/// Each column as wide as its widest cell.
fn aligned(table: &Table) -> Vec<String> {
    let width = |column: usize| table.lines().map(|row| row[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..table.titles.len()).map(width).collect();
    let line = |row: &Vec<String>| {
        let padded = row.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if table.is_left(column) { format!("{cell:<width$}") } else { format!("{cell:>width$}") }
        });
        padded.collect::<Vec<_>>().join("  ")
    };
    table.lines().map(line).collect()
}

fn piped(table: &Table) -> Vec<String> {
    let line = |cells: Vec<String>| format!("| {} |", cells.join(" | "));
    let sides =
        (0..table.titles.len()).map(|column| if table.is_left(column) { "---" } else { "---:" }.to_owned());
    let mut lines: Vec<String> =
        table.lines().map(|row| line(row.iter().map(|cell| escaped(cell)).collect())).collect();
    lines.insert(1, line(sides.collect()));
    lines
}

/// Text that Markdown takes as it is, also in a table.
fn escaped(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for letter in text.chars() {
        if "\\`*_[]<>|#".contains(letter) {
            escaped.push('\\');
        }
        escaped.push(letter);
    }
    escaped
}
