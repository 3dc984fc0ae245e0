//! Is this segment worth a record?
//!
//! SYN, SYN-ACK, RST and FIN always are, and so is data that was sent before. Of the pure ACKs only the one that
//! completes a handshake is. All others cost a look-up of the flow's state and a few additions: no clock, no insertion.

use crate::half::{Arrival, Extent, Volume};
use crate::handshake::Answer;
use crate::key::{FlowKey, Side};
use crate::load::Load;
use crate::options::timestamps;
use crate::parse::{LinkLayer, Unparsed, parse};
use crate::record::{Direction, Kind};
use crate::segment::{Segment, TcpFlags, Timestamps};
use crate::state::{Clock, FlowState, FlowStates, Phase};

/// Where a packet was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Index of the interface: not 0.
    pub interface: u32,
    /// Which way packets pass here.
    pub direction: Direction,
    /// What stands before the IP header.
    pub link: LinkLayer,
}

/// How much a packet is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Size {
    /// Its length in bytes, at its interface.
    pub bytes: u32,
    /// How many segments it stands for (GSO, GRO): at least 1.
    pub segments: u32,
}

/// A segment that is worth a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Sighting {
    /// When, in nanoseconds of the clock.
    pub time_ns: u64,
    /// What its headers say.
    pub segment: Segment,
    /// Was it sent before?
    pub arrival: Arrival,
    /// What its sender has sent so far in this flow, and what the other end has. Of a SYN that opens another
    /// connection: what was sent in the one before.
    pub volumes: [Volume; 2],
    /// How many segments it stands for.
    pub segments: u32,
    /// Why: the number of a [`Kind`]. An integer, because the verifier does not know which ones there are.
    kind: u32,
    ts_value: u32,
    ts_echo: u32,
    has_timestamps: u32,
    reserved: u32,
}

const _: () = assert!(size_of::<Sighting>() == 144, "a padding byte would not be written");

impl Sighting {
    /// Room for one. It is lent from outside, because the kernel's stack has none.
    pub const NOTHING: Self = Self {
        kind: Kind::Data as u32,
        time_ns: 0,
        segment: Segment::NOTHING,
        segments: 0,
        ts_value: 0,
        ts_echo: 0,
        has_timestamps: 0,
        reserved: 0,
        arrival: Arrival::NEW,
        volumes: [Volume { segments: 0, bytes: 0, retransmits: 0 }; 2],
    };

    /// Why, as the number of a [`Kind`].
    #[inline(always)]
    #[must_use]
    pub const fn kind_number(&self) -> u32 {
        self.kind
    }

    /// Its timestamp option; absent in what is of kind [`Kind::Data`].
    #[inline(always)]
    #[must_use]
    pub const fn timestamps(&self) -> Timestamps {
        Timestamps { value: self.ts_value, echo: self.ts_echo, present: self.has_timestamps != 0 }
    }

    #[inline(always)]
    fn stamp(&mut self, timestamps: Timestamps) {
        self.ts_value = timestamps.value;
        self.ts_echo = timestamps.echo;
        self.has_timestamps = timestamps.present as u32;
    }
}

