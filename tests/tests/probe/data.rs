//! The table, third part: what is sent in a connection, and what is sent again.

use probe_common::{Family, SegmentKind, Timestamps};

use crate::cases::{Case, packets};
use crate::frames::{ACK, FIN, PSH, RST, SYN, Spec, Step, Want, timestamps, volume};
use crate::sequences::{Flow, NONE};

/// The opener's data wraps after 100 bytes.
const OPENER: u32 = 0xffff_ff9b;
/// Farther than any window reaches.
const FAR: u32 = 1 << 27;

/// A connection that is open, and what passes in it. Numbers begin at 1.
pub(crate) struct Open(pub(crate) Flow);

impl Open {
    pub(crate) fn new(family: Family) -> Self {
        Self(Flow::from(family, OPENER))
    }

    /// These steps, behind a handshake.
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
        .flat_map(|open| [counted(open), again(open), probes(open), ends(open), next(open), midway(open)])
        .flatten()
        .collect()
}

fn silent(spec: &Spec) -> Step {
    Step::silent(spec)
}

fn told(spec: &Spec, kind: SegmentKind) -> Step {
    Step::told(spec, kind)
}

/// Data in order costs no record; the connection's end tells how much there was.
fn counted(open: &Open) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name, steps: &[Step]| cases.extend(packets(name, &open.then(steps)));
    case(
        "data in order, both ways",
        &[
            silent(&open.data(1, 100)),
            silent(&open.back(1, 50)),
            silent(&open.data(101, 200)),
            told(&open.fin(301), SegmentKind::Fin).volumes(volume(2, 300, 0), volume(1, 50, 0)),
            silent(&open.back(51, 7)),
            told(&open.back(58, 3).flags(FIN | ACK), SegmentKind::Fin)
                .volumes(volume(3, 60, 0), volume(2, 300, 0)),
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
            Step::again(&bulk, SegmentKind::Retransmit).volumes(volume(7, 7_000, 3), volume(2, 2_000, 0)),
            told(&open.fin(4_001), SegmentKind::Fin).volumes(volume(7, 7_000, 3), volume(2, 2_000, 0)),
        ],
    );
    case(
        "no data, wherever it is",
        &[
            silent(&open.data(1, 0)),
            silent(&open.data(0, 0)),
            silent(&open.data(FAR, 0)),
            silent(&open.data(1, 10)),
            told(&open.fin(11), SegmentKind::Fin).volumes(volume(1, 10, 0), NONE),
        ],
    );
    cases
}

/// Hard case `keep-alives-and-window-probes`: what has passed and passes again.
fn again(open: &Open) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name, steps: &[Step]| cases.extend(packets(name, &open.then(steps)));
    case(
        "data sent again",
        &[
            silent(&open.data(1, 90)),
            silent(&open.back(1, 5)),
            Step::again(&open.data(1, 90), SegmentKind::Retransmit)
                .volumes(volume(2, 180, 1), volume(1, 5, 0)),
            Step::again(&open.data(1, 90), SegmentKind::Retransmit)
                .volumes(volume(3, 270, 2), volume(1, 5, 0)),
            Step::again(&open.back(1, 5), SegmentKind::Retransmit)
                .volumes(volume(2, 10, 1), volume(3, 270, 2)),
            silent(&open.data(91, 5)),
            told(&open.fin(96), SegmentKind::Fin).volumes(volume(4, 275, 2), volume(2, 10, 1)),
        ],
    );
    case(
        "old bytes and new ones in one segment",
        &[
            silent(&open.data(1, 60)),
            Step::again(&open.data(31, 60), SegmentKind::Retransmit).volumes(volume(2, 120, 1), NONE),
            silent(&open.data(91, 5)),
            Step::again(&open.data(91, 5), SegmentKind::Retransmit).volumes(volume(4, 130, 2), NONE),
            Step::again(&open.data(11, 5), SegmentKind::Retransmit).volumes(volume(5, 135, 3), NONE),
        ],
    );
    case(
        "numbers that wrap",
        &[
            silent(&open.data(1, 80)),
            silent(&open.data(81, 40)),
            silent(&open.data(121, 40)),
            Step::again(&open.data(1, 80), SegmentKind::Retransmit).volumes(volume(4, 240, 1), NONE),
            Step::again(&open.data(81, 40), SegmentKind::Retransmit).volumes(volume(5, 280, 2), NONE),
            Step::again(&open.data(91, 80), SegmentKind::Retransmit).volumes(volume(6, 360, 3), NONE),
            silent(&open.data(171, 9)),
        ],
    );
    // What was read from the options of one segment is not told of the next.
    let stamps = [&timestamps(7, 8)[..], &[1, 1]].concat();
    let mut ack = told(&open.0.out(ACK, 1, 1).options(&stamps), SegmentKind::Ack);
    if let Want::Told(told) = &mut ack.want {
        told.timestamps = Timestamps { value: 7, echo: 8, present: true };
    }
    let data = open.data(1, 10).options(&stamps);
    let again = Step::again(&data, SegmentKind::Retransmit).volumes(volume(2, 20, 1), NONE);
    let steps = [open.0.syn(), open.0.syn_ack(), ack, silent(&data), again];
    cases.extend(packets("timestamps are not read from data", &steps));
    cases
}

