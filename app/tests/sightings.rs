//! A packet that passes several watched interfaces is of one flow, and counts once.

mod support;

use probe_common::{SegmentClass, SegmentRecord, Volume};
use support::{Connection, INTERFACE, MS, S, START, Watched, ends, v4};
use tcptop_core::{Counts, FlowVolumes, Input, Outcome, Span};

/// The interface of the host's own cable, behind that of the container.
const CABLE: u32 = INTERFACE + 1;

fn watched() -> Watched {
    let mut watched = Watched::new();
    for interface in [INTERFACE, CABLE] {
        watched.handle(Input::Watched { interface, since_ns: 0 });
    }
    watched
}

fn at(interface: u32, record: SegmentRecord) -> SegmentRecord {
    SegmentRecord { interface, ..record }
}

fn counts(watched: &mut Watched, now_ns: u64) -> Counts {
    watched.snapshot(Span::SinceStart, now_ns).total.counts
}

/// Out by the container's interface and the cable, back in the reverse order.
fn pass(watched: &mut Watched, connection: &Connection) {
    watched.see([
        connection.syn(START),
        at(CABLE, connection.syn(START + 10)),
        at(CABLE, connection.syn_ack(START + MS)),
        connection.syn_ack(START + MS + 20),
        connection.ack(START + MS + 50),
        at(CABLE, connection.ack(START + MS + 60)),
    ]);
}

#[test]
fn a_connection_through_two_interfaces_is_one_with_the_times_of_both() {
    let mut watched = watched();
    pass(&mut watched, &Connection::to(v4(192, 0, 2, 1, 443), 40_000));
    let counted = counts(&mut watched, START + 2 * MS);
    assert_eq!((counted.opened, counted.of(Outcome::Established)), (1, 1));
    let [flow] = &watched.flows(START + 2 * MS)[..] else { panic!("one flow") };
    assert_eq!(flow.interface(), INTERFACE, "where it was seen first");
    assert_eq!(flow.server_leg().and_then(|leg| leg.exact()), Some(MS + 20));
    let [further] = flow.sightings() else { panic!("{:?}", flow.sightings()) };
    let there = further.flow();
    assert_eq!((there.interface(), there.first_ns()), (CABLE, START + 10));
    assert_eq!(there.server_leg().and_then(|leg| leg.exact()), Some(MS - 10));
    assert_eq!(there.client_leg().and_then(|leg| leg.exact()), Some(60));
    assert_eq!(further.translated(flow), None);
}

/// As with a masquerading container: the socket and its number stay.
#[test]
fn a_connection_whose_addresses_are_translated_is_one_where_the_socket_is_the_same() {
    let mut watched = watched();
    let inside = Connection::to(v4(192, 0, 2, 1, 443), 40_000);
    let outside = Connection { opener: v4(203, 0, 113, 5, 61_000), ..inside };
    let cookie = 77;
    watched.see([
        SegmentRecord { cookie, ..inside.syn(START) },
        SegmentRecord { cookie, ..at(CABLE, outside.syn(START + 10)) },
        at(CABLE, outside.syn_ack(START + MS)),
        inside.syn_ack(START + MS + 20),
        inside.ack(START + MS + 50),
        at(CABLE, outside.ack(START + MS + 60)),
    ]);
    assert_eq!(counts(&mut watched, START + 2 * MS).opened, 1);
    let [flow] = &watched.flows(START + 2 * MS)[..] else { panic!("one flow") };
    let [further] = flow.sightings() else { panic!("{:?}", flow.sightings()) };
    assert_eq!(further.translated(flow), Some([outside.opener, outside.responder]));
    assert_eq!(further.flow().client_leg().and_then(|leg| leg.exact()), Some(60));
    // Another socket, or another number, is another connection.
    let other = Connection { opener: v4(203, 0, 113, 5, 61_001), isn: 5, ..inside };
    watched.see([SegmentRecord { cookie, ..at(CABLE, other.syn(START + 3 * MS)) }]);
    assert_eq!(counts(&mut watched, START + 4 * MS).opened, 2);
}

