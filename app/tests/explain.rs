//! Hard cases `explained-verdicts` and `dropped-here`: why a row has its verdict, in sentences that say what is known and no more.

mod support;

use probe_common::segment::mapped;
use probe_common::{Family, IcmpRecord, Record, ResetReason, SegmentRecord};
use support::stage::{NOW, Stage, context, trouble};
use support::{Connection, INTERFACE, MS, S, Watched, v4};
use tcptop::output::explain::{Explanation, RULE_COUNT, explain};
use tcptop_core::{Dropped, Group, Input, Query, SnapshotRequest, Socket, SocketState, Span, Verdict, Why};

const BEGIN: u64 = NOW - 9 * S;

/// A peer, what explains it, and the word for it.
struct Case {
    watched: Watched,
    verdict: Verdict,
    why: Option<Why>,
    /// The beginning of each sentence, in order: that of one rule each.
    sentences: &'static [&'static str],
    next: &'static [&'static str],
}

fn explained(watched: &mut Watched, verdict: Verdict, group: Group) -> (Option<Why>, Explanation) {
    explained_at(NOW, watched, verdict, group)
}

fn explained_at(
    now_ns: u64,
    watched: &mut Watched,
    verdict: Verdict,
    group: Group,
) -> (Option<Why>, Explanation) {
    let request = SnapshotRequest {
        query: Query { group, ..Query::default() },
        rows: 10,
        evidence: true,
        ..SnapshotRequest::totals(Span::Window)
    };
    let snapshot = watched.engine.snapshot(watched.reader, &request, now_ns);
    let verdicts: Vec<_> = snapshot.rows.iter().map(|row| row.verdict).collect();
    let row = snapshot.rows.iter().find(|row| row.verdict == Some(verdict));
    let row = row.unwrap_or_else(|| panic!("no {verdict:?} but {verdicts:?}"));
    (row.why, explain(row, &snapshot, &context()).expect("it has a verdict"))
}

fn out(port: u16, local_port: u16) -> Connection {
    Connection::to(v4(10, 20, 9, 7, port), local_port)
}

fn inbound(n: u16) -> Connection {
    Connection::from(v4(198, 51, 100, 7, 6_000 + n), 80)
}

/// A connection between two ports of this host.
fn within(port: u16) -> Connection {
    let mut connection = Connection::to(v4(10, 0, 0, 1, 80), port);
    connection.out = probe_common::Direction::Local;
    connection
}

fn established(connection: &Connection, at_ns: u64, rtt_ns: u64) -> [Record; 3] {
    [connection.syn(at_ns), connection.syn_ack(at_ns + rtt_ns), connection.ack(at_ns + rtt_ns + 9_000)]
        .map(Into::into)
}

/// The error of a router about a SYN.
fn error(connection: &Connection, kind: (u8, u8), at_ns: u64) -> Record {
    error_by([10, 9, 9, 1], connection, kind, at_ns)
}

fn error_by(sender: [u8; 4], connection: &Connection, (icmp_type, code): (u8, u8), at_ns: u64) -> Record {
    Record::Icmp(IcmpRecord {
        time_ns: at_ns,
        interface: INTERFACE,
        direction: connection.syn(at_ns).direction,
        family: Family::V4,
        icmp_type,
        code,
        mtu: None,
        sender: mapped(sender),
        source: connection.opener,
        destination: connection.responder,
        seq: connection.isn,
        timebase: 0,
    })
}

fn seen(records: impl IntoIterator<Item = Record>) -> Watched {
    let mut watched = Watched::new();
    watched.see(records).expire(NOW);
    watched
}

fn syns(connection: &Connection, times: &[u64]) -> Vec<Record> {
    times.iter().map(|at_ms| connection.syn(BEGIN + at_ms * MS).into()).collect()
}

