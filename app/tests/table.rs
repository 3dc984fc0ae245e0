//! The flow table, record by record. Times are in nanoseconds.

mod support;

use probe_common::Record;
use support::{Connection, MS, S, Watched, v4, v6};
use tcptop::flow::{Closer, Leg, Outcome, Role};

const START: u64 = 100 * S;

fn at(ms: u64) -> u64 {
    START + ms * MS
}

fn client() -> Connection {
    Connection::to(v4(10, 0, 0, 2, 443), 40_000)
}

fn handshake(connection: &Connection, rtt_ms: u64) -> [Record; 3] {
    [connection.syn(at(0)), connection.syn_ack(at(rtt_ms)), connection.ack(at(rtt_ms) + 1_000)]
}

#[test]
fn a_client_waits_for_the_server_leg() {
    let mut watched = Watched::new();
    watched.see(handshake(&client(), 40));
    let report = watched.only();
    assert_eq!((report.role, report.outcome), (Some(Role::Client), Outcome::Established));
    assert_eq!(report.server_leg, Some(Leg::Exact(40 * MS)));
    assert_eq!(report.client_leg, Some(Leg::Exact(1_000)));
    assert_eq!(report.rtt(), report.server_leg);
    assert_eq!((report.turnaround(), report.tries), (None, Some(1)));
    assert_eq!(report.setup_ns, Some(40 * MS + 1_000));
    assert_eq!(report.peer.service, v4(10, 0, 0, 2, 443));
}

#[test]
fn a_server_waits_for_the_client_leg() {
    let connection = Connection::from(v6("2001:db8::9", 51_000), 8_080);
    let mut watched = Watched::new();
    watched.see([connection.syn(at(0)), connection.syn_ack(at(0) + 30_000), connection.ack(at(25))]);
    let report = watched.only();
    assert_eq!(report.role, Some(Role::Server));
    assert_eq!(report.rtt(), Some(Leg::Exact(25 * MS - 30_000)));
    assert_eq!(report.turnaround(), Some(Leg::Exact(30_000)));
    assert_eq!(report.remote, v6("2001:db8::9", 51_000));
    assert_eq!(report.peer.service, v6("2001:db8::9", 8_080));
}

/// Hard case 11: TSecr names the SYN that was answered, if it is the last one. A server that took the first
/// SYN echoes it in every SYN-ACK, also in one that answers a repeated SYN: then only bounds are known.
#[test]
fn timestamps_tell_which_syn_was_answered() {
    let bounds = Leg::Between { min_ns: 30 * MS, max_ns: 1_030 * MS };
    for (echoed, leg) in [(1_500, Leg::Exact(30 * MS)), (500, bounds)] {
        let first = Connection { timestamps: Some((500, 9)), ..client() };
        let second = Connection { timestamps: Some((1_500, 9)), ..first };
        let answer = Connection { timestamps: Some((echoed, 9)), ..first };
        let mut watched = Watched::new();
        watched.see([
            first.syn(at(0)),
            second.syn(at(1_000)),
            answer.syn_ack(at(1_030)),
            second.ack(at(1_030)),
        ]);
        let report = watched.only();
        assert_eq!(report.server_leg, Some(leg));
        assert_eq!((report.tries, report.is_ambiguous()), (Some(2), leg == bounds));
        assert_eq!(report.setup_ns, Some(1_030 * MS));
    }
}

/// Hard case 11, three SYNs: the one that is named bounds the leg.
#[test]
fn an_echo_of_a_syn_in_the_middle_bounds_the_leg() {
    let syn = |value| Connection { timestamps: Some((value, 9)), ..client() };
    let mut watched = Watched::new();
    watched.see([syn(1).syn(at(0)), syn(2).syn(at(1_000)), syn(3).syn(at(3_000))]);
    watched.see([syn(2).syn_ack(at(3_030)), syn(3).ack(at(3_030))]);
    assert_eq!(watched.only().server_leg, Some(Leg::Between { min_ns: 30 * MS, max_ns: 2_030 * MS }));
}

