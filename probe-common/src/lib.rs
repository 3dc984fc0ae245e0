//! What the kernel programs and user space share, so that both mean the same thing.
//!
//! A packet becomes a [`Segment`] ([`mod@parse`]), the segment and the state of its flow become a verdict
//! ([`mod@process`]), and a segment worth telling becomes a [`Record`] ([`record`]). The code is generic over how
//! bytes are loaded and where state is kept, so the very same lines run in the kernel, on captured
//! frames and in tests. Nothing here reads a clock, allocates or does I/O.
//!
//! Functions are inlined always, because a call in the kernel's byte code passes five words and costs as
//! much as what most of these do.
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod buckets;
pub mod counter;
pub mod encapsulation;
pub mod handshake;
pub mod key;
pub mod load;
pub mod options;
pub mod parse;
pub mod parsed;
pub mod process;
pub mod record;
pub mod segment;
pub mod sequence;
pub mod state;
pub mod verifier;

pub use counter::Counter;
pub use key::Side;
pub use load::{Load, Window};
pub use parse::{LinkLayer, Unparsed, parse};
pub use parsed::{Direction, Hook, ParsedPacket, Size};
pub use process::{Environment, RecordSink, SegmentKind, fast_path, process};
pub use record::{EvictedFlowRecord, RawEvictedFlow, RawSegment, Record, RecordKind, SegmentRecord};
pub use segment::{Endpoint, Family, Segment, TcpFlags, Timestamps};
pub use sequence::{SegmentClass, Volume};
pub use state::{Clock, FlowState, FlowStates};
