//! Why a row has its verdict, and which commands to try next.

use std::net::Ipv6Addr;

use super::Fact;
use crate::output::format::{counted, duration, icmp_error};
use crate::tui::columns::CellContext;
use tcptop_core::{Flow, Leg, Outcome, PeerKey, Role, Row, RowKey, Selection, Verdict};

/// `why` and `try` of a row with a verdict.
pub(super) fn of(row: &Row, selection: Option<&Selection>, cells: &CellContext<'_>) -> Vec<Fact> {
    let Some(verdict) = row.verdict else { return Vec::new() };
    let side = Side::of(&row.key);
    let (why, commands) = match verdict {
        Verdict::NoAnswer => unanswered(row, side),
        Verdict::Unreachable => unreachable(row, selection, side),
        Verdict::Refuses => refused(row, selection, side),
        Verdict::Aborts => aborted(side, &row.key),
        Verdict::SlowSetup => (slow_setup(row, selection), with_interface(row, cells)),
        Verdict::Slow => (slow(row, selection, side), path(&row.key)),
        Verdict::Loses => (loss(selection), with_interface(row, cells)),
    };
    let commands = commands.into_iter().map(|command| ("", command));
    let mut facts = vec![("why", why)];
    facts.extend(commands);
    if let Some(first) = facts.get_mut(1) {
        first.0 = "try";
    }
    facts
}

/// Which end opens the connections.
#[derive(Clone, Copy)]
enum Side {
    Outbound,
    Inbound,
    /// Neither end is this host.
    Passing,
    Mixed,
}

impl Side {
    const fn of(key: &RowKey) -> Self {
        match key {
            RowKey::Peer(PeerKey { role, .. }) | RowKey::Service { role, .. } | RowKey::Role { role, .. } => {
                match role {
                    Role::Server => Self::Inbound,
                    Role::Client | Role::Local => Self::Outbound,
                    Role::Forwarded | Role::Observer => Self::Passing,
                }
            }
            RowKey::Host { .. }
            | RowKey::Subnet { .. }
            | RowKey::Interface(_)
            | RowKey::Process { .. }
            | RowKey::Container { .. } => Self::Mixed,
        }
    }
}

fn unanswered(row: &Row, side: Side) -> (String, Vec<String>) {
    let counts = &row.figures.counts;
    let some = if counts.of(Outcome::Established) > 0 {
        "Some attempts succeed: loss or overload rather than a firewall. "
    } else {
        ""
    };
    let why = match side {
        Side::Inbound if counts.of(Outcome::HalfOpen) >= counts.of(Outcome::Unanswered) => {
            "This host answered with a SYN-ACK, but no ACK came back: the SYN-ACK or the ACK is lost on the way, or \
             the SYNs have forged addresses."
        }
        Side::Inbound => {
            "This host got the SYN and did not answer: a local firewall drops it, or the accept queue is full."
        }
        Side::Outbound | Side::Passing | Side::Mixed => {
            "Neither a SYN-ACK nor a RST came back: the host is down, or a firewall or the way back drops packets."
        }
    };
    let commands = match side {
        Side::Inbound => {
            vec![listeners(&row.key, "here"), "nstat -az TcpExtListenOverflows TcpExtListenDrops".to_owned()]
        }
        Side::Outbound | Side::Passing | Side::Mixed => path(&row.key),
    };
    (format!("{some}{why}"), commands)
}

fn unreachable(row: &Row, selection: Option<&Selection>, side: Side) -> (String, Vec<String>) {
    let flows = selection.map_or(&[][..], |selection| &selection.flows);
    let latest = flows.iter().find(|flow| flow.outcome() == Outcome::Unreachable).and_then(Flow::icmp_error);
    let (who, commands) = match (side, latest) {
        (Side::Inbound, _) => (
            "An ICMP error answers the SYN or the SYN-ACK: a firewall of this host rejects, or the way back is broken.",
            vec![listeners(&row.key, "here")],
        ),
        (Side::Outbound | Side::Passing | Side::Mixed, Some(error)) if error.reason.is_policy() => {
            ("A firewall or a router rejects the SYN, and says so by an ICMP error.", path(&row.key))
        }
        (Side::Outbound | Side::Passing | Side::Mixed, Some(_) | None) => (
            "An ICMP error answers the SYN: a router cannot deliver it, or a firewall rejects it.",
            path(&row.key),
        ),
    };
    let latest = latest.map(|error| format!(" The latest: {}.", icmp_error(error))).unwrap_or_default();
    (format!("{who}{latest}"), commands)
}

fn refused(row: &Row, selection: Option<&Selection>, side: Side) -> (String, Vec<String>) {
    let flows = selection.map_or(&[][..], |selection| &selection.flows);
    let latest = flows.iter().find(|flow| flow.outcome() == Outcome::Refused);
    let after = latest.and_then(|flow| flow.refusal()).and_then(Leg::exact);
    let after = after.map(|ns| format!(" The latest came after {}.", duration(ns))).unwrap_or_default();
    let (why, commands) = match side {
        Side::Inbound => (
            "This host refuses: nothing listens on the port, or a local firewall rejects.",
            vec![listeners(&row.key, "here")],
        ),
        Side::Outbound | Side::Passing | Side::Mixed => (
            "A RST answers the SYN: the host is up, but nothing listens on the port, or a firewall rejects.",
            vec![listeners(&row.key, "on the peer")],
        ),
    };
    (format!("{why}{after}"), commands)
}

