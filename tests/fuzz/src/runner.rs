//! Executes targets on mutations of their seeds, the same ones each time.

use std::fs;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use fastrand::Rng;

use crate::Target;

/// Executes a target on its seeds, then so many times on mutations of them and on arbitrary bytes.
///
/// # Panics
/// When the target does. The input is left in the temporary folder.
pub fn run(target: &Target, executions: u32, seed: u64) {
    let (seeds, mut rng) = ((target.seeds)(), Rng::with_seed(seed));
    seeds.iter().for_each(|input| execute(target, input));
    for _ in 0..executions {
        execute(target, &mutation(&seeds, &mut rng));
    }
}

/// Executes a target on every input in its folder of regressions. Returns how many there are.
///
/// # Errors
/// When the folder cannot be read.
pub fn run_regressions(target: &Target) -> Result<usize> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("regressions").join(target.name);
    if !folder.is_dir() {
        return Ok(0);
    }
    let mut count = 0;
    for entry in fs::read_dir(&folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let path = entry?.path();
        let input = fs::read(&path).with_context(|| format!("cannot read {}", path.display()))?;
        execute(target, &input);
        count += 1;
    }
    Ok(count)
}

fn execute(target: &Target, input: &[u8]) {
    if let Err(panic) = catch_unwind(AssertUnwindSafe(|| (target.run)(input))) {
        let path = left(target, input);
        eprintln!("{}: failed on the input in {}", target.name, path.display());
        resume_unwind(panic);
    }
}

/// Leaves an input where it can be found.
fn left(target: &Target, input: &[u8]) -> PathBuf {
    let path = std::env::temp_dir().join(format!("fuzz-{}-{}", target.name, std::process::id()));
    // Where it cannot be written, the panic still says what is wrong.
    let _ = fs::write(&path, input);
    path
}

/// A seed with a few changes, or now and then arbitrary bytes.
fn mutation(seeds: &[Vec<u8>], rng: &mut Rng) -> Vec<u8> {
    if rng.u8(..16) == 0 {
        let length = rng.usize(..512);
        return std::iter::repeat_with(|| rng.u8(..)).take(length).collect();
    }
    let mut input = rng.choice(seeds).cloned().unwrap_or_default();
    for _ in 0..rng.usize(1..=6) {
        change(&mut input, seeds, rng);
    }
    input
}

fn change(input: &mut Vec<u8>, seeds: &[Vec<u8>], rng: &mut Rng) {
    /// Lengths, limits and signs.
    const ODD: [u8; 8] = [0, 1, 4, 0x1f, 0x7f, 0x80, 0xfe, 0xff];
    if input.is_empty() {
        input.push(rng.u8(..));
    }
    let at = rng.usize(..input.len());
    match rng.u8(..10) {
        0..=2 => input[at] ^= 1 << rng.u8(..8),
        3 => input[at] = rng.u8(..),
        4 => input[at] = ODD[rng.usize(..ODD.len())],
        5 => input.truncate(at),
        6 => input.insert(at, rng.u8(..)),
        7 => drop(input.drain(at..input.len().min(at + rng.usize(1..=8)))),
        8 => {
            // A part once more, elsewhere.
            let part = input[at..input.len().min(at + rng.usize(1..=64))].to_vec();
            let to = rng.usize(..=input.len());
            input.splice(to..to, part);
        }
        _ => {
            let Some(other) = rng.choice(seeds).filter(|other| !other.is_empty()) else { return };
            input.truncate(at);
            input.extend(&other[rng.usize(..other.len())..]);
        }
    }
}
