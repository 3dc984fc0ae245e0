//! Events of sockets, as `tcptop stats --events` collects them, held against the wire and the kernel's own counts.

use std::fs;
use std::io::{self, Read, Write};
use std::net::{IpAddr, SocketAddr, TcpListener, TcpStream};
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::thread;
use std::time::Duration;

use lab::{Direction, Kind, Link, Match, NEAR, Namespace, Rule, Script, Tcptop, connect, far_v4, far_v6};
use serde_json::Value;

const PATIENCE: Duration = Duration::from_secs(120);
const USUAL: Duration = Duration::from_millis(5);
const SLOW: Duration = Duration::from_millis(150);

fn quick() -> Script {
    Script::seeded(1).delay(USUAL)
}

fn open(link: &Link, to: IpAddr, port: u16) -> [TcpStream; 2] {
    let at = SocketAddr::new(to.to_canonical(), port);
    let listener = link.far.run(|| TcpListener::bind(at)).expect("it is free");
    let opened = connect(&link.near, None, SocketAddr::new(to, port), PATIENCE).expect("it is reached");
    [opened, listener.accept().expect("somebody has connected").0]
}

/// So many requests, each answered before the next.
fn turns([near, far]: &mut [TcpStream; 2], count: usize) {
    for _ in 0..count {
        near.write_all(&[1; 100]).expect("it is open");
        far.read_exact(&mut [0; 100]).expect("it is open");
        far.write_all(&[2; 10]).expect("it is open");
        near.read_exact(&mut [0; 10]).expect("it is open");
    }
}

fn stats(namespace: &Namespace, more: &[&str]) -> Tcptop {
    let arguments = ["stats", "--json", "--interval=100ms"].iter().chain(more);
    let tcptop = Tcptop::spawn(namespace, arguments).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    tcptop
}

/// Waits for an object of the connection's near end that is as wanted, and returns it.
fn wait(tcptop: &Tcptop, near: &TcpStream, wanted: impl Fn(&Value) -> bool) -> Value {
    let port = near.local_addr().expect("it is bound").port();
    let parsed = |line: &str| {
        let object: Value = serde_json::from_str(line).expect("JSON");
        let is_its =
            object["type"] == "stats" && object["local_port"] == port && !object["remote_ip"].is_null();
        is_its.then_some(object)
    };
    let is_wanted = |line: &str| parsed(line).is_some_and(|object| wanted(&object));
    let line = tcptop.wait_stdout(PATIENCE, is_wanted).expect("it is told");
    parsed(&line.text).expect("it was just parsed")
}

fn number(object: &Value, table: &str, name: &str) -> f64 {
    let value = &object["tables"][table][name];
    value.as_f64().unwrap_or_else(|| panic!("{table} {name} is {value}: {object}"))
}

/// One after the other: what one switches on in sockets another would see.
static ALONE: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ALONE.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Polling sees what the kernel has smoothed; a single sample is over before the next list.
#[test]
fn a_single_slow_round_trip_shows_in_the_longest() {
    lab::needs_root!();
    let _alone = alone();
    let link = Link::new(quick()).expect("a link");
    let tcptop = stats(&link.near, &["--events=sums"]);
    let mut ends = open(&link, far_v4(11), 80);
    turns(&mut ends, 10);
    let count = |object: &Value| object["tables"]["Path"]["CountRTT"].as_f64();
    let before = wait(&tcptop, &ends[0], |object| count(object) >= Some(10.0));
    assert!(number(&before, "Path", "MinRTT") >= 10.0, "{before}");
    link.wire.set_script(Script::seeded(1).delay(SLOW));
    turns(&mut ends, 1);
    link.wire.set_script(quick());
    turns(&mut ends, 10);
    let whole = number(&before, "Path", "CountRTT") + 10.0;
    let after = wait(&tcptop, &ends[0], |object| count(object) >= Some(whole));
    assert!(number(&after, "Path", "MaxRTT") >= 300.0, "{after}");
    assert_eq!(after["events_from_start"], true);
    let [count, sum, max] = ["CountRTT", "SumRTT", "MaxRTT"].map(|name| number(&after, "Path", name));
    assert!(sum >= max + (count - 1.0) * 10.0, "{after}");
    assert!(
        number(&after, "Path", "SampleRTT") <= max && !after["tables"]["Perf"]["StartTimeStamp"].is_null()
    );
    // A turn has taken no less than its way.
    assert!(number(&after, "Perf", "ElapsedMicroSecs") >= 10_000.0 * 20.0 + 300_000.0, "{after}");
}

