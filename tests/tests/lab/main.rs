//! Tests of the lab itself: what the end-to-end tests rely on, in real namespaces.

mod data;

use std::fs;
use std::io::{ErrorKind, Read, Write};
use std::net::{IpAddr, SocketAddr};
use std::os::unix::process::ExitStatusExt;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use lab::{
    Cable, ClientPlan, Clients, Direction, Link, Match, Medium, Mode, NEAR, Namespace, Rule, Script, Server,
    Signal, Tcptop, Wire, connect, connect_many, far_v4, far_v6, near_v4,
};
use nix::sys::signal::SigHandler;

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(20);
const MS: Duration = Duration::from_millis(1);

fn at(host: IpAddr, port: u16) -> SocketAddr {
    SocketAddr::new(host, port)
}

fn timed_connect(link: &Link, remote: SocketAddr) -> Duration {
    let started = Instant::now();
    connect(&link.near, None, remote, PATIENCE).expect("a server is there");
    started.elapsed()
}

#[test]
fn a_delay_is_never_cut_short_in_either_family() {
    lab::needs_root!();
    let link = Link::new(Script::default().delay(20 * MS)).unwrap();
    for host in [far_v4(11), far_v6(11)] {
        let server = Server::bind(&link.far, at(host, 80), Mode::CloseAtOnce).unwrap();
        for _ in 0..10 {
            let took = timed_connect(&link, server.address());
            assert!(took >= 40 * MS && took < 400 * MS, "{host}: {took:?}");
        }
    }
}

#[test]
fn no_resolution_comes_before_a_first_syn() {
    lab::needs_root!();
    let link = Link::new(Script::default()).unwrap();
    let table = link.near.run(|| fs::read_to_string("/proc/thread-self/net/arp")).unwrap();
    let entry = table.lines().find(|line| line.starts_with("10.9.0.11 ")).expect("an entry");
    // ATF_COM and ATF_PERM of <linux/if_arp.h>
    assert_eq!(entry.split_whitespace().nth(2), Some("0x6"), "{table}");
}

#[test]
fn an_address_can_have_its_own_delay() {
    lab::needs_root!();
    let slow = Rule::delay(Match::any().address(far_v4(14)), 180 * MS);
    let link = Link::new(Script::default().with(slow)).unwrap();
    let _far = Server::bind(&link.far, at(far_v4(14), 80), Mode::CloseAtOnce).unwrap();
    let _close = Server::bind(&link.far, at(far_v4(11), 80), Mode::CloseAtOnce).unwrap();
    assert!(timed_connect(&link, at(far_v4(11), 80)) < 180 * MS);
    assert!(timed_connect(&link, at(far_v4(14), 80)) >= 360 * MS);
}

#[test]
fn a_dropped_first_syn_is_retransmitted_after_a_second() {
    lab::needs_root!();
    let link = Link::new(Script::default().with(Rule::drop(Match::syn().first(1)))).unwrap();
    let server = Server::bind(&link.far, at(far_v4(11), 80), Mode::CloseAtOnce).unwrap();
    assert!(timed_connect(&link, server.address()) >= 1000 * MS);
    assert_eq!(link.wire.counters(Direction::ToFar).dropped, 1);
}

/// Which of 16 connections got through a wire that loses half of all SYNs. Each gives up well before it would
/// retransmit its SYN.
fn pattern(seed: u64) -> Vec<bool> {
    let link = Link::new(Script::seeded(seed).with(Rule::lose(Match::syn(), 0.5))).expect("a lab of its own");
    let server = Server::bind(&link.far, at(far_v4(11), 80), Mode::CloseAtOnce).expect("a lab of its own");
    let connects = || connect(&link.near, None, server.address(), 300 * MS).is_ok();
    let pattern: Vec<_> = (0..16).map(|_| connects()).collect();
    let lost = pattern.iter().filter(|through| !**through).count();
    assert_eq!(link.wire.counters(Direction::ToFar).lost, lost as u64);
    pattern
}

#[test]
fn the_seed_decides_what_is_lost() {
    lab::needs_root!();
    let runs = [7, 7, 8].map(|seed| thread::spawn(move || pattern(seed)));
    let [first, again, other] = runs.map(|run| run.join().unwrap());
    assert_eq!(first, again);
    assert_ne!(first, other);
}

