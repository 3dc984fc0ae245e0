//! Successive snapshots: held verdicts, groups, order, selection and resets.

mod support;

use proptest::collection::vec;
use proptest::prelude::{any, prop_assert, prop_assert_eq, proptest};
use support::shown::{START, Shown, at};
use support::{Connection, MS, Watched, v4, v6};
use tcptop_core::units::Share;
use tcptop_core::{
    FlowOrder, Group, Input, Leg, Outcome, Query, ReaderConfig, RowOrder, Slow, Snapshot, SnapshotRequest,
    Sort, Span, Thresholds, Verdict,
};

/// Filters that exclude some of the peers of a group.
const FILTERS: [&str; 4] = ["", "!peer:10.0.0.0/24", "!peer:10.0.1.1", "peer:10.9.9.9"];

fn verdicts(snapshot: &Snapshot) -> Vec<(String, Option<Verdict>, bool)> {
    let row = |row: &tcptop_core::Row| (row.key.to_string(), row.verdict, row.is_recovering());
    snapshot.rows.iter().map(row).collect()
}

#[test]
fn a_verdict_is_held_for_one_full_window() {
    let mut shown = Shown::new();
    shown.refuse(40_000, at(0));
    for n in 0..400 {
        shown.establish(2, 20_000 + n, at(100 * u64::from(n)), MS);
    }
    let bad = ("10.0.0.9:6379".to_owned(), Some(Verdict::Refused));
    let mut states = Vec::new();
    for quarter in 1..120 {
        let snapshot = shown.take(at(250 * quarter));
        let [first, _] = &verdicts(&snapshot)[..] else { panic!("two peers") };
        let state = if (&first.0, first.1) == (&bad.0, bad.1) { 1 + u8::from(first.2) } else { 0 };
        let since_ns = snapshot.rows[0].since_ns;
        assert_eq!(since_ns, (state > 0).then_some(at(1)), "since it began");
        if states.last().is_none_or(|(last, _)| *last != state) {
            states.push((state, 250 * quarter));
        }
    }
    // The window slides by buckets of one second; 1,000 s starts one.
    assert_eq!(states, [(1, 250), (2, 10_000), (0, 20_000)]);
}

/// The share of failures varies around the threshold: the row keeps its place.
#[test]
fn rows_do_not_flicker() {
    let mut shown = Shown::new();
    let mut port = 20_000;
    for second in 0..40 {
        for n in 0..10 {
            port += 1;
            if second % 2 == 0 && n < 2 {
                shown.refuse(port, at(second * 1_000 + n * 10));
            } else {
                let fine = Connection::to(v4(10, 0, 0, 9, 6379), port);
                let began_ns = at(second * 1_000 + n * 10);
                shown.watched.see([
                    fine.syn(began_ns),
                    fine.syn_ack(began_ns + MS),
                    fine.ack(began_ns + 2 * MS),
                ]);
            }
        }
        for quarter in 1..4 {
            let snapshot = shown.take(at(second * 1_000 + quarter * 250));
            assert_eq!(snapshot.rows[0].verdict, Some(Verdict::Refused), "{second} s");
        }
    }
}

/// How quickly a RST came says who refuses: a host at once, a firewall often later.
#[test]
fn refusals_are_timed_from_the_quickest_to_the_slowest() {
    let mut shown = Shown::new();
    let refuse = |shown: &mut Shown, host: u8, port: u16, after_ns: u64| {
        let refused = Connection::to(v4(10, 0, 0, host, 6379), port);
        shown.watched.see([refused.syn(at(10)), refused.rst_of_responder(at(10) + after_ns)]);
    };
    refuse(&mut shown, 9, 40_000, MS);
    refuse(&mut shown, 9, 40_001, 300 * MS);
    refuse(&mut shown, 9, 40_002, 20 * MS);
    refuse(&mut shown, 8, 40_003, 2 * MS);
    shown.establish(7, 40_004, at(10), MS);
    let refusals = |snapshot: &Snapshot| -> Vec<(String, Option<Leg>)> {
        snapshot.rows.iter().map(|row| (row.key.to_string(), row.figures.refusals)).collect()
    };
    shown.request.query.sort = "peer".parse().expect("an order");
    let between = |min_ns, max_ns| Some(Leg::Between { min_ns, max_ns });
    let snapshot = shown.take(at(500));
    let expected = [
        ("10.0.0.7:443", None),
        ("10.0.0.8:6379", Some(Leg::Exact(2 * MS))),
        ("10.0.0.9:6379", between(MS, 300 * MS)),
    ];
    assert_eq!(refusals(&snapshot), expected.map(|(peer, leg)| (peer.to_owned(), leg)));
    assert_eq!(snapshot.total.refusals, between(MS, 300 * MS));
    shown.request.query.group = Group::Service;
    let services = refusals(&shown.take(at(600)));
    assert!(services.iter().any(|(_, leg)| *leg == between(MS, 300 * MS)), "{services:?}");
    shown.watched.engine.reset(shown.watched.reader, at(700));
    assert_eq!(shown.take(at(800)).total.refusals, None);
}