fn unanswered() -> Vec<Case> {
    let silent = || syns(&out(443, 1), &[0, 1_000, 3_000]);
    let tail = &["mtr -T -P 443 10.20.9.7"];
    vec![
        Case {
            watched: seen(silent()),
            verdict: Verdict::Unanswered,
            why: None,
            sentences: &[
                "SYNs leave enp0s1, and nothing comes back since 14:02:23: neither a SYN-ACK nor a RST, and no ICMP error.",
                "The host is down, or a firewall or the way back drops packets.",
            ],
            next: tail,
        },
        Case {
            watched: seen(silent().into_iter().chain(established(&out(22, 2), BEGIN, MS))),
            verdict: Verdict::Unanswered,
            why: None,
            sentences: &[
                "SYNs leave enp0s1",
                "Port 22 answers of the same address: a firewall that drops port 443, or",
            ],
            next: tail,
        },
        Case {
            watched: seen(silent().into_iter().chain(established(&out(443, 2), BEGIN, MS))),
            verdict: Verdict::Unanswered,
            why: None,
            sentences: &["1 of 2 attempts are unanswered, 1 were established: loss or overload"],
            next: &[],
        },
        Case {
            // An attempt that an error is about, and later ones without.
            watched: seen(
                syns(&out(443, 3), &[0])
                    .into_iter()
                    .chain([error(&out(443, 3), (3, 1), BEGIN + MS)])
                    .chain((4..14).flat_map(|n| syns(&out(443, n), &[3_000, 4_000]))),
            ),
            verdict: Verdict::Unanswered,
            why: None,
            sentences: &[
                "The latest ICMP error, at 14:02:22: host unreachable at 10.9.9.1 (ICMP 3/1).",
                "The host is down, or",
            ],
            next: tail,
        },
    ]
}

fn unanswered_here_or_elsewhere() -> Vec<Case> {
    let here = &["here: ss -ltn 'sport = :80'", "nstat -az TcpExtListenOverflows TcpExtListenDrops"];
    vec![
        Case {
            watched: seen(
                (0..4).flat_map(|n| [inbound(n).syn(BEGIN).into(), inbound(n).syn_ack(BEGIN + MS).into()]),
            ),
            verdict: Verdict::Unanswered,
            why: Some(Why::NoAck),
            sentences: &["This host answered with a SYN-ACK, but no ACK came back"],
            next: &["here: ss -ltn 'sport = :80'"],
        },
        Case {
            watched: seen(syns(&inbound(1), &[0, 1_000])),
            verdict: Verdict::Unanswered,
            why: Some(Why::SilentHere),
            sentences: &["This host got the SYN and did not answer"],
            next: here,
        },
        Case {
            watched: seen(syns(&within(1), &[0, 1_000])),
            verdict: Verdict::Unanswered,
            why: Some(Why::SilentHere),
            sentences: &["This host got the SYN and did not answer"],
            next: here,
        },
        Case {
            watched: seen(syns(&passing(1), &[0, 1_000])),
            verdict: Verdict::Unanswered,
            why: None,
            sentences: &[
                "Neither a SYN-ACK nor a RST comes back since 14:02:23, and no ICMP error.",
                "The host is down, or",
            ],
            next: &["mtr -T -P 443 10.20.9.7"],
        },
    ]
}

/// Attempts that get a SYN-ACK, and no ACK.
fn half_open(connection: fn(u16) -> Connection) -> Vec<Record> {
    let both = |n| [connection(n).syn(BEGIN).into(), connection(n).syn_ack(BEGIN + MS).into()];
    (0..4).flat_map(both).collect()
}

