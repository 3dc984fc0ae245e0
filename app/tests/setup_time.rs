//! The setup time: what the application waits, from the first SYN to the ACK.

mod support;

use support::shown::{Shown, at};
use support::{Connection, MS, S, v4};
use tcptop_core::{Group, Query, Span, Thresholds, Verdict};

/// A connection whose first SYN was lost, and the second one sent so much later.
fn wait(shown: &mut Shown, port: u16, began_ns: u64, later_ns: u64) {
    let late = Connection::to(v4(10, 0, 0, 2, 443), port);
    let again_ns = began_ns + later_ns;
    shown.watched.see([late.syn(began_ns), late.syn(again_ns - 16 * MS)]);
    shown.watched.see([late.syn_ack(again_ns - MS), late.ack(again_ns)]);
}

/// Hard case `setup-time`: 22 connects of 247 take half a second or more. The percentiles of the RTT do not have them, because
/// nothing says which SYN was answered.
#[test]
fn a_few_long_waits_among_many_make_a_verdict() {
    let mut shown = Shown::with(Thresholds::default());
    for n in 0..225 {
        shown.establish(2, 20_000 + n, at(10 * u64::from(n)), 15 * MS);
    }
    for n in 0..22 {
        wait(&mut shown, 30_000 + n, at(100 * u64::from(n)), S);
    }
    let snapshot = shown.take(at(3_500));
    let row = &snapshot.rows[0];
    let present: Vec<Verdict> = row.present.iter().map(|(verdict, _)| verdict).collect();
    assert_eq!(present, [Verdict::SlowSetup, Verdict::Loss], "and why");
    assert_eq!(row.since_ns, Some(at(1_000)), "since the first of them was established");
    let (rtt, setup) = (row.figures.rtt.unwrap(), row.figures.setup.unwrap());
    assert_eq!((rtt.samples, rtt.max_ns, setup.samples), (225, 15 * MS, 247));
    assert!(setup.p90_ns < 16 * MS && setup.p99_ns >= S, "{setup:?}");
    assert_eq!(row.figures.counts.slow_setups, 22);
    let past = snapshot.selection.unwrap().timeline.unwrap();
    assert_eq!(past.moments.iter().map(|moment| moment.slow_setups).sum::<u64>(), 22);
}

/// One or two are a fact, and fewer than one in a hundred of many.
#[test]
fn too_few_long_waits_make_no_verdict() {
    let verdict = |fast: u16, slow: u16| {
        let mut shown = Shown::with(Thresholds::default());
        (0..fast).for_each(|n| shown.establish(2, 20_000 + n, at(u64::from(n)), MS));
        (0..slow).for_each(|n| wait(&mut shown, 30_000 + n, at(0), 499 * MS));
        assert!(
            !shown.take(at(900)).rows[0].present.iter().any(|(verdict, _)| verdict == Verdict::SlowSetup)
        );
        (0..slow).for_each(|n| wait(&mut shown, 40_000 + n, at(0), 500 * MS));
        let snapshot = shown.take(at(1_000));
        let counts = &snapshot.rows[0].figures.counts;
        assert_eq!(counts.slow_setups, u64::from(slow));
        snapshot.rows[0].present.iter().any(|(verdict, _)| verdict == Verdict::SlowSetup)
    };
    assert!(!verdict(10, 2) && verdict(10, 3), "at least three");
    assert!(!verdict(300, 3) && verdict(294, 3), "and one in a hundred");
}

/// In a group, too, and for the totals; it is filtered and sorted by.
#[test]
fn it_is_chosen_and_sorted_by() {
    let mut shown = Shown::with(Thresholds::default());
    (0..4).for_each(|n| wait(&mut shown, 30_000 + n, at(0), S));
    (0..10).for_each(|n| shown.establish(3, 20_000 + n, at(10), 40 * MS));
    let mut chosen = |filter: &str, sort: &str, group: Group| {
        let (filter, sort) = (filter.parse().expect(filter), sort.parse().expect(sort));
        shown.request.query = Query { filter, sort, group, ..Query::default() };
        let snapshot = shown.take(at(1_200));
        let rows = snapshot.rows.iter().map(|row| row.key.to_string()).collect::<Vec<_>>().join(" ");
        (rows, snapshot.flows.map_or(0, |flows| flows.matching))
    };
    let (slow, fast) = ("10.0.0.2:443", "10.0.0.3:443");
    let both = (format!("{slow} {fast}"), 14);
    for order in ["setup_p50", "setup_p90", "setup_p99", "setup_max"] {
        assert_eq!(chosen("", order, Group::Peer), both, "{order}");
        let reversed = chosen("", &format!("-{order}"), Group::Peer);
        assert_eq!(reversed, (format!("{fast} {slow}"), 14), "{order}");
        assert_eq!(
            chosen(&format!("{order}>500ms"), "problem", Group::Peer),
            (slow.to_owned(), 4),
            "{order}"
        );
    }
    assert_eq!(chosen("setup_p99<50ms", "peer", Group::Peer), (fast.to_owned(), 10));
    for verdict in ["verdict:W", "verdict:slow-setup", "slow_setup"] {
        assert_eq!(chosen(verdict, "peer", Group::Peer), (slow.to_owned(), 4), "{verdict}");
    }
    assert_eq!(chosen("verdict:W", "peer", Group::Host).0, "10.0.0.2");
    assert_eq!(chosen("setup>900ms", "peer", Group::Peer), (both.0, 4), "of flows only");
}

/// Nothing says which of several SYNs was answered, so that the RTT is not known; the setup time is.
#[test]
fn a_repeated_syn_has_a_setup_time_and_no_rtt() {
    let mut shown = Shown::new();
    for n in 0..9 {
        shown.establish(2, 20_000 + n, at(10 * u64::from(n)), 2 * MS);
    }
    let late = Connection::to(v4(10, 0, 0, 2, 443), 30_000);
    shown.watched.see([late.syn(at(100)), late.syn(at(1_124)), late.syn_ack(at(1_126)), late.ack(at(1_127))]);
    let snapshot = shown.take(at(1_200));
    let figures = &snapshot.rows[0].figures;
    let (rtt, setup) = (figures.rtt.unwrap(), figures.setup.unwrap());
    assert_eq!((rtt.samples, setup.samples), (9, 10));
    assert_eq!((rtt.max_ns, setup.max_ns), (2 * MS, 1_027 * MS));
    assert_eq!(setup.p99_ns, 1_027 * MS);
    assert!(setup.p90_ns < S);
    let selection = snapshot.selection.as_ref().unwrap();
    for total in [&snapshot.total, &snapshot.recent, &selection.total] {
        assert_eq!(total.setup.map(|setup| (setup.samples, setup.max_ns)), Some((10, 1_027 * MS)));
    }
    assert_eq!(selection.setup_bars.iter().map(|bar| bar.count).sum::<u64>(), 10);
    assert_eq!(shown.watched.snapshot(Span::SinceStart, at(1_200)).total.setup, snapshot.total.setup);
}
