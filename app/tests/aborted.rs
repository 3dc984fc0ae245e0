//! Connections that are accepted and then reset by the same end: their count, their verdict, and where they are shown. The
//! scenarios of the hard case `reset-after-connect` say which connections these are.

mod support;

use probe_common::counter::{Counter, Counters};
use probe_common::{RecordKind, SegmentKind};
use support::shown::{Shown, at};
use support::{Connection, MS, S, v4};
use tcptop_core::{Filter, Input, Outcome, Query, RowOrder, Sort, Span, Thresholds, Verdict};

fn to(port: u16) -> Connection {
    Connection::to(v4(10, 0, 0, 7, 5000), port)
}

/// A connection whose request is answered by a RST.
fn abort(shown: &mut Shown, port: u16, began_ns: u64) {
    let connection = to(port);
    let established =
        [connection.syn(began_ns), connection.syn_ack(began_ns + MS), connection.ack(began_ns + 2 * MS)];
    shown.watched.see(established);
    shown.watched.see([connection.rst_of_responder(began_ns + 4 * MS)]);
}

fn establish(shown: &mut Shown, port: u16, began_ns: u64) {
    let connection = to(port);
    shown.watched.see([
        connection.syn(began_ns),
        connection.syn_ack(began_ns + MS),
        connection.ack(began_ns + 2 * MS),
    ]);
}

fn verdicts(shown: &mut Shown, now_ns: u64) -> Vec<Verdict> {
    shown.take(now_ns).rows[0].present.iter().map(|(verdict, _)| verdict).collect()
}

/// Hard case `reset-after-connect`: twenty of twenty connections are reset by the peer, and the verdict says so.
#[test]
fn a_peer_that_resets_what_it_accepts_has_a_verdict() {
    let mut shown = Shown::with(Thresholds::default());
    (0..20).for_each(|n| abort(&mut shown, 40_000 + n, at(10 * u64::from(n))));
    let snapshot = shown.take(at(500));
    let row = &snapshot.rows[0];
    assert_eq!((row.verdict, row.since_ns), (Some(Verdict::Aborted), Some(at(2))));
    let counts = &row.figures.counts;
    assert_eq!((counts.aborted, counts.of(Outcome::Established), counts.attempts()), (20, 20, 20));
    assert_eq!((snapshot.recent.counts.aborted, snapshot.total.counts.aborted), (20, 20));
    let log = snapshot.log.expect("asked for").rows;
    assert!(
        log.iter().any(|entry| matches!(&entry.what, tcptop_core::What::Reset(flow) if flow.is_aborted()))
    );
}

#[test]
fn a_few_of_many_and_too_few_at_all_make_no_verdict() {
    let mut shown = Shown::with(Thresholds::default());
    (0..2).for_each(|n| abort(&mut shown, 40_000 + n, at(0)));
    assert_eq!(verdicts(&mut shown, at(100)), [], "2 of 2");
    (0..1).for_each(|n| abort(&mut shown, 40_010 + n, at(10)));
    assert_eq!(verdicts(&mut shown, at(200)), [Verdict::Aborted], "3 of 3");
    (0..30).for_each(|n| establish(&mut shown, 41_000 + n, at(20)));
    assert_eq!(verdicts(&mut shown, at(300)), [], "3 of 33");
}

/// A RST may come when its handshake is no longer counted: then it is not counted, either.
#[test]
fn what_is_aborted_is_counted_with_its_handshake() {
    let mut shown = Shown::new();
    let [before, after] = [40_000, 40_001].map(to);
    shown.watched.see([before.syn(at(0)), before.syn_ack(at(1)), before.ack(at(2))]);
    shown.watched.engine.reset(shown.watched.reader, at(100));
    shown.watched.see([after.syn(at(200)), after.syn_ack(at(201)), after.ack(at(202))]);
    shown.watched.see([before.rst_of_responder(at(300)), after.rst_of_responder(at(300))]);
    let counts = shown.take(at(400)).total.counts;
    assert_eq!((counts.aborted, counts.attempts()), (1, 1));
    let all = shown.watched.snapshot(Span::SinceStart, at(400)).total.counts;
    assert_eq!((all.aborted, all.attempts()), (2, 2), "another reader restarted nothing");
    // The window leaves both at once.
    for second in 1..30 {
        let counts = shown.take(at(400) + second * S).recent.counts;
        assert_eq!(counts.aborted, counts.of(Outcome::Established), "after {second} s");
    }
}

/// Data of the responder may have passed unseen.
#[test]
fn nothing_is_aborted_while_records_are_missed() {
    let mut shown = Shown::new();
    let connection = to(40_000);
    shown.watched.see([connection.syn(at(0)), connection.syn_ack(at(1)), connection.ack(at(2))]);
    let mut counters = Counters::default();
    counters.count(Counter::Missed(RecordKind::Segment(SegmentKind::Ack)));
    shown.watched.handle(Input::Counters { counters: &counters, now_ns: at(3) }).expire(at(3));
    shown.watched.see([connection.rst_of_responder(at(4))]);
    assert_eq!(shown.take(at(5)).total.counts.aborted, 0);
    assert!(!shown.watched.closes()[0].is_aborted());
}

#[test]
fn it_is_chosen_and_sorted_by() {
    let mut shown = Shown::new();
    (0..4).for_each(|n| abort(&mut shown, 40_000 + n, at(10)));
    shown.establish(2, 40_100, at(20), MS);
    let mut chosen = |filter: &str| {
        let filter: Filter = filter.parse().expect(filter);
        shown.request.query =
            Query { filter, sort: Sort { by: RowOrder::Aborted, reversed: false }, ..Query::default() };
        let snapshot = shown.take(at(100));
        let rows: Vec<String> = snapshot.rows.iter().map(|row| row.key.to_string()).collect();
        (rows, snapshot.flows.map_or(0, |flows| flows.matching))
    };
    let (aborting, other) = ("10.0.0.7:5000".to_owned(), "10.0.0.2:443".to_owned());
    assert_eq!(chosen(""), (vec![aborting.clone(), other.clone()], 5));
    assert_eq!(chosen("aborted>0"), (vec![aborting.clone()], 4));
    assert_eq!(chosen("!aborted>0"), (vec![other], 1));
    for verdict in ["verdict:A", "aborted", "verdict:aborted"] {
        assert_eq!(chosen(verdict), (vec![aborting.clone()], 4), "{verdict}");
    }
}
