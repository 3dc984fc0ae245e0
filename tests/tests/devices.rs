//! One test for each kind of interface: connections through it are seen at it, as they are. A kind that this kernel lacks is said,
//! and skipped.

use std::net::{IpAddr, SocketAddr};
use std::process::Command;
use std::time::Duration;

use lab::{Mode, Namespace, Object, Server, Tcptop, connect, connect_many};

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(20);
const PORT: u16 = 80;
const CONNECTIONS: usize = 3;

/// Two hosts on a cable.
struct Hosts {
    near: Namespace,
    far: Namespace,
}

/// What is set up at both hosts, by ip(8). `near` and `far` stand in front of each command.
type Setup = &'static [&'static str];

impl Hosts {
    fn new() -> Self {
        let [near, far] = [(); 2].map(|()| Namespace::new().expect("a namespace"));
        near.veth_pair("eth0", &far, "eth0").expect("a cable");
        near.add_address("eth0", "10.1.0.1/24".parse().expect("an address")).expect("it is free");
        far.add_address("eth0", "10.1.0.2/24".parse().expect("an address")).expect("it is free");
        Self { near, far }
    }

    /// Returns whether this kernel has all that it takes.
    fn set_up(&self, setup: Setup) -> bool {
        for line in setup {
            let (host, words) = line.split_once(' ').expect("a host and a command");
            let namespace = if host == "near" { &self.near } else { &self.far };
            let output = namespace.run(|| Command::new("ip").args(words.split(' ')).output());
            let output = output.expect("iproute2 is installed");
            let said = String::from_utf8_lossy(&output.stderr);
            if said.contains("Unknown device type") || said.contains("not supported") {
                eprintln!("SKIPPED: {line}: {said}");
                return false;
            }
            assert!(output.status.success(), "{line}: {said}");
        }
        true
    }
}

