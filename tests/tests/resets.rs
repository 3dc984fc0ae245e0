//! Hard case `reasons-of-resets`: why this host sends a RST, as its kernel says, and what shows of why a peer does. Each reason is
//! brought about by a real socket.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use lab::{
    Direction, Kind, Link, Match, NEAR, Namespace, Object, Rule, Script, Tcptop, connect, far_v4, far_v6,
    near_v4, near_v6, reset,
};
use socket2::{SockRef, TcpKeepalive};

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(60);
const EACH_WAY: Duration = Duration::from_millis(5);
/// Longer than a segment and its acknowledgement take.
const SETTLED: Duration = Duration::from_millis(100);
/// Not the default of any system.
const ODD_TTL: u32 = 99;

const CLOSED: u16 = 5001;
const UNREAD: u16 = 5002;
const AFTER_CLOSE: u16 = 5003;
const LINGER: u16 = 5004;
const KEEPALIVE: u16 = 5005;
const AFTER_DATA: u16 = 5006;
const REMINDER: u16 = 5007;
const TTL: u16 = 5008;
const BOUND: u16 = 5009;

/// What a RST ends, and what is said of it: by whom, how far the connection was, and why.
type Expected = (u16, &'static str, &'static str, Option<&'static str>);

struct Ends<'a> {
    near: &'a Namespace,
    far: &'a Namespace,
    near_address: IpAddr,
    far_address: IpAddr,
}

impl Ends<'_> {
    /// A connection that the far end opens: the near end of it, and the far one.
    fn accepted(&self, port: u16) -> [TcpStream; 2] {
        pair(self.near, self.near_address, self.far, port)
    }

    /// A connection that the near end opens: the near end of it, and the far one.
    fn opened(&self, port: u16) -> [TcpStream; 2] {
        let [far, near] = pair(self.far, self.far_address, self.near, port);
        [near, far]
    }
}

/// The server's and the client's end of a connection.
fn pair(server: &Namespace, address: IpAddr, client: &Namespace, port: u16) -> [TcpStream; 2] {
    let address = SocketAddr::new(address, port);
    let listener = server.run(|| TcpListener::bind(address)).expect("a free port");
    let opened = connect(client, None, address, PATIENCE).expect("a connection");
    let (accepted, _) = listener.accept().expect("the connection");
    [accepted, opened]
}

/// Waits until the other end has closed.
fn until_closed(mut stream: &TcpStream) {
    stream.set_read_timeout(Some(PATIENCE)).expect("it is not zero");
    while stream.read(&mut [0; 64]).is_ok_and(|read| read > 0) {}
}

/// The wire of all of these: nobody at the near end hears of a FIN or a keepalive that is answered at [`AFTER_CLOSE`] and
/// [`KEEPALIVE`].
fn link() -> Link {
    let fin = Match::kind(Kind::Fin).direction(Direction::ToFar).port(AFTER_CLOSE).first(3);
    let answer = Match::kind(Kind::Ack).direction(Direction::ToNear).port(KEEPALIVE);
    let script = Script::default().delay(EACH_WAY).with(Rule::drop(fin)).with(Rule::drop(answer));
    Link::new(script).expect("a link")
}

