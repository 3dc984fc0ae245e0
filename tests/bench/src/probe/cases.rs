//! The cases that are measured with test runs.

use std::os::fd::AsFd;

use anyhow::{Result, ensure};
use lab::conversation::{self, End, v4};
use lab::{bpf, capture};
use probe_common::segment::mapped;
use probe_common::{Endpoint, SegmentRecord, TcpFlags, Timestamps};

use super::programs::{PROGRAM, Programs, Step};
use crate::report::Limit;

/// Runs in a row for packets that make no record: a few milliseconds.
const REPEAT: u32 = 200_000;
/// Runs for packets that make a record: fewer than the ring holds.
const REPEAT_RECORDED: u32 = 16_000;
/// Runs for SYNs of new flows, which must all find room: in [`SMALL`] at once, otherwise in all rounds together.
const REPEAT_NEW: u32 = 500;
/// A flow table of about 380 KiB.
pub(super) const SMALL: u32 = 1_024;
const ETHERNET: u16 = 1;
/// Offset of the protocol in an IPv4 packet after an Ethernet header, and the number of UDP.
const PROTOCOL: (usize, u8) = (14 + 9, 17);
/// Distance between the sequence numbers of two rounds: more than the data of one.
const FAR: u32 = 400_000_000;
const PAYLOAD_LEN: u32 = 100;

/// A kind of packet.
pub(super) struct Case {
    pub(super) name: &'static str,
    pub(super) limit: Limit,
    packet: Packet,
    flow: Flow,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Packet {
    NotTcp,
    Ack,
    /// Each continues the one before.
    Data,
    /// Each from another address. The flow states were just written, so they are in the processor's cache.
    Syn,
    /// The same with the default number of flow states.
    ColdSyn,
    /// The same data every time.
    Retransmit,
}

#[derive(Clone, Copy)]
struct Flow {
    v6: bool,
    timestamps: bool,
    port: u16,
    /// Initial sequence number of both ends.
    isn: u32,
}

impl Case {
    pub(super) fn all() -> Vec<Self> {
        let mut cases = Vec::new();
        let mut case = |name, limit_ns, packet, v6, timestamps| {
            let port = 40_000 + u16::try_from(cases.len()).unwrap_or_default();
            cases.push(Self {
                name,
                limit: Limit::AtMost(limit_ns),
                packet,
                flow: Flow { v6, timestamps, port, isn: 0 },
            });
        };
        case("not TCP", 5.0, Packet::NotTcp, false, false);
        case("pure ACK, IPv4", 20.0, Packet::Ack, false, false);
        case("pure ACK, IPv4, timestamps", 20.0, Packet::Ack, false, true);
        case("pure ACK, IPv6", 35.0, Packet::Ack, true, false);
        case("pure ACK, IPv6, timestamps", 35.0, Packet::Ack, true, true);
        case("data, IPv4", 20.0, Packet::Data, false, false);
        case("data, IPv4, timestamps", 20.0, Packet::Data, false, true);
        case("data, IPv6", 35.0, Packet::Data, true, false);
        case("data, IPv6, timestamps", 35.0, Packet::Data, true, true);
        case("retransmit", 120.0, Packet::Retransmit, false, true);
        case("SYN of a new flow", 200.0, Packet::Syn, false, true);
        let flow = Flow { v6: false, timestamps: true, port: 50_000, isn: 0 };
        cases.push(Self {
            name: "SYN of a new flow, in no cache",
            limit: Limit::None,
            packet: Packet::ColdSyn,
            flow,
        });
        cases
    }