/// Hard case 12: nothing tells which SYN was answered, so the bounds are given and no sample is taken.
#[test]
fn without_timestamps_a_repeated_syn_is_ambiguous() {
    let equal = Connection { timestamps: Some((500, 9)), ..client() };
    for connection in [client(), equal] {
        let mut watched = Watched::new();
        watched.see([
            connection.syn(at(0)),
            connection.syn(at(1_000)),
            connection.syn_ack(at(1_030)),
            connection.ack(at(1_030)),
        ]);
        let report = watched.only();
        assert_eq!(report.server_leg, Some(Leg::Between { min_ns: 30 * MS, max_ns: 1_030 * MS }));
        assert!(report.is_ambiguous());
        let mut samples = tcptop::flow::distribution::Latencies::spanning();
        watched.table.stats().total().rtts_since_start(&mut samples);
        assert_eq!(samples.len(), 0);
    }
}

/// Hard case 13.
#[test]
fn a_duplicate_syn_ack_gives_no_second_sample() {
    let connection = client();
    let mut watched = Watched::new();
    watched.see(handshake(&connection, 40)).see([connection.syn_ack(at(55)), connection.ack(at(55))]);
    assert_eq!(watched.only().server_leg, Some(Leg::Exact(40 * MS)));
    assert_eq!(watched.table.losses().stray, 0, "the ACK that it provoked is no stray");
}

/// Hard case 14.
#[test]
fn a_syn_ack_for_another_syn_is_no_answer() {
    let connection = client();
    let other = Connection { isn: connection.isn - 77, ..connection };
    let mut watched = Watched::new();
    watched.see([connection.syn(at(0)), other.syn_ack(at(5))]);
    assert!(watched.handshakes().is_empty());
    watched.see([connection.syn_ack(at(40)), connection.ack(at(41))]);
    assert_eq!(watched.only().server_leg, Some(Leg::Exact(40 * MS)));
    assert_eq!(watched.table.losses().stray, 1);
}

/// Hard case 15.
#[test]
fn a_connection_from_before_has_no_latency() {
    let connection = client();
    let mut watched = Watched::new();
    watched.see([connection.fin_of_opener(at(0)), connection.fin_of_responder(at(20))]);
    assert!(watched.handshakes().is_empty());
    let closes = watched.closes();
    let [close] = closes[..] else { panic!("{closes:?}") };
    assert_eq!((close.outcome, close.role, close.lifetime_ns), (Outcome::Closed, None, None));
    assert_eq!((close.rtt(), close.setup_ns, close.tries), (None, None, None));
    assert_eq!(close.peer.service, v4(10, 0, 0, 2, 443), "the lower port is taken for the service");
}

#[test]
fn a_handshake_caught_in_the_middle_tells_what_was_seen() {
    let connection = Connection::from(v4(10, 0, 0, 9, 50_000), 80);
    let mut watched = Watched::new();
    watched.see([connection.syn_ack(at(0)), connection.ack(at(25))]);
    let report = watched.only();
    assert_eq!((report.role, report.outcome), (Some(Role::Server), Outcome::Established));
    assert_eq!((report.server_leg, report.setup_ns, report.tries), (None, None, None));
    assert_eq!(report.rtt(), Some(Leg::Exact(25 * MS)));
}

/// Hard case 19.
#[test]
fn a_new_isn_on_the_same_ports_is_another_connection() {
    let first = client();
    let second = Connection { isn: first.isn + 5_000_000, ..first };
    let mut watched = Watched::new();
    watched.see(handshake(&first, 40)).see([
        second.syn(at(500)),
        second.syn_ack(at(510)),
        second.ack(at(511)),
    ]);
    let legs: Vec<_> = watched.handshakes().iter().map(|report| report.server_leg).collect();
    assert_eq!(legs, [Some(Leg::Exact(40 * MS)), Some(Leg::Exact(10 * MS))]);
    assert!(watched.handshakes().iter().all(|report| report.tries == Some(1)));
    assert_eq!(watched.table.len(), 1);
}

/// Hard case 21: a RST that answers the SYN refuses.
#[test]
fn a_rst_that_answers_the_syn_refuses() {
    let connection = client();
    let mut watched = Watched::new();
    watched.see([connection.syn(at(0)), connection.rst_of_responder(at(40))]);
    let report = watched.only();
    assert_eq!((report.outcome, report.refusal), (Outcome::Refused, Some(Leg::Exact(40 * MS))));
    assert_eq!((report.rtt(), report.setup_ns), (None, None), "a refusal is no fast handshake");
}