/// Has the near end send a RST for each reason that a socket can be brought to.
fn near_resets(ends: &Ends<'_>) -> [Expected; 7] {
    let closed = SocketAddr::new(ends.near_address, CLOSED);
    assert!(connect(ends.far, None, closed, PATIENCE).is_err(), "nothing listens");

    let [near, mut far] = ends.accepted(UNREAD);
    far.write_all(b"GET / HTTP/1.0\r\n\r\n").expect("it is open");
    near.peek(&mut [0]).expect("a request");
    drop(near);
    until_closed(&far);

    let [near, mut far] = ends.accepted(AFTER_CLOSE);
    drop(near);
    far.write_all(b"late").expect("it does not know");
    until_closed(&far);

    let [near, far] = ends.opened(LINGER);
    reset(near).expect("a RST");
    until_closed(&far);

    let [near, far] = ends.opened(KEEPALIVE);
    let second = Duration::from_secs(1);
    let keepalive = TcpKeepalive::new().with_time(second).with_interval(second).with_retries(1);
    SockRef::from(&near).set_tcp_keepalive(&keepalive).expect("the kernel has it");
    until_closed(&far);

    let [near, mut far] = ends.opened(AFTER_DATA);
    far.write_all(b"hello").expect("it is open");
    (&near).read_exact(&mut [0; 5]).expect("all of it");
    reset(near).expect("a RST");
    until_closed(&far);

    // Its FIN is acknowledged: of the socket nothing but a reminder is left.
    let [near, mut far] = ends.accepted(REMINDER);
    drop(near);
    assert_eq!(far.read(&mut [0]).expect("a FIN"), 0);
    thread::sleep(SETTLED);
    far.write_all(b"late").expect("its own side is open");
    thread::sleep(SETTLED);
    [
        (CLOSED, "local", "syn", Some("no_socket")),
        (UNREAD, "local", "data", Some("closed_with_unread_data")),
        (AFTER_CLOSE, "local", "closing", Some("data_after_close")),
        (LINGER, "local", "connected", Some("aborted_by_its_process")),
        (KEEPALIVE, "local", "connected", Some("keepalive_timeout")),
        (AFTER_DATA, "local", "data", Some("aborted_by_its_process")),
        (REMINDER, "local", "closing", Some("segment_after_close")),
    ]
}

/// The objects about a RST of a port's only connection.
fn said(objects: &[Object], port: u16) -> Vec<(&str, &str, Option<&str>)> {
    let is_of_port = |one: &&Object| [one.local(), one.remote()].iter().any(|end| end.port() == port);
    let ended = objects.iter().filter(|one| ["handshake", "close"].contains(&one.kind())).filter(is_of_port);
    let resets = ended.filter(|one| one.has("reset_by"));
    resets
        .map(|one| {
            let [by, stage] = ["reset_by", "reset_stage"].map(|key| one.text(key).expect("both are known"));
            (by, stage, one.text("reset_reason"))
        })
        .collect()
}

fn assert_said(objects: &[Object], expected: &[Expected]) {
    for (port, by, stage, reason) in expected {
        assert_eq!(said(objects, *port), [(*by, *stage, *reason)], "port {port}");
    }
}

fn watch(link: &Link, options: &[&str]) -> Tcptop {
    let arguments = [&[NEAR, "--json"], options].concat();
    let tcptop = Tcptop::spawn(&link.near, arguments).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    tcptop
}

fn ends(link: &Link, near_address: IpAddr, far_address: IpAddr) -> Ends<'_> {
    Ends { near: &link.near, far: &link.far, near_address, far_address }
}

fn assert_why(objects: &[Object], port: u16, why: &str) {
    let peers = objects.iter().filter(|object| object.kind() == "peer");
    let peers = peers.filter(|peer| peer.number("service_port") == Some(port.into()));
    let peers: Vec<&Object> = peers.collect();
    assert_eq!(peers.first().expect("it was seen").text("why"), Some(why), "{peers:#?}");
}

fn hold_reasons(near: IpAddr, far: IpAddr) {
    let link = link();
    // What is said does not come from elsewhere.
    let tcptop = watch(&link, &["--drops=off", "--min-attempts=1", "--window=1h"]);
    let expected = near_resets(&ends(&link, near, far));
    assert!(!tcptop.stderr().contains("not known"), "{}", tcptop.stderr());
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    assert_said(&objects, &expected);
    assert_why(&objects, CLOSED, "nothing_listens");
    assert_why(&objects, UNREAD, "closed_with_unread_data");
}

#[test]
fn each_reason_of_this_hosts_kernel_is_said() {
    lab::needs_root!();
    thread::scope(|scope| {
        scope.spawn(|| hold_reasons(near_v4(1), far_v4(11)));
        scope.spawn(|| hold_reasons(near_v6(1), far_v6(11)));
    });
}

