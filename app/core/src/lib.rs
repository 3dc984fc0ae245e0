//! The pure core of tcptop: records in, flows, figures and snapshots out.
//!
//! [`Engine`] is the only way in and out. It is deterministic: time is passed in, and so is the seed of its hashes. No clock,
//! no I/O, no threads, no locks; `clippy.toml` beside this crate's manifest disallows what would bring them in.

#![deny(clippy::disallowed_methods, clippy::disallowed_types, clippy::print_stdout, clippy::print_stderr)]

mod cidr;
mod drops;
mod engine;
mod estats;
mod flow;
mod host;
mod input;
mod locals;
mod owner;
mod prefetch;
mod query;
mod slab;
mod snapshot;
mod socket;
mod stats;
mod table;
pub mod units;
mod why;

pub use cidr::Cidr;
pub use drops::Dropped;
pub use engine::{Engine, EngineConfig, ReaderConfig, ReaderId};
pub use estats::{EstatsTable, EstatsValue, Extremes, Facts, Missing, Quality, Source, Variable};
pub use flow::{
    Event, Flow, FlowName, IcmpError, IcmpReason, Leg, NoLoss, Outcome, Party, PathMtu, PeerKey, Reset,
    ResetStage, Retransmit, RetransmitCause, RetransmitCauses, RetransmitKind, RetransmitWitnesses, Role,
    SentAgain, ShownEndpoint, Sighting, Traffic,
};
pub use host::{Conntrack, CrossCheck, Host, HostCounter, HostCounters};
pub use input::Input;
pub use locals::{HostAddresses, Locals};
pub use owner::{
    Evidence, KernelSocket, Owner, OwnerAction, Process, Processes, RowOwner, SocketHolder, SocketOwner,
    Workload,
};
pub use probe_common::ResetReason;
pub use query::{Filter, FilterError, FlowOrder, Group, Query, RowKey, RowOrder, Sort};
pub use snapshot::{
    Bar, Figures, Flows, IcmpCounts, LogEntry, LogPage, Missed, MissedCounts, Moment, Row, RowEvidence,
    RowOwners, RowSockets, Selection, Snapshot, SnapshotRequest, Span, Strangers, Timeline, Verdicts, What,
};
pub use socket::{
    AcceptQueue, Algorithm, CongestionControl, CongestionDetails, InfoField, InfoLayout, InfoUnit, Socket,
    SocketMemory, SocketOptions, SocketRtts, SocketState, TcpInfo, Timer, TimerKind, listening_end,
};
pub use stats::{Counts, Estimate, Latency, Percentiles, Slow, Thresholds, Verdict, scale};
pub use table::{FlowVolumes, KernelWitness};
pub use why::Why;
