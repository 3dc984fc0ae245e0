//! The table, part 4: holes in the sequence numbers, and the segments that fill them.

use std::time::Duration;

use probe_common::SegmentKind::{Ack, Fin, Retransmit, Syn, SynAck};
use probe_common::{Family, Hook, LinkLayer};

use crate::bench::{Both, Frame, Seen, monotonic_ns, programs};
use crate::cases::{Case, packets};
use crate::data::Open;
use crate::frames::{ACK, PSH, SYN, Spec, Step, ethernet, timestamps, volume};
use crate::sequences::NONE;

/// Longer than a hole may stay open while the RTT is unknown.
const LATE: Duration = Duration::from_millis(5);
/// An RTT within which a few frames can pass, however busy the machine is.
const SLOW: Duration = Duration::from_millis(100);

pub(crate) fn all() -> Vec<Case> {
    let families = [Family::V4, Family::V6].map(Open::new);
    families
        .iter()
        .flat_map(|open| {
            [
                filled(open),
                shown(open),
                in_parts(open),
                many(open),
                sent_order(open),
                sent_order_by_ident(open),
                at_the_edges(open),
                handshakes(open),
            ]
        })
        .flatten()
        .collect()
}

fn silent(spec: &Spec) -> Step {
    Step::silent(spec)
}

/// These steps after a handshake whose SYN was not seen, so that the RTT is unknown.
fn unmeasured(open: &Open, steps: &[Step]) -> Vec<Step> {
    [&[open.0.syn_ack(), open.0.completing()], steps].concat()
}

/// These steps after a handshake with a long RTT.
fn slow(open: &Open, steps: &[Step]) -> Vec<Step> {
    [&[open.0.syn(), open.0.syn_ack(), open.0.completing().after(SLOW)], steps].concat()
}

/// Hard case `reordering`: a hole that is filled within the RTT was reordering, later it was a loss.
fn filled(open: &Open) -> Vec<Case> {
    let (first, second, third) = (open.data(1, 80), open.data(81, 40), open.data(121, 80));
    let mut cases = Vec::new();
    let steps = [
        silent(&first),
        silent(&third),
        silent(&second),
        // Now these bytes have passed before.
        Step::retransmit(&second, Retransmit).volumes(volume(4, 240, 1), NONE),
        silent(&open.data(201, 10)),
        Step::emits(&open.fin(211), Fin).volumes(volume(5, 250, 1), NONE),
    ];
    cases.extend(packets("a hole that is filled within the round-trip time", &slow(open, &steps)));
    let steps = [
        silent(&first),
        silent(&third),
        Step::filling(&second, Retransmit).volumes(volume(3, 200, 1), NONE).after(LATE),
        Step::retransmit(&second, Retransmit).volumes(volume(4, 240, 2), NONE),
        silent(&open.data(201, 10)),
        Step::emits(&open.fin(211), Fin).volumes(volume(5, 250, 2), NONE),
    ];
    cases.extend(packets("a hole that is filled late", &unmeasured(open, &steps)));
    let late = [
        silent(&first),
        silent(&third),
        Step::filling(&second, Retransmit).volumes(volume(3, 200, 1), NONE).after(2 * SLOW),
    ];
    cases.extend(packets("a hole that is filled after a round-trip time", &open.then(&late)));
    let (from, to) = (open.back(11, 10), open.back(1, 10));
    let steps = [
        silent(&open.back(1, 0)),
        silent(&from),
        Step::filling(&to, Retransmit).volumes(volume(2, 20, 1), NONE).after(LATE),
        Step::retransmit(&from, Retransmit).volumes(volume(3, 30, 2), NONE),
    ];
    cases.extend(packets("a hole in what the other end sends", &unmeasured(open, &steps)));
    cases
}

/// The number of a pure ACK follows everything that its sender has sent.
fn shown(open: &Open) -> Vec<Case> {
    let (first, second, third) = (open.data(1, 80), open.data(81, 40), open.data(121, 80));
    let mut cases = Vec::new();
    let steps = [
        silent(&first),
        silent(&open.data(121, 0)),
        // An old ACK shows nothing.
        silent(&open.data(81, 0)),
        Step::filling(&second, Retransmit).volumes(volume(2, 120, 1), NONE).after(LATE),
        Step::retransmit(&second, Retransmit).volumes(volume(3, 160, 2), NONE),
        silent(&third),
        Step::emits(&open.fin(201), Fin).volumes(volume(4, 240, 2), NONE),
    ];
    // Within the RTT as well: no segment that passed could have caused a fast retransmit.
    cases.extend(packets("a hole that an ACK alone shows", &slow(open, &steps)));
    let byte = open.data(81, 1);
    let steps = [
        silent(&first),
        silent(&open.data(82, 0)),
        Step::filling(&byte, Retransmit).volumes(volume(2, 81, 1), NONE).after(LATE),
        // Now it is a keep-alive.
        silent(&byte),
        Step::emits(&open.fin(82), Fin).volumes(volume(2, 81, 1), NONE),
    ];
    cases.extend(packets("a hole of one byte", &unmeasured(open, &steps)));
    cases
}

