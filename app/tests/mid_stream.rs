//! Mid-stream connections: the table learns of them from the volumes in the source's flow states.

mod support;

use probe_common::{Direction, Endpoint, EvictedFlowRecord, Record, SegmentRecord, Volume};
use support::{Connection, MS, S, Watched, ends, v4, v6};
use tcptop_core::{Flow, FlowVolumes, Outcome, RowKey, Span, Traffic};

const START: u64 = 100 * S;

fn at(ms: u64) -> u64 {
    START + ms * MS
}

fn volume(segments: u64, retransmits: u32) -> Volume {
    Volume { segments, bytes: segments * 1_000, retransmits, ..Volume::NONE }
}

const NONE: Volume = Volume::NONE;

/// What a source has of a connection that it learned from data: in which direction the low end sends, and both volumes.
fn learned(low: Endpoint, high: Endpoint, low_sends: Direction, volumes: [Volume; 2]) -> FlowVolumes {
    assert!(low <= high);
    FlowVolumes { ends: ends(low, high), volumes, learned: Some(low_sends) }
}

/// A connection of this host to a server: this host's address is the lower one.
fn with_server(port: u16, volumes: [Volume; 2]) -> FlowVolumes {
    learned(v4(10, 0, 0, 1, port), v4(10, 0, 0, 2, 443), Direction::Egress, volumes)
}

/// The connection with these volumes.
fn connection(port: u16) -> Connection {
    Connection::to(v4(10, 0, 0, 2, 443), port)
}

fn counted(watched: &mut Watched) -> (u64, u64) {
    let counts = watched.snapshot(Span::SinceStart, at(0)).total.counts;
    (counts.sent, counts.retransmitted)
}

fn only(watched: &mut Watched) -> Flow {
    let flows = watched.flows(at(1_000));
    let [flow] = &flows[..] else { panic!("{flows:?}") };
    flow.clone()
}

/// Hard case `mid-stream`: whichever end sent first, it is known which one is this host.
#[test]
fn it_is_known_with_its_ends_and_without_a_latency() {
    let (here, there) = (v6("2001:db8::1", 443), v6("2001:db8::9", 51_000));
    for (low_sends, local, remote) in [(Direction::Egress, here, there), (Direction::Ingress, there, here)] {
        let mut watched = Watched::new();
        let (low, high) = (volume(5, 1), volume(700, 20));
        watched.sent(learned(here, there, low_sends, [low, high]), at(0));
        let flow = only(&mut watched);
        assert_eq!((flow.local(), flow.remote(), flow.role()), (local, remote, None));
        assert_eq!((flow.outcome(), flow.rtt(), flow.setup_ns()), (Outcome::Unknown, None, None));
        let volumes = if local == here { [low, high] } else { [high, low] };
        assert_eq!(flow.volumes(), volumes.each_ref().map(Traffic::from));
        assert_eq!(flow.peer().service.port, 443, "the lower port is taken for the service");
        assert_eq!(flow.peer().is_inbound(), local == here);
        assert_eq!(counted(&mut watched), (705, 21));
        let rows = watched.snapshot(Span::Window, at(0)).rows;
        assert_eq!(
            (rows[0].key, rows[0].figures.counts.retransmitted),
            (RowKey::Peer(flow.peer()), 21),
            "to the peer"
        );
        assert!(watched.expire(at(1_000)).finish(at(1_000)).events.is_empty(), "no event is reported");
    }
}

/// If both ends are this host, or it is unknown which one is, the end with the higher port is taken for the local one.
#[test]
fn the_higher_port_is_local_if_nothing_else_decides() {
    for direction in [Direction::Local, Direction::Unknown] {
        for ports in [[443, 51_000], [51_000, 443]] {
            let mut watched = Watched::new();
            let [low, high] = [v4(10, 0, 0, 1, ports[0]), v4(10, 0, 0, 2, ports[1])];
            watched.sent(learned(low, high, direction, [volume(1, 0), NONE]), at(0));
            assert_eq!((only(&mut watched).local().port, only(&mut watched).remote().port), (51_000, 443));
        }
    }
}

#[test]
fn it_is_the_same_flow_to_its_records() {
    let mut watched = Watched::new();
    watched.sent(with_server(40_000, [volume(10, 0), volume(20, 0)]), at(0));
    watched.sent(with_server(40_000, [volume(15, 2), volume(20, 0)]), at(1_000));
    assert_eq!(counted(&mut watched), (35, 2));
    let of = |record: SegmentRecord, volumes| SegmentRecord { volumes, ..record };
    let (sent, received) = (volume(16, 2), volume(30, 0));
    watched.see([
        of(connection(40_000).fin_of_opener(at(1_100)), [sent, received]),
        of(connection(40_000).fin_of_responder(at(1_110)), [received, sent]),
    ]);
    let [close] = watched.closes()[..] else { panic!("{:?}", watched.events) };
    assert_eq!(
        (close.volumes(), close.lifetime_ns()),
        ([sent, received].each_ref().map(Traffic::from), None)
    );
    assert_eq!(counted(&mut watched), (46, 2));
}

