//! Is this segment worth a record?
//!
//! SYN, SYN-ACK, RST and FIN always are, and so is data that was sent before. Of the pure ACKs only the one that
//! completes a handshake is. All others cost a look-up of the flow's state and a few additions: no clock, no insertion.

use crate::handshake::Answer;
use crate::key::{FlowKey4, FlowKey6, Key, Side};
use crate::load::Load;
use crate::parse::{Network, Unparsed, ipv4, ipv6, network};
use crate::parsed::{Hook, ParsedPacket, Size};
use crate::record::Kind;
use crate::segment::{Family, Segment, TcpFlags};
use crate::sequence::{SegmentClass, SequenceRange};
use crate::state::{Clock, FlowState, FlowStates, Phase};

/// Where records go: the ring buffer in the kernel, memory on the host.
pub trait Records {
    /// Takes the record of a segment, or counts it as lost. `time_ns` is when the segment passed, `state` what is known
    /// of its flow now.
    fn tell(
        &mut self,
        passage: &ParsedPacket,
        kind: Kind,
        time_ns: u64,
        arrival: SegmentClass,
        state: Option<&FlowState>,
    );
}

/// What the probe works with, beside the packet.
#[derive(Debug)]
pub struct Tools<'a, S, C, R> {
    /// What is remembered of flows.
    pub states: &'a mut S,
    /// What time it is.
    pub clock: &'a C,
    /// Who is told.
    pub records: &'a mut R,
}

/// The usual packets: not TCP, or a segment in the midst of a connection that is known. Gives false when it is anything
/// else, and then remembers nothing: [`process`] has to look at it. What this does, that does too, only slower. `room`
/// lends a place for what is told.
#[inline(always)]
pub fn fast_path<'r, P, S, C, R>(
    packet: &P,
    size: Size,
    hook: &Hook,
    tools: &mut Tools<'_, S, C, R>,
    room: impl FnOnce() -> Option<&'r mut ParsedPacket>,
) -> bool
where
    P: Load + ?Sized,
    S: FlowStates<FlowKey4> + FlowStates<FlowKey6>,
    C: Clock,
    R: Records,
{
    let network = network(packet, hook.link);
    let segment = match network {
        Ok(Network { family: Family::V4, offset }) => ipv4(packet, offset, size.bytes),
        Ok(Network { family: Family::V6, offset }) => ipv6(packet, offset, size.bytes),
        Err(unparsed) => Err(unparsed),
    };
    let segment = match segment {
        Ok(segment) => segment,
        Err(unparsed) => return unparsed == Unparsed::NotTcp,
    };
    if segment.flags.0 & (TcpFlags::SYN.0 | TcpFlags::FIN.0 | TcpFlags::RST.0) != 0 {
        return false;
    }
    match segment.family {
        Family::V4 => is_dealt_with::<FlowKey4, S, C, R>(&segment, size.segments, hook, tools, room),
        Family::V6 => is_dealt_with::<FlowKey6, S, C, R>(&segment, size.segments, hook, tools, room),
    }
}

#[inline(always)]
fn is_dealt_with<'r, K: Key, S: FlowStates<K>, C: Clock, R: Records>(
    segment: &Segment,
    segments: u32,
    hook: &Hook,
    tools: &mut Tools<'_, S, C, R>,
    room: impl FnOnce() -> Option<&'r mut ParsedPacket>,
) -> bool {
    let (key, side) = K::of(segment, hook.interface);
    let extent = SequenceRange::of(segment, segments);
    let clock = tools.clock;
    let Some(state) = tools.states.find(&key) else { return extent.len == 0 };
    if state.phase.is_opening() {
        return false;
    }
    state.epoch = clock.epoch();
    if state.half(side).accept_in_order(&extent) {
        return true;
    }
    let time_ns = clock.now_ns();
    let rtt_us = state.rtt_us;
    let arrival = S::accept_out_of_order(state.half(side), &extent, us(time_ns), rtt_us);
    if arrival.is_retransmit()
        && let Some(passage) = room()
    {
        passage.set(segment, segments, hook, side);
        tools.records.tell(passage, Kind::Retransmit, time_ns, arrival, Some(state));
    }
    true
}