/// What the wire loses, as the kernel counts it for the network namespace.
#[test]
fn signals_of_congestion_are_those_that_the_kernel_counts() {
    lab::needs_root!();
    let _alone = alone();
    let lossy = quick().with(Rule::lose(Match::kind(Kind::Data).direction(Direction::ToFar), 0.03));
    let link = Link::new(lossy).expect("a link");
    let tcptop = stats(&link.near, &["--events=segments"]);
    let wire = Tcptop::spawn(&link.near, [NEAR, "--json"]).expect("it starts");
    wire.wait_ready(PATIENCE).expect("it attaches");
    for (turn, to) in [far_v4(11), far_v6(11)].into_iter().enumerate() {
        let counts = || {
            ["TCPSackRecovery", "TCPTimeouts", "TCPSACKDiscard"]
                .map(|name| link.near.tcp_ext_count(name).expect("it counts"))
        };
        let before = counts();
        let ends = open(&link, to, 80);
        let [mut near, far] = [&ends[0], &ends[1]];
        thread::scope(|scope| {
            scope.spawn(move || near.write_all(&vec![0x5a; 1_500_000]).expect("it is open"));
            let received = io::copy(&mut far.take(1_500_000), &mut io::sink()).expect("it is open");
            assert_eq!(received, 1_500_000);
        });
        // All is acknowledged, and the sums are those of the end.
        let now = wait(&tcptop, &ends[0], |object| {
            let acked = number(object, "App", "SndUna") == number(object, "App", "SndNxt");
            acked
                && number(object, "App", "CurAppWQueue") == 0.0
                && number(object, "Perf", "CongSignals") > 0.0
        });
        let [recoveries, timeouts, _] = counts();
        let value = |table, name| number(&now, table, name);
        assert_eq!(value("Stack", "FastRetran"), (recoveries - before[0]) as f64, "{now}");
        let counted = value("Perf", "Timeouts") + value("Stack", "SubsequentTimeouts");
        assert_eq!(counted, (timeouts - before[1]) as f64, "{now}");
        // Each entry into recovery is a signal; so is each first timeout.
        assert!(value("Perf", "CongSignals") >= value("Stack", "FastRetran"), "{now}");
        assert!(value("Path", "PreCongSumCwnd") > 0.0 && value("Path", "PreCongSumRTT") >= 10.0, "{now}");
        assert!(value("Path", "PostCongCountRTT") <= value("Perf", "CongSignals"), "{now}");
        // Holes are told in blocks, and by acknowledgments that are the same again.
        assert!(value("Stack", "SACKBlocksRcvd") >= value("Stack", "SACKsRcvd"), "{now}");
        assert!(value("Stack", "SACKsRcvd") > 0.0 && value("Stack", "DupAcksIn") > 0.0, "{now}");
        assert_eq!((value("Path", "IpTtl"), value("Path", "IpTosIn")), (64.0, 0.0), "{now}");
        // What was sent, by the numbers of the SYNs that passed the wire.
        let handshake =
            wire.wait_objects("handshake", turn + 1, PATIENCE).expect("it is seen").pop().expect("one");
        assert_eq!(handshake.number("client_isn").map(|isn| isn as f64), Some(value("Stack", "SndInitial")));
        assert_eq!(handshake.number("server_isn").map(|isn| isn as f64), Some(value("Stack", "RecInitial")));
        assert_eq!(value("App", "ThruOctetsAcked"), 1_500_000.0, "{now}");
    }
}

/// Nothing is written to sockets from before unless that is asked for; and when it was, that ends with tcptop.
#[test]
fn sockets_from_before_are_left_alone_unless_that_is_asked_for() {
    lab::needs_root!();
    let _alone = alone();
    let link = Link::new(quick()).expect("a link");
    let mut ends = open(&link, far_v4(11), 80);
    turns(&mut ends, 2);
    let tcptop = stats(&link.near, &["--events=sums"]);
    turns(&mut ends, 5);
    let left = wait(&tcptop, &ends[0], |object| number(object, "Perf", "DataSegsOut") >= 7.0);
    assert!(left["events_from_start"].is_null() && left["tables"]["Path"]["MaxRTT"].is_null(), "{left}");
    assert!(left["tables"]["App"]["SndUna"].is_number(), "what the kernel keeps needs no event: {left}");
    tcptop.stop(PATIENCE).expect("it ends well");
    // Twice: what the first one leaves does not hinder the second.
    for _ in 0..2 {
        let tcptop = stats(&link.near, &["--events=sums", "--existing"]);
        turns(&mut ends, 5);
        let woken =
            wait(&tcptop, &ends[0], |object| object["tables"]["Path"]["CountRTT"].as_u64() >= Some(5));
        assert_eq!(woken["events_from_start"], false, "{woken}");
        assert!(woken["tables"]["Perf"]["ElapsedSecs"].is_null(), "{woken}");
        tcptop.stop(PATIENCE).expect("it ends well");
    }
}

/// A control group of version 2, gone with this.
struct Group(PathBuf);

impl Group {
    fn new() -> Self {
        let mounts = fs::read_to_string("/proc/self/mounts").expect("there is /proc");
        let root = mounts.lines().find_map(|line| match line.split(' ').collect::<Vec<_>>()[..] {
            [_, path, "cgroup2", ..] => Some(path.to_owned()),
            _ => None,
        });
        let path =
            PathBuf::from(root.expect("it is mounted")).join(format!("tcptop-lab-{}", std::process::id()));
        fs::create_dir(&path).expect("root may");
        Self(path)
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // The kernel removes what is in it.
        drop(fs::remove_dir(&self.0));
    }
}

