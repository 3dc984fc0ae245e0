//! The pure core: records in, flows and figures out.
//!
//! Deterministic: time is passed in. No clock, no I/O, no threads, no locks (`cargo xtask tidy` checks).

pub mod alarm;
mod chains;
pub mod cidr;
pub mod distribution;
pub mod flow;
pub mod handshake;
pub mod history;
pub mod key;
pub mod leg;
mod look;
mod lookup;
pub mod outcome;
pub mod peer;
mod prefetch;
pub mod report;
pub mod scale;
pub mod slab;
pub mod stats;
pub mod table;
pub mod units;
pub mod verdict;
mod views;
mod volumes;
mod watched;
pub mod window;

pub use cidr::Cidr;
pub use leg::Leg;
pub use outcome::{Outcome, Role};
pub use peer::PeerKey;
pub use report::{Event, FlowName, FlowReport, Party, RetransmitKind, RetransmitReport};
pub use stats::Stats;
pub(crate) use table::FlowTable;
pub use table::Limits;
pub use verdict::{Slow, Thresholds, Verdict};
pub(crate) use views::View;
pub use volumes::FlowVolumes;
