//! Retransmits as the kernel itself tells of them, held against its own counts, its sockets' and the wire.

use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use lab::{
    Direction, Kind, Link, Match, NEAR, Namespace, Object, Rule, Script, SocketCounts, Tcptop, connect,
    far_v4, far_v6, near_v4, near_v6, settled,
};

const PATIENCE: Duration = Duration::from_secs(120);
/// Longer than any packet is on its way.
const QUIET: Duration = Duration::from_millis(100);
const BYTES: usize = 600_000;
/// The port whose first SYN is lost on its way to the far side, and the one whose first SYN-ACK is.
const SYN_LOST: u16 = 81;
const SYN_ACK_LOST: u16 = 82;

/// A wire on which the near side has to send much again.
fn lossy() -> Link {
    let to_far = |matching: Match| matching.direction(Direction::ToFar);
    let script = Script::seeded(11)
        .delay(Duration::from_millis(5))
        .with(Rule::drop(to_far(Match::syn()).port(SYN_LOST).first(1)))
        .with(Rule::drop(to_far(Match::syn_ack()).port(SYN_ACK_LOST).first(1)))
        .with(Rule::lose(to_far(Match::kind(Kind::Data)), 0.05));
    Link::new(script).expect("a link")
}

/// As an address of IPv6, which sockets of IPv6 connect to by IPv4.
fn mapped(address: IpAddr) -> IpAddr {
    match address {
        IpAddr::V4(v4) => v4.to_ipv6_mapped().into(),
        IpAddr::V6(_) => address,
    }
}

fn open(client: &Namespace, server: &Namespace, to: SocketAddr) -> [TcpStream; 2] {
    let listener = server.run(|| TcpListener::bind(SocketAddr::new(to.ip().to_canonical(), to.port())));
    let listener = listener.expect("it is free");
    let opened = connect(client, None, to, PATIENCE).expect("it is reached");
    [opened, listener.accept().expect("somebody has connected").0]
}

/// The near end and the far end of each connection: of both families, of IPv4 by a socket of IPv6, and one that the far side opens.
fn connections(link: &Link) -> Vec<[TcpStream; 2]> {
    let from_near = [(far_v4(11), 80), (far_v6(11), SYN_LOST), (mapped(far_v4(12)), 80)];
    let mut all: Vec<_> =
        from_near.into_iter().map(|to| open(&link.near, &link.far, SocketAddr::from(to))).collect();
    for to in [(near_v4(1), SYN_ACK_LOST), (near_v6(1), SYN_ACK_LOST)] {
        let [far, near] = open(&link.far, &link.near, to.into());
        all.push([near, far]);
    }
    all
}

/// Sends from the near side, and returns what both sockets have counted when all has arrived.
fn send([near, far]: &[TcpStream; 2]) -> [SocketCounts; 2] {
    let [mut from, to] = [near, far];
    thread::scope(|scope| {
        scope.spawn(move || from.write_all(&[0x5a; BYTES]).expect("it is open"));
        let received = io::copy(&mut to.take(BYTES as u64), &mut io::sink()).expect("it is open");
        assert_eq!(received, BYTES as u64);
    });
    settled([near, far], QUIET, PATIENCE).expect("an end of it")
}

fn send_all(all: &[[TcpStream; 2]]) -> Vec<[SocketCounts; 2]> {
    thread::scope(|scope| {
        let work: Vec<_> = all.iter().map(|ends| scope.spawn(|| send(ends))).collect();
        work.into_iter().map(|one| one.join().expect("it does not panic")).collect()
    })
}

fn number(object: &Object, field: &str) -> u64 {
    object.number(field).unwrap_or_else(|| panic!("{field} in {object:?}"))
}

/// The retransmits of one end, and how many segments they are.
fn of_end<'a>(objects: &'a [Object], end: &TcpStream) -> (Vec<&'a Object>, u64) {
    let canonical = |address: SocketAddr| SocketAddr::new(address.ip().to_canonical(), address.port());
    let ends =
        [end.local_addr(), end.peer_addr()].map(|address| canonical(address.expect("it is connected")));
    let its: Vec<&Object> = objects
        .iter()
        .filter(|one| one.kind() == "kernel_retransmit" && [one.local(), one.remote()] == ends)
        .collect();
    let segments = its.iter().map(|one| number(one, "segments")).sum();
    (its, segments)
}

