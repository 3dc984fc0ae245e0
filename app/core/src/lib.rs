//! The pure core of tcptop: records in, flows, figures and snapshots out.
//!
//! Deterministic: time is passed in. No clock, no I/O, no threads, no locks; `clippy.toml` beside this crate's
//! manifest disallows the types and methods that would bring them in.

mod engine;
mod input;
pub mod snapshot;
pub mod table;

pub use engine::{Engine, ReaderConfig, ReaderId};
pub use input::Input;
