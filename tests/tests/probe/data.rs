//! The table, part 3: data and retransmits in a connection.

use std::time::Duration;

use probe_common::SegmentKind::{Ack, Fin, Retransmit, Rst, Syn, SynAck};
use probe_common::{Family, SegmentKind, Timestamps};

use crate::cases::{Case, packets};
use crate::frames::{ACK, FIN, PSH, RST, SYN, Spec, Step, Want, timestamps, volume};
use crate::sequences::{Flow, NONE};

/// The opener's data wraps after 100 bytes.
const OPENER: u32 = 0xffff_ff9b;
/// Beyond any window.
const FAR: u32 = 1 << 27;

/// An established connection and its segments. Sequence numbers start at 1.
pub(crate) struct Open(pub(crate) Flow);

impl Open {
    pub(crate) fn new(family: Family) -> Self {
        Self(Flow::from(family, OPENER))
    }

    /// A handshake, then these steps.
    pub(crate) fn then(&self, steps: &[Step]) -> Vec<Step> {
        [&[self.0.syn(), self.0.syn_ack(), self.0.completing()], steps].concat()
    }

    pub(crate) fn data(&self, seq: u32, len: usize) -> Spec {
        self.0.out(ACK | PSH, seq, 1).payload(len)
    }

    pub(crate) fn back(&self, seq: u32, len: usize) -> Spec {
        self.0.back(ACK | PSH, seq, 1).payload(len)
    }

    pub(crate) fn fin(&self, seq: u32) -> Spec {
        self.0.out(FIN | ACK, seq, 1)
    }
}

pub(crate) fn all() -> Vec<Case> {
    let families = [Family::V4, Family::V6].map(Open::new);
    families
        .iter()
        .flat_map(|open| {
            [
                counted(open),
                retransmits(open),
                window_probes(open),
                probes(open),
                ends(open),
                next(open),
                mid_stream(open),
            ]
        })
        .flatten()
        .collect()
}

fn silent(spec: &Spec) -> Step {
    Step::silent(spec)
}

fn emits(spec: &Spec, kind: SegmentKind) -> Step {
    Step::emits(spec, kind)
}

/// Data in order makes no record; the record of the close has the volumes.
fn counted(open: &Open) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name, steps: &[Step]| cases.extend(packets(name, &open.then(steps)));
    case(
        "data in order, both ways",
        &[
            silent(&open.data(1, 100)),
            silent(&open.back(1, 50)),
            silent(&open.data(101, 200)),
            emits(&open.fin(301), Fin).volumes(volume(2, 300, 0), volume(1, 50, 0)),
            silent(&open.back(51, 7)),
            emits(&open.back(58, 3).flags(FIN | ACK), Fin).volumes(volume(3, 60, 0), volume(2, 300, 0)),
        ],
    );
    // Hard case `segmentation-offload`.
    let bulk = open.data(1, 3_000).segments(3);
    case(
        "a super-packet counts as its segments",
        &[
            silent(&bulk),
            silent(&open.data(3_001, 1_000)),
            silent(&open.back(1, 2_000).segments(2)),
            Step::retransmit(&bulk, Retransmit).volumes(volume(7, 7_000, 3), volume(2, 2_000, 0)),
            emits(&open.fin(4_001), Fin).volumes(volume(7, 7_000, 3), volume(2, 2_000, 0)),
        ],
    );
    case(
        "no data, wherever it is",
        &[
            silent(&open.data(1, 0)),
            silent(&open.data(0, 0)),
            silent(&open.data(FAR, 0)),
            silent(&open.data(1, 10)),
            emits(&open.fin(11), Fin).volumes(volume(1, 10, 0), NONE),
        ],
    );
    cases
}

