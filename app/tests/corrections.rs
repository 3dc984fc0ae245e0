//! An attempt that was given up and goes on is one attempt, for every reader: its outcome is taken back where it was counted.

mod support;

use std::collections::BTreeMap;
use std::io::{Read, Write};
use std::net::TcpStream;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use support::shown::{Shown, at};
use support::{Connection, INTERFACE, S, Watched, v4};
use tcptop::clock::Anchor;
use tcptop::output::line_writer::Lines;
use tcptop::output::metrics::{MetricsReader, Plan, bind};
use tcptop::output::text::Text;
use tcptop::output::{Output, RenderContext};
use tcptop_core::{
    Counts, Engine, Event, Filter, Input, Outcome, Query, ReaderConfig, RowKey, Snapshot, SnapshotRequest,
    Span, What,
};

fn server() -> Connection {
    Connection::to(v4(10, 0, 0, 2, 443), 40_000)
}

/// The SYN, and until it is given up.
fn give_up(watched: &mut Watched, connection: &Connection) {
    watched.see([connection.syn(at(0))]).expire(at(9_000));
    let [Event::Handshake(flow)] = &watched.events[..] else { panic!("{:?}", watched.events) };
    assert_eq!((flow.outcome(), flow.changed_ns()), (Outcome::Unanswered, at(7_000)));
}

/// The SYN again 16 s after it, and the answer.
fn answer(watched: &mut Watched, connection: &Connection) {
    let [syn, syn_ack, ack] =
        [connection.syn(at(16_000)), connection.syn_ack(at(16_020)), connection.ack(at(16_021))];
    watched.see([syn]).see([syn_ack, ack]);
}

fn context() -> RenderContext {
    let names = BTreeMap::from([(INTERFACE, "enp0s1".to_owned())]);
    let zone = TimeZone::UTC;
    RenderContext { zone, ..RenderContext::new(names, "host", Anchor::new(0, Timestamp::UNIX_EPOCH)) }
}

fn assert_outcomes(counts: &Counts, expected: &[(Outcome, u64)]) {
    for outcome in Outcome::ALL {
        let count = expected.iter().find(|(of, _)| *of == outcome).map_or(0, |(_, count)| *count);
        assert_eq!(counts.of(outcome), count, "{outcome:?} of {counts:?}");
    }
}

/// Hard case `syn-series-from-its-middle`.
#[test]
fn an_outcome_is_taken_back_where_it_was_counted() {
    let mut shown = Shown::new();
    shown.watched.engine.set_window(shown.watched.reader, 60 * S);
    give_up(&mut shown.watched, &server());
    let before = shown.take(at(9_000));
    assert_outcomes(&before.recent.counts, &[(Outcome::Unanswered, 1)]);
    shown.watched.see([server().syn(at(16_000))]);
    let between = shown.take(at(16_000));
    // It waits.
    assert_outcomes(&between.recent.counts, &[(Outcome::Unanswered, 1)]);
    assert_outcomes(&between.rows[0].figures.counts, &[(Outcome::Unanswered, 1)]);
    shown.watched.see([server().syn_ack(at(16_020)), server().ack(at(16_021))]);
    let after = shown.take(at(17_000));
    for counts in [after.recent.counts, after.total.counts, after.rows[0].figures.counts] {
        assert_outcomes(&counts, &[(Outcome::Established, 1)]);
        assert_eq!((counts.opened, counts.repeated), (1, 1));
    }
    let timeline = after.timeline.expect("asked for");
    assert_eq!(timeline.moments.iter().map(|moment| moment.unanswered).sum::<u64>(), 0);
    assert_eq!(timeline.moments.iter().map(|moment| moment.opened).sum::<u64>(), 1);
    assert_eq!(after.reported, 1, "one handshake");
    let [_, Event::Retransmit(_), Event::Correction(flow, Outcome::Unanswered)] = &shown.watched.events[..]
    else {
        panic!("{:?}", shown.watched.events)
    };
    assert_eq!((flow.outcome(), flow.tries()), (Outcome::Established, Some(2)));
    assert_eq!(flow.setup_ns(), Some(16_021 * support::MS));
}

