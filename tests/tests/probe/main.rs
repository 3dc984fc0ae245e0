//! The programs in the kernel and the same code on the host, on the same bytes: they must agree, and both with
//! the table that says what is right. `BPF_PROG_TEST_RUN` shows the programs crafted frames; where packets of
//! two pieces are needed, a TAP device does.
//!
//! `TCPTOP_PROBE_OBJECT` names another object than the committed one.

mod bench;
mod cases;
mod frames;
mod mutations;
mod scenarios;
mod sequences;
mod split;

use probe_common::record::Kind;
use probe_common::{Counter, Hook, LinkLayer, Unparsed};

use crate::bench::{Host, Kernel, Seen, programs, shortest};
use crate::cases::Case;
use crate::frames::{Spec, Want};

/// Hard cases 1 to 3, 5 to 7, 10, and the handshakes' 12 to 15, 17 to 19 and 22 as far as the kernel has a part in
/// them.
#[test]
fn kernel_and_host_agree_with_the_table() {
    if !lab::require_root() {
        return;
    }
    let mut kernel = Kernel::load();
    let cases: Vec<Case> = cases::all().into_iter().chain(sequences::all()).collect();
    for case in &cases {
        let hooks: Vec<_> = programs().filter(|(_, hook)| hook.link == case.link).collect();
        assert!(hooks.len() >= 2, "{case:?}");
        for (program, hook) in hooks {
            kernel.forget();
            check(&mut kernel, program, &hook, case);
        }
    }
    assert!(cases.len() > 200, "{}", cases.len());
}

fn check(kernel: &mut Kernel, program: &str, hook: &Hook, case: &Case) {
    let mut host = Host::default();
    for (number, (frame, want)) in case.steps.iter().enumerate() {
        let place = format!("{program}, {}, frame {number}: {frame:02x?}", case.name);
        let here = host.run(hook, frame);
        assert_eq!(here, expected(want, hook), "the host is wrong: {place}");
        let there = kernel.run(program, frame).unwrap_or_else(|| panic!("refused: {place}"));
        assert_eq!(there, here, "the kernel (left) is not the host (right): {place}");
    }
}

fn expected(want: &Want, hook: &Hook) -> Seen {
    let mut seen = Seen::default();
    let counter = match want {
        Want::Nothing => return seen,
        Want::Unparsed(why) => Counter::Unparsed(*why),
        Want::Record(kind, spec, timestamps) => {
            seen.records.push(record(*kind, spec, timestamps, hook));
            Counter::Submitted(*kind)
        }
    };
    seen.counted.0[counter.cell().expect("the table wants what is counted")] = 1;
    seen
}

fn record(
    kind: Kind,
    spec: &Spec,
    timestamps: &probe_common::Timestamps,
    hook: &Hook,
) -> probe_common::Record {
    let end = |(host, port)| probe_common::Endpoint { address: spec.address(host), port };
    probe_common::Record {
        time_ns: 0,
        interface: hook.interface,
        kind,
        direction: hook.direction,
        source: end(spec.source),
        destination: end(spec.destination),
        seq: spec.seq,
        ack: spec.ack,
        flags: probe_common::TcpFlags(spec.flags),
        payload_len: u32::try_from(spec.payload).expect("short"),
        timestamps: *timestamps,
    }
}

/// Hard case 5: a frame that ends anywhere is counted as truncated, and never read beyond its end.
#[test]
fn frames_cut_at_every_length() {
    if !lab::require_root() {
        return;
    }
    let mut kernel = Kernel::load();
    for case in cut_cases() {
        let (whole, _) = &case.steps[0];
        for (program, hook) in programs().filter(|(_, hook)| hook.link == case.link) {
            for length in 0..whole.len() {
                let frame = &whole[..length];
                let want = expected(&Want::Unparsed(Unparsed::Truncated), &hook);
                assert_eq!(Host::default().run(&hook, frame), want, "{} cut to {length}", case.name);
                match kernel.run(program, frame) {
                    Some(there) => assert_eq!(there, want, "{program}: {} cut to {length}", case.name),
                    // A device shows it those, see `split`.
                    None => assert!(length < shortest(frame), "refused: {} cut to {length}", case.name),
                }
            }
        }
    }
}

/// One frame of each shape that has headers behind headers.
fn cut_cases() -> Vec<Case> {
    use probe_common::Family::{V4, V6};
    let stamps = [&frames::timestamps(1, 2)[..], &[1, 1]].concat();
    let [v4, v6] = [V4, V6].map(|family| cases::syn(family).options(&stamps));
    let chain = [frames::extension(frames::HOP_BY_HOP, 1), frames::extension(frames::AUTHENTICATION, 4)];
    let shapes = [("IPv4", v4.v4(3, 0), &v4), ("IPv6", v6.packet(), &v6), ("chain", v6.v6(&chain), &v6)];
    let shapes = shapes.map(|(name, packet, spec)| (name, packet, spec.stamped(Kind::Syn, 1, 2)));
    let cases = shapes.into_iter().flat_map(|(name, packet, want)| cases::packets(name, &[(packet, want)]));
    cases.collect()
}

/// The frames of the table, for who wants to spoil them.
fn corpus() -> Vec<(LinkLayer, Vec<u8>)> {
    let cases = cases::all().into_iter().chain(sequences::all());
    cases.flat_map(|case| case.steps.into_iter().map(move |(frame, _)| (case.link, frame))).collect()
}
