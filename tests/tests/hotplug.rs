//! Interfaces that appear during a run, go, are made again with the same name or index, renamed, and moved to another namespace;
//! and packets that pass several of them.

use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use lab::{Mode, Namespace, Object, Server, Tcptop, connect, connect_many};

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(20);
const PORT: u16 = 80;

struct Hosts {
    near: Namespace,
    far: Namespace,
    server: Server,
}

impl Hosts {
    fn new() -> Self {
        let [near, far] = [(); 2].map(|()| Namespace::new().expect("a namespace"));
        let server = Server::bind(&far, SocketAddr::from(([0, 0, 0, 0], PORT)), Mode::CloseAtOnce);
        Self { near, far, server: server.expect("a server") }
    }

    fn plug(&self, index: Option<u32>, name: &str) {
        self.near.veth_pair_at(index, name, &self.far, "eth0").expect("a cable");
        self.addresses(name);
        self.far.add_address("eth0", "10.1.0.2/24".parse().expect("an address")).expect("it is free");
    }

    fn addresses(&self, name: &str) {
        self.near.add_address(name, "10.1.0.1/24".parse().expect("an address")).expect("it is free");
    }

    fn connect(&self, count: usize) {
        let port = self.server.address().port();
        let made = connect_many(&self.near, SocketAddr::from(([10, 1, 0, 2], port)), count, PATIENCE);
        assert_eq!(made.expect("sockets"), count);
    }

    fn watch<const N: usize>(&self, arguments: [&str; N]) -> Tcptop {
        let tcptop = Tcptop::spawn(&self.near, arguments).expect("it starts");
        tcptop.wait_ready(PATIENCE).expect("it says so");
        tcptop
    }
}

fn said(tcptop: &Tcptop, text: &str) {
    tcptop.wait_stderr(PATIENCE, |line| line.contains(text)).expect(text);
}

fn established(objects: &[Object]) -> Option<u64> {
    objects.last().expect("a summary").number("established")
}

/// Hard case `interface-identity`.
#[test]
fn an_interface_that_appears_is_watched_and_one_that_goes_is_let_go() {
    lab::needs_root!();
    let hosts = Hosts::new();
    let tcptop = hosts.watch(["--json"]);
    hosts.plug(None, "eth0");
    said(&tcptop, "eth0 is watched, too");
    hosts.connect(4);
    tcptop.wait_objects("handshake", 4, PATIENCE).expect("all are seen");
    hosts.near.delete_link("eth0").expect("it is there");
    said(&tcptop, "the interface is gone: eth0");
    // Another name, the same ends.
    hosts.plug(None, "eth7");
    said(&tcptop, "eth7 is watched, too");
    hosts.connect(3);
    let handshakes = tcptop.wait_objects("handshake", 7, PATIENCE).expect("all are seen");
    let at: Vec<_> = handshakes.iter().map(|object| object.text("interface")).collect();
    assert_eq!(at, [vec![Some("eth0"); 4], vec![Some("eth7"); 3]].concat());
    assert_eq!(established(&tcptop.stop(PATIENCE).expect("it ends")), Some(7));
}