/// A hole that is filled from its start, from its end or in the middle.
fn in_parts(open: &Open) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name, fills: &[(u32, usize, bool)]| {
        let (mut segments, mut bytes, mut retransmits) = (2, 200, 0);
        let mut steps = vec![silent(&open.data(1, 100)), silent(&open.data(401, 100))];
        for (number, (seq, len, is_missing)) in fills.iter().enumerate() {
            let spec = open.data(*seq, *len);
            let step = if *is_missing {
                Step::filling(&spec, Retransmit)
            } else {
                Step::retransmit(&spec, Retransmit)
            };
            (segments, bytes, retransmits) = (segments + 1, bytes + *len as u64, retransmits + 1);
            let step = step.volumes(volume(segments, bytes, retransmits), NONE);
            steps.push(if number == 0 { step.after(LATE) } else { step });
        }
        steps.push(silent(&open.data(501, 10)));
        cases.extend(packets(name, &unmeasured(open, &steps)));
    };
    let whole = |seq| (seq, 100, true);
    case("a hole filled in order", &[whole(101), whole(201), whole(301), (101, 300, false)]);
    case("a hole filled backwards", &[whole(301), whole(201), whole(101), (301, 100, false)]);
    case(
        "a hole filled from its midst",
        &[whole(201), (201, 100, false), whole(301), whole(101), (101, 100, false)],
    );
    case(
        "what fills a hole and repeats what is around it",
        &[(51, 100, true), (101, 50, false), (351, 100, true), (151, 200, true), (151, 200, false)],
    );
    case("a segment that covers a hole and its neighbours", &[(1, 500, true), (101, 300, false)]);
    case("a hole of which some bytes stay out", &[(151, 10, true), (101, 10, true), (391, 10, true)]);
    cases
}

/// Hard case `reordering`: six holes are remembered.
fn many(open: &Open) -> Vec<Case> {
    let every_other = |count: u32| (0..count).map(|at| silent(&open.data(1 + 20 * at, 10)));
    let mut steps: Vec<Step> = every_other(8).collect();
    let late = |spec: &Spec, number: u32| {
        let step = if number == 1 {
            Step::retransmit(spec, Retransmit).after(LATE)
        } else {
            Step::filling(spec, Retransmit)
        };
        let sent = u64::from(number);
        step.volumes(volume(8 + sent, 80 + 10 * sent, number), NONE)
    };
    // The oldest hole is forgotten; a segment that fills it is a retransmit all the same.
    steps.extend((1..=7).map(|number: u32| late(&open.data(20 * number - 9, 10), number)));
    steps.push(silent(&open.data(151, 10)));
    let mut cases = packets("more holes than are remembered", &unmeasured(open, &steps)).to_vec();

    let mut steps: Vec<Step> = every_other(7).collect();
    for at in [51, 11, 111, 31, 91, 71] {
        steps.push(silent(&open.data(at, 10)));
    }
    steps.push(Step::emits(&open.fin(131), Fin).volumes(volume(13, 130, 0), NONE));
    cases.extend(packets("as many holes as are remembered", &slow(open, &steps)));

    let mut steps: Vec<Step> = every_other(4).collect();
    let over_all = open.data(1, 60);
    steps.push(Step::filling(&over_all, Retransmit).volumes(volume(5, 100, 1), NONE).after(2 * SLOW));
    // No hole is left that could excuse it.
    let again = open.data(51, 10);
    steps.push(Step::retransmit(&again, Retransmit).volumes(volume(6, 110, 2), NONE));
    cases.extend(packets("a segment over several holes", &slow(open, &steps)));
    cases
}