/// Hard case `syn-series-from-its-middle`.
#[test]
fn one_that_is_given_up_again_is_told_and_counted_once() {
    let mut watched = Watched::new();
    give_up(&mut watched, &server());
    watched.see([server().syn(at(16_000))]).expire(at(100_000));
    assert!(matches!(&watched.events[..], [Event::Handshake(_), Event::Retransmit(_)]));
    let snapshot = watched.snapshot(Span::SinceStart, at(100_000));
    assert_outcomes(&snapshot.total.counts, &[(Outcome::Unanswered, 1)]);
    assert_eq!((snapshot.reported, snapshot.total.counts.opened), (1, 1));
    watched.engine.set_window(watched.reader, 60 * S);
    let request = SnapshotRequest::totals(Span::Window);
    let recent = watched.engine.snapshot(watched.reader, &request, at(100_000)).recent.counts;
    assert_outcomes(&recent, &[(Outcome::Unanswered, 1)]);
}

/// Hard case `syn-series-from-its-middle`: each reader has it in the span that it ended in.
#[test]
fn a_reader_that_began_in_between_has_the_new_outcome_only() {
    let mut watched = Watched::new();
    let screen = watched.engine.add_reader(ReaderConfig::default());
    give_up(&mut watched, &server());
    watched.engine.reset(screen, at(10_000));
    let totals = |engine: &mut Engine, reader, now_ns| {
        engine.snapshot(reader, &SnapshotRequest::totals(Span::SinceStart), now_ns).total.counts
    };
    assert_outcomes(&totals(&mut watched.engine, screen, at(10_000)), &[]);
    answer(&mut watched, &server());
    for reader in [screen, watched.reader] {
        let counts = totals(&mut watched.engine, reader, at(17_000));
        assert_outcomes(&counts, &[(Outcome::Established, 1)]);
    }
}

/// Hard case `syn-series-from-its-middle`: the attempt of a stranger that is not kept.
#[test]
fn that_of_a_stranger_is_taken_back_from_the_strangers() {
    let mut watched = Watched::new();
    let stranger = |number: u8| Connection::from(v4(198, 51, 100, number, 40_000), 80);
    let taken = |watched: &mut Watched| -> Snapshot {
        let request = SnapshotRequest {
            query: Query::default(),
            rows: 1_000,
            ..SnapshotRequest::totals(Span::SinceStart)
        };
        watched.engine.snapshot(watched.reader, &request, at(17_000))
    };
    watched.see((0..110).map(|number| stranger(number).syn(at(0)))).expire(at(9_000));
    assert_outcomes(&taken(&mut watched).strangers.total, &[(Outcome::Unanswered, 10)]);
    answer(&mut watched, &stranger(105));
    let snapshot = taken(&mut watched);
    assert_outcomes(&snapshot.strangers.total, &[(Outcome::Unanswered, 9)]);
    let of_peer = snapshot.rows.iter().find(|row| match row.key {
        RowKey::Peer(peer) => peer.service.address == stranger(105).opener.address,
        _ => false,
    });
    assert_outcomes(&of_peer.expect("it is kept").figures.counts, &[(Outcome::Established, 1)]);
    assert_outcomes(&snapshot.total.counts, &[(Outcome::Unanswered, 109), (Outcome::Established, 1)]);
}

/// Hard case `syn-series-from-its-middle`: whoever was told the first outcome is told the second.
#[test]
fn a_filter_on_the_first_outcome_passes_the_correction() {
    let mut watched = Watched::new();
    let mut reader = |filter: &str| {
        let events: Filter = filter.parse().expect("a filter");
        watched.engine.add_reader(ReaderConfig { events: Some(events), log: false })
    };
    let (silent, up, refused) =
        (reader("outcome:unanswered"), reader("outcome:established"), reader("outcome:refused"));
    watched.see([server().syn(at(0))]).expire(at(9_000)).see([server().syn(at(16_000))]);
    for reader in [silent, up, refused] {
        watched.engine.poll_events(reader).for_each(drop);
    }
    watched.see([server().syn_ack(at(16_020)), server().ack(at(16_021))]);
    let polled = [silent, up, refused].map(|reader| {
        watched.engine.poll_events(reader).filter(|event| matches!(event, Event::Correction(..))).count()
    });
    assert_eq!(polled, [1, 1, 0]);
}

