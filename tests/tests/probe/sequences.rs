//! The table, part 2: several frames of one flow, of which each depends on those before.

use probe_common::SegmentKind::{Ack, Fin, Rst, Syn, SynAck};
use probe_common::{Family, SegmentKind, Volume};

use crate::cases::{Case, packets};
use crate::frames::{ACK, FIN, PSH, RST, SYN, Spec, Step, volume};

/// Initial sequence numbers; those of the opener wrap within the handshake.
const OPENER: u32 = 0xffff_ffff;
const ANSWERER: u32 = 0x7000_0000;

/// No volume.
pub(crate) const NONE: Volume = volume(0, 0, 0);

/// One connection. Sequence numbers are relative.
pub(crate) struct Flow {
    family: Family,
    opener: u32,
}

impl Flow {
    /// With this initial sequence number of the opener.
    pub(crate) fn from(family: Family, opener: u32) -> Self {
        Self { family, opener }
    }

    fn new(family: Family) -> Self {
        Self::from(family, OPENER)
    }

    pub(crate) fn out(&self, flags: u8, seq: u32, ack: u32) -> Spec {
        let ack = if flags & ACK == 0 { 0 } else { ANSWERER + ack };
        Spec::out(self.family, flags, self.opener.wrapping_add(seq), ack)
    }

    pub(crate) fn back(&self, flags: u8, seq: u32, ack: u32) -> Spec {
        Spec::back(self.family, flags, ANSWERER + seq, self.opener.wrapping_add(ack))
    }

    pub(crate) fn syn(&self) -> Step {
        emits(&self.out(SYN, 0, 0), Syn)
    }

    pub(crate) fn syn_ack(&self) -> Step {
        emits(&self.back(SYN | ACK, 0, 1), SynAck)
    }

    pub(crate) fn completing(&self) -> Step {
        emits(&self.out(ACK, 1, 1), Ack)
    }
}

fn emits(spec: &Spec, kind: SegmentKind) -> Step {
    Step::emits(spec, kind)
}

fn silent(spec: &Spec) -> Step {
    Step::silent(spec)
}

pub(crate) fn all() -> Vec<Case> {
    let families = [Family::V4, Family::V6].map(Flow::new);
    families
        .iter()
        .flat_map(|flow| [completions(flow), detours(flow), unmatched(flow), to_itself(flow), ends(flow)])
        .flatten()
        .collect()
}

/// Only the completing ACK makes a record, and only once.
#[allow(clippy::too_many_lines, reason = "a table of cases")]
fn completions(flow: &Flow) -> Vec<Case> {
    let data = flow.out(ACK | PSH, 1, 1).payload(50);
    let fast = flow.out(SYN, 0, 0).payload(20);
    let answer = flow.back(SYN | ACK, 0, 21);
    let mut cases = Vec::new();
    let mut case = |name, steps: &[_]| cases.extend(packets(name, steps));
    case(
        "a handshake is completed once",
        &[
            flow.syn(),
            flow.syn_ack(),
            silent(&flow.back(ACK, 1, 1)),
            flow.completing(),
            silent(&flow.out(ACK, 1, 1)),
            silent(&flow.out(ACK | PSH, 1, 1).payload(10)),
            silent(&flow.out(ACK, 11, 500)),
        ],
    );
    case(
        "the first data completes as well",
        &[flow.syn(), flow.syn_ack(), emits(&data, Ack).volumes(volume(1, 50, 0), NONE)],
    );
    // Hard case `segmentation-offload`: several segments as one (GSO, GRO), longer than the MTU.
    let bulk = flow.out(ACK | PSH, 1, 1).payload(3_000).segments(3);
    let completing = emits(&bulk, Ack).volumes(volume(3, 3_000, 0), NONE);
    case("a super-packet completes as well", &[flow.syn(), flow.syn_ack(), completing]);
    case("no SYN seen", &[flow.syn_ack(), flow.completing()]);
    // Hard case `asymmetric-routing`.
    case("no SYN-ACK seen", &[flow.syn(), flow.completing(), silent(&flow.out(ACK, 1, 1))]);
    // Hard cases `ambiguous-handshake` and `duplicate-syn-ack`.
    case(
        "SYN and SYN-ACK retransmitted",
        &[flow.syn(), flow.syn(), flow.syn_ack(), flow.syn_ack(), flow.completing()],
    );
    // Hard case `fast-open`.
    case(
        "data in the SYN (Fast Open)",
        &[emits(&fast, Syn), emits(&answer, SynAck), emits(&flow.out(ACK, 21, 1), Ack)],
    );
    // Hard case `port-reuse`: the state of the old connection must not hide the ACK of the new one.
    let (syn, syn_ack) = (flow.out(SYN, 90_000, 0), flow.back(SYN | ACK, 0, 90_001));
    case(
        "a reused 4-tuple",
        &[
            flow.syn(),
            flow.syn_ack(),
            flow.completing(),
            emits(&syn, Syn),
            emits(&syn_ack, SynAck),
            silent(&flow.out(ACK, 1, 1)),
            emits(&flow.out(ACK, 90_001, 1), Ack),
        ],
    );
    cases
}

