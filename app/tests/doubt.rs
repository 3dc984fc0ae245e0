//! What is decided when the source missed records or evicted a flow, and what forged segments evict.

mod support;

use probe_common::counter::Counters;
use probe_common::{Counter, EvictedFlowRecord, Record, RecordKind, SegmentKind, Volume};
use support::{Connection, INTERFACE, MS, S, Watched, v4};
use tcptop_core::{Input, Outcome};

fn at(ms: u64) -> u64 {
    1_000 * S + ms * MS
}

fn out(port: u16) -> Connection {
    Connection::to(v4(10, 0, 0, 2, 443), port)
}

fn inward(host: u8) -> Connection {
    Connection::from(v4(198, 51, 100, host, 40_000), 80)
}

fn missed(watched: &mut Watched, records: u64, ms: u64) {
    let mut counters = Counters::default();
    let syn_ack = RecordKind::Segment(SegmentKind::SynAck);
    counters.0[Counter::Missed(syn_ack).cell().expect("counted")] = records;
    watched.handle(Input::Counters { counters: &counters, now_ns: at(ms) });
}

/// Time passes as in a live run: four times a second.
fn wait(watched: &mut Watched, from_ms: u64, to_ms: u64) {
    (from_ms..to_ms).step_by(250).for_each(|ms| {
        watched.expire(at(ms));
    });
}

/// Hard case `missed-records`: an attempt that was open meanwhile ends as unknown, and makes no verdict. Once it is silent, there
/// is nothing to do before it is given up.
#[test]
fn an_attempt_that_was_open_while_records_were_missed_is_unknown() {
    let mut watched = Watched::new();
    watched.see([out(1).syn(at(0)), inward(1).syn(at(0)), inward(1).syn_ack(at(1))]);
    missed(&mut watched, 1, 100);
    watched.see([out(2).syn(at(200))]);
    wait(&mut watched, 250, 3_000);
    let due_ns = watched.engine.poll_timeout().expect("all three wait");
    assert!(due_ns > at(3_000), "nothing is due now: {due_ns}");
    wait(&mut watched, 3_000, 10_000);
    let outcomes: Vec<_> =
        watched.handshakes().iter().map(|flow| (flow.local().port, flow.outcome())).collect();
    assert_eq!(outcomes.len(), 3, "{outcomes:?}");
    for expected in [(1, Outcome::Unknown), (80, Outcome::Unknown), (2, Outcome::Unanswered)] {
        assert!(outcomes.contains(&expected), "{expected:?} in {outcomes:?}");
    }
}

/// A refusal that was seen is one, whatever was missed.
#[test]
fn what_was_seen_is_not_in_doubt() {
    let mut watched = Watched::new();
    watched.see([out(1).syn(at(0)), out(2).syn(at(0))]);
    missed(&mut watched, 1, 100);
    watched.see([out(1).rst_of_responder(at(200)), out(2).syn_ack(at(200)), out(2).ack(at(201))]);
    let mut outcomes: Vec<_> = watched.handshakes().iter().map(|flow| flow.outcome() as usize).collect();
    outcomes.sort_unstable();
    assert_eq!(outcomes, [Outcome::Established as usize, Outcome::Refused as usize]);
}

/// Hard case `forged-segments`: the ACK of a handshake that the source has evicted makes no record.
#[test]
fn a_handshake_that_the_source_evicted_is_unknown() {
    let mut watched = Watched::new();
    watched.see([
        inward(1).syn(at(0)),
        inward(1).syn_ack(at(1)),
        inward(2).syn(at(0)),
        inward(2).syn_ack(at(1)),
    ]);
    let ends = [inward(1).opener, inward(1).responder];
    let low = ends[0].min(ends[1]);
    let ends = [low, if ends[0] == low { ends[1] } else { ends[0] }];
    let (time_ns, volumes) = (at(100), [Volume::NONE; 2]);
    watched.see([Record::EvictedFlow(EvictedFlowRecord {
        time_ns,
        interface: INTERFACE,
        ends,
        volumes,
        learned: None,
    })]);
    wait(&mut watched, 250, 10_000);
    let outcomes: Vec<_> =
        watched.handshakes().iter().map(|flow| (flow.remote() == inward(1).opener, flow.outcome())).collect();
    assert_eq!(outcomes.len(), 2);
    assert!(outcomes.contains(&(true, Outcome::Unknown)), "{outcomes:?}");
    assert!(outcomes.contains(&(false, Outcome::HalfOpen)), "{outcomes:?}");
}