#[test]
fn a_port_can_lose_every_syn_ack() {
    lab::needs_root!();
    let link = Link::new(Script::default().with(Rule::drop(Match::syn_ack().port(81)))).unwrap();
    let _open = Server::bind(&link.far, at(far_v4(11), 80), Mode::CloseAtOnce).unwrap();
    let _mute = Server::bind(&link.far, at(far_v4(11), 81), Mode::CloseAtOnce).unwrap();
    connect(&link.near, None, at(far_v4(11), 80), PATIENCE).unwrap();
    let error = connect(&link.near, None, at(far_v4(11), 81), 200 * MS).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::TimedOut);
    let refused = connect(&link.near, None, at(far_v4(11), 82), PATIENCE).unwrap_err();
    assert_eq!(refused.kind(), ErrorKind::ConnectionRefused);
}

#[test]
fn a_script_can_change_under_way() {
    lab::needs_root!();
    let link = Link::new(Script::default().with(Rule::drop(Match::any()))).unwrap();
    let server = Server::bind(&link.far, at(far_v4(11), 80), Mode::CloseAtOnce).unwrap();
    connect(&link.near, None, server.address(), 100 * MS).unwrap_err();
    link.wire.set_script(Script::default());
    connect(&link.near, None, server.address(), PATIENCE).unwrap();
}

#[test]
fn steady_clients_come_until_dropped() {
    lab::needs_root!();
    let link = Link::new(Script::default()).unwrap();
    let server = Server::bind(&link.far, at(far_v4(12), 7), Mode::Echo).unwrap();
    let plan = ClientPlan { exchange: 100_000, ..ClientPlan::new(server.address(), MS) };
    let clients = Clients::with(&link.near, plan).unwrap();
    link.wire.wait_for(Direction::ToFar, PATIENCE, |counters| counters.forwarded >= 1000).expect("traffic");
    assert!(clients.tally().succeeded > 0, "{:?}", clients.tally());
    assert_eq!(clients.tally().failed, 0);
    assert!(server.accepted() >= clients.tally().succeeded);

    let mute = Clients::every(&link.near, at(far_v4(12), 9), MS).unwrap();
    link.wire.set_script(Script::default().with(Rule::drop(Match::any())));
    link.wire.wait_for(Direction::ToFar, PATIENCE, |counters| counters.dropped > 0).expect("a SYN");
    let started = Instant::now();
    drop((clients, mute));
    assert!(started.elapsed() < Duration::from_secs(5), "a drop must not wait for pending connections");
}

#[test]
fn many_connections_and_a_local_address() {
    lab::needs_root!();
    let link = Link::new(Script::default()).unwrap();
    let server = Server::bind(&link.far, at(far_v4(11), 80), Mode::CloseAtOnce).unwrap();
    assert_eq!(connect_many(&link.near, server.address(), 500, PATIENCE).unwrap(), 500);
    let local = at(near_v4(3), 0);
    let stream = connect(&link.near, Some(local), server.address(), PATIENCE).unwrap();
    assert_eq!(stream.local_addr().unwrap().ip(), local.ip());

    let resetting = Server::bind(&link.far, at(far_v4(11), 81), Mode::ResetAtOnce).unwrap();
    // The RST may arrive before the connecting thread has checked its connection.
    let connected = connect(&link.near, None, resetting.address(), PATIENCE);
    let error = connected.and_then(|mut stream| stream.read(&mut [0])).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
}

#[test]
fn a_wire_without_link_layer() {
    lab::needs_root!();
    let link = Link::over(Medium::Ip, Script::default().delay(5 * MS)).unwrap();
    for host in [far_v4(30), far_v6(30)] {
        let server = Server::bind(&link.far, at(host, 80), Mode::CloseAtOnce).unwrap();
        assert!(timed_connect(&link, server.address()) >= 10 * MS);
    }
}

