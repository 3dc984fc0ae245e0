//! The pure core: records in, flows and figures out.
//!
//! Deterministic: time is passed in. No clock, no I/O, no threads, no locks (`cargo xtask tidy` checks).

pub mod alarm;
pub mod distribution;
pub mod entry;
pub mod handshake;
pub mod key;
pub mod leg;
pub mod outcome;
pub mod peer;
pub mod report;
pub mod slab;
pub mod stats;
pub mod table;
mod volumes;
pub mod window;

pub use leg::Leg;
pub use outcome::{Outcome, Role};
pub use peer::{PeerKey, Verdict};
pub use report::{Closer, Event, FlowReport, Resent, RetransmitReport};
pub use stats::Stats;
pub use table::{FlowTable, Limits};
pub use volumes::FlowVolumes;
