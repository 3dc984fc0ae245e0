//! Hard case `tcx-chain`: other programs in the TCX chain, before and after ours, see every packet, and so does ours.

mod tally;

use std::net::SocketAddr;
use std::time::{Duration, Instant};

use lab::bpf::Hook;
use lab::{ClientPlan, Clients, Mode, Namespace, Server, Tcptop, connect_many};

use crate::tally::{Tally, Verdict};

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(20);
const CONNECTIONS: usize = 100;

/// Two hosts on a cable. IPv4 only, so that no packet passes that the test did not cause.
struct Bench {
    near: Namespace,
    far: Namespace,
}

const NEAR: &str = "eth0";

impl Bench {
    fn new() -> Self {
        let [near, far] = [(); 2].map(|()| Namespace::new().expect("a namespace"));
        for namespace in [&near, &far] {
            namespace.set_sysctl("net/ipv6/conf/default/disable_ipv6", "1").expect("a setting");
        }
        near.veth_pair(NEAR, &far, "eth0").expect("a cable");
        near.add_address(NEAR, "10.1.0.1/24".parse().expect("an address")).expect("it is free");
        far.add_address("eth0", "10.1.0.2/24".parse().expect("an address")).expect("it is free");
        Self { near, far }
    }

    fn server(&self) -> Server {
        let address = SocketAddr::from(([10, 1, 0, 2], 80));
        Server::bind(&self.far, address, Mode::Echo).expect("a server")
    }

    /// Opens and closes connections, some with data.
    fn traffic(&self, server: &Server) {
        let made = connect_many(&self.near, server.address(), CONNECTIONS, PATIENCE).expect("sockets");
        assert_eq!(made, CONNECTIONS);
        let plan = ClientPlan { exchange: 50_000, ..ClientPlan::new(server.address(), Duration::ZERO) };
        let clients = Clients::with(&self.near, plan).expect("a thread");
        let deadline = Instant::now() + PATIENCE;
        while clients.tally().succeeded < 20 {
            assert!(Instant::now() < deadline && clients.tally().failed == 0, "{:?}", clients.tally());
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    /// The interface's own counters: packets (in, out).
    fn counted(&self) -> [u64; 2] {
        self.near.packets(NEAR).expect("the interface")
    }

    fn tallies(&self, verdict: Verdict) -> Tallies<'_> {
        let before = self.counted();
        let at = |hook| Tally::attach(&self.near, NEAR, hook, verdict);
        let tallies = [at(Hook::Ingress), at(Hook::Egress)];
        Tallies { bench: self, before, tallies }
    }

    fn watch(&self) -> Tcptop {
        let tcptop = Tcptop::spawn(&self.near, [NEAR, "--json"]).expect("it starts");
        tcptop.wait_ready(PATIENCE).expect("it attaches");
        tcptop
    }
}

/// A counting program at each hook.
struct Tallies<'b> {
    bench: &'b Bench,
    before: [u64; 2],
    tallies: [Tally; 2],
}

impl Tallies<'_> {
    /// Waits until both counts are equal to the interface's own.
    fn assert_complete(&self) {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let ours = self.tallies.each_ref().map(Tally::count);
            let now = self.bench.counted();
            let interface = [0, 1].map(|place| now[place] - self.before[place]);
            if ours == interface {
                let least = 4 * CONNECTIONS as u64;
                assert!(ours.iter().all(|count| *count > least), "too little traffic: {ours:?}");
                return;
            }
            assert!(Instant::now() < deadline, "counted {ours:?} of {interface:?} packets (in, out)");
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Asserts that tcptop saw every handshake.
fn assert_seen(tcptop: Tcptop) {
    tcptop.wait_objects("handshake", CONNECTIONS + 20, PATIENCE).expect("every one is reported");
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    let summary = objects.last().expect("a summary");
    assert_eq!(summary.number("established"), summary.number("handshakes"), "{summary:?}");
    assert_eq!(summary.number("missed"), Some(0), "{summary:?}");
}

#[test]
fn a_program_behind_ours_sees_every_packet_while_we_run_and_afterwards() {
    lab::needs_root!();
    let bench = Bench::new();
    let server = bench.server();
    let tcptop = bench.watch();
    let tallies = bench.tallies(Verdict::Next);
    bench.traffic(&server);
    tallies.assert_complete();
    assert_seen(tcptop);
    bench.traffic(&server);
    tallies.assert_complete();
}

#[test]
fn a_program_ahead_that_passes_packets_does_not_blind_us() {
    lab::needs_root!();
    let bench = Bench::new();
    let server = bench.server();
    // It ends the chain, but tcptop attaches ahead of it.
    let tallies = bench.tallies(Verdict::Pass);
    let tcptop = bench.watch();
    bench.traffic(&server);
    assert_seen(tcptop);
    tallies.assert_complete();
}
