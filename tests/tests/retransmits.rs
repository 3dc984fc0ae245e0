//! What tcptop counts of what is sent, and sent again, held against what the kernel counts itself.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use lab::{
    Cidr, Direction, FAR, Kind, Link, Match, NEAR, Namespace, Object, Rule, Script, SocketCounts, Tcptop,
    connect, far_v4, far_v6, near_v4, near_v6, settled,
};

const PATIENCE: Duration = Duration::from_secs(120);
const EACH_WAY: Duration = Duration::from_millis(5);
/// Longer than anything is under way.
const QUIET: Duration = Duration::from_millis(100);

/// What is sent in a connection, and who opens it.
#[derive(Clone, Copy)]
struct Plan {
    server: SocketAddr,
    is_near_client: bool,
    to_far_bytes: usize,
    to_near_bytes: usize,
}

/// Both ends of a connection.
struct Ends {
    near: TcpStream,
    far: TcpStream,
}

/// Both ends' counts of a connection from before it was closed, and its address here.
struct Counted {
    local: SocketAddr,
    remote: SocketAddr,
    near: SocketCounts,
    far: SocketCounts,
}

fn open(near: &Namespace, far: &Namespace, plan: &Plan) -> Ends {
    let (client, server) = if plan.is_near_client { (near, far) } else { (far, near) };
    let listener = server.run(|| TcpListener::bind(plan.server)).expect("a free port");
    let opened = connect(client, None, plan.server, PATIENCE).expect("a connection");
    let (accepted, _) = listener.accept().expect("the connection");
    if plan.is_near_client {
        Ends { near: opened, far: accepted }
    } else {
        Ends { near: accepted, far: opened }
    }
}

fn send(mut stream: &TcpStream, bytes: usize) {
    stream.write_all(&vec![0x5a; bytes]).expect("it is open");
}

fn receive(stream: &TcpStream, bytes: usize) {
    let bytes = bytes as u64;
    let received = io::copy(&mut stream.take(bytes), &mut io::sink()).expect("it is open");
    assert_eq!(received, bytes, "it was closed early");
}

/// Sends both ways at once.
fn exchange(ends: &Ends, plan: &Plan) {
    let Ends { near, far } = ends;
    thread::scope(|scope| {
        scope.spawn(|| send(near, plan.to_far_bytes));
        scope.spawn(|| send(far, plan.to_near_bytes));
        scope.spawn(|| receive(near, plan.to_near_bytes));
        scope.spawn(|| receive(far, plan.to_far_bytes));
    });
}

/// What both ends have counted once nothing is under way any more.
fn settle(Ends { near, far }: &Ends) -> [SocketCounts; 2] {
    settled([near, far], QUIET, PATIENCE).expect("an end of it")
}

/// Closes a connection once nothing of it is under way any more.
fn close(ends: Ends) -> Counted {
    let counts = settle(&ends);
    let Ends { near, far } = ends;
    let (local, remote) = (near.local_addr().expect("bound"), near.peer_addr().expect("connected"));
    drop(near);
    // The FIN has come: it is not sent again behind our back.
    assert_eq!((&far).read(&mut [0]).expect("a FIN"), 0);
    Counted { local, remote, near: counts[0], far: counts[1] }
}