/// Three hosts with one service, one of them with another, and one that connects to this host.
fn three_services() -> Shown {
    let mut shown = Shown::new();
    for (host, rtt_ms) in [(2, 10), (3, 20), (130, 300)] {
        for n in 0..10 {
            shown.establish(host, 20_000 + n, at(u64::from(n)), rtt_ms * MS);
        }
    }
    let other = Connection::to(v4(10, 0, 0, 2, 80), 21_000);
    shown.watched.see([other.syn(at(0)), other.syn_ack(at(30)), other.ack(at(31))]);
    let from = Connection::from(v6("2001:db8::7", 50_000), 22);
    shown.watched.see([from.syn(at(0)), from.syn_ack(at(1)), from.ack(at(11))]);
    shown
}

#[test]
fn peers_are_grouped() {
    let mut shown = three_services();
    let mut rows = |group: Group| {
        shown.request.query.group = group;
        let snapshot = shown.take(at(500));
        assert_eq!((snapshot.row_count, snapshot.matching), (snapshot.rows.len(), snapshot.rows.len()));
        let row = |row: &tcptop_core::Row| {
            let rtt = row.figures.rtt.expect("all were established");
            (row.key.to_string(), row.peers, row.figures.counts.of(Outcome::Established), rtt.p50_ns / MS)
        };
        let mut rows: Vec<_> = snapshot.rows.iter().map(row).collect();
        rows.sort();
        rows
    };
    let rows_of = |rows: &[(&str, usize, u64, u64)]| -> Vec<(String, usize, u64, u64)> {
        rows.iter().map(|(key, peers, count, p50)| ((*key).to_owned(), *peers, *count, *p50)).collect()
    };
    assert_eq!(
        rows(Group::Host),
        rows_of(&[
            ("10.0.0.130", 1, 10, 300),
            ("10.0.0.2", 2, 11, 10),
            ("10.0.0.3", 1, 10, 20),
            ("2001:db8::7", 1, 1, 10)
        ])
    );
    assert_eq!(rows(Group::Subnet), rows_of(&[("10.0.0.0/24", 4, 31, 20), ("2001:db8::/64", 1, 1, 10)]));
    assert_eq!(
        rows(Group::Service),
        rows_of(&[("*:443", 3, 30, 20), ("*:80", 1, 1, 30), ("*→:22", 1, 1, 10)])
    );
    assert_eq!(rows(Group::Role), rows_of(&[("client", 4, 31, 20), ("server", 1, 1, 10)]));
    assert_eq!(rows(Group::Interface), rows_of(&[("#7", 5, 32, 20)]));
    assert_eq!(rows(Group::Peer).len(), 5);
}

#[test]
fn groups_are_made_of_matching_peers() {
    let mut shown = three_services();
    shown.request.query = Query { group: Group::Subnet, ..Query::default() };
    shown.request.query.filter = "port:443".parse().expect("a filter");
    let snapshot = shown.take(at(600));
    assert_eq!((snapshot.rows.len(), snapshot.rows[0].peers), (1, 3), "rows are made of what matches");
    let selection = snapshot.selection.expect("there is a row");
    assert_eq!((selection.flow_count, selection.matching, selection.flows.len()), (30, 30, 10));
    assert!(selection.flows.is_sorted_by_key(|flow| core::cmp::Reverse(flow.id())));
    assert_eq!(selection.total.counts.of(Outcome::Established), 30);
    assert_eq!(selection.timeline.expect("asked for").moments[0].opened, 30);
}

