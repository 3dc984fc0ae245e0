//! ICMP errors: only those about a segment that is in flight make a record.

use std::net::IpAddr;

use lab::carrier::{ethernet, outer, udp, vxlan};
use lab::icmp::IcmpError;
use lab::{Medium, Namespace, Port};
use probe_common::segment::mapped;
use probe_common::{Counter, Endpoint, Family, Hook, IcmpRecord, LinkLayer, Record, RecordKind, Unparsed};

use crate::BUCKETS;
use crate::bench::{Both, Frame, Kernel, Seen, programs, shortest};
use crate::data::Open;
use crate::frames::{self, ACK, SYN, Spec};

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

fn router(family: Family) -> IpAddr {
    match family {
        Family::V4 => [192, 0, 2, 1].into(),
        Family::V6 => "2001:db8::1".parse().expect("it is one"),
    }
}

/// Type and code of an error that a firewall sends.
const fn prohibited(family: Family) -> (u8, u8) {
    match family {
        Family::V4 => (3, 13),
        Family::V6 => (1, 1),
    }
}

fn error(family: Family) -> IcmpError {
    let (icmp_type, code) = prohibited(family);
    IcmpError::new(router(family), icmp_type, code)
}

/// The errors that are looked into: type, code, and the MTU that they have.
fn errors(family: Family) -> Vec<(u8, u8, u32)> {
    match family {
        Family::V4 => {
            (0..16).map(|code| (3, code, if code == 4 { 1_400 } else { 0 })).chain([(11, 0, 0)]).collect()
        }
        Family::V6 => vec![(1, 4, 0), (2, 0, 1_280), (2, 0, 70_000), (3, 1, 0), (4, 0, 0)],
    }
}

fn framed(link: LinkLayer, packet: &[u8]) -> Vec<u8> {
    match link {
        LinkLayer::Ethernet => frames::ethernet(&[], packet),
        LinkLayer::None => packet.to_vec(),
    }
}

struct Bench {
    both: Both,
    program: &'static str,
    hook: Hook,
}

impl Bench {
    fn each(test: impl Fn(&mut Self, Family)) {
        if !lab::require_root() {
            return;
        }
        let (program, hook) = programs().next().expect("some");
        let mut bench = Self { both: Both::load(BUCKETS), program, hook };
        for (program, hook) in programs() {
            (bench.program, bench.hook) = (program, hook);
            for family in FAMILIES {
                bench.both.forget();
                test(&mut bench, family);
            }
        }
    }

    /// What both make of a packet, which is the same; `None` when the kernel refuses it.
    fn try_show(&mut self, packet: &[u8]) -> Option<Seen> {
        let bytes = framed(self.hook.link, packet);
        let program = self.program;
        self.both.run(program, &self.hook, &Frame::one(&bytes), || format!("{program}: {bytes:02x?}"))
    }

    fn show(&mut self, packet: &[u8]) -> Seen {
        self.try_show(packet).expect("long enough")
    }

    fn assert_unmatched(&mut self, packet: &[u8], why: &str) {
        let seen = self.show(packet);
        let mut want = Seen::default();
        want.count(Counter::UnmatchedIcmp);
        assert_eq!(seen, want, "{}: {why}", self.program);
    }

    fn assert_matched(&mut self, packet: &[u8], why: &str) -> IcmpRecord {
        let seen = self.show(packet);
        let [Record::Icmp(icmp)] = seen.records[..] else { panic!("{}: {why}: {seen:?}", self.program) };
        assert_eq!(seen.counted.of(Counter::Submitted(RecordKind::Icmp)), 1);
        assert_eq!(seen.counted.0.iter().sum::<u64>(), 1, "{seen:?}");
        icmp
    }
}

fn syn(family: Family) -> Spec {
    Spec::out(family, SYN, 7_000, 0)
}

/// Every code, as long and as short as it may be quoted, and with what may stand behind it.
#[test]
fn errors_about_a_pending_syn() {
    Bench::each(|bench, family| {
        let syn = syn(family);
        let whole = syn.packet();
        let headers = whole.len() - 20;
        bench.show(&whole);
        for (icmp_type, code, mtu) in errors(family) {
            let error = IcmpError { icmp_type, code, mtu, sender: router(family) };
            let shapes = [
                error.packet(&whole),
                error.packet(&whole[..headers + 8]),
                error.packet_with_extensions(&whole),
            ];
            for packet in shapes {
                let icmp = bench.assert_matched(&packet, "a SYN that is pending");
                let end = |(host, port)| Endpoint { address: syn.address(host), port };
                let want = IcmpRecord {
                    time_ns: icmp.time_ns,
                    interface: bench.hook.interface,
                    direction: bench.hook.direction,
                    family,
                    icmp_type,
                    code,
                    mtu: Some(mtu).filter(|&mtu| mtu > 0),
                    sender: match router(family) {
                        IpAddr::V4(v4) => mapped(v4.octets()),
                        IpAddr::V6(v6) => v6.octets(),
                    },
                    source: end(syn.source),
                    destination: end(syn.destination),
                    seq: syn.seq,
                    timebase: 0,
                };
                // An extension's length is where IPv4 has no MTU, and IPv6 has its highest byte.
                let mtu = if family == Family::V6 && icmp_type == 2 { icmp.mtu } else { want.mtu };
                assert_eq!(icmp, IcmpRecord { mtu, ..want });
            }
        }
    });
}