    /// Nanoseconds per packet of the object's program and of the empty one. The flows in `small` need not be kept.
    pub(super) fn measure(
        &self,
        programs: &mut Programs,
        small: &mut Programs,
        round: u32,
    ) -> Result<(f64, f64)> {
        // Each round uses another connection.
        let flow = &Flow { isn: round.wrapping_mul(FAR), ..self.flow };
        match self.packet {
            Packet::NotTcp => {
                let mut frame = flow_frame(flow, End::Opener, TcpFlags::ACK, 0);
                frame[PROTOCOL.0] = PROTOCOL.1;
                compare(programs, &frame, Step::SAME, REPEAT, 0)
            }
            Packet::Ack => {
                open(programs, flow)?;
                compare(programs, &flow_frame(flow, End::Opener, TcpFlags::ACK, 0), Step::SAME, REPEAT, 0)
            }
            Packet::Data => {
                open(programs, flow)?;
                let step = Step { offset: if flow.v6 { 14 + 40 + 4 } else { 14 + 20 + 4 }, by: PAYLOAD_LEN };
                compare(programs, &flow_frame(flow, End::Opener, TcpFlags::ACK, PAYLOAD_LEN), step, REPEAT, 0)
            }
            Packet::Syn => {
                small.forget()?;
                new_flows(small, flow, round)
            }
            Packet::ColdSyn => new_flows(programs, flow, round),
            Packet::Retransmit => {
                open(programs, flow)?;
                let data = flow_frame(flow, End::Opener, TcpFlags::ACK, PAYLOAD_LEN);
                show(programs, &data)?;
                compare(programs, &data, Step::SAME, REPEAT_RECORDED, REPEAT_RECORDED)
            }
        }
    }
}

fn new_flows(programs: &mut Programs, flow: &Flow, round: u32) -> Result<(f64, f64)> {
    let mut syn = segment(flow, End::Opener, TcpFlags::SYN, 0);
    let [.., network] = round.to_be_bytes();
    syn.source.address = mapped([11, network, 0, 0]);
    let step = Step { offset: 14 + 12, by: 1 };
    compare(programs, &capture::packet(&syn, ETHERNET), step, REPEAT_NEW, REPEAT_NEW)
}

/// Runs both programs on a frame, and checks how many records that makes.
fn compare(
    programs: &mut Programs,
    frame: &[u8],
    step: Step,
    repeat: u32,
    records: u32,
) -> Result<(f64, f64)> {
    let pair = programs.stepping(step)?;
    programs.drain();
    let floor_ns = bpf::test_run(pair.empty.program.as_fd(), frame, repeat)?;
    let ours_ns = bpf::test_run(pair.ours.program.as_fd(), frame, repeat)?;
    let drained = programs.drain();
    ensure!(drained == u64::from(records), "{drained} records came of what must give {records}");
    Ok((f64::from(ours_ns), f64::from(floor_ns)))
}

/// Opens a flow by its handshake.
fn open(programs: &mut Programs, flow: &Flow) -> Result<()> {
    show(programs, &flow_frame(flow, End::Opener, TcpFlags::SYN, 0))?;
    show(programs, &flow_frame(flow, End::Responder, TcpFlags::SYN.with(TcpFlags::ACK), 0))?;
    show(programs, &flow_frame(flow, End::Opener, TcpFlags::ACK, 0))
}

fn show(programs: &mut Programs, frame: &[u8]) -> Result<()> {
    let program = programs.descriptor(PROGRAM)?;
    bpf::test_run(program.as_fd(), frame, 1)?;
    Ok(())
}

fn flow_frame(flow: &Flow, from: End, flags: TcpFlags, payload_len: u32) -> Vec<u8> {
    capture::packet(&segment(flow, from, flags, payload_len), ETHERNET)
}

/// A segment of one end at the beginning of a flow.
fn segment(flow: &Flow, from: End, flags: TcpFlags, payload_len: u32) -> SegmentRecord {
    let end = |host, port| {
        if flow.v6 {
            Endpoint { address: [0xfd, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, host], port }
        } else {
            v4([10, 1, 0, host], port)
        }
    };
    let ends = [end(1, flow.port), end(2, 443)];
    SegmentRecord {
        seq: flow.isn.wrapping_add(u32::from(!flags.has(TcpFlags::SYN))),
        ack: if flags.has(TcpFlags::ACK) { flow.isn.wrapping_add(1) } else { 0 },
        payload_len,
        timestamps: Timestamps { value: 7, echo: 3, present: flow.timestamps },
        ..conversation::segment(ends[from as usize], ends[1 - from as usize], flags)
    }
}
