//! Addresses outside that complete no handshake: few are peers, many are one line, and none is missed.

mod support;

use probe_common::counter::{Counter, Counters};
use probe_common::{EvictedFlowRecord, Record, RecordKind, SegmentRecord};
use support::{Connection, INTERFACE, MS, S, START, Watched, v4};
use tcptop_core::{
    Counts, Estimate, Group, Input, Missed, Outcome, Query, Snapshot, SnapshotRequest, Span, Strangers,
};

/// An address outside that opens a connection to port 80 of this host.
fn stranger(number: u32) -> Connection {
    let [_, b, c, d] = number.to_be_bytes();
    let mut connection = Connection::from(v4(198, b, c, d, 40_000), 80);
    connection.isn = number;
    connection
}

fn taken(watched: &mut Watched, group: Group, now_ns: u64) -> Snapshot {
    let query = Query { group, ..Query::default() };
    let request = SnapshotRequest { query, rows: 1_000, ..SnapshotRequest::totals(Span::Window) };
    watched.engine.snapshot(watched.reader, &request, now_ns)
}

fn establish(watched: &mut Watched, connection: &Connection, at_ns: u64) {
    watched.see([connection.syn(at_ns), connection.syn_ack(at_ns + MS), connection.ack(at_ns + 2 * MS)]);
}

/// Checks that rows and strangers add up to the totals.
fn check_sum(snapshot: &Snapshot) {
    let mut sum = Counts::default();
    sum += &snapshot.strangers.figures.counts;
    snapshot.rows.iter().for_each(|row| sum += &row.figures.counts);
    assert_eq!(sum, snapshot.recent.counts);
}

/// 20,000 SYNs of as many addresses within five seconds, beside peers that connect.
fn flood(watched: &mut Watched) -> u64 {
    for number in 0..20_000 {
        let now_ns = START + u64::from(number) * MS / 4;
        watched.see([stranger(number).syn(now_ns)]);
        if number % 1_000 == 0 {
            let port = u16::try_from(30_000 + number / 1_000).expect("a port");
            establish(watched, &Connection::to(v4(10, 0, 0, 2, 443), port), now_ns);
            establish(watched, &Connection::from(v4(10, 0, 0, 3, port), 443), now_ns);
        }
    }
    START + 5 * S
}

/// Hard case `strangers`.
#[test]
fn a_flood_is_one_line_and_nothing_of_it_is_missed() {
    let mut watched = Watched::with_room(2_000);
    let now_ns = flood(&mut watched);
    for group in Group::ALL {
        let snapshot = taken(&mut watched, group, now_ns);
        assert!(snapshot.peer_count <= 2 + Strangers::KEPT, "{} peers", snapshot.peer_count);
        check_sum(&snapshot);
    }
    let snapshot = taken(&mut watched, Group::Peer, now_ns);
    let real: Vec<_> =
        snapshot.rows.iter().filter(|row| row.figures.counts.of(Outcome::Established) > 0).collect();
    assert_eq!(real.len(), 2, "they have their places");
    let Strangers { addresses: Estimate { number, is_exact }, total, evicted, .. } = &snapshot.strangers;
    assert!(!is_exact && number.abs_diff(19_900) < 19_900 / 20, "{number} addresses");
    assert_eq!(total.attempts(), 20_000 - Strangers::KEPT as u64);
    assert!((18_000..20_000).contains(evicted), "{evicted}");
    assert_eq!(snapshot.missed.total(), 0, "{:?}", snapshot.missed);
}

/// A reader that restarts its counts has no strangers from before; another one keeps them.
#[test]
fn strangers_are_restarted_with_the_counts() {
    let mut watched = Watched::with_room(2_000);
    let now_ns = flood(&mut watched);
    let other = watched.engine.add_reader(Default::default());
    watched.engine.reset(watched.reader, now_ns);
    let mine = taken(&mut watched, Group::Peer, now_ns).strangers;
    assert_eq!((mine.addresses, mine.evicted), (Estimate { number: 0, is_exact: true }, 0));
    for number in 0..10 {
        watched.see([stranger(30_000 + number).syn(now_ns + MS)]);
    }
    let mine = taken(&mut watched, Group::Peer, now_ns + 2 * MS).strangers;
    assert_eq!(mine.addresses, Estimate { number: 10, is_exact: true });
    let request = SnapshotRequest::totals(Span::Window);
    let theirs = watched.engine.snapshot(other, &request, now_ns + 2 * MS).strangers;
    assert_eq!(theirs.total.opened, 20_010 - Strangers::KEPT as u64);
}

