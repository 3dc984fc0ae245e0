//! Hard case `encapsulation`: `tcptop --decap` on an interface that carries tunnels, and what it does without.

use std::time::Duration;

use lab::carrier::{CARRIERS, ethernet, frame, outer, tagged, udp};
use lab::conversation::{Conversation, End, v4};
use lab::{Medium, Namespace, Port, Tcptop, capture};
use probe_common::TcpFlags;
use probe_common::encapsulation::{Layer, locate};

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
    let tcptop = Tcptop::spawn(namespace, [&["tap0", "--json"], arguments].concat()).expect("it starts");
    tcptop.wait_ready(PATIENCE).expect("it attaches");
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

/// What is passed over is counted by what it is, as it is in a capture: with and without a look into tunnels.
#[test]
fn what_is_passed_over_is_counted_by_what_it_is() {
    lab::needs_root!();
    for decap in [false, true] {
        let namespace = Namespace::new().unwrap();
        let port = Port::new(&namespace, "tap0", Medium::Ethernet).unwrap();
        let tcptop = watch(&namespace, if decap { &["--decap"] } else { &[] });
        let ip = handshake(50_000, <[u8]>::to_vec).remove(0);
        let datagram = |to| ethernet(&outer(false, 17, &udp(to, &[0; 64])));
        let frames = [
            (frame(0x0806, &[0; 46]), 3),
            (frame(0x88cc, &[0; 46]), 2),
            (datagram(53), 5),
            (datagram(4_789), 4),
            (frame(0x8100, &tagged(7, 0x0800, &outer(false, 17, &udp(53, &[0; 64])))), 6),
        ];
        let mut expected = std::collections::BTreeMap::<String, u64>::new();
        let carried = CARRIERS.iter().map(|carrier| (carrier.frame(&ip), 7));
        for (frame, times) in frames.into_iter().chain(carried) {
            (0..times).for_each(|_| port.send(&frame).unwrap());
            // What a tunnel carries is not named.
            let outside = locate(&frame[..], Layer::Ethernet, false).err();
            if let Some(what) = outside.filter(|_| locate(&frame[..], Layer::Ethernet, decap).is_err()) {
                *expected.entry(what.to_string()).or_default() += times;
            }
        }
        assert!(expected.len() > 3, "{expected:?}");
        let objects = tcptop.stop(PATIENCE).unwrap();
        let summary = objects.last().unwrap();
        let kinds = summary.list("passed_over_by_kind");
        let mut found: std::collections::BTreeMap<String, u64> = kinds
            .iter()
            .map(|kind| (kind.text("what").expect("few kinds").to_owned(), kind.number("packets").unwrap()))
            .collect();
        // Without a look into them, TCP behind more than two tags is passed over, too.
        let tags = found.remove("EtherType 0x8100 (VLAN)");
        assert_eq!(tags.is_some(), !decap, "{summary:?}");
        // The namespace looks for IPv6 routers by itself.
        found.remove("IP protocol 58 (ICMPv6)");
        assert_eq!(found, expected, "decap {decap}: {summary:?}");
    }
}
