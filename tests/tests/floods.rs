//! Floods of forged segments, and a reader that is stopped: real handshakes get no false outcome.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use lab::conversation::{PSH, segment, v4};
use lab::{
    Link, Medium, Mode, NEAR, Namespace, Object, Port, Script, Server, Signal, Tcptop, capture, connect,
    far_v4, near_v4,
};
use probe_common::{SegmentRecord, TcpFlags};

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(20);
const EACH_WAY: Duration = Duration::from_millis(250);
/// Lower bound of the round trip, in nanoseconds.
const ROUND_TRIP_NS: u64 = 500_000_000;
/// How long real connections are made beside a flood.
const FLOODED: Duration = Duration::from_secs(4);
/// Clients that connect one time after the other, in each direction.
const CLIENTS: usize = 8;
/// The services of the far host and of this one.
const OUTBOUND: u16 = 4_433;
const INBOUND: u16 = 4_434;
/// Where the flood comes in.
const FED: &str = "fed0";
/// For whom it is: an address of this host, by `--local`, so that nobody answers.
const VICTIM: [u8; 4] = [10, 1, 0, 1];
/// So few that the flood fills the tables at once.
const FEW_FLOWS: &str = "256";
/// So many that a quarter of them, which pending flows may take, lasts longer than a round trip beside 5,000 SYNs a second.
const MANY_FLOWS: &str = "16000";
const ALL_FLOWS: &str = "65536";

/// Threads that do something until they are told to stop.
struct Busy<T> {
    stop: Arc<AtomicBool>,
    threads: Vec<JoinHandle<T>>,
}

impl<T: Send + 'static> Busy<T> {
    fn start(
        namespace: &Namespace,
        threads: usize,
        task: impl Fn(&AtomicBool) -> T + Clone + Send + 'static,
    ) -> Self {
        let stop = Arc::new(AtomicBool::new(false));
        let threads = (0..threads).map(|_| {
            let (stop, task) = (Arc::clone(&stop), task.clone());
            namespace.spawn("busy", move || task(&stop)).expect("a thread")
        });
        Self { stop: Arc::clone(&stop), threads: threads.collect() }
    }

    fn end(self) -> Vec<T> {
        self.stop.store(true, Ordering::Relaxed);
        self.threads.into_iter().map(|thread| thread.join().expect("it ends well")).collect()
    }
}

/// What a flood is made of.
#[derive(Clone, Copy, Debug)]
enum Forged {
    Syn,
    Fin,
    Rst,
    Ack,
    Data,
}

impl Forged {
    /// One from another address and port each time.
    fn frame(self, number: u32) -> Vec<u8> {
        let (flags, payload_len) = match self {
            Self::Syn => (TcpFlags::SYN, 0),
            Self::Fin => (TcpFlags::FIN.with(TcpFlags::ACK), 0),
            Self::Rst => (TcpFlags::RST, 0),
            Self::Ack => (TcpFlags::ACK, 0),
            Self::Data => (TcpFlags::ACK.with(PSH), 100),
        };
        let [_, a, b, c] = number.to_be_bytes();
        let port = 1_024 + u16::try_from(number % 60_000).expect("it fits");
        let numbers = number.wrapping_mul(0x9e37_79b9);
        let ends = (v4([172, a, b, c], port), v4(VICTIM, 80));
        let segment =
            SegmentRecord { seq: numbers, ack: !numbers, payload_len, ..segment(ends.0, ends.1, flags) };
        capture::packet(&segment, 1)
    }
}

/// Sends so many forged segments a second, as far as the machine bears it.
fn flood(bench: &Bench, forged: Forged, per_second: u64) -> (Busy<()>, Arc<AtomicU64>) {
    let port = Arc::clone(&bench.fed);
    let sent = Arc::new(AtomicU64::new(0));
    let counted = Arc::clone(&sent);
    let task = move |stop: &AtomicBool| {
        let started = Instant::now();
        while !stop.load(Ordering::Relaxed) {
            let due =
                u64::try_from(started.elapsed().as_millis()).expect("a short time") * per_second / 1_000;
            // What it is late with is left out.
            for _ in 0..due.saturating_sub(counted.load(Ordering::Relaxed)).min(per_second / 100) {
                let number = u32::try_from(counted.fetch_add(1, Ordering::Relaxed)).expect("a short time");
                port.send(&forged.frame(number)).expect("it is up");
            }
            thread::sleep(Duration::from_millis(1));
        }
    };
    (Busy::start(&bench.link.near, 1, task), sent)
}

