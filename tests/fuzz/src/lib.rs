//! Fuzz targets: what takes bytes from outside must survive any of them, and keep its promises.
//!
//! A [`Target`] is a function of bytes that panics when something is wrong. `tests/fuzz/libfuzzer` hands them to cargo-fuzz,
//! which needs a nightly compiler; [`run`](runner::run) executes the same functions a fixed number of times, on mutations of
//! real inputs from a fixed seed, which CI does. An input that once failed stays in `tests/fuzz/regressions`.

mod capture;
mod filter;
mod packets;
mod record;
pub mod runner;

/// Something that is fuzzed.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name, which is that of its folder of regressions and of its cargo-fuzz target, too.
    pub name: &'static str,
    /// Panics when something is wrong.
    pub run: fn(&[u8]),
    /// Inputs that make sense, to be mutated.
    pub seeds: fn() -> Vec<Vec<u8>>,
    /// How often CI executes it.
    pub executions: u32,
}

/// Packets of any kind, through parser and state machine.
pub const PACKETS: Target =
    Target { name: "packets", run: packets::run, seeds: packets::seeds, executions: 100_000 };
/// Captures of any kind, through reader, probe and engine.
pub const CAPTURE: Target =
    Target { name: "capture", run: capture::run, seeds: capture::seeds, executions: 10_000 };
/// Filter expressions.
pub const FILTER: Target =
    Target { name: "filter", run: filter::run, seeds: filter::seeds, executions: 40_000 };
/// Records as the ring buffer hands them over.
pub const RECORD: Target =
    Target { name: "record", run: record::run, seeds: record::seeds, executions: 200_000 };

/// All of them.
pub const TARGETS: [Target; 4] = [PACKETS, CAPTURE, FILTER, RECORD];
