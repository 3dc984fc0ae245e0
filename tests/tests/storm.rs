//! A storm of records while the reader is stopped: what the ring buffer cannot hold is counted exactly.

use std::net::SocketAddr;
use std::time::Duration;

use lab::conversation::{segment, v4};
use lab::{Medium, Mode, Namespace, Port, Server, Signal, Tcptop, capture, connect_many};
use probe_common::{SegmentRecord, TcpFlags};

const PATIENCE: Duration = Duration::from_secs(60);
/// Five records each: more than twice the 30,840 that the ring holds.
const CONNECTIONS: usize = 14_000;
/// SYN, SYN-ACK, ACK and two FINs. Additional RSTs and retransmits are read from the kernel's counters.
const RECORDS_EACH: u64 = 5;

/// An interface on which the same data is sent again and again: each time but the first is a retransmit.
const PORT: &str = "fed0";
/// Retransmits before the storm, which the ring holds; and again as many in it, which find it full.
const RETRANSMITS: u64 = 10_000;

/// Data of a mid-stream connection, as an Ethernet frame.
fn data() -> Vec<u8> {
    let ends = [v4([10, 1, 0, 2], 443), v4([10, 1, 0, 1], 40_000)];
    let segment =
        SegmentRecord { seq: 1, ack: 1, payload_len: 100, ..segment(ends[0], ends[1], TcpFlags::ACK) };
    capture::packet(&segment, 1)
}

/// RSTs and retransmits that this namespace has sent, by the kernel's counters.
fn extras(namespace: &Namespace) -> u64 {
    ["OutRsts", "RetransSegs"].map(|name| namespace.tcp_count(name).expect("it counts")).iter().sum()
}

/// Waits until the server has closed or reset everything: what passes after tcptop ends is counted by the kernel alone.
fn settle(namespace: &Namespace) {
    let mut before = u64::MAX;
    while before != extras(namespace) {
        before = extras(namespace);
        std::thread::sleep(std::time::Duration::from_millis(300));
    }
}

/// Hard cases `full-ring` and `stalled-reader`: the reader is stopped and the ring overflows; afterwards the records
/// read and those missed add up to what happened.
#[test]
fn missed_records_are_counted_by_kind() {
    lab::needs_root!();
    let namespace = Namespace::new().expect("a namespace");
    let address = SocketAddr::from(([127, 0, 0, 1], 80));
    let server = Server::bind(&namespace, address, Mode::CloseAtOnce).expect("a server");
    let port = Port::new(&namespace, PORT, Medium::Ethernet).expect("an interface");
    // Other processes of this machine use sockets, too: their owners would be among the records.
    let tcptop = Tcptop::spawn(&namespace, ["lo", PORT, "--json", "--owners=off"]).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
    let data = data();
    port.send(&data).expect("it is up");
    // Data of a mid-stream connection that is repeated within 3 ms of its first segment is not a retransmit.
    std::thread::sleep(Duration::from_millis(10));

    tcptop.signal(Signal::SIGSTOP).expect("it stops");
    let send_again = || (0..RETRANSMITS).for_each(|_| port.send(&data).expect("it is up"));
    send_again();
    let made = connect_many(&namespace, server.address(), CONNECTIONS, PATIENCE).unwrap();
    assert_eq!(made, CONNECTIONS);
    send_again();
    tcptop.signal(Signal::SIGCONT).expect("it goes on");
    // The records of the last connection were missed, those of this one are not: when it is reported, all others were.
    connect_many(&namespace, server.address(), 1, PATIENCE).unwrap();
    settle(&namespace);

    let objects = tcptop.stop(PATIENCE).unwrap();
    let summary = objects.last().expect("a summary");
    let count = |name: &str| summary.number(name).unwrap_or_else(|| panic!("no {name} in {summary:?}"));
    let missed: Vec<u64> = ["syn", "syn_ack", "ack", "rst", "fin", "retransmit"]
        .map(|kind| count(&format!("missed_records.{kind}")))
        .into();
    let missed_records: u64 = missed.iter().sum();
    assert!(missed_records > 0, "the ring held a storm that it cannot hold: {summary:?}");
    assert_eq!(
        count("missed_records.retransmit"),
        RETRANSMITS,
        "those that found the ring full: {summary:?}"
    );
    let happened = RECORDS_EACH * (CONNECTIONS as u64 + 1) + extras(&namespace) + 2 * RETRANSMITS;
    assert_eq!(count("records") + missed_records, happened, "missed by kind: {missed:?}");
    // A busy machine may not read all lines in time: unwritten lines are counted as well.
    let all = missed_records + count("missed_lines");
    assert_eq!(count("missed"), all, "nothing else was missed: {summary:?}");
}
