//! Interfaces that are in use when the run begins, that go away and come back, and programs that someone else detaches.

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lab::bpf::{self, Hook};
use lab::{Clients, Mode, Namespace, Object, Server, Tcptop, connect_many};

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(20);
const NEAR: &str = "eth0";
const OPEN: u16 = 80;
const CLOSED: u16 = 85;

/// Two hosts on a cable, and a server at the far one.
struct Cable {
    near: Namespace,
    far: Namespace,
    server: Server,
}

impl Cable {
    fn new() -> Self {
        let [near, far] = [(); 2].map(|()| Namespace::new().expect("a namespace"));
        plug(&near, &far);
        let server = Server::bind(&far, remote(OPEN), Mode::CloseAtOnce).expect("a server");
        Self { near, far, server }
    }

    /// Connections, one after the other.
    fn connect(&self, count: usize) {
        let made = connect_many(&self.near, self.server.address(), count, PATIENCE).expect("sockets");
        assert_eq!(made, count);
    }
}

fn plug(near: &Namespace, far: &Namespace) {
    near.veth_pair(NEAR, far, "eth0").expect("a cable");
    near.add_address(NEAR, "10.1.0.1/24".parse().expect("an address")).expect("it is free");
    far.add_address("eth0", "10.1.0.2/24".parse().expect("an address")).expect("it is free");
}

fn remote(port: u16) -> SocketAddr {
    SocketAddr::from(([10, 1, 0, 2], port))
}

/// Hard case `first-seconds`: on a host that is in use, of each connection either everything is reported or nothing.
#[test]
fn a_start_under_load_reports_nothing_that_was_seen_in_part() {
    const HANDSHAKES: usize = 400;
    lab::needs_root!();
    let cable = Cable::new();
    let clients = [OPEN, CLOSED].map(|port| {
        // One client has one connection at a time. Several have one under way whenever tcptop begins to look.
        [(); 2]
            .map(|()| Clients::every(&cable.near, remote(port), Duration::from_millis(2)).expect("a thread"))
    });
    for _ in 0..2 {
        let watching = [&cable.near, &cable.far].map(|host| Tcptop::spawn(host, [NEAR, "--json"]).unwrap());
        for tcptop in watching {
            tcptop.wait_objects("handshake", HANDSHAKES, PATIENCE).unwrap();
            check_whole(&tcptop.stop(PATIENCE).unwrap());
        }
    }
    drop(clients);
}

fn check_whole(objects: &[Object]) {
    let port = |object: &Object| object.number("remote_port");
    for object in objects.iter().filter(|object| object.kind() == "handshake") {
        match object.text("outcome") {
            Some("established") => assert!(object.number("rtt_ns").is_some(), "no figure: {object:?}"),
            Some("refused") => assert!(object.number("refusal_ns").is_some(), "no figure: {object:?}"),
            // The last one is open when the run ends.
            Some("pending") => {}
            _ => panic!("each is answered at once: {object:?}"),
        }
    }
    for object in objects.iter().filter(|object| object.kind() == "close") {
        assert_ne!(port(object), Some(CLOSED.into()), "nothing was ever open there: {object:?}");
    }
}

/// Hard case `interface-identity`.
#[test]
fn a_probe_that_someone_else_detaches_is_attached_again() {
    /// The interfaces are looked at every second.
    const NOTICED: Duration = Duration::from_secs(2);
    lab::needs_root!();
    let cable = Cable::new();
    let tcptop = Tcptop::spawn(&cable.near, [NEAR, "--json"]).unwrap();
    tcptop.wait_ready(PATIENCE).unwrap();
    cable.connect(3);
    tcptop.wait_objects("handshake", 3, PATIENCE).unwrap();
    let index = cable.near.link_index(NEAR).unwrap();
    for (number, hook) in (1..).zip([Hook::Egress, Hook::Ingress]) {
        cable.near.run(|| bpf::detach_first(index, hook)).unwrap();
        let detached = Instant::now();
        let said = |line: &str| line.contains("detached from eth0 by someone else");
        while tcptop.stderr().lines().filter(|line| said(line)).count() < number {
            assert!(detached.elapsed() < NOTICED, "{}", tcptop.stderr());
            std::thread::sleep(Duration::from_millis(10));
        }
        cable.connect(3);
        tcptop.wait_objects("handshake", 3 + 3 * number, PATIENCE).unwrap();
    }
    let objects = tcptop.stop(PATIENCE).unwrap();
    let summary = objects.last().unwrap();
    assert_eq!(summary.number("established"), Some(9), "seen once each: {summary:?}");
}

/// Hard case `interface-identity`: a tunnel that is taken down and made again.
#[test]
fn an_interface_that_is_removed_is_waited_for() {
    lab::needs_root!();
    let cable = Cable::new();
    let tcptop = Tcptop::spawn(&cable.near, [NEAR, "--json"]).unwrap();
    tcptop.wait_ready(PATIENCE).unwrap();
    for round in 1..=3 {
        cable.connect(5);
        tcptop.wait_objects("handshake", 5 * round, PATIENCE).unwrap();
        if round == 3 {
            break;
        }
        cable.near.delete_link(NEAR).unwrap();
        wait_said(&tcptop, "the interface is gone: eth0; waiting for it", round);
        plug(&cable.near, &cable.far);
        wait_said(&tcptop, "eth0 is back and watched again", round);
    }
    let objects = tcptop.stop(PATIENCE).unwrap();
    let summary = objects.last().unwrap();
    assert_eq!((summary.kind(), summary.number("established")), ("summary", Some(15)), "{summary:?}");
    let peers: std::collections::BTreeSet<_> =
        objects.iter().filter(|object| object.kind() == "handshake").map(|o| o.text("interface")).collect();
    assert_eq!(peers.into_iter().collect::<Vec<_>>(), [Some(NEAR)], "its name stays");
}

/// Hard case `interface-changes`: the removal of the only interface does not end the run; being told to stop does, with all that was seen.
#[test]
fn a_run_without_an_interface_left_ends_when_it_is_told_to() {
    lab::needs_root!();
    let cable = Cable::new();
    let tcptop = Tcptop::spawn(&cable.near, [NEAR, "--json"]).unwrap();
    tcptop.wait_ready(PATIENCE).unwrap();
    cable.connect(5);
    tcptop.wait_objects("handshake", 5, PATIENCE).unwrap();
    cable.near.delete_link(NEAR).unwrap();
    wait_said(&tcptop, "the interface is gone: eth0; waiting for it", 1);
    let objects = tcptop.stop(PATIENCE).unwrap();
    let summary = objects.last().unwrap();
    assert_eq!((summary.kind(), summary.number("established")), ("summary", Some(5)), "{summary:?}");
}

/// Waits until a line with this text was written so many times.
fn wait_said(tcptop: &Tcptop, text: &str, times: usize) {
    let deadline = Instant::now() + PATIENCE;
    while tcptop.stderr().lines().filter(|line| line.contains(text)).count() < times {
        assert!(Instant::now() < deadline, "{text}: {}", tcptop.stderr());
        std::thread::sleep(Duration::from_millis(10));
    }
}
