//! Hard case `failed-on-this-host`: connects that fail before any SYN leaves this host, which no packet shows.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::thread;
use std::time::Duration;

use lab::{Namespace, Object, Tcptop, connect};

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than a SYN is retransmitted first, and less than a neighbour takes that does not resolve.
const BRIEF: Duration = Duration::from_millis(1_500);
const PORT: u16 = 5_000;
const BUSY: u16 = 5_001;

fn command(namespace: &Namespace, line: &str) {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().expect("a program"));
    let done = namespace.run(|| command.args(words).output()).expect("iproute2 is installed");
    assert!(done.status.success(), "{line}: {done:?}");
}

fn hosts() -> [Namespace; 2] {
    let [here, there] = [(); 2].map(|()| Namespace::new().expect("a namespace"));
    here.veth_pair("eth0", &there, "eth0").expect("a cable");
    for (host, last) in [(&here, 1), (&there, 2)] {
        for address in [format!("10.1.0.{last}/24"), format!("fd01::{last}/64")] {
            host.add_address("eth0", address.parse().expect("an address")).expect("it is free");
        }
    }
    [here, there]
}

fn address(text: &str) -> SocketAddr {
    text.parse().expect("an address and a port")
}

/// The outcome, the word and the error of each attempt to this end.
fn said(objects: &[Object], remote: SocketAddr) -> Vec<(String, Option<String>, Option<u64>)> {
    let attempts = objects.iter().filter(|one| one.kind() == "handshake" && one.remote() == remote);
    let word = |one: &Object, key| one.text(key).map(str::to_owned);
    attempts
        .map(|one| (word(one, "outcome").expect("each has one"), word(one, "failure"), one.number("errno")))
        .collect()
}

fn failed(word: &str, errno: u64) -> (String, Option<String>, Option<u64>) {
    ("failed_locally".to_owned(), Some(word.to_owned()), Some(errno))
}

fn watch(here: &Namespace, options: &[&str]) -> Tcptop {
    let tcptop = Tcptop::spawn(here, [&["eth0", "--json"], options].concat()).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    tcptop
}

fn fail(here: &Namespace, to: SocketAddr) {
    let failed = connect(here, None, to, PATIENCE);
    assert!(failed.is_err(), "{to}: {failed:?}");
}

/// Opens connections until no port is left; returns what has to stay open.
fn use_up_ports(here: &Namespace, there: &Namespace) -> (TcpListener, Vec<TcpStream>) {
    let busy = SocketAddr::from(([10, 1, 0, 2], BUSY));
    let listener = there.run(|| TcpListener::bind(busy)).expect("a free port");
    here.set_sysctl("net/ipv4/ip_local_port_range", "40000 40001").expect("a setting");
    let open = (0..2).map(|_| connect(here, None, busy, PATIENCE).expect("a port is left")).collect();
    fail(here, busy);
    (listener, open)
}

#[test]
fn each_failure_is_told_with_its_error_and_its_process() {
    lab::needs_root!();
    let [here, there] = hosts();
    for (kind, last) in [("unreachable", 2), ("prohibit", 3), ("blackhole", 4)] {
        command(&here, &format!("ip route add {kind} 192.0.2.{last}"));
    }
    let tcptop = watch(&here, &["--min-attempts=1", "--window=1h"]);
    assert!(!tcptop.stderr().contains("not known"), "{}", tcptop.stderr());
    let expected = [
        ("192.0.2.1:5000", failed("no_route", 101)),
        ("192.0.2.2:5000", failed("unreachable_route", 113)),
        ("192.0.2.3:5000", failed("prohibited_route", 13)),
        ("192.0.2.4:5000", failed("blackhole_route", 22)),
        ("10.1.0.77:5000", failed("no_neighbour", 113)),
        ("[2001:db8::1]:5000", failed("no_route", 101)),
        ("[fd01::77]:5000", failed("no_neighbour", 113)),
    ];
    thread::scope(|scope| {
        let (here, expected) = (&here, &expected);
        expected.iter().for_each(|(to, _)| _ = scope.spawn(|| fail(here, address(to))));
    });
    let _open = use_up_ports(&here, &there);
    tcptop.wait_objects("handshake", expected.len() + 3, PATIENCE).expect("each is told");
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    for (to, expected) in &expected {
        assert_eq!(said(&objects, address(to)), std::slice::from_ref(expected), "{to}");
        let of_peer = |one: &&Object| one.text("remote_ip") == Some(&address(to).ip().to_string());
        let mut peers = objects.iter().filter(|one| one.kind() == "peer").filter(of_peer);
        let peer = peers.next().expect("each has its own");
        assert_eq!(peer.text("why"), expected.1.as_deref(), "{peer:#?}");
    }
    let busy = said(&objects, SocketAddr::from(([10, 1, 0, 2], BUSY)));
    assert_eq!(busy.iter().filter(|one| **one == failed("no_free_port", 99)).count(), 1, "{busy:?}");
    assert_eq!(busy.len(), 3, "and the two that were established: {busy:?}");
    let summary = objects.last().expect("a summary");
    assert_eq!(summary.number("failed_locally"), Some(expected.len() as u64 + 1));
    let attempts = objects.iter().filter(|one| one.kind() == "handshake");
    for one in attempts.filter(|one| one.text("outcome") == Some("failed_locally")) {
        assert_eq!(one.object("owner").number("pid"), Some(std::process::id().into()), "{one:?}");
        assert_eq!((one.text("role"), one.has("tries")), (Some("client"), false), "{one:?}");
    }
}