/// Hard case `keep-alives-and-window-probes`: retransmits of bytes that passed before.
fn retransmits(open: &Open) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name, steps: &[Step]| cases.extend(packets(name, &open.then(steps)));
    case(
        "data sent again",
        &[
            silent(&open.data(1, 90)),
            silent(&open.back(1, 5)),
            Step::retransmit(&open.data(1, 90), Retransmit).volumes(volume(2, 180, 1), volume(1, 5, 0)),
            Step::retransmit(&open.data(1, 90), Retransmit).volumes(volume(3, 270, 2), volume(1, 5, 0)),
            Step::retransmit(&open.back(1, 5), Retransmit).volumes(volume(2, 10, 1), volume(3, 270, 2)),
            silent(&open.data(91, 5)),
            emits(&open.fin(96), Fin).volumes(volume(4, 275, 2), volume(2, 10, 1)),
        ],
    );
    case(
        "old bytes and new ones in one segment",
        &[
            silent(&open.data(1, 60)),
            Step::retransmit(&open.data(31, 60), Retransmit).volumes(volume(2, 120, 1), NONE),
            silent(&open.data(91, 5)),
            Step::retransmit(&open.data(91, 5), Retransmit).volumes(volume(4, 130, 2), NONE),
            Step::retransmit(&open.data(11, 5), Retransmit).volumes(volume(5, 135, 3), NONE),
        ],
    );
    case(
        "numbers that wrap",
        &[
            silent(&open.data(1, 80)),
            silent(&open.data(81, 40)),
            silent(&open.data(121, 40)),
            Step::retransmit(&open.data(1, 80), Retransmit).volumes(volume(4, 240, 1), NONE),
            Step::retransmit(&open.data(81, 40), Retransmit).volumes(volume(5, 280, 2), NONE),
            Step::retransmit(&open.data(91, 80), Retransmit).volumes(volume(6, 360, 3), NONE),
            silent(&open.data(171, 9)),
        ],
    );
    // Timestamps of one segment do not appear in the record of the next.
    let stamps = [&timestamps(7, 8)[..], &[1, 1]].concat();
    let mut ack = emits(&open.0.out(ACK, 1, 1).options(&stamps), Ack);
    if let Want::Emitted(emits) = &mut ack.want {
        emits.timestamps = Timestamps { value: 7, echo: 8, present: true };
    }
    let data = open.data(1, 10).options(&stamps);
    let again = Step::retransmit(&data, Retransmit).volumes(volume(2, 20, 1), NONE);
    let steps = [open.0.syn(), open.0.syn_ack(), ack, silent(&data), again];
    cases.extend(packets("timestamps are not read from data", &steps));
    cases
}

/// Hard case `sequence-space`: probes of a window that is closed.
fn window_probes(open: &Open) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name, steps: &[Step]| cases.extend(packets(name, &open.then(steps)));
    case(
        "a window probe of one new byte, repeated",
        &[
            silent(&open.data(1, 100)),
            silent(&open.data(101, 1)),
            silent(&open.data(101, 1)),
            silent(&open.data(101, 1)),
            silent(&open.data(102, 50)),
            emits(&open.fin(152), Fin).volumes(volume(3, 151, 0), NONE),
        ],
    );
    // The other end has no room: the byte is not taken, and begins what is sent once there is.
    case(
        "a probe of a closed window",
        &[
            silent(&open.data(1, 100)),
            silent(&open.back(1, 0).closed()),
            silent(&open.data(101, 1)),
            silent(&open.data(102, 0)),
            silent(&open.back(1, 0).closed()),
            silent(&open.data(101, 1)),
            silent(&open.back(1, 0)),
            silent(&open.data(101, 50)),
            Step::retransmit(&open.data(101, 50), Retransmit).volumes(volume(3, 200, 1), NONE),
            emits(&open.fin(151), Fin).volumes(volume(3, 200, 1), NONE),
        ],
    );
    cases
}

/// Hard case `sequence-space`: segments that look like retransmits, and are none.
fn probes(open: &Open) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name, steps: &[Step]| cases.extend(packets(name, &open.then(steps)));
    case(
        "keep-alives, with and without a byte",
        &[
            silent(&open.data(0, 0)),
            silent(&open.data(0, 1)),
            silent(&open.data(1, 100)),
            silent(&open.data(100, 0)),
            silent(&open.data(100, 1)),
            silent(&open.data(100, 1)),
            silent(&open.back(0, 1)),
            silent(&open.data(101, 100)),
            emits(&open.fin(201), Fin).volumes(volume(2, 200, 0), NONE),
        ],
    );
    // Two bytes, or one byte farther below, are no probe.
    case(
        "hardly more than a keep-alive",
        &[
            silent(&open.data(1, 100)),
            Step::retransmit(&open.data(99, 2), Retransmit).volumes(volume(2, 102, 1), NONE),
            Step::retransmit(&open.data(99, 1), Retransmit).volumes(volume(3, 103, 2), NONE),
            Step::retransmit(&open.data(100, 2), Retransmit).volumes(volume(4, 105, 3), NONE),
            silent(&open.data(102, 1)),
        ],
    );
    cases
}