/// Hard case `sequence-space`: what looks like data sent again, and is none.
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
            told(&open.fin(201), SegmentKind::Fin).volumes(volume(2, 200, 0), NONE),
        ],
    );
    case(
        "a window probe of one new byte, repeated",
        &[
            silent(&open.data(1, 100)),
            silent(&open.data(101, 1)),
            silent(&open.data(101, 1)),
            silent(&open.data(101, 1)),
            silent(&open.data(102, 50)),
            told(&open.fin(152), SegmentKind::Fin).volumes(volume(3, 151, 0), NONE),
        ],
    );
    // Two bytes, or one that is farther below, are no probe.
    case(
        "hardly more than a keep-alive",
        &[
            silent(&open.data(1, 100)),
            Step::again(&open.data(99, 2), SegmentKind::Retransmit).volumes(volume(2, 102, 1), NONE),
            Step::again(&open.data(99, 1), SegmentKind::Retransmit).volumes(volume(3, 103, 2), NONE),
            Step::again(&open.data(100, 2), SegmentKind::Retransmit).volumes(volume(4, 105, 3), NONE),
            silent(&open.data(102, 1)),
        ],
    );
    cases
}

/// Hard case `tail-loss-probes`: both volumes are told at the end, and a FIN that is repeated is known as such.
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
            told(&fin, SegmentKind::Fin).volumes(out, back),
            Step::again(&fin, SegmentKind::Fin).volumes(out, back),
            silent(&open.back(31, 0)),
            told(&answer, SegmentKind::Fin).volumes(back, out),
            Step::again(&answer, SegmentKind::Fin).volumes(back, out),
            Step::again(&fin, SegmentKind::Fin).volumes(out, back),
            silent(&open.data(102, 0)),
        ],
    );
    let last = fin.payload(10);
    case(
        "a FIN with data, repeated",
        &[
            told(&last, SegmentKind::Fin).volumes(volume(2, 110, 0), back),
            Step::again(&last, SegmentKind::Fin).volumes(volume(3, 120, 1), back),
            Step::again(&open.data(101, 10), SegmentKind::Retransmit).volumes(volume(4, 130, 2), back),
        ],
    );
    case("a RST of the opener", &[told(&open.0.out(RST, 101, 0), SegmentKind::Rst).volumes(out, back)]);
    case(
        "a RST of the other end",
        &[told(&open.back(31, 0).flags(RST | ACK), SegmentKind::Rst).volumes(back, out)],
    );
    // It ends nothing, but where the connection stands is told of it, too.
    case(
        "a RST that is out of place",
        &[
            told(&open.0.out(RST, FAR, 0), SegmentKind::Rst).volumes(out, back),
            silent(&open.data(101, 10)),
            told(&open.0.out(RST, 111, 0), SegmentKind::Rst).volumes(volume(2, 110, 0), back),
        ],
    );
    cases
}

/// Two seconds of a clock that counts up by one in 64 ns.
const LATER: u32 = 1 << 25;