/// Something answers: the host is not down.
fn answered_in_part() -> Vec<Case> {
    let refused = |n: u16| {
        let connection = out(443, 10 + n);
        [connection.syn(BEGIN).into(), connection.rst_of_responder(BEGIN + MS).into()]
    };
    let silent = (0..3).flat_map(|n| syns(&out(443, n), &[0, 1_000, 3_000]));
    let mtr = &["mtr -T -P 443 10.20.9.7"];
    vec![
        Case {
            watched: seen(silent.chain((0..7).flat_map(refused))),
            verdict: Verdict::Unanswered,
            why: None,
            sentences: &[
                "3 of 10 attempts are unanswered, and 7 got an answer, although none was established",
            ],
            next: mtr,
        },
        Case {
            // The peer itself sends the error: it is not down.
            watched: seen(
                syns(&out(443, 3), &[0])
                    .into_iter()
                    .chain([error_by([10, 20, 9, 7], &out(443, 3), (3, 3), BEGIN + MS)])
                    .chain((4..14).flat_map(|n| syns(&out(443, n), &[3_000, 4_000]))),
            ),
            verdict: Verdict::Unanswered,
            why: None,
            sentences: &["The latest ICMP error, at 14:02:22: port unreachable at 10.20.9.7 (ICMP 3/3)."],
            next: mtr,
        },
        Case {
            watched: seen(half_open(|n| out(443, n))),
            verdict: Verdict::Unanswered,
            why: None,
            sentences: &["The SYN-ACK reaches this host, but no ACK leaves"],
            next: &["nft list ruleset", "nstat -az TcpExtIPReversePathFilter"],
        },
        Case {
            watched: seen(half_open(passing)),
            verdict: Verdict::Unanswered,
            why: None,
            sentences: &["A SYN-ACK answers, but no ACK follows"],
            next: mtr,
        },
        Case {
            watched: seen(half_open(within)),
            verdict: Verdict::Unanswered,
            why: Some(Why::NoAck),
            sentences: &["This host answered with a SYN-ACK, but no ACK came back"],
            next: &["here: ss -ltn 'sport = :80'"],
        },
    ]
}

/// A connection of which neither end is known to be this host.
fn passing(port: u16) -> Connection {
    let mut connection = Connection::to(v4(10, 20, 9, 7, 443), port);
    connection.out = probe_common::Direction::Unknown;
    connection
}

fn unreachable() -> Vec<Case> {
    let rejected = |code, connection: Connection| {
        let at = |ms| BEGIN + ms * MS;
        seen([connection.syn(at(0)).into(), error(&connection, (3, code), at(2))])
    };
    vec![
        Case {
            watched: rejected(13, out(443, 1)),
            verdict: Verdict::Unreachable,
            why: Some(Why::Icmp(tcptop_core::IcmpReason::Prohibited)),
            sentences: &[
                "The latest ICMP error, at 14:02:22: prohibited by 10.9.9.1 (ICMP 3/13).",
                "A firewall or a router rejects the SYN on purpose.",
            ],
            next: &["mtr -T -P 443 10.20.9.7"],
        },
        Case {
            watched: rejected(1, out(443, 1)),
            verdict: Verdict::Unreachable,
            why: Some(Why::Icmp(tcptop_core::IcmpReason::HostUnreachable)),
            sentences: &["The latest ICMP error", "A router cannot deliver the SYN"],
            next: &["mtr -T -P 443 10.20.9.7"],
        },
        Case {
            watched: rejected(3, inbound(1)),
            verdict: Verdict::Unreachable,
            why: Some(Why::Icmp(tcptop_core::IcmpReason::PortUnreachable)),
            sentences: &["The latest ICMP error", "A firewall of this host rejects"],
            next: &["here: ss -ltn 'sport = :80'"],
        },
    ]
}

fn refused() -> Vec<Case> {
    let refused = |connection: &Connection| {
        [connection.syn(BEGIN), connection.rst_of_responder(BEGIN + 400_000)].map(Record::from)
    };
    let said = |connection: &Connection, reason| {
        let rst = SegmentRecord { reset: Some(reason), ..connection.rst_of_responder(BEGIN + 400_000) };
        [connection.syn(BEGIN), rst].map(Record::from)
    };
    vec![
        Case {
            watched: seen(refused(&out(6_379, 1))),
            verdict: Verdict::Refused,
            why: None,
            sentences: &["A RST answers the SYN after 400µs: the host is up"],
            next: &["on the peer: ss -ltn 'sport = :6379'"],
        },
        Case {
            watched: seen(refused(&out(6_379, 1)).into_iter().chain(established(&out(22, 2), BEGIN, MS))),
            verdict: Verdict::Refused,
            why: None,
            sentences: &["A RST answers the SYN after 400µs", "Port 22 answers of the same address."],
            next: &["on the peer: ss -ltn 'sport = :6379'"],
        },
        Case {
            watched: seen(refused(&inbound(1))),
            verdict: Verdict::Refused,
            why: None,
            sentences: &["This host refuses after 400µs"],
            next: &["here: ss -ltn 'sport = :80'"],
        },
        Case {
            watched: seen(said(&inbound(1), ResetReason::NoSocket)),
            verdict: Verdict::Refused,
            why: Some(Why::NothingListens),
            sentences: &["This host refuses after 400µs: nothing listens on the port, as its kernel says."],
            next: &["here: ss -ltn 'sport = :80'"],
        },
        Case {
            watched: seen(said(&inbound(1), ResetReason::Memory)),
            verdict: Verdict::Refused,
            why: Some(Why::Reset(ResetReason::Memory)),
            sentences: &[
                "This host refuses after 400µs: memory for sockets is short (tcp_mem, tcp_max_orphans), as",
            ],
            next: &["here: ss -ltn 'sport = :80'"],
        },
    ]
}