/// Clients that connect again and again, and how often each did.
fn clients(namespace: &Namespace, remote: SocketAddr) -> Busy<u64> {
    let inside = namespace.clone();
    Busy::start(namespace, CLIENTS, move |stop| {
        let mut made = 0;
        while !stop.load(Ordering::Relaxed) {
            connect(&inside, None, remote, PATIENCE).expect("it is answered");
            made += 1;
        }
        made
    })
}

/// This host, one that is far away, and servers on both.
struct Bench {
    link: Link,
    /// Where the flood comes in.
    fed: Arc<Port>,
    servers: [Server; 2],
}

impl Bench {
    fn new() -> Self {
        let link = Link::new(Script::default().delay(EACH_WAY)).expect("a link");
        let bind = |namespace: &Namespace, host: IpAddr, port| {
            Server::bind(namespace, (host, port).into(), Mode::CloseAtOnce).expect("a server")
        };
        let servers = [bind(&link.far, far_v4(11), OUTBOUND), bind(&link.near, near_v4(1), INBOUND)];
        let fed = Arc::new(Port::new(&link.near, FED, Medium::Ethernet).expect("an interface"));
        Self { link, fed, servers }
    }

    fn watch(&self, max_flows: &str) -> Tcptop {
        let filter = format!("port:{OUTBOUND},{INBOUND}");
        let victim = IpAddr::from(VICTIM).to_string();
        let arguments =
            [NEAR, FED, "--json", "--filter", &filter, "--local", &victim, "--max-flows", max_flows];
        let tcptop = Tcptop::spawn(&self.link.near, arguments).expect("it starts");
        tcptop.wait_ready(PATIENCE).expect("it attaches");
        tcptop
    }

    fn outbound(&self) -> Busy<u64> {
        clients(&self.link.near, self.servers[0].address())
    }

    fn inbound(&self) -> Busy<u64> {
        clients(&self.link.far, self.servers[1].address())
    }
}

/// The summary, and the handshakes with this role.
fn ended(tcptop: Tcptop, role: &str) -> (Object, Vec<Object>) {
    // What is under way is decided.
    thread::sleep(2 * EACH_WAY);
    let mut objects = tcptop.stop(PATIENCE).expect("it ends well");
    let summary = objects.pop().expect("a summary");
    objects.retain(|object| object.kind() == "handshake" && object.text("role") == Some(role));
    (summary, objects)
}

fn missed(summary: &Object) -> u64 {
    let kinds = ["syn", "syn_ack", "ack", "rst", "fin", "retransmit"];
    kinds.map(|kind| summary.number(&format!("missed_records.{kind}")).expect("a count")).iter().sum()
}

/// Asserts that each connection was reported once, as it was. Where records were missed, it may be unknown.
fn assert_true(summary: &Object, handshakes: &[Object], made: u64) {
    let has_missed = missed(summary) > 0;
    for one in handshakes {
        match one.text("outcome") {
            Some("established") => {}
            Some("unknown") if has_missed => continue,
            _ => panic!("{one:?} {summary:?}"),
        }
        assert_eq!(one.number("tries"), Some(1), "{one:?}");
        let rtt_ns = one.number("rtt_ns");
        assert!(has_missed || rtt_ns.is_some_and(|rtt_ns| rtt_ns >= ROUND_TRIP_NS), "{one:?}");
    }
    assert!(has_missed || handshakes.len() as u64 == made, "{} of {made}: {summary:?}", handshakes.len());
}

