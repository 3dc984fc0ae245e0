//! The columns of the first table: peers, or groups of peers.

use super::{CAUSE_WIDTH, CONTAINER_WIDTH, CellContext, Column, PROCESS_WIDTH, Value, cause};
use crate::output::format::{UNKNOWN, container, processes};
use tcptop_core::{
    Group, Outcome, Percentiles, Processes, Row, RowKey, RowOrder, Snapshot, SocketRtts, Verdict,
};

/// Room for most of what is said.
const WHY_WIDTH: u16 = 18;

type PeerColumn = Column<Row, RowOrder>;

impl Column<Row, RowOrder> {
    /// Returns whether this column shows the reason for the row's verdict.
    #[must_use]
    pub fn explains_verdict(&self, row: &Row) -> bool {
        let verdict = match self.order {
            Some(RowOrder::Unanswered) => Verdict::Unanswered,
            Some(RowOrder::Failed) => Verdict::Failed,
            Some(RowOrder::Unreachable) => Verdict::Unreachable,
            Some(RowOrder::Refused) => Verdict::Refused,
            Some(RowOrder::Aborted) => Verdict::Aborted,
            Some(RowOrder::P90 | RowOrder::P99 | RowOrder::Max) => Verdict::Slow,
            Some(RowOrder::SetupP99 | RowOrder::SetupMax) => Verdict::SlowSetup,
            Some(RowOrder::Retransmits) => Verdict::Loss,
            Some(
                RowOrder::Problem
                | RowOrder::Peer
                | RowOrder::New
                | RowOrder::P50
                | RowOrder::SetupP50
                | RowOrder::SetupP90
                | RowOrder::Since,
            )
            | None => return false,
        };
        row.verdict == Some(verdict)
    }
}

