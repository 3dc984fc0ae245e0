//! What the kernel says of sockets, as the engine joins it with flows.

mod support;

use probe_common::{Endpoint, SegmentRecord};
use support::{Connection, MS, S, START, Watched, v4};
use tcptop::output::explain::explain;
use tcptop_core::{
    AcceptQueue, Filter, FlowOrder, Group, Input, Outcome, Party, Query, RowKey, Snapshot, SnapshotRequest,
    Socket, SocketState, Sort, Span, TcpInfo, Why,
};

const OPENER: u64 = 0x11;

fn at(ms: u64) -> u64 {
    START + ms * MS
}

fn to() -> Connection {
    Connection::to(v4(10, 0, 0, 9, 443), 40_000)
}

fn from() -> Connection {
    Connection::from(v4(10, 0, 0, 9, 50_000), 80)
}

/// A connection whose smoothed and shortest round-trip times are these, in microseconds.
fn socket(cookie: u64, [local, remote]: [Endpoint; 2], srtt_us: u32, min_rtt_us: u32) -> Socket {
    let mut info = [0; 232];
    info[68..72].copy_from_slice(&srtt_us.to_ne_bytes());
    info[148..152].copy_from_slice(&min_rtt_us.to_ne_bytes());
    let socket = Socket::new(cookie, local, remote, SocketState::Established);
    Socket { info: Some(TcpInfo::new(&info)), ..socket }
}

fn listener(port: u16, waiting: u32, limit: u32) -> Socket {
    let socket = Socket::new(1, v4(0, 0, 0, 0, port), v4(0, 0, 0, 0, 0), SocketState::Listen);
    Socket { receive_queue: waiting, send_queue: limit, ..socket }
}

fn by(cookie: u64, segment: SegmentRecord) -> SegmentRecord {
    SegmentRecord { cookie, ..segment }
}

fn list(watched: &mut Watched, sockets: &[Socket], now_ns: u64) {
    for half in sockets.chunks(sockets.len().div_ceil(2).max(1)) {
        watched.handle(Input::Sockets { sockets: half, now_ns, is_last: false });
    }
    watched.handle(Input::Sockets { sockets: &[], now_ns, is_last: true });
}

fn srtt_ns(watched: &mut Watched, now_ns: u64) -> Option<u64> {
    watched.flows(now_ns)[0].kernel_socket(Party::Local)?.socket.info?.srtt_ns()
}

#[test]
fn a_socket_is_joined_by_its_cookie_where_that_is_known() {
    let mut watched = Watched::new();
    watched.see([by(OPENER, to().syn(at(0))), to().syn_ack(at(1)), to().ack(at(2))]);
    let ends = [to().opener, to().responder];
    list(&mut watched, &[socket(OPENER + 1, ends, 500, 400)], at(3));
    assert_eq!(srtt_ns(&mut watched, at(3)), None, "it is another one on the same ports");
    list(&mut watched, &[socket(OPENER, ends, 500, 400)], at(4));
    assert_eq!(srtt_ns(&mut watched, at(4)), Some(500_000));
    list(&mut watched, &[socket(OPENER, ends, 700, 400)], at(5));
    assert_eq!(srtt_ns(&mut watched, at(5)), Some(700_000));
    let flow = watched.flows(at(5)).remove(0);
    assert_eq!(flow.kernel_socket(Party::Local).map(|known| known.at_ns), Some(at(5)));
    assert_eq!(flow.kernel_socket(Party::Remote), None);
    // The latest that was known stays with the connection.
    watched.see([to().fin_of_opener(at(6)), to().fin_of_responder(at(7))]);
    list(&mut watched, &[], at(8));
    assert_eq!(srtt_ns(&mut watched, at(8)), Some(700_000));
}

#[test]
fn a_socket_without_a_known_cookie_is_joined_by_its_ends_and_known_by_it_from_then_on() {
    let mut watched = Watched::new();
    watched.see([from().syn(at(0)), from().syn_ack(at(1)), from().ack(at(2))]);
    let ends = [from().responder, from().opener];
    list(&mut watched, &[socket(5, ends, 500, 400), socket(6, [ends[0], ends[0]], 9, 9)], at(3));
    assert_eq!(srtt_ns(&mut watched, at(3)), Some(500_000));
    list(&mut watched, &[socket(7, ends, 900, 400)], at(4));
    assert_eq!(srtt_ns(&mut watched, at(4)), Some(500_000));
}

