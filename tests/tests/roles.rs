//! What this host is to a connection follows from its addresses: at the host's end of a container's veth, on a router and on
//! a bridge, what comes in is rarely for the host itself.

use std::net::{IpAddr, SocketAddr};
use std::thread::sleep;
use std::time::Duration;

use lab::{
    Link, Mode, NEAR, Namespace, Object, Script, Server, Tcptop, connect, connect_many, far_v4, far_v6,
    near_v4, near_v6,
};

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(20);
const EACH_WAY: Duration = Duration::from_millis(60);
/// Lower bound of the round trip, in nanoseconds.
const ROUND_TRIP_NS: u64 = 120_000_000;
/// Upper bound of what does not cross the wire.
const NEARBY_NS: u64 = 50_000_000;
/// The router's end of the container's cable.
const VETH: &str = "veth0";
const PORT: u16 = 443;

/// A container behind a router, and remote hosts that are far away.
struct Routed {
    container: Namespace,
    link: Link,
}

impl Routed {
    fn new() -> Self {
        let link = Link::new(Script::default().delay(EACH_WAY)).expect("a link");
        let container = Namespace::new().expect("a namespace");
        link.near.veth_pair(VETH, &container, "eth0").expect("a cable");
        for (router, own, everywhere) in
            [("10.7.0.1", "10.7.0.2/24", "0.0.0.0/0"), ("fd07::1", "fd07::2/64", "::/0")]
        {
            let prefix = own.rsplit_once('/').expect("a prefix").1;
            let router_net = format!("{router}/{prefix}").parse().expect("an address");
            link.near.add_address(VETH, router_net).expect("it is free");
            container.add_address("eth0", own.parse().expect("an address")).expect("it is free");
            let gateway = router.parse().expect("an address");
            container.add_route(everywhere.parse().expect("a network"), gateway).expect("it is reached");
        }
        for (network, gateway) in [("10.7.0.0/24", near_v4(1)), ("fd07::/64", near_v6(1))] {
            link.far.add_route(network.parse().expect("a network"), gateway).expect("it is reached");
        }
        link.near.set_sysctl("net/ipv4/ip_forward", "1").expect("it forwards");
        link.near.set_sysctl("net/ipv6/conf/all/forwarding", "1").expect("it forwards");
        Self { container, link }
    }
}