#[test]
fn only_the_sockets_of_the_control_group_are_watched() {
    lab::needs_root!();
    let _alone = alone();
    let link = Link::new(quick()).expect("a link");
    let group = Group::new();
    let elsewhere = format!("--cgroup={}", group.0.display());
    for (cgroup, is_watched) in [(elsewhere.as_str(), false), ("--cgroup=self", true)] {
        let tcptop = stats(&link.near, &["--events=sums", cgroup]);
        let mut ends = open(&link, far_v6(11), 80);
        turns(&mut ends, 3);
        let told = wait(&tcptop, &ends[0], |object| number(object, "Perf", "DataSegsOut") >= 3.0);
        assert_eq!(told["events_from_start"].is_null(), !is_watched, "{told}");
        tcptop.stop(PATIENCE).expect("it ends well");
    }
    let wrong = Tcptop::spawn(&link.near, ["stats", "--events=sums", "--cgroup=/proc"]).expect("it starts");
    let wrong = wrong.wait(PATIENCE).expect("it ends");
    assert!(!wrong.status.success() && wrong.stderr.contains("no control group"), "{wrong:?}");
}

/// Of IPv4, of IPv6, and of IPv4 by a socket of IPv6.
#[test]
fn each_change_of_a_state_is_told() {
    lab::needs_root!();
    let _alone = alone();
    let link = Link::new(quick()).expect("a link");
    let tcptop = Tcptop::spawn(&link.near, ["stats", "--events=state", "--json", "--filter=port:80"])
        .expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    let IpAddr::V4(v4) = far_v4(12) else { panic!("it is one") };
    let mut ports = Vec::new();
    for to in [far_v4(11), far_v6(11), v4.to_ipv6_mapped().into()] {
        let [near, mut far] = open(&link, to, 80);
        ports.push((near.local_addr().expect("it is bound").port(), to.to_canonical()));
        drop(near);
        assert_eq!(far.read(&mut [0]).expect("a FIN"), 0);
    }
    // The far side's sockets are told, too: by the same port.
    let ended = |tcptop: &Tcptop| {
        let objects = tcptop.stdout().into_iter().map(|line| lab::Object::parse(&line.text));
        let near = objects.filter(|one| one.kind() == "state_change" && one.remote().port() == 80);
        near.filter(|one| one.text("new_state") == Some("close")).count()
    };
    let begun = std::time::Instant::now();
    while ended(&tcptop) < ports.len() {
        assert!(begun.elapsed() < PATIENCE, "{:?}", tcptop.stdout());
        thread::sleep(Duration::from_millis(20));
    }
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    for (port, to) in ports {
        let its = objects.iter().filter(|one| {
            one.kind() == "state_change" && one.local().port() == port && one.remote().ip() == to
        });
        let states: Vec<_> = its.map(|one| (one.text("old_state"), one.text("new_state"))).collect();
        let expected = ["close", "syn_sent", "established", "fin_wait_1", "fin_wait_2", "close"].map(Some);
        let expected: Vec<_> = expected.windows(2).map(|pair| (pair[0], pair[1])).collect();
        assert_eq!(states, expected, "port {port}");
    }
    let totals = objects.last().expect("totals");
    assert_eq!((totals.kind(), totals.number("missed")), ("state_changes", Some(0)), "{totals:?}");
}

/// Instructions that the verifier may walk for a program, as for those at the interfaces.
const BUDGET: u32 = 100_000;

#[test]
fn every_program_is_within_the_verifiers_budget() {
    lab::needs_root!();
    let _alone = alone();
    let here = Namespace::new().expect("a namespace");
    let all: [(&[&str], &[&str]); 3] = [
        (
            &["stats", "--events=segments", "--existing"],
            &["socket_sums", "congestion_sums", "segment_sums", "socket_list", "socket_wake", "socket_rest"],
        ),
        (&["stats", "--events=state"], &["socket_states"]),
        (&["retransmits"], &["segment_retransmitted", "syn_ack_retransmitted"]),
    ];
    for (arguments, programs) in all {
        let tcptop = Tcptop::spawn(&here, arguments).expect("it starts");
        tcptop.wait_ready(PATIENCE).expect("it attaches");
        let loaded: Vec<_> = aya::programs::loaded_programs().flatten().collect();
        for name in programs {
            // The kernel keeps 15 bytes of a name.
            let kept = &name[..name.len().min(15)];
            let its = loaded.iter().filter(|program| program.name_as_str() == Some(kept));
            let counts: Vec<_> = its.map(|program| program.verified_instruction_count()).collect();
            eprintln!("{name}: {counts:?} instructions verified");
            assert!(!counts.is_empty(), "{name} is not loaded");
            assert!(counts.iter().flatten().all(|count| *count <= BUDGET), "{name}: {counts:?}");
        }
    }
}