#[test]
fn what_has_ended_has_no_socket() {
    let mut watched = Watched::new();
    watched.see([to().syn(at(0)), to().rst_of_responder(at(1))]);
    list(&mut watched, &[socket(5, [to().opener, to().responder], 500, 400)], at(3));
    assert_eq!(srtt_ns(&mut watched, at(3)), None);
}

fn row_queue(snapshot: &Snapshot, connection: &Connection) -> Option<AcceptQueue> {
    let is_it = |key: &&RowKey| matches!(key, RowKey::Peer(peer) if peer.service.address == connection.opener.address);
    let key = snapshot.rows.iter().map(|row| &row.key).find(is_it).expect("it is a row");
    snapshot.sockets.get(key)?.accept_queue
}

#[test]
fn a_full_queue_is_noted_on_attempts_that_wait_for_it() {
    let mut watched = Watched::new();
    let other = Connection::from(v4(10, 0, 0, 8, 50_000), 81);
    watched.see([from().syn(at(0)), other.syn(at(0))]);
    list(&mut watched, &[listener(80, 128, 128), listener(81, 0, 128)], at(100));
    assert_eq!(watched.flows(at(100))[0].accept_queue(), None, "there is room for one more");
    list(&mut watched, &[listener(80, 129, 128), listener(81, 0, 128)], at(1_100));
    let snapshot = watched.snapshot(Span::Window, at(1_200));
    let queue = AcceptQueue { waiting: 129, limit: 128, at_ns: at(1_100) };
    assert_eq!((row_queue(&snapshot, &from()), row_queue(&snapshot, &other)), (Some(queue), None));
    watched.expire(at(1_200));
    let snapshot = watched.snapshot(Span::Window, at(1_210));
    let said = snapshot.rows.iter().map(|row| {
        let explained = explain(row, &snapshot, &support::stage::context()).expect("it is unanswered");
        (row.why, explained.sentences.concat())
    });
    let mut said: Vec<_> = said.collect();
    said.sort_by_key(|(why, _)| why.map(Why::name));
    let own = "The accept queue of this host's listener was full (129 of 128) while an attempt waited";
    assert!(said[0].0 == Some(Why::SilentHere) && said[0].1.starts_with("This host got the SYN"), "{said:?}");
    assert!(said[1].0 == Some(Why::QueueFull) && said[1].1.starts_with(own), "{said:?}");
    list(&mut watched, &[listener(80, 0, 128), listener(81, 0, 128)], at(2_000));
    watched.expire(at(60_000));
    let queues = |watched: &Watched| {
        let of = |port: u16| {
            let mut all = watched.handshakes().into_iter();
            let flow = all.find(|flow| flow.local().port == port).expect("it was reported");
            assert_eq!(flow.outcome(), Outcome::Unanswered);
            flow.accept_queue()
        };
        [80, 81].map(of)
    };
    assert_eq!(queues(&watched), [Some(queue), None]);
    // Within the window it is long past; since the start it was so.
    watched.see([from().syn(at(60_000))]);
    assert_eq!(row_queue(&watched.snapshot(Span::Window, at(60_500)), &from()), None);
    assert_eq!(row_queue(&watched.snapshot(Span::SinceStart, at(60_500)), &from()), Some(queue));
}

/// The SYN was taken, and the ACK found the queue full: the SYN-ACK is retransmitted although the ACK has passed.
#[test]
fn a_full_queue_is_noted_on_connections_that_are_not_accepted() {
    let mut watched = Watched::new();
    watched.see([from().syn(at(0)), from().syn_ack(at(1)), from().ack(at(2))]);
    list(&mut watched, &[listener(80, 129, 128)], at(100));
    assert_eq!(watched.flows(at(100))[0].accept_queue(), None, "it may have been the last that fits");
    watched.see([from().syn_ack(at(1_001))]);
    list(&mut watched, &[listener(80, 129, 128)], at(1_100));
    assert!(watched.flows(at(1_100))[0].accept_queue().is_some());
}

#[test]
fn a_full_queue_says_nothing_of_what_this_host_opens_or_has_answered() {
    let mut watched = Watched::new();
    let own = Connection::to(v4(10, 0, 0, 9, 80), 40_000);
    watched.see([own.syn(at(0)), from().syn(at(0)), from().syn_ack(at(1))]);
    list(&mut watched, &[listener(80, 129, 128)], at(S / MS));
    assert!(watched.flows(at(2_000)).iter().all(|flow| flow.accept_queue().is_none()));
}

