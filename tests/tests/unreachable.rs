//! Hard case `icmp-errors`, with a router of the kernel that rejects: what it says is the outcome, and who says it.

use std::io::{Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener};
use std::thread;
use std::time::Duration;

use lab::{
    Cable, FAR, IpNet, Mode, NEAR, Namespace, Object, Rejection, Server, Tcptop, connect, far_v4, far_v6,
    near_v4, near_v6,
};

const PATIENCE: Duration = Duration::from_secs(30);
/// Longer than a SYN is waited for that is dropped.
const SILENCE: Duration = Duration::from_millis(500);

fn net(text: &str) -> IpNet {
    text.parse().expect("a network")
}

fn at(text: &str) -> SocketAddr {
    text.parse().expect("an address and a port")
}

/// Two hosts: the near one sends all that is not its own to the far one, which forwards.
fn routed() -> Cable {
    let cable = Cable::new(false).expect("a cable");
    let Cable { near, far } = &cable;
    for (key, value) in [
        ("net/ipv4/ip_forward", "1"),
        ("net/ipv6/conf/all/forwarding", "1"),
        // An error for each SYN, however many there are.
        ("net/ipv4/icmp_ratelimit", "0"),
        ("net/ipv6/icmp/ratelimit", "0"),
    ] {
        far.set_sysctl(key, value).expect("the kernel has it");
    }
    near.add_route(net("10.50.0.0/16"), far_v4(10)).expect("a route");
    near.add_route(net("fd50::/32"), far_v6(10)).expect("a route");
    // Forwarded, if the time to live allows.
    far.add_route(net("10.50.5.0/24"), near_v4(2)).expect("a route");
    for (network, rejection) in [
        ("10.50.1.0/24", Rejection::Prohibit),
        ("10.50.2.0/24", Rejection::Unreachable),
        ("10.50.3.0/24", Rejection::Drop),
        ("fd50:0:1::/48", Rejection::Prohibit),
        ("fd50:0:2::/48", Rejection::Unreachable),
    ] {
        far.add_rejecting_route(net(network), rejection).expect("a route");
    }
    cable
}

