//! Every handshake is reported once, and `--count` and `--duration` end the run.

use std::collections::HashSet;
use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lab::{Clients, Mode, Namespace, Object, Server, Tcptop, connect, connect_many};

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(30);
const CONNECTIONS: usize = 2_000;

/// A namespace of its own with a server on loopback.
fn loopback() -> (Namespace, Server) {
    let namespace = Namespace::new().expect("a namespace");
    let address = SocketAddr::from(([127, 0, 0, 1], 80));
    let server = Server::bind(&namespace, address, Mode::CloseAtOnce).expect("a server");
    (namespace, server)
}

fn watch(namespace: &Namespace, arguments: &[&str]) -> Tcptop {
    let tcptop = Tcptop::spawn(namespace, [&["lo", "--json"], arguments].concat()).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    tcptop
}

fn of_kind<'o>(objects: &'o [Object], kind: &str) -> Vec<&'o Object> {
    objects.iter().filter(|object| object.kind() == kind).collect()
}

/// Hard cases `loopback` (each packet passes twice) and `full-ring` (no record is missed).
#[test]
fn two_thousand_connections_are_two_thousand_handshakes() {
    lab::needs_root!();
    let (namespace, server) = loopback();
    let tcptop = watch(&namespace, &[]);
    let made = connect_many(&namespace, server.address(), CONNECTIONS, PATIENCE).unwrap();
    assert_eq!(made, CONNECTIONS);
    tcptop.wait_objects("handshake", CONNECTIONS, PATIENCE).unwrap();
    // A handshake too many would be reported before the run ends.
    let objects = tcptop.stop(PATIENCE).unwrap();

    let handshakes = of_kind(&objects, "handshake");
    assert_eq!(handshakes.len(), CONNECTIONS);
    for one in &handshakes {
        assert_eq!(one.text("outcome"), Some("established"), "{one:?}");
        assert_eq!(one.text("role"), Some("local"), "{one:?}");
        assert_eq!((one.text("interface"), one.number("tries")), (Some("lo"), Some(1)), "{one:?}");
        assert_eq!(one.remote(), server.address(), "{one:?}");
        assert_eq!(one.number("rtt_ns"), one.number("server_leg_ns"), "{one:?}");
        let legs = one.number("server_leg_ns").zip(one.number("client_leg_ns")).expect("both");
        assert_eq!(one.number("setup_ns"), Some(legs.0 + legs.1), "{one:?}");
    }
    let distinct: HashSet<_> = handshakes.iter().map(|one| (one.local(), one.text("time"))).collect();
    assert_eq!(distinct.len(), CONNECTIONS, "reported twice");

    let summary = objects.last().expect("a summary");
    assert_eq!(summary.kind(), "summary");
    assert_eq!(of_kind(&objects, "summary").len(), 1);
    for (field, count) in
        [("handshakes", CONNECTIONS), ("established", CONNECTIONS), ("missed", 0), ("unmatched", 0)]
    {
        assert_eq!(summary.number(field), Some(count as u64), "{field}: {summary:?}");
    }
    for field in ["refused", "unanswered", "half_open", "reset", "pending", "retransmits"] {
        assert_eq!(summary.number(field), Some(0), "{field}: {summary:?}");
    }
    assert_eq!(summary.number("rtt_samples"), Some(CONNECTIONS as u64), "{summary:?}");
    // SYN, SYN-ACK and ACK of each connection, and the segments that closed it.
    assert!(summary.number("records") >= Some(3 * CONNECTIONS as u64), "{summary:?}");
}

/// Hard case `self-connect`: a socket connected to itself is a simultaneous open of which both ends are one.
#[test]
fn a_socket_connected_to_itself_is_one_handshake() {
    lab::needs_root!();
    let (namespace, _server) = loopback();
    let tcptop = watch(&namespace, &[]);
    let own = SocketAddr::from(([127, 0, 0, 1], 40_000));
    let stream = connect(&namespace, Some(own), own, PATIENCE).unwrap();
    assert_eq!(stream.local_addr().unwrap(), stream.peer_addr().unwrap());
    // It is reported while the connection is open, not only when the close shows that there was one.
    tcptop.wait_objects("handshake", 1, Duration::from_secs(3)).unwrap();
    drop(stream);
    let objects = tcptop.stop(PATIENCE).unwrap();
    let [handshake] = of_kind(&objects, "handshake")[..] else { panic!("one handshake: {objects:?}") };
    assert_eq!(handshake.text("outcome"), Some("established"), "{handshake:?}");
    assert_eq!((handshake.local(), handshake.remote()), (own, own), "{handshake:?}");
    assert_eq!(objects.last().unwrap().number("missed"), Some(0), "{objects:?}");
}

#[test]
fn a_count_ends_the_run_at_exactly_that_many() {
    lab::needs_root!();
    let (namespace, server) = loopback();
    for count in [1, 7] {
        let tcptop = watch(&namespace, &["--count", &count.to_string()]);
        connect_many(&namespace, server.address(), 50, PATIENCE).unwrap();
        let output = tcptop.wait(PATIENCE).unwrap();
        assert_eq!(output.status.code(), Some(0), "{output:?}");
        let objects = lab::objects(&output.stdout);
        assert_eq!(of_kind(&objects, "handshake").len(), count, "{objects:?}");
        let summary = objects.last().expect("a summary");
        assert_eq!((summary.kind(), summary.number("handshakes")), ("summary", Some(count as u64)));
    }
}

#[test]
fn a_duration_ends_the_run_in_time() {
    lab::needs_root!();
    let (namespace, server) = loopback();
    let duration = Duration::from_millis(700);
    let started = Instant::now();
    let tcptop = watch(&namespace, &["--duration", "700ms"]);
    let _clients = Clients::every(&namespace, server.address(), Duration::from_millis(5)).unwrap();
    let output = tcptop.wait(PATIENCE).unwrap();
    let took = started.elapsed();
    assert_eq!(output.status.code(), Some(0), "{output:?}");
    assert!(took >= duration && took < duration + Duration::from_secs(5), "{took:?}");
    let objects = lab::objects(&output.stdout);
    let summary = objects.last().expect("a summary");
    assert_eq!(summary.kind(), "summary");
    // The time watched excludes the time to load and attach the programs.
    let watched = Duration::from_nanos(summary.number("duration_ns").expect("a time"));
    assert!(watched >= duration && watched < took, "{watched:?} of {took:?}");
    assert!(!of_kind(&objects, "handshake").is_empty());
}
