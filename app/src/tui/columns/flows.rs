//! The columns of the tables of flows.

use super::{CAUSE_WIDTH, CONTAINER_WIDTH, CellContext, Column, PROCESS_WIDTH, Value, cause};
use crate::output::format::{self, UNKNOWN};
use tcptop_core::{Flow, FlowOrder, Group, Leg, Owner, Party, Role, Snapshot, Workload};

type FlowColumn = Column<Flow, FlowOrder>;

/// All columns, from left to right.
pub static COLUMNS: [FlowColumn; 23] = [
    FlowColumn::figure("peer", "PEER", 0, 0, "remote address and service port", |flow, context| {
        Value::Text(context.peer(&flow.peer()))
    })
    .words()
    .by(FlowOrder::Peer),
    FlowColumn::figure("port", "PORT", 5, 0, "port of the client", |flow, _| {
        Value::Text(format::port(flow.port()))
    })
    .by(FlowOrder::Port),
    FlowColumn::figure("outcome", "OUTCOME", 11, 0, "outcome", |flow, _| {
        Value::Text(flow.outcome().name().to_owned())
    })
    .words()
    .by(FlowOrder::Outcome),
    FlowColumn::figure(
        "rtt",
        "RTT",
        7,
        0,
        "RTT of the handshake; < for an upper bound (ambiguous)",
        |flow, _| match flow.rtt() {
            Some(Leg::Exact(ns)) => Value::Duration(Some(ns)),
            Some(Leg::Between { max_ns, .. }) => Value::Below(max_ns),
            None => Value::Duration(None),
        },
    )
    .by(FlowOrder::Rtt),
    FlowColumn::figure(
        "setup",
        "SETUP",
        6,
        3,
        "from the first SYN to the ACK: what the application waits",
        |flow, _| Value::Duration(flow.setup_ns()),
    )
    .by(FlowOrder::Setup),
    FlowColumn::figure(
        "srtt",
        "SRTT",
        6,
        4,
        "smoothed RTT, as the kernel of this host measures it while the connection is open",
        |flow, _| Value::Duration(flow.srtt_ns()),
    )
    .by(FlowOrder::Srtt),
    FlowColumn::figure(
        "min_rtt",
        "MINRTT",
        6,
        9,
        "the shortest RTT of the last minutes, as the kernel measures it",
        |flow, _| Value::Duration(flow.min_rtt_ns()),
    ),
    FlowColumn::figure("turnaround", "TURN", 6, 9, "time this host took to answer the SYN", |flow, _| {
        Value::Duration(flow.turnaround().and_then(Leg::exact))
    }),
    FlowColumn::figure("tries", "TRY", 3, 2, "number of SYNs", |flow, _| {
        Value::MaybeCount(flow.tries().map(u64::from))
    })
    .by(FlowOrder::Tries),
    FlowColumn::figure("retr", "RETR", 4, 1, "retransmits in both directions", |flow, _| {
        Value::Count(flow.retransmits())
    })
    .by(FlowOrder::Retransmits),
    FlowColumn::figure("retr%", "RETR%", 5, 5, "retransmitted share of the segments", |flow, _| {
        Value::Share(flow.retransmit_share())
    }),
    FlowColumn::figure(
        "cause",
        "CAUSE",
        CAUSE_WIDTH,
        11,
        "most frequent cause of the retransmits, where a socket of this host says it",
        |flow, _| Value::Text(cause(&flow.retransmit_causes())),
    )
    .words(),
    FlowColumn::figure("age", "AGE", 6, 4, "time since the first segment", |flow, context| {
        Value::Age(Some(context.now_ns.saturating_sub(flow.first_ns())))
    })
    .by(FlowOrder::Age),
    FlowColumn::figure(
        "process",
        "PROCESS",
        PROCESS_WIDTH,
        2,
        "process; of loopback that of the client",
        |flow, _| Value::Text(shown_owner(flow).map_or_else(|| UNKNOWN.to_owned(), process)),
    )
    .words(),
    FlowColumn::figure("pid", "PID", 7, 6, "number of the process", |flow, _| {
        Value::Text(
            shown_owner(flow).map_or_else(|| UNKNOWN.to_owned(), |owner| owner.process.pid.to_string()),
        )
    }),
    FlowColumn::figure(
        "container",
        "CONTAINER",
        CONTAINER_WIDTH,
        9,
        "container or pod of the process",
        |flow, _| {
            let workload = shown_owner(flow).and_then(|owner| owner.process.workload.as_deref());
            let name = workload.and_then(Workload::shown_container);
            Value::Text(name.unwrap_or_else(|| UNKNOWN.to_owned()))
        },
    )
    .words(),
    FlowColumn::figure("sent", "SENT", 6, 7, "bytes sent by this host", |flow, _| {
        Value::Bytes(flow.volumes()[0].bytes)
    }),
    FlowColumn::figure("received", "RECV", 6, 8, "bytes received by this host", |flow, _| {
        Value::Bytes(flow.volumes()[1].bytes)
    }),
    FlowColumn::figure("lifetime", "LIFE", 6, 10, "time from the first SYN to the end", |flow, _| match flow
        .lifetime_ns()
    {
        Some(ns) if ns >= 60_000_000_000 => Value::Age(Some(ns)),
        short => Value::Duration(short),
    }),
    FlowColumn::figure("role", "ROLE", 8, 11, "role of this host", |flow, _| {
        Value::Text(flow.role().map_or(UNKNOWN, Role::name).to_owned())
    })
    .words(),
    FlowColumn::figure("closed", "CLOSED", 6, 12, "end that closed it: local is this host", |flow, _| {
        Value::Text(flow.closed_by().map_or(UNKNOWN, Party::name).to_owned())
    })
    .words(),
    FlowColumn::figure(
        "reset",
        "RESET",
        16,
        11,
        "why it was reset, as this host's kernel says, or when; ? for another TTL than that of its sender",
        |flow, _| {
            let doubt = if flow.strange_reset_ttl().is_some() { " ?" } else { "" };
            let name = flow.reset().map(|reset| format!("{}{doubt}", reset.name()));
            Value::Text(name.unwrap_or_else(|| UNKNOWN.to_owned()))
        },
    )
    .words(),
    FlowColumn::figure("interface", "IFACE", 9, 13, "interface", |flow, context| {
        Value::Text(context.render.interface(flow.interface()))
    })
    .words(),
];