/// Hard case 21: a RST that answers something else does not.
#[test]
fn a_rst_for_another_syn_refuses_nothing() {
    let connection = client();
    let stray = Connection { isn: 1, ..connection };
    let mut watched = Watched::new();
    watched.see([connection.syn(at(0)), stray.rst_of_responder(at(5))]);
    assert!(watched.handshakes().is_empty());
    watched.see([connection.syn_ack(at(40)), connection.ack(at(41))]);
    assert_eq!(watched.only().outcome, Outcome::Established);
}

/// Hard case 21: the opener's RST gives up; later ones reset.
#[test]
fn who_sent_the_rst_and_when_makes_the_outcome() {
    let connection = client();
    let mut watched = Watched::new();
    watched.see([connection.syn(at(0)), connection.rst_of_opener(at(300))]);
    assert_eq!(watched.only().outcome, Outcome::Unanswered);

    let mut watched = Watched::new();
    watched.see([connection.syn(at(0)), connection.syn_ack(at(40)), connection.rst_of_opener(at(41))]);
    assert_eq!(watched.only().outcome, Outcome::Reset);

    let mut watched = Watched::new();
    watched.see(handshake(&connection, 40)).see([connection.rst_of_responder(at(900))]);
    assert_eq!(watched.only().outcome, Outcome::Established);
    let closes = watched.closes();
    assert_eq!((closes[0].outcome, closes[0].closed_by), (Outcome::Reset, Some(Closer::Remote)));
    assert_eq!(closes[0].lifetime_ns, Some(900 * MS));
}

/// Hard case 22: the answer took another way.
#[test]
fn an_ack_without_a_syn_ack_in_sight_is_not_unanswered() {
    let connection = client();
    let mut watched = Watched::new();
    watched.see([connection.syn(at(0)), connection.ack(at(40))]);
    let report = watched.only();
    assert_eq!((report.outcome, report.rtt()), (Outcome::Established, None));
    assert_eq!(report.setup_ns, Some(40 * MS));
}

/// Hard case 23.
#[test]
fn an_answer_without_an_ack_is_half_open() {
    let connection = Connection::from(v4(10, 0, 0, 9, 50_000), 80);
    let mut watched = Watched::new();
    watched.see([connection.syn(at(0)), connection.syn_ack(at(0)), connection.syn_ack(at(1_000))]);
    watched.expire(at(3_000));
    assert!(watched.handshakes().is_empty(), "another SYN-ACK may come after 2 s");
    watched.expire(at(1_000 + 4_000));
    assert_eq!(watched.only().outcome, Outcome::HalfOpen);
}

#[test]
fn silence_becomes_an_outcome_in_time() {
    let connection = client();
    let outcome = |watched: &Watched, now_ns| {
        watched.table.flows_of(support_peer(), now_ns).map(|report| report.outcome).next()
    };
    let mut watched = Watched::new();
    watched.see([connection.syn(at(0))]);
    assert_eq!(outcome(&watched, at(999)), Some(Outcome::Pending));
    watched.expire(at(1_000));
    assert_eq!(outcome(&watched, at(1_000)), Some(Outcome::Unanswered));
    assert_eq!(watched.table.stats().total().waiting, 1);
    watched.see([connection.syn(at(1_000)), connection.syn(at(3_000))]);
    watched.expire(at(7_500));
    assert!(watched.handshakes().is_empty(), "the next SYN is due at 7 s, and may be late");
    watched.expire(at(8_000));
    assert_eq!((watched.only().outcome, watched.only().tries), (Outcome::Unanswered, Some(3)));
    assert_eq!(watched.table.stats().total().waiting, 0);
    watched.expire(at(8_000 + 61_000));
    assert!(watched.table.is_empty());
}

fn support_peer() -> tcptop::flow::PeerKey {
    tcptop::flow::PeerKey { interface: support::INTERFACE, service: v4(10, 0, 0, 2, 443), inbound: false }
}

#[test]
fn an_answer_after_a_long_silence_ends_the_waiting() {
    let connection = client();
    let mut watched = Watched::new();
    watched.see([connection.syn(at(0))]).expire(at(1_500));
    assert_eq!(watched.table.stats().total().waiting, 1);
    watched.see([connection.syn_ack(at(1_600))]);
    assert_eq!(watched.table.stats().total().waiting, 0);
    watched.see([connection.ack(at(1_601))]);
    assert_eq!(watched.table.stats().total().waiting, 0);
    assert_eq!(watched.only().rtt(), Some(Leg::Exact(1_600 * MS)));
}

