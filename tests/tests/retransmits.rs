//! Segments, bytes and retransmits as tcptop counts them, compared with the kernel's own counters.

use std::io::{self, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use lab::{
    Direction, FAR, IpNet, Kind, Link, Match, NEAR, Namespace, Object, Rule, Script, SocketCounts, Tcptop,
    connect, far_v4, far_v6, near_v4, near_v6, settled,
};

const PATIENCE: Duration = Duration::from_secs(120);
const EACH_WAY: Duration = Duration::from_millis(5);
/// Longer than any packet is on its way.
const QUIET: Duration = Duration::from_millis(100);

/// How much is sent in a connection, and who opens it.
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

/// The counters of both ends just before the close, and the connection's addresses.
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

/// Sends in both directions at the same time.
fn exchange(ends: &Ends, plan: &Plan) {
    let Ends { near, far } = ends;
    thread::scope(|scope| {
        scope.spawn(|| send(near, plan.to_far_bytes));
        scope.spawn(|| send(far, plan.to_near_bytes));
        scope.spawn(|| receive(near, plan.to_near_bytes));
        scope.spawn(|| receive(far, plan.to_far_bytes));
    });
}

/// The counters of both ends when no packet is on its way any more.
fn settle(Ends { near, far }: &Ends) -> [SocketCounts; 2] {
    settled([near, far], QUIET, PATIENCE).expect("an end of it")
}

/// Closes a connection when none of its packets is on its way any more.
fn close(ends: Ends) -> Counted {
    let counts = settle(&ends);
    let Ends { near, far } = ends;
    let (local, remote) = (near.local_addr().expect("bound"), near.peer_addr().expect("connected"));
    drop(near);
    // The FIN has arrived, so it is not retransmitted after the counters were read.
    assert_eq!((&far).read(&mut [0]).expect("a FIN"), 0);
    Counted { local, remote, near: counts[0], far: counts[1] }
}

/// Opens one connection after the other, so that none waits for another's packets, then uses all of them at the same
/// time.
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

/// What tcptop reported of a connection: its close and its retransmits.
struct Reported<'a> {
    close: &'a Object,
    resent: Vec<&'a Object>,
}

impl<'a> Reported<'a> {
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

    /// The sum of a field over the retransmits of these kinds by one end.
    fn sum(&self, sender: &str, kinds: &[&str], field: &str) -> u64 {
        let of_kinds = |one: &&Object| one.text("kind").is_some_and(|kind| kinds.contains(&kind));
        self.of_sender(sender).filter(of_kinds).map(|one| number(one, field)).sum()
    }
}

/// All kinds but the FIN, which is sent after the counters were read.
const BEFORE_THE_END: [&str; 3] = ["syn", "syn_ack", "data"];

fn settings(host: &Namespace, interface: &str, sack: bool, offloads: bool) {
    host.set_sysctl("net/ipv4/tcp_sack", if sack { "1" } else { "0" }).expect("a setting");
    host.set_segmentation_offloads(interface, offloads).expect("a setting");
}

/// A wire that loses some of the data in this direction, and the first SYN or SYN-ACK of some connections.
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

/// Asserts that what this host sent and retransmitted is exactly what its socket counted, and returns the number of
/// retransmitted segments. Both must be equal: the kernel counts the segments of a packet when it retransmits it
/// (`__tcp_retransmit_skb`, `tcp_rtx_synack`), with the socket locked, and nothing but the host's own firewall can drop
/// it before the hook.
fn assert_sent(reported: &Reported<'_>, near: &SocketCounts) -> u64 {
    let close = reported.close;
    assert_eq!(number(close, "sent_data_segments"), near.sent_segments, "{close:?}");
    assert_eq!(number(close, "sent_bytes"), near.sent_bytes, "{close:?}");
    let resent = reported.sum("local", &BEFORE_THE_END, "segments");
    assert_eq!(resent, near.resent_segments, "{close:?}");
    assert_eq!(reported.sum("local", &BEFORE_THE_END, "payload_bytes"), near.resent_bytes, "{close:?}");
    assert_eq!(
        reported.sum("local", &["data"], "segments"),
        number(close, "sent_data_retransmits"),
        "{close:?}"
    );
    resent
}