/// Hard case `reordering`: the sender's own counters say which of two segments it sent first, whatever the time.
fn sent_order(open: &Open) -> Vec<Case> {
    let stamped = |spec: Spec, value| spec.options(&[&[1, 1][..], &timestamps(value, 7)].concat());
    let mut cases = Vec::new();
    // Later than its neighbours, though within the round-trip time: a fast retransmit.
    let steps = [
        silent(&stamped(open.data(1, 80), 500)),
        silent(&stamped(open.data(121, 80), 501)),
        silent(&stamped(open.data(201, 80), 502)),
        Step::filling(&stamped(open.data(81, 40), 503), Retransmit).volumes(volume(4, 280, 1), NONE),
    ];
    cases.extend(packets("a hole filled within the round-trip time by a later segment", &slow(open, &steps)));
    // Later than the one that opened the hole, though earlier than a retransmit that has overtaken it.
    let steps = [
        silent(&stamped(open.data(1, 80), 500)),
        silent(&stamped(open.data(161, 40), 501)),
        Step::filling(&stamped(open.data(121, 40), 503), Retransmit).volumes(volume(3, 160, 1), NONE),
        Step::filling(&stamped(open.data(81, 40), 502), Retransmit).volumes(volume(4, 200, 2), NONE),
    ];
    cases.extend(packets("a retransmit that a later one has overtaken", &slow(open, &steps)));
    // Later than the one that opened its hole, though new data has overtaken it, and opened another one.
    let steps = [
        silent(&stamped(open.data(1, 80), 500)),
        silent(&stamped(open.data(121, 40), 501)),
        silent(&stamped(open.data(201, 40), 504)),
        Step::filling(&stamped(open.data(81, 40), 503), Retransmit).volumes(volume(4, 200, 1), NONE),
        // The one in the younger hole was overtaken.
        silent(&stamped(open.data(161, 40), 502)),
        silent(&stamped(open.data(241, 10), 505)),
        Step::emits(&open.fin(251), Fin).volumes(volume(6, 250, 1), NONE),
    ];
    cases.extend(packets("a retransmit that new data has overtaken", &slow(open, &steps)));
    // Earlier, though a round-trip time late, and though its hole is forgotten.
    let mut steps: Vec<Step> = (0..9).map(|at| silent(&stamped(open.data(1 + 20 * at, 10), 501))).collect();
    steps.push(silent(&stamped(open.data(11, 10), 500)).after(2 * SLOW));
    steps.push(silent(&stamped(open.data(151, 10), 500)));
    cases.extend(packets("holes filled late by earlier segments", &slow(open, &steps)));
    cases
}

/// The same by IP IDs, which IPv6 has not.
fn sent_order_by_ident(open: &Open) -> Vec<Case> {
    if open.data(1, 1).family != Family::V4 {
        return Vec::new();
    }
    let mut cases = Vec::new();
    let ident = |seq, len, ident| open.data(seq, len).ident(ident);
    let steps = [
        silent(&ident(1, 80, 0xfffe)),
        silent(&ident(121, 80, 1)),
        silent(&ident(201, 80, 2)),
        // Overtaken, with a number from before the wrap.
        silent(&ident(81, 20, 0xffff)).after(2 * SLOW),
        Step::filling(&ident(101, 20, 3), Retransmit).volumes(volume(5, 280, 1), NONE),
    ];
    cases.extend(packets("IP IDs say which was sent first", &slow(open, &steps)));
    let steps = [
        silent(&ident(1, 80, 0xfffe)),
        silent(&ident(121, 40, 0xffff)),
        silent(&ident(201, 40, 2)),
        Step::filling(&ident(81, 40, 1), Retransmit).volumes(volume(4, 200, 1), NONE),
    ];
    cases.extend(packets("IP IDs say that new data has overtaken a retransmit", &slow(open, &steps)));
    // Drawn at random: too far apart to be counted.
    let steps = [
        silent(&ident(1, 80, 900)),
        silent(&ident(121, 80, 40_000)),
        silent(&ident(81, 40, 60_000)),
        silent(&ident(301, 80, 20_000)),
        Step::filling(&ident(201, 40, 5_000), Retransmit).volumes(volume(5, 320, 1), NONE).after(2 * SLOW),
    ];
    cases.extend(packets("IP IDs that are not counted say nothing", &slow(open, &steps)));
    cases
}