/// What passes an interface, watched or not, has not failed on this host; nor has what another host does.
#[test]
fn what_leaves_this_host_is_not_told_as_failed_here() {
    lab::needs_root!();
    let [here, there] = hosts();
    here.set_sysctl("net/ipv4/tcp_syn_retries", "1").expect("a setting");
    let tcptop = watch(&here, &[]);
    let closed = SocketAddr::from(([10, 1, 0, 2], PORT));
    fail(&here, closed);
    // On an interface that is not watched.
    fail(&here, SocketAddr::from(([127, 0, 0, 1], PORT)));
    // Of another network namespace.
    fail(&there, address("192.0.2.1:5000"));
    // Behind the hook.
    command(&here, "tc qdisc add dev eth0 root pfifo limit 0");
    let dropped = SocketAddr::from(([10, 1, 0, 2], BUSY));
    assert!(connect(&here, None, dropped, BRIEF).is_err(), "nothing leaves");
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    let outcomes: Vec<_> = objects
        .iter()
        .filter(|one| one.kind() == "handshake")
        .map(|one| (one.remote(), one.text("outcome").expect("each has one").to_owned()))
        .collect();
    assert_eq!(outcomes, [(closed, "refused".to_owned()), (dropped, "unanswered".to_owned())]);
    assert_eq!(objects.last().expect("a summary").number("failed_locally"), Some(0));
}

/// A socket that is tried again tells of the time before; and what comes of it then is told by its packets alone.
#[test]
fn a_socket_that_is_tried_again_has_two_attempts() {
    lab::needs_root!();
    let [here, there] = hosts();
    let there_address = SocketAddr::from(([10, 1, 0, 2], PORT));
    let _listener = there.run(|| TcpListener::bind(there_address)).expect("a free port");
    let tcptop = watch(&here, &[]);
    let nowhere = address("192.0.2.1:5000");
    let socket = here.run(|| {
        let socket = socket2::Socket::new(socket2::Domain::IPV4, socket2::Type::STREAM, None).expect("one");
        assert!(socket.connect(&nowhere.into()).is_err(), "there is no route");
        socket.connect(&there_address.into()).expect("somebody listens");
        socket
    });
    tcptop.wait_objects("handshake", 2, PATIENCE).expect("both are told");
    drop(socket);
    tcptop.wait_objects("close", 0, PATIENCE).expect("nothing is waited for");
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    assert_eq!(said(&objects, nowhere), [failed("no_route", 101)]);
    assert_eq!(said(&objects, there_address), [("established".to_owned(), None, None)]);
}

/// An application that gives up before its kernel does was told nothing, and had a port.
#[test]
fn an_application_that_gives_up_has_no_error() {
    lab::needs_root!();
    let [here, _there] = hosts();
    let tcptop = watch(&here, &[]);
    let nobody = address("10.1.0.77:5000");
    assert!(connect(&here, None, nobody, BRIEF).is_err(), "nobody has that address");
    tcptop.wait_objects("handshake", 1, PATIENCE).expect("it is told");
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    assert_eq!(
        said(&objects, nobody),
        [("failed_locally".to_owned(), Some("syn_not_sent".to_owned()), None)]
    );
    let one = objects.iter().find(|one| one.kind() == "handshake").expect("it was told");
    assert!(one.local().port() > 0, "{one:?}");
}

/// They need no processes, and can be switched off.
#[test]
fn failures_have_a_switch_of_their_own() {
    lab::needs_root!();
    let [here, _there] = hosts();
    let nowhere = address("192.0.2.1:5000");
    for (options, expected) in [(&["--owners=off"][..], 1), (&["--failures=off"], 0)] {
        let tcptop = watch(&here, options);
        fail(&here, nowhere);
        let objects = tcptop.stop(PATIENCE).expect("it ends well");
        assert_eq!(said(&objects, nowhere).len(), expected, "{options:?}");
        let owned = objects.iter().filter(|one| one.kind() == "handshake" && one.has("owner"));
        assert_eq!(owned.count(), 0, "{options:?}");
    }
}
