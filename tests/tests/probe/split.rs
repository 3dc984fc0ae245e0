//! Packets whose headers are not directly addressable.

use lab::{Medium, Namespace, Port};
use probe_common::{Direction, Family, Hook, LinkLayer, SegmentKind, Unparsed};

use crate::bench::{Kernel, Seen};
use crate::data::Open;
use crate::frames::{self, ACK, RST, SYN, Spec, Step, Want, ethernet, extension, volume};
use crate::sequences::NONE;
use crate::{cut_cases, expected};

/// Above a page, so that the kernel lays the frame out as requested (tun_alloc_skb).
const PAYLOAD: usize = 6_000;

/// Runs a test on a device of each kind, with its ingress program attached.
fn with_devices(test: impl Fn(&mut Kernel, &Port, &Hook)) {
    for (medium, program, link) in [
        (Medium::Ethernet, "ethernet_ingress", LinkLayer::Ethernet),
        (Medium::Ip, "bare_ingress", LinkLayer::None),
    ] {
        let namespace = Namespace::new().expect("a namespace");
        let port = Port::new(&namespace, "tap0", medium).expect("a device");
        let interface = namespace.link_index("tap0").expect("it is there");
        let mut kernel = Kernel::load(1);
        kernel.attach(program, &namespace, "tap0");
        test(&mut kernel, &port, &Hook { interface, direction: Direction::Ingress, link });
    }
}

/// Hard case `nonlinear-headers`: only the first bytes of a frame through a TAP are in the linear area of the packet
/// buffer; the headers after them are loaded by copy. `BPF_PROG_TEST_RUN` lays out every packet in one piece (kernel
/// 6.18) and accepts none above a page, so real packets are needed.
#[test]
fn headers_outside_the_linear_area() {
    if !lab::require_root() {
        return;
    }
    let stamps = [&[1, 1][..], &frames::timestamps(7, 9)].concat();
    with_devices(|kernel, port, hook| {
        for family in [Family::V4, Family::V6] {
            let rst = Spec::out(family, RST | ACK, 5, 6).options(&stamps).payload(PAYLOAD);
            let packet = match family {
                Family::V4 => rst.v4(4, 0),
                Family::V6 => rst.v6(&[extension(frames::DESTINATION, 3)]),
            };
            let (frame, least) = match hook.link {
                LinkLayer::Ethernet => (ethernet(&[], &packet), 14),
                LinkLayer::None => (packet, 1),
            };
            // Split at every offset in the headers, and after them.
            for linear in least..=140 {
                let seen = kernel.watch(|| port.send_split(&frame, linear).unwrap());
                let want = expected(&rst.stamped(SegmentKind::Rst, 7, 9), hook);
                assert_eq!(seen.timeless(), want, "{family:?}, {linear} bytes linear");
            }
        }
    });
}

/// The flow state is the same however the headers are read: data that passed in one piece is known when it is
/// repeated in two.
#[test]
fn data_outside_the_linear_area() {
    if !lab::require_root() {
        return;
    }
    with_devices(|kernel, port, hook| {
        for family in [Family::V4, Family::V6] {
            let framed = |spec: &Spec| match hook.link {
                LinkLayer::Ethernet => ethernet(&[], &spec.packet()),
                LinkLayer::None => spec.packet(),
            };
            let least = if hook.link == LinkLayer::Ethernet { 14 } else { 1 };
            let bytes = u64::try_from(PAYLOAD).expect("short");
            for linear in least..=90 {
                kernel.forget();
                let mut show = |spec: &Spec, linear| {
                    kernel.watch(|| port.send_split(&framed(spec), linear).unwrap()).timeless()
                };
                let place = format!("{family:?}, {linear} bytes linear");
                let emits = |step: Step| expected(&step.want, hook);
                let open = Open::new(family);
                let data = open.data(1, PAYLOAD);
                let syn = open.0.out(SYN, 0, 0).payload(PAYLOAD);
                let answer = open.0.back(SYN | ACK, 0, 1).payload(PAYLOAD);
                assert_eq!(show(&syn, linear), emits(Step::emits(&syn, SegmentKind::Syn)), "{place}");
                assert_eq!(show(&answer, 0), emits(Step::emits(&answer, SegmentKind::SynAck)), "{place}");
                let first = Step::emits(&data, SegmentKind::Ack).volumes(volume(1, bytes, 0), NONE);
                assert_eq!(show(&data, linear), emits(first), "{place}");
                let again =
                    Step::retransmit(&data, SegmentKind::Retransmit).volumes(volume(2, 2 * bytes, 1), NONE);
                assert_eq!(show(&data, linear), emits(again), "{place}");
                let again =
                    Step::retransmit(&data, SegmentKind::Retransmit).volumes(volume(3, 3 * bytes, 2), NONE);
                assert_eq!(show(&data, 0), emits(again), "{place}");
                let next = open.data(1 + u32::try_from(PAYLOAD).expect("short"), PAYLOAD);
                assert_eq!(show(&next, linear), Seen::default(), "{place}");
            }
        }
    });
}

/// Hard case `malformed-packets`, for the lengths that `BPF_PROG_TEST_RUN` refuses. The device accepts none below its
/// own minimum.
#[test]
fn short_frames_through_a_device() {
    if !lab::require_root() {
        return;
    }
    with_devices(|kernel, port, hook| {
        for case in cut_cases().into_iter().filter(|case| case.link == hook.link) {
            let whole = &case.steps[0].bytes;
            let least = if hook.link == LinkLayer::Ethernet { 14 } else { 1 };
            for length in least..60 {
                let seen = kernel.watch(|| port.send(&whole[..length]).unwrap());
                let want = expected(&Want::Unparsed(Unparsed::Truncated), hook);
                assert_eq!(seen.timeless(), want, "{} cut to {length}", case.name);
            }
        }
    });
}