/// All columns, from left to right.
pub static COLUMNS: [PeerColumn; 29] = [
    PeerColumn::figure(
        "peer",
        "PEER",
        0,
        0,
        "remote address and port; with an arrow: it connects to that port of this host",
        |row, context| Value::Text(context.row(&row.key)),
    )
    .words()
    .by(RowOrder::Peer),
    PeerColumn::figure(
        "process",
        "PROCESS",
        PROCESS_WIDTH,
        6,
        "the latest process of its connections, and how many others there are; ~ before the name of a thread",
        |row, context| Value::Text(owned(row, context, processes)),
    )
    .words(),
    PeerColumn::figure(
        "container",
        "CONTAINER",
        CONTAINER_WIDTH,
        16,
        "container or pod of the latest process that runs in one",
        |row, context| Value::Text(owned(row, context, container)),
    )
    .words(),
    PeerColumn::figure(
        "why",
        "WHY",
        WHY_WIDTH,
        5,
        "what is behind the verdict, where the packets, an ICMP error or the kernel says so",
        |row, _| Value::Text(row.why.map_or_else(|| UNKNOWN.to_owned(), |why| why.to_string())),
    )
    .words(),
    PeerColumn::figure("interface", "IFACE", 9, 20, "interface", |row, context| {
        Value::Text(context.render.interface(row.key.interface()))
    }),
    PeerColumn::figure("peers", "PEERS", 5, 19, "peers in the group", |row, _| {
        Value::Count(row.peers as u64)
    }),
    PeerColumn::figure("new", "NEW/s", 5, 2, "connection attempts per second", |row, _| {
        Value::Rate(row.new_per_s)
    })
    .by(RowOrder::New),
    PeerColumn::figure("tried", "TRIED", 6, 11, "connection attempts", |row, _| {
        Value::Count(row.figures.counts.attempts())
    }),
    PeerColumn::figure("ok", "OK", 6, 10, "completed handshakes", |row, _| {
        Value::Count(row.figures.counts.of(Outcome::Established))
    }),
    PeerColumn::figure("p50", "P50", 6, 3, "median RTT", |row, _| rtt(row, |rtt| rtt.p50_ns))
        .by(RowOrder::P50),
    PeerColumn::figure("p90", "P90", 6, 6, "90th percentile of the RTT", |row, _| rtt(row, |rtt| rtt.p90_ns))
        .by(RowOrder::P90),
    PeerColumn::figure("p99", "P99", 6, 1, "99th percentile of the RTT", |row, _| rtt(row, |rtt| rtt.p99_ns))
        .by(RowOrder::P99),
    PeerColumn::figure("max", "MAX", 6, 9, "longest RTT", |row, _| rtt(row, |rtt| rtt.max_ns))
        .by(RowOrder::Max),
    PeerColumn::figure(
        "srtt",
        "SRTT",
        6,
        8,
        "median of the smoothed RTTs of its open connections, as the kernel of this host measures them",
        |row, context| measured(row, context, |rtts| Some(rtts.srtt_p50_ns)),
    ),
    PeerColumn::figure(
        "min_rtt",
        "MINRTT",
        6,
        17,
        "the shortest RTT of the last minutes of its open connections, as the kernel measures it",
        |row, context| measured(row, context, |rtts| rtts.min_rtt_ns),
    ),
    PeerColumn::figure(
        "setup_p50",
        "SETUP50",
        7,
        15,
        "median setup time: from the first SYN to the ACK",
        |row, _| setup(row, |setup| setup.p50_ns),
    )
    .by(RowOrder::SetupP50),
    PeerColumn::figure("setup_p90", "SETUP90", 7, 14, "90th percentile of the setup time", |row, _| {
        setup(row, |setup| setup.p90_ns)
    })
    .by(RowOrder::SetupP90),
    PeerColumn::figure("setup_p99", "SETUP99", 7, 1, "99th percentile of the setup time", |row, _| {
        setup(row, |setup| setup.p99_ns)
    })
    .by(RowOrder::SetupP99),
    PeerColumn::figure("setup_max", "SETUPMAX", 8, 8, "longest setup time", |row, _| {
        setup(row, |setup| setup.max_ns)
    })
    .by(RowOrder::SetupMax),
    PeerColumn::figure(
        "unanswered",
        "UNANS",
        5,
        0,
        "unanswered attempts: no reply to the SYN, or to the SYN-ACK",
        |row, _| Value::Count(row.figures.counts.unanswered()),
    )
    .by(RowOrder::Unanswered),
    PeerColumn::figure(
        "failed",
        "FAILED",
        6,
        6,
        "attempts that failed on this host: no SYN left it",
        |row, _| Value::Count(row.figures.counts.of(Outcome::FailedLocally)),
    )
    .by(RowOrder::Failed),
    PeerColumn::figure(
        "unreachable",
        "UNRCH",
        5,
        7,
        "unreachable attempts: an ICMP error answered them",
        |row, _| Value::Count(row.figures.counts.of(Outcome::Unreachable)),
    )
    .by(RowOrder::Unreachable),
    PeerColumn::figure("refused", "REFUSED", 7, 0, "refused attempts: a RST answered the SYN", |row, _| {
        Value::Count(row.figures.counts.of(Outcome::Refused))
    })
    .by(RowOrder::Refused),
    PeerColumn::figure(
        "aborted",
        "ABORTED",
        7,
        7,
        "aborted connections: accepted, then reset by the same end before it sent data",
        |row, _| Value::Count(row.figures.counts.aborted),
    )
    .by(RowOrder::Aborted),
    PeerColumn::figure("reset", "RESET", 5, 12, "handshakes ended by a RST after the SYN-ACK", |row, _| {
        Value::Count(row.figures.counts.of(Outcome::Reset))
    }),
    PeerColumn::figure(
        "segments",
        "SEGS",
        6,
        13,
        "segments: SYNs, retransmitted SYN-ACKs, and data",
        |row, _| Value::Count(row.figures.counts.segments()),
    ),
    PeerColumn::figure("retr", "RETR%", 5, 5, "retransmitted share of the segments", |row, _| {
        Value::Share(row.figures.counts.retransmit_share())
    })
    .by(RowOrder::Retransmits),
    PeerColumn::figure(
        "cause",
        "CAUSE",
        CAUSE_WIDTH,
        17,
        "most frequent cause of the retransmits, where a socket of this host says it",
        |row, _| Value::Text(cause(&row.figures.counts.retransmit_causes())),
    )
    .words(),
    PeerColumn::figure("since", "SINCE", 6, 4, "age of the verdict", |row, context| {
        Value::Age(row.since_ns.map(|since_ns| context.now_ns.saturating_sub(since_ns)))
    })
    .by(RowOrder::Since),
];