fn watch(namespace: &Namespace, interface: &str) -> Tcptop {
    let tcptop = Tcptop::spawn(namespace, [interface, "--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    tcptop
}

/// The only handshake with this address.
fn of(objects: &[Object], remote: IpAddr) -> &Object {
    let of_it = |one: &&Object| one.kind() == "handshake" && one.remote().ip() == remote;
    let all: Vec<&Object> = objects.iter().filter(of_it).collect();
    let [one] = all[..] else { panic!("{remote}: {all:?}") };
    one
}

#[test]
fn a_router_says_why() {
    if !lab::require_root() {
        return;
    }
    let Cable { near, far } = routed();
    let (tcptop, at_router) = (watch(&near, NEAR), watch(&far, FAR));
    let (v4, v6) = (near_v4(1), near_v6(1));
    let attempts = [
        (v4, at("10.50.1.1:80"), "prohibited", [3, 13], "10.9.0.10/32"),
        (v4, at("10.50.2.1:80"), "host_unreachable", [3, 1], "10.9.0.10/32"),
        (v4, at("10.50.4.1:80"), "network_unreachable", [3, 0], "10.9.0.10/32"),
        // Any of the router's addresses.
        (v6, at("[fd50:0:1::1]:80"), "prohibited", [1, 1], "fd09::/64"),
    ];
    for (from, to, ..) in attempts {
        connect(&near, Some((from, 0).into()), to, PATIENCE).expect_err("it is rejected");
    }
    near.set_sysctl("net/ipv4/ip_default_ttl", "1").expect("the kernel has it");
    connect(&near, Some((v4, 0).into()), at("10.50.5.1:80"), PATIENCE).expect_err("it does not get that far");
    near.set_sysctl("net/ipv4/ip_default_ttl", "64").expect("the kernel has it");
    connect(&near, Some((v4, 0).into()), at("10.50.3.1:80"), SILENCE).expect_err("nobody answers");
    let server = Server::bind(&far, (far_v4(11), 80).into(), Mode::CloseAtOnce).expect("a server");
    connect(&near, None, server.address(), PATIENCE).expect("a connection");

    tcptop.wait_objects("handshake", 7, PATIENCE).expect("all are decided");
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    for (_, to, reason, [icmp_type, code], router) in attempts {
        let one = of(&objects, to.ip());
        assert_eq!(one.text("outcome"), Some("unreachable"), "{one:?}");
        assert_eq!(
            (one.text("icmp_error"), one.number("icmp_type")),
            (Some(reason), Some(icmp_type)),
            "{one:?}"
        );
        assert_eq!(one.number("icmp_code"), Some(code), "{one:?}");
        let sender: IpAddr = one.text("icmp_from").expect("known").parse().expect("an address");
        assert!(net(router).contains(&sender), "{one:?}");
        assert!((1..500_000_000).contains(&one.number("unreachable_ns").expect("one SYN")), "{one:?}");
        // An error that comes while `connect` still sends makes Linux try again.
        assert!(one.number("tries").expect("seen") <= 2, "{one:?}");
    }
    let expired = of(&objects, at("10.50.5.1:80").ip());
    assert_eq!(expired.text("icmp_error"), Some("time_exceeded"), "{expired:?}");
    assert_eq!(of(&objects, at("10.50.3.1:80").ip()).text("outcome"), Some("unanswered"));
    assert_eq!(of(&objects, far_v4(11)).text("outcome"), Some("established"));
    let summary = objects.last().expect("a summary");
    let counted = ["icmp_unmatched", "unreachable", "missed"].map(|field| summary.number(field));
    assert_eq!(counted, [Some(0), Some(5), Some(0)], "{summary:?}");
    let handshakes = objects.iter().filter(|one| one.kind() == "handshake");
    let errors: u64 = handshakes.filter_map(|one| one.number("icmp_count")).sum();
    assert_eq!(summary.number("icmp_errors"), Some(errors), "{summary:?}");

    // At the router the errors are its own.
    let objects = at_router.stop(PATIENCE).expect("it ends well");
    let rejected = objects.iter().filter(|one| one.kind() == "handshake" && one.text("icmp_error").is_some());
    assert_eq!(rejected.count(), 5, "{objects:?}");
}

/// The text line is there soon, and says all.
#[test]
fn a_line_of_text_says_who() {
    if !lab::require_root() {
        return;
    }
    let Cable { near, far } = routed();
    let tcptop = Tcptop::spawn(&near, [NEAR, "--text"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    connect(&near, None, at("10.50.1.7:443"), PATIENCE).expect_err("it is rejected");
    let line = tcptop.wait_stdout(PATIENCE, |line| line.contains("10.50.1.7:443")).expect("a line");
    assert!(line.text.contains("unreachable prohibited by 10.9.0.10 (ICMP 3/13) after "), "{}", line.text);
    drop(far);
}

/// A link behind the router is narrower than both ends know: the router says so, and the connection goes on.
#[test]
fn a_router_says_how_large_packets_may_be() {
    const BYTES: usize = 200_000;
    if !lab::require_root() {
        return;
    }
    let Cable { near, far } = routed();
    let beyond = Namespace::new().expect("a namespace");
    far.veth_pair("narrow0", &beyond, "narrow0").expect("a pair");
    far.add_address("narrow0", net("10.50.9.1/24")).expect("an address");
    beyond.add_address("narrow0", net("10.50.9.2/24")).expect("an address");
    beyond.add_route(net("10.9.0.0/24"), "10.50.9.1".parse().expect("an address")).expect("a route");
    far.set_mtu("narrow0", 1_300).expect("the kernel takes it");

    let listener = beyond.run(|| TcpListener::bind(at("10.50.9.2:80"))).expect("a free port");
    let tcptop = watch(&near, NEAR);
    let mut client = connect(&near, None, at("10.50.9.2:80"), PATIENCE).expect("a connection");
    let reader = thread::spawn(move || {
        let (mut accepted, _) = listener.accept().expect("the connection");
        let mut bytes = Vec::new();
        accepted.read_to_end(&mut bytes).expect("it is open");
        bytes.len()
    });
    client.write_all(&[0x5a; BYTES]).expect("it is open");
    drop(client);
    assert_eq!(reader.join().expect("it does not panic"), BYTES);
    tcptop.wait_objects("close", 1, PATIENCE).expect("it is closed");
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    let close = objects.iter().find(|one| one.kind() == "close").expect("waited for");
    assert_eq!((close.text("outcome"), close.number("path_mtu")), (Some("closed"), Some(1_300)), "{close:?}");
    assert_eq!(close.text("path_mtu_from"), Some("10.9.0.10"), "{close:?}");
    assert_eq!(close.number("stuck_segment_bytes"), None, "{close:?}");
}