/// With what the kernel says that this host drops itself: SYNs to its port 80, and others that have nothing to do with it.
fn dropped(records: Vec<Record>, reason: &str, at_ns: u64) -> Watched {
    let mut watched = seen(records);
    let drop =
        |reason: &str, port, is_syn| Dropped { reason: reason.into(), port: Some(port), is_syn, count: 38 };
    let drops = [drop(reason, 80, true), drop("OTHER", 81, true), drop("OTHER", 80, false)];
    watched.engine.handle(Input::Drops { drops: &drops, now_ns: at_ns });
    watched
}

/// What others suffer, and what is long past, explains nothing.
fn dropped_of_others_or_before() -> Vec<Case> {
    let long_ago = NOW - 30 * S;
    let silent = || syns(&inbound(1), &[0, 1_000]);
    let both = || {
        let mut watched = dropped(silent(), "SOCKET_FILTER", long_ago);
        let drop =
            |reason: &str, count| Dropped { reason: reason.into(), port: Some(80), is_syn: true, count };
        let drops = [drop("SOCKET_FILTER", 38), drop("NETFILTER_DROP", 2)];
        watched.engine.handle(Input::Drops { drops: &drops, now_ns: BEGIN });
        watched
    };
    let here = &["here: ss -ltn 'sport = :80'"];
    vec![
        Case {
            watched: dropped(half_open(inbound), "NETFILTER_DROP", BEGIN),
            verdict: Verdict::Unanswered,
            why: Some(Why::NoAck),
            sentences: &["This host answered with a SYN-ACK, but no ACK came back"],
            next: here,
        },
        Case {
            watched: dropped(silent(), "NETFILTER_DROP", long_ago),
            verdict: Verdict::Unanswered,
            why: Some(Why::SilentHere),
            sentences: &["This host got the SYN and did not answer"],
            next: &["here: ss -ltn 'sport = :80'", "nstat -az TcpExtListenOverflows TcpExtListenDrops"],
        },
        Case {
            watched: both(),
            verdict: Verdict::Unanswered,
            why: Some(Why::DroppedHere),
            sentences: &[
                "This host itself drops SYNs to the port: 2 SYNs to port 80 (NETFILTER_DROP) of all peers since 13:58:19",
            ],
            next: &["here: ss -ltn 'sport = :80'", "nft list ruleset"],
        },
        Case {
            watched: dropped(refused_here(), "NO_SOCKET", long_ago),
            verdict: Verdict::Refused,
            why: None,
            sentences: &["This host refuses after 400µs: nothing listens on the port, or a local firewall"],
            next: here,
        },
    ]
}

fn refused_here() -> Vec<Record> {
    [inbound(1).syn(BEGIN), inbound(1).rst_of_responder(BEGIN + 400_000)].map(Record::from).to_vec()
}

fn dropped_here() -> Vec<Case> {
    vec![
        Case {
            watched: dropped(syns(&inbound(1), &[0, 1_000]), "NETFILTER_DROP", BEGIN),
            verdict: Verdict::Unanswered,
            why: Some(Why::DroppedHere),
            sentences: &[
                "This host itself drops SYNs to the port: 38 SYNs to port 80 (NETFILTER_DROP) of all peers since 13:58:19",
            ],
            next: &["here: ss -ltn 'sport = :80'", "nft list ruleset"],
        },
        Case {
            watched: dropped(refused_here(), "NO_SOCKET", BEGIN),
            verdict: Verdict::Refused,
            why: Some(Why::NothingListens),
            sentences: &[
                "This host refuses after 400µs: nothing listens on the port (38 SYNs to port 80 (NO_SOCKET) of all peers since 13:58:19",
            ],
            next: &["here: ss -ltn 'sport = :80'"],
        },
        Case {
            watched: dropped(syns(&out(80, 1), &[0, 1_000]), "NETFILTER_DROP", BEGIN),
            verdict: Verdict::Unanswered,
            why: None,
            sentences: &["SYNs leave enp0s1, and nothing comes back", "The host is down, or"],
            next: &["mtr -T -P 80 10.20.9.7"],
        },
    ]
}