/// Hard case `forged-segments`: what this host opened is evicted for nothing that comes from outside, in the kernel and here.
#[test]
fn a_syn_flood_evicts_nothing_that_this_host_opened() {
    lab::needs_root!();
    let bench = Bench::new();
    let (forged, sent) = flood(&bench, Forged::Syn, 10_000);
    let tcptop = bench.watch(FEW_FLOWS);
    let clients = bench.outbound();
    thread::sleep(FLOODED);
    let made = clients.end().iter().sum();
    let (summary, handshakes) = ended(tcptop, "client");
    forged.end();
    assert!(sent.load(Ordering::Relaxed) > 10_000, "a flood");
    assert!(summary.number("strangers.evicted").expect("a count") > 1_000, "{summary:?}");
    assert_true(&summary, &handshakes, made);
}

/// Hard case `strangers`: the peers that a flood makes are one line in every output, nothing of it is missed, and real peers
/// are shown.
#[test]
fn a_flood_from_many_addresses_is_one_line() {
    lab::needs_root!();
    let bench = Bench::new();
    let directory = std::path::Path::new(env!("CARGO_TARGET_TMPDIR"));
    let files = ["flood.txt", "flood.md"].map(|name| directory.join(name));
    let [text, report] = ["--text=", "--report="]
        .into_iter()
        .zip(&files)
        .map(|(option, file)| format!("{option}{}", file.display()))
        .collect::<Vec<_>>()
        .try_into()
        .expect("two");
    let victim = IpAddr::from(VICTIM).to_string();
    let arguments = [NEAR, FED, "--json", "--local", &victim, "--max-flows", MANY_FLOWS, &text, &report];
    let tcptop = Tcptop::spawn(&bench.link.near, arguments).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    let clients = [bench.outbound(), bench.inbound()];
    let (forged, sent) = flood(&bench, Forged::Syn, 5_000);
    thread::sleep(2 * FLOODED);
    forged.end();
    drop(clients.map(Busy::end));
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    let summary = objects.last().expect("a summary");
    let count = |name: &str| summary.number(name).unwrap_or_else(|| panic!("no {name} in {summary:?}"));
    let sent = sent.load(Ordering::Relaxed);
    assert!(sent > 5_000, "a flood");
    if missed(summary) == 0 {
        assert!(count("strangers.addresses").abs_diff(sent) < sent / 20 + 100, "of {sent}: {summary:?}");
        assert!(count("strangers.attempts").abs_diff(sent) <= 100, "of {sent}: {summary:?}");
        assert!(count("strangers.evicted") > sent / 2, "{summary:?}");
        assert_eq!(count("missed") - count("missed_lines"), 0, "{summary:?}");
    }
    let peers: Vec<_> = objects.iter().filter(|object| object.kind() == "peer").collect();
    assert!(peers.len() <= 102, "{} peers", peers.len());
    for port in [OUTBOUND, INBOUND] {
        let is_real = |peer: &&&Object| peer.number("service_port") == Some(port.into());
        let real = peers.iter().find(is_real).unwrap_or_else(|| panic!("port {port} in {peers:?}"));
        assert!(real.number("established") > Some(0), "{real:?}");
    }
    for file in files {
        let written = std::fs::read_to_string(&file).expect("it was written");
        let has_line =
            |line: &str| line.contains("SYNs from about ") && line.contains(" addresses, none completed");
        assert!(written.lines().any(has_line), "{}", file.display());
    }
}

fn without_a_handshake(forged: Forged) {
    let bench = Bench::new();
    let (forged, sent) = flood(&bench, forged, 10_000);
    let tcptop = bench.watch(FEW_FLOWS);
    let clients = [bench.outbound(), bench.inbound()];
    thread::sleep(FLOODED);
    let [out, inward] = clients.map(|clients| clients.end().iter().sum());
    let objects = {
        thread::sleep(2 * EACH_WAY);
        tcptop.stop(PATIENCE).expect("it ends well")
    };
    forged.end();
    assert!(sent.load(Ordering::Relaxed) > 10_000, "a flood");
    let summary = objects.last().expect("a summary");
    for (role, made) in [("client", out), ("server", inward)] {
        let is_it = |object: &&Object| object.kind() == "handshake" && object.text("role") == Some(role);
        let handshakes: Vec<Object> = objects.iter().filter(is_it).cloned().collect();
        assert_true(summary, &handshakes, made);
    }
}

/// Hard case `forged-segments`: a FIN of no connection evicts no handshake, in whichever direction.
#[test]
fn forged_fins_evict_no_handshake() {
    if lab::require_root() {
        without_a_handshake(Forged::Fin);
    }
}