/// Connections from the near host to the far one, or the other way, are seen at `interface`.
fn sees(setup: Setup, interface: &str, [near, far]: [&str; 2], role: &str) {
    lab::needs_root!();
    let hosts = Hosts::new();
    if !hosts.set_up(setup) {
        return;
    }
    let (from, to, remote) = match role {
        "client" => (&hosts.near, &hosts.far, far),
        _ => (&hosts.far, &hosts.near, near),
    };
    let server =
        Server::bind(to, SocketAddr::from(([0, 0, 0, 0], PORT)), Mode::CloseAtOnce).expect("a server");
    let tcptop = Tcptop::spawn(&hosts.near, [interface, "--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    let remote = SocketAddr::new(remote.parse().expect("an address"), server.address().port());
    assert_eq!(connect_many(from, remote, CONNECTIONS, PATIENCE).expect("sockets"), CONNECTIONS);
    tcptop.wait_objects("handshake", CONNECTIONS, PATIENCE).expect("all are seen");
    tcptop.wait_objects("close", CONNECTIONS, PATIENCE).expect("to their end");
    let objects = tcptop.stop(PATIENCE).expect("it ends");
    for one in objects.iter().filter(|object| object.kind() == "handshake") {
        assert_eq!(one.text("interface"), Some(interface), "{one:?}");
        assert_eq!((one.text("role"), one.text("outcome")), (Some(role), Some("established")), "{one:?}");
        assert_eq!((one.number("tries"), one.number("syn_acks")), (Some(1), Some(1)), "{one:?}");
        let ends: [IpAddr; 2] = [near, far].map(|end| end.parse().expect("an address"));
        assert_eq!([one.local().ip(), one.remote().ip()], ends, "{one:?}");
    }
    let number = |name: &str| objects.last().and_then(|summary: &Object| summary.number(name));
    assert_eq!((number("established"), number("missed")), (Some(CONNECTIONS as u64), Some(0)), "{objects:?}");
}

#[test]
fn veth() {
    sees(&[], "eth0", ["10.1.0.1", "10.1.0.2"], "client");
}

#[test]
fn vlan() {
    let setup: Setup = &[
        "near link add link eth0 name v10 type vlan id 10",
        "far link add link eth0 name v10 type vlan id 10",
        "near address add 10.10.0.1/24 dev v10",
        "far address add 10.10.0.2/24 dev v10",
        "near link set v10 up",
        "far link set v10 up",
    ];
    sees(setup, "v10", ["10.10.0.1", "10.10.0.2"], "client");
    // The interface below shows the same.
    sees(setup, "eth0", ["10.10.0.1", "10.10.0.2"], "client");
}

#[test]
fn macvlan() {
    let setup: Setup = &[
        "near link add link eth0 name mv0 type macvlan mode bridge",
        "near address add 10.11.0.1/24 dev mv0",
        "near link set mv0 up",
        "far address add 10.11.0.2/24 dev eth0",
    ];
    sees(setup, "mv0", ["10.11.0.1", "10.11.0.2"], "client");
}

#[test]
fn ipvlan() {
    let setup: Setup = &[
        "near link add link eth0 name iv0 type ipvlan mode l2",
        "near address add 10.12.0.1/24 dev iv0",
        "near link set iv0 up",
        "far address add 10.12.0.2/24 dev eth0",
    ];
    sees(setup, "iv0", ["10.12.0.1", "10.12.0.2"], "client");
}

#[test]
fn bond() {
    let setup: Setup = &[
        "near link add bond0 type bond mode active-backup",
        "near address flush dev eth0",
        "near link set eth0 down",
        "near link set eth0 master bond0",
        "near address add 10.1.0.1/24 dev bond0",
        "near link set bond0 up",
    ];
    sees(setup, "bond0", ["10.1.0.1", "10.1.0.2"], "client");
}

#[test]
fn bridge() {
    let setup: Setup = &[
        "near link add br0 type bridge",
        "near address flush dev eth0",
        "near link set eth0 master br0",
        "near address add 10.1.0.1/24 dev br0",
        "near link set br0 up",
    ];
    // The host's own connections pass both.
    sees(setup, "br0", ["10.1.0.1", "10.1.0.2"], "client");
    sees(setup, "eth0", ["10.1.0.1", "10.1.0.2"], "client");
}

#[test]
fn vrf() {
    let setup: Setup = &[
        "near link add red type vrf table 100",
        "near link set red up",
        "near link set eth0 master red",
        "near route add 10.1.0.0/24 dev eth0 table 100",
    ];
    lab::needs_root!();
    let hosts = Hosts::new();
    if !hosts.set_up(setup) {
        return;
    }
    hosts.near.set_sysctl("net/ipv4/tcp_l3mdev_accept", "1").expect("the kernel has VRFs");
    let server = Server::bind(&hosts.near, SocketAddr::from(([0, 0, 0, 0], PORT)), Mode::CloseAtOnce);
    let server = server.expect("a server");
    // Without a name: the VRF's own interface shows nothing, its port does.
    let tcptop = Tcptop::spawn(&hosts.near, ["--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    let remote = SocketAddr::from(([10, 1, 0, 1], server.address().port()));
    assert_eq!(connect_many(&hosts.far, remote, CONNECTIONS, PATIENCE).expect("sockets"), CONNECTIONS);
    let handshakes = tcptop.wait_objects("handshake", CONNECTIONS, PATIENCE).expect("all are seen");
    assert!(handshakes.iter().all(|one| one.text("interface") == Some("eth0")), "{handshakes:?}");
    assert!(handshakes.iter().all(|one| one.text("role") == Some("server")), "{handshakes:?}");
    tcptop.stop(PATIENCE).expect("it ends");
}

#[test]
fn vxlan() {
    let setup: Setup = &[
        "near link add vx0 type vxlan id 42 local 10.1.0.1 remote 10.1.0.2 dstport 4789 dev eth0",
        "far link add vx0 type vxlan id 42 local 10.1.0.2 remote 10.1.0.1 dstport 4789 dev eth0",
        "near address add 10.16.0.1/24 dev vx0",
        "far address add 10.16.0.2/24 dev vx0",
        "near link set vx0 up",
        "far link set vx0 up",
    ];
    sees(setup, "vx0", ["10.16.0.1", "10.16.0.2"], "client");
}

#[test]
fn gre() {
    let setup: Setup = &[
        "near link add g0 type gre local 10.1.0.1 remote 10.1.0.2",
        "far link add g0 type gre local 10.1.0.2 remote 10.1.0.1",
        "near address add 10.17.0.1/24 dev g0",
        "far address add 10.17.0.2/24 dev g0",
        "near link set g0 up",
        "far link set g0 up",
    ];
    sees(setup, "g0", ["10.17.0.1", "10.17.0.2"], "client");
}

/// It sends nothing on: what goes there is never answered, and that is seen.
#[test]
fn dummy() {
    lab::needs_root!();
    let hosts = Hosts::new();
    let setup: Setup =
        &["near link add d0 type dummy", "near address add 10.18.0.1/24 dev d0", "near link set d0 up"];
    if !hosts.set_up(setup) {
        return;
    }
    let tcptop = Tcptop::spawn(&hosts.near, ["d0", "--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    let nobody = SocketAddr::from(([10, 18, 0, 2], PORT));
    assert!(connect(&hosts.near, None, nobody, Duration::from_millis(1_500)).is_err());
    let objects = tcptop.stop(PATIENCE).expect("it ends");
    let one = objects.iter().find(|object| object.kind() == "handshake").expect("the attempt");
    assert_eq!((one.text("role"), one.text("outcome")), (Some("client"), Some("unanswered")), "{one:?}");
}

/// It takes wg(8) to set keys.
#[test]
fn wireguard() {
    lab::needs_root!();
    let hosts = Hosts::new();
    let setup: Setup = &["near link add wg0 type wireguard", "far link add wg0 type wireguard"];
    if Command::new("wg").arg("--version").output().is_err() {
        eprintln!("SKIPPED: wg(8) is not installed");
        return;
    }
    if !hosts.set_up(setup) {
        return;
    }
    let wg = |host: &Namespace, arguments: &str| {
        let shell = format!("wg {arguments}");
        let output = host.run(|| Command::new("sh").args(["-c", &shell]).output()).expect("a shell");
        assert!(output.status.success(), "{shell}: {output:?}");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let keys = [(); 2].map(|()| wg(&hosts.near, "genkey"));
    let public = [&keys[0], &keys[1]].map(|key| wg(&hosts.near, &format!("pubkey <<E\n{key}\nE\n")));
    for (number, host) in [&hosts.near, &hosts.far].into_iter().enumerate() {
        let (other, key) = (1 - number, &keys[number]);
        let peer = format!(
            "peer {} allowed-ips 10.19.0.0/24 endpoint 10.1.0.{}:5182{other}",
            public[other],
            other + 1
        );
        wg(host, &format!("set wg0 listen-port 5182{number} private-key /dev/stdin {peer} <<E\n{key}\nE\n"));
        host.add_address("wg0", format!("10.19.0.{}/24", number + 1).parse().expect("an address"))
            .expect("free");
        host.link_up("wg0").expect("it is there");
    }
    let server = Server::bind(&hosts.far, SocketAddr::from(([10, 19, 0, 2], PORT)), Mode::CloseAtOnce);
    let server = server.expect("a server");
    let tcptop = Tcptop::spawn(&hosts.near, ["wg0", "--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    assert_eq!(
        connect_many(&hosts.near, server.address(), CONNECTIONS, PATIENCE).expect("sockets"),
        CONNECTIONS
    );
    tcptop.wait_objects("handshake", CONNECTIONS, PATIENCE).expect("all are seen");
    tcptop.stop(PATIENCE).expect("it ends");
}