/// Opens one connection after the other, so that none waits for another's packets, and lets all of them work at once.
fn carry_out(near: &Namespace, far: &Namespace) -> (Vec<Object>, Vec<Counted>) {
    let tcptop = Tcptop::spawn(near, [NEAR, "--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    let plans = plans();
    let all: Vec<Ends> = plans.iter().map(|plan| open(near, far, plan)).collect();
    let counted = thread::scope(|scope| {
        let work = |(ends, plan)| {
            scope.spawn(move || {
                exchange(&ends, plan);
                close(ends)
            })
        };
        let all: Vec<_> = all.into_iter().zip(&plans).map(work).collect();
        all.into_iter().map(|one| one.join().expect("it does not panic")).collect()
    });
    tcptop.wait_objects("close", plans.len(), PATIENCE).expect("all are closed");
    (tcptop.stop(PATIENCE).expect("it ends well"), counted)
}

/// Connections of several sizes, of both families, opened by either end.
fn plans() -> Vec<Plan> {
    let sizes = [400_000, 900_000, 1_500_000, 2_600_000];
    let all = sizes.into_iter().zip(80..).enumerate().flat_map(|(number, (bytes, port))| {
        let is_near_client = number % 2 == 0;
        let hosts = if is_near_client { [far_v4(11), far_v6(11)] } else { [near_v4(1), near_v6(1)] };
        let plan = |host| Plan {
            server: (host, port).into(),
            is_near_client,
            to_far_bytes: bytes,
            to_near_bytes: 3_000_000 - bytes,
        };
        hosts.map(plan)
    });
    all.collect()
}

fn number(object: &Object, field: &str) -> u64 {
    object.number(field).unwrap_or_else(|| panic!("{field} in {object:?}"))
}

/// What tcptop told of a connection: its end, and what was sent again.
struct Told<'a> {
    close: &'a Object,
    resent: Vec<&'a Object>,
}

impl<'a> Told<'a> {
    fn of(objects: &'a [Object], counted: &Counted) -> Self {
        let ends = (counted.local, counted.remote);
        let of_kind = |kind| {
            let its = objects.iter().filter(move |object| object.kind() == kind);
            its.filter(|object| (object.local(), object.remote()) == ends).collect::<Vec<_>>()
        };
        let [close] = of_kind("close")[..] else { panic!("not closed once: {ends:?}") };
        Self { close, resent: of_kind("retransmit") }
    }

    fn of_sender(&self, sender: &str) -> impl Iterator<Item = &'a Object> {
        self.resent.iter().copied().filter(move |one| one.text("sent_by") == Some(sender))
    }

    /// The sum over what an end has sent again of these kinds.
    fn sum(&self, sender: &str, kinds: &[&str], field: &str) -> u64 {
        let of_kinds = |one: &&Object| one.text("kind").is_some_and(|kind| kinds.contains(&kind));
        self.of_sender(sender).filter(of_kinds).map(|one| number(one, field)).sum()
    }
}

/// All that an end sends again but its FIN, which it sends when its counts were taken.
const BEFORE_THE_END: [&str; 3] = ["syn", "syn_ack", "data"];

fn settings(host: &Namespace, interface: &str, sack: bool, offloads: bool) {
    host.set_sysctl("net/ipv4/tcp_sack", if sack { "1" } else { "0" }).expect("a setting");
    host.set_segmentation_offloads(interface, offloads).expect("a setting");
}

/// A wire that loses some of the data that travels this way; and of some connections the first SYN, or SYN-ACK.
fn lossy(direction: Direction, sack: bool, offloads: bool) -> Link {
    let script = Script::seeded(7)
        .delay(EACH_WAY)
        .with(Rule::drop(Match::syn().direction(direction).port(82).first(1)))
        .with(Rule::drop(Match::syn_ack().direction(direction).port(83).first(1)))
        .with(Rule::lose(Match::kind(Kind::Data).direction(direction), 0.05));
    let link = Link::new(script).expect("a link");
    settings(&link.near, NEAR, sack, offloads);
    settings(&link.far, FAR, sack, offloads);
    link
}

