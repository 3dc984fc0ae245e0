//! What it takes to list ten thousand sockets and to join them with the flows that they belong to.
//!
//! Prints a line for each round: milliseconds of processor time to list and decode them, and the same with the join, whose median has a limit. It makes
//! the connections in a network namespace of its own, and needs root for that.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use lab::Namespace;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use probe_common::key::Ends;
use probe_common::{Direction, Endpoint, Volume};
use tcptop::source::sock_diag::{CONNECTED_OR_LISTENING, SockDiag};
use tcptop_core::{Engine, EngineConfig, FlowVolumes, Input, ReaderConfig, SnapshotRequest, Socket, Span};

use cpu::timed;

#[path = "work/cpu.rs"]
mod cpu;

const CONNECTIONS: usize = 5_000;
/// For both ends of all of them, in milliseconds.
const LIMIT_MS: f64 = 20.0;
const INTERFACE: u32 = 1;

fn main() {
    let rounds = std::env::args().skip_while(|word| word != "--rounds").nth(1);
    let rounds: usize = rounds.and_then(|rounds| rounds.parse().ok()).unwrap_or(15);
    let (_, most) = getrlimit(Resource::RLIMIT_NOFILE).expect("it can be asked for");
    setrlimit(Resource::RLIMIT_NOFILE, most, most).expect("it can be raised so far");
    match Namespace::new() {
        Ok(namespace) => namespace.run(|| measure(rounds)),
        Err(error) => eprintln!("not measured, it needs root: {error:#}"),
    }
}

fn measure(rounds: usize) {
    let _connections = connections();
    let mut sockets = Vec::new();
    let mut sock_diag = SockDiag::default();
    list(&mut sock_diag, |some| sockets.extend_from_slice(some));
    assert!(sockets.len() >= 2 * CONNECTIONS, "{} sockets", sockets.len());
    let mut engine = engine(&sockets);
    let mut all = Vec::new();
    for _ in 0..rounds {
        let listed = timed(1, || (), |()| list(&mut sock_diag, |some| assert!(!some.is_empty())));
        let joined = timed(
            1,
            || (),
            |()| {
                list(&mut sock_diag, |sockets| {
                    engine.handle(Input::Sockets { sockets, now_ns: 10, is_last: false });
                });
                engine.handle(Input::Sockets { sockets: &[], now_ns: 10, is_last: true });
            },
        );
        let [listed, joined] = [listed, joined].map(|taken| taken.as_secs_f64() * 1e3);
        println!("{listed:.2} {joined:.2}");
        all.push(joined);
    }
    assert_eq!(measured_connections(&mut engine), CONNECTIONS as u64, "all were joined");
    all.sort_by(f64::total_cmp);
    let median = all[all.len() / 2];
    assert!(median <= LIMIT_MS, "{median:.2} ms, limit {LIMIT_MS} ms");
}

/// How many connections have a round-trip time of the kernel.
fn measured_connections(engine: &mut Engine) -> u64 {
    let reader = engine.add_reader(ReaderConfig::default());
    let request = SnapshotRequest { rows: CONNECTIONS, ..SnapshotRequest::totals(Span::SinceStart) };
    let snapshot = engine.snapshot(reader, &request, 11);
    snapshot.sockets.values().filter_map(|sockets| sockets.rtts).map(|rtts| rtts.connections).sum()
}

fn connections() -> Vec<TcpStream> {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("there is a port");
    let address: SocketAddr = listener.local_addr().expect("it is bound");
    let pair = || [TcpStream::connect(address).expect("it listens"), listener.accept().expect("one waits").0];
    let pairs: Vec<_> = (0..CONNECTIONS).flat_map(|_| pair()).collect();
    pairs
}

fn list(sock_diag: &mut SockDiag, take: impl FnMut(&[Socket])) {
    sock_diag.dump(CONNECTED_OR_LISTENING, take).expect("the kernel lists them");
}

/// An engine that knows the connections of all sockets, as those from before its start.
fn engine(sockets: &[Socket]) -> Engine {
    let mut engine = Engine::new(&EngineConfig::default(), 0);
    engine.handle(Input::Interfaces(&BTreeMap::from([(INTERFACE, "lo".to_owned())])));
    let openers = sockets.iter().filter(|socket| !socket.listens() && socket.local < socket.remote);
    let flows: Vec<FlowVolumes> = openers
        .map(|socket| {
            let ends = [socket.local, socket.remote];
            let volumes = [Volume { segments: 1, ..Volume::default() }; 2];
            FlowVolumes { ends: of(ends), volumes, learned: Some(Direction::Local) }
        })
        .collect();
    assert_eq!(flows.len(), CONNECTIONS);
    engine.handle(Input::Volumes { flows: &flows, now_ns: 1 });
    engine
}

fn of(ends: [Endpoint; 2]) -> Ends {
    let word = |bytes: &[u8]| u64::from_be_bytes(bytes.try_into().expect("eight bytes"));
    let words = |end: Endpoint| [word(&end.address[..8]), word(&end.address[8..])];
    Ends { addresses: ends.map(words), ports: ends.map(|end| end.port), interface: INTERFACE }
}
