//! Does this segment make a record?
//!
//! SYN, SYN-ACK, RST and FIN always do, and so does retransmitted data. Of the pure ACKs only the one that completes a
//! handshake does. All others cost a look-up of the flow's state and a few additions: no clock, no insertion.

use crate::handshake::Answer;
use crate::key::{FlowKey4, FlowKey6, Key, Side};
use crate::load::Load;
use crate::options::FindTimestamps;
use crate::parse::{Network, Unparsed, ipv4, ipv6, network};
use crate::parsed::{Hook, ParsedPacket, Size};
use crate::segment::{Family, Segment, TcpFlags};
use crate::sequence::{SegmentClass, SequenceRange};
use crate::state::{Clock, FlowState, FlowStates, Phase};

/// Why a segment makes a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SegmentKind {
    /// SYN without ACK: a connection is being opened.
    Syn = 0,
    /// SYN with ACK: it is being answered.
    SynAck = 1,
    /// The ACK that completes a handshake.
    Ack = 2,
    /// RST, whatever it answers.
    Rst = 3,
    /// FIN: one side is done sending.
    Fin = 4,
    /// Retransmitted data.
    Retransmit = 5,
}

impl SegmentKind {
    /// How many kinds there are. Their numbers are below it.
    pub const COUNT: u32 = Self::Retransmit as u32 + 1;
}

/// Where records go: the ring buffer in the kernel, memory on the host. What it cannot take it counts as missed.
pub trait RecordSink {
    /// Takes the record of a segment that passed at `time_ns`; `state` is what is known of its flow.
    fn emit_segment(
        &mut self,
        packet: &ParsedPacket,
        kind: SegmentKind,
        time_ns: u64,
        class: SegmentClass,
        state: Option<&FlowState>,
    );

    /// Takes the record of a flow that has not ended and is evicted for another one at `time_ns`, and counts it.
    fn emit_evicted_flow<K: Key>(&mut self, time_ns: u64, key: &K, state: &FlowState);
}

/// What the probe works with, beside the packet.
#[derive(Debug)]
pub struct Environment<'a, F, C, S> {
    /// The states of flows.
    pub flows: &'a mut F,
    /// What time it is.
    pub clock: &'a C,
    /// Where records go.
    pub sink: &'a mut S,
}

/// How far [`fast_path`] has come with a packet.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Progress {
    /// All that there was to do.
    Done,
    /// It holds no TCP, unless that is carried by something that is not looked into here.
    NotTcp,
    /// [`process`] has to look at it. Nothing has changed.
    Unusual,
}

/// Deals with the usual packets: not TCP, or a segment within a connection that is known. When the packet is anything
/// else, [`process`] has to look at it, which has the same results for all packets, only slower. `scratch` lends room for
/// what is read of a packet that makes a record.
#[inline(always)]
pub fn fast_path<'r, P, F, C, S>(
    packet: &P,
    size: Size,
    hook: &Hook,
    environment: &mut Environment<'_, F, C, S>,
    scratch: impl FnOnce() -> Option<&'r mut ParsedPacket>,
) -> Progress
where
    P: Load + ?Sized,
    F: FlowStates<FlowKey4> + FlowStates<FlowKey6>,
    C: Clock,
    S: RecordSink,
{
    let network = network(packet, hook.link);
    let segment = match network {
        Ok(Network { family: Family::V4, offset }) => ipv4(packet, offset, size.bytes),
        Ok(Network { family: Family::V6, offset }) => ipv6(packet, offset, size.bytes),
        Err(unparsed) => Err(unparsed),
    };
    let segment = match segment {
        Ok(segment) => segment,
        Err(Unparsed::NotTcp) => return Progress::NotTcp,
        Err(_) => return Progress::Unusual,
    };
    if segment.flags.0 & (TcpFlags::SYN.0 | TcpFlags::FIN.0 | TcpFlags::RST.0) != 0 {
        return Progress::Unusual;
    }
    let is_done = match segment.family {
        Family::V4 => fast_segment::<FlowKey4, F, C, S>(&segment, size.segments, hook, environment, scratch),
        Family::V6 => fast_segment::<FlowKey6, F, C, S>(&segment, size.segments, hook, environment, scratch),
    };
    if is_done { Progress::Done } else { Progress::Unusual }
}

