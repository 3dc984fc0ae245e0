//! The documented bound: with 65,536 flows and 10,000 peers the process stays under 128 MiB.

use std::fs;
use std::io::{BufRead, BufReader};
use std::process::{Child, Command, Stdio};

use lab::conversation::{Conversation, End, v4};
use lab::{Medium, Namespace, Port, Signal, capture};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use probe_common::TcpFlags;

const FLOWS: u32 = 65_536;
const PEERS: u32 = 10_000;
const BOUND_KIB: u64 = 128 * 1024;
/// Handshakes that are sent before tcptop has reported the first of them: the ring buffer holds their records.
const BATCH: u32 = 4_096;

/// The three segments of a handshake, in Ethernet. All peers connect to one address, so that a peer is its address.
fn handshake(number: u32) -> Vec<Vec<u8>> {
    let [.., high, low] = (number % PEERS).to_be_bytes();
    let port = u16::try_from(20_000 + number / PEERS).expect("a few ports for each peer");
    let ends = [v4([10, 0, high, low], port), v4([192, 0, 2, 1], 443)];
    let mut talk = Conversation::new(ends, [number, !number], 0);
    talk.send(End::Opener, TcpFlags::SYN, 0, 0);
    talk.send(End::Responder, TcpFlags::SYN.with(TcpFlags::ACK), 0, 0);
    talk.send(End::Opener, TcpFlags::ACK, 0, 0);
    talk.segments().iter().map(|segment| capture::packet(segment, 1)).collect()
}

/// tcptop with its lines, which the test waits for before it sends more packets.
fn watch(namespace: &Namespace) -> (Child, impl Iterator<Item = String>) {
    let mut command = Command::new(lab::tcptop::binary().expect("it is built"));
    // Owners of the sockets of other processes on this machine would be among the records.
    command.args(["tap0", "--json", "--owners=off"]);
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = namespace.enter_command(&mut command).spawn().expect("it starts");
    let mut ready = String::new();
    BufReader::new(child.stderr.take().expect("piped")).read_line(&mut ready).expect("it speaks");
    assert!(ready.starts_with("watching tap0"), "{ready}");
    let stdout = BufReader::new(child.stdout.take().expect("piped"));
    (child, stdout.lines().map(|line| line.expect("text")))
}

fn peak_kib(child: &Child) -> u64 {
    let status = fs::read_to_string(format!("/proc/{}/status", child.id())).expect("it runs");
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).expect("the kernel counts it");
    line.trim().trim_end_matches(" kB").parse().expect("a number")
}

/// Hard case `syn-flood` bounds what an attack costs; this bounds what a busy server costs.
#[test]
fn many_flows_and_peers_stay_within_the_bound() {
    lab::needs_root!();
    let namespace = Namespace::new().unwrap();
    let port = Port::new(&namespace, "tap0", Medium::Ethernet).unwrap();
    let (mut child, mut lines) = watch(&namespace);
    let mut sent = 0;
    while sent < FLOWS {
        for number in sent..(sent + BATCH).min(FLOWS) {
            handshake(number).iter().for_each(|frame| port.send(frame).unwrap());
        }
        for _ in sent..(sent + BATCH).min(FLOWS) {
            let line = lines.next().expect("a handshake");
            assert!(line.contains(r#""outcome":"established""#), "{line}");
        }
        sent += BATCH;
    }
    let peak_kib = peak_kib(&child);
    kill(Pid::from_raw(child.id().cast_signed()), Signal::SIGTERM).unwrap();
    let rest: Vec<_> = lines.collect();
    assert!(child.wait().unwrap().success());
    let mut rest: Vec<_> = rest.iter().map(|line| lab::Object::parse(line)).collect();
    let summary = rest.pop().expect("a summary");
    assert!(rest.iter().all(|object| object.kind() == "peer"), "nothing else is left: {rest:?}");
    assert_eq!(summary.number("established"), Some(FLOWS.into()), "{summary:?}");
    // If both buckets of a flow are full, another flow is evicted, which a record reports and a counter counts.
    let untracked = summary.number("missed_kernel_flows").expect("a count");
    assert!(untracked <= u64::from(FLOWS) / 1_000, "{summary:?}");
    assert_eq!(summary.number("records"), Some(3 * u64::from(FLOWS) + untracked), "{summary:?}");
    // Flows evicted in user space are counted as well.
    assert_eq!(summary.number("missed"), Some(untracked), "{summary:?}");
    eprintln!("peak {} MiB", peak_kib / 1024);
    assert!(peak_kib < BOUND_KIB, "{peak_kib} KiB");
}
