//! The window is a view: changing it loses nothing, each reader has its own, and changing back shows the same again.

mod support;

use proptest::collection::vec;
use proptest::prelude::{Just, Strategy, TestCaseError, prop_assert, prop_assert_eq, prop_oneof, proptest};
use support::shown::{START, Shown, at};
use support::{Connection, MS, S, Watched, v4};
use tcptop_core::{
    Group, Outcome, Query, ReaderConfig, ReaderId, Row, RowOrder, Snapshot, SnapshotRequest, Sort, Span,
    Verdict,
};

/// The lengths that the keys choose from, in seconds.
const CHOICES_S: [u64; 7] = [5, 10, 30, 60, 300, 900, 3_600];

fn taken(watched: &mut Watched, reader: ReaderId, group: Group, now_ns: u64) -> Snapshot {
    let sort = Sort { by: RowOrder::Peer, reversed: false };
    let query = Query { group, sort, ..Query::default() };
    let request = SnapshotRequest { query, rows: 100, ..SnapshotRequest::totals(Span::Window) };
    watched.engine.snapshot(reader, &request, now_ns)
}

/// An hour of one connection every ten seconds, whose round-trip time says when it was: a millisecond for each minute.
fn an_hour() -> Shown {
    let mut shown = Shown::new();
    for n in 0..360_u16 {
        shown.establish(2, 20_000 + n, at(10_000 * u64::from(n)), MS * u64::from(1 + n / 6));
    }
    shown
}

/// Hard case `window-change`.
#[test]
fn a_longer_window_shows_what_was_before() {
    let mut shown = an_hour();
    let now_ns = at(3_599_000);
    let mut seen = Vec::new();
    for window_s in [10, 3_600, 300, 60, 900, 30] {
        shown.watched.engine.set_window(shown.watched.reader, window_s * S);
        let snapshot = shown.take(now_ns);
        assert_eq!(snapshot.window_ns, window_s * S, "the true length");
        let rtt = snapshot.recent.rtt.expect("there are some");
        assert_eq!((snapshot.rows[0].figures, rtt.max_ns), (snapshot.recent, 60 * MS));
        assert_eq!(rtt.samples, snapshot.recent.counts.of(Outcome::Established));
        seen.push((rtt.samples, rtt.p50_ns / (MS / 10)));
    }
    // Windows of ten minutes or more begin with a minute. Beyond a minute, what is reported is the end of a bucket that is 3% wide.
    assert_eq!(seen, [(1, 600), (358, 314), (30, 587), (6, 600), (88, 534), (3, 600)]);
}

/// A rate is of the time that the window covers, which is not all of its length.
#[test]
fn rates_are_of_the_true_length() {
    let mut shown = Shown::new();
    let mut seconds = 0;
    for (window_s, now_ms, covered_s) in
        [(60, 600_000, 55), (60, 604_999, 60), (300, 607_000, 297), (1, 607_100, 1)]
    {
        while 1_000 * seconds <= now_ms {
            shown.establish(2, 20_000 + u16::try_from(seconds).expect("few"), at(1_000 * seconds), MS);
            seconds += 1;
        }
        shown.watched.engine.set_window(shown.watched.reader, window_s * S);
        let snapshot = shown.take(at(now_ms));
        let new = snapshot.recent.counts.opened;
        assert!(new.abs_diff(covered_s) <= 1, "{new} in {window_s} s");
        assert!((snapshot.new_per_s - 1.0).abs() < 0.02 || window_s == 1, "{} /s", snapshot.new_per_s);
        assert!((snapshot.rows[0].new_per_s - snapshot.new_per_s).abs() < 1e-9);
    }
    // A length that slots cannot give is rounded down to one that they can.
    shown.watched.engine.set_window(shown.watched.reader, 97 * S);
    assert_eq!(shown.take(at(608_000)).window_ns, 95 * S);
}

