//! The frames of the table, mutated at random from a fixed seed.

use fastrand::Rng;
use probe_common::Counter;

use crate::bench::{Both, Frame, programs, shortest};
use crate::corpus;

const MUTATIONS: usize = 10_000;
const SEED: u64 = 0x7c97_0901;
/// So few that flows are often evicted.
const BUCKETS: u32 = 4;

/// Hard case `malformed-packets`: whatever the bytes are, both emit the same records and have the same flow states.
#[test]
fn ten_thousand_mutations() {
    if !lab::require_root() {
        return;
    }
    let mut both = Both::load(BUCKETS);
    let (corpus, mut rng) = (corpus(), Rng::with_seed(SEED));
    let hooks: Vec<_> = programs().collect();
    let (mut refused, mut records, mut unparsed, mut evicted) = (0, 0, 0, 0);
    let mut number = 0;
    while number < MUTATIONS {
        let (link, frame) = mutated(&corpus, &mut rng);
        // Each frame at hooks of its link layer, and some at others.
        let fitting: Vec<_> = hooks.iter().filter(|(_, hook)| hook.link == link || number % 8 == 0).collect();
        let (program, hook) = fitting[rng.usize(..fitting.len())];
        let place = || format!("{program}, mutation {number} of seed {SEED:#x}: {frame:02x?}");
        let Some(seen) = both.run(program, hook, &Frame::one(&frame), place) else {
            assert!(frame.len() < shortest(&frame), "refused: {frame:02x?}");
            refused += 1;
            continue;
        };
        number += 1;
        records += seen.records.len();
        unparsed += u64::from(seen.counted != Default::default() && seen.records.is_empty());
        evicted += seen.counted.of(Counter::EvictedFlow);
    }
    eprintln!(
        "{records} records, {evicted} flows evicted, {unparsed} not parsed, {refused} refused by the kernel"
    );
    assert!(refused < MUTATIONS / 8, "{refused} refused");
    assert!(records > MUTATIONS / 10 && unparsed > 1_000, "{records} records, {unparsed} not parsed");
    assert!(evicted > 100, "{evicted} evicted");
}

fn mutated(
    corpus: &[(probe_common::LinkLayer, Vec<u8>)],
    rng: &mut Rng,
) -> (probe_common::LinkLayer, Vec<u8>) {
    let pick = |rng: &mut Rng| corpus[rng.usize(..corpus.len())].clone();
    let (link, mut frame) = pick(rng);
    for _ in 0..rng.usize(1..=3) {
        if frame.is_empty() {
            break;
        }
        // What matters is mostly in the headers.
        let reach = if rng.u8(..4) == 0 { frame.len() } else { frame.len().min(80) };
        let at = rng.usize(..reach);
        match rng.u8(..10) {
            0..=3 => frame[at] ^= 1 << rng.u8(..8),
            4..=5 => frame[at] = rng.u8(..),
            6 => frame[at] = [0, 1, 6, 0x7f, 0x80, 0xff][rng.usize(..6)],
            7 => frame.truncate(at),
            8 => frame.insert(at, rng.u8(..)),
            _ => {
                let (_, other) = pick(rng);
                frame.truncate(at);
                frame.extend(&other[rng.usize(..other.len())..]);
            }
        }
    }
    (link, frame)
}