/// What is known of the processes of a row, as a text.
fn owned(row: &Row, context: &CellContext<'_>, text: fn(&Processes) -> String) -> String {
    context.processes.get(&row.key).map_or_else(|| UNKNOWN.to_owned(), text)
}

/// What the kernel measures on the open connections of a row.
fn measured(row: &Row, context: &CellContext<'_>, which: fn(&SocketRtts) -> Option<u64>) -> Value {
    Value::Duration(context.sockets.get(&row.key).and_then(|sockets| which(sockets.rtts.as_ref()?)))
}

fn setup(row: &Row, which: impl Fn(&Percentiles) -> u64) -> Value {
    Value::Duration(row.figures.setup.as_ref().map(which))
}

fn rtt(row: &Row, which: impl Fn(&Percentiles) -> u64) -> Value {
    Value::Duration(row.figures.rtt.as_ref().map(which))
}

/// The title of the column of names.
#[must_use]
pub fn title(group: Group) -> &'static str {
    match group {
        Group::Peer => "PEER",
        Group::Host => "HOST",
        Group::Service => "SERVICE",
        Group::Subnet => "SUBNET",
        Group::Role => "ROLE",
        Group::Interface => "INTERFACE",
        Group::Process => "PROCESS",
        Group::Container => "CONTAINER",
    }
}

/// The columns that are shown: those `chosen` by name, or all, but the interface only if there are several, the number of
/// peers only for groups, what failed on this host only where any did, the reasons of verdicts only where any is known, the lower percentiles of the setup time only where
/// rows are sorted by them, processes and containers only where any are known, and what the kernel measures only where it is
/// asked.
#[must_use]
pub fn wanted(
    chosen: Option<&[&'static str]>,
    snapshot: &Snapshot,
    interfaces: usize,
    order: RowOrder,
) -> Vec<&'static Column<Row, RowOrder>> {
    if let Some(names) = chosen {
        return names.iter().filter_map(|name| COLUMNS.iter().find(|column| column.name == *name)).collect();
    }
    let group = snapshot.query.group;
    let makes_sense = |column: &&Column<Row, RowOrder>| match column.name {
        "process" => snapshot.owners.has_any && group != Group::Process,
        "srtt" | "min_rtt" => snapshot.has_sockets,
        "container" => snapshot.owners.has_containers && group != Group::Container,
        "failed" => {
            column.order == Some(order)
                || snapshot.rows.iter().any(|row| row.figures.counts.of(Outcome::FailedLocally) > 0)
        }
        "why" => snapshot.rows.iter().any(|row| row.why.is_some()),
        "cause" => snapshot.total.counts.retransmit_causes().main().is_some(),
        "interface" => interfaces > 1 && group != Group::Interface,
        "peers" => group != Group::Peer,
        "setup_p50" | "setup_p90" => column.order == Some(order),
        _ => true,
    };
    COLUMNS.iter().filter(makes_sense).collect()
}

/// A row with all its columns, to be pasted somewhere.
#[must_use]
pub fn as_text(row: &Row, context: &CellContext<'_>) -> String {
    let verdict = row.verdict.map_or("-".to_owned(), |verdict| verdict.letter().to_string());
    let cells = COLUMNS
        .iter()
        .skip(1)
        .map(|column| format!("{} {}", column.name, (column.value)(row, context).text()));
    let name = context.row(&row.key);
    [verdict, name].into_iter().chain(cells).collect::<Vec<_>>().join(" ")
}

/// The letters of the worst two of a row's verdicts, those that recover behind the others and in lower case.
#[must_use]
pub fn letters(row: &Row) -> [char; 2] {
    let present = row.present.iter().map(|(verdict, _)| verdict.letter());
    let recovering = row.recovering.iter().map(|(verdict, _)| verdict.letter().to_ascii_lowercase());
    let mut letters = present.take(1).chain(recovering);
    [letters.next().unwrap_or(' '), letters.next().unwrap_or(' ')]
}

/// The address of the row, if it has a single one.
#[must_use]
pub const fn address(key: &RowKey) -> Option<[u8; 16]> {
    match key {
        RowKey::Peer(peer) => Some(peer.service.address),
        RowKey::Host { address, .. } => Some(*address),
        RowKey::Service { .. }
        | RowKey::Subnet { .. }
        | RowKey::Role { .. }
        | RowKey::Interface(_)
        | RowKey::Process { .. }
        | RowKey::Container { .. } => None,
    }
}
