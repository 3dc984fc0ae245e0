//! What it takes to list ten thousand sockets and to join them with the flows that they belong to.
//!
//! Prints a line for each round: milliseconds of processor time to list and decode them, and the same with the join, whose median has a limit. It makes
//! the connections in a network namespace of its own, and needs root for that.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};

use lab::Namespace;
use nix::sys::resource::{Resource, getrlimit, setrlimit};
use probe_common::{
    Direction, Endpoint, Record, SegmentClass, SegmentKind, SegmentRecord, TcpFlags, Transmission,
};
use tcptop::source::sock_diag::{CONNECTED_OR_LISTENING, SockDiag};
use tcptop_core::{Engine, EngineConfig, Input, Socket};

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
    all.sort_by(f64::total_cmp);
    let median = all[all.len() / 2];
    assert!(median <= LIMIT_MS, "{median:.2} ms, limit {LIMIT_MS} ms");
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

/// An engine that has seen the SYNs of all connections, and their answers.
fn engine(sockets: &[Socket]) -> Engine {
    let mut engine = Engine::new(&EngineConfig::default(), 0);
    engine.handle(Input::Interfaces(&BTreeMap::from([(INTERFACE, "lo".to_owned())])));
    let openers = sockets.iter().filter(|socket| !socket.listens() && socket.local.port > socket.remote.port);
    let records: Vec<Record> = openers
        .flat_map(|socket| {
            let (opener, responder) = (socket.local, socket.remote);
            [
                segment(SegmentKind::Syn, [opener, responder], TcpFlags::SYN, [1, 0]),
                segment(SegmentKind::SynAck, [responder, opener], TcpFlags::SYN.with(TcpFlags::ACK), [7, 2]),
                segment(SegmentKind::Ack, [opener, responder], TcpFlags::ACK, [2, 8]),
            ]
        })
        .collect();
    engine.handle(Input::Records(&records));
    engine
}

fn segment(
    kind: SegmentKind,
    [source, destination]: [Endpoint; 2],
    flags: TcpFlags,
    [seq, ack]: [u32; 2],
) -> Record {
    Record::Segment(SegmentRecord {
        time_ns: 1,
        interface: INTERFACE,
        kind,
        direction: Direction::Local,
        source,
        destination,
        seq,
        ack,
        flags,
        payload_len: 0,
        timestamps: Default::default(),
        segments: 1,
        class: SegmentClass::NEW,
        said: Transmission::UNKNOWN,
        dsacks: None,
        volumes: Default::default(),
        encapsulation: Default::default(),
        cookie: 0,
        timebase: 0,
    })
}