/// Hard case `icmp-errors`: an error whose numbers are not in flight is forged, late, or about another connection.
#[test]
fn forged_errors_match_nothing() {
    Bench::each(|bench, family| {
        let syn = syn(family);
        bench.assert_unmatched(&error(family).packet(&syn.packet()), "nothing is known");
        bench.show(&syn.packet());
        let forged = |spec: Spec| error(family).packet(&spec.packet());
        for seq in [6_999, 7_001, 0, u32::MAX] {
            bench.assert_unmatched(&forged(Spec { seq, ..syn.clone() }), "another number");
        }
        bench.assert_unmatched(&forged(Spec { source: (1, 40_001), ..syn.clone() }), "another port");
        bench.assert_unmatched(&forged(Spec { destination: (2, 444), ..syn.clone() }), "another port");
        bench.assert_unmatched(&forged(Spec { destination: (3, 443), ..syn.clone() }), "another address");
        // On the other side of an address translation the quoted source is another one.
        bench.assert_unmatched(&forged(Spec { source: (9, 40_000), ..syn.clone() }), "translated");
        let elsewhere = Endpoint { address: syn.address(7), port: 0 };
        bench.assert_unmatched(&error(family).packet_elsewhere(&syn.packet(), elsewhere), "to somebody else");
        let answered_by = Spec { source: syn.destination, destination: syn.source, ..syn.clone() };
        bench.assert_unmatched(&forged(answered_by), "nothing was sent that way");
        bench.assert_matched(&forged(syn), "the real one");
    });
}

/// What was acknowledged is no longer in flight.
#[test]
fn errors_about_data_in_flight() {
    Bench::each(|bench, family| {
        let open = Open::new(family);
        for step in open.then(&[]) {
            bench.show(&step.bytes);
        }
        let at = |spec: &Spec| error(family).packet(&spec.packet());
        bench.assert_unmatched(&at(&open.0.out(SYN, 0, 0)), "the SYN was answered");
        let [first, second] = [open.data(1, 500), open.data(501, 500)];
        bench.assert_unmatched(&at(&first), "not sent yet");
        bench.show(&first.packet());
        bench.show(&second.packet());
        bench.assert_matched(&at(&first), "in flight");
        bench.assert_matched(&at(&second), "in flight");
        bench.show(&open.0.back(ACK, 1, 501).packet());
        bench.assert_unmatched(&at(&first), "acknowledged");
        bench.assert_matched(&at(&second), "in flight");
        bench.show(&open.0.back(ACK, 1, 1_001).packet());
        bench.assert_unmatched(&at(&second), "acknowledged");
    });
}

/// Errors of other protocols, and messages that are none.
#[test]
fn other_messages_cost_no_record() {
    Bench::each(|bench, family| {
        let syn = syn(family);
        bench.show(&syn.packet());
        let (echo, first_of_others) = match family {
            Family::V4 => (8, 12),
            Family::V6 => (128, 5),
        };
        for icmp_type in [echo, first_of_others, 0, 255] {
            let message = IcmpError::new(router(family), icmp_type, 0).packet(&syn.packet());
            assert_eq!(bench.show(&message), Seen::default(), "type {icmp_type}");
        }
        let next = if family == Family::V4 { 9 } else { 6 };
        let quoting = |protocol: u8| {
            let mut quoted = syn.packet();
            quoted[next] = protocol;
            error(family).packet(&quoted)
        };
        assert_eq!(bench.show(&quoting(17)), Seen::default(), "UDP");
        assert_eq!(bench.show(&quoting(50)), Seen::default(), "ESP");
        for tunnel in [4, 41, 47] {
            let mut want = Seen::default();
            want.count(Counter::Unparsed(Unparsed::IcmpTunnel));
            assert_eq!(bench.show(&quoting(tunnel)), want, "a tunnel of protocol {tunnel}");
        }
        if family == Family::V4 {
            let mut later = syn.packet();
            later[7] = 3;
            assert_eq!(bench.show(&error(family).packet(&later)), Seen::default(), "a later fragment");
        }
    });
}

