//! Mid-stream connections: their states say which end is which, because no record does.

use probe_common::{Direction, Family, Hook, LinkLayer};

use crate::bench::{Both, Frame, programs};
use crate::data::Open;
use crate::frames::{ACK, FIN, RST, SYN, Spec, ethernet};

const BUCKETS: u32 = 3;

/// Runs both on a segment; returns the state of its flow.
fn learned(both: &mut Both, (program, hook): (&'static str, Hook), spec: &Spec) -> Option<Direction> {
    let packet = spec.packet();
    let bytes = match hook.link {
        LinkLayer::Ethernet => ethernet(&[], &packet),
        LinkLayer::None => packet,
    };
    let place = || format!("{program}: {spec:?}");
    both.run(program, &hook, &Frame::one(&bytes), place).expect("well-formed");
    both.look(&hook, &bytes).learned()
}

fn turned(direction: Direction) -> Direction {
    match direction {
        Direction::Ingress => Direction::Egress,
        Direction::Egress => Direction::Ingress,
        same @ (Direction::Local | Direction::Unknown) => same,
    }
}

/// The opener is the low end.
#[test]
fn who_sends_which_way_is_remembered_of_what_was_open_before() {
    if !lab::require_root() {
        return;
    }
    let mut both = Both::load(BUCKETS);
    for place in programs() {
        let (_, hook) = place;
        for family in [Family::V4, Family::V6] {
            let open = Open::new(family);
            let (out, back) = (open.data(1, 10), open.back(1, 10));
            for (first, second, low_sends) in
                [(&out, &back, hook.direction), (&back, &out, turned(hook.direction))]
            {
                both.forget();
                for spec in [first, second, first, &open.fin(11)] {
                    assert_eq!(learned(&mut both, place, spec), Some(low_sends), "{place:?}: {spec:?}");
                }
                let last = open.back(11, 0).flags(FIN | ACK);
                assert_eq!(learned(&mut both, place, &last), None, "its end was recorded");
            }
        }
    }
}

#[test]
fn of_what_records_tell_nothing_is_remembered_twice() {
    if !lab::require_root() {
        return;
    }
    let mut both = Both::load(BUCKETS);
    for place in programs() {
        let open = Open::new(Family::V4);
        let flow = &open.0;
        both.forget();
        for spec in [flow.out(SYN, 0, 0), flow.back(SYN | ACK, 0, 1), flow.out(ACK, 1, 1), open.data(1, 10)] {
            assert_eq!(learned(&mut both, place, &spec), None, "{place:?}: {spec:?}");
        }
        // The next connection on the ports of a mid-stream one, and one that was reset.
        for spec in [flow.out(SYN, 1 << 25, 0), flow.out(RST, 11, 0)] {
            both.forget();
            assert!(learned(&mut both, place, &open.data(1, 10)).is_some());
            assert_eq!(learned(&mut both, place, &spec), None, "{place:?}: {spec:?}");
        }
    }
}
