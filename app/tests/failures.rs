//! Hard case `failed-on-this-host`: connects that fail before any SYN leaves this host.

mod support;

use probe_common::{FailureRecord, FailureStage, Record};
use support::{Connection, MS, S, START, Watched, v4};
use tcptop_core::{FailureCause, Input, Outcome, Query, Role, SnapshotRequest, Span, Verdict, Why};

/// The end that this host connects to.
fn connection(port: u16) -> Connection {
    Connection::to(v4(10, 0, 0, 2, 443), port)
}

fn failure(connection: &Connection, time_ns: u64) -> FailureRecord {
    FailureRecord {
        time_ns,
        began_ns: Some(time_ns - MS),
        cookie: 7,
        interface: None,
        local: connection.opener,
        remote: connection.responder,
        errno: Some(113),
        stage: FailureStage::Sending,
    }
}

#[test]
fn a_failure_is_an_attempt_that_is_over_and_has_no_segments() {
    let mut watched = Watched::new();
    watched.see([failure(&connection(1), START)]);
    let flow = watched.only().clone();
    assert_eq!((flow.outcome(), flow.role()), (Outcome::FailedLocally, Some(Role::Client)));
    assert_eq!((flow.tries(), flow.segments(), flow.refusal(), flow.setup_ns()), (None, 0, None, None));
    assert_eq!((flow.first_ns(), flow.changed_ns()), (START - MS, START));
    let failure = flow.failure().expect("it failed");
    assert_eq!((failure.cause, failure.errno), (FailureCause::HostUnreachable, Some(113)));
    let total = watched.snapshot(Span::SinceStart, START + S).total.counts;
    assert_eq!((total.attempts(), total.of(Outcome::FailedLocally), total.opened), (1, 1, 1));
    assert_eq!((total.segments(), total.retransmit_share()), (0, None), "no SYN was seen");
    watched.expire(START + 100 * S).finish(START + 200 * S);
    assert_eq!(watched.handshakes().len(), 1, "told once");
}

/// What was seen first to go wrong: the time of a refusal was taken from the failure, not from the SYN.
#[test]
fn what_is_seen_later_on_the_same_ports_is_another_flow() {
    let connection = connection(1);
    let mut watched = Watched::new();
    let failed = Record::from(failure(&connection, START));
    let again = Connection { isn: 4_294_967_294, ..connection };
    watched.see([connection.syn(START).into(), failed, again.syn(START).into()]);
    watched.see([connection.rst_of_responder(START), again.rst_of_responder(START + 5 * MS)]);
    let outcomes: Vec<_> =
        watched.handshakes().iter().map(|flow| (flow.outcome(), flow.refusal().is_some())).collect();
    assert_eq!(outcomes.iter().filter(|(outcome, _)| *outcome == Outcome::FailedLocally).count(), 1);
    for (outcome, has_refusal) in outcomes {
        assert_eq!(has_refusal, outcome == Outcome::Refused, "{:?}", watched.handshakes());
    }
}

#[test]
fn a_failure_changes_nothing_of_a_connection_on_the_same_ports() {
    let connection = connection(1);
    let mut watched = Watched::new();
    watched.see([connection.syn(START), connection.syn_ack(START + MS)]);
    watched.see([failure(&connection, START + 2 * MS)]);
    watched.see([connection.ack(START + 3 * MS)]);
    let outcomes: Vec<Outcome> = watched.handshakes().iter().map(|flow| flow.outcome()).collect();
    assert_eq!(outcomes, [Outcome::FailedLocally, Outcome::Established]);
    let flow = watched.handshakes()[1].clone();
    assert_eq!((flow.setup_ns(), flow.failure()), (Some(3 * MS), None));
}

/// Without room the failure is told all the same, and evicts no connection.
#[test]
fn a_full_table_keeps_its_connections() {
    let mut watched = Watched::with_room(1);
    let connection = connection(1);
    watched.see([connection.syn(START), connection.syn_ack(START + MS), connection.ack(START + 2 * MS)]);
    watched.see((2..6).map(|port| failure(&self::connection(port), START + S)));
    assert_eq!(watched.handshakes().len(), 5);
    let ids: std::collections::BTreeSet<u64> = watched.handshakes().iter().map(|flow| flow.id()).collect();
    assert_eq!(ids.len(), 5, "each has its number");
    let flows = watched.flows(START + S);
    assert_eq!(flows.iter().map(|flow| flow.outcome()).collect::<Vec<_>>(), [Outcome::Established]);
}

#[test]
fn failures_have_a_verdict_a_word_an_order_and_terms() {
    let mut watched = Watched::new();
    watched.see([failure(&connection(1), START)]);
    let other = Connection::to(v4(10, 0, 0, 3, 443), 2);
    watched.see([other.syn(START), other.rst_of_responder(START + MS)]).expire(START + S);
    let mut rows = |filter: &str, sort: &str| {
        let query = Query {
            filter: filter.parse().expect("it is a filter"),
            sort: sort.parse().expect("an order"),
            ..Query::default()
        };
        let request = SnapshotRequest { query, rows: 10, ..SnapshotRequest::totals(Span::Window) };
        watched.engine.snapshot(watched.reader, &request, START + S).rows
    };
    let all = rows("", "failed");
    assert_eq!(all.len(), 2);
    assert_eq!(all[0].verdict, Some(Verdict::Failed));
    assert_eq!(all[0].why, Some(Why::Failure(FailureCause::HostUnreachable)));
    for term in ["verdict:F", "verdict:failed", "failed>0", "outcome:failed-locally", "why:neighbour"] {
        assert_eq!(rows(term, "problem").len(), 1, "{term}");
    }
    assert_eq!(rows("failed=0", "-failed").len(), 1);
}

#[test]
fn a_reset_of_the_counts_leaves_no_part_without_its_whole() {
    let mut watched = Watched::new();
    watched.see([failure(&connection(1), START)]);
    watched.engine.reset(watched.reader, START + MS);
    watched.see([failure(&connection(2), START + S)]).handle(Input::Time { now_ns: START + S });
    let request = SnapshotRequest::totals(Span::SinceStart);
    let counts = watched.engine.snapshot(watched.reader, &request, START + S).total.counts;
    assert_eq!((counts.attempts(), counts.segments()), (1, 0));
}