fn assert_nearly(ours: u64, theirs: u64) {
    assert!(ours.abs_diff(theirs) * 100 <= theirs, "{ours} by tcptop, {theirs} by the kernel");
}

/// Asserts that what arrived is what the socket counted, copies included, to 1%: two processors that handle packets
/// of one connection at the same time may count one of them less, and a copy may arrive after the socket was read.
/// The socket counts each byte once, so the bytes with copies come from the other end.
fn assert_received(reported: &Reported<'_>, Counted { near, far, .. }: &Counted) {
    let close = reported.close;
    assert_nearly(number(close, "received_data_segments"), near.received_segments);
    let bytes = near.received_bytes - near.received_bytes / 100..=far.sent_bytes;
    assert!(bytes.contains(&number(close, "received_bytes")), "{close:?} {near:?} {far:?}");
}

/// Asserts that the causes of what this host sent again are those that its kernel counts. A SYN-ACK is sent by a socket that is
/// not complete yet, so that its cause is not known.
fn assert_causes(near: &Namespace, objects: &[Object]) {
    let resent = || objects.iter().filter(|one| one.kind() == "retransmit");
    let sent = || resent().filter(|one| one.text("sent_by") == Some("local"));
    let of = |cause| {
        sent().filter(|one| one.text("cause") == cause).map(|one| number(one, "segments")).sum::<u64>()
    };
    let kernel = |name| near.tcp_ext_count(name).expect("it counts");
    for (cause, name) in [("slow_start", "TCPSlowStartRetrans"), ("fast", "TCPFastRetrans")] {
        assert_eq!(of(Some(cause)), kernel(name), "{cause}");
    }
    let (timeouts, unknown) = (of(Some("timeout")), of(None));
    // The kernel also counts the timer of a SYN-ACK, unless that answers a SYN that was sent again.
    assert!((timeouts..=timeouts + unknown).contains(&kernel("TCPTimeouts")), "{timeouts}, {unknown}");
    // It may also send what was not sent yet, which is no retransmit.
    assert!(of(Some("tail_loss_probe")) <= kernel("TCPLossProbes"));
    let unknown = sent().filter(|one| one.text("cause").is_none());
    unknown.for_each(|one| assert_eq!(one.text("kind"), Some("syn_ack"), "{one:?}"));
    let (summary, causes) = (objects.last().expect("a summary"), "retransmit_causes");
    let named = ["timeout", "slow_start", "fast", "tail_loss_probe", "unknown"];
    let sum: u64 =
        named.map(|cause| summary.object(causes).number(cause).expect("a number")).into_iter().sum();
    assert_eq!(sum, number(summary, "retransmits"), "{summary:?}");
    let received = resent().filter(|one| one.text("sent_by") != Some("local"));
    received.for_each(|one| assert_eq!(one.text("cause"), None, "{one:?}"));
}

/// Hard case `tail-loss-probes`, and all other retransmits of this host: the wire loses packets after the hook.
fn retransmitted(sack: bool, offloads: bool) {
    lab::needs_root!();
    let link = lossy(Direction::ToFar, sack, offloads);
    let (objects, counted) = carry_out(&link.near, &link.far);
    let by_host = link.near.tcp_count("RetransSegs").expect("it counts");
    let (mut total, mut largest) = (0, 0);
    for one in &counted {
        let reported = Reported::of(&objects, one);
        assert_received(&reported, one);
        total += assert_sent(&reported, &one.near) + reported.sum("local", &["fin"], "segments");
        largest = reported.of_sender("local").map(|one| number(one, "segments")).fold(largest, u64::max);
    }
    eprintln!("{total} segments were retransmitted, up to {largest} in one packet");
    assert!(total > 300, "the wire lost too few packets for the test: {total}");
    assert_eq!(total, by_host, "{:?}", objects.last());
    assert_causes(&link.near, &objects);
    let counters = objects.last().expect("a summary").object("host_counters");
    let counted =
        ["retransmitted_segments", "seen_retransmitted_segments"].map(|field| counters.number(field));
    assert_eq!(counted, [Some(by_host); 2], "{counters:?}");
    let syns = ["syn_retransmits", "seen_syn_retransmits"].map(|field| counters.number(field));
    assert!(syns[0] == syns[1] && syns[0] > Some(0), "{counters:?}");
    // Without SACK a timeout retransmits a whole window, in packets as large as allowed.
    assert!(if offloads { sack || largest > 1 } else { largest == 1 }, "{largest}");
}

