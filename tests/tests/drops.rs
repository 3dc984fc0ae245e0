//! Hard case `dropped-here`: what this host itself drops, as its kernel says.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::fd::AsRawFd;
use std::process::Command;
use std::time::Duration;

use lab::{Mode, Namespace, Object, Server, Tcptop, connect};
use nix::libc;

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// Longer than a SYN is retransmitted first.
const BRIEF: Duration = Duration::from_millis(2_500);
const CLOSED: u16 = 81;
const FILTERED: u16 = 82;
const ATTEMPTS: u64 = 5;
/// More than ports have room of their own.
const SCANNED: std::ops::Range<u16> = 2_000..3_200;

fn hosts() -> [Namespace; 2] {
    let [here, there] = [(); 2].map(|()| Namespace::new().expect("a namespace"));
    here.veth_pair("eth0", &there, "eth0").expect("a cable");
    here.add_address("eth0", "10.1.0.1/24".parse().expect("an address")).expect("it is free");
    there.add_address("eth0", "10.1.0.2/24".parse().expect("an address")).expect("it is free");
    [here, there]
}

fn host(last: u8, port: u16) -> SocketAddr {
    SocketAddr::from(([10, 1, 0, last], port))
}

/// Has a socket refuse all that it gets: its filter is one instruction, which lets 0 bytes pass.
fn refuse_all(listener: &TcpListener) {
    let mut refuse = libc::sock_filter { code: 0x06, jt: 0, jf: 0, k: 0 };
    let program = libc::sock_fprog { len: 1, filter: &raw mut refuse };
    // SAFETY: the option's value is the structure that it asks for, and the kernel copies the filter.
    let set = unsafe {
        libc::setsockopt(
            listener.as_raw_fd(),
            libc::SOL_SOCKET,
            libc::SO_ATTACH_FILTER,
            (&raw const program).cast(),
            u32::try_from(size_of_val(&program)).expect("it is small"),
        )
    };
    assert_eq!(set, 0, "{}", std::io::Error::last_os_error());
}

/// How many SYNs to this port were dropped, and why.
fn drops(summary: &Object, port: u16) -> Vec<(String, u64)> {
    let all = summary.list("drops");
    let of_port = all.iter().filter(|one| one.number("port") == Some(port.into()) && one.flag("syn"));
    let named = |one: &Object| {
        (one.text("reason").expect("a name").to_owned(), one.number("count").expect("a count"))
    };
    of_port.map(named).collect()
}

fn why(objects: &[Object], port: u16) -> Option<&str> {
    let mut peers = objects.iter().filter(|object| object.kind() == "peer");
    peers.find(|peer| peer.number("service_port") == Some(port.into())).expect("it was seen").text("why")
}