#[test]
fn slow_can_be_relative_to_the_peers_own_median() {
    let slow = "3x".parse::<Slow>().expect("so many times");
    let mut shown = Shown::with(Thresholds { slow, ..support::thresholds() });
    for n in 0..100 {
        // One is far away, one is near. Both are as usual.
        shown.establish(2, 20_000 + n, at(100 * u64::from(n)), 200 * MS);
        shown.establish(3, 20_000 + n, at(100 * u64::from(n)), 2 * MS);
        // One is new, and one is too fast for a factor of three to matter.
        shown.establish(5, 20_000 + n, at(100 * u64::from(n)), 50_000);
    }
    assert!(shown.take(at(10_000)).rows.iter().all(|row| row.verdict.is_none()));
    for n in 0..40 {
        shown.establish(3, 30_000 + n, at(11_000 + 100 * u64::from(n)), 7 * MS);
        if n < 15 {
            shown.establish(4, 30_000 + n, at(11_000 + 100 * u64::from(n)), 90 * MS);
        }
        shown.establish(5, 30_000 + n, at(11_000 + 100 * u64::from(n)), 200_000);
    }
    let snapshot = shown.take(at(15_000));
    let failing: Vec<_> = snapshot.rows.iter().filter(|row| row.verdict.is_some()).collect();
    assert_eq!(failing.len(), 1, "{failing:?}");
    assert_eq!(
        (failing[0].key.to_string(), failing[0].verdict),
        ("10.0.0.3:443".into(), Some(Verdict::Slow))
    );
    assert_eq!(failing[0].since_ns, Some(at(11_007) + 9_000));
    shown.request.query.group = Group::Subnet;
    assert_eq!(
        shown.take(at(15_000)).rows[0].verdict,
        Some(Verdict::Slow),
        "a tenth of the handshakes or more"
    );
}

#[test]
fn thresholds_can_be_set() {
    let half = "50%".parse::<Share>().expect("a share");
    let mut shown = Shown::with(Thresholds { refused: half, ..support::thresholds() });
    shown.refuse(40_000, at(0));
    let fine = Connection::to(v4(10, 0, 0, 9, 6379), 41_000);
    shown.watched.see([fine.syn(at(1)), fine.syn_ack(at(2)), fine.ack(at(3))]);
    assert_eq!(shown.take(at(100)).rows[0].verdict, Some(Verdict::Refused));
    let another = Connection::to(v4(10, 0, 0, 9, 6379), 42_000);
    shown.watched.see([another.syn(at(101)), another.syn_ack(at(102)), another.ack(at(103))]);
    let row = shown.take(at(200)).rows[0];
    assert_eq!(
        (row.verdict, row.is_recovering()),
        (Some(Verdict::Refused), true),
        "a third is less than half"
    );
    assert!(Verdict::Refused.definition(&shown.take(at(300)).thresholds).contains("50%"));
}

#[test]
fn rows_are_sorted_as_requested() {
    let mut shown = Shown::new();
    for (host, count, rtt_ms) in [(2, 5, 30), (3, 9, 10), (4, 2, 20)] {
        for n in 0..count {
            shown.establish(host, 20_000 + n, at(u64::from(n)), rtt_ms * MS);
        }
    }
    shown.refuse(40_000, at(0));
    let mut order = |by, reversed| -> Vec<u8> {
        shown.request.query.sort = Sort { by, reversed };
        let host = |row: &tcptop_core::Row| match row.key {
            tcptop_core::RowKey::Peer(peer) => peer.service.address[15],
            _ => unreachable!(),
        };
        shown.take(at(500)).rows.iter().map(host).collect()
    };
    assert_eq!(order(RowOrder::Problem, false), [9, 3, 2, 4]);
    assert_eq!(order(RowOrder::Problem, true), [4, 2, 3, 9]);
    assert_eq!(order(RowOrder::Peer, false), [2, 3, 4, 9]);
    assert_eq!(order(RowOrder::Peer, true), [9, 4, 3, 2]);
    assert_eq!(order(RowOrder::New, false), [3, 2, 4, 9]);
    assert_eq!(order(RowOrder::P99, false), [2, 4, 3, 9]);
    assert_eq!(order(RowOrder::P99, true), [3, 4, 2, 9], "unknown values come last either way");
    assert_eq!(order(RowOrder::Refused, false)[0], 9);
    assert_eq!(order(RowOrder::Since, false)[0], 9);
    let mut few = shown.request.clone();
    few.rows = 2;
    few.query.sort = Sort { by: RowOrder::New, reversed: false };
    let fresh = shown.watched.engine.add_reader(ReaderConfig::default());
    let snapshot = shown.watched.engine.snapshot(fresh, &few, at(500));
    assert_eq!((snapshot.rows.len(), snapshot.matching), (2, 4));
    assert_eq!(snapshot.rows[0].figures.counts.opened, 9);
}