/// Hard case `port-reuse`: the ports are used again, and what was sent until then is told.
fn next(open: &Open) -> Vec<Case> {
    let flow = &open.0;
    let (out, back) = (volume(2, 200, 1), volume(1, 30, 0));
    let mut cases = Vec::new();
    let mut case = |name, steps: &[Step]| {
        let before = [
            silent(&open.data(1, 100)),
            silent(&open.back(1, 30)),
            Step::again(&open.data(1, 100), SegmentKind::Retransmit).volumes(out, back),
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
            told(&flow.back(SYN, LATER, 0), SegmentKind::Syn).volumes(back, out),
            told(&flow.out(SYN | ACK, LATER, LATER + 1), SegmentKind::SynAck),
            told(&flow.back(ACK, LATER + 1, LATER + 1), SegmentKind::Ack),
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
            told(&open.fin(101), SegmentKind::Fin).volumes(out, back),
            told(&open.back(31, 0).flags(FIN | ACK), SegmentKind::Fin).volumes(back, out),
            syn_ack.volumes(back, out),
            ack,
        ],
    );
    cases
}

/// The beginning of the next connection on the same ports.
fn handshake_later(open: &Open) -> [Step; 5] {
    let (flow, data) = (&open.0, open.data(LATER + 1, 10));
    [
        told(&flow.out(SYN, LATER, 0), SegmentKind::Syn),
        told(&flow.back(SYN | ACK, LATER, LATER + 1), SegmentKind::SynAck),
        told(&flow.out(ACK, LATER + 1, LATER + 1), SegmentKind::Ack),
        silent(&data),
        Step::again(&data, SegmentKind::Retransmit).volumes(volume(2, 20, 1), NONE),
    ]
}

/// Hard case `reordering`: connections that were open before, and those that went another way for a while.
fn midway(open: &Open) -> Vec<Case> {
    let data = open.data(1, 100);
    let mut cases = Vec::new();
    let mut case = |name, steps: &[Step]| cases.extend(packets(name, steps));
    case(
        "data of an unknown flow, and again",
        &[
            silent(&data),
            Step::again(&data, SegmentKind::Retransmit).volumes(volume(2, 200, 1), NONE),
            silent(&open.data(101, 100)),
            silent(&open.back(1, 30)),
            Step::again(&open.back(1, 30), SegmentKind::Retransmit)
                .volumes(volume(2, 60, 1), volume(3, 300, 1)),
            told(&open.fin(201), SegmentKind::Fin).volumes(volume(3, 300, 1), volume(2, 60, 1)),
        ],
    );
    case(
        "a keep-alive of an unknown flow",
        &[
            silent(&open.data(100, 0)),
            silent(&open.data(100, 1)),
            silent(&open.data(101, 50)),
            told(&open.fin(151), SegmentKind::Fin).volumes(volume(2, 51, 0), NONE),
        ],
    );
    case(
        "a FIN of an unknown flow",
        &[
            told(&open.fin(1), SegmentKind::Fin),
            silent(&open.data(2, 0)),
            told(&open.fin(1), SegmentKind::Fin),
        ],
    );
    let behind = |seq, len| open.data(FAR.wrapping_add(seq), len);
    let elsewhere = [
        silent(&data),
        silent(&behind(1, 100)),
        silent(&behind(101, 100)),
        Step::again(&behind(1, 100), SegmentKind::Retransmit).volumes(volume(4, 400, 1), NONE),
        // Back where it was: nothing is known of that any more.
        silent(&open.data(101, 100)),
        silent(&open.data(201, 100)),
        told(&open.fin(301), SegmentKind::Fin).volumes(volume(6, 600, 1), NONE),
    ];
    case("numbers that are far from those before", &open.then(&elsewhere));
    // Two answers: whose numbers count, the data tells.
    let other = told(&open.0.back(SYN | ACK, 5_000_000, 1), SegmentKind::SynAck);
    let twice = [
        open.0.syn(),
        open.0.syn_ack(),
        other,
        told(&open.0.out(ACK, 1, 5_000_001), SegmentKind::Ack),
        silent(&open.back(5_000_001, 40)),
        Step::again(&open.back(5_000_001, 40), SegmentKind::Retransmit).volumes(volume(2, 80, 1), NONE),
    ];
    case("data behind two answers", &twice);
    cases
}
