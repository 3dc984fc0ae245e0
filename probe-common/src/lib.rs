//! What the kernel programs and user space share, so that both mean the same thing.
//!
//! [`mod@parse`] reads a [`Segment`] from a packet, [`mod@process`] updates the state of its flow and decides whether the
//! segment makes a [`record`]. The code is generic over how bytes are loaded and where state is kept, so that the same
//! lines run in the kernel programs and, through the crate `probe-host`, on the host. Nothing here reads a clock,
//! allocates or does I/O.
//!
//! Modules depend on each other in one direction: `segment` → `key`, `sequence` → `state` → `handshake` → `process` →
//! `record`.
//!
//! Functions are always inlined: a call in the kernel's byte code passes at most five words, and costs as much as most
//! of these do.
#![no_std]
#![cfg_attr(target_arch = "bpf", feature(asm_experimental_arch))]

pub mod buckets;
pub mod bytes;
pub mod counter;
pub mod drops;
pub mod encapsulation;
pub mod handshake_state;
pub mod holder;
pub mod icmp;
pub mod icmp_error;
pub mod key;
pub mod options;
pub mod packet;
pub mod parse;
pub mod passed_over;
pub mod process;
pub mod protocols;
pub mod record;
pub mod reset;
pub mod retransmit;
pub mod segment;
pub mod sender;
pub mod sequence;
pub mod state;
pub mod transmission;
pub mod verifier;

pub use bytes::{Load, Window};
pub use counter::Counter;
pub use icmp_error::ParsedIcmp;
pub use key::Side;
pub use options::FindTimestamps;
pub use packet::{Direction, Hook, ParsedPacket, Size};
pub use parse::{LinkLayer, Unparsed, parse};
pub use process::{Environment, Progress, RecordSink, SegmentKind, fast_path, process, process_icmp};
pub use protocols::PassedOver;
pub use record::{
    EvictedFlowRecord, IcmpRecord, OwnerAction, OwnerRecord, RawEvictedFlow, RawIcmp, RawOwner, RawReset,
    RawSegment, Record, RecordKind, ResetRecord, SegmentRecord,
};
pub use reset::ResetReason;
pub use segment::{Endpoint, Family, Segment, TcpFlags, Timestamps};
pub use sequence::{SegmentClass, Volume};
pub use state::{Clock, FlowState, FlowStates};
pub use transmission::{Cause, SenderState, Transmission};