#[test]
fn the_selected_row_is_shown_while_it_matches() {
    let mut shown = Shown::new();
    shown.refuse(40_000, at(0));
    shown.establish(2, 20_000, at(0), MS);
    let rows = shown.take(at(100)).rows;
    shown.request.selected = Some(rows[1].key);
    shown.request.rows = 1;
    let snapshot = shown.take(at(200));
    assert_eq!(
        snapshot.selection.expect("it is there").row.key,
        rows[1].key,
        "also beyond those that are shown"
    );
    shown.request.query.filter = "port:6379".parse().expect("a filter");
    assert_eq!(shown.take(at(300)).selection.expect("there is another").row.key, rows[0].key);
    shown.request.query.filter = "port:1".parse().expect("a filter");
    assert_eq!(shown.take(at(400)).selection, None);
}

#[test]
fn a_reset_restarts_every_count() {
    let mut shown = Shown::new();
    shown.refuse(40_000, at(0));
    shown.establish(2, 20_000, at(0), MS);
    shown.watched.handle(Input::Undecodable(2));
    let before = shown.take(at(500));
    shown.watched.engine.reset(shown.watched.reader, at(1_000));
    shown.establish(2, 20_001, at(2_000), MS);
    // A second RST has no effect, but it is a record.
    let refused = Connection::to(v4(10, 0, 0, 9, 6379), 40_000);
    shown.watched.see([refused.rst_of_responder(at(2_000))]).handle(Input::Undecodable(3));
    let snapshot = shown.take(at(3_000));
    assert_eq!((before.counted_ns, snapshot.counted_ns, snapshot.started_ns), (START, at(1_000), START));
    assert_eq!((before.total.counts.opened, snapshot.total.counts.opened), (2, 1));
    assert_eq!((snapshot.records, snapshot.reported, snapshot.missed.total()), (4, 1, 1));
    assert_eq!(snapshot.total.rtt.expect("one").samples, 1);
    assert_eq!(snapshot.timeline.expect("asked for").moments[0].opened, 3, "a reset keeps the timeline");
}

