//! `tcptop --decap` on an interface that carries tunnels, and what it does without.

use std::time::Duration;

use lab::carrier::CARRIERS;
use lab::conversation::{Conversation, End, v4};
use lab::{Medium, Namespace, Port, Tcptop, capture};
use probe_common::TcpFlags;

const PATIENCE: Duration = Duration::from_secs(10);
/// Link type of bare IP packets.
const RAW: u16 = 101;

/// A handshake from this port, each of its IP packets in a frame of its own kind of carrier.
fn handshake(port: u16, carry: impl Fn(&[u8]) -> Vec<u8>) -> Vec<Vec<u8>> {
    let mut talk =
        Conversation::new([v4([192, 0, 2, 1], port), v4([198, 51, 100, 1], 443)], [1_000, 5_000], 0);
    talk.send(End::Opener, TcpFlags::SYN, 0, 0);
    talk.send(End::Responder, TcpFlags::SYN.with(TcpFlags::ACK), 0, 0);
    talk.send(End::Opener, TcpFlags::ACK, 0, 0);
    talk.segments().iter().map(|segment| carry(&capture::packet(segment, RAW))).collect()
}

fn watch(namespace: &Namespace, arguments: &[&str]) -> Tcptop {
    let tcptop = Tcptop::spawn(namespace, [&["tap0", "--json"], arguments].concat()).unwrap();
    tcptop.wait_ready(PATIENCE).unwrap();
    tcptop
}

#[test]
fn with_decap_what_tunnels_carry_is_reported_under_their_name() {
    if !lab::require_root() {
        return;
    }
    let namespace = Namespace::new().unwrap();
    let port = Port::new(&namespace, "tap0", Medium::Ethernet).unwrap();
    let tcptop = watch(&namespace, &["--decap"]);
    for (carrier, number) in CARRIERS.iter().zip(30_000..) {
        handshake(number, |ip| carrier.frame(ip)).iter().for_each(|frame| port.send(frame).unwrap());
    }
    let handshakes = tcptop.wait_objects("handshake", CARRIERS.len(), PATIENCE).unwrap();
    for (carrier, number) in CARRIERS.iter().zip(30_000_u64..) {
        let ports = |handshake: &&lab::Object| {
            [handshake.number("local_port"), handshake.number("remote_port")].contains(&Some(number))
        };
        let handshake = handshakes.iter().find(ports).unwrap_or_else(|| panic!("{}", carrier.name));
        assert_eq!(handshake.text("outcome"), Some("established"), "{}", carrier.name);
        assert_eq!(handshake.text("encapsulation"), carrier.encapsulation, "{}", carrier.name);
    }
}

#[test]
fn without_decap_only_plain_packets_are_reported() {
    if !lab::require_root() {
        return;
    }
    let namespace = Namespace::new().unwrap();
    let port = Port::new(&namespace, "tap0", Medium::Ethernet).unwrap();
    let tcptop = watch(&namespace, &[]);
    for (carrier, number) in CARRIERS.iter().zip(30_000..) {
        if carrier.encapsulation.is_some() {
            handshake(number, |ip| carrier.frame(ip)).iter().for_each(|frame| port.send(frame).unwrap());
        }
    }
    // The plain ones come last, so that all others were seen when they are reported.
    for (carrier, number) in CARRIERS.iter().take(3).zip(40_000..) {
        handshake(number, |ip| carrier.frame(ip)).iter().for_each(|frame| port.send(frame).unwrap());
    }
    tcptop.wait_objects("handshake", 3, PATIENCE).unwrap();
    let objects = tcptop.stop(PATIENCE).unwrap();
    assert_eq!(objects.iter().filter(|object| object.kind() == "handshake").count(), 3);
}
