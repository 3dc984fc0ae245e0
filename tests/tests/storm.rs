//! A storm that nobody reads: what the ring buffer cannot hold is counted, exactly.

use std::net::SocketAddr;
use std::time::Duration;

use lab::{Medium, Mode, Namespace, Port, Server, Signal, Tcptop, capture, connect_many};
use probe_common::segment::mapped;
use probe_common::{Direction, Endpoint, Kind, Record, SegmentClass, TcpFlags, Timestamps};

const PATIENCE: Duration = Duration::from_secs(60);
/// Five records each: more than twice the 30,840 that the ring holds.
const CONNECTIONS: usize = 14_000;
/// SYN, SYN-ACK, ACK and two FINs. A RST on top, or a segment sent again, is counted by the kernel.
const RECORDS_EACH: u64 = 5;

/// An interface that is fed with the same data again and again: each time but the first is a retransmit.
const PORT: &str = "fed0";
/// So many before the storm, which the ring holds, and so many after it.
const RETRANSMITS: u64 = 10_000;

/// Data of a connection that was open before, as a frame of Ethernet.
fn data() -> Vec<u8> {
    let end = |host, port| Endpoint { address: mapped([10, 1, 0, host]), port };
    let segment = Record {
        time_ns: 0,
        interface: 0,
        kind: Kind::Retransmit,
        direction: Direction::Ingress,
        source: end(2, 443),
        destination: end(1, 40_000),
        seq: 1,
        ack: 1,
        flags: TcpFlags::ACK,
        payload_len: 100,
        timestamps: Timestamps::default(),
        segments: 1,
        class: SegmentClass::NEW,
        volumes: Default::default(),
        encapsulation: Default::default(),
        timebase: 0,
    };
    capture::packet(&segment, 1)
}

/// RSTs and repeated segments that this namespace has sent, by the kernel's own count.
fn extras(namespace: &Namespace) -> u64 {
    ["OutRsts", "RetransSegs"].map(|name| namespace.tcp_count(name).expect("it counts")).iter().sum()
}

/// The server may still have to close, or to reset: what passes after tcptop's end is counted by the kernel alone.
fn settle(namespace: &Namespace) {
    let mut before = u64::MAX;
    while before != extras(namespace) {
        before = extras(namespace);
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
}

/// Hard cases `full-ring` and `stalled-reader`: the reader is stopped, the ring overflows, and afterwards what was
/// read and what was lost are together what happened.
#[test]
fn what_the_ring_cannot_hold_is_counted_by_kind() {
    if !lab::require_root() {
        return;
    }
    let namespace = Namespace::new().expect("a namespace");
    let address = SocketAddr::from(([127, 0, 0, 1], 80));
    let server = Server::bind(&namespace, address, Mode::CloseAtOnce).expect("a server");
    let port = Port::new(&namespace, PORT, Medium::Ethernet).expect("an interface");
    let tcptop = Tcptop::spawn(&namespace, ["lo", PORT, "--json"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    let data = data();
    port.send(&data).expect("it is up");
    // What repeats data of a connection that was just learned is no retransmit for 3 ms.
    std::thread::sleep(Duration::from_millis(10));

    tcptop.signal(Signal::SIGSTOP).expect("it stops");
    let send_again = || (0..RETRANSMITS).for_each(|_| port.send(&data).expect("it is up"));
    send_again();
    let made = connect_many(&namespace, server.address(), CONNECTIONS, PATIENCE).unwrap();
    assert_eq!(made, CONNECTIONS);
    send_again();
    tcptop.signal(Signal::SIGCONT).expect("it goes on");
    // The last connection's records were lost, another one's are not: when it is told, all others were.
    connect_many(&namespace, server.address(), 1, PATIENCE).unwrap();
    settle(&namespace);

    let objects = tcptop.stop(PATIENCE).unwrap();
    let summary = objects.last().expect("a summary");
    let count = |name: &str| summary.number(name).unwrap_or_else(|| panic!("no {name} in {summary:?}"));
    let lost: Vec<u64> =
        ["syn", "syn_ack", "ack", "rst", "fin", "data"].map(|kind| count(&format!("lost_{kind}"))).into();
    let lost_records: u64 = lost.iter().sum();
    assert!(lost_records > 0, "the ring held a storm that it cannot hold: {summary:?}");
    assert_eq!(count("lost_data"), RETRANSMITS, "those that found the ring full: {summary:?}");
    let happened = RECORDS_EACH * (CONNECTIONS as u64 + 1) + extras(&namespace) + 2 * RETRANSMITS;
    assert_eq!(count("records") + lost_records, happened, "lost by kind: {lost:?}");
    // All lines at once may be more than a busy machine's test takes in time: those are counted, too.
    assert_eq!(count("lost"), lost_records + count("lost_unwritten"), "nothing else was lost: {summary:?}");
}