/// What this host has sent in a connection, and sent again, is what its socket has counted. There is but one truth: the
/// kernel counts a packet that it sends again for the segments that it holds, when it sends it
/// (`__tcp_retransmit_skb`, `tcp_rtx_synack`), and each passes the hook before anything but a firewall of the host's
/// own can drop it. The socket is locked meanwhile, so it is one at a time. Gives how much was sent again.
fn assert_sent(told: &Told<'_>, near: &SocketCounts) -> u64 {
    let close = told.close;
    assert_eq!(number(close, "sent_data_segments"), near.sent_segments, "{close:?}");
    assert_eq!(number(close, "sent_bytes"), near.sent_bytes, "{close:?}");
    let resent = told.sum("local", &BEFORE_THE_END, "segments");
    assert_eq!(resent, near.resent_segments, "{close:?}");
    assert_eq!(told.sum("local", &BEFORE_THE_END, "payload_bytes"), near.resent_bytes, "{close:?}");
    assert_eq!(told.sum("local", &["data"], "segments"), number(close, "sent_data_retransmits"), "{close:?}");
    resent
}

fn assert_nearly(ours: u64, theirs: u64) {
    assert!(ours.abs_diff(theirs) * 100 <= theirs, "{ours} by tcptop, {theirs} by the kernel");
}

/// What came is what the socket has counted, all copies included, but for one in a hundred: two processors that handle
/// packets of one connection at once may count one of them less, and a copy may come when the socket was asked. Of the
/// bytes the socket counts each once, and the other end knows how many were sent.
fn assert_received(told: &Told<'_>, Counted { near, far, .. }: &Counted) {
    let close = told.close;
    assert_nearly(number(close, "received_data_segments"), near.received_segments);
    let bytes = near.received_bytes - near.received_bytes / 100..=far.sent_bytes;
    assert!(bytes.contains(&number(close, "received_bytes")), "{close:?} {near:?} {far:?}");
}

/// Hard case `tail-loss-probes`, and what this host sends again: the wire loses it behind the hook.
fn sent_again(sack: bool, offloads: bool) {
    if !lab::require_root() {
        return;
    }
    let link = lossy(Direction::ToFar, sack, offloads);
    let (objects, counted) = carry_out(&link.near, &link.far);
    let by_host = link.near.tcp_count("RetransSegs").expect("it counts");
    let (mut total, mut largest) = (0, 0);
    for one in &counted {
        let told = Told::of(&objects, one);
        assert_received(&told, one);
        total += assert_sent(&told, &one.near) + told.sum("local", &["fin"], "segments");
        largest = told.of_sender("local").map(|one| number(one, "segments")).fold(largest, u64::max);
    }
    eprintln!("{total} segments were sent again, up to {largest} as one");
    assert!(total > 300, "the wire lost too little to tell: {total}");
    assert_eq!(total, by_host, "{:?}", objects.last());
    // Without SACK it sends all of a window again after a timeout, in packets as large as they may be.
    assert!(if offloads { sack || largest > 1 } else { largest == 1 }, "{largest}");
}

#[test]
fn what_this_host_sends_again() {
    sent_again(true, true);
}

#[test]
fn what_this_host_sends_again_without_offloads() {
    sent_again(true, false);
}

#[test]
fn what_this_host_sends_again_without_sack() {
    sent_again(false, true);
}

#[test]
fn what_this_host_sends_again_without_sack_and_offloads() {
    sent_again(false, false);
}

/// Hard case `reordering`: what the far side sends again fills a hole that opened here, more than a round trip
/// before. What comes sooner than the handshake's round-trip time is taken for overtaken, so there may be less of it;
/// never more.
fn sent_again_to_this_host(sack: bool) {
    if !lab::require_root() {
        return;
    }
    let link = lossy(Direction::ToNear, sack, true);
    let (objects, counted) = carry_out(&link.near, &link.far);
    let (mut ours, mut theirs) = (0, 0);
    for one in &counted {
        let told = Told::of(&objects, one);
        for data in told.of_sender("remote").filter(|one| one.text("kind") == Some("data")) {
            let after_ns = data.number("after_ns");
            // A copy of what has come already (a tail-loss probe) fills none.
            assert!(after_ns.is_none_or(|after_ns| after_ns >= 10_000_000), "sooner than the wire: {data:?}");
        }
        let (segments, close) = (told.sum("remote", &["data"], "segments"), told.close);
        assert_eq!(segments, number(close, "received_data_retransmits"), "{close:?}");
        assert!(segments <= one.far.resent_segments, "{segments} of {:?}", one.far);
        assert_sent(&told, &one.near);
        assert_received(&told, one);
        ours += segments;
        theirs += one.far.resent_segments;
    }
    eprintln!("{ours} segments were seen to be sent again, {theirs} were");
    assert!(ours > 100, "{ours} of {theirs}");
}

