//! One row or one flow at length: every field that tcptop knows, in words.

use ratatui::text::Line;

use super::{ViewContext, style};
use crate::output::format::{UNKNOWN, age, bytes, counted, duration, maybe_duration, percent, rate};
use crate::tui::columns::CellContext;
use tcptop_core::snapshot::{Figures, Outcomes, Row, RowKey, Selection};
use tcptop_core::table::{FlowReport, Leg, Outcome, Role, Thresholds};

/// Width of what stands before a fact.
const LABEL: usize = 13;

/// A label and what is said under it.
type Fact = (&'static str, String);

/// What is said about something.
pub(super) struct Story {
    title: String,
    facts: Vec<Fact>,
}

impl Story {
    /// Line by line.
    pub(super) fn lines(&self) -> Vec<Line<'static>> {
        let facts = self.facts.iter().map(|(label, text)| {
            let label = if label.is_empty() { String::new() } else { format!("{label}:") };
            Line::from(format!("  {label:<LABEL$} {text}"))
        });
        [Line::styled(self.title.clone(), style::strong()), Line::default()]
            .into_iter()
            .chain(facts)
            .collect()
    }
}

/// What is known of the selected row.
pub(super) fn row(shown: &ViewContext<'_>) -> Story {
    let ViewContext { snapshot, model, context } = shown;
    let Some(selected) = model.rows().get(model.selected_row()).copied() else {
        return Story { title: "nothing is selected".to_owned(), facts: Vec::new() };
    };
    let title = context.row(&selected.key);
    let window = age(snapshot.window_ns);
    let mut facts =
        vec![("who", who(selected, context)), ("verdict", verdict(selected, &snapshot.thresholds, context))];
    facts.push(("new", format!("{} attempts a second", rate(selected.new_per_s))));
    facts.extend(figures("window", &format!("in the last {window}: "), &selected.figures));
    match snapshot.selection.as_ref().filter(|selection| selection.row.key == selected.key) {
        Some(selection) => facts.extend(at_length(selection, shown)),
        None if model.frozen => facts.push(("more", "is not held while the display is frozen".to_owned())),
        None => {}
    }
    Story { title, facts }
}

fn who(row: &Row, context: &CellContext<'_>) -> String {
    let interface = context.render.interface(row.key.interface());
    let peers = counted(row.peers as u64, "peer");
    let what = match row.key {
        RowKey::Peer(peer) if peer.inbound => {
            format!("connects to port {} of this host", peer.service.port)
        }
        RowKey::Peer(_) => "this host connects to it".to_owned(),
        RowKey::Host { .. } => format!("{peers} at one address"),
        RowKey::Service { inbound: true, .. } => format!("{peers} that connect to one port of this host"),
        RowKey::Service { inbound: false, .. } => format!("{peers} that listen on one port"),
        RowKey::Subnet { .. } => format!("{peers} in one network"),
        RowKey::Role { inbound: true, .. } => format!("{peers} that connect to this host"),
        RowKey::Role { inbound: false, .. } => format!("{peers} that this host connects to"),
        RowKey::Interface(_) => peers,
    };
    format!("{what}, seen at {interface}")
}

fn verdict(row: &Row, thresholds: &Thresholds, context: &CellContext<'_>) -> String {
    let Some(verdict) = row.verdict else { return "nothing wrong within the window".to_owned() };
    let since = row.since_ns.map(|since_ns| {
        let time = context.render.time_of_day(since_ns);
        format!(", since {} ({})", age(context.now_ns.saturating_sub(since_ns)), time)
    });
    let state = if row.recovering { "; healthy again, but not yet for a whole window" } else { "" };
    let why = verdict.definition(thresholds);
    format!("{} {}: {why}{}{state}", verdict.letter(), verdict.name(), since.unwrap_or_default())
}

/// Counts and latencies of a span of time, under one label.
fn figures(label: &'static str, before: &str, figures: &Figures) -> Vec<Fact> {
    let Figures { outcomes, rtt } = figures;
    let latencies = rtt.as_ref().map_or_else(
        || "no handshake was completed, so that there is no round-trip time".to_owned(),
        |rtt| {
            let [p50, p90, p99, max] = [rtt.p50_ns, rtt.p90_ns, rtt.p99_ns, rtt.max_ns].map(duration);
            format!("rtt p50 {p50}  p90 {p90}  p99 {p99}  max {max}, of {}", rtt.samples)
        },
    );
    vec![(label, format!("{before}{}", counts(outcomes))), ("", segments(outcomes)), ("", latencies)]
}

fn counts(outcomes: &Outcomes) -> String {
    let all = [
        (outcomes.established, "established"),
        (outcomes.unanswered, "unanswered"),
        (outcomes.half_open, "half-open"),
        (outcomes.refused, "refused"),
        (outcomes.reset, "reset"),
        (outcomes.unknown, "unknown"),
    ];
    let named = all.iter().filter(|(count, name)| *count > 0 || *name == "established");
    let named: Vec<String> = named.map(|(count, name)| format!("{count} {name}")).collect();
    format!("{} tried, {}", outcomes.opened, named.join(", "))
}

fn segments(outcomes: &Outcomes) -> String {
    let share = percent(outcomes.retransmit_share());
    let Outcomes { sent, resent, repeated, .. } = outcomes;
    format!("sent again: {resent} of {sent} data segments, {repeated} SYNs or SYN-ACKs ({share} %)")
}