fn aborted(connection: &Connection) -> Watched {
    let reset = connection.rst_of_responder(BEGIN + 5 * MS).into();
    seen(established(connection, BEGIN, MS).into_iter().chain([reset]))
}

/// Rows of peers of several kinds: which end does it is not known.
fn of_several_kinds() -> Vec<Case> {
    let host = &["mtr 198.51.100.7"];
    vec![
        Case {
            watched: seen(syns(&inbound(1), &[0, 1_000])),
            verdict: Verdict::Unanswered,
            why: None,
            sentences: &["Neither a SYN-ACK nor a RST comes back", "A host is down, or a firewall"],
            next: host,
        },
        Case {
            watched: seen(half_open(inbound)),
            verdict: Verdict::Unanswered,
            why: None,
            sentences: &["A SYN-ACK answers, but no ACK follows"],
            next: host,
        },
        Case {
            watched: seen(refused_here()),
            verdict: Verdict::Refused,
            why: None,
            sentences: &["A RST answers the SYN after 400µs: nothing listens on the port"],
            next: &["on the host that refuses: ss -ltn"],
        },
        Case {
            watched: aborted(&inbound(1)),
            verdict: Verdict::Aborted,
            why: None,
            sentences: &["One end accepts the connections and resets them"],
            next: &["on the host that resets and its backends: ss -ltn"],
        },
        Case {
            watched: seen((0..9).flat_map(|n| established(&out(443, n), BEGIN, 300 * MS))),
            verdict: Verdict::Slow,
            why: None,
            sentences: &["The SYN-ACK or the ACK takes long in all handshakes alike"],
            next: &["mtr 10.20.9.7"],
        },
        Case {
            watched: seen([inbound(1).syn(BEGIN).into(), error(&inbound(1), (3, 1), BEGIN + MS)]),
            verdict: Verdict::Unreachable,
            why: None,
            sentences: &["A router cannot deliver the SYN or the SYN-ACK"],
            next: host,
        },
    ]
}

/// The accept queue of port 80 was full while attempts waited for it.
fn queue_full() -> Vec<Case> {
    let full = |rest: Vec<Record>| {
        let mut watched = Watched::new();
        watched.see([inbound(1).syn(BEGIN)]);
        let listener = Socket::new(1, v4(0, 0, 0, 0, 80), v4(0, 0, 0, 0, 0), SocketState::Listen);
        let sockets = [Socket { receive_queue: 129, send_queue: 128, ..listener }];
        watched.handle(Input::Sockets { sockets: &sockets, now_ns: BEGIN + MS, is_last: true });
        watched.see(rest).expire(NOW);
        watched
    };
    let again = |after_ms| {
        let answered_ns = BEGIN + (after_ms + 1) * MS;
        let syn = inbound(1).syn(BEGIN + after_ms * MS);
        [syn, inbound(1).syn_ack(answered_ns), inbound(1).ack(answered_ns + 9_000)].map(Record::from).to_vec()
    };
    let here = &["here: ss -ltn 'sport = :80'"];
    let case = |watched, verdict, sentences| Case {
        watched,
        verdict,
        why: Some(Why::QueueFull),
        sentences,
        next: here,
    };
    vec![
        case(full(syns(&inbound(1), &[1_000])), Verdict::Unanswered, &[QUEUE]),
        case(full(again(1_000)), Verdict::SlowSetup, &[QUEUE, "1 connection took long to set up"]),
        case(full(again(100)), Verdict::Loss, &[QUEUE, "Only SYNs and SYN-ACKs are retransmitted"]),
    ]
}