/// Hard case `interface-identity`: what is made again with the same index, at once, is another interface, whether it has the
/// same name or not.
#[test]
fn an_interface_made_again_with_the_same_index_is_another_one() {
    lab::needs_root!();
    const INDEX: Option<u32> = Some(4_242);
    let hosts = Hosts::new();
    hosts.plug(INDEX, "eth0");
    let tcptop = hosts.watch(["--json"]);
    hosts.connect(2);
    tcptop.wait_objects("handshake", 2, PATIENCE).expect("all are seen");
    for (round, name) in [(1, "eth0"), (2, "eth0"), (3, "eth9")] {
        let before = if round == 3 || round == 1 { "eth0" } else { name };
        hosts.near.delete_link(before).expect("it is there");
        hosts.plug(INDEX, name);
        let again =
            |line: &&str| line.starts_with("tcptop: ") && line.contains(name) && line.contains("watched");
        let deadline = std::time::Instant::now() + PATIENCE;
        let wanted = if round == 3 { 1 } else { round };
        while tcptop.stderr().lines().filter(again).count() < wanted {
            assert!(std::time::Instant::now() < deadline, "{round}: {}", tcptop.stderr());
            std::thread::sleep(Duration::from_millis(5));
        }
        hosts.connect(2);
        tcptop.wait_objects("handshake", 2 + 2 * round, PATIENCE).expect("all are seen");
    }
    assert!(!tcptop.stderr().contains("by someone else"), "{}", tcptop.stderr());
    let objects = tcptop.stop(PATIENCE).expect("it ends");
    assert_eq!(established(&objects), Some(8));
    let handshakes = objects.iter().filter(|object| object.kind() == "handshake");
    let at: Vec<_> = handshakes.map(|object| object.text("interface")).collect();
    assert_eq!(at, [vec![Some("eth0"); 6], vec![Some("eth9"); 2]].concat());
}

/// Hard case `interface-identity`.
#[test]
fn an_interface_that_is_renamed_stays_watched() {
    lab::needs_root!();
    let hosts = Hosts::new();
    hosts.plug(None, "eth0");
    let tcptop = hosts.watch(["eth0", "--json"]);
    hosts.connect(2);
    tcptop.wait_objects("handshake", 2, PATIENCE).expect("all are seen");
    // Older kernels rename only what is down.
    hosts.near.link_down("eth0").expect("it is there");
    hosts.near.rename_link("eth0", "wan").expect("the name is free");
    hosts.near.link_up("wan").expect("it is there");
    said(&tcptop, "eth0 is called wan now");
    hosts.connect(2);
    let handshakes = tcptop.wait_objects("handshake", 4, PATIENCE).expect("all are seen");
    let at: Vec<_> = handshakes.iter().map(|object| object.text("interface")).collect();
    assert_eq!(at, [Some("eth0"), Some("eth0"), Some("wan"), Some("wan")]);
    assert_eq!(established(&tcptop.stop(PATIENCE).expect("it ends")), Some(4));
}

/// Hard case `interface-identity`: an interface that is moved into a container is not watched there, and is when it comes back.
#[test]
fn an_interface_that_is_moved_to_another_namespace_is_let_go() {
    lab::needs_root!();
    let hosts = Hosts::new();
    hosts.plug(None, "eth0");
    let tcptop = hosts.watch(["eth0", "--json"]);
    hosts.connect(2);
    tcptop.wait_objects("handshake", 2, PATIENCE).expect("all are seen");
    let elsewhere = Namespace::new().expect("a namespace");
    hosts.near.move_link("eth0", &elsewhere).expect("it is there");
    said(&tcptop, "the interface is gone: eth0; waiting for it");
    elsewhere.link_up("eth0").expect("it is there");
    elsewhere.add_address("eth0", "10.1.0.1/24".parse().expect("an address")).expect("it is free");
    let server = SocketAddr::from(([10, 1, 0, 2], hosts.server.address().port()));
    assert_eq!(connect_many(&elsewhere, server, 3, PATIENCE).expect("sockets"), 3);
    elsewhere.move_link("eth0", &hosts.near).expect("it is there");
    said(&tcptop, "eth0 is back and watched again");
    hosts.near.link_up("eth0").expect("it is there");
    hosts.addresses("eth0");
    hosts.connect(2);
    tcptop.wait_objects("handshake", 4, PATIENCE).expect("those of this namespace are seen");
    assert_eq!(established(&tcptop.stop(PATIENCE).expect("it ends")), Some(4));
}