/// Both ends are this host, and each packet is seen once.
#[test]
fn loopback_has_reasons_too() {
    lab::needs_root!();
    let here = Namespace::new().expect("a namespace");
    let tcptop = Tcptop::spawn(&here, ["lo", "--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    let address: IpAddr = [127, 0, 0, 1].into();
    assert!(connect(&here, None, SocketAddr::new(address, CLOSED), PATIENCE).is_err(), "nothing listens");
    let [server, mut client] = pair(&here, address, &here, UNREAD);
    client.write_all(b"hello").expect("it is open");
    server.peek(&mut [0]).expect("a request");
    drop(server);
    until_closed(&client);
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    assert_said(
        &objects,
        &[
            (CLOSED, "remote", "syn", Some("no_socket")),
            (UNREAD, "remote", "data", Some("closed_with_unread_data")),
        ],
    );
}

/// Of a peer's RST nobody here knows the reason: only how far the connection was, and whether its time to live is odd.
#[test]
fn of_a_peers_rst_only_what_shows_is_said() {
    lab::needs_root!();
    let link = Link::new(Script::default().delay(EACH_WAY)).expect("a link");
    let ends = ends(&link, near_v4(1), far_v4(11));
    let [old, mut old_far] = ends.opened(BOUND);
    let tcptop = watch(&link, &[]);
    assert!(connect(&link.near, None, (far_v4(11), CLOSED).into(), PATIENCE).is_err(), "nothing listens");
    let [near, far] = ends.opened(LINGER);
    reset(far).expect("a RST");
    until_closed(&near);
    let [near, mut far] = ends.opened(AFTER_DATA);
    far.write_all(b"hello").expect("it is open");
    (&near).read_exact(&mut [0; 5]).expect("all of it");
    reset(far).expect("a RST");
    until_closed(&near);
    // The kernel's own socket sends the RST, and it has the default: as a box in between would.
    let [near, far] = ends.opened(TTL);
    SockRef::from(&far).set_ttl_v4(ODD_TTL).expect("it may be set");
    (&far).write_all(b"hello").expect("it is open");
    (&near).read_exact(&mut [0; 5]).expect("all of it");
    drop(far);
    assert_eq!((&near).read(&mut [0]).expect("a FIN"), 0);
    (&near).write_all(b"late").expect("its own side is open");
    until_closed(&near);
    old_far.write_all(b"old").expect("it is open");
    (&old).read_exact(&mut [0; 3]).expect("all of it");
    reset(old_far).expect("a RST");
    until_closed(&old);
    tcptop.wait_objects("close", 4, PATIENCE).expect("all are reset");
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    assert_said(
        &objects,
        &[
            (CLOSED, "remote", "syn", None),
            (LINGER, "remote", "connected", None),
            (AFTER_DATA, "remote", "data", None),
            (TTL, "remote", "closing", None),
            (BOUND, "remote", "old_connection", None),
        ],
    );
    for close in objects.iter().filter(|one| one.kind() == "close") {
        let ttls = [close.number("reset_ttl"), close.number("reset_usual_ttl")];
        let expected =
            if close.remote().port() == TTL { [Some(64), Some(ODD_TTL.into())] } else { [None; 2] };
        assert_eq!(ttls, expected, "{close:?}");
    }
}

/// It can be switched off, and then only the wire tells.
#[test]
fn without_the_source_no_reason_is_said() {
    lab::needs_root!();
    let link = Link::new(Script::default().delay(EACH_WAY)).expect("a link");
    let ends = ends(&link, near_v4(1), far_v4(11));
    let tcptop = watch(&link, &["--resets=off"]);
    let [near, far] = ends.opened(LINGER);
    reset(near).expect("a RST");
    until_closed(&far);
    assert!(connect(&link.far, None, (near_v4(1), CLOSED).into(), PATIENCE).is_err(), "nothing listens");
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    assert_said(&objects, &[(LINGER, "local", "connected", None), (CLOSED, "local", "syn", None)]);
}
