//! Why this host retransmits, as tcptop says, held against what the kernel counts: each cause is brought about by what the wire
//! loses.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::thread;
use std::time::Duration;

use lab::{
    Direction, IpNet, Kind, Link, Match, NEAR, Namespace, Object, Rule, Script, Tcptop, connect, far_v4,
    far_v6, settled,
};

const PATIENCE: Duration = Duration::from_secs(120);
const EACH_WAY: Duration = Duration::from_millis(5);
const QUIET: Duration = Duration::from_millis(100);
/// An address on the wire that nobody has.
const CONTAINER: Ipv4Addr = Ipv4Addr::new(10, 9, 0, 77);
/// Longer than the kernel waits for an answer here: 200 ms and more.
const LATE: Duration = Duration::from_millis(700);

/// What the wire does to the data of a connection to this port, how much it sends, and why it sends what again.
struct Case {
    port: u16,
    rules: fn(Match) -> Vec<Rule>,
    bytes: usize,
    /// By the names of the JSON output, in order.
    causes: &'static [&'static str],
    spurious: u64,
}

const CASES: [Case; 6] = [
    // The last of ten segments: nothing behind it is acknowledged.
    Case {
        port: 80,
        rules: |data| vec![Rule::drop(data.nth(10))],
        bytes: 14_000,
        causes: &["tail_loss_probe"],
        spurious: 0,
    },
    // The only segment, its probe, and what the timer sends first.
    Case {
        port: 81,
        rules: |data| vec![Rule::drop(data.first(3))],
        bytes: 1_000,
        causes: &["tail_loss_probe", "timeout 1", "timeout 2"],
        spurious: 0,
    },
    // One in the middle: those behind it are acknowledged.
    Case {
        port: 82,
        rules: |data| vec![Rule::drop(data.nth(3))],
        bytes: 14_000,
        causes: &["fast"],
        spurious: 0,
    },
    // The whole window, and the probe: what follows the timer's segment is sent by the acknowledgements of it.
    Case {
        port: 83,
        rules: |data| vec![Rule::drop(data.first(5))],
        bytes: 5_600,
        causes: &["tail_loss_probe", "timeout 1", "slow_start", "slow_start", "slow_start"],
        spurious: 0,
    },
    // Two SYNs.
    Case {
        port: 84,
        rules: |data| vec![Rule::drop(Match { kind: Some(Kind::Syn), ..data }.first(2))],
        bytes: 1_000,
        causes: &["timeout 1", "timeout 2"],
        spurious: 0,
    },
    // It is late, and arrives twice.
    Case {
        port: 85,
        rules: |data| vec![Rule::delay(data.nth(1), LATE)],
        bytes: 1_000,
        causes: &["tail_loss_probe"],
        spurious: 1,
    },
];

/// Sends from the near end, and closes it when all has arrived and been acknowledged. Returns the near end's address.
fn carry_out(near: &Namespace, far: &Namespace, server: SocketAddr, bytes: usize) -> SocketAddr {
    let listener = far.run(|| TcpListener::bind(server)).expect("a free port");
    let stream = connect(near, None, server, PATIENCE).expect("a connection");
    let (mut accepted, _) = listener.accept().expect("the connection");
    let local = stream.local_addr().expect("bound");
    (&stream).write_all(&vec![0x5a; bytes]).expect("it is open");
    accepted.read_exact(&mut vec![0; bytes]).expect("all of it");
    let _: [_; 2] = settled([&stream, &accepted], QUIET.max(LATE), PATIENCE).expect("both are open");
    drop::<TcpStream>(stream);
    assert_eq!(accepted.read(&mut [0]).expect("a FIN"), 0);
    local
}

fn said(one: &Object) -> String {
    let cause = one.text("cause").unwrap_or("-");
    one.number("timeouts").map_or_else(|| cause.to_owned(), |timeouts| format!("{cause} {timeouts}"))
}