#[test]
fn a_stranger_that_completes_a_handshake_is_a_peer() {
    let mut watched = Watched::new();
    let most = u32::try_from(Strangers::KEPT).expect("few");
    watched.see((0..most + 20).map(|number| stranger(number).syn(START)));
    assert_eq!(taken(&mut watched, Group::Peer, START).peer_count, Strangers::KEPT);
    let late = stranger(most + 5);
    watched.see([late.syn_ack(START + MS), late.ack(START + 30 * MS)]);
    let again = Connection { isn: 7, ..Connection::from(v4(198, 0, 0, 105, 40_001), 80) };
    watched.see([again.syn(START + 40 * MS)]);
    let snapshot = taken(&mut watched, Group::Peer, START + 50 * MS);
    check_sum(&snapshot);
    let row = snapshot.rows.iter().find(|row| row.figures.rtt.is_some()).expect("a peer");
    assert_eq!(row.key.to_string(), "198.0.0.105→:80");
    assert_eq!(row.figures.rtt.map(|rtt| rtt.max_ns), Some(29 * MS));
    let outcomes =
        |counts: &Counts| [Outcome::Established, Outcome::Pending].map(|outcome| counts.of(outcome));
    assert_eq!(outcomes(&row.figures.counts), [1, 1]);
    assert_eq!(outcomes(&snapshot.strangers.figures.counts), [0, 19]);
}

/// Over a day many addresses try. They are peers, unless they come at once.
#[test]
fn few_at_a_time_are_kept() {
    let mut watched = Watched::new();
    for number in 0..500 {
        let now_ns = START + u64::from(number) * S;
        watched.see([stranger(number).syn(now_ns), stranger(number).rst_of_responder(now_ns + MS)]);
        let snapshot = taken(&mut watched, Group::Peer, now_ns + 2 * MS);
        let newest = stranger(number).opener.address;
        let has_newest = snapshot
            .rows
            .iter()
            .any(|row| matches!(row.key, tcptop_core::RowKey::Peer(peer) if peer.service.address == newest));
        assert!(has_newest, "number {number}");
        check_sum(&snapshot);
    }
    let snapshot = taken(&mut watched, Group::Peer, START + 500 * S);
    assert_eq!(snapshot.peer_count, Strangers::KEPT);
    assert_eq!(snapshot.strangers.addresses, Estimate { number: 400, is_exact: true });
    assert_eq!((snapshot.strangers.total.of(Outcome::Refused), snapshot.missed.total()), (400, 0));
}

fn eviction(of: &SegmentRecord, time_ns: u64) -> Record {
    let mut ends = [of.source, of.destination];
    ends.sort_unstable_by_key(|end| (end.address, end.port));
    Record::EvictedFlow(EvictedFlowRecord {
        time_ns,
        interface: INTERFACE,
        ends,
        volumes: Default::default(),
        learned: None,
    })
}

/// Of the flows that the source evicts, those that are missed already, or whose opener is a stranger, are not missed again.
#[test]
fn what_is_missed_is_counted_once() {
    let mut watched = Watched::new();
    let known = Connection::to(v4(10, 0, 0, 2, 443), 30_000);
    establish(&mut watched, &known, START);
    let unheard_of = Connection::to(v4(10, 0, 0, 2, 443), 30_001);
    watched.see([stranger(1).syn(START)]);
    for connection in [known, unheard_of, stranger(1)] {
        watched.see([eviction(&connection.syn(START), START + S)]);
    }
    let mut counters = Counters::default();
    (0..3).for_each(|_| counters.count(Counter::EvictedFlow));
    counters.count(Counter::Missed(RecordKind::Segment(probe_common::SegmentKind::Syn)));
    (0..2).for_each(|_| counters.count(Counter::Missed(RecordKind::EvictedFlow)));
    watched.handle(Input::Counters { counters: &counters, now_ns: START + S });
    let missed = taken(&mut watched, Group::Peer, START + S).missed;
    assert_eq!(missed.of_kind(Missed::KernelFlow), 1, "the one whose handshake was seen");
    assert_eq!(missed.of_kind(Missed::Record(RecordKind::EvictedFlow)), 2);
    assert_eq!(missed.total(), 2, "it, and the SYN: {missed:?}");
}