/// What is known of the row beyond what its line says.
fn at_length(selection: &Selection, shown: &ViewContext<'_>) -> Vec<Fact> {
    let ViewContext { snapshot, model, context } = shown;
    let since = format!("since {}: ", context.render.time_of_day(snapshot.counted_ns));
    let mut facts = figures("in all", &since, &selection.total);
    let matching = if model.query.filter.is_empty() || model.request().selected_flows == 0 {
        String::new()
    } else {
        format!(", {} of them match the filter", selection.matching)
    };
    facts.extend([
        (
            "waiting",
            format!(
                "{} without an answer yet, which the window has, too",
                counted(selection.waiting, "attempt")
            ),
        ),
        ("flows", format!("{} known{matching}", selection.flow_count)),
        ("first heard", clock(selection.row.first_ns, context)),
        ("last heard", clock(selection.last_ns, context)),
    ]);
    facts
}

/// What is known of the flow that is read about.
pub(super) fn flow(shown: &ViewContext<'_>) -> Story {
    let ViewContext { snapshot, model, context } = shown;
    let Some(flow) = &model.read else {
        return Story { title: "nothing is selected".to_owned(), facts: Vec::new() };
    };
    let title = format!("{} - {}", context.endpoint(&flow.local), context.endpoint(&flow.remote));
    let mut facts = vec![
        ("who", opener(flow, context)),
        ("outcome", outcome(flow)),
        ("first seen", clock(flow.first_ns, context)),
        ("last change", clock(flow.changed_ns, context)),
        ("tries", tries(flow)),
    ];
    facts.extend(latencies(flow));
    facts.extend(volumes(flow));
    if context.is_own_session(&flow.local, &flow.remote) {
        facts.push(("@", "the SSH session that you look through".to_owned()));
    }
    if snapshot.flow.is_none() {
        facts.push(("forgotten", "this is what was known of it last".to_owned()));
    }
    Story { title, facts }
}

fn clock(ns: u64, context: &CellContext<'_>) -> String {
    format!("{}, {} ago", context.render.time_of_day(ns), age(context.now_ns.saturating_sub(ns)))
}

fn opener(flow: &FlowReport, context: &CellContext<'_>) -> String {
    let who = match flow.role {
        Some(Role::Client) => "client: this host opened it",
        Some(Role::Server) => "server: the other end opened it",
        Some(Role::Local) => "local: both ends are this host",
        Some(Role::Observer) => "observer: seen from elsewhere, the left end opened it",
        None => "nobody saw who opened it",
    };
    format!("{who}; seen at {}", context.render.interface(flow.interface))
}

fn outcome(flow: &FlowReport) -> String {
    let words = match flow.outcome {
        Outcome::Pending => "too early to say",
        Outcome::Established => "the handshake was completed",
        Outcome::Refused => "a RST answered the SYN",
        Outcome::Unanswered => "the SYN was repeated, or is older than a second, without an answer",
        Outcome::HalfOpen => "a SYN-ACK answered the SYN, but no ACK followed",
        Outcome::Reset => "a RST ended it",
        Outcome::Closed => "it came to an end",
        Outcome::Unknown => "the handshake was not seen, or one answer alone of it",
    };
    let by = flow.closed_by.map(|closer| format!(", by the {} end", closer.name())).unwrap_or_default();
    let life = flow.lifetime_ns.map(|ns| format!(", after {}", duration(ns))).unwrap_or_default();
    format!("{}: {words}{by}{life}", flow.outcome.name())
}

fn tries(flow: &FlowReport) -> String {
    let seen = |count: Option<u32>, what: &str| {
        count.map_or_else(|| format!("no {what} was seen"), |count| counted(count.into(), what))
    };
    format!("{}, {}", seen(flow.tries, "SYN"), seen(flow.syn_acks, "SYN-ACK"))
}

fn latencies(flow: &FlowReport) -> Vec<Fact> {
    let ambiguous = "nothing tells which of several was answered";
    let words = |leg: Option<Leg>| match leg {
        None => UNKNOWN.to_owned(),
        Some(Leg::Exact(ns)) => duration(ns),
        Some(Leg::Between { min_ns, max_ns }) => {
            format!("{} to {}: {ambiguous}", duration(min_ns), duration(max_ns))
        }
    };
    let mut facts = vec![
        ("rtt", words(flow.rtt())),
        ("server leg", format!("{}, from the SYN to the SYN-ACK", words(flow.server_leg))),
        ("client leg", format!("{}, from the SYN-ACK to the ACK", words(flow.client_leg))),
        ("setup", format!("{}, from the first SYN to the ACK", maybe_duration(flow.setup_ns))),
    ];
    if flow.role == Some(Role::Server) {
        facts
            .push(("turnaround", format!("{}, how long this host took to answer", words(flow.turnaround()))));
    }
    if let Some(refusal) = flow.refusal {
        facts.push(("refusal", format!("{}, from the SYN to the RST", words(Some(refusal)))));
    }
    facts
}

fn volumes(flow: &FlowReport) -> Vec<Fact> {
    let words = |index: usize| {
        let volume = &flow.volumes[index];
        let segments = counted(volume.segments, "segment");
        format!("{} in {segments}, {} sent again", bytes(volume.bytes), volume.retransmits)
    };
    let (again, share) = (flow.retransmits(), percent(flow.retransmit_share()));
    let again =
        format!("{again} of {} ({share} %), with SYNs and SYN-ACKs", counted(flow.segments(), "segment"));
    vec![("sent", words(0)), ("received", words(1)), ("sent again", again)]
}