fn aborted(side: Side, key: &RowKey) -> (String, Vec<String>) {
    match side {
        Side::Inbound => (
            "This host accepts the connections and resets them before it sends data: the application closes them with \
             the request unread, or a proxy here does not reach its backend."
                .to_owned(),
            vec![listeners(key, "here"), "nstat -az TcpExtTCPAbortOnClose TcpExtTCPAbortOnData".to_owned()],
        ),
        Side::Outbound | Side::Passing | Side::Mixed => (
            "The peer accepts the connections and resets them before it sends data: a proxy or load balancer whose \
             backend is down, an application that closes with the request unread, or a firewall in between."
                .to_owned(),
            vec![listeners(key, "on the peer and its backends")],
        ),
    }
}

fn slow_setup(row: &Row, selection: Option<&Selection>) -> String {
    let flows = selection.map_or(&[][..], |selection| &selection.flows);
    let slowest = flows.iter().max_by_key(|flow| flow.setup_ns());
    let is_repeated = |flow: &&Flow| flow.tries() > Some(1) || flow.syn_acks() > Some(1);
    let waited = format!("{} took long to set up", counted(row.figures.counts.slow_setups, "connection"));
    match slowest.filter(is_repeated) {
        Some(_) => {
            format!(
                "{waited}: the first repeated SYN or SYN-ACK costs a second, the next two. {}",
                loss(selection)
            )
        }
        None => format!("{waited}, although nothing was repeated: the way is long, or one end answers late."),
    }
}

fn slow(row: &Row, selection: Option<&Selection>, side: Side) -> String {
    let what = match side {
        Side::Inbound => "The ACK",
        // The kernel of the peer sends it, not the application.
        Side::Outbound | Side::Mixed => "The SYN-ACK",
        Side::Passing => "The SYN-ACK or the ACK",
    };
    let Some(rtt) = row.figures.rtt else { return format!("{what} takes long.") };
    let fastest_ns = selection.and_then(|selection| selection.bars.first()).map(|bar| bar.from_ns);
    match fastest_ns {
        Some(ns) if ns < rtt.p50_ns / 2 => format!(
            "{what} takes long, but took only {} before: a queue, a changed route or a busy host, not distance.",
            duration(ns)
        ),
        // Half as much again is more than a step of the scale that latencies are counted in.
        _ if rtt.p99_ns < rtt.p50_ns.saturating_mul(3) / 2 => {
            format!("{what} takes long in all handshakes alike: distance or a detour rather than congestion.")
        }
        _ => format!("{what} takes long in some handshakes: congestion on the way, or a busy host."),
    }
}

fn loss(selection: Option<&Selection>) -> String {
    let flows = selection.map_or(&[][..], |selection| &selection.flows);
    let of = |index: usize| flows.iter().map(|flow| flow.volumes()[index].retransmits).sum::<u64>();
    let (sent, received) = (of(0), of(1));
    let direction = match (sent, received) {
        (0, 0) => "Only SYNs and SYN-ACKs are retransmitted".to_owned(),
        _ => format!("Data retransmits of the flows listed: {sent} by this host, {received} by the peer"),
    };
    format!("{direction}. A sender retransmits when its segments or the ACKs for them are lost.")
}

/// Commands that follow the path to a peer.
fn path(key: &RowKey) -> Vec<String> {
    match key {
        RowKey::Peer(peer) if !peer.is_inbound() => {
            let address = Ipv6Addr::from(peer.service.address).to_canonical();
            vec![format!("mtr -T -P {} {address}", peer.service.port)]
        }
        RowKey::Peer(peer) => vec![format!("mtr {}", Ipv6Addr::from(peer.service.address).to_canonical())],
        RowKey::Host { address, .. } => vec![format!("mtr {}", Ipv6Addr::from(*address).to_canonical())],
        RowKey::Service { .. }
        | RowKey::Subnet { .. }
        | RowKey::Role { .. }
        | RowKey::Interface(_)
        | RowKey::Process { .. }
        | RowKey::Container { .. } => {
            vec!["see the details of one of the peers (b changes the grouping)".to_owned()]
        }
    }
}

fn with_interface(row: &Row, cells: &CellContext<'_>) -> Vec<String> {
    let mut commands = path(&row.key);
    commands.push(format!("ip -s link show dev {}", cells.render.interface(row.key.interface())));
    commands
}

fn listeners(key: &RowKey, place: &str) -> String {
    let port = match key {
        RowKey::Peer(peer) => Some(peer.service.port),
        RowKey::Service { port, .. } => Some(*port),
        RowKey::Host { .. }
        | RowKey::Subnet { .. }
        | RowKey::Role { .. }
        | RowKey::Interface(_)
        | RowKey::Process { .. }
        | RowKey::Container { .. } => None,
    };
    match port {
        Some(port) => format!("{place}: ss -ltn 'sport = :{port}'"),
        None => format!("{place}: ss -ltn"),
    }
}
