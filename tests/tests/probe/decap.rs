//! TCP within tags, labels and tunnels, with the programs set to look into them.

use lab::carrier::{CARRIERS, Carrier, ethernet, outer, udp, vxlan};
use lab::{Medium, Namespace, Port};
use probe_common::{Counter, Family, Hook, LinkLayer, Record, SegmentKind, Unparsed};

use crate::BUCKETS;
use crate::bench::{Both, Frame, Kernel, Seen, programs, shortest};
use crate::cases::syn;
use crate::frames::timestamps;

/// A SYN with timestamps.
fn packet(family: Family) -> Vec<u8> {
    syn(family).options(&[&timestamps(1, 2)[..], &[1, 1]].concat()).packet()
}

/// The kernel and the host on a frame without any flow before.
fn run(both: &mut Both, program: &str, hook: &Hook, bytes: &[u8], what: &str) -> Option<Seen> {
    both.forget();
    both.run(program, hook, &Frame::one(bytes), || format!("{program}, {what}: {bytes:02x?}"))
}

fn hooks() -> impl Iterator<Item = (&'static str, Hook)> {
    programs().filter(|(_, hook)| hook.link == LinkLayer::Ethernet)
}

fn assert_syn(seen: &Seen, carrier: &Carrier, v6: bool) {
    let [Record::Segment(segment)] = seen.records[..] else { panic!("{carrier:?}: {seen:?}") };
    assert_eq!(segment.kind, SegmentKind::Syn, "{carrier:?}");
    let name = segment.encapsulation.name().map(str::to_owned);
    assert_eq!(name, carrier.encapsulation(v6), "{carrier:?}");
    assert_eq!((segment.timestamps.value, segment.timestamps.echo), (1, 2), "{carrier:?}");
}

#[test]
fn the_verifier_accepts_programs_that_look_into_tunnels() {
    if !lab::require_root() {
        return;
    }
    for (name, count) in Kernel::load_with(BUCKETS, true).verified_instructions() {
        eprintln!("{name}: {count:?} instructions verified");
        assert!(count.is_none_or(|count| count < 750_000), "{name}: {count:?}");
    }
}

#[test]
fn kernel_and_host_look_into_every_carrier() {
    if !lab::require_root() {
        return;
    }
    let mut both = Both::with_decap(BUCKETS);
    for carrier in CARRIERS {
        for (family, v6) in [(Family::V4, false), (Family::V6, true)] {
            let frame = carrier.frame(&packet(family));
            for (program, hook) in hooks() {
                let seen = run(&mut both, program, &hook, &frame, carrier.name).expect("long enough");
                assert_syn(&seen, &carrier, v6);
            }
        }
    }
}

/// Without a link header a tunnel begins with IP.
#[test]
fn tunnels_on_interfaces_without_a_link_header() {
    if !lab::require_root() {
        return;
    }
    let mut both = Both::with_decap(BUCKETS);
    let bare = programs().filter(|(_, hook)| hook.link == LinkLayer::None);
    for (program, hook) in bare {
        for (packet, name) in [
            (outer(true, 4, &packet(Family::V4)), "4in6"),
            (outer(false, 41, &packet(Family::V6)), "6in4"),
            (outer(false, 17, &udp(4789, &vxlan(&ethernet(&packet(Family::V4))))), "vxlan"),
        ] {
            let seen = run(&mut both, program, &hook, &packet, name).expect("long enough");
            assert_eq!(seen.segment().encapsulation.name(), Some(name), "{program}");
        }
    }
}

/// Off, which is the default, nothing of it makes a record, or a count.
#[test]
fn without_decap_tunnels_are_not_tcp() {
    if !lab::require_root() {
        return;
    }
    let mut both = Both::load(BUCKETS);
    for carrier in CARRIERS.iter().filter(|carrier| carrier.encapsulation.is_some()) {
        let frame = carrier.frame(&packet(Family::V4));
        for (program, hook) in hooks() {
            let seen = run(&mut both, program, &hook, &frame, carrier.name).expect("long enough");
            assert_eq!((seen.records.len(), seen.counted.0.iter().sum::<u64>()), (0, 0), "{carrier:?}");
        }
    }
}

/// A frame that ends anywhere makes no record, and is counted as truncated when it ends within a header.
#[test]
fn carriers_cut_at_every_length() {
    if !lab::require_root() {
        return;
    }
    let mut both = Both::with_decap(BUCKETS);
    let (program, hook) = hooks().next().expect("some");
    for carrier in CARRIERS {
        let whole = carrier.frame(&packet(Family::V4));
        for length in 0..whole.len() {
            let cut = &whole[..length];
            let Some(seen) = run(&mut both, program, &hook, cut, carrier.name) else {
                assert!(length < shortest(cut), "refused: {} cut to {length}", carrier.name);
                continue;
            };
            assert_eq!(seen.records.len(), 0, "{} cut to {length}", carrier.name);
            let counted = seen.counted.of(Counter::Unparsed(Unparsed::Truncated));
            assert!(counted <= 1 && seen.counted.0.iter().sum::<u64>() == counted, "{seen:?}");
        }
    }
}

/// Through a device, with headers outside the linear area of the packet buffer.
#[test]
fn carriers_split_at_every_offset() {
    if !lab::require_root() {
        return;
    }
    let namespace = Namespace::new().expect("a namespace");
    let port = Port::new(&namespace, "tap0", Medium::Ethernet).expect("a device");
    let mut kernel = Kernel::load_with(1, true);
    kernel.attach("ethernet_ingress", &namespace, "tap0");
    let long = syn(Family::V4).options(&[&timestamps(1, 2)[..], &[1, 1]].concat()).payload(6_000).packet();
    // A frame with a length instead of an EtherType is not that long.
    for carrier in CARRIERS.into_iter().filter(|carrier| carrier.name != "SNAP") {
        let frame = carrier.frame(&long);
        for linear in (14..=150).step_by(17) {
            kernel.forget();
            let seen = kernel.watch(|| port.send_split(&frame, linear).expect("the device takes it"));
            assert_syn(&seen, &carrier, false);
        }
    }
}

/// Bytes at random places: both must make the same of them.
#[test]
fn mutated_carriers() {
    if !lab::require_root() {
        return;
    }
    let mut both = Both::with_decap(BUCKETS);
    let mut random = fastrand::Rng::with_seed(16);
    let (program, hook) = hooks().next().expect("some");
    for _ in 0..5_000 {
        let carrier = random.choice(CARRIERS).expect("there are some");
        let family = if random.bool() { Family::V4 } else { Family::V6 };
        let mut frame = carrier.frame(&packet(family));
        for _ in 0..random.usize(1..4) {
            let at = random.usize(12..frame.len());
            frame[at] = random.u8(..);
        }
        run(&mut both, program, &hook, &frame, carrier.name);
    }
}