/// SYNs to a port where nothing listens, and to one whose socket has a filter; and what another host drops.
#[test]
fn what_this_host_drops_is_counted_by_reason_and_port() {
    lab::needs_root!();
    let [here, there] = hosts();
    let listener = here.run(|| TcpListener::bind(host(1, FILTERED))).expect("a free port");
    refuse_all(&listener);
    let tcptop = Tcptop::spawn(&here, ["eth0", "--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    for _ in 0..ATTEMPTS {
        assert!(connect(&there, None, host(1, CLOSED), PATIENCE).is_err(), "nothing listens");
        assert!(connect(&here, None, host(2, CLOSED), PATIENCE).is_err(), "nothing listens there either");
    }
    std::thread::scope(|scope| {
        for _ in 0..ATTEMPTS {
            scope
                .spawn(|| assert!(connect(&there, None, host(1, FILTERED), BRIEF).is_err(), "it is refused"));
        }
    });
    assert!(!tcptop.stderr().contains("not known"), "{}", tcptop.stderr());
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    let summary = objects.last().expect("a summary");
    assert_eq!(drops(summary, CLOSED), [("NO_SOCKET".to_owned(), ATTEMPTS)], "not those of the other host");
    let to_filtered =
        objects.iter().filter(|object| object.kind() == "handshake" && object.local() == host(1, FILTERED));
    let tries: u64 = to_filtered.map(|attempt| attempt.number("tries").expect("SYNs were seen")).sum();
    assert!(tries >= ATTEMPTS);
    assert_eq!(drops(summary, FILTERED), [("SOCKET_FILTER".to_owned(), tries)], "each SYN of each attempt");
    assert_eq!(why(&objects, FILTERED), Some("dropped_here"));
    let refusing: Vec<&Object> = objects
        .iter()
        .filter(|object| object.kind() == "peer" && object.number("service_port") == Some(CLOSED.into()))
        .collect();
    let inbound =
        refusing.iter().find(|peer| peer.text("direction") == Some("inbound")).expect("it was seen");
    assert_eq!(inbound.text("why"), Some("nothing_listens"));
    let outbound =
        refusing.iter().find(|peer| peer.text("direction") == Some("outbound")).expect("it was seen");
    assert_eq!(outbound.text("why"), None, "nobody here knows");
}

/// A scan of closed ports leaves room for the drops of a port that serves; and what has no port of its own is told.
#[test]
fn a_scan_takes_no_room_from_other_drops() {
    lab::needs_root!();
    let [here, there] = hosts();
    let listener = here.run(|| TcpListener::bind(host(1, FILTERED))).expect("a free port");
    refuse_all(&listener);
    let tcptop = Tcptop::spawn(&here, ["eth0", "--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    for port in SCANNED {
        assert!(connect(&there, None, host(1, port), PATIENCE).is_err(), "nothing listens");
    }
    assert!(connect(&there, None, host(1, FILTERED), BRIEF).is_err(), "it is refused");
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    let summary = objects.last().expect("a summary");
    assert_eq!(drops(summary, FILTERED).len(), 1, "it has a place");
    let all = summary.list("drops");
    let scanned = || all.iter().filter(|one| one.text("reason") == Some("NO_SOCKET"));
    assert_eq!(scanned().map(|one| one.number("count").expect("a count")).sum::<u64>(), SCANNED.len() as u64);
    assert!(scanned().any(|one| one.number("port").is_none()), "not all have a place");
}

fn command(namespace: &Namespace, line: &str) {
    let mut words = line.split(' ');
    let mut command = Command::new(words.next().expect("a program"));
    let done = namespace.run(|| command.args(words).output()).expect("iproute2 is installed");
    assert!(done.status.success(), "{line}: {done:?}");
}

/// What this host drops of its own on the way out is no trouble of those that connect to it.
#[test]
fn only_segments_that_came_in_are_counted() {
    lab::needs_root!();
    let [here, there] = hosts();
    let tcptop = Tcptop::spawn(&here, ["eth0", "--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    assert!(connect(&there, None, host(1, CLOSED), PATIENCE).is_err(), "nothing listens");
    // A queue without room.
    command(&here, "tc qdisc add dev eth0 root pfifo limit 0");
    assert!(connect(&here, None, host(2, CLOSED), BRIEF).is_err(), "it does not leave");
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    let all = objects.last().expect("a summary").list("drops");
    let ports: Vec<_> = all.iter().map(|one| (one.number("port"), one.text("reason"))).collect();
    assert_eq!(ports, [(Some(CLOSED.into()), Some("NO_SOCKET"))]);
}

/// A client that closes before it has read the FIN frees that unread.
#[test]
fn what_a_closed_socket_had_not_read_was_delivered() {
    lab::needs_root!();
    let here = Namespace::new().expect("a namespace");
    let server =
        Server::bind(&here, SocketAddr::from(([127, 0, 0, 1], 80)), Mode::CloseAtOnce).expect("a server");
    let tcptop = Tcptop::spawn(&here, ["lo", "--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it is attached");
    here.run(|| {
        for _ in 0..20 {
            let stream = TcpStream::connect(server.address()).expect("it listens");
            assert_eq!(stream.peek(&mut [0; 16]).expect("its FIN, which stays in the queue"), 0);
        }
    });
    tcptop.wait_objects("close", 20, PATIENCE).expect("each is reported");
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    let summary = objects.last().expect("a summary");
    let reasons: Vec<_> =
        summary.list("drops").iter().filter_map(|one| one.text("reason").map(str::to_owned)).collect();
    assert!(!reasons.iter().any(|reason| reason == "QUEUE_PURGE"), "{reasons:?}");
}

#[test]
fn drops_can_be_switched_off() {
    lab::needs_root!();
    let [here, there] = hosts();
    let tcptop = Tcptop::spawn(&here, ["eth0", "--json", "--drops=off"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    assert!(connect(&there, None, host(1, CLOSED), PATIENCE).is_err(), "nothing listens");
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    assert!(!objects.last().expect("a summary").has("drops"));
}
