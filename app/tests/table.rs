//! The flow table, record by record.

mod support;

use probe_common::SegmentRecord;
use support::{Connection, MS, S, Watched, v4, v6};
use tcptop_core::{Leg, Outcome, Role, Span, Verdict};

const START: u64 = 100 * S;

fn at(ms: u64) -> u64 {
    START + ms * MS
}

fn client() -> Connection {
    Connection::to(v4(10, 0, 0, 2, 443), 40_000)
}

fn handshake(connection: &Connection, rtt_ms: u64) -> [SegmentRecord; 3] {
    [connection.syn(at(0)), connection.syn_ack(at(rtt_ms)), connection.ack(at(rtt_ms) + 1_000)]
}

#[test]
fn a_client_waits_for_the_server_leg() {
    let mut watched = Watched::new();
    watched.see(handshake(&client(), 40));
    let report = watched.only();
    assert_eq!((report.role(), report.outcome()), (Some(Role::Client), Outcome::Established));
    assert_eq!(report.server_leg(), Some(Leg::Exact(40 * MS)));
    assert_eq!(report.client_leg(), Some(Leg::Exact(1_000)));
    assert_eq!(report.rtt(), report.server_leg());
    assert_eq!((report.turnaround(), report.tries()), (None, Some(1)));
    assert_eq!(report.setup_ns(), Some(40 * MS + 1_000));
    assert_eq!(report.peer().service, v4(10, 0, 0, 2, 443));
}

#[test]
fn a_server_waits_for_the_client_leg() {
    let connection = Connection::from(v6("2001:db8::9", 51_000), 8_080);
    let mut watched = Watched::new();
    watched.see([connection.syn(at(0)), connection.syn_ack(at(0) + 30_000), connection.ack(at(25))]);
    let report = watched.only();
    assert_eq!(report.role(), Some(Role::Server));
    assert_eq!(report.rtt(), Some(Leg::Exact(25 * MS - 30_000)));
    assert_eq!(report.turnaround(), Some(Leg::Exact(30_000)));
    assert_eq!(report.remote(), v6("2001:db8::9", 51_000));
    assert_eq!(report.peer().service, v6("2001:db8::9", 8_080));
}

/// Hard case `mid-stream`.
#[test]
fn a_mid_stream_connection_has_no_latency() {
    let connection = client();
    let mut watched = Watched::new();
    watched.see([connection.fin_of_opener(at(0)), connection.fin_of_responder(at(20))]);
    assert!(watched.handshakes().is_empty());
    let closes = watched.closes();
    let [close] = closes[..] else { panic!("{closes:?}") };
    assert_eq!((close.outcome(), close.role(), close.lifetime_ns()), (Outcome::Closed, None, None));
    assert_eq!((close.rtt(), close.setup_ns(), close.tries()), (None, None, None));
    assert_eq!(close.peer().service, v4(10, 0, 0, 2, 443), "the lower port is taken for the service");
}

/// Hard case `port-reuse`.
#[test]
fn a_new_isn_on_the_same_ports_is_another_flow() {
    let first = client();
    let second = Connection { isn: first.isn + 5_000_000, ..first };
    let mut watched = Watched::new();
    watched.see(handshake(&first, 40)).see([
        second.syn(at(500)),
        second.syn_ack(at(510)),
        second.ack(at(511)),
    ]);
    let legs: Vec<_> = watched.handshakes().iter().map(|report| report.server_leg()).collect();
    assert_eq!(legs, [Some(Leg::Exact(40 * MS)), Some(Leg::Exact(10 * MS))]);
    assert!(watched.handshakes().iter().all(|report| report.tries() == Some(1)));
    assert_eq!(watched.kept_and_evicted().0, 1);
}

#[test]
fn an_attempt_times_out() {
    let connection = client();
    let outcome = |watched: &mut Watched, now_ns| {
        watched.snapshot(Span::Window, now_ns).selection?.flows.first().map(|report| report.outcome())
    };
    let mut watched = Watched::new();
    watched.see([connection.syn(at(0))]);
    assert_eq!(outcome(&mut watched, at(999)), Some(Outcome::Pending));
    watched.expire(at(1_000));
    assert_eq!(outcome(&mut watched, at(1_000)), Some(Outcome::Unanswered));
    assert_eq!(waiting(&mut watched), 1);
    watched.see([connection.syn(at(1_000)), connection.syn(at(3_000))]);
    watched.expire(at(7_500));
    assert!(watched.handshakes().is_empty(), "the next SYN is due at 7 s, and may be late");
    watched.expire(at(8_000));
    assert_eq!((watched.only().outcome(), watched.only().tries()), (Outcome::Unanswered, Some(3)));
    assert_eq!(waiting(&mut watched), 0);
    watched.expire(at(8_000 + 61_000));
    assert_eq!(watched.kept_and_evicted().0, 0);
}