const QUEUE: &str = "The accept queue of this host's listener was full (129 of 128) while an attempt waited";

/// A connection that the responder resets: for this reason, as its kernel says, and with a TTL of its own.
fn aborted_for(connection: &Connection, reset: Option<ResetReason>) -> Watched {
    let [syn, ack] = [connection.syn(BEGIN), connection.ack(BEGIN + 2 * MS)];
    let syn_ack = SegmentRecord { ttl: Some(52), ..connection.syn_ack(BEGIN + MS) };
    let rst = SegmentRecord { ttl: Some(61), reset, ..connection.rst_of_responder(BEGIN + 3 * MS) };
    seen([syn, syn_ack, ack, rst].map(Record::from))
}

/// Aborted connections of which something is known.
fn aborted_and_said() -> Vec<Case> {
    vec![
        Case {
            watched: aborted_for(&inbound(1), Some(ResetReason::ClosedUnread)),
            verdict: Verdict::Aborted,
            why: Some(Why::Reset(ResetReason::ClosedUnread)),
            sentences: &[
                "This host accepts the connections and resets them: the application closes them before it has read all",
            ],
            next: &["here: ss -tnp 'sport = :80'"],
        },
        Case {
            watched: aborted_for(&out(443, 1), None),
            verdict: Verdict::Aborted,
            why: Some(Why::OtherTtl),
            sentences: &[
                "The peer accepts the connections and resets them",
                "The RST has another TTL than the peer's other segments: does a box in between send it?",
            ],
            next: &["on the peer and its backends: ss -ltn 'sport = :443'"],
        },
    ]
}

fn aborted_or_slow() -> Vec<Case> {
    vec![
        Case {
            watched: aborted(&inbound(1)),
            verdict: Verdict::Aborted,
            why: None,
            sentences: &["This host accepts the connections and resets them"],
            next: &["here: ss -ltn 'sport = :80'", "nstat -az TcpExtTCPAbortOnClose TcpExtTCPAbortOnData"],
        },
        Case {
            watched: aborted(&within(1)),
            verdict: Verdict::Aborted,
            why: None,
            sentences: &["This host accepts the connections and resets them"],
            next: &["here: ss -ltn 'sport = :80'", "nstat -az TcpExtTCPAbortOnClose TcpExtTCPAbortOnData"],
        },
        Case {
            watched: aborted(&out(443, 1)),
            verdict: Verdict::Aborted,
            why: None,
            sentences: &["The peer accepts the connections and resets them"],
            next: &["on the peer and its backends: ss -ltn 'sport = :443'"],
        },
        Case {
            watched: seen(
                (0..9).flat_map(|n| established(&out(443, n), BEGIN, if n == 0 { 5 * MS } else { 300 * MS })),
            ),
            verdict: Verdict::Slow,
            why: None,
            sentences: &["The SYN-ACK takes long, but took only 4.70ms before: a queue"],
            next: &["mtr -T -P 443 10.20.9.7"],
        },
    ]
}

fn retransmitted() -> Vec<Case> {
    let repeated = |connection: Connection, after_ms| {
        let syns = syns(&connection, &[0, after_ms]).into_iter();
        let answered_ns = BEGIN + (after_ms + 1) * MS;
        syns.chain([connection.syn_ack(answered_ns).into(), connection.ack(answered_ns + 9_000).into()])
    };
    let unaccepted = |n| {
        let again = [1_000, 3_000, 7_000].map(|ms| inbound(n).syn_ack(BEGIN + ms * MS).into());
        established(&inbound(n), BEGIN, MS).into_iter().chain(again)
    };
    let next = &["mtr -T -P 443 10.20.9.7", "ip -s link show dev enp0s1"];
    vec![
        Case {
            watched: seen(repeated(out(443, 1), 1_000)),
            verdict: Verdict::SlowSetup,
            why: None,
            sentences: &["1 connection took long to set up; 1 SYN or SYN-ACK retransmit in the same time"],
            next,
        },
        Case {
            watched: seen(repeated(out(443, 1), 100)),
            verdict: Verdict::Loss,
            why: None,
            sentences: &["Only SYNs and SYN-ACKs are retransmitted: 1 by this host, 0 by the peer."],
            next,
        },
        Case {
            watched: seen(unaccepted(1).chain(repeated(inbound(2), 100))),
            verdict: Verdict::Loss,
            why: None,
            sentences: &["Only SYNs and SYN-ACKs are retransmitted", "3 of them are no loss"],
            next: &["mtr 198.51.100.7", "ip -s link show dev enp0s1"],
        },
    ]
}