#[inline(always)]
fn fast_segment<'r, K: Key, F: FlowStates<K>, C: Clock, S: RecordSink>(
    segment: &Segment,
    segments: u32,
    hook: &Hook,
    environment: &mut Environment<'_, F, C, S>,
    scratch: impl FnOnce() -> Option<&'r mut ParsedPacket>,
) -> bool {
    let (key, side) = K::of(segment, hook.interface);
    let range = SequenceRange::of(segment, segments);
    let clock = environment.clock;
    let Some(state) = environment.flows.find(&key) else { return range.len == 0 };
    if state.phase.is_opening() {
        return false;
    }
    state.epoch = clock.epoch();
    if state.tracker(side).accept_in_order(&range) {
        return true;
    }
    let time_ns = clock.now_ns();
    let rtt_us = state.rtt_us;
    let class = F::accept_out_of_order(state.tracker(side), &range, us(time_ns), rtt_us);
    if class.is_retransmit()
        && let Some(packet) = scratch()
    {
        packet.set(segment, segments, hook, side);
        environment.sink.emit_segment(packet, SegmentKind::Retransmit, time_ns, class, Some(state));
    }
    true
}

/// Looks at one packet: the whole way from bytes to record.
///
/// # Errors
/// Says why the packet is no segment, or that it opens and closes a connection at once. Then nothing has changed.
#[inline(always)]
pub fn process<
    P: FindTimestamps + ?Sized,
    F: FlowStates<FlowKey4> + FlowStates<FlowKey6>,
    C: Clock,
    S: RecordSink,
>(
    packet: &P,
    size: Size,
    hook: &Hook,
    environment: &mut Environment<'_, F, C, S>,
) -> Result<(), Unparsed> {
    let packet = ParsedPacket::read(packet, size, hook)?;
    match packet.family() {
        Family::V4 => process_parsed::<FlowKey4, F, C, S>(&packet, environment),
        Family::V6 => process_parsed::<FlowKey6, F, C, S>(&packet, environment),
    }
}

/// What a segment does to the state of its flow, and whether it makes a record.
///
/// # Errors
/// As [`process`].
#[inline(always)]
pub fn process_parsed<K: Key, F: FlowStates<K>, C: Clock, S: RecordSink>(
    packet: &ParsedPacket,
    environment: &mut Environment<'_, F, C, S>,
) -> Result<(), Unparsed> {
    let flags = packet.segment.flags;
    if flags.0 & (TcpFlags::SYN.0 | TcpFlags::FIN.0 | TcpFlags::RST.0) == 0 {
        data_or_ack(packet, environment);
        return Ok(());
    }
    if !flags.has(TcpFlags::RST) && flags.has(TcpFlags::SYN.with(TcpFlags::FIN)) {
        // No connection opens and closes in one segment; Linux drops it (tcp_rcv_state_process).
        return Err(Unparsed::Malformed);
    }
    if flags.has(TcpFlags::RST) {
        rst(packet, environment);
    } else if flags.has(TcpFlags::FIN) {
        fin(packet, environment);
    } else if flags.has(TcpFlags::ACK) {
        syn_ack(packet, environment);
    } else {
        syn(packet, environment);
    }
    Ok(())
}

/// Microseconds are precise enough for what the probe itself decides by.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "differences are taken, modulo 71 minutes")]
const fn us(ns: u64) -> u32 {
    (ns / 1_000) as u32
}

/// A segment within a connection: data, or a pure ACK.
#[inline(always)]
fn data_or_ack<K: Key, F: FlowStates<K>, C: Clock, S: RecordSink>(
    packet: &ParsedPacket,
    environment: &mut Environment<'_, F, C, S>,
) {
    let (key, side) = packet.key();
    let (range, clock) = (packet.range(), environment.clock);
    let Some(state) = environment.flows.find(&key) else {
        if range.len > 0 {
            learn(packet, &key, side, environment);
        }
        return;
    };
    state.epoch = clock.epoch();
    let completes = state.phase.is_opening() && state.completed_by(&packet.segment, side);
    let (mut class, mut time_ns) = (SegmentClass::NEW, 0);
    if !state.tracker(side).accept_in_order(&range) {
        time_ns = clock.now_ns();
        let rtt_us = state.rtt_us;
        class = F::accept_out_of_order(state.tracker(side), &range, us(time_ns), rtt_us);
    }
    if completes {
        if time_ns == 0 {
            time_ns = clock.now_ns();
        }
        state.complete(side, us(time_ns));
        environment.sink.emit_segment(packet, SegmentKind::Ack, time_ns, class, Some(state));
    } else if class.is_retransmit() {
        environment.sink.emit_segment(packet, SegmentKind::Retransmit, time_ns, class, Some(state));
    }
}

/// The state of a flow that is to be remembered from now on. Another may be evicted for it.
#[inline(always)]
fn claim<'a, K: Key, F: FlowStates<K>, S: RecordSink>(
    key: &K,
    now_ns: u64,
    flows: &'a mut F,
    sink: &mut S,
) -> Option<&'a mut FlowState> {
    flows.find_or_claim(key, |evicted, state| sink.emit_evicted_flow(now_ns, evicted, state))
}

