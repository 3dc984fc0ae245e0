//! Real connections over a wire with a delay of 20 ms in each direction: the reported handshakes must match them.

use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use lab::{
    Direction, Kind, Link, Match, Medium, Mode, NEAR, Namespace, Object, Rule, Script, Server, Tcptop,
    connect, far_v4, far_v6, near_v4, near_v6,
};

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(20);
const EACH_WAY: Duration = Duration::from_millis(20);
/// Lower bound of a leg over the wire, in nanoseconds.
const ROUND_TRIP_NS: u64 = 40_000_000;
/// Upper bound of every leg, however busy the machine is: Linux retransmits a SYN after one second.
const WORST_NS: u64 = 900_000_000;
const RETRY_NS: u64 = 1_000_000_000;
const CONNECTIONS: usize = 15;

fn wire() -> Script {
    Script::default().delay(EACH_WAY)
}

fn at(host: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(host, port)
}

fn watch(namespace: &Namespace) -> Tcptop {
    let tcptop = Tcptop::spawn(namespace, [NEAR, "--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    tcptop
}

/// Ends the run and returns its handshakes; no record may be missed in these tests.
fn handshakes(tcptop: Tcptop) -> Vec<Object> {
    let mut objects = tcptop.stop(PATIENCE).expect("it ends well");
    let summary = objects.pop().expect("a summary");
    assert_eq!((summary.kind(), summary.number("missed")), ("summary", Some(0)), "{summary:?}");
    objects.retain(|object| object.kind() == "handshake");
    assert_eq!(summary.number("handshakes"), Some(objects.len() as u64), "{summary:?}");
    objects
}

/// Ends the run and returns its only handshake.
fn only_handshake(tcptop: Tcptop) -> Object {
    let [handshake] = <[Object; 1]>::try_from(handshakes(tcptop)).expect("one handshake");
    handshake
}

fn assert_travelled(handshakes: &[Object], leg: &str) {
    let mut legs: Vec<u64> = handshakes.iter().map(|one| one.number(leg).expect(leg)).collect();
    legs.sort_unstable();
    assert!(legs[0] >= ROUND_TRIP_NS, "faster than the wire: {legs:?}");
    assert!(legs[legs.len() - 1] < WORST_NS, "overshoot: {legs:?}");
}

/// Asserts that each was established at the first try, with this role and remote address.
fn assert_plain(handshakes: &[Object], role: &str, remote: IpAddr) {
    for one in handshakes {
        assert_eq!(one.text("outcome"), Some("established"), "{one:?}");
        assert_eq!(one.text("role"), Some(role), "{one:?}");
        assert_eq!(one.text("interface"), Some(NEAR), "{one:?}");
        assert_eq!(one.number("tries"), Some(1), "{one:?}");
        assert_eq!(one.remote().ip(), remote, "{one:?}");
        assert!(!one.flag("ambiguous"), "{one:?}");
        assert!(one.number("setup_ns").expect("complete") >= ROUND_TRIP_NS, "{one:?}");
        assert_eq!(one.number("refusal_ns"), None, "{one:?}");
    }
}

/// Opens `CONNECTIONS` connections from one side to the other and returns the handshakes seen at the near side.
fn seen_by_near(link: &Link, from: (&Namespace, IpAddr), to: (&Namespace, SocketAddr)) -> Vec<Object> {
    let server = Server::bind(to.0, to.1, Mode::CloseAtOnce).expect("a server");
    let tcptop = watch(&link.near);
    for _ in 0..CONNECTIONS {
        connect(from.0, Some(at(from.1, 0)), server.address(), PATIENCE).expect("a connection");
    }
    tcptop.wait_objects("handshake", CONNECTIONS, PATIENCE).expect("all are reported");
    let seen = handshakes(tcptop);
    assert_eq!(seen.len(), CONNECTIONS);
    seen
}

fn both_roles(medium: Medium) {
    let link = Link::over(medium, wire()).expect("a link");
    for (near, far) in [(near_v4(1), far_v4(11)), (near_v6(1), far_v6(11))] {
        let seen = seen_by_near(&link, (&link.near, near), (&link.far, at(far, 80)));
        assert_plain(&seen, "client", far);
        assert_travelled(&seen, "server_leg_ns");
        for one in &seen {
            assert_eq!(one.remote().port(), 80, "{one:?}");
            assert_eq!(one.number("rtt_ns"), one.number("server_leg_ns"), "{one:?}");
            assert_eq!(one.number("turnaround_ns"), None, "{one:?}");
            assert!(one.number("client_leg_ns").expect("complete") < WORST_NS, "{one:?}");
        }

        let seen = seen_by_near(&link, (&link.far, far), (&link.near, at(near, 81)));
        assert_plain(&seen, "server", far);
        assert_travelled(&seen, "client_leg_ns");
        let mut turnarounds: Vec<_> =
            seen.iter().map(|one| one.number("turnaround_ns").expect("seen")).collect();
        turnarounds.sort_unstable();
        assert!(turnarounds[CONNECTIONS / 2] < 5_000_000, "{turnarounds:?}");
        for one in &seen {
            assert_eq!(one.local(), at(near, 81), "{one:?}");
            assert_eq!(one.number("rtt_ns"), one.number("client_leg_ns"), "{one:?}");
            assert_eq!(one.number("turnaround_ns"), one.number("server_leg_ns"), "{one:?}");
        }
    }
}

#[test]
fn both_roles_and_families_over_ethernet() {
    if lab::require_root() {
        both_roles(Medium::Ethernet);
    }
}

/// Hard case `no-link-layer`.
#[test]
fn both_roles_and_families_without_a_link_layer() {
    if lab::require_root() {
        both_roles(Medium::Ip);
    }
}

/// Hard case `resets`.
#[test]
fn refused_by_a_peer_and_by_this_host() {
    lab::needs_root!();
    let link = Link::new(wire()).unwrap();
    for (near, far) in [(near_v4(1), far_v4(12)), (near_v6(1), far_v6(12))] {
        for (from, to, role) in [(&link.near, far, "client"), (&link.far, near, "server")] {
            let tcptop = watch(&link.near);
            let error = connect(from, None, at(to, 9), PATIENCE).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::ConnectionRefused);
            tcptop.wait_objects("handshake", 1, PATIENCE).unwrap();
            let refused = only_handshake(tcptop);
            assert_eq!(refused.text("outcome"), Some("refused"), "{refused:?}");
            assert_eq!(refused.text("role"), Some(role), "{refused:?}");
            assert_eq!(refused.number("tries"), Some(1), "{refused:?}");
            for unknown in ["rtt_ns", "setup_ns", "server_leg_ns", "client_leg_ns", "turnaround_ns"] {
                assert_eq!(refused.number(unknown), None, "{unknown}: {refused:?}");
            }
            let after = refused.number("refusal_ns").expect("a time");
            let travelled = if role == "client" { ROUND_TRIP_NS } else { 0 };
            assert!((travelled..travelled + WORST_NS).contains(&after), "{refused:?}");
        }
    }
}

#[test]
fn an_unanswered_attempt() {
    lab::needs_root!();
    let link = Link::new(wire().with(Rule::drop(Match::syn().port(81)))).unwrap();
    let tcptop = watch(&link.near);
    let attempt = link.near.clone();
    let waiting = std::thread::spawn(move || connect(&attempt, None, at(far_v4(11), 81), PATIENCE));
    link.wire.wait_for(Direction::ToFar, PATIENCE, |counters| counters.dropped >= 2).expect("a second SYN");
    let unanswered = only_handshake(tcptop);
    assert_eq!(unanswered.text("outcome"), Some("unanswered"), "{unanswered:?}");
    assert!(unanswered.number("tries") >= Some(2), "{unanswered:?}");
    for unknown in ["rtt_ns", "setup_ns", "server_leg_ns", "client_leg_ns", "refusal_ns"] {
        assert_eq!(unanswered.number(unknown), None, "{unknown}: {unanswered:?}");
    }
    // The wire stops dropping, so that the connecting thread ends.
    link.wire.set_script(Script::default());
    waiting.join().unwrap().unwrap_err();
}

/// Hard case `patience`: the opener has given up and sends nothing more; the outcome is reported some seconds later.
#[test]
fn an_attempt_times_out() {
    lab::needs_root!();
    let link = Link::new(wire().with(Rule::drop(Match::syn()))).unwrap();
    let tcptop = watch(&link.near);
    connect(&link.near, None, at(far_v6(11), 81), Duration::from_millis(1)).unwrap_err();
    let reported = tcptop.wait_objects("handshake", 1, PATIENCE).unwrap().remove(0);
    assert_eq!(
        (reported.text("outcome"), reported.number("tries")),
        (Some("unanswered"), Some(1)),
        "{reported:?}"
    );
    // It is not reported again at the end.
    assert_eq!(only_handshake(tcptop), reported);
}

/// Hard case `patience`: a recent SYN is neither answered nor given up when tcptop ends.
#[test]
fn an_attempt_that_is_pending_at_the_end() {
    lab::needs_root!();
    let link = Link::new(wire().with(Rule::drop(Match::syn()))).unwrap();
    let tcptop = watch(&link.near);
    connect(&link.near, None, at(far_v4(11), 81), Duration::from_millis(1)).unwrap_err();
    let pending = only_handshake(tcptop);
    assert_eq!(pending.text("outcome"), Some("pending"), "{pending:?}");
    assert_eq!((pending.number("tries"), pending.number("rtt_ns")), (Some(1), None), "{pending:?}");
}

/// Hard case `half-open`: this host answers, and the ACK never arrives.
#[test]
fn half_open() {
    lab::needs_root!();
    let silenced = [Kind::Ack, Kind::Data, Kind::Fin, Kind::Rst];
    let script = silenced
        .into_iter()
        .fold(wire(), |script, kind| script.with(Rule::drop(Match::kind(kind).direction(Direction::ToNear))));
    let link = Link::new(script).unwrap();
    let _server = Server::bind(&link.near, at(near_v4(1), 80), Mode::HoldOpen).unwrap();
    let tcptop = watch(&link.near);
    // For the far side the connection is established by the SYN-ACK.
    let _stream = connect(&link.far, None, at(near_v4(1), 80), PATIENCE).unwrap();
    // The first SYN-ACK, and the next one a second later.
    link.wire.wait_for(Direction::ToFar, PATIENCE, |counters| counters.forwarded >= 2).expect("a SYN-ACK");
    let half_open = only_handshake(tcptop);
    assert_eq!(half_open.text("outcome"), Some("half_open"), "{half_open:?}");
    assert_eq!(half_open.text("role"), Some("server"), "{half_open:?}");
    for unknown in ["rtt_ns", "setup_ns", "client_leg_ns"] {
        assert_eq!(half_open.number(unknown), None, "{unknown}: {half_open:?}");
    }
    assert!(half_open.number("turnaround_ns").expect("it was answered") < WORST_NS, "{half_open:?}");
}

/// Opens a connection to the far side, of which the wire drops the first packet that matches `lost`.
fn with_a_loss(lost: Match, timestamps: &str) -> Object {
    let link = Link::new(wire().with(Rule::drop(lost.first(1)))).expect("a link");
    link.near.set_sysctl("net/ipv4/tcp_timestamps", timestamps).expect("a setting");
    let _server = Server::bind(&link.far, at(far_v4(11), 80), Mode::HoldOpen).expect("a server");
    let tcptop = watch(&link.near);
    let _stream = connect(&link.near, None, at(far_v4(11), 80), PATIENCE).expect("a connection");
    tcptop.wait_objects("handshake", 1, PATIENCE).expect("it is reported");
    let handshake = only_handshake(tcptop);
    assert_eq!(handshake.text("outcome"), Some("established"), "{handshake:?}");
    assert_eq!(handshake.number("tries"), Some(2), "{handshake:?}");
    assert!(handshake.number("setup_ns").expect("complete") >= RETRY_NS + ROUND_TRIP_NS, "{handshake:?}");
    handshake
}

/// Hard case `answered-syn`.
#[test]
fn timestamps_say_which_syn_was_answered() {
    lab::needs_root!();
    let second = with_a_loss(Match::syn(), "1");
    assert!(!second.flag("ambiguous"), "{second:?}");
    let rtt = second.number("rtt_ns").expect("it is known");
    assert!((ROUND_TRIP_NS..WORST_NS).contains(&rtt), "{second:?}");
}

/// Asserts bounds around the true leg, and no exact value that could be wrong by a second. `least_ns` is the smallest
/// lower bound that is possible.
fn assert_bounds(ambiguous: &Object, least_ns: u64) {
    assert!(ambiguous.flag("ambiguous"), "{ambiguous:?}");
    assert_eq!(ambiguous.number("rtt_ns"), None, "{ambiguous:?}");
    assert_eq!(ambiguous.number("server_leg_ns"), None, "{ambiguous:?}");
    let least = ambiguous.number("server_leg_min_ns").expect("a bound");
    let most = ambiguous.number("server_leg_max_ns").expect("a bound");
    assert!((least_ns..WORST_NS).contains(&least), "{ambiguous:?}");
    assert!((RETRY_NS + ROUND_TRIP_NS..RETRY_NS + WORST_NS).contains(&most), "{ambiguous:?}");
}

/// Hard case `ambiguous-handshake`.
#[test]
fn without_timestamps_only_bounds_are_known() {
    if lab::require_root() {
        assert_bounds(&with_a_loss(Match::syn(), "0"), ROUND_TRIP_NS);
    }
}

/// Hard case `ambiguous-handshake`: Linux echoes the timestamp of the first SYN that it accepted, even when it
/// answers the second. Its own timer retransmits the SYN-ACK at about the same time, so the last SYN gives no lower
/// bound.
#[test]
fn a_lost_syn_ack_leaves_only_bounds() {
    if lab::require_root() {
        assert_bounds(&with_a_loss(Match::syn_ack(), "1"), 0);
    }
}

/// Hard case `mid-stream`.
#[test]
fn a_mid_stream_connection_has_no_latency() {
    lab::needs_root!();
    let link = Link::new(wire()).unwrap();
    let _server = Server::bind(&link.far, at(far_v4(11), 80), Mode::Echo).unwrap();
    let mut stream = connect(&link.near, None, at(far_v4(11), 80), PATIENCE).unwrap();
    let tcptop = watch(&link.near);
    // ACKs pass before the close: none of them may complete a handshake.
    exchange(&mut stream);
    drop(stream);
    let close = tcptop.wait_objects("close", 1, PATIENCE).unwrap().remove(0);
    assert_eq!(close.remote(), at(far_v4(11), 80), "{close:?}");
    assert_eq!(close.number("lifetime_ns"), None, "{close:?}");
    assert_eq!(close.text("closed_by"), Some("local"), "{close:?}");
    assert_eq!(handshakes(tcptop), []);
}

fn exchange(stream: &mut TcpStream) {
    stream.write_all(b"hello").expect("it is open");
    stream.set_read_timeout(Some(PATIENCE)).expect("not zero");
    stream.read_exact(&mut [0; 5]).expect("the echo");
}

/// Hard case `port-reuse`.
#[test]
fn a_reused_port_is_a_new_flow() {
    lab::needs_root!();
    let link = Link::new(wire()).unwrap();
    // After a RST neither side is in TIME-WAIT.
    let server = Server::bind(&link.far, at(far_v4(11), 80), Mode::ResetAtOnce).unwrap();
    let tcptop = watch(&link.near);
    let local = at(near_v4(2), 45_678);
    for _ in 0..3 {
        let mut stream = connect(&link.near, Some(local), server.address(), PATIENCE).unwrap();
        stream.set_read_timeout(Some(PATIENCE)).unwrap();
        assert_eq!(stream.read(&mut [0]).unwrap_err().kind(), ErrorKind::ConnectionReset);
    }
    let closes = tcptop.wait_objects("close", 3, PATIENCE).unwrap();
    let seen = handshakes(tcptop);
    assert_eq!(seen.len(), 3);
    assert_plain(&seen, "client", far_v4(11));
    assert_travelled(&seen, "rtt_ns");
    assert!(seen.iter().chain(&closes).all(|one| one.local() == local), "{seen:?} {closes:?}");
    for close in closes {
        assert_eq!((close.text("outcome"), close.text("closed_by")), (Some("reset"), Some("remote")));
        assert!(close.number("lifetime_ns").expect("it was seen whole") >= ROUND_TRIP_NS, "{close:?}");
    }
}

/// A handshake is reported when it is decided, not with the next batch of records.
#[test]
fn a_handshake_is_reported_immediately() {
    lab::needs_root!();
    let link = Link::new(wire()).unwrap();
    let server = Server::bind(&link.far, at(far_v4(11), 80), Mode::HoldOpen).unwrap();
    let tcptop = watch(&link.near);
    let _stream = connect(&link.near, None, server.address(), PATIENCE).unwrap();
    let made = Instant::now();
    let line = tcptop.wait_stdout(PATIENCE, |line| line.contains("handshake")).unwrap();
    let after = line.at.saturating_duration_since(made);
    assert!(after < Duration::from_millis(500), "reported {after:?} after it was made");
}