/// What is held, and what recovers, is what would be if the window had always had its length.
#[test]
fn verdicts_are_those_of_the_new_length() {
    let mut shown = Shown::new();
    (0..4).for_each(|n| shown.refuse(40_000 + n, at(1_000 * u64::from(n))));
    let verdict = |shown: &mut Shown, window_s: u64, now_ms: u64| {
        shown.watched.engine.set_window(shown.watched.reader, window_s * S);
        let row = shown.take(at(now_ms)).rows[0];
        (row.verdict.is_some(), row.is_recovering(), row.since_ns)
    };
    assert_eq!(verdict(&mut shown, 10, 5_000), (true, false, Some(at(1))));
    assert_eq!(verdict(&mut shown, 10, 15_000), (true, true, Some(at(1))));
    assert_eq!(verdict(&mut shown, 10, 28_000), (false, false, None), "cleared after another window");
    assert_eq!(verdict(&mut shown, 30, 28_000), (true, false, Some(at(1))), "within the last 30 s");
    assert_eq!(verdict(&mut shown, 10, 28_000), (false, false, None), "the same again");
    assert_eq!(
        verdict(&mut shown, 30, 50_000),
        (true, true, Some(at(1))),
        "held for as long as the window is"
    );
    assert_eq!(verdict(&mut shown, 5, 50_000), (false, false, None));
    assert_eq!(verdict(&mut shown, 30, 50_250), (true, true, Some(at(1))));
    assert_eq!(verdict(&mut shown, 30, 63_500), (false, false, None));
    assert_eq!(verdict(&mut shown, 60, 63_500), (true, true, Some(at(1))));
}

/// So are those of groups, whichever is the way to group that a key has switched to.
#[test]
fn verdicts_of_groups_are_those_of_the_new_length() {
    let mut shown = Shown::new();
    (0..4).for_each(|n| shown.refuse(40_000 + n, at(1_000 * u64::from(n))));
    let verdict = |shown: &mut Shown, group: Group, window_s: u64, now_ms: u64| {
        shown.watched.engine.set_window(shown.watched.reader, window_s * S);
        let reader = shown.watched.reader;
        let row = taken(&mut shown.watched, reader, group, at(now_ms)).rows[0];
        (row.verdict.is_some(), row.is_recovering(), row.since_ns)
    };
    for group in Group::ALL {
        assert_eq!(verdict(&mut shown, group, 10, 5_000), (true, false, Some(at(1))));
        assert_eq!(verdict(&mut shown, group, 10, 15_000), (true, true, Some(at(1))));
        assert_eq!(
            verdict(&mut shown, group, 10, 28_000),
            (false, false, None),
            "cleared after another window"
        );
        assert_eq!(
            verdict(&mut shown, group, 30, 28_000),
            (true, false, Some(at(1))),
            "within the last 30 s"
        );
        assert_eq!(verdict(&mut shown, group, 30, 50_000), (true, true, Some(at(1))));
        assert_eq!(verdict(&mut shown, group, 5, 50_000), (false, false, None));
        assert_eq!(verdict(&mut shown, group, 30, 50_250), (true, true, Some(at(1))), "{group:?}");
        assert_eq!(
            verdict(&mut shown, group.next(), 30, 50_500),
            (true, true, Some(at(1))),
            "after {group:?}"
        );
    }
}

/// How long a pause ends a series of failures depends on the window, and so does since when they last.
#[test]
fn since_depends_on_the_window() {
    let mut shown = Shown::new();
    for (n, second) in (0..).zip([0, 20, 24, 40, 43]) {
        shown.refuse(40_000 + n, at(1_000 * second));
    }
    let mut since_s = |window_s: u64| {
        shown.watched.engine.set_window(shown.watched.reader, window_s * S);
        let since_ns = shown.take(at(44_000)).rows[0].since_ns.expect("it is refused");
        (since_ns - START) / S
    };
    assert_eq!([5, 10, 30, 60].map(&mut since_s), [40, 40, 0, 0]);
    assert_eq!([10, 5].map(&mut since_s), [40, 40]);
}

#[test]
fn attempts_that_wait_are_not_forgotten_by_another_window() {
    let mut shown = Shown::new();
    let silent = |port| Connection::to(v4(10, 0, 0, 5, 80), port);
    shown.watched.see((0..3).map(|n| silent(30_000 + n).syn(at(0))));
    for second in [1_000, 3_000] {
        shown.watched.see((0..3).map(|n| silent(30_000 + n).syn(at(second))));
    }
    let before = shown.take(at(6_000)).rows[0];
    assert_eq!((before.verdict, before.figures.counts.unanswered()), (Some(Verdict::Unanswered), 3));
    shown.watched.engine.set_window(shown.watched.reader, 60 * S);
    let after = shown.take(at(6_000)).rows[0];
    assert_eq!(
        (after.verdict, after.figures.counts, after.since_ns),
        (before.verdict, before.figures.counts, before.since_ns)
    );
}

