//! The event log.

mod support;

use support::shown::{Shown, at};
use support::{Connection, MS, v4};
use tcptop_core::{Input, LogPage, Missed, Outcome, Snapshot, Verdict, What};

fn log(snapshot: &Snapshot) -> &LogPage {
    snapshot.log.as_ref().expect("they are asked for")
}

#[test]
fn a_change_of_a_verdict_is_one_entry() {
    let mut shown = Shown::new();
    shown.refuse(40_000, at(100));
    let mut changes = Vec::new();
    for quarter in 1..100 {
        let snapshot = shown.take(at(250 * quarter));
        changes = log(&snapshot)
            .rows
            .iter()
            .filter(|row| matches!(row.what, What::Verdict { .. }))
            .cloned()
            .collect();
    }
    let listed: Vec<_> = changes
        .iter()
        .map(|entry| match entry.what {
            What::Verdict { before, after, .. } => (entry.time_ns, before, after),
            _ => unreachable!(),
        })
        .collect();
    let refuses = Some(Verdict::Refused);
    assert_eq!(listed, [(at(20_000), refuses, None), (at(250), None, refuses)]);
}

#[test]
fn entries_are_listed_newest_first_with_their_port() {
    let mut shown = Shown::new();
    shown.refuse(40_000, at(0));
    let silent = Connection::to(v4(10, 0, 0, 3, 443), 41_000);
    shown.watched.see([silent.syn(at(10)), silent.syn(at(1_010))]);
    let half = Connection::from(v4(198, 51, 100, 7, 6_000), 80);
    shown.watched.see([half.syn(at(20)), half.syn_ack(at(21)), half.syn_ack(at(1_021))]);
    let reset = Connection::to(v4(10, 0, 0, 4, 443), 42_000);
    shown.watched.see([
        reset.syn(at(30)),
        reset.syn_ack(at(31)),
        reset.ack(at(32)),
        reset.rst_of_responder(at(40)),
    ]);
    let early = Connection::to(v4(10, 0, 0, 5, 443), 43_000);
    shown.watched.see([early.syn(at(50)), early.syn_ack(at(51)), early.rst_of_responder(at(52))]);
    shown.establish(2, 44_000, at(60), MS);
    shown.take(at(2_000));
    let snapshot = shown.take(at(20_000));
    let listed: Vec<_> = log(&snapshot)
        .rows
        .iter()
        .filter_map(|entry| match &entry.what {
            What::Failed(flow) => Some(("failed", flow.port(), flow.outcome(), 1)),
            What::Reset(flow) => Some(("reset", flow.port(), flow.outcome(), 1)),
            What::Retransmits { flow, count, .. } => Some(("resent", flow.port(), flow.outcome(), *count)),
            What::Verdict { .. } | What::Missed { .. } => None,
        })
        .collect();
    assert_eq!(
        listed,
        [
            ("failed", 6_000, Outcome::HalfOpen, 1),
            ("failed", 41_000, Outcome::Unanswered, 1),
            ("resent", 6_000, Outcome::HalfOpen, 1),
            ("resent", 41_000, Outcome::Unanswered, 1),
            ("failed", 43_000, Outcome::Reset, 1),
            ("reset", 42_000, Outcome::Reset, 1),
            ("failed", 40_000, Outcome::Refused, 1),
        ]
    );
    assert_eq!(log(&snapshot).matching, log(&snapshot).rows.len());
    assert!(log(&snapshot).rows.is_sorted_by_key(|row| core::cmp::Reverse(row.time_ns)));

    shown.request.query.filter = "lport:41000".parse().expect("a filter");
    let snapshot = shown.take(at(20_000));
    assert_eq!(log(&snapshot).matching, 2, "{:?}", log(&snapshot));
    shown.request.query.filter = "peer:10.0.0.9 verdict:R".parse().expect("a filter");
    let snapshot = shown.take(at(20_000));
    assert!(log(&snapshot).rows.iter().any(|row| matches!(row.what, What::Verdict { .. })));
    assert!(log(&snapshot).rows.iter().all(|row| !matches!(row.what, What::Reset(_))));
}

/// A scan causes thousands of refusals; they must not displace what was missed meanwhile.
#[test]
fn entries_are_bounded_by_sort() {
    let mut shown = Shown::new();
    let silent = Connection::to(v4(10, 0, 0, 3, 443), 41_000);
    shown.watched.see((0..5).map(|n| silent.syn(at(10 + n * 100))));
    for port in 1..3_000 {
        shown.refuse(port, at(1_000) + u64::from(port));
    }
    shown.request.log = 10_000;
    shown.take(at(1_500));
    shown.watched.handle(Input::Undecodable(7));
    let snapshot = shown.take(at(2_000));
    let count = |is: fn(&What) -> bool| log(&snapshot).rows.iter().filter(|row| is(&row.what)).count();
    assert_eq!(count(|what| matches!(what, What::Failed(_))), 1_024);
    assert_eq!(count(|what| matches!(what, What::Retransmits { count: 4, .. })), 1, "one burst");
    assert_eq!(count(|what| matches!(what, What::Missed { kind: Missed::Undecodable, count: 7 })), 1);
    shown.watched.handle(Input::Undecodable(9));
    let snapshot = shown.take(at(2_500));
    let lost =
        log(&snapshot).rows.iter().find(|row| matches!(row.what, What::Missed { .. })).expect("listed");
    assert_eq!(lost.what, What::Missed { kind: Missed::Undecodable, count: 9 });
    shown.request.query.filter = "peer:192.0.2.1".parse().expect("a filter");
    let snapshot = shown.take(at(2_750));
    assert_eq!(log(&snapshot).matching, 1, "what was lost may be what is asked for");
}
