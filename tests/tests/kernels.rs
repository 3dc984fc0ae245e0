//! What tcptop says of live interfaces is what it says of a capture that tcpdump takes beside it, on this kernel, whichever it is:
//! `cargo xtask vm` runs it on others (hard case `other-kernels`). Loopback and a cable, IPv4 and IPv6, open and closed ports, with data.

use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use lab::{ClientPlan, Clients, Mode, Namespace, Object, Server, Tcptop, connect};

/// Much longer than any step takes, also where a kernel is emulated; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(120);
const OPEN: u16 = 80;
const CLOSED: u16 = 81;
const CONNECTIONS: u64 = 10;
/// Figures of the summary that do not depend on when either began to look.
const FIGURES: [&str; 11] = [
    "handshakes",
    "established",
    "refused",
    "reset",
    "unanswered",
    "half_open",
    "segments",
    "data_segments",
    "retransmits",
    "rtt_samples",
    "setup_samples",
];

#[test]
fn live_figures_are_those_of_a_capture() {
    lab::needs_root!();
    let [near, far] = [(); 2].map(|()| Namespace::new().expect("a namespace"));
    near.link_up("lo").expect("every namespace has it");
    near.veth_pair("eth0", &far, "eth0").expect("a cable");
    for (host, number) in [(&near, 1), (&far, 2)] {
        // A capture does not say how many segments are in a packet.
        host.set_segmentation_offloads("eth0", false).expect("a cable allows it");
        for network in [format!("10.1.0.{number}/24"), format!("fd01::{number}/64")] {
            host.add_address("eth0", network.parse().expect("an address")).expect("it is free");
        }
    }
    for (interface, server, addresses) in
        [("lo", &near, ["127.0.0.1", "::1"]), ("eth0", &far, ["10.1.0.2", "fd01::2"])]
    {
        let addresses = addresses.map(|address| address.parse().expect("an address"));
        check(&near, interface, server, addresses);
    }
}

/// Watches an interface and captures there while connections to each address are opened and refused.
fn check(host: &Namespace, interface: &str, server: &Namespace, addresses: [IpAddr; 2]) {
    let servers = addresses
        .map(|address| Server::bind(server, SocketAddr::new(address, OPEN), Mode::Echo).expect("a server"));
    let tcptop = Tcptop::spawn(host, [interface, "--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    let capture = Capture::start(host, interface);
    for (server, address) in servers.iter().zip(addresses) {
        let plan = ClientPlan { exchange: 20_000, ..ClientPlan::new(server.address(), Duration::ZERO) };
        let clients = Clients::with(host, plan).expect("a thread");
        let deadline = Instant::now() + PATIENCE;
        while clients.tally().succeeded < CONNECTIONS {
            assert!(Instant::now() < deadline && clients.tally().failed == 0, "{:?}", clients.tally());
            std::thread::sleep(Duration::from_millis(2));
        }
        drop(clients);
        for _ in 0..3 {
            let refused = connect(host, None, SocketAddr::new(address, CLOSED), PATIENCE);
            assert!(refused.is_err(), "{address} has no server there");
        }
    }
    // The last segments may be under way.
    std::thread::sleep(Duration::from_millis(500));
    let live = summary(tcptop.stop(PATIENCE));
    let replayed = capture.replay(host);
    for figure in FIGURES {
        assert!(live.number(figure).is_some(), "{figure}: {live:?}");
        assert_eq!(
            live.number(figure),
            replayed.number(figure),
            "{interface}, {figure}: {live:?}, {replayed:?}"
        );
    }
    assert!(live.number("established") >= Some(2 * CONNECTIONS), "{live:?}");
    assert_eq!((live.number("refused"), live.number("missed")), (Some(6), Some(0)), "{live:?}");
}

fn summary(objects: anyhow::Result<Vec<Object>>) -> Object {
    objects.expect("it ends well").pop().expect("a summary")
}

/// A capture by tcpdump.
struct Capture {
    tcpdump: Tcptop,
    file: PathBuf,
}

impl Capture {
    fn start(host: &Namespace, interface: &str) -> Self {
        let name = format!("tcptop-kernels-{}-{interface}.pcap", std::process::id());
        let file = std::env::temp_dir().join(name);
        let mut command = Command::new("tcpdump");
        command
            .args(["-i", interface, "-s", "128", "--immediate-mode", "-U", "-Z", "root", "-w"])
            .arg(&file)
            .arg("tcp");
        let tcpdump = Tcptop::spawn_command(host, command).expect("tcpdump is installed");
        tcpdump.wait_stderr(PATIENCE, |line| line.contains("listening on")).expect("it captures");
        Self { tcpdump, file }
    }

    fn replay(self, host: &Namespace) -> Object {
        self.tcpdump.stop(PATIENCE).expect("it ends well");
        let file: &Path = &self.file;
        let tcptop = Tcptop::spawn(host, ["replay".as_ref(), file.as_os_str(), "--json".as_ref()]);
        let output = tcptop.expect("it starts").wait(PATIENCE).expect("it ends");
        std::fs::remove_file(file).expect("it is ours");
        assert!(output.status.success(), "{}", output.stderr);
        Object::parse(output.stdout.last().map_or("", |line| &line.text))
    }
}