/// Hard case `tail-loss-probes`: records of the close have both volumes, and a repeated FIN is a retransmit.
fn ends(open: &Open) -> Vec<Case> {
    let (out, back) = (volume(1, 100, 0), volume(1, 30, 0));
    let mut cases = Vec::new();
    let mut case = |name, steps: &[Step]| {
        let both_ways = [silent(&open.data(1, 100)), silent(&open.back(1, 30))];
        cases.extend(packets(name, &open.then(&[&both_ways, steps].concat())));
    };
    let (fin, answer) = (open.fin(101), open.back(31, 0).flags(FIN | ACK));
    case(
        "FINs, repeated",
        &[
            emits(&fin, Fin).volumes(out, back),
            Step::retransmit(&fin, Fin).volumes(out, back),
            silent(&open.back(31, 0)),
            emits(&answer, Fin).volumes(back, out),
            Step::retransmit(&answer, Fin).volumes(back, out),
            Step::retransmit(&fin, Fin).volumes(out, back),
            silent(&open.data(102, 0)),
        ],
    );
    let last = fin.payload(10);
    case(
        "a FIN with data, repeated",
        &[
            emits(&last, Fin).volumes(volume(2, 110, 0), back),
            Step::retransmit(&last, Fin).volumes(volume(3, 120, 1), back),
            Step::retransmit(&open.data(101, 10), Retransmit).volumes(volume(4, 130, 2), back),
        ],
    );
    case("a RST of the opener", &[emits(&open.0.out(RST, 101, 0), Rst).volumes(out, back)]);
    case("a RST of the other end", &[emits(&open.back(31, 0).flags(RST | ACK), Rst).volumes(back, out)]);
    // It ends nothing, but its record has the volumes as well.
    case(
        "a RST that is out of place",
        &[
            emits(&open.0.out(RST, FAR, 0), Rst).volumes(out, back).out_of_window(),
            // More was sent than may have passed unseen.
            emits(&open.0.out(RST, 101 + (1 << 17), 0), Rst).volumes(out, back).out_of_window(),
            silent(&open.data(101, 10)),
            emits(&open.0.out(RST, 111, 0), Rst).volumes(volume(2, 110, 0), back),
        ],
    );
    cases
}

/// Two seconds of a clock that counts up by one in 64 ns.
const LATER: u32 = 1 << 25;

/// Hard case `port-reuse`: when the ports are reused, a record has the volumes so far.
fn next(open: &Open) -> Vec<Case> {
    let flow = &open.0;
    let (out, back) = (volume(2, 200, 1), volume(1, 30, 0));
    let mut cases = Vec::new();
    let mut case = |name, steps: &[Step]| {
        let before = [
            silent(&open.data(1, 100)),
            silent(&open.back(1, 30)),
            Step::retransmit(&open.data(1, 100), Retransmit).volumes(out, back),
        ];
        cases.extend(packets(name, &open.then(&[&before, steps].concat())));
    };
    let [syn, syn_ack, ack, data, again] = handshake_later(open);
    case(
        "a SYN on the ports of an open connection",
        &[syn.volumes(out, back), syn_ack.clone(), ack.clone(), data, again],
    );
    case(
        "a SYN of the other end on the ports of an open connection",
        &[
            emits(&flow.back(SYN, LATER, 0), Syn).volumes(back, out),
            emits(&flow.out(SYN | ACK, LATER, LATER + 1), SynAck),
            emits(&flow.back(ACK, LATER + 1, LATER + 1), Ack),
        ],
    );
    case(
        "the SYN of an open connection, once more",
        &[
            flow.syn().volumes(out, back),
            silent(&open.data(101, 10)),
            flow.syn_ack().volumes(back, volume(3, 210, 1)),
            silent(&open.back(31, 10)),
        ],
    );
    case(
        "a SYN-ACK of the next connection, whose SYN is not in sight",
        &[
            emits(&open.fin(101), Fin).volumes(out, back),
            emits(&open.back(31, 0).flags(FIN | ACK), Fin).volumes(back, out),
            syn_ack.volumes(back, out),
            ack,
        ],
    );
    cases
}