#[test]
fn what_is_open_at_the_end_is_told_as_it_is() {
    let mut watched = Watched::new();
    let waiting = Connection::to(v4(10, 0, 0, 3, 443), 40_001);
    watched.see([waiting.syn(at(0)), client().syn(at(1_900))]).expire(at(2_000)).finish(at(2_000));
    let outcomes: Vec<_> = watched.handshakes().iter().map(|report| report.outcome).collect();
    assert_eq!(outcomes, [Outcome::Unanswered, Outcome::Pending]);
    watched.finish(at(2_001));
    assert_eq!(watched.handshakes().len(), 2, "once");
}

/// The ACK was not seen: that there was one is known, but not when.
#[test]
fn a_fin_of_the_opener_completes_without_a_latency() {
    let connection = client();
    let mut watched = Watched::new();
    watched.see([
        connection.syn(at(0)),
        connection.syn_ack(at(40)),
        connection.fin_of_opener(at(41)),
        connection.fin_of_responder(at(81)),
    ]);
    assert_eq!(watched.only().outcome, Outcome::Established);
    assert_eq!((watched.only().client_leg, watched.only().setup_ns), (None, None));
    assert_eq!(watched.only().server_leg, Some(Leg::Exact(40 * MS)));
    assert_eq!(watched.closes()[0].closed_by, Some(Closer::Local));
    assert_eq!(watched.closes()[0].lifetime_ns, Some(81 * MS));
}

#[test]
fn times_that_run_backwards_give_no_negative_latency() {
    let connection = client();
    let mut watched = Watched::new();
    watched.see([connection.syn(at(10)), connection.syn_ack(at(9)), connection.ack(at(8))]);
    assert_eq!((watched.only().server_leg, watched.only().setup_ns), (Some(Leg::Exact(0)), Some(0)));
}

/// Hard case 14, as it goes on: the client rejects the stale SYN-ACK and waits for the right one.
#[test]
fn a_rst_for_a_stale_syn_ack_gives_nothing_up() {
    let connection = client();
    let stale = Connection { isn: connection.isn.wrapping_sub(77_777), ..connection };
    let mut watched = Watched::new();
    watched.see([connection.syn(at(0)), stale.syn_ack(at(5)), stale.rst_of_opener(at(5))]);
    assert!(watched.handshakes().is_empty());
    watched.see([connection.syn_ack(at(40)), connection.ack(at(41))]);
    assert_eq!(watched.only().outcome, Outcome::Established);
    assert_eq!(watched.table.losses().stray, 2);
}

/// Hard case 18: both ends open at once.
#[test]
fn a_simultaneous_open_is_one_connection() {
    let ours = client();
    let mut theirs = Connection { isn: ours.answer_isn, answer_isn: ours.isn, ..ours };
    (theirs.opener, theirs.responder) = (ours.responder, ours.opener);
    theirs.out = probe_common::Direction::Ingress;
    let mut watched = Watched::new();
    watched.see([ours.syn(at(0)), theirs.syn(at(20)), theirs.syn_ack(at(20)), ours.syn_ack(at(40))]);
    watched.see([ours.ack(at(41))]);
    let report = watched.only();
    assert_eq!((report.outcome, report.tries), (Outcome::Established, Some(2)));
    assert_eq!(report.rtt(), Some(Leg::Exact(40 * MS)));
    assert_eq!(watched.table.losses().stray, 0);
}

/// The source compares numbers; whose ACK it is, the table knows, too.
#[test]
fn an_ack_of_the_responder_completes_nothing() {
    let connection = client();
    let ack = connection.ack(at(41));
    let of_responder = Record { source: ack.destination, destination: ack.source, ..ack };
    let mut watched = Watched::new();
    watched.see([connection.syn(at(0)), connection.syn_ack(at(40)), of_responder]);
    assert!(watched.handshakes().is_empty());
    assert_eq!(watched.table.losses().stray, 1);
}

/// What waits and is then given up is one trouble, that began when it began.
#[test]
fn trouble_does_not_begin_anew_when_an_attempt_is_given_up() {
    let mut watched = Watched::new();
    let silent = client();
    watched.see([0, 1_000, 3_000, 7_000, 15_000].map(|ms| silent.syn(at(ms))));
    watched.expire(at(40_000));
    let peer = watched.table.stats().peer(&support_peer()).expect("known");
    assert_eq!(peer.streaks[tcptop::flow::Verdict::NoAnswer as usize].since_ns(), at(1_000));
}