/// The opener gives up: at the further interface that says nothing of the other end, either.
#[test]
fn a_rst_of_the_opener_at_a_further_interface_is_no_answer() {
    let mut watched = watched();
    let connection = Connection::to(v4(192, 0, 2, 1, 443), 40_000);
    watched.see([connection.syn(START), at(CABLE, connection.syn(START + 10))]);
    watched.see([at(CABLE, connection.rst_of_opener(START + MS))]);
    watched.expire(START + 300 * S);
    assert_eq!(watched.only().outcome(), Outcome::Unanswered);
    assert_eq!(counts(&mut watched, START + 300 * S).of(Outcome::Unanswered), 1);
}

/// The way back is another one: what answers there answers the attempt.
#[test]
fn an_answer_that_passes_a_further_interface_only_is_the_flows() {
    let mut watched = watched();
    let connection = Connection::to(v4(192, 0, 2, 1, 443), 40_000);
    watched.see([connection.syn(START), at(CABLE, connection.syn_ack(START + MS))]);
    watched.expire(START + 2 * S);
    let snapshot = watched.snapshot(Span::SinceStart, START + 2 * S);
    assert_eq!(snapshot.total.counts.unanswered(), 0);
    watched.see([connection.ack(START + 2 * S)]);
    assert_eq!(watched.only().outcome(), Outcome::Established);
    let refused = Connection::to(v4(192, 0, 2, 1, 444), 40_001);
    watched.see([refused.syn(START + 3 * S), at(CABLE, refused.rst_of_responder(START + 3 * S + MS))]);
    watched.expire(START + 5 * S);
    assert_eq!(watched.handshakes()[1].outcome(), Outcome::Refused);
}

/// Of what was open before, no number is known: the ends must do.
#[test]
fn what_was_open_before_counts_once() {
    let mut watched = watched();
    let connection = Connection::to(v4(192, 0, 2, 1, 443), 40_000);
    let volume = Volume { segments: 100, bytes: 1_000, retransmits: 10, ..Volume::NONE };
    let resent = |interface, time_ns| SegmentRecord {
        interface,
        volumes: [volume, Volume::NONE],
        payload_len: 10,
        class: SegmentClass::retransmit(0),
        kind: probe_common::SegmentKind::Retransmit,
        ..connection.ack(time_ns)
    };
    watched.see([resent(INTERFACE, START), resent(CABLE, START + 10)]);
    let (low, high) = (connection.opener, connection.responder);
    for interface in [INTERFACE, CABLE] {
        let ends = probe_common::key::Ends { interface, ..ends(low, high) };
        let volumes = [volume, Volume::NONE];
        watched.sent(FlowVolumes { ends, volumes, learned: None }, START + MS);
    }
    let counted = counts(&mut watched, START + 2 * MS);
    assert_eq!((counted.sent, counted.retransmitted), (100, 10));
    let [flow] = &watched.flows(START + 2 * MS)[..] else { panic!("one flow") };
    assert_eq!(flow.sightings()[0].volumes(flow)[0].retransmits, 10);
}

#[test]
fn a_new_connection_on_the_same_ports_is_another_one_whichever_interface_shows_it_first() {
    for first in [INTERFACE, CABLE] {
        let mut watched = watched();
        let one = Connection::to(v4(192, 0, 2, 1, 443), 40_000);
        pass(&mut watched, &one);
        let next = Connection { isn: 9_000_000, answer_isn: 8_000_000, ..one };
        let second = if first == INTERFACE { CABLE } else { INTERFACE };
        let later = START + 10 * S;
        watched.see([at(first, next.syn(later)), at(second, next.syn(later + 10))]);
        watched.see([at(second, next.syn_ack(later + MS)), at(first, next.syn_ack(later + MS + 10))]);
        watched.see([at(first, next.ack(later + 2 * MS)), at(second, next.ack(later + 2 * MS + 10))]);
        let counted = counts(&mut watched, later + S);
        assert_eq!((counted.opened, counted.of(Outcome::Established)), (2, 2), "{first}");
        assert_eq!(watched.closes().len(), 1, "the first one has ended: {first}");
    }
}

/// With one interface nothing is joined: an interface that is not watched says nothing.
#[test]
fn a_single_interface_has_no_sightings() {
    let mut watched = Watched::new();
    watched.handle(Input::Watched { interface: INTERFACE, since_ns: 0 });
    pass(&mut watched, &Connection::to(v4(192, 0, 2, 1, 443), 40_000));
    assert!(watched.flows(START + S).iter().all(|flow| flow.sightings().is_empty()));
}
