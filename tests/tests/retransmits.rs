//! What tcptop calls a retransmit, held against the kernel's own count on the host that sends.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::time::Duration;

use lab::{
    Direction, Kind, Link, Match, Mode, NEAR, Object, Rule, Script, Server, Tcptop, connect, far_v4, far_v6,
};

const PATIENCE: Duration = Duration::from_secs(60);
const EACH_WAY: Duration = Duration::from_millis(5);
const CONNECTIONS: usize = 6;
const BYTES: usize = 1_500_000;

/// Sends and gets back as much as a connection is to carry.
fn exchange(link: &Link, server: SocketAddr) {
    let stream = connect(&link.near, None, server, PATIENCE).expect("a connection");
    let mut reader = stream.try_clone().expect("another descriptor");
    let sending = std::thread::spawn(move || (&stream).write_all(&vec![0x5a; BYTES]).expect("it is open"));
    let mut left = BYTES;
    let mut buffer = [0; 64 * 1024];
    while left > 0 {
        left = left.saturating_sub(reader.read(&mut buffer).expect("the echo"));
    }
    sending.join().expect("it does not panic");
}

/// Every object of a run over a wire that loses, and what the host that was watched retransmitted by its own count.
fn run(loss: Match, sack: &str) -> (Vec<Object>, u64) {
    let script = Script::seeded(7).delay(EACH_WAY).with(Rule::lose(loss, 0.02));
    let link = Link::new(script).expect("a link");
    for host in [&link.near, &link.far] {
        host.set_sysctl("net/ipv4/tcp_sack", sack).expect("a setting");
    }
    let servers = [far_v4(11), far_v6(11)].map(|host| (host, 80).into());
    let _servers = servers.map(|server| Server::bind(&link.far, server, Mode::Echo).expect("a server"));
    let tcptop = Tcptop::spawn(&link.near, [NEAR, "--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    for number in 0..CONNECTIONS {
        exchange(&link, servers[number % 2]);
    }
    tcptop.wait_objects("close", CONNECTIONS, PATIENCE).expect("all are closed");
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    (objects, link.near.tcp_count("RetransSegs").expect("it counts"))
}

fn sum(objects: &[Object], kind: &str, field: &str) -> u64 {
    let of_kind = objects.iter().filter(|object| object.kind() == kind);
    of_kind.map(|object| object.number(field).unwrap_or_else(|| panic!("{field} in {object:?}"))).sum()
}

/// How many segments these stand for.
fn segments<'a>(retransmits: impl Iterator<Item = &'a Object>) -> u64 {
    retransmits.map(|one| one.number("segments").expect("known")).sum()
}

fn assert_close(ours: u64, theirs: u64, objects: &[Object]) {
    eprintln!("{ours} retransmits by tcptop, {theirs} by the kernel");
    assert!(theirs > 20, "the wire lost too little to tell: {theirs}");
    let (most, least) = (ours.max(theirs), ours.min(theirs));
    assert!((most - least) * 100 <= most, "{ours} by tcptop, {theirs} by the kernel: {:?}", objects.last());
}

/// Hard case 27, and what this host sends again: data on its way to the far side is lost behind the hook.
fn sent_again(sack: &str) {
    let (objects, kernel) = run(Match::kind(Kind::Data).direction(Direction::ToFar), sack);
    let told =
        objects.iter().filter(|one| one.kind() == "retransmit" && one.text("sent_by") == Some("local"));
    let told: Vec<&Object> = told.collect();
    assert_close(segments(told.iter().copied()), kernel, &objects);
    let data = told.into_iter().filter(|one| one.text("kind") == Some("data"));
    assert_eq!(sum(&objects, "close", "sent_retransmits"), segments(data));
    assert_eq!(sum(&objects, "close", "received_retransmits"), 0, "nothing was lost on its way here");
}

#[test]
fn what_this_host_sends_again() {
    if lab::require_root() {
        sent_again("1");
    }
}

#[test]
fn what_this_host_sends_again_without_sack() {
    if lab::require_root() {
        sent_again("0");
    }
}

/// Hard case 25: what the far side sends again fills a hole that opened here, more than a round trip before.
#[test]
fn what_is_sent_again_to_this_host() {
    if !lab::require_root() {
        return;
    }
    let (objects, _) = run(Match::kind(Kind::Data).direction(Direction::ToNear), "1");
    let told: Vec<_> = objects.iter().filter(|one| one.kind() == "retransmit").collect();
    assert!(told.len() > 20, "{}", told.len());
    for one in told.iter().filter(|one| one.text("kind") == Some("data")) {
        assert_eq!(one.text("sent_by"), Some("remote"), "{one:?}");
        let after = one.number("after_ns");
        // A copy of what has come already (a tail-loss probe) fills none.
        assert!(after.is_none_or(|after| after >= 10_000_000), "sooner than the wire: {one:?}");
    }
    assert!(sum(&objects, "close", "received_bytes") >= (CONNECTIONS * BYTES) as u64);
}