/// Holes before the first segment that was seen, and before a FIN.
fn at_the_edges(open: &Open) -> Vec<Case> {
    let mut cases = Vec::new();
    let steps = [
        silent(&open.data(101, 100)),
        Step::filling(&open.data(1, 100), Retransmit).volumes(volume(2, 200, 1), NONE).after(LATE),
        Step::retransmit(&open.data(1, 100), Retransmit).volumes(volume(3, 300, 2), NONE),
        Step::retransmit(&open.data(101, 100), Retransmit).volumes(volume(4, 400, 3), NONE),
    ];
    cases.extend(packets("segments before the first one that was seen", &steps));
    let fin = Step::emits(&open.fin(201), Fin).volumes(volume(1, 100, 0), NONE);
    let steps = [
        silent(&open.data(1, 100)),
        fin,
        Step::filling(&open.data(101, 100), Retransmit).volumes(volume(2, 200, 1), NONE).after(LATE),
        Step::retransmit(&open.fin(201), Fin).volumes(volume(2, 200, 1), NONE),
    ];
    cases.extend(packets("a hole before a FIN", &unmeasured(open, &steps)));
    // The last segment is lost together with its FIN, and retransmitted with it.
    let last = open.fin(101).payload(50);
    let steps = [
        silent(&open.data(1, 100)),
        silent(&open.data(151, 20)),
        Step::filling(&last, Fin).volumes(volume(3, 170, 1), NONE).after(LATE),
    ];
    cases.extend(packets("a FIN that fills a hole", &unmeasured(open, &steps)));
    cases
}

/// Hard cases `fast-open` and `asymmetric-routing`: the first flight, when the handshake was not seen complete.
fn handshakes(open: &Open) -> Vec<Case> {
    let flow = &open.0;
    let (first, second) = (open.data(1, 50), open.data(51, 50));
    let mut cases = Vec::new();
    let steps = [
        flow.syn_ack(),
        Step::emits(&second, Ack).volumes(volume(1, 50, 0), NONE),
        Step::filling(&first, Retransmit).volumes(volume(2, 100, 1), NONE).after(LATE),
    ];
    cases.extend(packets("the second segment completes, the first is lost", &steps));
    let steps = [
        flow.syn(),
        flow.syn_ack(),
        Step::emits(&first, Ack).volumes(volume(1, 50, 0), NONE),
        Step::retransmit(&first, Retransmit).volumes(volume(2, 100, 1), NONE),
    ];
    cases.extend(packets("the first segment completes, and is retransmitted", &steps));
    let fast = Step::emits(&flow.out(SYN, 0, 0).payload(50), Syn);
    let declined = [
        fast.clone(),
        flow.syn_ack(),
        Step::emits(&first, Ack).volumes(volume(1, 50, 0), NONE),
        silent(&second),
    ];
    cases.extend(packets("data in the SYN that is not accepted", &declined));
    let taken = [
        fast,
        Step::emits(&flow.back(SYN | ACK, 0, 51), SynAck),
        Step::emits(&flow.out(ACK | PSH, 51, 1).payload(50), Ack).volumes(volume(1, 50, 0), NONE),
        silent(&open.data(101, 50)),
        Step::retransmit(&second, Retransmit).volumes(volume(3, 150, 1), NONE),
    ];
    cases.extend(packets("data in the SYN that is accepted", &taken));
    cases
}

/// Hard case `reordering`: while the RTT is unknown, a hole filled within 3 ms was reordering. A busy machine may be
/// slower than that; such a run is skipped.
#[test]
fn holes_that_are_filled_at_once() {
    const AT_ONCE_NS: u64 = 3_000_000;
    if !lab::require_root() {
        return;
    }
    let mut both = Both::load(1);
    let (mut judged, mut all) = (0, 0);
    for (program, hook) in programs() {
        for family in [Family::V4, Family::V6] {
            // Between two segments, and before the first one that was seen.
            for order in [&[1, 201, 101][..], &[101, 1]] {
                both.forget();
                let started_ns = monotonic_ns();
                let seen: Vec<_> =
                    order.iter().map(|seq| show(&mut both, program, &hook, family, *seq)).collect();
                all += 1;
                if monotonic_ns() - started_ns < AT_ONCE_NS {
                    judged += 1;
                    let nothing = vec![Seen::default(); order.len()];
                    assert_eq!(seen, nothing, "{program}, {family:?}, {order:?}");
                }
            }
        }
    }
    assert!(judged > all / 4, "{judged} of {all} were in time");
}

fn show(both: &mut Both, program: &str, hook: &Hook, family: Family, seq: u32) -> Seen {
    let packet = Open::new(family).data(seq, 100).packet();
    let bytes = if hook.link == LinkLayer::None { packet } else { ethernet(&[], &packet) };
    let place = || format!("{program}, {family:?}, data at {seq}");
    both.run(program, hook, &Frame::one(&bytes), place).unwrap_or_else(|| panic!("refused: {}", place()))
}