/// The rule about segments of full size is tested with the captures that have some (`app/tests/icmp.rs`).
#[test]
fn each_rule_is_said_where_it_holds_and_nothing_else_is() {
    let mut said = std::collections::BTreeSet::new();
    let mut words = std::collections::BTreeSet::new();
    let peers = [
        unanswered(),
        unanswered_here_or_elsewhere(),
        answered_in_part(),
        unreachable(),
        refused(),
        dropped_here(),
        dropped_of_others_or_before(),
        queue_full(),
        aborted_and_said(),
        aborted_or_slow(),
        retransmitted(),
    ];
    let peers = peers.into_iter().flatten().map(|case| (case, Group::Peer));
    let hosts = of_several_kinds().into_iter().map(|case| (case, Group::Host));
    for (mut case, group) in peers.chain(hosts) {
        let (why, explanation) = explained(&mut case.watched, case.verdict, group);
        let Explanation { sentences, next } = &explanation;
        assert_eq!(sentences.len(), case.sentences.len(), "{sentences:#?}\n{:#?}", case.sentences);
        for (sentence, begin) in sentences.iter().zip(case.sentences) {
            assert!(sentence.starts_with(begin) && sentence.ends_with(['.', '?']), "{sentence}\n{begin}");
            // Words, not figures: the same rule.
            let begin: String = sentence.chars().filter(|letter| letter.is_alphabetic()).take(22).collect();
            said.insert((case.verdict, begin));
        }
        assert_eq!(next, case.next, "{sentences:?}");
        assert_eq!(why, case.why, "{sentences:?}");
        words.extend(why.filter(|_| !sentences.is_empty()).map(Why::label));
    }
    // Loss always has a sentence, whatever is behind it.
    for why in [Why::QueueFull, Why::DroppedHere, Why::NothingListens, Why::SilentHere, Why::NoAck] {
        assert!(words.contains(why.label()), "no sentence of {why}: {words:?}");
    }
    assert!(said.len() + 1 >= RULE_COUNT, "of {RULE_COUNT}: {said:#?}");
}

#[test]
fn what_is_no_longer_so_is_not_explained_by_a_window_without_it() {
    let mut watched = seen(refused_here());
    let mut sentences = |now_ns| {
        let (_, explanation) = explained_at(now_ns, &mut watched, Verdict::Refused, Group::Peer);
        explanation.sentences.concat()
    };
    assert!(sentences(NOW).starts_with("This host refuses after 400µs"));
    assert_eq!(
        sentences(NOW + 5 * S),
        "This is no longer so, and is shown until a whole window is without it."
    );
}

#[test]
fn a_word_stands_in_the_row_and_a_filter_finds_it() {
    let mut watched = trouble();
    let rejected = Connection::to(v4(10, 20, 9, 9, 443), 9);
    watched.see([rejected.syn(BEGIN).into(), error(&rejected, (3, 13), BEGIN + MS)]).expire(NOW);
    let stage = Stage::new(watched).sized(200, 40);
    let header =
        |frame: &str| frame.lines().find(|line| line.contains("PEER")).unwrap_or_default().to_owned();
    assert!(header(&stage.frame()).contains("WHY"), "{}", stage.frame());
    let mut stage = stage.keys(&["/", "why:prohib", "Enter"]);
    let frame = stage.frame();
    let table = frame.split("── flows").next().unwrap_or_default();
    let rows: Vec<&str> = table.lines().filter(|line| line.contains("10.20.")).collect();
    assert!(rows.len() == 1 && rows[0].contains("prohibited"), "{frame}");
    stage.refresh();
    let without = Stage::new(trouble()).sized(200, 40).frame();
    assert!(!header(&without).contains("WHY"), "no column without a word: {without}");
}