fn address(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn watch<const N: usize>(namespace: &Namespace, arguments: [&str; N]) -> Tcptop {
    let tcptop = Tcptop::spawn(namespace, arguments).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    tcptop
}

fn number(object: &Object, name: &str) -> u64 {
    object.number(name).unwrap_or_else(|| panic!("no {name}: {object:?}"))
}

/// Asserts that it is the container's connection to `remote`, as long as the way there is.
fn assert_forwarded(one: &Object, container: IpAddr, remote: SocketAddr) {
    assert_eq!((one.text("role"), one.text("outcome")), (Some("forwarded"), Some("established")), "{one:?}");
    assert_eq!((one.local().ip(), one.remote()), (container, remote), "{one:?}");
    let [rtt, server, client] = ["rtt_ns", "server_leg_ns", "client_leg_ns"].map(|name| number(one, name));
    assert_eq!(rtt, server + client, "{one:?}");
    assert!(rtt >= ROUND_TRIP_NS, "{one:?}");
    assert_eq!(one.number("turnaround_ns"), None, "{one:?}");
}

/// Hard case `forwarded-traffic`: at the host's end of a container's veth neither end is this host.
#[test]
fn a_containers_connections_are_forwarded() {
    lab::needs_root!();
    let routed = Routed::new();
    let tcptop = watch(&routed.link.near, [VETH, "--json"]);
    for (container, remote) in [("10.7.0.2", far_v4(11)), ("fd07::2", far_v6(11))] {
        let server =
            Server::bind(&routed.link.far, (remote, PORT).into(), Mode::CloseAtOnce).expect("a server");
        assert_eq!(connect_many(&routed.container, server.address(), 3, PATIENCE).expect("sockets"), 3);
        let refused = connect(&routed.container, None, (remote, 444).into(), PATIENCE);
        assert!(refused.is_err());
        // The router's own connections to the container, and the container's to the router.
        let own = Server::bind(&routed.container, (address(container), 80).into(), Mode::CloseAtOnce)
            .expect("a server");
        connect(&routed.link.near, None, own.address(), PATIENCE).expect("a connection");
        let router = address(if remote.is_ipv4() { "10.7.0.1" } else { "fd07::1" });
        let local =
            Server::bind(&routed.link.near, (router, 81).into(), Mode::CloseAtOnce).expect("a server");
        connect(&routed.container, None, local.address(), PATIENCE).expect("a connection");
    }
    let handshakes = tcptop.wait_objects("handshake", 12, PATIENCE).expect("all are reported");
    let of = |role: &str, port: u16, remote: IpAddr| -> Vec<&Object> {
        let is_it = |one: &&Object| {
            let port_is = one.remote().port() == port || one.local().port() == port;
            one.text("role") == Some(role) && one.remote().ip() == remote && port_is
        };
        handshakes.iter().filter(is_it).collect()
    };
    for (container, remote) in [("10.7.0.2", far_v4(11)), ("fd07::2", far_v6(11))] {
        let container = address(container);
        let forwarded = of("forwarded", PORT, remote);
        assert_eq!(forwarded.len(), 3, "{handshakes:?}");
        forwarded.iter().for_each(|one| assert_forwarded(one, container, (remote, PORT).into()));
        let [refused] = of("forwarded", 444, remote)[..] else { panic!("{handshakes:?}") };
        assert_eq!(refused.text("outcome"), Some("refused"), "{refused:?}");
        assert!(number(refused, "refusal_ns") >= ROUND_TRIP_NS, "{refused:?}");
        for (role, port) in [("client", 80), ("server", 81)] {
            let [one] = of(role, port, container)[..] else { panic!("{role}: {handshakes:?}") };
            assert!(number(one, "rtt_ns") < NEARBY_NS, "{one:?}");
        }
    }
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    let peers: Vec<_> = objects.iter().filter(|object| object.kind() == "peer").collect();
    let directions =
        |wanted: &str| peers.iter().filter(|peer| peer.text("direction") == Some(wanted)).count();
    assert_eq!(
        (directions("forwarded"), directions("outbound"), directions("inbound")),
        (4, 2, 2),
        "{peers:?}"
    );
}

/// A router with two interfaces shows a connection once, with the times of both, and its own at one. The filter takes the role.
#[test]
fn a_router_shows_what_it_forwards_once() {
    lab::needs_root!();
    let routed = Routed::new();
    let server =
        Server::bind(&routed.link.far, (far_v4(11), PORT).into(), Mode::CloseAtOnce).expect("a server");
    let tcptop = watch(&routed.link.near, [VETH, NEAR, "--json", "--filter", "role:forwarded"]);
    connect(&routed.link.near, None, server.address(), PATIENCE).expect("the router's own");
    connect(&routed.container, None, server.address(), PATIENCE).expect("the container's");
    tcptop.wait_objects("close", 1, PATIENCE).expect("it is closed");
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    let of =
        |kind: &'static str| objects.iter().filter(move |object| object.kind() == kind).collect::<Vec<_>>();
    let ([handshake], [close]) = (&of("handshake")[..], &of("close")[..]) else { panic!("{objects:?}") };
    assert_eq!(handshake.text("interface"), Some(VETH), "seen there first: {handshake:?}");
    assert_forwarded(handshake, address("10.7.0.2"), server.address());
    let [further] = &close.list("also_at")[..] else { panic!("{close:?}") };
    assert_eq!(further.text("interface"), Some(NEAR), "{close:?}");
    assert!(number(further, "server_leg_ns") >= ROUND_TRIP_NS, "{close:?}");
}

/// An address counts from the moment when it is there, and `--local` names those that no interface has.
#[test]
fn addresses_may_come_later_or_be_named() {
    lab::needs_root!();
    let routed = Routed::new();
    let (later, named) = (address("198.51.100.7"), address("198.51.100.99"));
    let tcptop = watch(&routed.link.near, [VETH, "--json", "--local", "198.51.100.99"]);
    // The router has neither, and no route to it.
    for remote in [later, named] {
        assert!(connect(&routed.container, None, (remote, PORT).into(), Duration::from_millis(200)).is_err());
    }
    // Both are known by then, however busy the machine is.
    tcptop.wait_objects("handshake", 2, PATIENCE).expect("each is reported");
    routed.link.near.add_address("lo", "198.51.100.7/32".parse().expect("an address")).expect("it is free");
    let server = Server::bind(&routed.link.near, (later, PORT).into(), Mode::CloseAtOnce).expect("a server");
    connect(&routed.container, None, server.address(), PATIENCE).expect("a connection");
    tcptop.wait_objects("handshake", 3, PATIENCE).expect("it is reported");
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    let mut roles: Vec<_> = objects
        .iter()
        .filter(|object| object.kind() == "handshake")
        .map(|one| (one.text("role").expect("a role"), one.text("outcome") == Some("established")))
        .collect();
    roles.sort_unstable();
    assert_eq!(roles, [("forwarded", false), ("server", false), ("server", true)]);
}

/// Hard case `forwarded-traffic`: a host takes whole blocks for its own by a route, without an interface that has their addresses
/// (AnyIP); also by one that comes later.
#[test]
fn what_is_routed_to_the_host_itself_is_its_own() {
    lab::needs_root!();
    let routed = Routed::new();
    let near = &routed.link.near;
    near.add_local_route("198.18.0.0/16".parse().expect("a network")).expect("a route");
    let tcptop = watch(near, [VETH, "--json"]);
    near.add_local_route("2001:db8::/48".parse().expect("a network")).expect("a route");
    for (everywhere, own) in [("0.0.0.0", "198.18.3.4"), ("::", "2001:db8::3:4")] {
        let server =
            Server::bind(near, (address(everywhere), PORT).into(), Mode::CloseAtOnce).expect("a server");
        connect(&routed.container, None, (address(own), PORT).into(), PATIENCE).expect("a connection");
        drop(server);
    }
    let handshakes = tcptop.wait_objects("handshake", 2, PATIENCE).expect("both are reported");
    for one in &handshakes {
        assert_eq!((one.text("role"), one.text("outcome")), (Some("server"), Some("established")), "{one:?}");
    }
    tcptop.stop(PATIENCE).expect("it ends well");
}

/// Hard case `silent-bridge`: what passes from port to port does not pass the bridge itself. It says so, with the command that watches
/// the ports, and that one shows the connections.
#[test]
fn a_bridge_names_its_ports() {
    lab::needs_root!();
    let [host, one, other] = [(); 3].map(|()| Namespace::new().expect("a namespace"));
    host.add_bridge("br0").expect("a bridge");
    for (port, container, own) in [("portA", &one, "10.7.0.2/24"), ("portB", &other, "10.7.0.3/24")] {
        host.veth_pair(port, container, "eth0").expect("a cable");
        host.join(port, "br0").expect("a port");
        container.add_address("eth0", own.parse().expect("an address")).expect("it is free");
    }
    let server =
        Server::bind(&other, (address("10.7.0.3"), PORT).into(), Mode::CloseAtOnce).expect("a server");
    connect(&one, None, server.address(), PATIENCE).expect("the bridge forwards");

    let silent = watch(&host, ["br0", "--json"]);
    let said = silent.stderr();
    let command =
        said.lines().find_map(|line| line.split_once("; to watch them: tcptop ")).expect("a command");
    assert!(command.0.starts_with("br0 is a bridge: "), "{said}");
    assert_eq!(command.1, "portA portB");
    let ports = watch(&host, ["portA", "portB", "--json"]);
    assert!(!ports.stderr().contains("bridge"), "{}", ports.stderr());
    assert_eq!(connect_many(&one, server.address(), 5, PATIENCE).expect("sockets"), 5);
    let handshakes = ports.wait_objects("handshake", 5, PATIENCE).expect("each at one port");
    assert!(handshakes.iter().all(|one| one.text("role") == Some("forwarded")), "{handshakes:?}");
    sleep(Duration::from_millis(500));
    let unseen = silent.stop(PATIENCE).expect("it ends well");
    assert_eq!(unseen.iter().filter(|object| object.kind() == "handshake").count(), 0, "{unseen:?}");
}

/// Hard case `silent-bridge`: packets do not pass a VRF's own interface either.
#[test]
fn a_vrf_names_its_interfaces() {
    lab::needs_root!();
    let [host, other] = [(); 2].map(|()| Namespace::new().expect("a namespace"));
    if let Err(error) = host.add_vrf("red", 100) {
        eprintln!("SKIPPED: {error:#}");
        return;
    }
    host.veth_pair("eth0", &other, "eth0").expect("a cable");
    host.join("eth0", "red").expect("it is in it");
    let tcptop = watch(&host, ["red", "--json"]);
    assert!(tcptop.stderr().contains("red is a VRF: "), "{}", tcptop.stderr());
    assert!(tcptop.stderr().contains("; to watch them: tcptop eth0\n"), "{}", tcptop.stderr());
    tcptop.stop(PATIENCE).expect("it ends well");
}
