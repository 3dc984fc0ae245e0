//! What the kernel counts for the whole host, whichever interfaces are watched.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::thread;
use std::time::{Duration, Instant};

use lab::{Direction, Link, Match, NEAR, Namespace, Rule, Script, Tcptop, connect, far_v4, near_v4};

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(60);
const PORT: u16 = 80;

/// One of the namespace's counts in `/proc/net/netstat`.
fn count(namespace: &Namespace, name: &str) -> u64 {
    let text = namespace.run(|| fs::read_to_string("/proc/thread-self/net/netstat")).expect("it is there");
    let mut lines = text.lines().filter_map(|line| line.strip_prefix("TcpExt: "));
    let (names, values) = lines.next().zip(lines.next()).expect("names and values");
    let value = names.split(' ').zip(values.split(' ')).find(|(known, _)| *known == name);
    value.and_then(|(_, value)| value.parse().ok()).unwrap_or_else(|| panic!("no {name}"))
}

/// Waits until a count is as large.
fn wait_for(namespace: &Namespace, name: &str, least: u64) {
    let start = Instant::now();
    while count(namespace, name) < least {
        assert!(start.elapsed() < PATIENCE, "{name} stays below {least}");
        thread::sleep(Duration::from_millis(50));
    }
}

/// A listener accepts nothing: what its full queue drops is in no record, and counted by the kernel.
#[test]
fn a_full_accept_queue_is_counted() {
    lab::needs_root!();
    let link = Link::new(Script::seeded(1)).expect("a link");
    link.near.set_sysctl("net/core/somaxconn", "1").expect("a setting");
    let server = SocketAddr::new(near_v4(1), PORT);
    let listener = link.near.run(|| TcpListener::bind(server)).expect("a free port");
    let before = count(&link.near, "ListenOverflows");
    let tcptop = Tcptop::spawn(&link.near, [NEAR, "--report"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    let clients: Vec<_> = (0..6)
        .map(|_| {
            let far = link.far.clone();
            thread::spawn(move || connect(&far, None, server, Duration::from_secs(2)))
        })
        .collect();
    wait_for(&link.near, "ListenOverflows", before + 3);
    let connected: Vec<_> = clients.into_iter().map(|client| client.join().expect("it ends")).collect();
    // No queue overflows without a listener.
    drop((connected, listener));
    let dropped = count(&link.near, "ListenOverflows") - before;
    tcptop.signal(nix::sys::signal::Signal::SIGINT).expect("it runs");
    let output = tcptop.wait(PATIENCE).expect("it ends");
    let report: Vec<String> = output.stdout.into_iter().map(|line| line.text).collect();
    let line = report.iter().find(|line| line.starts_with("this host: ")).expect("it is said");
    assert!(line.contains(&format!("{dropped} accept queue overflows (last ")), "{line}");
}

/// What is retransmitted on an interface that is not watched is no contradiction, and the report says so.
#[test]
fn retransmits_of_other_interfaces_are_no_contradiction() {
    lab::needs_root!();
    let lossy = Rule::drop(Match::syn().direction(Direction::ToFar).first(1));
    let link = Link::new(Script::seeded(1).with(lossy)).expect("a link");
    let server = SocketAddr::new(far_v4(11), PORT);
    let listener = link.far.run(|| TcpListener::bind(server)).expect("a free port");
    for (interface, said) in [
        ("lo", "kernel: this host retransmitted 1 (1 SYN and SYN-ACK); seen: 0 (0 SYN and SYN-ACK): "),
        (NEAR, "kernel: this host retransmitted 1 (1 SYN and SYN-ACK), as was seen"),
    ] {
        let tcptop = Tcptop::spawn(&link.near, [interface, "--report"]).expect("it starts");
        tcptop.wait_ready(PATIENCE).expect("it attaches");
        drop(connect(&link.near, None, server, PATIENCE).expect("the second SYN arrives"));
        tcptop.signal(nix::sys::signal::Signal::SIGINT).expect("it runs");
        let output = tcptop.wait(PATIENCE).expect("it ends");
        let report: Vec<String> = output.stdout.into_iter().map(|line| line.text).collect();
        let line = report.iter().find(|line| line.starts_with("kernel: ")).expect("it is said");
        assert!(line.starts_with(said), "{line}");
        let names_other = line.contains(&format!("other interfaces are not watched: {NEAR}"));
        assert_eq!(names_other, interface == "lo", "{line}");
    }
    drop(listener);
}