/// Looks at one packet: the whole way from bytes to verdict. A segment that is worth it is told.
///
/// Nothing is remembered of a packet that gives an error.
///
/// # Errors
/// Says why the packet gave no segment, or a segment worth a record had malformed options.
#[inline(always)]
pub fn process<P: Load + ?Sized, S: FlowStates<FlowKey4> + FlowStates<FlowKey6>, C: Clock, R: Records>(
    packet: &P,
    size: Size,
    hook: &Hook,
    tools: &mut Tools<'_, S, C, R>,
) -> Result<(), Unparsed> {
    let passage = ParsedPacket::read(packet, size, hook)?;
    match passage.family() {
        Family::V4 => segment_passes::<FlowKey4, S, C, R>(&passage, tools),
        Family::V6 => segment_passes::<FlowKey6, S, C, R>(&passage, tools),
    }
}

/// What a segment does to the state of its flow, and whether it is worth a record.
///
/// # Errors
/// As [`process`].
#[inline(always)]
pub fn segment_passes<K: Key, S: FlowStates<K>, C: Clock, R: Records>(
    passage: &ParsedPacket,
    tools: &mut Tools<'_, S, C, R>,
) -> Result<(), Unparsed> {
    let flags = passage.segment.flags;
    if flags.0 & (TcpFlags::SYN.0 | TcpFlags::FIN.0 | TcpFlags::RST.0) == 0 {
        return in_the_midst(passage, tools);
    }
    if !flags.has(TcpFlags::RST) && flags.has(TcpFlags::SYN.with(TcpFlags::FIN)) {
        // No connection opens and closes in one segment; Linux drops it (tcp_rcv_state_process).
        return Err(Unparsed::Malformed);
    }
    passage.needs_options()?;
    if flags.has(TcpFlags::RST) {
        resetting(passage, tools);
    } else if flags.has(TcpFlags::FIN) {
        finishing(passage, tools);
    } else if flags.has(TcpFlags::ACK) {
        answering(passage, tools);
    } else {
        opening(passage, tools);
    }
    Ok(())
}

/// Microseconds are precise enough for what the probe itself decides by.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "differences are taken, modulo 71 minutes")]
const fn us(ns: u64) -> u32 {
    (ns / 1_000) as u32
}

/// A segment in the midst of a connection: data, or a pure ACK.
#[inline(always)]
fn in_the_midst<K: Key, S: FlowStates<K>, C: Clock, R: Records>(
    passage: &ParsedPacket,
    tools: &mut Tools<'_, S, C, R>,
) -> Result<(), Unparsed> {
    let (key, side) = passage.key();
    let (extent, clock) = (passage.extent(), tools.clock);
    let Some(state) = tools.states.find(&key) else {
        if extent.len > 0 {
            learn(passage, &key, side, tools);
        }
        return Ok(());
    };
    state.epoch = clock.epoch();
    let completes = state.phase.is_opening() && state.completed_by(&passage.segment, side);
    if completes {
        passage.needs_options()?;
    }
    let (mut arrival, mut time_ns) = (SegmentClass::NEW, 0);
    if !state.half(side).accept_in_order(&extent) {
        time_ns = clock.now_ns();
        let rtt_us = state.rtt_us;
        arrival = S::accept_out_of_order(state.half(side), &extent, us(time_ns), rtt_us);
    }
    if completes {
        if time_ns == 0 {
            time_ns = clock.now_ns();
        }
        state.complete(side, us(time_ns));
        tools.records.tell(passage, Kind::Ack, time_ns, arrival, Some(state));
    } else if arrival.is_retransmit() {
        tools.records.tell(passage, Kind::Retransmit, time_ns, arrival, Some(state));
    }
    Ok(())
}

/// Data of a flow that was open before, or that was forgotten.
#[inline(always)]
fn learn<K: Key, S: FlowStates<K>, C: Clock, R>(
    passage: &ParsedPacket,
    key: &K,
    side: Side,
    tools: &mut Tools<'_, S, C, R>,
) {
    let (clock, now_ns) = (tools.clock, tools.clock.now_ns());
    let Some(state) = tools.states.find_or_claim(key, now_ns) else { return };
    state.phase = Phase::OPEN;
    state.flags = FlowState::learned_from(passage.direction(), side);
    state.epoch = clock.epoch();
    state.half(side).learn(&passage.extent(), us(now_ns));
}