/// Hard case `forged-segments`.
#[test]
fn forged_rsts_evict_no_handshake() {
    if lab::require_root() {
        without_a_handshake(Forged::Rst);
    }
}

/// Hard case `forged-segments`.
#[test]
fn forged_acks_evict_no_handshake() {
    if lab::require_root() {
        without_a_handshake(Forged::Ack);
    }
}

/// Hard case `forged-segments`: the kernel learns flows from data, and evicts no handshake for them.
#[test]
fn forged_data_evicts_no_handshake() {
    if lab::require_root() {
        without_a_handshake(Forged::Data);
    }
}

/// Hard case `missed-records`: while the reader is stopped, the ring overflows. What was open meanwhile ends as unknown, never as
/// a failure, and makes no verdict.
#[test]
fn what_was_open_while_records_were_missed_is_unknown() {
    lab::needs_root!();
    let bench = Bench::new();
    let (forged, _) = flood(&bench, Forged::Syn, 60_000);
    let tcptop = bench.watch(ALL_FLOWS);
    let clients = [bench.outbound(), bench.inbound()];
    thread::sleep(Duration::from_secs(1));
    tcptop.signal(Signal::SIGSTOP).expect("it stops");
    thread::sleep(Duration::from_secs(4));
    forged.end();
    tcptop.signal(Signal::SIGCONT).expect("it goes on");
    thread::sleep(Duration::from_secs(1));
    drop(clients.map(Busy::end));
    // Longer than an attempt that nobody answers takes to be given up.
    thread::sleep(Duration::from_secs(5));
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    let summary = objects.last().expect("a summary");
    assert!(missed(summary) > 0, "{summary:?}");
    let handshakes = objects.iter().filter(|object| object.kind() == "handshake");
    let outcomes: Vec<_> = handshakes.map(|one| one.text("outcome").expect("an outcome")).collect();
    let count = |outcome: &str| outcomes.iter().filter(|&&other| other == outcome).count();
    assert_eq!(count("established") + count("unknown"), outcomes.len(), "{outcomes:?}");
    assert!(count("unknown") > 0, "{outcomes:?}");
    let verdicts = objects.iter().filter(|object| object.kind() == "peer").map(|peer| format!("{peer:?}"));
    for peer in verdicts {
        assert!(!peer.contains(r#""verdict":"unanswered""#), "{peer}");
    }
}

/// Hard case `missed-records`: records without which a handshake is still known leave the last room of the ring to those without
/// which it is not.
#[test]
fn the_last_room_of_the_ring_is_for_handshakes() {
    lab::needs_root!();
    let bench = Bench::new();
    let (forged, _) = flood(&bench, Forged::Rst, 60_000);
    let tcptop = bench.watch(ALL_FLOWS);
    tcptop.signal(Signal::SIGSTOP).expect("it stops");
    // The shared part of the ring is full after 23,000 of them.
    thread::sleep(Duration::from_millis(2_500));
    let clients = [bench.outbound(), bench.inbound()];
    thread::sleep(Duration::from_millis(1_500));
    let made: u64 = clients.map(Busy::end).iter().flatten().sum();
    forged.end();
    tcptop.signal(Signal::SIGCONT).expect("it goes on");
    thread::sleep(4 * EACH_WAY);
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    let summary = objects.last().expect("a summary");
    let missed = |kind: &str| summary.number(&format!("missed_records.{kind}")).expect("a count");
    assert!(missed("rst") > 0, "the ring was full: {summary:?}");
    assert_eq!([missed("syn"), missed("syn_ack"), missed("ack")], [0; 3], "{summary:?}");
    let handshakes: Vec<_> = objects.iter().filter(|object| object.kind() == "handshake").collect();
    assert_eq!(handshakes.len() as u64, made);
    for one in handshakes {
        assert_eq!((one.text("outcome"), one.number("tries")), (Some("established"), Some(1)), "{one:?}");
        assert!(one.number("rtt_ns").is_some_and(|rtt_ns| rtt_ns >= ROUND_TRIP_NS), "{one:?}");
    }
}