/// Hard case `syn-series-from-its-middle`.
#[test]
fn the_event_log_no_longer_has_what_was_corrected() {
    let mut shown = Shown::new();
    let failures = |shown: &mut Shown, now_ns: u64| -> Vec<Outcome> {
        let log = shown.take(now_ns).log.expect("asked for");
        let failed = log.rows.iter().filter_map(|entry| match &entry.what {
            What::Failed(flow) => Some(flow.outcome()),
            _ => None,
        });
        failed.collect()
    };
    give_up(&mut shown.watched, &server());
    let other = Connection::to(v4(10, 0, 0, 3, 443), 41_000);
    shown.watched.see([other.syn(at(9_000))]).expire(at(15_900));
    assert_eq!(failures(&mut shown, at(15_900)), [Outcome::Unanswered]);
    shown.watched.expire(at(16_000));
    assert_eq!(failures(&mut shown, at(16_000)), [Outcome::Unanswered; 2]);
    answer(&mut shown.watched, &server());
    assert_eq!(failures(&mut shown, at(17_000)), [Outcome::Unanswered], "that of the other one");
    shown.watched.see([other.syn(at(20_000)), other.rst_of_responder(at(20_001))]);
    assert_eq!(failures(&mut shown, at(21_000)), [Outcome::Refused]);
}

#[test]
fn a_line_says_what_it_corrects() {
    let mut watched = Watched::new();
    give_up(&mut watched, &server());
    answer(&mut watched, &server());
    let mut lines = Lines::default();
    let mut text = Text { retransmits: None };
    watched.events.iter().for_each(|event| text.event(event, &context(), &mut lines));
    let told = String::from_utf8(lines.as_bytes().to_vec()).expect("UTF-8");
    let lines: Vec<&str> = told.lines().collect();
    let [first, second] = lines[..] else { panic!("{told}") };
    assert!(first.contains(" unanswered ") && !first.contains("corrects"), "{first}");
    assert!(second.contains(" established (corrects unanswered) rtt "), "{second}");
}

/// Hard case `syn-series-from-its-middle`: counters never go back, so that the first outcome stays.
#[test]
fn metrics_count_it_once() {
    let mut engine = Engine::new(&support::config(100), at(0));
    let any_port: std::net::SocketAddr = "127.0.0.1:0".parse().expect("an address");
    let plan =
        Plan { address: Some(any_port), ports: 10, connections: None, labels: Vec::new(), peers: None };
    let bound = bind(any_port).expect("a free port");
    let address = bound.address().expect("it listens");
    let mut metrics = MetricsReader::start(&plan, Some(bound), &mut engine).expect("a thread");
    let mut see = |input: Input<'_>| {
        engine.handle(input);
        metrics.deliver(&mut engine, &context());
    };
    for record in [server().syn(at(0)), server().syn(at(16_000)), server().syn_ack(at(16_020))] {
        see(Input::Records(&[record.into()]));
        see(Input::Time { now_ns: record.time_ns + 9 * S });
    }
    see(Input::Records(&[server().ack(at(16_021)).into()]));
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n").expect("it reads");
    let mut text = String::new();
    stream.read_to_string(&mut text).expect("it answers");
    let attempts: Vec<&str> =
        text.lines().filter(|line| line.starts_with("tcptop_handshakes_total{")).collect();
    let [only] = attempts[..] else { panic!("{text}") };
    assert!(only.contains("outcome=\"unanswered\"") && only.ends_with("} 1"), "{only}");
}
