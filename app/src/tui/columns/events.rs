//! The columns of the event log.

use super::{CellContext, Column, Value};
use crate::output::format::{
    self, UNKNOWN, brief, counted, duration, icmp_error, local_failure, strange_ttl,
};
use crate::tui::event_rows::EventRow;
use tcptop_core::{Flow, Leg, Outcome, RetransmitKind, Verdict, What};

/// The order of events is fixed.
pub type Never = std::convert::Infallible;

type EventColumn = Column<EventRow, Never>;

/// All columns, from left to right.
pub static COLUMNS: [EventColumn; 7] = [
    EventColumn::figure(
        "last",
        "LAST",
        8,
        0,
        "time of the latest event, by the clock of this host",
        |event, context| Value::Text(context.render.clock_time(event.latest.time_ns)),
    )
    .words(),
    EventColumn::figure(
        "first",
        "FIRST",
        8,
        2,
        "time of the first of those that were folded",
        |event, context| Value::Text(context.render.clock_time(event.folded.first_ns)),
    )
    .words(),
    EventColumn::figure("event", "EVENT", 19, 0, "what happened, and how often", |event, _| {
        Value::Text(what(event))
    })
    .words(),
    EventColumn::figure("peer", "PEER", 0, 0, "peer", |event, context| {
        Value::Text(event.folded.key.peer().map_or_else(|| UNKNOWN.to_owned(), |key| context.peer(&key)))
    })
    .words(),
    EventColumn::figure("port", "PORT", 5, 0, "port of the client, of the latest event", |event, _| {
        let port = flow(&event.latest.what).map(|flow| format::port(flow.port()));
        Value::Text(port.unwrap_or_else(|| UNKNOWN.to_owned()))
    }),
    EventColumn::figure(
        "detail",
        "DETAIL",
        20,
        1,
        "of the latest event: kind, delay, SYNs, who says that it is unreachable, or who reset it and why",
        |event, _| Value::Text(detail(event)),
    )
    .words(),
    EventColumn::figure("interface", "IFACE", 9, 3, "interface", |event, context| {
        let index = event.folded.key.peer().map(|key| key.interface);
        Value::Text(index.map_or_else(|| UNKNOWN.to_owned(), |index| context.render.interface(index)))
    })
    .words(),
];

/// The columns that are shown: the interface only if there are several.
#[must_use]
pub fn wanted(interfaces: usize) -> Vec<&'static Column<EventRow, Never>> {
    COLUMNS.iter().filter(|column| column.name != "interface" || interfaces > 1).collect()
}

/// The flow that an event concerns, if it is a single one.
#[must_use]
pub const fn flow(what: &What) -> Option<&Flow> {
    match what {
        What::Failed(flow) | What::Reset(flow) | What::Retransmits { flow, .. } => Some(flow),
        What::Verdict { .. } | What::Missed { .. } => None,
    }
}

/// The verdict that an event contributes to, whose colour it has.
#[must_use]
pub const fn verdict(what: &What) -> Option<Verdict> {
    match what {
        What::Failed(flow) => match flow.outcome() {
            Outcome::Unreachable => Some(Verdict::Unreachable),
            Outcome::FailedLocally => Some(Verdict::Failed),
            Outcome::Refused | Outcome::Reset => Some(Verdict::Refused),
            Outcome::Pending
            | Outcome::Established
            | Outcome::Unanswered
            | Outcome::HalfOpen
            | Outcome::Closed
            | Outcome::Challenged
            | Outcome::Unknown => Some(Verdict::Unanswered),
        },
        What::Reset(flow) if flow.is_aborted() => Some(Verdict::Aborted),
        What::Reset(_) => Some(Verdict::Refused),
        What::Retransmits { .. } => Some(Verdict::Loss),
        What::Verdict { after, .. } => *after,
        What::Missed { .. } => None,
    }
}

/// `refused ×12`, `verdict: slow`.
fn what(event: &EventRow) -> String {
    let name = match &event.latest.what {
        What::Failed(flow) => flow.outcome().name(),
        What::Reset(flow) if flow.is_aborted() => "aborted",
        What::Reset(_) => "reset",
        What::Retransmits { .. } => "retransmitted",
        What::Verdict { after, .. } => return format!("verdict: {}", after.map_or("healthy", Verdict::name)),
        What::Missed { .. } => return "missed".to_owned(),
    };
    if event.folded.count > 1 { format!("{name} ×{}", brief(event.folded.count)) } else { name.to_owned() }
}

fn detail(event: &EventRow) -> String {
    match &event.latest.what {
        What::Failed(flow) => failure(flow),
        What::Reset(flow) => closed_by(flow),
        What::Retransmits { kind, .. } => segment(*kind).to_owned(),
        What::Verdict { before, .. } => {
            let times = if event.folded.count > 1 {
                format!(", ×{}", brief(event.folded.count))
            } else {
                String::new()
            };
            format!("was {}{times}", before.map_or("healthy", Verdict::name))
        }
        What::Missed { kind, count } => counted(*count, kind.noun()),
    }
}

const fn segment(kind: RetransmitKind) -> &'static str {
    match kind {
        RetransmitKind::Syn => "SYN",
        RetransmitKind::SynAck => "SYN-ACK",
        RetransmitKind::Data => "data",
        RetransmitKind::Fin => "FIN",
    }
}

fn failure(flow: &Flow) -> String {
    if let Some(error) = flow.icmp_error().filter(|_| flow.outcome() == Outcome::Unreachable) {
        return icmp_error(error);
    }
    if let Some(failure) = flow.failure() {
        return local_failure(failure);
    }
    let after = flow.refusal().map(|refusal| match refusal {
        Leg::Exact(ns) => format!("after {}", duration(ns)),
        Leg::Between { max_ns, .. } => format!("after <{}", duration(max_ns)),
    });
    let tries = flow.tries().map(|tries| counted(tries.into(), "SYN"));
    why(flow).or(after).or(tries).unwrap_or_default()
}

fn closed_by(flow: &Flow) -> String {
    let by = flow.closed_by().map(|party| party.name().to_owned());
    let after = flow.lifetime_ns().map(|ns| format!("after {}", duration(ns)));
    by.into_iter().chain(why(flow).or(after)).collect::<Vec<_>>().join(" ")
}

/// Why it was reset, as this host's kernel says, or as the time to live makes one ask.
fn why(flow: &Flow) -> Option<String> {
    let said = flow.reset().and_then(|reset| reset.reason).map(|reason| reason.name().to_owned());
    said.or_else(|| flow.strange_reset_ttl().map(strange_ttl))
}

/// An event with all its columns, to be pasted somewhere.
#[must_use]
pub fn as_text(event: &EventRow, context: &CellContext<'_>) -> String {
    let cells = COLUMNS.iter().skip(1).map(|column| (column.value)(event, context).text());
    let time = context.render.exact_time(event.latest.time_ns);
    [time].into_iter().chain(cells).collect::<Vec<_>>().join(" ")
}