/// A SYN.
#[inline(always)]
fn opening<K: Key, S: FlowStates<K>, C: Clock, R: Records>(
    passage: &ParsedPacket,
    tools: &mut Tools<'_, S, C, R>,
) {
    let (key, side) = passage.key();
    let (clock, now_ns) = (tools.clock, tools.clock.now_ns());
    let Some(state) = tools.states.find_or_claim(&key, now_ns) else { return };
    tools.records.tell(passage, Kind::Syn, now_ns, SegmentClass::NEW, Some(state));
    if state.includes_syn(&passage.segment, side) {
        state.reopen(side, us(now_ns));
    } else {
        state.open(passage.segment.seq, side, us(now_ns));
        state.epoch = clock.epoch();
    }
}

/// A SYN-ACK: the SYN may have passed elsewhere, or before the probe was there.
#[inline(always)]
fn answering<K: Key, S: FlowStates<K>, C: Clock, R: Records>(
    passage: &ParsedPacket,
    tools: &mut Tools<'_, S, C, R>,
) {
    let (key, side): (K, _) = passage.key();
    let (clock, now_ns) = (tools.clock, tools.clock.now_ns());
    let Some(state) = tools.states.find_or_claim(&key, now_ns) else { return };
    tools.records.tell(passage, Kind::SynAck, now_ns, SegmentClass::NEW, Some(state));
    // One end connected to itself: both sides are the low one.
    let opener = if key.is_to_itself() { side } else { side.other() };
    let segment = &passage.segment;
    if state.phase != Phase::FREE
        && let Answer::Taken | Answer::Stray = state.answer(segment, opener)
    {
        return;
    }
    state.open(segment.ack.wrapping_sub(1), opener, us(now_ns));
    state.flags |= FlowState::SYN_UNSEEN;
    state.epoch = clock.epoch();
    state.answer(segment, opener);
}

/// A RST.
#[inline(always)]
fn resetting<K: Key, S: FlowStates<K>, C: Clock, R: Records>(
    passage: &ParsedPacket,
    tools: &mut Tools<'_, S, C, R>,
) {
    let (key, side) = passage.key();
    let (clock, now_ns) = (tools.clock, tools.clock.now_ns());
    let state = tools.states.find(&key).map(|state| {
        state.epoch = clock.epoch();
        if state.reset_by(&passage.segment, side) {
            state.phase = Phase::ENDED;
        }
        &*state
    });
    tools.records.tell(passage, Kind::Rst, now_ns, SegmentClass::NEW, state);
}

/// A FIN.
#[inline(always)]
fn finishing<K: Key, S: FlowStates<K>, C: Clock, R: Records>(
    passage: &ParsedPacket,
    tools: &mut Tools<'_, S, C, R>,
) {
    let (key, side) = passage.key();
    let (clock, now_ns) = (tools.clock, tools.clock.now_ns());
    let mut arrival = SegmentClass::NEW;
    let state = tools.states.find(&key).map(|state| {
        state.epoch = clock.epoch();
        if state.phase.is_opening() && state.completed_by(&passage.segment, side) {
            // In the stead of an ACK that was not seen: the round-trip time is not known.
            state.flags |= FlowState::SYN_UNSEEN;
            state.complete(side, us(now_ns));
        }
        // After a FIN of the other end the ACK may still come (Fast Open).
        if !state.phase.is_opening() {
            arrival = finished::<K, S>(state, &passage.extent(), side, us(now_ns));
        }
        &*state
    });
    tools.records.tell(passage, Kind::Fin, now_ns, arrival, state);
}

#[inline(always)]
fn finished<K: Key, S: FlowStates<K>>(
    state: &mut FlowState,
    extent: &SequenceRange,
    side: Side,
    now_us: u32,
) -> SegmentClass {
    let rtt_us = state.rtt_us;
    let mut arrival = SegmentClass::NEW;
    if !state.half(side).takes_in_order(extent) {
        arrival = S::accept_out_of_order(state.half(side), extent, now_us, rtt_us);
    }
    state.flags |= 1 << (side as u32);
    if state.flags & 3 == 3 {
        state.phase = Phase::ENDED;
    }
    arrival
}