/// Looks at one packet: the whole way from bytes to verdict. Gives a sighting, in the place that `room` lends, when the
/// segment is worth a record.
///
/// Nothing is remembered of a packet that gives an error.
///
/// # Errors
/// Says why the packet gave no segment, or a segment worth a record had malformed options.
#[inline(always)]
pub fn observe<'r, P: Load + ?Sized, S: FlowStates, C: Clock>(
    packet: &P,
    size: Size,
    hook: &Hook,
    states: &mut S,
    clock: &C,
    room: impl FnOnce() -> Option<&'r mut Sighting>,
) -> Result<Option<&'r Sighting>, Unparsed> {
    let segment = parse(packet, hook.link, size.bytes)?;
    let (key, side) = FlowKey::of(&segment, hook.interface);
    let flags = segment.flags;
    if flags.0 & (TcpFlags::SYN.0 | TcpFlags::FIN.0 | TcpFlags::RST.0) == 0 {
        return passing(packet, &segment, size.segments, hook.direction, &key, side, states, clock, room);
    }
    if !flags.has(TcpFlags::RST) && flags.has(TcpFlags::SYN.with(TcpFlags::FIN)) {
        // No connection opens and closes in one segment; Linux drops it (tcp_rcv_state_process).
        return Err(Unparsed::Malformed);
    }
    let stamps = timestamps(packet, &segment)?;
    let Some(sighting) = room() else { return Ok(None) };
    sighting.stamp(stamps);
    sighting.arrival = Arrival::NEW;
    sighting.volumes = [Volume { segments: 0, bytes: 0, retransmits: 0 }; 2];
    sighting.time_ns = clock.now_ns();
    sighting.segment = segment;
    sighting.segments = size.segments;
    sighting.kind = kind(flags) as u32;
    if flags.has(TcpFlags::RST) || flags.has(TcpFlags::FIN) {
        ending(sighting, &key, side, states, clock);
    } else if flags.has(TcpFlags::ACK) {
        answering(sighting, &key, side, states, clock);
    } else {
        opening(sighting, &key, side, states, clock);
    }
    Ok(Some(sighting))
}

#[inline(always)]
const fn kind(flags: TcpFlags) -> Kind {
    if flags.has(TcpFlags::RST) {
        Kind::Rst
    } else if flags.has(TcpFlags::FIN) {
        Kind::Fin
    } else if flags.has(TcpFlags::ACK) {
        Kind::SynAck
    } else {
        Kind::Syn
    }
}

/// Microseconds are precise enough for what the probe itself decides by.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "differences are taken, modulo 71 minutes")]
const fn us(ns: u64) -> u32 {
    (ns / 1_000) as u32
}

#[inline(always)]
const fn extent(segment: &Segment, segments: u32) -> Extent {
    let fin = segment.flags.has(TcpFlags::FIN) as u32;
    let payload_len = segment.payload_len;
    Extent { seq: segment.seq, len: payload_len.wrapping_add(fin), payload_len, segments }
}

/// A segment in the midst of a connection: data, or a pure ACK.
#[inline(always)]
#[allow(clippy::too_many_arguments, reason = "inlined: they are the locals of `observe`")]
fn passing<'r, P: Load + ?Sized, S: FlowStates, C: Clock>(
    packet: &P,
    segment: &Segment,
    segments: u32,
    direction: Direction,
    key: &FlowKey,
    side: Side,
    states: &mut S,
    clock: &C,
    room: impl FnOnce() -> Option<&'r mut Sighting>,
) -> Result<Option<&'r Sighting>, Unparsed> {
    let extent = extent(segment, segments);
    let Some(state) = states.get(key) else {
        if extent.len > 0 {
            learn(&extent, FlowState::learned_from(direction, side), key, side, states, clock);
        }
        return Ok(None);
    };
    state.epoch = clock.epoch();
    let completes = state.phase.is_opening() && state.completed_by(segment, side);
    let mut stamps = Timestamps::default();
    if completes {
        stamps = timestamps(packet, segment)?;
    }
    let (mut arrival, mut time_ns) = (Arrival::NEW, 0);
    if extent.len > 0 && !state.half(side).takes_in_order(&extent) {
        time_ns = clock.now_ns();
        let rtt_us = state.rtt_us;
        arrival = S::takes_elsewhere(state.half(side), &extent, us(time_ns), rtt_us);
    }
    if !completes && !arrival.is_retransmit() {
        return Ok(None);
    }
    if time_ns == 0 {
        time_ns = clock.now_ns();
    }
    if completes {
        state.complete(side, us(time_ns));
    }
    let Some(sighting) = room() else { return Ok(None) };
    sighting.stamp(stamps);
    sighting.kind = if completes { Kind::Ack as u32 } else { Kind::Data as u32 };
    sighting.time_ns = time_ns;
    sighting.segment = *segment;
    sighting.segments = segments;
    sighting.arrival = arrival;
    sighting.volumes = state.volumes(side);
    Ok(Some(sighting))
}