#[test]
fn peers_have_the_median_of_their_open_connections() {
    let mut watched = Watched::new();
    let remote = v4(10, 0, 0, 9, 443);
    let connections: Vec<Connection> = (0..5).map(|port| Connection::to(remote, 40_000 + port)).collect();
    let mut sockets = Vec::new();
    for (connection, srtt_us) in connections.iter().zip([900, 100, 500, 300, 700]) {
        watched.see([connection.syn(at(0)), connection.syn_ack(at(1)), connection.ack(at(2))]);
        sockets.push(socket(srtt_us.into(), [connection.opener, remote], srtt_us, srtt_us / 2));
    }
    list(&mut watched, &sockets, at(3));
    let rtts = |watched: &mut Watched, group| {
        let request = SnapshotRequest {
            rows: 1,
            query: Query { group, ..Query::default() },
            ..SnapshotRequest::totals(Span::Window)
        };
        let snapshot = watched.engine.snapshot(watched.reader, &request, at(10));
        let rtts = snapshot.sockets.get(&snapshot.rows[0].key)?.rtts?;
        Some((rtts.connections, rtts.srtt_p50_ns, rtts.min_rtt_ns))
    };
    for group in [Group::Peer, Group::Service] {
        assert_eq!(rtts(&mut watched, group), Some((5, 500_000, Some(50_000))));
    }
    // What has ended since is no longer measured.
    let first = connections[0];
    watched.see([first.fin_of_opener(at(4)), first.fin_of_responder(at(5))]);
    list(&mut watched, &sockets, at(6));
    assert_eq!(rtts(&mut watched, Group::Peer), Some((4, 300_000, Some(50_000))));
    list(&mut watched, &[], at(7));
    assert_eq!(rtts(&mut watched, Group::Peer), None);
}

#[test]
fn connections_are_filtered_and_sorted_by_what_the_kernel_measures() {
    let mut watched = Watched::new();
    let remote = v4(10, 0, 0, 9, 443);
    for (port, srtt_us) in [(40_000, 900), (40_001, 100), (40_002, 500), (40_003, 0)] {
        let connection = Connection::to(remote, port);
        watched.see([connection.syn(at(0)), connection.syn_ack(at(1)), connection.ack(at(2))]);
        list(&mut watched, &[socket(1, [connection.opener, remote], srtt_us, 80)], at(3));
    }
    let ports = |watched: &mut Watched, filter: &str, by| {
        let query = Query {
            filter: filter.parse::<Filter>().expect("it is one"),
            flow_sort: Sort { by, reversed: false },
            ..Query::default()
        };
        let request = SnapshotRequest { flows: 10, query, ..SnapshotRequest::totals(Span::Window) };
        let flows = watched.engine.snapshot(watched.reader, &request, at(10)).flows.expect("asked for");
        flows.rows.iter().map(|flow| flow.local().port).collect::<Vec<_>>()
    };
    assert_eq!(ports(&mut watched, "", FlowOrder::Srtt), [40_000, 40_002, 40_001, 40_003]);
    assert_eq!(ports(&mut watched, "srtt>200us", FlowOrder::Srtt), [40_000, 40_002]);
    assert_eq!(ports(&mut watched, "min_rtt<100us srtt<200us", FlowOrder::Srtt), [40_001]);
}

/// Nothing is known of it but its socket, until its last segments.
#[test]
fn a_connection_from_before_has_its_socket_when_it_is_seen_at_last() {
    let mut watched = Watched::new();
    let ends = [to().opener, to().responder];
    list(&mut watched, &[socket(5, ends, 500, 400)], at(3));
    list(&mut watched, &[socket(5, ends, 600, 400)], at(4));
    watched.see([by(5, to().fin_of_opener(at(5))), to().fin_of_responder(at(6))]);
    let known = watched.closes()[0].kernel_socket(Party::Local).expect("it was listed");
    assert_eq!((known.socket.info.and_then(|info| info.srtt_ns()), known.at_ns), (Some(600_000), at(4)));
    // One that was gone before is another one.
    list(&mut watched, &[socket(7, [to().opener, v4(10, 0, 0, 8, 1)], 500, 400)], at(7));
    list(&mut watched, &[], at(8));
    let gone = Connection::to(v4(10, 0, 0, 8, 1), 40_000);
    watched.see([gone.fin_of_opener(at(9)), gone.fin_of_responder(at(10))]);
    assert_eq!(watched.closes()[1].kernel_socket(Party::Local), None);
}
