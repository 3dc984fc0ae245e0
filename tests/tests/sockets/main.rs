//! What the kernel says of sockets, held against what is really there.

mod ss;

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddrV4, TcpListener, TcpStream};
use std::os::fd::{AsRawFd, OwnedFd};
use std::thread;
use std::time::{Duration, Instant};

use lab::{Namespace, Object, Tcptop};
use nix::errno::Errno;
use nix::sys::socket::{
    AddressFamily, Backlog, SockFlag, SockType, SockaddrIn, bind, connect, listen, socket,
};

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(60);

/// Two hosts with a cable between them: 10.1.0.1 and 10.1.0.2.
fn pair() -> [Namespace; 2] {
    let [here, there] = [(); 2].map(|()| Namespace::new().expect("a namespace"));
    here.veth_pair("eth0", &there, "eth0").expect("a cable");
    for (host, address) in [(&here, "10.1.0.1/24"), (&there, "10.1.0.2/24")] {
        host.add_address("eth0", address.parse().expect("an address")).expect("it is new");
    }
    [here, there]
}

fn address(last: u8, port: u16) -> SocketAddrV4 {
    SocketAddrV4::new(Ipv4Addr::new(10, 1, 0, last), port)
}

fn tcp(flags: SockFlag) -> OwnedFd {
    socket(AddressFamily::Inet, SockType::Stream, flags, None).expect("a socket")
}

/// A listener that accepts nothing, and lets so many wait.
fn idle_listener(namespace: &Namespace, at: SocketAddrV4, backlog: i32) -> OwnedFd {
    namespace.run(|| {
        let listener = tcp(SockFlag::empty());
        bind(listener.as_raw_fd(), &SockaddrIn::from(at)).expect("it is free");
        listen(&listener, Backlog::new(backlog).expect("it is in range")).expect("it listens");
        listener
    })
}

/// Begins to connect, and does not wait.
fn begin(namespace: &Namespace, to: SocketAddrV4) -> OwnedFd {
    namespace.run(|| {
        let opener = tcp(SockFlag::SOCK_NONBLOCK);
        let begun = connect(opener.as_raw_fd(), &SockaddrIn::from(to));
        assert_eq!(begun, Err(Errno::EINPROGRESS));
        opener
    })
}

/// How often the kernel dropped a SYN or an ACK of a handshake because a listener's queue was full.
fn overflows(namespace: &Namespace) -> u64 {
    let netstat = namespace.run(|| fs::read_to_string("/proc/thread-self/net/netstat")).expect("it is there");
    let mut lines = netstat.lines().filter(|line| line.starts_with("TcpExt: "));
    let (names, values) = lines.next().zip(lines.next()).expect("the kernel counts");
    let mut counts = names.split(' ').zip(values.split(' '));
    let (_, overflows) = counts.find(|(name, _)| *name == "ListenOverflows").expect("these, too");
    overflows.parse().expect("a number")
}

/// An accepted connection, and the other end of it.
fn connected(here: &Namespace, there: &Namespace, port: u16) -> (TcpStream, TcpStream) {
    let listener = here.run(|| TcpListener::bind(address(1, port))).expect("it is free");
    let opener = lab::connect(there, None, address(1, port).into(), PATIENCE).expect("it is reached");
    (listener.accept().expect("somebody has connected").0, opener)
}

/// The `handshake` objects of connections to this port.
fn handshakes(objects: &[Object], port: u16) -> Vec<&Object> {
    let is_it = |object: &&Object| object.kind() == "handshake" && object.local().port() == port;
    objects.iter().filter(is_it).collect()
}