/// Patterns choose what appears later; what is left out stays so.
#[test]
fn a_pattern_chooses_what_appears() {
    lab::needs_root!();
    let hosts = Hosts::new();
    let tcptop = hosts.watch(["c*", "!cx*", "--json"]);
    hosts.near.veth_pair("cx1", &hosts.far, "cx1").expect("a cable");
    hosts.plug(None, "c1");
    said(&tcptop, "c1 is watched, too");
    hosts.connect(2);
    tcptop.wait_objects("handshake", 2, PATIENCE).expect("all are seen");
    assert!(!tcptop.stderr().contains("cx1"), "{}", tcptop.stderr());
    tcptop.stop(PATIENCE).expect("it ends");
}

/// In another namespace than that which it is started in, without `nsenter`: by a process there.
#[test]
fn another_namespace_is_watched_from_outside() {
    lab::needs_root!();
    let hosts = Hosts::new();
    hosts.plug(None, "eth0");
    let outside = Namespace::new().expect("a namespace");
    let mut command = std::process::Command::new("sleep");
    command.arg("600");
    lab::end_with_parent(&mut command, nix::sys::signal::Signal::SIGKILL);
    let mut inside = hosts.near.enter_command(&mut command).spawn().expect("it starts");
    let pid = inside.id().to_string();
    let tcptop = Tcptop::spawn(&outside, ["--netns", &pid, "eth0", "--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    hosts.connect(3);
    let handshakes = tcptop.wait_objects("handshake", 3, PATIENCE).expect("all are seen");
    assert!(handshakes.iter().all(|one| one.text("role") == Some("client")), "its addresses: {handshakes:?}");
    tcptop.stop(PATIENCE).expect("it ends");
    inside.kill().and_then(|()| inside.wait()).expect("it ends");
    let gone = Tcptop::spawn(&outside, ["--netns", &pid, "--json"]).expect("it starts");
    let output = gone.wait(PATIENCE).expect("it ends");
    assert_eq!(output.status.code(), Some(4), "{}", output.stderr);
    assert!(output.stderr.contains("there is no network namespace"), "{}", output.stderr);
}

/// Once it is attached: what attaching to further interfaces takes, and what naming processes takes, and nothing else.
#[test]
fn a_live_run_keeps_few_capabilities() {
    lab::needs_root!();
    let hosts = Hosts::new();
    hosts.plug(None, "eth0");
    // CAP_DAC_READ_SEARCH, CAP_NET_ADMIN, CAP_SYS_PTRACE, CAP_PERFMON and CAP_BPF.
    for (arguments, kept) in [(&["eth0", "--json"][..], &[2, 12, 19, 38, 39][..])] {
        let tcptop = Tcptop::spawn(&hosts.near, arguments).expect("it starts");
        tcptop.wait_ready(PATIENCE).expect("it attaches");
        let kept: u64 = kept.iter().map(|bit| 1_u64 << bit).sum();
        let lines =
            [format!("CapEff:\t{kept:016x}"), format!("CapPrm:\t{kept:016x}"), "NoNewPrivs:\t1".to_owned()];
        hosts.connect(1);
        tcptop.wait_objects("handshake", 1, PATIENCE).expect("it is seen");
        let tasks = std::fs::read_dir(format!("/proc/{}/task", tcptop.pid())).expect("it runs").flatten();
        for task in tasks {
            let status = std::fs::read_to_string(task.path().join("status")).expect("it runs");
            for line in &lines {
                assert!(status.lines().any(|one| one == line), "{line}: {status}");
            }
        }
        tcptop.stop(PATIENCE).expect("it ends");
    }
}

/// Each line of the doctor is tried.
#[test]
fn the_doctor_tries_what_is_needed() {
    lab::needs_root!();
    let hosts = Hosts::new();
    hosts.plug(None, "eth0");
    let said = |arguments: &[&str]| {
        let output =
            Tcptop::spawn(&hosts.near, arguments).expect("it starts").wait(PATIENCE).expect("it ends");
        let [line] = &output.stdout[..] else { panic!("{output:?}") };
        (output.status.code(), Object::parse(&line.text))
    };
    let (code, found) = said(&["doctor", "--json"]);
    let findings = found.list("findings");
    let state = |check: &str| {
        let one = findings.iter().find(|one| one.text("check") == Some(check)).expect(check);
        one.text("state").map(str::to_owned)
    };
    for check in ["capabilities", "BTF", "programs", "records", "sockets", "causes", "leftovers"] {
        assert_eq!(state(check).as_deref(), Some("works"), "{check}: {found:?}");
    }
    assert_eq!(state("interface eth0").as_deref(), Some("info"));
    let all_work = findings.iter().all(|one| !matches!(one.text("state"), Some("limited" | "fails")));
    assert_eq!((found.flag("works"), code), (all_work, Some(i32::from(!all_work))), "{found:?}");
    // What cannot work is not said to.
    hosts.near.link_down("lo").expect("it is there");
    let (code, found) = said(&["doctor", "--json"]);
    assert_eq!((found.flag("works"), code), (false, Some(1)), "{found:?}");
}

/// Hard case `several-interfaces`: a container's connections pass its own cable and that of the host, and are one each.
#[test]
fn what_passes_two_interfaces_is_one_connection() {
    lab::needs_root!();
    let [container, host, far] = [(); 3].map(|()| Namespace::new().expect("a namespace"));
    let address = |text: &str| text.parse().expect("an address");
    host.veth_pair("veth0", &container, "eth0").expect("a cable");
    host.veth_pair("eth0", &far, "eth0").expect("a cable");
    for (namespace, name, own) in [
        (&host, "veth0", "10.7.0.1/24"),
        (&container, "eth0", "10.7.0.2/24"),
        (&host, "eth0", "10.1.0.1/24"),
        (&far, "eth0", "10.1.0.2/24"),
    ] {
        namespace.add_address(name, address(own)).expect("it is free");
    }
    let gateway = |text: &str| text.parse::<IpAddr>().expect("an address");
    container.add_route(address("0.0.0.0/0"), gateway("10.7.0.1")).expect("it is reached");
    far.add_route(address("10.7.0.0/24"), gateway("10.1.0.1")).expect("it is reached");
    host.set_sysctl("net/ipv4/ip_forward", "1").expect("it forwards");
    let server = Server::bind(&far, SocketAddr::from(([10, 1, 0, 2], PORT)), Mode::CloseAtOnce);
    let server = server.expect("a server");
    let tcptop = Tcptop::spawn(&host, ["--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    assert_eq!(connect_many(&container, server.address(), 5, PATIENCE).expect("sockets"), 5);
    assert!(connect(&container, None, SocketAddr::from(([10, 1, 0, 2], 81)), PATIENCE).is_err());
    tcptop.wait_objects("handshake", 6, PATIENCE).expect("each is reported");
    tcptop.wait_objects("close", 5, PATIENCE).expect("each is closed");
    let objects = tcptop.stop(PATIENCE).expect("it ends");
    let of = |kind: &'static str| objects.iter().filter(move |object| object.kind() == kind);
    assert_eq!((of("handshake").count(), of("close").count()), (6, 5), "{objects:?}");
    for object in of("handshake").chain(of("close")) {
        assert_eq!(object.text("interface"), Some("veth0"), "seen there first: {object:?}");
        let [further] = &object.list("also_at")[..] else { panic!("{object:?}") };
        assert_eq!(further.text("interface"), Some("eth0"), "{object:?}");
        assert_eq!(further.number("tries"), Some(1), "{object:?}");
    }
    for close in of("close") {
        let [further] = &close.list("also_at")[..] else { panic!("{close:?}") };
        assert!(further.has("server_leg_ns") && further.has("client_leg_ns"), "{close:?}");
    }
    let summary = objects.last().expect("a summary");
    assert_eq!((summary.number("handshakes"), summary.number("established")), (Some(6), Some(5)));
    assert_eq!((summary.number("refused"), summary.number("missed")), (Some(1), Some(0)), "{summary:?}");
}