#[test]
fn what_is_sent_again_to_this_host() {
    sent_again_to_this_host(true);
}

#[test]
fn what_is_sent_again_to_this_host_without_sack() {
    sent_again_to_this_host(false);
}

/// Hard case `segmentation-offload`: a pair of interfaces hands packets of many segments over as they are, on any
/// processor.
fn over_a_pair(offloads: bool) {
    if !lab::require_root() {
        return;
    }
    let (near, far) = (Namespace::new().expect("a host"), Namespace::new().expect("a host"));
    near.veth_pair(NEAR, &far, FAR).expect("a pair");
    for (host, interface, addresses) in
        [(&near, NEAR, [near_v4(1), near_v6(1)]), (&far, FAR, [far_v4(11), far_v6(11)])]
    {
        for (address, prefix_len) in addresses.into_iter().zip([24, 64]) {
            host.add_address(interface, Cidr { address, prefix_len }).expect("an address");
        }
        settings(host, interface, true, offloads);
    }
    let (objects, counted) = carry_out(&near, &far);
    for one in &counted {
        let told = Told::of(&objects, one);
        assert_sent(&told, &one.near);
        assert_received(&told, one);
    }
}

#[test]
fn what_passes_in_large_packets() {
    over_a_pair(true);
}

#[test]
fn what_passes_in_small_packets() {
    over_a_pair(false);
}

/// Hard case `mid-stream`: of connections that were open before, what they send since is told when they are closed,
/// and counted when they are not.
#[test]
fn what_connections_from_before_send() {
    if !lab::require_root() {
        return;
    }
    let link = Link::new(Script::seeded(1).delay(EACH_WAY)).expect("a link");
    let plans = plans();
    let before = |plan| {
        let ends = open(&link.near, &link.far, plan);
        exchange(&ends, plan);
        let [near, _] = settle(&ends);
        (ends, near)
    };
    let all: Vec<(Ends, SocketCounts)> = plans.iter().map(before).collect();
    let tcptop = Tcptop::spawn(&link.near, [NEAR, "--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    let (mut segments, mut open, mut closed) = (0, Vec::new(), Vec::new());
    for (number, ((ends, before), plan)) in all.into_iter().zip(&plans).enumerate() {
        exchange(&ends, plan);
        let [now, _] = settle(&ends);
        let sent = now.sent_segments - before.sent_segments;
        let received = now.received_segments - before.received_segments;
        segments += sent + received;
        match number % 3 {
            0 => closed.push((close(ends).local, sent, received)),
            _ => open.push(ends),
        }
    }
    tcptop.wait_objects("close", closed.len(), PATIENCE).expect("they are closed");
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    let (summary, told) = objects.split_last().expect("a summary");
    let closes: Vec<_> = told.iter().filter(|object| object.kind() == "close").collect();
    assert_eq!(closes.len(), closed.len(), "{told:?}");
    for (close, (local, sent, received)) in closes.into_iter().zip(closed) {
        assert_eq!((close.local(), close.text("role"), close.number("lifetime_ns")), (local, None, None));
        assert_eq!(number(close, "sent_data_segments"), sent, "{close:?}");
        assert_nearly(number(close, "received_data_segments"), received);
    }
    assert_eq!((summary.number("handshakes"), summary.number("missed")), (Some(0), Some(0)), "{summary:?}");
    assert_nearly(number(summary, "data_segments"), segments);
}
