//! The columns of the first table: peers, or what several peers have in common.

use super::{Column, Context, Side, Value};
use tcptop_core::{Group, Outcome, Percentiles, Row, RowKey, RowOrder, Verdict};

/// An IPv4 address with a port takes 21 columns at the most.
pub const LEAST_NAME: u16 = 21;
/// An IPv6 address with a port: more room would only tear names and figures apart.
pub const LONGEST_NAME: u16 = 47;

const fn figure(
    name: &'static str,
    title: &'static str,
    width: u16,
    priority: u8,
    meaning: &'static str,
    value: fn(&Row, &Context<'_>) -> Value,
) -> Column<Row, RowOrder> {
    Column { name, title, width, priority, side: Side::Right, meaning, value, order: None }
}

impl Column<Row, RowOrder> {
    const fn by(mut self, order: RowOrder) -> Self {
        self.order = Some(order);
        self
    }

    /// Does this column tell what is wrong with the row?
    #[must_use]
    pub fn is_to_blame(&self, row: &Row) -> bool {
        let blames = match self.order {
            Some(RowOrder::Unanswered) => Verdict::NoAnswer,
            Some(RowOrder::Refused) => Verdict::Refuses,
            Some(RowOrder::P90 | RowOrder::P99 | RowOrder::Max) => Verdict::Slow,
            Some(RowOrder::Retransmits) => Verdict::Loses,
            Some(RowOrder::Problem | RowOrder::Peer | RowOrder::New | RowOrder::P50 | RowOrder::Since)
            | None => return false,
        };
        row.verdict == Some(blames)
    }
}

/// Every column, in the order in which they stand.
pub static COLUMNS: [Column<Row, RowOrder>; 16] = [
    Column {
        name: "peer",
        title: "PEER",
        width: 0,
        priority: 0,
        side: Side::Left,
        meaning: "remote address and port; with an arrow: it connects to that port here",
        value: |row, context| Value::Text(context.row(&row.key)),
        order: Some(RowOrder::Peer),
    },
    figure("interface", "IFACE", 9, 15, "the interface that it is seen at", |row, context| {
        Value::Text(context.context.interface(row.key.interface()))
    }),
    figure("peers", "PEERS", 5, 14, "how many peers are taken together in the row", |row, _| {
        Value::Count(row.peers as u64)
    }),
    figure("new", "NEW/s", 5, 3, "connection attempts per second", |row, _| Value::Rate(row.new_per_s))
        .by(RowOrder::New),
    figure("tried", "TRIED", 6, 9, "connection attempts", |row, _| Value::Count(row.figures.counts.opened)),
    figure("ok", "OK", 6, 8, "handshakes that were completed", |row, _| {
        Value::Count(row.figures.counts.of(Outcome::Established))
    }),
    figure("p50", "P50", 6, 2, "half of the handshakes' round-trip times are no longer", |row, _| {
        rtt(row, |rtt| rtt.p50_ns)
    })
    .by(RowOrder::P50),
    figure("p90", "P90", 6, 5, "nine of ten are no longer", |row, _| rtt(row, |rtt| rtt.p90_ns))
        .by(RowOrder::P90),
    figure("p99", "P99", 6, 1, "99 of 100 are no longer", |row, _| rtt(row, |rtt| rtt.p99_ns))
        .by(RowOrder::P99),
    figure("max", "MAX", 6, 7, "the longest", |row, _| rtt(row, |rtt| rtt.max_ns)).by(RowOrder::Max),
    figure(
        "unanswered",
        "UNANS",
        5,
        0,
        "attempts without a reply: to the SYN, or to the SYN-ACK",
        |row, _| Value::Count(row.figures.counts.unanswered()),
    )
    .by(RowOrder::Unanswered),
    figure("refused", "REFUSED", 7, 0, "attempts that a RST answered", |row, _| {
        Value::Count(row.figures.counts.of(Outcome::Refused))
    })
    .by(RowOrder::Refused),
    figure("reset", "RESET", 5, 10, "handshakes that a RST ended after the SYN-ACK", |row, _| {
        Value::Count(row.figures.counts.of(Outcome::Reset))
    }),
    figure("segments", "SEGS", 6, 11, "segments: SYNs, SYN-ACKs that were sent again, and data", |row, _| {
        Value::Count(row.figures.counts.segments())
    }),
    figure("retr", "RETR%", 5, 6, "share of the segments that had to be sent again", |row, _| {
        Value::Share(row.figures.counts.retransmit_share())
    })
    .by(RowOrder::Retransmits),
    figure("since", "SINCE", 6, 4, "for how long something has been wrong with it", |row, context| {
        Value::Age(row.since_ns.map(|since_ns| context.now_ns.saturating_sub(since_ns)))
    })
    .by(RowOrder::Since),
];

fn rtt(row: &Row, which: impl Fn(&Percentiles) -> u64) -> Value {
    Value::Duration(row.figures.rtt.as_ref().map(which))
}

/// What stands above the names.
#[must_use]
pub fn title(group: Group) -> &'static str {
    match group {
        Group::Peer => "PEER",
        Group::Host => "HOST",
        Group::Service => "SERVICE",
        Group::Subnet => "SUBNET",
        Group::Role => "ROLE",
        Group::Interface => "INTERFACE",
    }
}

/// The columns that make sense: `chosen` by name, or all; the interface only where there are several, the
/// number of peers only where they are taken together.
#[must_use]
pub fn wanted(
    chosen: Option<&[&'static str]>,
    group: Group,
    interfaces: usize,
) -> Vec<&'static Column<Row, RowOrder>> {
    if let Some(names) = chosen {
        return names.iter().filter_map(|name| COLUMNS.iter().find(|column| column.name == *name)).collect();
    }
    let makes_sense = |column: &&Column<Row, RowOrder>| match column.name {
        "interface" => interfaces > 1 && group != Group::Interface,
        "peers" => group != Group::Peer,
        _ => true,
    };
    COLUMNS.iter().filter(makes_sense).collect()
}

/// A row at full length, to be pasted somewhere.
#[must_use]
pub fn as_text(row: &Row, context: &Context<'_>) -> String {
    let verdict = row.verdict.map_or("-".to_owned(), |verdict| verdict.letter().to_string());
    let cells = COLUMNS
        .iter()
        .skip(1)
        .map(|column| format!("{} {}", column.name, (column.value)(row, context).text()));
    let name = context.row(&row.key);
    [verdict, name].into_iter().chain(cells).collect::<Vec<_>>().join(" ")
}

/// The letter of a row's verdict: small when it is healthy again, but not yet for a whole window.
#[must_use]
pub fn letter(row: &Row) -> char {
    match row.verdict.map(Verdict::letter) {
        None => ' ',
        Some(letter) if row.recovering => letter.to_ascii_lowercase(),
        Some(letter) => letter,
    }
}

/// Whose address stands in the row, where it is one alone.
#[must_use]
pub const fn address(key: &RowKey) -> Option<[u8; 16]> {
    match key {
        RowKey::Peer(peer) => Some(peer.service.address),
        RowKey::Host { address, .. } => Some(*address),
        RowKey::Service { .. } | RowKey::Subnet { .. } | RowKey::Role { .. } | RowKey::Interface(_) => None,
    }
}