#[test]
fn retransmits_of_this_host() {
    retransmitted(true, true);
}

#[test]
fn retransmits_of_this_host_without_offloads() {
    retransmitted(true, false);
}

#[test]
fn retransmits_of_this_host_without_sack() {
    retransmitted(false, true);
}

#[test]
fn retransmits_of_this_host_without_sack_and_offloads() {
    retransmitted(false, false);
}

/// Hard case `reordering`: a retransmit of the far side fills a hole that opened here. The sender's own counters tell it
/// from what was overtaken, even within a round trip: a partial ACK asks for a segment before a later one shows here that
/// it is missing (RFC 6582). What the wire lost cannot be seen, so there may be fewer, never more.
fn retransmitted_to_this_host(sack: bool) {
    lab::needs_root!();
    let link = lossy(Direction::ToNear, sack, true);
    let (objects, counted) = carry_out(&link.near, &link.far);
    let (mut ours, mut theirs) = (0, 0);
    for one in &counted {
        let reported = Reported::of(&objects, one);
        let (segments, close) = (reported.sum("remote", &["data"], "segments"), reported.close);
        assert_eq!(segments, number(close, "received_data_retransmits"), "{close:?}");
        assert!(segments <= one.far.resent_segments, "{segments} of {:?}", one.far);
        assert_sent(&reported, &one.near);
        assert_received(&reported, one);
        ours += segments;
        theirs += one.far.resent_segments;
    }
    eprintln!("{ours} retransmitted segments were seen, {theirs} were sent");
    // The wire loses one in twenty of the retransmits, too.
    assert!(ours > 100 && ours * 10 > theirs * 9, "{ours} of {theirs}");
}

#[test]
fn retransmits_to_this_host() {
    retransmitted_to_this_host(true);
}

#[test]
fn retransmits_to_this_host_without_sack() {
    retransmitted_to_this_host(false);
}

/// Hard case `segmentation-offload`: a veth pair passes packets of many segments as they are, on any processor.
fn over_a_pair(offloads: bool) {
    lab::needs_root!();
    let (near, far) = (Namespace::new().expect("a host"), Namespace::new().expect("a host"));
    near.veth_pair(NEAR, &far, FAR).expect("a pair");
    for (host, interface, addresses) in
        [(&near, NEAR, [near_v4(1), near_v6(1)]), (&far, FAR, [far_v4(11), far_v6(11)])]
    {
        for (address, prefix_len) in addresses.into_iter().zip([24, 64]) {
            host.add_address(interface, IpNet::new(address, prefix_len).expect("short")).expect("an address");
        }
        settings(host, interface, true, offloads);
    }
    let (objects, counted) = carry_out(&near, &far);
    for one in &counted {
        let reported = Reported::of(&objects, one);
        assert_sent(&reported, &one.near);
        assert_received(&reported, one);
    }
}

#[test]
fn large_packets() {
    over_a_pair(true);
}

#[test]
fn small_packets() {
    over_a_pair(false);
}

/// Hard case `mid-stream`: the traffic of mid-stream connections is reported when they close, and counted if they do
/// not.
#[test]
fn traffic_of_mid_stream_connections() {
    lab::needs_root!();
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
    let (summary, reported) = objects.split_last().expect("a summary");
    let closes: Vec<_> = reported.iter().filter(|object| object.kind() == "close").collect();
    assert_eq!(closes.len(), closed.len(), "{reported:?}");
    for (close, (local, sent, received)) in closes.into_iter().zip(closed) {
        assert_eq!((close.local(), close.text("role"), close.number("lifetime_ns")), (local, None, None));
        assert_eq!(number(close, "sent_data_segments"), sent, "{close:?}");
        assert_nearly(number(close, "received_data_segments"), received);
    }
    assert_eq!((summary.number("handshakes"), summary.number("missed")), (Some(0), Some(0)), "{summary:?}");
    assert_nearly(number(summary, "data_segments"), segments);
}