#[test]
fn interfaces_go_down_are_renamed_deleted_and_come_back() {
    lab::needs_root!();
    let link = Link::new(Script::default()).unwrap();
    let remote = at(far_v4(11), 80);
    let _server = Server::bind(&link.far, remote, Mode::CloseAtOnce).unwrap();
    link.near.link_down(NEAR).unwrap();
    connect(&link.near, None, remote, 100 * MS).unwrap_err();
    link.near.link_up(NEAR).unwrap();
    connect(&link.near, None, at(far_v4(11), 80), PATIENCE).unwrap();

    let index = link.near.link_index(NEAR).unwrap();
    link.near.rename_link(NEAR, "other0").unwrap();
    assert_eq!(link.near.link_index("other0").unwrap(), index);
    link.near.delete_link("other0").unwrap();
    assert_eq!(link.near.interfaces().unwrap(), ["lo"]);

    let link = link.replug(Script::default()).unwrap();
    connect(&link.near, None, remote, PATIENCE).unwrap();
}

#[test]
fn a_dropped_wire_leaves_nothing() {
    lab::needs_root!();
    let (near, far) = (Namespace::new().unwrap(), Namespace::new().unwrap());
    let wire = Wire::between(&near, "gone0", &far, "gone1", Script::default()).unwrap();
    assert_eq!(near.interfaces().unwrap(), ["gone0", "lo"]);
    assert_eq!(far.interfaces().unwrap(), ["gone1", "lo"]);
    assert!(threads().contains(&"wire gone0".to_owned()));
    drop(wire);
    assert_eq!(near.interfaces().unwrap(), ["lo"]);
    assert_eq!(far.interfaces().unwrap(), ["lo"]);
    // The kernel wakes a joining thread just before the ended thread disappears from the list.
    let deadline = Instant::now() + PATIENCE;
    while threads().contains(&"wire gone0".to_owned()) {
        assert!(Instant::now() < deadline, "the wire's thread is left");
        thread::yield_now();
    }
}

/// Names of this process's threads.
fn threads() -> Vec<String> {
    let tasks = fs::read_dir("/proc/self/task").expect("procfs is mounted");
    let name = |task: fs::DirEntry| fs::read_to_string(task.path().join("comm")).ok();
    tasks.filter_map(|task| name(task.ok()?)).map(|name| name.trim_end().to_owned()).collect()
}

#[test]
fn pairs_addresses_routes_and_settings() {
    lab::needs_root!();
    let [one, two, three] = [(); 3].map(|()| Namespace::new().unwrap());
    one.veth_pair("eth0", &two, "eth0").unwrap();
    two.veth_pair("eth1", &three, "eth0").unwrap();
    for (namespace, interface, address) in [
        (&one, "eth0", "10.1.0.1/24"),
        (&two, "eth0", "10.1.0.2/24"),
        (&two, "eth1", "10.2.0.2/24"),
        (&three, "eth0", "10.2.0.3/24"),
        (&three, "eth0", "fd02::3/64"),
    ] {
        namespace.add_address(interface, address.parse().unwrap()).unwrap();
    }
    two.set_sysctl("net/ipv4/ip_forward", "1").unwrap();
    assert_eq!(two.sysctl("net/ipv4/ip_forward").unwrap(), "1");
    assert_eq!(one.sysctl("net/ipv4/ip_forward").unwrap(), "0", "a setting is of one namespace");
    one.set_sysctl("kernel/hostname", "lab").unwrap_err();
    one.add_route("0.0.0.0/0".parse().unwrap(), "10.1.0.2".parse().unwrap()).unwrap();
    three.add_route("10.1.0.0/24".parse().unwrap(), "10.2.0.2".parse().unwrap()).unwrap();

    let server = Server::bind(&three, "10.2.0.3:80".parse().unwrap(), Mode::HoldOpen).unwrap();
    connect(&one, None, server.address(), PATIENCE).unwrap();
    let own = Server::bind(&three, "[fd02::3]:80".parse().unwrap(), Mode::HoldOpen).unwrap();
    connect(&three, None, own.address(), PATIENCE).unwrap();
    let loopback = Server::bind(&one, "[::1]:0".parse().unwrap(), Mode::HoldOpen).unwrap();
    connect(&one, None, loopback.address(), PATIENCE).unwrap();
}

/// Set for the child processes below; without it, in an ordinary run, these tests return immediately.
const CHILD: &str = "LAB_CHILD";

/// This executable, with arguments to run one of the child processes below.
fn child(name: &str) -> Command {
    let mut command = Command::new(std::env::current_exe().expect("procfs is mounted"));
    command.args(["--exact", name, "--nocapture"]).env(CHILD, name);
    command
}