/// The process at this host's end, or else at the other.
fn shown_owner(flow: &Flow) -> Option<&Owner> {
    flow.owner(Party::Local).or_else(|| flow.owner(Party::Remote))
}

/// Its name, and how many others hold the socket.
fn process(owner: &Owner) -> String {
    let name = owner.process.shown_name();
    if owner.others > 0 { format!("{name} +{}", owner.others) } else { name }
}

/// The columns that are shown: the peer and the interface only if there are several, processes and containers only where any
/// are known, and what the kernel measures only where it is asked.
#[must_use]
pub fn wanted(
    has_peer: bool,
    interfaces: usize,
    snapshot: &Snapshot,
) -> Vec<&'static Column<Flow, FlowOrder>> {
    let makes_sense = |column: &&Column<Flow, FlowOrder>| match column.name {
        "peer" => has_peer,
        "process" | "pid" => snapshot.owners.has_any,
        "container" => snapshot.owners.has_containers,
        "cause" => snapshot.total.counts.retransmit_causes().main().is_some(),
        "srtt" | "min_rtt" => snapshot.has_sockets,
        "reset" => shown(snapshot).any(|flow| flow.reset().is_some()),
        "interface" => interfaces > 1,
        _ => true,
    };
    COLUMNS.iter().filter(makes_sense).collect()
}

/// The flows of a snapshot that may be on the screen.
fn shown(snapshot: &Snapshot) -> impl Iterator<Item = &Flow> {
    let selected = snapshot.selection.iter().flat_map(|selection| &selection.flows);
    snapshot.flows.iter().flat_map(|flows| &flows.rows).chain(selected)
}

/// Returns whether the flows of a row can have several peers.
#[must_use]
pub fn has_peers(group: Group) -> bool {
    group != Group::Peer
}

/// A flow with all its columns, to be pasted somewhere.
#[must_use]
pub fn as_text(flow: &Flow, context: &CellContext<'_>) -> String {
    let cells = COLUMNS
        .iter()
        .skip(1)
        .map(|column| format!("{} {}", column.name, (column.value)(flow, context).text()));
    let ends = format!("{} - {}", context.endpoint(&flow.local()), context.endpoint(&flow.remote()));
    [ends].into_iter().chain(cells).collect::<Vec<_>>().join(" ")
}