/// The close reports what was sent, although it is the first record of the flow.
#[test]
fn a_reset_reports_what_was_sent() {
    let mut watched = Watched::new();
    let (sent, received) = (volume(16, 2), volume(30, 0));
    watched.see([SegmentRecord { volumes: [received, sent], ..connection(40_000).rst_of_responder(at(0)) }]);
    let [close] = watched.closes()[..] else { panic!("{:?}", watched.events) };
    assert_eq!(
        (close.outcome(), close.volumes()),
        (Outcome::Reset, [sent, received].each_ref().map(Traffic::from))
    );
    assert_eq!(counted(&mut watched), (46, 2));
}

#[test]
fn a_flow_known_by_its_records_is_not_learned_again() {
    let mut watched = Watched::new();
    let known = FlowVolumes { learned: None, ..with_server(40_000, [volume(9, 0), NONE]) };
    watched.sent(known, at(0));
    assert!(watched.flows(at(0)).is_empty());
    assert_eq!(counted(&mut watched), (0, 0));
}

/// However many mid-stream connections a host has, new ones are what matters.
#[test]
fn mid_stream_connections_evict_no_other() {
    let mut watched = Watched::with_room(10);
    let young: Vec<_> = (0..6).map(|n| Connection::to(v4(10, 0, 0, 3, 443), 41_000 + n)).collect();
    watched.see(young.iter().map(|connection| connection.syn(at(0))));
    for port in 30_000..31_000 {
        watched.sent(with_server(port, [volume(3, 0), NONE]), at(1));
    }
    assert_eq!(watched.kept_and_evicted(), (10, 0));
    watched.see(young.iter().map(|connection| connection.rst_of_responder(at(2))));
    assert_eq!(watched.handshakes().len(), 6, "each was reported");
    // Finished flows make room for lasting ones.
    for port in 30_000..31_000 {
        watched.sent(with_server(port, [volume(3, 0), NONE]), at(3));
    }
    assert_eq!(watched.kept_and_evicted(), (10, 0));
    assert_eq!(counted(&mut watched), (30, 0), "each that has room is counted once");
}

/// Hard case `syn-flood`: connections in which this host has sent data outlast a flood; data from outside may be
/// forged.
#[test]
fn a_flood_leaves_connections_alone_in_which_this_host_sends() {
    let mut watched = Watched::with_room(100);
    for port in 0..50 {
        let volumes = if port % 2 == 0 { [volume(1, 0), volume(1, 0)] } else { [NONE, volume(1, 0)] };
        watched.sent(with_server(30_000 + port, volumes), at(0));
    }
    for port in 0..1_000 {
        watched.see([Connection::from(v4(198, 51, 100, 7, 1_024 + port), 80).syn(at(20))]);
    }
    let left: Vec<u16> = watched.flows(at(30)).iter().map(|flow| flow.local().port).collect();
    assert_eq!(left.iter().filter(|&&port| port >= 30_000).count(), 25, "{left:?}");
    assert!((0..50).step_by(2).all(|port| left.contains(&(30_000 + port))), "{left:?}");
}

/// Once flows were evicted, a flow that is found again may be one of them: what it has sent is not counted twice.
#[test]
fn volumes_of_evicted_flows_are_not_counted_again() {
    let mut watched = Watched::with_room(10);
    for port in 0..10 {
        watched.sent(with_server(30_000 + port, [volume(100, 1), NONE]), at(0));
    }
    let young = Connection::to(v4(10, 0, 0, 3, 443), 41_000);
    watched.see([young.syn(at(10)), young.rst_of_responder(at(11))]);
    assert_eq!(watched.kept_and_evicted().1, 1);
    for port in 0..10 {
        watched.sent(with_server(30_000 + port, [volume(101, 1), NONE]), at(1_000));
    }
    assert_eq!(
        (watched.kept_and_evicted().0, counted(&mut watched)),
        (10, (1_009, 10)),
        "one is known from here on"
    );
    watched.sent(with_server(30_000, [volume(103, 1), NONE]), at(2_000));
    assert_eq!(counted(&mut watched), (1_011, 10));
}

/// The last volumes of a flow that the source evicts are counted, whether the table knows the flow or not.
#[test]
fn volumes_of_flows_that_the_source_evicts_are_counted() {
    let evicted = |is_learned: bool, volumes| {
        let FlowVolumes { ends, volumes, learned } = with_server(40_000, volumes);
        let learned = learned.filter(|_| is_learned);
        let (interface, ends) = (ends.interface, ends.endpoints());
        Record::EvictedFlow(EvictedFlowRecord { time_ns: at(0), interface, ends, volumes, learned })
    };
    let mut watched = Watched::new();
    watched.see([evicted(true, [volume(7, 1), volume(3, 0)])]);
    assert_eq!((watched.kept_and_evicted().0, counted(&mut watched)), (0, (10, 1)));
    // The same with a known flow.
    watched.sent(with_server(40_000, [volume(2, 0), NONE]), at(1_000));
    watched.see([evicted(true, [volume(5, 0), NONE])]);
    assert_eq!((watched.kept_and_evicted().0, counted(&mut watched)), (1, (15, 1)));
    // A flow whose handshake the source saw was reported here, or evicted here.
    let mut watched = Watched::new();
    watched.see([evicted(false, [volume(7, 1), volume(3, 0)])]);
    assert_eq!(counted(&mut watched), (0, 0));
}