#[test]
fn a_full_accept_queue_is_named_as_what_its_attempts_wait_for() {
    lab::needs_root!();
    let [here, there] = pair();
    let full = idle_listener(&here, address(1, 80), 2);
    let _roomy = idle_listener(&here, address(1, 81), 64);
    let tcptop = Tcptop::spawn(&here, ["eth0", "--json", "--sockets=250ms"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    // One more than the limit.
    let accepted: Vec<TcpStream> =
        (0..3).map(|_| lab::connect(&there, None, address(1, 80).into(), PATIENCE).unwrap()).collect();
    let other = lab::connect(&there, None, address(1, 81).into(), PATIENCE).unwrap();
    tcptop.wait_objects("handshake", 4, PATIENCE).unwrap();
    let waiting = begin(&there, address(1, 80));
    // The SYN is retransmitted after a second, and the queue looked at meanwhile.
    let begun = Instant::now();
    while overflows(&here) < 2 {
        assert!(begun.elapsed() < PATIENCE, "the kernel takes SYNs although the queue is full");
        thread::sleep(Duration::from_millis(20));
    }
    drop((waiting, accepted, other, full));
    let objects = tcptop.stop(PATIENCE).expect("it ends");
    let of_full = handshakes(&objects, 80);
    let of = |outcome: &str| {
        let all = of_full.iter().filter(|object| object.text("outcome") == Some(outcome));
        all.map(|object| object.has("accept_queue")).collect::<Vec<_>>()
    };
    assert_eq!((of("established"), of("unanswered")), (vec![false; 3], vec![true]), "{of_full:?}");
    let unanswered = of_full.iter().find(|object| object.has("accept_queue")).unwrap();
    let queue = unanswered.object("accept_queue");
    assert_eq!((queue.number("waiting"), queue.number("limit")), (Some(3), Some(2)));
    assert!(handshakes(&objects, 81).iter().all(|object| !object.has("accept_queue")));
    let peers: Vec<(u64, bool)> = objects
        .iter()
        .filter(|object| object.kind() == "peer")
        .map(|peer| (peer.number("service_port").unwrap(), peer.has("accept_queue")))
        .collect();
    assert!(peers.contains(&(80, true)) && peers.contains(&(81, false)), "{peers:?}");
}

/// Connections that were open before have no handshake, but the kernel knows their round-trip times.
#[test]
fn what_the_kernel_measures_is_known_of_connections_from_before_the_start() {
    lab::needs_root!();
    let [here, there] = pair();
    let (mut server, mut client) = connected(&here, &there, 1);
    let tcptop =
        Tcptop::spawn(&here, ["eth0", "--json", "--sockets=250ms", "--owners=off"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    for _ in 0..10 {
        server.write_all(&[1; 100]).expect("it is connected");
        client.read_exact(&mut [0; 100]).expect("it is connected");
        client.write_all(&[2; 10]).expect("it is connected");
        server.read_exact(&mut [0; 10]).expect("it is connected");
        thread::sleep(Duration::from_millis(100));
    }
    drop((server, client));
    tcptop.wait_objects("close", 1, PATIENCE).expect("it is seen");
    let objects = tcptop.stop(PATIENCE).expect("it ends");
    let close = objects.iter().find(|object| object.kind() == "close").expect("it was waited for");
    let socket = close.object("socket");
    assert!(!close.has("role") && handshakes(&objects, 1).is_empty(), "{close:?}");
    let number = |field: &str| socket.number(field).expect("it is known");
    assert!((1..5_000_000).contains(&number("tcp_info.srtt_us")), "{socket:?}");
    assert!(socket.has("tcp_info.min_rtt_us") && socket.has("cookie"), "{socket:?}");
    // Five turns at the least were over when it was last looked at.
    assert!((500..=1_000).contains(&number("tcp_info.bytes_sent")), "{socket:?}");
}

#[test]
fn without_sockets_nothing_is_said_of_them() {
    lab::needs_root!();
    let [here, there] = pair();
    let tcptop = Tcptop::spawn(&here, ["eth0", "--json", "--sockets=off"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    let (server, client) = connected(&here, &there, 1);
    thread::sleep(Duration::from_millis(1_500));
    drop((server, client));
    tcptop.wait_objects("close", 1, PATIENCE).expect("it is seen");
    let objects = tcptop.stop(PATIENCE).expect("it ends");
    let close = objects.iter().find(|object| object.kind() == "close").expect("it was waited for");
    assert!(!close.has("socket"), "{close:?}");
}