/// Data of a flow that was open before, or that was forgotten.
#[inline(never)]
fn learn<S: FlowStates, C: Clock>(
    extent: &Extent,
    facts: u32,
    key: &FlowKey,
    side: Side,
    states: &mut S,
    clock: &C,
) {
    let now_ns = clock.now_ns();
    let Some(state) = states.claim(key, now_ns) else { return };
    state.phase = Phase::OPEN;
    state.facts = facts;
    state.epoch = clock.epoch();
    state.half(side).learn(extent, us(now_ns));
}

#[inline(never)]
fn opening<S: FlowStates, C: Clock>(
    sighting: &mut Sighting,
    key: &FlowKey,
    side: Side,
    states: &mut S,
    clock: &C,
) {
    let (segment, now_us) = (&sighting.segment, us(sighting.time_ns));
    let state = match states.get(key) {
        Some(state) => {
            sighting.volumes = state.volumes(side);
            if state.includes_syn(segment, side) {
                state.reopen(side, now_us);
                return;
            }
            state
        }
        None => match states.claim(key, sighting.time_ns) {
            Some(state) => state,
            None => return,
        },
    };
    state.open(segment.seq, side, now_us);
    state.epoch = clock.epoch();
}

/// A SYN-ACK: the SYN may have passed elsewhere, or before the probe was there.
#[inline(never)]
fn answering<S: FlowStates, C: Clock>(
    sighting: &mut Sighting,
    key: &FlowKey,
    side: Side,
    states: &mut S,
    clock: &C,
) {
    let (segment, now_us) = (&sighting.segment, us(sighting.time_ns));
    // One end connected to itself: both sides are the low one.
    let opener = if key.is_to_itself() { side } else { side.other() };
    let state = match states.get(key) {
        Some(state) => {
            sighting.volumes = state.volumes(side);
            if let Answer::Taken | Answer::Stray = state.answer(segment, opener) {
                return;
            }
            state
        }
        None => match states.claim(key, sighting.time_ns) {
            Some(state) => state,
            None => return,
        },
    };
    state.open(segment.ack.wrapping_sub(1), opener, now_us);
    state.facts |= FlowState::SYN_UNSEEN;
    state.epoch = clock.epoch();
    state.answer(segment, opener);
}

/// A FIN or a RST.
#[inline(never)]
fn ending<S: FlowStates, C: Clock>(
    sighting: &mut Sighting,
    key: &FlowKey,
    side: Side,
    states: &mut S,
    clock: &C,
) {
    let Some(state) = states.get(key) else { return };
    state.epoch = clock.epoch();
    let segment = &sighting.segment;
    if segment.flags.has(TcpFlags::RST) {
        if state.reset_by(segment, side) {
            state.phase = Phase::ENDED;
        }
    } else {
        if state.phase.is_opening() && state.completed_by(segment, side) {
            // In the stead of an ACK that was not seen: the round-trip time is not known.
            state.facts |= FlowState::SYN_UNSEEN;
            state.complete(side, us(sighting.time_ns));
        }
        let extent = extent(segment, sighting.segments);
        if !state.phase.is_opening() {
            sighting.arrival = finished::<S>(state, &extent, side, us(sighting.time_ns));
        }
    }
    sighting.volumes = state.volumes(side);
}

/// After a FIN of the other end the ACK may still come (Fast Open), hence only once the handshake is complete.
#[inline(always)]
fn finished<S: FlowStates>(state: &mut FlowState, extent: &Extent, side: Side, now_us: u32) -> Arrival {
    let rtt_us = state.rtt_us;
    let mut arrival = Arrival::NEW;
    if !state.half(side).takes_in_order(extent) {
        arrival = S::takes_elsewhere(state.half(side), extent, now_us, rtt_us);
    }
    state.facts |= 1 << (side as u32);
    if state.facts & 3 == 3 {
        state.phase = Phase::ENDED;
    }
    arrival
}