/// Hard case `malformed-packets`, of errors: one that ends anywhere is truncated, one that contradicts itself malformed.
#[test]
fn errors_cut_at_every_length() {
    Bench::each(|bench, family| {
        let syn = Spec::out(family, SYN, 7_000, 0);
        let quoted = &syn.packet()[..syn.packet().len() - 12];
        bench.show(&syn.packet());
        let whole = error(family).packet(quoted);
        let mut truncated = Seen::default();
        truncated.count(Counter::Unparsed(Unparsed::Truncated));
        for length in 1..whole.len() {
            match bench.try_show(&whole[..length]) {
                Some(seen) => assert_eq!(seen, truncated, "{family:?} cut to {length}"),
                None => assert!(length < shortest(&framed(bench.hook.link, &whole[..length])), "{length}"),
            }
        }
        let malformed = |mut packet: Vec<u8>, at: usize, byte: u8| {
            packet[at] = byte;
            packet
        };
        let inner = whole.len() - quoted.len();
        let mut want = Seen::default();
        want.count(Counter::Unparsed(Unparsed::Malformed));
        let version = if family == Family::V4 { 0x65 } else { 0x45 };
        assert_eq!(bench.show(&malformed(whole.clone(), inner, version)), want, "another version");
        let length_at = if family == Family::V4 { 3 } else { 5 };
        let less = whole[length_at] - 1;
        assert_eq!(bench.show(&malformed(whole.clone(), length_at, less)), want, "seven bytes of TCP");
        if family == Family::V4 {
            assert_eq!(bench.show(&malformed(whole, inner, 0x44)), want, "a header of 16 bytes");
        }
    });
}

/// Errors through a device, with headers outside the linear area of the packet buffer.
#[test]
fn errors_split_at_every_offset() {
    if !lab::require_root() {
        return;
    }
    let namespace = Namespace::new().expect("a namespace");
    let port = Port::new(&namespace, "tap0", Medium::Ethernet).expect("a device");
    let mut kernel = Kernel::load(1);
    kernel.attach("ethernet_ingress", &namespace, "tap0");
    for family in FAMILIES {
        kernel.forget();
        let syn = Spec::out(family, SYN, 7_000, 0).payload(6_000);
        kernel.watch(|| {
            port.send_split(&frames::ethernet(&[], &syn.packet()), 0).expect("the device takes it")
        });
        let frame = frames::ethernet(&[], &error(family).packet(&syn.packet()));
        for linear in 14..=140 {
            let seen = kernel.watch(|| port.send_split(&frame, linear).expect("the device takes it"));
            assert!(matches!(seen.records[..], [Record::Icmp(_)]), "{family:?}, {linear}: {seen:?}");
        }
    }
}

/// An error within a tunnel is not looked into, and counted where tunnels are.
#[test]
fn errors_in_tunnels_are_counted() {
    if !lab::require_root() {
        return;
    }
    let mut both = Both::with_decap(BUCKETS);
    let syn = syn(Family::V4);
    let error = error(Family::V4).packet(&syn.packet());
    for (program, hook) in programs().filter(|(_, hook)| hook.link == LinkLayer::Ethernet) {
        let mut run = |frame: &[u8]| {
            both.run(program, &hook, &Frame::one(frame), || format!("{program}: {frame:02x?}")).expect("long")
        };
        run(&frames::ethernet(&[], &syn.packet()));
        let carried = outer(false, 17, &udp(4789, &vxlan(&ethernet(&error))));
        let mut want = Seen::default();
        want.count(Counter::Unparsed(Unparsed::IcmpTunnel));
        assert_eq!(run(&frames::ethernet(&[], &carried)), want);
        let mut echo = error.clone();
        echo[20] = 8;
        let carried = outer(false, 17, &udp(4789, &vxlan(&ethernet(&echo))));
        assert_eq!(run(&frames::ethernet(&[], &carried)), Seen::default());
        let plain = run(&frames::ethernet(&[], &error));
        assert!(matches!(plain.records[..], [Record::Icmp(_)]), "with decap, too: {plain:?}");
        both.forget();
    }
}

/// Bytes at random places: both must make the same of them.
#[test]
fn mutated_errors() {
    if !lab::require_root() {
        return;
    }
    let mut random = fastrand::Rng::with_seed(44);
    let mut both = Both::load(BUCKETS);
    let (program, hook) = programs().next().expect("some");
    let mut matched = 0;
    for number in 0..4_000 {
        let family = *random.choice(FAMILIES.iter()).expect("two");
        let syn = Spec::out(family, SYN, 7_000, 0);
        both.forget();
        let bytes = framed(hook.link, &syn.packet());
        both.run(program, &hook, &Frame::one(&bytes), || "a SYN".to_owned()).expect("long enough");
        let mut frame = framed(hook.link, &error(family).packet(&syn.packet()));
        for _ in 0..random.usize(0..3) {
            let at = random.usize(12..frame.len());
            frame[at] = random.u8(..);
        }
        let place = || format!("mutation {number}: {frame:02x?}");
        let seen = both.run(program, &hook, &Frame::one(&frame), place).expect("long enough");
        matched += seen.counted.of(Counter::Submitted(RecordKind::Icmp));
    }
    assert!((1_000..3_900).contains(&matched), "{matched}");
}