/// Data of a flow that was open before the probe was attached, or that was evicted.
#[inline(always)]
fn learn<K: Key, F: FlowStates<K>, C: Clock, S: RecordSink>(
    packet: &ParsedPacket,
    key: &K,
    side: Side,
    environment: &mut Environment<'_, F, C, S>,
) {
    let (clock, now_ns) = (environment.clock, environment.clock.now_ns());
    let Some(state) = claim(key, now_ns, environment.flows, environment.sink) else { return };
    state.phase = Phase::OPEN;
    state.flags = FlowState::learned_from(packet.direction(), side);
    state.epoch = clock.epoch();
    state.tracker(side).learn(&packet.range(), us(now_ns));
}

#[inline(always)]
fn syn<K: Key, F: FlowStates<K>, C: Clock, S: RecordSink>(
    packet: &ParsedPacket,
    environment: &mut Environment<'_, F, C, S>,
) {
    let (key, side): (K, _) = packet.key();
    let (clock, now_ns) = (environment.clock, environment.clock.now_ns());
    let Some(state) = claim(&key, now_ns, environment.flows, environment.sink) else { return };
    environment.sink.emit_segment(packet, SegmentKind::Syn, now_ns, SegmentClass::NEW, Some(state));
    if state.includes_syn(&packet.segment, side) {
        state.reopen(side, us(now_ns));
    } else {
        state.open(packet.segment.seq, side, us(now_ns));
        state.epoch = clock.epoch();
    }
}

/// A SYN-ACK. Its SYN may have taken another path, or passed before the probe was attached.
#[inline(always)]
fn syn_ack<K: Key, F: FlowStates<K>, C: Clock, S: RecordSink>(
    packet: &ParsedPacket,
    environment: &mut Environment<'_, F, C, S>,
) {
    let (key, side): (K, _) = packet.key();
    let (clock, now_ns) = (environment.clock, environment.clock.now_ns());
    let Some(state) = claim(&key, now_ns, environment.flows, environment.sink) else { return };
    environment.sink.emit_segment(packet, SegmentKind::SynAck, now_ns, SegmentClass::NEW, Some(state));
    // One end connected to itself: both sides are the low one.
    let opener = if key.is_to_itself() { side } else { side.other() };
    let segment = &packet.segment;
    if state.phase != Phase::FREE
        && let Answer::Taken | Answer::Unmatched = state.answer(segment, opener)
    {
        return;
    }
    state.open(segment.ack.wrapping_sub(1), opener, us(now_ns));
    state.flags |= FlowState::SYN_UNSEEN;
    state.epoch = clock.epoch();
    state.answer(segment, opener);
}

#[inline(always)]
fn rst<K: Key, F: FlowStates<K>, C: Clock, S: RecordSink>(
    packet: &ParsedPacket,
    environment: &mut Environment<'_, F, C, S>,
) {
    let (key, side) = packet.key();
    let (clock, now_ns) = (environment.clock, environment.clock.now_ns());
    let state = environment.flows.find(&key).map(|state| {
        state.epoch = clock.epoch();
        if state.reset_by(&packet.segment, side) {
            state.phase = Phase::ENDED;
        }
        &*state
    });
    environment.sink.emit_segment(packet, SegmentKind::Rst, now_ns, SegmentClass::NEW, state);
}

#[inline(always)]
fn fin<K: Key, F: FlowStates<K>, C: Clock, S: RecordSink>(
    packet: &ParsedPacket,
    environment: &mut Environment<'_, F, C, S>,
) {
    let (key, side) = packet.key();
    let (clock, now_ns) = (environment.clock, environment.clock.now_ns());
    let mut class = SegmentClass::NEW;
    let state = environment.flows.find(&key).map(|state| {
        state.epoch = clock.epoch();
        if state.phase.is_opening() && state.completed_by(&packet.segment, side) {
            // It completes the handshake in place of an ACK that was not seen: the round-trip time is not known.
            state.flags |= FlowState::SYN_UNSEEN;
            state.complete(side, us(now_ns));
        }
        // After a FIN of the other end the ACK may still come (Fast Open).
        if !state.phase.is_opening() {
            class = finish::<K, F>(state, &packet.range(), side, us(now_ns));
        }
        &*state
    });
    environment.sink.emit_segment(packet, SegmentKind::Fin, now_ns, class, state);
}

#[inline(always)]
fn finish<K: Key, F: FlowStates<K>>(
    state: &mut FlowState,
    range: &SequenceRange,
    side: Side,
    now_us: u32,
) -> SegmentClass {
    let rtt_us = state.rtt_us;
    let mut class = SegmentClass::NEW;
    if !state.tracker(side).accept_next(range) {
        class = F::accept_out_of_order(state.tracker(side), range, now_us, rtt_us);
    }
    state.flags |= 1 << (side as u32);
    if state.flags & 3 == 3 {
        state.phase = Phase::ENDED;
    }
    class
}