/// A restart of the counts restarts since when something is wrong, for the reader that asked, and keeps the event log.
#[test]
fn a_reset_restarts_since() {
    let mut shown = Shown::new();
    let other = shown.watched.engine.add_reader(ReaderConfig::default());
    (0..4).for_each(|n| shown.refuse(40_000 + n, at(1_000 * u64::from(n))));
    let logged = shown.take(at(4_000)).log.expect("asked for").matching;
    shown.watched.engine.reset(shown.watched.reader, at(4_500));
    let row = |snapshot: &Snapshot| {
        snapshot.rows.first().map(|row| (row.verdict, row.since_ns, row.figures.counts.attempts()))
    };
    assert_eq!(row(&shown.take(at(4_600))), Some((None, None, 0)));
    shown.refuse(41_000, at(5_000));
    let snapshot = shown.take(at(5_100));
    assert_eq!(row(&snapshot), Some((Some(Verdict::Refused), Some(at(4_600)), 1)), "it was fine then");
    assert_eq!(
        snapshot.log.expect("asked for").rows.iter().filter(|entry| entry.time_ns <= at(4_000)).count(),
        logged
    );
    let other = taken(&mut shown.watched, other, Group::Peer, at(5_100));
    assert_eq!(row(&other), Some((Some(Verdict::Refused), Some(at(1)), 5)));
}

/// What happens next.
#[derive(Clone, Debug)]
enum Step {
    Attempt { peer: u8, outcome: u8 },
    Pass { ms: u64 },
    Window { reader: usize, choice: usize },
    Reset { reader: usize },
}

fn step() -> impl Strategy<Value = Step> {
    let gap = prop_oneof![4 => 1_u64..2_000, 2 => 2_000_u64..20_000, 1 => 20_000_u64..1_000_000];
    prop_oneof![
        8 => (0_u8..3, 0_u8..6).prop_map(|(peer, outcome)| Step::Attempt { peer, outcome }),
        4 => gap.prop_map(|ms| Step::Pass { ms }),
        3 => (0_usize..2, 0..CHOICES_S.len()).prop_map(|(reader, choice)| Step::Window { reader, choice }),
        1 => (0_usize..2).prop_map(|reader| Step::Reset { reader }),
        1 => Just(Step::Pass { ms: 0 }),
    ]
}

/// What a person sees of a row, but for verdicts that recover: when they clear depends on when it was looked at.
fn seen(row: &Row) -> impl PartialEq + core::fmt::Debug + use<> {
    let present: Vec<_> = row.present.iter().map(|(verdict, _)| verdict).collect();
    (row.key, row.figures, present)
}

proptest! {
    #![proptest_config(support::properties(100))]

    /// Two readers change their windows and restart their counts. Each sees what one sees that has always had this window,
    /// and after each change and back what it saw before.
    #[test]
    fn a_window_is_a_view(steps in vec(step(), 1..40)) {
        let mut watched = Watched::new();
        let readers = [(); 2].map(|()| watched.engine.add_reader(ReaderConfig::default()));
        let mut choices = [1_usize, 1];
        let mut resets = [None; 2];
        // One for each length, which never changes it.
        let fixed = CHOICES_S.map(|window_s| {
            let reader = watched.engine.add_reader(ReaderConfig::default());
            watched.engine.set_window(reader, window_s * S);
            reader
        });
        let (mut now_ns, mut port) = (START, 1_024);
        for step in steps {
            match step {
                Step::Attempt { peer, outcome } => {
                    port += 1;
                    let connection = Connection::to(v4(10, 0, 0, peer, 443), port);
                    watched.see([connection.syn(now_ns)]);
                    let answered_ns = now_ns + u64::from(outcome) * 40 * MS;
                    match outcome {
                        0 => {}
                        1 => drop(watched.see([connection.rst_of_responder(answered_ns)])),
                        _ => drop(watched.see([connection.syn_ack(answered_ns), connection.ack(answered_ns + MS)])),
                    }
                    // Nobody looks at a time before the latest record.
                    now_ns = answered_ns + MS;
                }
                // As on the screen: four times a second.
                Step::Pass { ms } => {
                    let end_ns = now_ns + ms * MS;
                    while now_ns < end_ns {
                        now_ns = (now_ns + (250 * MS).max((end_ns - now_ns) / 20)).min(end_ns);
                        watched.expire(now_ns);
                        for reader in fixed.into_iter().chain(readers) {
                            taken(&mut watched, reader, Group::Peer, now_ns);
                        }
                    }
                }
                Step::Window { reader, choice } => {
                    choices[reader] = choice;
                    watched.engine.set_window(readers[reader], CHOICES_S[choice] * S);
                }
                Step::Reset { reader } => {
                    watched.engine.reset(readers[reader], now_ns);
                    resets[reader] = Some(now_ns);
                }
            }
            for group in [Group::Peer, Group::Subnet] {
                for (which, reader) in readers.into_iter().enumerate() {
                    let mine = taken(&mut watched, reader, group, now_ns);
                    let rows: Vec<_> = mine.rows.iter().map(|row| row.figures).collect();
                    let mut sum = tcptop_core::Counts::default();
                    rows.iter().for_each(|figures| sum += &figures.counts);
                    prop_assert_eq!(sum, mine.recent.counts);
                    prop_assert!(mine.total.counts.attempts() >= mine.recent.counts.attempts());
                    let window_ns = CHOICES_S[choices[which]] * S;
                    prop_assert_eq!(mine.window_ns, window_ns);
                    if resets[which].is_none() && group == Group::Peer {
                        let theirs = taken(&mut watched, fixed[choices[which]], group, now_ns);
                        prop_assert_eq!(mine.recent, theirs.recent);
                        for (mine, theirs) in mine.rows.iter().zip(&theirs.rows) {
                            prop_assert_eq!(seen(mine), seen(theirs));
                        }
                    }
                    let other = (choices[which] + 3) % CHOICES_S.len();
                    let mut change_and_back = || {
                        watched.engine.set_window(reader, CHOICES_S[other] * S);
                        taken(&mut watched, reader, group, now_ns);
                        watched.engine.set_window(reader, window_ns);
                        taken(&mut watched, reader, group, now_ns)
                    };
                    let again = change_and_back();
                    prop_assert_eq!(&change_and_back(), &again, "any number of times");
                    prop_assert_eq!(&again.recent, &mine.recent);
                    prop_assert_eq!(&again.total, &mine.total);
                    if group == Group::Peer {
                        for (again, before) in again.rows.iter().zip(&mine.rows) {
                            prop_assert_eq!(seen(again), seen(before), "{}", now_ns);
                            // What a verdict was held through, or was too small for it, is not known beyond a window.
                            for (_, since_ns) in again.present.iter() {
                                let counted_ns = resets[which].unwrap_or(START);
                                prop_assert!((counted_ns..=now_ns).contains(&since_ns), "{:?} {:?}", again, before);
                            }
                        }
                    }
                }
            }
        }
    }
}