fn kinds<'a>(objects: &[&'a Object]) -> Vec<(&'a str, &'a str)> {
    let named = |one: &&'a Object| one.text("kind").zip(one.text("state"));
    objects.iter().filter_map(named).collect()
}

/// No interface is named, and each end's retransmits are those that its own socket counts.
#[test]
fn each_retransmit_of_the_namespace_is_told_once() {
    lab::needs_root!();
    let link = lossy();
    let tcptop = Tcptop::spawn(&link.near, ["retransmits", "--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    let before = link.near.tcp_count("RetransSegs").expect("it counts");
    let all = connections(&link);
    let counted = send_all(&all);
    let by_host = link.near.tcp_count("RetransSegs").expect("it counts") - before;
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    let totals = objects.last().expect("totals");
    assert_eq!(totals.kind(), "kernel_retransmits");
    assert!(by_host > 50, "the wire lost too little: {by_host}");
    assert_eq!(
        ["own_segments", "retrans_segs", "missed"].map(|field| number(totals, field)),
        [by_host, by_host, 0]
    );
    let causes = totals.object("causes");
    let named = ["timeout", "slow_start", "fast", "tail_loss_probe", "unknown"];
    let by_cause: u64 = named.map(|cause| number(&causes, cause)).into_iter().sum();
    assert_eq!(by_cause, number(totals, "segments"), "{totals:?}");
    assert!(number(&causes, "fast") > 0, "{totals:?}");
    for ([near, _], [counts, _]) in all.iter().zip(&counted) {
        let (its, segments) = of_end(&objects, near);
        assert_eq!(segments, counts.resent_segments, "{its:?}");
        let is_v4 = near.peer_addr().expect("it is connected").ip().to_canonical().is_ipv4();
        for one in its {
            assert_eq!(number(one, "ip_version"), if is_v4 { 4 } else { 6 }, "{one:?}");
            // Of a SYN-ACK the kernel tells only when it was sent.
            let error = if one.text("kind") == Some("syn_ack") { None } else { Some(0) };
            assert!(one.flag("is_own_namespace") && one.number("error") == error, "{one:?}");
            assert_eq!(number(&one.object("owner"), "pid"), u64::from(std::process::id()), "{one:?}");
        }
    }
    let (of_syn, _) = of_end(&objects, &all[1][0]);
    assert_eq!(kinds(&of_syn)[0], ("syn", "syn_sent"), "{of_syn:?}");
    assert_eq!((of_syn[0].text("cause"), of_syn[0].number("timeouts")), (Some("timeout"), Some(1)));
    for [near, _] in &all[3..] {
        let (of_syn_ack, _) = of_end(&objects, near);
        assert_eq!(kinds(&of_syn_ack)[0], ("syn_ack", "syn_recv"), "{of_syn_ack:?}");
        let first = of_syn_ack[0];
        assert_eq!((first.text("role"), first.number("repeats")), (Some("server"), Some(1)), "{first:?}");
        assert_eq!(first.object("owner").text("evidence"), Some("listens"), "{first:?}");
    }
}

/// The program need not be in the namespace whose sockets retransmit, and a filter restricts lines, not totals.
#[test]
fn retransmits_of_other_namespaces_are_told_too() {
    lab::needs_root!();
    let (link, elsewhere) = (lossy(), Namespace::new().expect("a namespace"));
    let tcptop = Tcptop::spawn(&elsewhere, ["retransmits", "--json", "--filter=port:81 peer:fd09::/16"])
        .expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    let all = connections(&link);
    send_all(&all);
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    let (totals, told) = objects.split_last().expect("totals");
    assert!(!told.is_empty());
    for one in told {
        let service = if one.text("role") == Some("server") { one.local() } else { one.remote() };
        assert_eq!((service.port(), one.flag("is_own_namespace")), (SYN_LOST, false), "{one:?}");
        assert!(one.remote().is_ipv6() && number(one, "network_namespace") > 0, "{one:?}");
    }
    assert_eq!(["own_segments", "retrans_segs"].map(|field| number(totals, field)), [0, 0], "{totals:?}");
    // Other tests may retransmit at the same time.
    let by_host = link.near.tcp_count("RetransSegs").expect("it counts");
    assert!(number(totals, "other_segments") >= by_host, "{totals:?}");
    assert!(number(totals, "other_namespaces") >= 1, "{totals:?}");
    let resent: u64 = told.iter().map(|one| number(one, "segments")).sum();
    assert!(resent < number(totals, "other_segments"), "{totals:?}");
}

/// The wire and the kernel say the same of each connection and of all, unless something is lost before the hook.
#[test]
fn both_witnesses_say_the_same_where_nothing_is_lost_before_the_hook() {
    lab::needs_root!();
    let link = lossy();
    let tcptop = Tcptop::spawn(&link.near, [NEAR, "--json", "--retransmits=both"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    let before = link.near.tcp_count("RetransSegs").expect("it counts");
    let all = connections(&link);
    let expected = all.len();
    send_all(&all);
    for [near, mut far] in all {
        drop(near);
        assert_eq!(far.read(&mut [0]).expect("a FIN"), 0);
    }
    tcptop.wait_objects("close", expected, PATIENCE).expect("all are closed");
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    let by_host = link.near.tcp_count("RetransSegs").expect("it counts") - before;
    let closes = objects.iter().filter(|object| object.kind() == "close");
    let mut sum = 0;
    for close in closes {
        let both = close.object("retransmit_witnesses");
        let [wire, kernel] = ["wire", "kernel"].map(|witness| number(&both, witness));
        assert!(wire == kernel && wire > 0, "{close:?}");
        sum += kernel;
    }
    let told = objects.iter().filter(|object| object.kind() == "kernel_retransmit");
    let told: u64 = told.map(|one| number(one, "segments")).sum();
    let all = objects.last().expect("a summary").object("retransmit_witnesses");
    let fields = ["wire", "kernel", "kernel_of_connections", "differing_connections", "missed"];
    assert_eq!(fields.map(|field| number(&all, field)), [by_host, by_host, by_host, 0, 0], "{all:?}");
    // The same without FINs.
    assert!(told == by_host && sum <= by_host, "{told} {sum} {by_host}");
}

/// A connection of which the interface that is watched sees nothing: the kernel still tells of it.
#[test]
fn what_passes_another_interface_is_seen_by_one_witness_only() {
    lab::needs_root!();
    let link = lossy();
    let tcptop = Tcptop::spawn(&link.near, ["lo", "--text", "--retransmits=kernel"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    let ends = open(&link.near, &link.far, (far_v4(11), SYN_LOST).into());
    send(&ends);
    tcptop
        .wait_stdout(PATIENCE, |line| {
            line.contains(" 10.9.0.11:81 ") && line.contains("retransmit  syn by timeout syn_sent port")
        })
        .expect("the kernel tells");
    tcptop.signal(lab::Signal::SIGINT).expect("it runs");
    let output = tcptop.wait(PATIENCE).expect("it ends");
    let line = |begin: &str| {
        let lines = output.stdout.iter().map(|line| line.text.as_str());
        lines.filter(|line| line.starts_with(begin)).collect::<Vec<_>>()
    };
    let [witnesses] = line("retransmits of this host: ")[..] else { panic!("{output:?}") };
    assert!(
        witnesses.contains("0 on the wire") && witnesses.ends_with("0 of connections that were seen"),
        "{witnesses}"
    );
}

/// People see lines, and at the end what was counted.
#[test]
fn lines_for_people_end_with_what_was_counted() {
    lab::needs_root!();
    let here = Namespace::new().expect("a namespace");
    let begun = Instant::now();
    let tcptop = Tcptop::spawn(&here, ["retransmits", "--duration=1s"]).expect("it starts");
    let output = tcptop.wait(PATIENCE).expect("it ends");
    assert!(output.status.success() && begun.elapsed() >= Duration::from_secs(1), "{output:?}");
    let lines: Vec<&str> = output.stdout.iter().map(|line| line.text.as_str()).collect();
    let counted = "in this network namespace: 0 segments; the kernel's RetransSegs grew by 0";
    assert!(lines.contains(&counted), "{lines:?}");
    let refused = Tcptop::spawn(&here, ["retransmits", "--filter=p99>1ms"]).expect("it starts");
    let refused = refused.wait(PATIENCE).expect("it ends");
    assert_eq!(refused.status.code(), Some(2), "{refused:?}");
    assert!(refused.stderr.contains("p99>1ms"), "{refused:?}");
}
