//! The kernel programs and the same code on the host, on the same bytes: they must agree with each other, and with a
//! table of expected results. `BPF_PROG_TEST_RUN` runs the programs on crafted frames; a TAP device delivers packets
//! in two pieces.
//!
//! `TCPTOP_PROBE_OBJECT` names an object to test instead of the committed one.

mod bench;
mod cases;
mod data;
mod decap;
mod evictions;
mod frames;
mod holes;
mod host;
mod icmp;
mod learned;
mod mutations;
mod passed_over;
mod scenarios;
mod sequences;
mod split;

use probe_common::{
    Counter, Endpoint, Hook, LinkLayer, RecordKind, SegmentKind, SegmentRecord, TcpFlags, Transmission,
    Unparsed,
};

use crate::bench::{Both, Frame, Seen, programs, shortest};
use crate::cases::Case;
use crate::frames::{Emitted, Step, Want};

/// Enough for one flow at a time, and for a look-up in the wrong bucket to be noticed.
const BUCKETS: u32 = 3;

/// The hard cases of packets, handshakes and retransmits, as far as the kernel has a part in them.
#[test]
fn kernel_and_host_agree_with_the_table() {
    if !lab::require_root() {
        return;
    }
    let mut both = Both::load(BUCKETS);
    let cases: Vec<Case> = table().collect();
    for case in &cases {
        let hooks: Vec<_> = programs().filter(|(_, hook)| hook.link == case.link).collect();
        assert!(hooks.len() >= 2, "{case:?}");
        for (program, hook) in hooks {
            check(&mut both, program, &hook, case);
        }
    }
    assert!(cases.len() > 200, "{}", cases.len());
}

fn table() -> impl Iterator<Item = Case> {
    [cases::all(), sequences::all(), data::all(), holes::all()].into_iter().flatten()
}

fn check(both: &mut Both, program: &str, hook: &Hook, case: &Case) {
    both.forget();
    for (number, Step { pause, bytes, segments, want }) in case.steps.iter().enumerate() {
        let place = || format!("{program}, {}, frame {number}: {bytes:02x?}", case.name);
        std::thread::sleep(*pause);
        let frame = Frame { bytes, segments: *segments };
        let seen = both.run(program, hook, &frame, place).unwrap_or_else(|| panic!("refused: {}", place()));
        assert_eq!(seen.timeless(), expected(want, hook), "both are wrong: {}", place());
    }
}

fn expected(want: &Want, hook: &Hook) -> Seen {
    let mut seen = Seen::default();
    match want {
        Want::Nothing => {}
        Want::Unparsed(why) => seen.count(Counter::Unparsed(*why)),
        Want::Emitted(emitted) => {
            seen.records.push(record(emitted, hook).into());
            seen.count(Counter::Submitted(RecordKind::Segment(emitted.kind)));
        }
    }
    seen
}

fn record(emitted: &Emitted, hook: &Hook) -> SegmentRecord {
    let spec = &emitted.spec;
    let end = |(host, port)| Endpoint { address: spec.address(host), port };
    SegmentRecord {
        time_ns: 0,
        interface: hook.interface,
        kind: emitted.kind,
        direction: hook.direction,
        source: end(spec.source),
        destination: end(spec.destination),
        seq: spec.seq,
        ack: spec.ack,
        flags: TcpFlags(spec.flags),
        payload_len: u32::try_from(spec.payload).expect("short"),
        timestamps: emitted.timestamps,
        segments: spec.segments,
        class: emitted.class,
        volumes: emitted.volumes,
        encapsulation: Default::default(),
        cookie: 0,
        said: Transmission::UNKNOWN,
        dsacks: None,
        ttl: Some(64),
        reset: None,
        timebase: 0,
    }
}

/// Instructions that the verifier may walk for a program, whatever the kernel: older ones walk more ways than newer ones, and
/// give up after a million.
const BUDGET: u32 = 100_000;

/// The verifier accepts each program within its budget, with a look into tunnels and without.
#[test]
fn every_program_is_within_the_verifiers_budget() {
    if !lab::require_root() {
        return;
    }
    for decap in [false, true] {
        for (name, count) in bench::Kernel::load_with(BUCKETS, decap).verified_instructions() {
            eprintln!("{name}, decap {decap}: {count:?} instructions verified");
            assert!(count.is_none_or(|count| count <= BUDGET), "{name}, decap {decap}: {count:?}");
        }
    }
}

/// Hard case `malformed-packets`: a frame that ends anywhere is counted as truncated, and never read beyond its end.
#[test]
fn frames_cut_at_every_length() {
    if !lab::require_root() {
        return;
    }
    let mut both = Both::load(BUCKETS);
    for case in cut_cases() {
        let whole = &case.steps[0].bytes;
        for (program, hook) in programs().filter(|(_, hook)| hook.link == case.link) {
            for length in 0..whole.len() {
                let frame = &whole[..length];
                let want = expected(&Want::Unparsed(Unparsed::Truncated), &hook);
                let place = || format!("{program}: {} cut to {length}", case.name);
                match both.run(program, &hook, &Frame::one(frame), place) {
                    Some(seen) => assert_eq!(seen, want, "{}", place()),
                    // A device delivers those, see `split`.
                    None => assert!(length < shortest(frame), "refused: {}", place()),
                }
            }
        }
    }
}

/// One frame of each shape with several headers.
fn cut_cases() -> Vec<Case> {
    use probe_common::Family::{V4, V6};
    let stamps = [&frames::timestamps(1, 2)[..], &[1, 1]].concat();
    let [v4, v6] = [V4, V6].map(|family| cases::syn(family).options(&stamps));
    let chain = [frames::extension(frames::HOP_BY_HOP, 1), frames::extension(frames::AUTHENTICATION, 4)];
    let shapes = [("IPv4", v4.v4(3, 0), &v4), ("IPv6", v6.packet(), &v6), ("chain", v6.v6(&chain), &v6)];
    let shapes = shapes.map(|(name, packet, spec)| (name, packet, spec.stamped(SegmentKind::Syn, 1, 2)));
    let cases = shapes.into_iter().flat_map(|(name, packet, want)| cases::packets(name, &[(packet, want)]));
    cases.collect()
}

/// The frames of the table, to be mutated.
fn corpus() -> Vec<(LinkLayer, Vec<u8>)> {
    table().flat_map(|case| case.steps.into_iter().map(move |step| (case.link, step.bytes))).collect()
}
