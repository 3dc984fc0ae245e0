//! What packets without TCP are: found at once or by the long way, the answer is the same, and no packet is left out.

use std::collections::BTreeMap;

use fastrand::Rng;
use lab::carrier::{ethernet, frame, outer, udp, vxlan};
use probe_common::PassedOver;
use probe_common::encapsulation::{Layer, locate};
use probe_common::passed_over::{CELLS, count, counted, usual};
use probe_common::{Family, LinkLayer};

use crate::cases::syn;

const ROUNDS: usize = 200_000;

/// Frames of several protocols, some bytes of which are changed at random.
#[test]
fn what_shows_at_once_is_what_the_long_way_finds() {
    let ip = syn(Family::V4).packet();
    let frames = [
        ethernet(&outer(false, 17, &udp(53, &ip))),
        ethernet(&outer(false, 17, &udp(4_789, &vxlan(&ethernet(&ip))))),
        ethernet(&ip),
        ethernet(&syn(Family::V6).packet()),
        frame(0x0806, &[0; 46]),
    ];
    let (mut rng, mut found) = (Rng::with_seed(1), BTreeMap::<PassedOver, u32>::new());
    for _ in 0..ROUNDS {
        let mut frame = frames[rng.usize(..frames.len())].clone();
        for _ in 0..rng.usize(..3) {
            // Of the headers, mostly: the EtherType and the protocols are among the first.
            let at = rng.usize(12..frame.len().min(60));
            frame[at] = [rng.u8(..), 17, 6, 50, 51, 44][rng.usize(..6)];
        }
        let (link, bytes, first) = match rng.bool() {
            true => (LinkLayer::Ethernet, &frame[..], Layer::Ethernet),
            false => (LinkLayer::None, &frame[14..], Layer::Ip),
        };
        let Err(expected) = locate(bytes, first, false) else { continue };
        if let Some(what) = usual(bytes, link) {
            assert_eq!(what, expected, "{bytes:02x?}");
            *found.entry(what).or_default() += 1;
        }
    }
    for usual in [PassedOver::Protocol(17), PassedOver::Protocol(50), PassedOver::UdpPort(4_789)] {
        assert!(found.get(&usual).is_some_and(|&times| times > 100), "{usual}: {found:?}");
    }
}

#[test]
fn kinds_have_cells_of_their_own_and_no_packet_is_left_out() {
    let mut cells = [0; CELLS];
    let usual = [0x0806, 0x8100, 0x8847, 0x8863, 0x8864, 0x888e, 0x88cc, 0x8809].map(PassedOver::EtherType);
    let tunnels = [2_152, 4_789, 6_081, 8_472].map(PassedOver::UdpPort);
    let kinds = (0..=255).map(PassedOver::Protocol).chain(usual).chain(tunnels).chain([PassedOver::NotIp]);
    let kinds: Vec<PassedOver> = kinds.collect();
    for (what, times) in kinds.iter().zip(1..) {
        (0..times).for_each(|_| count(&mut cells, what.word()));
    }
    let found: BTreeMap<_, _> = counted(&cells).collect();
    let expected: BTreeMap<_, _> =
        kinds.iter().zip(1_u64..).map(|(what, times)| (Some(*what), times)).collect();
    assert_eq!(found, expected);

    // More kinds than there are cells.
    let mut cells = [0; CELLS];
    (0..=u16::MAX).for_each(|ethertype| count(&mut cells, PassedOver::EtherType(ethertype).word()));
    count(&mut cells, PassedOver::Truncated.word());
    let found: Vec<_> = counted(&cells).collect();
    assert_eq!(found.iter().map(|(_, packets)| packets).sum::<u64>(), 65_537);
    assert!(found.len() > 200 && found.iter().filter(|(what, _)| what.is_none()).count() == 1);
}
