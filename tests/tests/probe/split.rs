//! Packets whose headers are not directly addressable.

use lab::{Medium, Namespace, Port};
use probe_common::{Direction, Family, Hook, Kind, LinkLayer, Unparsed};

use crate::bench::Kernel;
use crate::frames::{self, ACK, FIN, Spec, Want, ethernet, extension};
use crate::{cut_cases, expected};

/// Above a page, so that the kernel lays the frame out as it is told (tun_alloc_skb).
const PAYLOAD: usize = 6_000;

/// A device of each kind, with the program for what comes in through it.
fn with_devices(test: impl Fn(&mut Kernel, &Port, &Hook)) {
    for (medium, program, link) in [
        (Medium::Ethernet, "ethernet_ingress", LinkLayer::Ethernet),
        (Medium::Ip, "bare_ingress", LinkLayer::None),
    ] {
        let namespace = Namespace::new().expect("a namespace");
        let port = Port::new(&namespace, "tap0", medium).expect("a device");
        let interface = namespace.link_index("tap0").expect("it is there");
        let mut kernel = Kernel::load();
        kernel.attach(program, &namespace, "tap0");
        test(&mut kernel, &port, &Hook { interface, direction: Direction::Ingress, link });
    }
}

/// Hard case 4: of a frame through a TAP only so many bytes lie in the linear area of the packet buffer; the
/// headers behind them are loaded by copy. `BPF_PROG_TEST_RUN` lays every packet out in one piece on this
/// kernel (6.18) and takes none above a page, hence real packets.
#[test]
fn headers_outside_the_linear_area() {
    if !lab::require_root() {
        return;
    }
    let stamps = [&[1, 1][..], &frames::timestamps(7, 9)].concat();
    with_devices(|kernel, port, hook| {
        for family in [Family::V4, Family::V6] {
            let fin = Spec::out(family, FIN | ACK, 5, 6).options(&stamps).payload(PAYLOAD);
            let packet = match family {
                Family::V4 => fin.v4(4, 0),
                Family::V6 => fin.v6(&[extension(frames::DESTINATION, 3)]),
            };
            let (frame, least) = match hook.link {
                LinkLayer::Ethernet => (ethernet(&[], &packet), 14),
                LinkLayer::None => (packet, 1),
            };
            // Every place in the headers, and behind them.
            for linear in least..=140 {
                let seen = kernel.watch(|| port.send_split(&frame, linear).unwrap());
                let want = expected(&fin.stamped(Kind::Fin, 7, 9), hook);
                assert_eq!(seen, want, "{family:?}, {linear} bytes linear");
            }
        }
    });
}

/// Hard case 5, for the lengths that `BPF_PROG_TEST_RUN` refuses; those below the device's own least length are
/// no packets.
#[test]
fn short_frames_through_a_device() {
    if !lab::require_root() {
        return;
    }
    with_devices(|kernel, port, hook| {
        for case in cut_cases().into_iter().filter(|case| case.link == hook.link) {
            let (whole, _) = &case.steps[0];
            let least = if hook.link == LinkLayer::Ethernet { 14 } else { 1 };
            for length in least..60 {
                let seen = kernel.watch(|| port.send(&whole[..length]).unwrap());
                let want = expected(&Want::Unparsed(Unparsed::Truncated), hook);
                assert_eq!(seen, want, "{} cut to {length}", case.name);
            }
        }
    });
}