/// Attempts of the only peer that are unanswered and still wait.
fn waiting(watched: &mut Watched) -> u64 {
    watched.snapshot(Span::Window, at(0)).selection.expect("a peer").waiting
}

#[test]
fn a_late_answer_ends_the_wait() {
    let connection = client();
    let mut watched = Watched::new();
    watched.see([connection.syn(at(0))]).expire(at(1_500));
    assert_eq!(waiting(&mut watched), 1);
    watched.see([connection.syn_ack(at(1_600))]);
    assert_eq!(waiting(&mut watched), 0);
    watched.see([connection.ack(at(1_601))]);
    assert_eq!(waiting(&mut watched), 0);
    assert_eq!(watched.only().rtt(), Some(Leg::Exact(1_600 * MS)));
}

#[test]
fn open_attempts_are_reported_at_the_end() {
    let mut watched = Watched::new();
    let waiting = Connection::to(v4(10, 0, 0, 3, 443), 40_001);
    watched.see([waiting.syn(at(0)), client().syn(at(1_900))]).expire(at(2_000)).finish(at(2_000));
    let outcomes: Vec<_> = watched.handshakes().iter().map(|report| report.outcome()).collect();
    assert_eq!(outcomes, [Outcome::Unanswered, Outcome::Pending]);
    watched.finish(at(2_001));
    assert_eq!(watched.handshakes().len(), 2, "once");
}

#[test]
fn times_that_run_backwards_give_no_negative_latency() {
    let connection = client();
    let mut watched = Watched::new();
    watched.see([connection.syn(at(10)), connection.syn_ack(at(9)), connection.ack(at(8))]);
    let report = watched.only();
    assert_eq!(
        (report.server_leg(), report.client_leg(), report.setup_ns()),
        (None, None, None),
        "unknown, not 0"
    );
}

/// A capture may have several clocks.
#[test]
fn times_of_two_clocks_give_no_latency() {
    let connection = client();
    for other in 0..3 {
        let mut records = [connection.syn(at(0)), connection.syn_ack(at(20)), connection.ack(at(21))];
        records[other].timebase = 1;
        let mut watched = Watched::new();
        watched.see(records);
        let report = watched.only();
        let legs = (report.server_leg(), report.client_leg(), report.setup_ns());
        let (server, client, setup) = (Leg::Exact(20 * MS), Leg::Exact(MS), 21 * MS);
        let expected = match other {
            0 => (None, Some(client), None),
            1 => (None, None, Some(setup)),
            _ => (Some(server), None, None),
        };
        assert_eq!(legs, expected, "segment {other} is of another clock");
    }
}

/// The source compares sequence numbers; the table also checks which end sent the ACK.
#[test]
fn an_ack_of_the_responder_completes_nothing() {
    let connection = client();
    let ack = connection.ack(at(41));
    let of_responder = SegmentRecord { source: ack.destination, destination: ack.source, ..ack };
    let mut watched = Watched::new();
    watched.see([connection.syn(at(0)), connection.syn_ack(at(40)), of_responder]);
    assert!(watched.handshakes().is_empty());
    assert_eq!(watched.snapshot(Span::SinceStart, at(41)).unmatched, 1);
}

/// An attempt that waits and is then given up is one problem, which began when the wait began.
#[test]
fn a_problem_does_not_restart_when_an_attempt_times_out() {
    let mut watched = Watched::new();
    let silent = client();
    watched.see([0, 1_000, 3_000, 7_000, 15_000].map(|ms| silent.syn(at(ms))));
    watched.expire(at(40_000));
    let row = watched.snapshot(Span::Window, at(40_000)).rows[0];
    assert_eq!((row.verdict, row.since_ns), (Some(Verdict::Unanswered), Some(at(1_000))));
}