/// Handshakes, of this host and with it, that are answered only once a flood has filled the table many times over.
fn through_a_flood(forged: impl Fn(Connection, u64) -> Record) -> Vec<(u16, Outcome)> {
    let mut watched = Watched::with_room(16);
    let real = [out(1), out(2), inward(1), inward(2)];
    watched.see(real.map(|connection| connection.syn(at(0))));
    for number in 0..1_000_u16 {
        let [high, low] = number.to_be_bytes();
        let stranger = Connection::from(v4(203, 0, high, low, 50_000), 80);
        watched.see([forged(stranger, at(1) + u64::from(number))]);
    }
    watched.see(real.map(|connection| connection.syn_ack(at(400))));
    watched.see(real.map(|connection| connection.ack(at(500))));
    let ours = |flow: &&tcptop_core::Flow| {
        real.iter().any(|one| [one.opener, one.responder].contains(&flow.remote()))
    };
    let handshakes = watched.handshakes();
    handshakes.into_iter().filter(ours).map(|flow| (flow.local().port, flow.outcome())).collect()
}

/// Hard case `forged-segments`: a FIN, a RST or data of no connection evicts no handshake, in whichever direction.
#[test]
fn a_segment_without_a_handshake_evicts_none() {
    let forged: [fn(Connection, u64) -> Record; 3] = [
        |stranger, time_ns| stranger.fin_of_opener(time_ns).into(),
        |stranger, time_ns| stranger.rst_of_opener(time_ns).into(),
        |stranger, time_ns| {
            let mut data = stranger.ack(time_ns);
            (data.kind, data.payload_len) = (SegmentKind::Retransmit, 100);
            data.into()
        },
    ];
    for forged in forged {
        let mut ended = through_a_flood(forged);
        ended.sort_unstable_by_key(|(port, _)| *port);
        assert_eq!(ended, [1, 2, 80, 80].map(|port| (port, Outcome::Established)));
    }
}

/// Hard case `forged-segments`: what this host opened is not evicted for SYNs from outside.
#[test]
fn a_syn_from_outside_evicts_nothing_that_this_host_opened() {
    let ended = through_a_flood(|stranger, time_ns| stranger.syn(time_ns).into());
    for port in [1, 2] {
        let own: Vec<_> = ended.iter().filter(|(local, _)| *local == port).collect();
        assert_eq!(own, [&(port, Outcome::Established)], "{ended:?}");
    }
}

/// Where a table holds nothing but what this host opened, a connection from outside still finds a place, but a flood gets one.
#[test]
fn a_full_table_leaves_one_place_to_strangers() {
    let mut watched = Watched::with_room(8);
    for port in 1..=8 {
        watched.see([out(port).syn(at(0)), out(port).syn_ack(at(1)), out(port).ack(at(2))]);
    }
    for host in 1..=100 {
        watched.see([inward(host).syn(at(10))]);
    }
    watched.see([inward(101).syn(at(20)), inward(101).syn_ack(at(21)), inward(101).ack(at(22))]);
    let last = watched.handshakes().last().map(|flow| (flow.remote(), flow.outcome()));
    assert_eq!(last, Some((inward(101).opener, Outcome::Established)));
    let own = watched.flows(at(30)).iter().filter(|flow| flow.local().port != 80).count();
    assert_eq!(own, 7);
}