/// More flows than one snapshot scans.
#[test]
fn very_many_flows_are_scanned_in_parts() {
    const FLOWS: u32 = 150_000;
    let mut watched = Watched::with_room(200_000);
    for n in 0..FLOWS {
        let port = u16::try_from(1_024 + n % 60_000).expect("a port");
        let peer = v4(10, 9, u8::try_from(n / 60_000).expect("few"), 1, 443);
        let connection = Connection::to(peer, port);
        watched.see([connection.syn(START + u64::from(n))]);
        if n % 1_000 == 7 {
            watched.see([connection.rst_of_responder(START + u64::from(n) + u64::from(n % 977))]);
        }
    }
    let query = Query {
        filter: "outcome:refused".parse().expect("a filter"),
        flow_sort: Sort { by: FlowOrder::Age, reversed: true },
        ..Query::default()
    };
    let request = SnapshotRequest { query, flows: 40, ..SnapshotRequest::totals(Span::Window) };
    let mut searched = Vec::new();
    for frame in 0..12 {
        let snapshot = watched.engine.snapshot(watched.reader, &request, at(500 + frame));
        let flows = snapshot.flows.expect("asked for");
        assert!(flows.rows.iter().all(|flow| flow.outcome() == Outcome::Refused));
        assert!(flows.rows.is_sorted_by_key(|flow| flow.id()));
        searched.push((flows.searched >= 1.0, flows.matching));
        if flows.searched >= 1.0 {
            assert_eq!((flows.matching, flows.rows.len(), flows.rows[0].id()), (150, 40, 7));
        }
    }
    assert!(!searched[0].0 && searched[0].1 < 150, "{searched:?}");
    assert!(searched[11].0, "{searched:?}");
    // Changes are seen in the next snapshot.
    let mut fresh = request.clone();
    fresh.query.flow_sort.reversed = false;
    (0..12).for_each(|frame| drop(watched.engine.snapshot(watched.reader, &fresh, at(600 + frame))));
    let connection = Connection::to(v4(10, 10, 0, 1, 443), 5);
    watched.see([connection.syn(at(700)), connection.rst_of_responder(at(701))]);
    let flows = watched.engine.snapshot(watched.reader, &fresh, at(702)).flows.expect("asked for");
    assert_eq!(flows.rows[0].id(), u64::from(FLOWS));
}

proptest! {
    #![proptest_config(support::properties(100))]

    /// What is cached between snapshots equals what a first snapshot finds.
    #[test]
    fn a_snapshot_does_not_depend_on_earlier_ones(
        steps in vec((0_u64..4_000, 0_u8..6, 0_u8..4, any::<bool>()), 1..60),
        groups in vec((0_usize..Group::ALL.len(), 0_usize..FILTERS.len()), 60),
    ) {
        let mut shown = Shown::new();
        let mut now_ns = START;
        for (number, (gap_ms, host, what, look)) in (0_u16..).zip(steps) {
            // Of several snapshots in a row only the filter changes.
            let ((group, _), (_, filter)) = (groups[usize::from(number / 8)], groups[usize::from(number)]);
            now_ns += gap_ms * MS;
            let connection = Connection::to(v4(10, 0, host % 2, host, 443), 20_000 + number);
            shown.watched.see([connection.syn(now_ns)]);
            match what {
                0 => {}
                1 => drop(shown.watched.see([connection.rst_of_responder(now_ns + MS)])),
                _ => {
                    let answered_ns = now_ns + u64::from(what) * 70 * MS;
                    shown.watched.see([connection.syn_ack(answered_ns), connection.ack(answered_ns + 1)]);
                }
            }
            if look {
                shown.request.query.group = Group::ALL[group];
                shown.request.query.filter = FILTERS[filter].parse().unwrap();
                shown.request.query.sort.by = RowOrder::P90;
                let kept = shown.take(now_ns);
                let fresh = shown.watched.engine.add_reader(ReaderConfig::default());
                let anew = shown.watched.engine.snapshot(fresh, &shown.request, now_ns);
                let figures = |snapshot: &Snapshot| -> Vec<_> {
                    let mut rows: Vec<_> =
                        snapshot.rows.iter().map(|row| (row.key, row.peers, row.figures, row.first_ns)).collect();
                    rows.sort_by_key(|row| row.0);
                    rows
                };
                prop_assert_eq!(figures(&kept), figures(&anew));
                for (kept, anew) in kept.rows.iter().zip(&anew.rows) {
                    prop_assert_eq!(kept.key, anew.key, "the order is the same");
                    let deserved = kept.verdict.filter(|_| !kept.is_recovering());
                    prop_assert!(deserved.is_none() || deserved == anew.verdict, "{:?} {:?}", kept, anew);
                }
                prop_assert_eq!((kept.matching, kept.row_count), (anew.matching, anew.row_count));
                prop_assert_eq!(&kept.recent, &anew.recent);
                prop_assert_eq!(&kept.timeline, &anew.timeline);
                prop_assert_eq!(kept.selection.map(|s| (s.total, s.timeline)), anew.selection.map(|s| (s.total, s.timeline)));
                prop_assert_eq!(kept.flows.map(|flows| flows.rows), anew.flows.map(|flows| flows.rows));
            }
        }
    }
}