/// What is wrong with a row, and since when.
fn wrong(row: &Row) -> [Vec<(Verdict, u64)>; 2] {
    [row.present, row.recovering].map(|verdicts| verdicts.iter().collect())
}

/// A reader that looks at single peers four times a second while so many of them are tried, and then at groups.
fn looks_at_groups_later(peers: u8, steps: Vec<(u64, u8, u8)>) -> Result<(), TestCaseError> {
    let mut shown = Shown::new();
    let mut now_ns = START;
    for (port, (gap_ms, peer, outcome)) in (1_024..).zip(steps) {
        let connection = Connection::to(v4(10, 0, 0, peer % peers, 443), port);
        shown.watched.see([connection.syn(now_ns)]);
        match outcome {
            0 => {}
            1 => drop(shown.watched.see([connection.rst_of_responder(now_ns + MS)])),
            _ => drop(shown.watched.see([connection.syn_ack(now_ns + MS), connection.ack(now_ns + 2 * MS)])),
        }
        for _ in 0..=gap_ms / 250 {
            now_ns += 250 * MS;
            shown.take(now_ns);
        }
        let reader = shown.watched.reader;
        let mut rows = |group: Group| taken(&mut shown.watched, reader, group, now_ns).rows;
        let singles = rows(Group::Peer);
        for group in Group::ALL {
            let groups = rows(group);
            if groups.len() == singles.len() {
                for (row, single) in groups.iter().zip(&singles) {
                    prop_assert_eq!(wrong(row), wrong(single), "{:?}", group);
                }
                continue;
            }
            let [row] = &groups[..] else {
                return Err(TestCaseError::fail("each but one is a group of all"));
            };
            for (verdict, since_ns) in wrong(row).into_iter().flatten() {
                let of_peers = singles.iter().flat_map(wrong).flatten().filter(|(its, _)| *its == verdict);
                let earliest_ns = of_peers.map(|(_, since_ns)| since_ns).min().unwrap_or(since_ns);
                prop_assert!(since_ns <= earliest_ns, "{:?} {:?} of {:?}", group, row, singles);
            }
        }
    }
    Ok(())
}

proptest! {
    #![proptest_config(support::properties(60))]

    /// A group has its verdicts for no less time than any of its peers, and one of a single peer has just that peer's,
    /// also if nobody looked at groups before.
    #[test]
    fn groups_are_in_trouble_as_long_as_their_peers(
        peers in 1_u8..4,
        steps in vec((0_u64..9_000, 0_u8..4, 0_u8..4), 1..20),
    ) {
        looks_at_groups_later(peers, steps)?;
    }
}