/// The handshake of the next connection on the same ports.
fn handshake_later(open: &Open) -> [Step; 5] {
    let (flow, data) = (&open.0, open.data(LATER + 1, 10));
    [
        emits(&flow.out(SYN, LATER, 0), Syn),
        emits(&flow.back(SYN | ACK, LATER, LATER + 1), SynAck),
        emits(&flow.out(ACK, LATER + 1, LATER + 1), Ack),
        silent(&data),
        Step::retransmit(&data, Retransmit).volumes(volume(2, 20, 1), NONE),
    ]
}

/// Hard case `reordering`: mid-stream connections, and connections that took another path for a while.
#[allow(clippy::too_many_lines, reason = "a table of cases")]
fn mid_stream(open: &Open) -> Vec<Case> {
    let data = open.data(1, 100);
    let mut cases = Vec::new();
    let mut case = |name, steps: &[Step]| cases.extend(packets(name, steps));
    case(
        "data of an unknown flow, and again",
        &[
            silent(&data),
            Step::retransmit(&data, Retransmit).volumes(volume(2, 200, 1), NONE),
            silent(&open.data(101, 100)),
            silent(&open.back(1, 30)),
            Step::retransmit(&open.back(1, 30), Retransmit).volumes(volume(2, 60, 1), volume(3, 300, 1)),
            emits(&open.fin(201), Fin).volumes(volume(3, 300, 1), volume(2, 60, 1)),
        ],
    );
    case(
        "a keep-alive of an unknown flow",
        &[
            silent(&open.data(100, 0)),
            silent(&open.data(100, 1)),
            silent(&open.data(101, 50)),
            emits(&open.fin(151), Fin).volumes(volume(2, 51, 0), NONE),
        ],
    );
    case(
        "a FIN of an unknown flow",
        &[
            emits(&open.fin(1), Fin),
            silent(&open.data(2, 0)),
            Step::retransmit(&open.fin(1), Fin),
            // As is what is before it, once it is too late for having been overtaken.
            Step::filling(&open.data(0, 1), Retransmit)
                .volumes(volume(1, 1, 1), NONE)
                .after(Duration::from_millis(5)),
        ],
    );
    case(
        "FINs of both ends of an unknown flow",
        &[
            emits(&open.fin(1), Fin),
            emits(&open.back(1, 0).flags(FIN | ACK), Fin),
            Step::retransmit(&open.fin(1), Fin),
        ],
    );
    // Only the responder is seen (asymmetric routing): the handshake is never complete.
    case(
        "a FIN where one end is seen",
        &[
            open.0.syn_ack(),
            silent(&open.back(1, 100)),
            emits(&open.back(151, 0).flags(FIN | ACK), Fin).volumes(volume(1, 100, 0), NONE),
            Step::filling(&open.back(101, 50), Retransmit)
                .volumes(volume(2, 150, 1), NONE)
                .after(Duration::from_millis(5)),
            Step::retransmit(&open.back(151, 0).flags(FIN | ACK), Fin).volumes(volume(2, 150, 1), NONE),
        ],
    );
    let behind = |seq, len| open.data(FAR.wrapping_add(seq), len);
    let elsewhere = [
        silent(&data),
        silent(&behind(1, 100)),
        silent(&behind(101, 100)),
        Step::retransmit(&behind(1, 100), Retransmit).volumes(volume(4, 400, 1), NONE),
        // Back at the earlier numbers: those are no longer known.
        silent(&open.data(101, 100)),
        silent(&open.data(201, 100)),
        emits(&open.fin(301), Fin).volumes(volume(6, 600, 1), NONE),
    ];
    case("numbers far from those before", &open.then(&elsewhere));
    // Two answers: the data shows whose numbers count.
    let other = emits(&open.0.back(SYN | ACK, 5_000_000, 1), SynAck);
    let twice = [
        open.0.syn(),
        open.0.syn_ack(),
        other,
        emits(&open.0.out(ACK, 1, 5_000_001), Ack),
        silent(&open.back(5_000_001, 40)),
        Step::retransmit(&open.back(5_000_001, 40), Retransmit).volumes(volume(2, 80, 1), NONE),
    ];
    case("data after two answers", &twice);
    cases
}