#[test]
fn child_stays() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    let listed = nix::net::if_::if_nameindex().unwrap();
    let names: Vec<_> = listed.iter().map(|one| one.name().to_string_lossy().into_owned()).collect();
    println!("\nsees {}", names.join(" "));
    eprintln!("\nwatching {NEAR} (tcx)");
    loop {
        thread::park();
    }
}

#[test]
fn child_ends() {
    if std::env::var_os(CHILD).is_none() {
        return;
    }
    eprintln!("\nerror: out of luck");
}

#[test]
fn a_child_process_is_inside_and_obeys() {
    lab::needs_root!();
    let namespace = Namespace::new().unwrap();
    let child = Tcptop::spawn_command(&namespace, child("child_stays")).unwrap();
    child.wait_ready(PATIENCE).unwrap();
    let line = child.wait_stdout(PATIENCE, |line| line.starts_with("sees")).unwrap();
    assert_eq!(line.text, "sees lo");
    child.wait_stdout(10 * MS, |line| line == "never").unwrap_err();
    child.signal(Signal::SIGTERM).unwrap();
    let output = child.wait(PATIENCE).unwrap();
    assert_eq!(output.status.signal(), Some(Signal::SIGTERM as i32));
    assert!(output.stdout.contains(&line));
    assert!(output.stderr.contains("watching near0 (tcx)"), "{}", output.stderr);
}

#[test]
fn a_child_process_that_ends_early_is_an_error() {
    lab::needs_root!();
    let namespace = Namespace::new().unwrap();
    let child = Tcptop::spawn_command(&namespace, child("child_ends")).unwrap();
    let error = child.wait_ready(PATIENCE).unwrap_err().to_string();
    assert!(error.contains("tcptop ended") && error.contains("out of luck"), "{error}");
    assert!(child.wait(PATIENCE).unwrap().status.success());
}

#[test]
fn a_child_process_dies_with_the_thread_that_spawned_it() {
    lab::needs_root!();
    let spawn = || Tcptop::spawn_command(&Namespace::new().unwrap(), child("child_stays")).unwrap();
    let orphan = thread::spawn(spawn).join().unwrap();
    let output = orphan.wait(PATIENCE).unwrap();
    assert_eq!(output.status.signal(), Some(Signal::SIGKILL as i32));
}

/// As under `nohup`, which ignores SIGHUP.
#[test]
fn a_child_process_ignores_no_signal() {
    lab::needs_root!();
    // SAFETY: to ignore a signal runs no code of ours.
    unsafe { nix::sys::signal::signal(Signal::SIGUSR2, SigHandler::SigIgn) }.unwrap();
    // Signals from 32 on are the C library's.
    let ignored = |namespace: Option<&Namespace>| {
        let mut command = Command::new("grep");
        command.args(["SigIgn:", "/proc/self/status"]);
        if let Some(namespace) = namespace {
            namespace.enter_command(&mut command);
        }
        let output = command.output().unwrap().stdout;
        let mask = str::from_utf8(&output).unwrap().split_whitespace().last().unwrap();
        u64::from_str_radix(mask, 16).unwrap() & 0x7fff_ffff
    };
    assert_ne!(ignored(None), 0);
    assert_eq!(ignored(Some(&Namespace::new().unwrap())), 0);
}

#[test]
fn without_offloads_no_packet_on_a_cable_is_longer_than_the_mtu() {
    lab::needs_root!();
    const SENT: usize = 1_000_000;
    let cable = Cable::new(false).unwrap();
    let server = Server::bind(&cable.far, at(far_v4(49), 80), Mode::Echo).unwrap();
    let mut stream = connect(&cable.near, None, server.address(), PATIENCE).unwrap();
    let before = cable.near.packets(NEAR).unwrap();
    let mut reader = stream.try_clone().unwrap();
    let echoed = thread::spawn(move || reader.read_exact(&mut vec![0; SENT]));
    stream.write_all(&vec![0; SENT]).unwrap();
    echoed.join().unwrap().unwrap();
    let after = cable.near.packets(NEAR).unwrap();
    for way in [0, 1] {
        let packets = after[way] - before[way];
        assert!(packets >= (SENT / 1_500) as u64, "{packets} packets");
    }
    assert!(cable.near.packets("near").is_err(), "a name that is only the beginning of one");
}
