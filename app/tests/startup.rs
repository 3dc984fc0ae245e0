//! Hard case `first-seconds`: of a handshake that began before an interface was watched only a part is seen.

mod support;

use probe_common::SegmentRecord;
use support::{Connection, INTERFACE, MS, START, Watched, v4};
use tcptop_core::{Input, Outcome};

const SINCE: u64 = START + 500 * MS;

fn at(ms: u64) -> u64 {
    SINCE + ms * MS
}

/// An engine whose source sees both directions from [`SINCE`] on.
fn watched() -> Watched {
    let mut watched = Watched::new();
    watched.handle(Input::Watched { interface: INTERFACE, since_ns: SINCE });
    watched
}

fn connection() -> Connection {
    Connection::to(v4(10, 0, 0, 2, 443), 40_000)
}

/// A RST that refuses a SYN has sequence number 0 (RFC 9293, 3.10.7.1).
fn refusal(time_ns: u64) -> SegmentRecord {
    SegmentRecord { seq: 0, ..connection().rst_of_responder(time_ns) }
}

#[test]
fn nothing_is_reported_of_a_handshake_from_before() {
    let (mut watched, connection) = (watched(), connection());
    watched.see([connection.syn_ack(at(1)), connection.ack(at(2))]).expire(at(10_000)).finish(at(10_000));
    assert_eq!((watched.events.len(), watched.flows(at(10_000)).len()), (0, 0));
}

#[test]
fn nothing_is_reported_of_a_refusal_of_an_earlier_attempt() {
    let mut watched = watched();
    watched.see([refusal(at(1))]).expire(at(10_000)).finish(at(10_000));
    assert_eq!((watched.events.len(), watched.flows(at(10_000)).len()), (0, 0));
}

#[test]
fn an_attempt_that_is_seen_from_its_beginning_is_reported() {
    let (mut watched, connection) = (watched(), connection());
    watched.see([connection.syn(at(1)), refusal(at(2))]);
    assert_eq!(watched.only().outcome(), Outcome::Refused);
    let mut watched = self::watched();
    watched.see([connection.syn(at(1)), connection.syn_ack(at(2)), connection.ack(at(3))]);
    assert_eq!(watched.only().outcome(), Outcome::Established);
}

/// After that time a SYN-ACK without a SYN has another reason: its SYN takes another path.
#[test]
fn after_three_seconds_a_lone_answer_counts() {
    let (mut watched, connection) = (watched(), connection());
    watched.see([connection.syn_ack(at(3_000)), connection.ack(at(3_001))]);
    assert_eq!(watched.only().outcome(), Outcome::Established);
}

/// The connection itself is followed: its end is no part of the handshake.
#[test]
fn the_end_of_a_connection_from_before_is_reported() {
    let (mut watched, connection) = (watched(), connection());
    watched.see([connection.syn_ack(at(1)), connection.ack(at(2)), connection.rst_of_responder(at(500))]);
    assert_eq!((watched.handshakes().len(), watched.closes().len()), (0, 1));
}

/// An interface that is attached to again begins anew; others are not affected.
#[test]
fn each_interface_has_its_own_beginning() {
    let (mut watched, connection) = (watched(), connection());
    watched.handle(Input::Watched { interface: INTERFACE, since_ns: at(60_000) });
    watched.handle(Input::Watched { interface: INTERFACE + 1, since_ns: at(0) });
    watched.see([connection.syn_ack(at(60_001)), connection.ack(at(60_002))]);
    assert_eq!(watched.handshakes().len(), 0);
    let elsewhere = |record| SegmentRecord { interface: INTERFACE + 1, ..record };
    watched.see([connection.syn_ack(at(60_001)), connection.ack(at(60_002))].map(elsewhere));
    assert_eq!(watched.handshakes().len(), 1);
}