/// Handshakes that are completed by a detour.
fn detours(flow: &Flow) -> Vec<Case> {
    const FAR: u32 = 0x4000_0000;
    let (stale, rejection) = (flow.back(SYN | ACK, 500, FAR), flow.out(RST, FAR, 0));
    let (crossing, answering) = (flow.back(SYN, 0, 0), flow.out(SYN | ACK, 0, 1));
    let mut cases = Vec::new();
    let mut case = |name, steps: &[_]| cases.extend(packets(name, steps));
    // Hard case `answer-to-another-syn`: the client rejects an answer to another SYN, and waits for its own.
    case(
        "a RST for a stale SYN-ACK",
        &[flow.syn(), emits(&stale, SynAck), emits(&rejection, Rst), flow.syn_ack(), flow.completing()],
    );
    // Hard case `simultaneous-open`.
    case(
        "both ends open at the same time",
        &[flow.syn(), emits(&crossing, Syn), flow.syn_ack(), emits(&answering, SynAck), flow.completing()],
    );
    cases
}

/// ACKs that complete nothing.
fn unmatched(flow: &Flow) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut case = |name, steps: &[_]| cases.extend(packets(name, steps));
    // Hard case `mid-stream`.
    case("an ACK of an unknown flow", &[silent(&flow.out(ACK, 1, 1)), silent(&flow.back(ACK, 1, 1))]);
    case(
        "ACKs with wrong numbers",
        &[
            flow.syn(),
            flow.syn_ack(),
            silent(&flow.out(ACK, 1, 0)),
            silent(&flow.out(ACK, 1, 1 + (1 << 24))),
            silent(&flow.out(ACK, 0, 1)),
            silent(&flow.out(ACK, 1 + (1 << 24), 1)),
            flow.completing(),
        ],
    );
    // Hard case `answer-to-another-syn`: a record, so that user space can count it, but no answer to this SYN.
    case(
        "a SYN-ACK that answers another SYN",
        &[
            flow.syn(),
            emits(&flow.back(SYN | ACK, 1 << 28, 0), SynAck),
            emits(&flow.back(SYN | ACK, 1 << 27, 2 + (1 << 24)), SynAck),
            flow.syn_ack(),
            silent(&flow.out(ACK, 1, 0)),
            flow.completing(),
        ],
    );
    cases
}

/// Hard case `self-connect`: one address and port at both ends, so that both directions look alike.
fn to_itself(flow: &Flow) -> Vec<Case> {
    let segment = |flags, seq, ack| Spec {
        source: (1, 40_000),
        destination: (1, 40_000),
        ..Spec::out(flow.family, flags, ANSWERER + seq, if flags & ACK == 0 { 0 } else { ANSWERER + ack })
    };
    let steps = [
        emits(&segment(SYN, 0, 0), Syn),
        emits(&segment(SYN | ACK, 0, 1), SynAck),
        silent(&segment(ACK, 1, 0)),
        emits(&segment(ACK, 1, 1), Ack),
        silent(&segment(ACK, 1, 1)),
    ];
    packets("connected to itself", &steps).to_vec()
}

/// FIN and RST leave nothing to complete.
fn ends(flow: &Flow) -> Vec<Case> {
    let mut cases = Vec::new();
    let mut end = |name, spec: &Spec, kind| {
        let steps = [flow.syn(), flow.syn_ack(), emits(spec, kind), silent(&flow.out(ACK, 1, 1))];
        cases.extend(packets(name, &steps));
    };
    end("reset by the opener", &flow.out(RST, 1, 0), Rst);
    end("reset by the other end", &flow.back(RST, 1, 1), Rst);
    end("a FIN before the ACK", &flow.out(FIN | ACK, 1, 1), Fin);
    cases
}