/// Hard case `causes-of-retransmits`.
#[test]
fn each_cause_is_the_one_that_the_kernel_counts() {
    lab::needs_root!();
    let script = CASES.iter().fold(Script::seeded(1).delay(EACH_WAY), |script, case| {
        let data = Match::kind(Kind::Data).direction(Direction::ToFar).port(case.port);
        (case.rules)(data).into_iter().fold(script, Script::with)
    });
    let link = Link::new(script).expect("a link");
    link.near.set_segmentation_offloads(NEAR, false).expect("a setting");
    let tcptop = Tcptop::spawn(&link.near, [NEAR, "--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    let ends = thread::scope(|scope| {
        let all = CASES.iter().enumerate().map(|(number, case)| {
            let host = if number % 2 == 0 { far_v4(11) } else { far_v6(11) };
            let (near, far) = (&link.near, &link.far);
            scope.spawn(move || carry_out(near, far, (host, case.port).into(), case.bytes))
        });
        let all: Vec<_> = all.collect();
        all.into_iter().map(|one| one.join().expect("it does not panic")).collect::<Vec<_>>()
    });
    tcptop.wait_objects("close", CASES.len(), PATIENCE).expect("all are closed");
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    for (case, local) in CASES.iter().zip(ends) {
        let of_it =
            |one: &&Object| one.local() == local && one.number("remote_port") == Some(case.port.into());
        let resent = objects.iter().filter(|one| one.kind() == "retransmit").filter(of_it);
        assert_eq!(resent.map(said).collect::<Vec<_>>(), case.causes, "port {}", case.port);
        let close = objects.iter().find(|one| one.kind() == "close" && of_it(one)).expect("it was closed");
        assert_eq!(close.object("retransmit_causes").number("spurious"), Some(case.spurious), "{close:?}");
    }
    let summary = objects.last().expect("a summary");
    assert!(summary.list("not_known").is_empty(), "this kernel says all: {summary:?}");
    let causes = summary.object("retransmit_causes");
    let kernel = |name: &str| link.near.tcp_ext_count(name).expect("it counts");
    for (cause, name) in [
        ("timeout", "TCPTimeouts"),
        ("slow_start", "TCPSlowStartRetrans"),
        ("fast", "TCPFastRetrans"),
        ("tail_loss_probe", "TCPLossProbes"),
    ] {
        assert_eq!(causes.number(cause), Some(kernel(name)), "{cause}");
    }
    let sum = link.near.tcp_count("RetransSegs").expect("it counts");
    assert_eq!(
        (objects.last().and_then(|one| one.number("retransmits")), causes.number("unknown")),
        (Some(sum), Some(0))
    );
}

/// A container's packets may pass this host's interface with the container's socket, which may have gone on meanwhile: it is not
/// asked.
#[test]
fn sockets_of_other_namespaces_are_not_asked() {
    lab::needs_root!();
    let data = Match::kind(Kind::Data).direction(Direction::ToFar);
    let link = Link::new(Script::seeded(1).delay(EACH_WAY).with(Rule::drop(data.first(1)))).expect("a link");
    let container = Namespace::new().expect("a container");
    link.near.add_macvlan(NEAR, &container, "eth0").expect("macvlan");
    let address = IpNet::new(CONTAINER.into(), 24).expect("short");
    container.add_address("eth0", address).expect("it is free");
    let tcptop = Tcptop::spawn(&link.near, [NEAR, "--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    let server = (far_v4(11), 80).into();
    let ends = [&container, &link.near].map(|client| carry_out(client, &link.far, server, 1_000));
    tcptop.wait_objects("close", 2, PATIENCE).expect("both are closed");
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    let causes = ends.map(|local| {
        let of_it = objects.iter().filter(|one| one.kind() == "retransmit");
        // The container's end is not this host's.
        let of_it = of_it.filter(|one| one.local() == local || one.remote() == local);
        of_it.map(said).collect::<Vec<_>>()
    });
    assert_eq!(causes, [["-"], ["tail_loss_probe"]]);
}

/// It can be switched off, and then all that is known is what the wire shows.
#[test]
fn without_the_causes_none_is_said() {
    lab::needs_root!();
    let data = Match::kind(Kind::Data).direction(Direction::ToFar);
    let script = Script::seeded(1).delay(EACH_WAY).with(Rule::drop(data.first(1)));
    let link = Link::new(script).expect("a link");
    let tcptop = Tcptop::spawn(&link.near, [NEAR, "--json", "--causes=off"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    carry_out(&link.near, &link.far, (far_v4(11), 80).into(), 1_000);
    tcptop.wait_objects("close", 1, PATIENCE).expect("it is closed");
    let objects = tcptop.stop(PATIENCE).expect("it ends well");
    let resent: Vec<_> = objects.iter().filter(|one| one.kind() == "retransmit").map(said).collect();
    assert_eq!(resent, ["-"]);
    let causes = objects.last().expect("a summary").object("retransmit_causes");
    assert_eq!((causes.number("unknown"), causes.number("tail_loss_probe")), (Some(1), Some(0)));
}
