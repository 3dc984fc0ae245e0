//! The columns of what went wrong.

use super::{Column, Context, Side, Value};
use crate::output::format::{UNKNOWN, counted, duration};
use tcptop_core::snapshot::{LogEntry, What};
use tcptop_core::table::{FlowReport, Leg, Outcome, PeerKey, Verdict};

/// An IPv4 address with a port takes 21 columns at the most.
pub const LEAST_PEER: u16 = 21;
/// An IPv6 address with a port.
pub const LONGEST_PEER: u16 = 47;

/// Events are told in their order: nothing sorts them.
pub type Never = std::convert::Infallible;

/// Every column, in the order in which they stand.
pub static COLUMNS: [Column<LogEntry, Never>; 6] = [
    Column {
        name: "time",
        title: "TIME",
        width: 12,
        priority: 0,
        side: Side::Left,
        meaning: "when, by the clock of this host",
        value: |event, context| Value::Text(context.context.time_of_day(event.time_ns)),
        order: None,
    },
    Column {
        name: "what",
        title: "WHAT",
        width: 11,
        priority: 0,
        side: Side::Left,
        meaning: "what went wrong",
        value: |event, _| Value::Text(what(&event.what).to_owned()),
        order: None,
    },
    Column {
        name: "peer",
        title: "PEER",
        width: 0,
        priority: 0,
        side: Side::Left,
        meaning: "with whom",
        value: |event, context| {
            Value::Text(peer(&event.what).map_or_else(|| UNKNOWN.to_owned(), |key| context.peer(&key)))
        },
        order: None,
    },
    Column {
        name: "port",
        title: "PORT",
        width: 5,
        priority: 0,
        side: Side::Right,
        meaning: "the client's port, to be found in the application's log",
        value: |event, _| {
            Value::Text(flow(&event.what).map_or_else(|| UNKNOWN.to_owned(), |flow| flow.port().to_string()))
        },
        order: None,
    },
    Column {
        name: "how",
        title: "HOW",
        width: 24,
        priority: 1,
        side: Side::Left,
        meaning: "how much, how often, by whom",
        value: |event, _| Value::Text(how(&event.what)),
        order: None,
    },
    Column {
        name: "interface",
        title: "IFACE",
        width: 9,
        priority: 2,
        side: Side::Left,
        meaning: "the interface that it was seen at",
        value: |event, context| {
            let index = peer(&event.what).map(|key| key.interface);
            Value::Text(index.map_or_else(|| UNKNOWN.to_owned(), |index| context.context.interface(index)))
        },
        order: None,
    },
];

/// The columns that make sense: the interface only where there are several.
#[must_use]
pub fn wanted(interfaces: usize) -> Vec<&'static Column<LogEntry, Never>> {
    COLUMNS.iter().filter(|column| column.name != "interface" || interfaces > 1).collect()
}

/// The flow that it happened to, if it happened to one.
#[must_use]
pub const fn flow(what: &What) -> Option<&FlowReport> {
    match what {
        What::Failed(flow) | What::Reset(flow) | What::RetransmitKind { flow, .. } => Some(flow),
        What::Verdict { .. } | What::Missed { .. } => None,
    }
}

/// The peer that it happened with.
#[must_use]
pub const fn peer(what: &What) -> Option<PeerKey> {
    match what {
        What::Failed(flow) | What::Reset(flow) | What::RetransmitKind { flow, .. } => Some(flow.peer),
        What::Verdict { peer, .. } => Some(*peer),
        What::Missed { .. } => None,
    }
}

/// The verdict that it speaks for: what gives it its colour.
#[must_use]
pub const fn verdict(what: &What) -> Option<Verdict> {
    match what {
        What::Failed(flow) => match flow.outcome {
            Outcome::Refused | Outcome::Reset => Some(Verdict::Refuses),
            Outcome::Pending
            | Outcome::Established
            | Outcome::Unanswered
            | Outcome::HalfOpen
            | Outcome::Closed
            | Outcome::Unknown => Some(Verdict::NoAnswer),
        },
        What::Reset(_) => Some(Verdict::Refuses),
        What::RetransmitKind { .. } => Some(Verdict::Loses),
        What::Verdict { after, .. } => *after,
        What::Missed { .. } => None,
    }
}

fn what(what: &What) -> &'static str {
    match what {
        What::Failed(flow) => flow.outcome.name(),
        What::Reset(_) => "reset",
        What::RetransmitKind { .. } => "sent again",
        What::Verdict { after, .. } => after.map_or("healthy", Verdict::name),
        What::Missed { .. } => "lost",
    }
}

fn how(what: &What) -> String {
    match what {
        What::Failed(flow) => failure(flow),
        What::Reset(flow) => by(flow),
        What::RetransmitKind { kind, count, .. } if *count == 1 => kind.name().to_owned(),
        What::RetransmitKind { kind, count, .. } => format!("{count} times, {}", kind.name()),
        What::Verdict { before, .. } => format!("verdict; was {}", before.map_or("healthy", Verdict::name)),
        What::Missed { kind, count } => counted(*count, kind.noun()),
    }
}

fn failure(flow: &FlowReport) -> String {
    let after = flow.refusal.map(|refusal| match refusal {
        Leg::Exact(ns) => format!("after {}", duration(ns)),
        Leg::Between { max_ns, .. } => format!("after <{}", duration(max_ns)),
    });
    let tries =
        flow.tries.map(|tries| if tries == 1 { "1 try".to_owned() } else { format!("{tries} tries") });
    after.or(tries).unwrap_or_default()
}

fn by(flow: &FlowReport) -> String {
    let by = flow.closed_by.map(|closer| format!("by {}", closer.name()));
    let after = flow.lifetime_ns.map(|ns| format!("after {}", duration(ns)));
    by.into_iter().chain(after).collect::<Vec<_>>().join(" ")
}

/// An event at full length, to be pasted somewhere.
#[must_use]
pub fn as_text(event: &LogEntry, context: &Context<'_>) -> String {
    COLUMNS.iter().map(|column| (column.value)(event, context).text()).collect::<Vec<_>>().join(" ")
}
