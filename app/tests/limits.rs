//! The flow table at its limits.

mod support;

use support::{Connection, MS, S, Watched, v4};
use tcptop_core::{EngineConfig, Leg, Outcome, Span};

const START: u64 = 100 * S;

fn at(ms: u64) -> u64 {
    START + ms * MS
}

fn establish(watched: &mut Watched, port: u16) {
    let connection = Connection::to(v4(10, 0, 0, 2, 443), port);
    watched.see([connection.syn(at(0)), connection.syn_ack(at(10)), connection.ack(at(11))]);
}

/// Hard case `syn-flood`, in the table: pending flows are evicted before established ones.
#[test]
fn a_flood_of_syns_leaves_established_flows_alone() {
    let mut watched = Watched::with_room(100);
    for port in 0..50 {
        establish(&mut watched, 30_000 + port);
    }
    for port in 0..1_000 {
        watched.see([Connection::from(v4(198, 51, 100, 7, 1_024 + port), 80).syn(at(20))]);
    }
    assert_eq!(watched.kept_and_evicted(), (100, 950));
    let pending = watched.handshakes().iter().filter(|report| report.outcome() == Outcome::Pending).count();
    assert_eq!(pending, 950, "evicted flows were reported as they were");
    for port in 0..50 {
        let connection = Connection::to(v4(10, 0, 0, 2, 443), 30_000 + port);
        watched.see([connection.fin_of_opener(at(30)), connection.fin_of_responder(at(31))]);
    }
    assert!(watched.closes().iter().all(|report| report.lifetime_ns() == Some(31 * MS)));
    assert_eq!(watched.closes().len(), 50);
}

/// A proxy has thousands of lasting connections; a handshake must still have room.
#[test]
fn a_table_full_of_established_flows_still_sees_handshakes() {
    let mut watched = Watched::with_room(100);
    for port in 0..100 {
        establish(&mut watched, 30_000 + port);
    }
    watched.events.clear();
    let young: Vec<_> = (0..20).map(|n| Connection::to(v4(10, 0, 0, 3, 443), 41_000 + n)).collect();
    watched.see(young.iter().map(|connection| connection.syn(at(20))));
    watched.see(young.iter().map(|connection| connection.syn_ack(at(30))));
    watched.see(young.iter().map(|connection| connection.ack(at(31))));
    let handshakes = watched.handshakes();
    assert_eq!(handshakes.len(), 20);
    assert!(handshakes.iter().all(|report| report.rtt() == Some(Leg::Exact(10 * MS))));
    assert_eq!(watched.kept_and_evicted().1, 20);
}

#[test]
fn no_more_outcomes_are_reported_than_the_limit() {
    let config = EngineConfig { max_handshakes: Some(2), ..support::config(100) };
    let mut watched = Watched::with(&config, START);
    watched.see((0..8).map(|port| Connection::to(v4(10, 0, 0, 2, 443), 30_000 + port).syn(at(0))));
    watched.expire(at(10_000));
    let told = watched.snapshot(Span::SinceStart, at(10_000)).reported;
    assert_eq!((watched.events.len(), told, watched.engine.is_done()), (2, 2, true));
}

/// Forged FINs are as cheap as forged SYNs: a flow of which only the end is known is evicted first.
#[test]
fn a_flood_of_fins_leaves_established_flows_alone() {
    let mut watched = Watched::with_room(100);
    for port in 0..50 {
        establish(&mut watched, 30_000 + port);
    }
    for port in 0..1_000 {
        watched.see([Connection::from(v4(198, 51, 100, 7, 1_024 + port), 80).fin_of_opener(at(20))]);
    }
    for port in 0..50 {
        let connection = Connection::to(v4(10, 0, 0, 2, 443), 30_000 + port);
        watched.see([connection.fin_of_opener(at(30)), connection.fin_of_responder(at(31))]);
    }
    assert_eq!(watched.closes().iter().filter(|report| report.lifetime_ns() == Some(31 * MS)).count(), 50);
}

/// A finished flow is evicted without being counted.
#[test]
fn finished_flows_are_evicted_uncounted() {
    let mut watched = Watched::with_room(10);
    for port in 0..100 {
        let connection = Connection::to(v4(10, 0, 0, 2, 443), 30_000 + port);
        watched.see([connection.syn(at(0)), connection.rst_of_responder(at(1))]);
    }
    assert_eq!(watched.kept_and_evicted(), (10, 0));
}
