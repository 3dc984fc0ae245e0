//! Does this segment make a record?
//!
//! SYN, SYN-ACK, RST and FIN always do, and so does retransmitted data. Of the pure ACKs only the one that completes a
//! handshake does. All others cost a look-up of the flow's state and a few additions: no clock, no insertion.

use crate::bytes::Load;
use crate::handshake_state::Answer;
use crate::icmp_error::ParsedIcmp;
use crate::key::{FlowKey4, FlowKey6, Key, Side};
use crate::options::FindTimestamps;
use crate::packet::{Direction, Hook, ParsedPacket, Size};
use crate::parse::{Unparsed, parse_plain};
use crate::segment::{Family, Segment, TcpFlags, Timestamps};
use crate::sequence::{SegmentClass, SequenceRange};
use crate::state::{Clock, Evictable, FlowState, FlowStates, Phase};

/// Why a segment makes a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum SegmentKind {
    /// SYN without ACK: a connection is being opened.
    Syn = 0,
    /// SYN with ACK: it is being answered.
    SynAck = 1,
    /// The ACK that completes a handshake, or one that answers the SYN with the numbers of another connection.
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

    /// Takes the record of an ICMP error that passed at `time_ns`.
    fn emit_icmp(&mut self, icmp: &ParsedIcmp, time_ns: u64);

    /// Counts an ICMP error that matches no connection.
    fn count_unmatched_icmp(&mut self);

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
    /// It holds ICMP: [`ParsedIcmp::read`] has to look at it.
    Icmp,
    /// [`process`] has to look at it. Nothing has changed.
    Unusual,
}

/// Deals with the usual packets: not TCP, or the next segment of a connection that is known, without tags and extension headers. When the packet is anything
/// else, [`process`] has to look at it, which has the same results for all packets, only slower.
#[inline(always)]
pub fn fast_path<P, F, C>(packet: &P, size: Size, hook: &Hook, flows: &mut F, clock: &C) -> Progress
where
    P: Load + ?Sized,
    F: FlowStates<FlowKey4> + FlowStates<FlowKey6>,
    C: Clock,
{
    let segment = match parse_plain(packet, hook.link, size.bytes) {
        Ok(segment) => segment,
        Err(Unparsed::NotTcp) => return Progress::NotTcp,
        Err(Unparsed::Icmp) => return Progress::Icmp,
        Err(_) => return Progress::Unusual,
    };
    if segment.flags.0 & (TcpFlags::SYN.0 | TcpFlags::FIN.0 | TcpFlags::RST.0) != 0 {
        return Progress::Unusual;
    }
    let is_done = match segment.family {
        Family::V4 => fast_segment::<FlowKey4, F, C>(&segment, size.segments, hook, flows, clock),
        Family::V6 => fast_segment::<FlowKey6, F, C>(&segment, size.segments, hook, flows, clock),
    };
    if is_done { Progress::Done } else { Progress::Unusual }
}

#[inline(always)]
fn fast_segment<K: Key, F: FlowStates<K>, C: Clock>(
    segment: &Segment,
    segments: u32,
    hook: &Hook,
    flows: &mut F,
    clock: &C,
) -> bool {
    let (key, side) = K::of(segment, hook.interface);
    // In order, nobody asks for the timestamps.
    let range = SequenceRange::of(segment, segments, Timestamps::default());
    let Some(state) = flows.find(&key) else { return range.len == 0 };
    if state.phase.is_opening() {
        return false;
    }
    state.epoch = clock.epoch();
    state.note_window(segment, side);
    state.note_ack(segment, side);
    state.is_probed_by(&range, side) || state.tracker(side).accept_in_order(&range)
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
    let mut packet = ParsedPacket::read(packet, size, hook)?;
    match packet.family() {
        Family::V4 => process_parsed::<FlowKey4, F, C, S>(&mut packet, environment),
        Family::V6 => process_parsed::<FlowKey6, F, C, S>(&mut packet, environment),
    }
}

/// What a segment does to the state of its flow, and whether it makes a record. What its sender says of it loses what it cannot
/// know.
///
/// # Errors
/// As [`process`].
#[inline(always)]
pub fn process_parsed<K: Key, F: FlowStates<K>, C: Clock, S: RecordSink>(
    packet: &mut ParsedPacket,
    environment: &mut Environment<'_, F, C, S>,
) -> Result<(), Unparsed> {
    let flags = packet.segment.flags;
    if !flags.has(TcpFlags::RST) && flags.has(TcpFlags::SYN.with(TcpFlags::FIN)) {
        // No connection opens and closes in one segment; Linux drops it (tcp_rcv_state_process).
        return Err(Unparsed::SynFin);
    }
    let Environment { flows, clock, sink } = environment;
    let (key, side): (K, _) = (packet.key(), packet.side());
    let now_ns = clock.now_ns();
    // One look-up for all kinds, which the verifier follows once.
    let evict = |evicted: &K, state: &FlowState| sink.emit_evicted_flow(now_ns, evicted, state);
    let mut state = flows.find_or_claim(&key, evictable(packet), evict);
    if let Some(state) = &mut state {
        state.epoch = clock.epoch();
        if !flags.has(TcpFlags::SYN) && state.closed[side.other() as usize] != 0 {
            // The timer that probes a closed window retransmits, too, and the socket does not say that it was that one.
            packet.forget_cause();
        }
    }
    let packet = &*packet;
    let known = Known { packet, side, now_ns, sink: *sink };
    if flags.has(TcpFlags::RST) {
        known.rst(state);
    } else if flags.has(TcpFlags::FIN) {
        known.fin::<K, F>(state);
    } else if !flags.has(TcpFlags::SYN) {
        known.data_or_ack::<K, F>(state);
    } else if flags.has(TcpFlags::ACK) {
        // One end connected to itself: both sides are the low one.
        known.syn_ack(state, if key.is_to_itself() { side } else { side.other() });
    } else {
        known.syn(state);
    }
    Ok(())
}

/// Microseconds are precise enough for what the probe itself decides by.
#[inline(always)]
#[allow(clippy::cast_possible_truncation, reason = "differences are taken, modulo 71 minutes")]
const fn us(ns: u64) -> u32 {
    (ns / 1_000) as u32
}

/// Which flows may be evicted for the flow of this segment, when it is not known.
#[inline(always)]
fn evictable(packet: &ParsedPacket) -> Evictable {
    let (segment, is_inbound) = (&packet.segment, packet.direction() == Direction::Ingress);
    let flags = segment.flags;
    if flags.has(TcpFlags::RST) {
        return Evictable::NOTHING;
    }
    if flags.has(TcpFlags::SYN) {
        // This host answers whoever sends a SYN: a SYN-ACK does not make the connection its own.
        let is_own = !is_inbound && !flags.has(TcpFlags::ACK);
        return if is_own { Evictable::ALL } else { Evictable::FOR_STRANGERS };
    }
    if segment.payload_len == 0 && !flags.has(TcpFlags::FIN) {
        return Evictable::NOTHING;
    }
    if is_inbound { Evictable::FOR_UNCONFIRMED } else { Evictable::FOR_LEARNED }
}

/// A segment, and what is to be done with it once its flow was looked up.
struct Known<'a, S> {
    packet: &'a ParsedPacket,
    side: Side,
    now_ns: u64,
    sink: &'a mut S,
}

impl<S: RecordSink> Known<'_, S> {
    #[inline(always)]
    fn emit(self, kind: SegmentKind, class: SegmentClass, state: Option<&FlowState>) {
        self.sink.emit_segment(self.packet, kind, self.now_ns, class, state);
    }

    /// A segment within a connection: data, or a pure ACK.
    #[inline(always)]
    fn data_or_ack<K: Key, F: FlowStates<K>>(self, state: Option<&mut FlowState>) {
        let Some(state) = state else { return };
        let (segment, side, range) = (&self.packet.segment, self.side, self.packet.range());
        state.note_window(segment, side);
        if state.phase == Phase::FREE {
            return self.learn(state);
        }
        if state.is_challenged_by(segment, side) {
            // The numbers are those of another connection.
            return self.emit(SegmentKind::Ack, SegmentClass::NEW, Some(state));
        }
        state.note_ack(segment, side);
        let completes = state.phase.is_opening() && state.completed_by(segment, side);
        let class = if state.is_probed_by(&range, side) || state.tracker(side).accept_in_order(&range) {
            SegmentClass::NEW
        } else {
            let rtt_us = state.rtt_us;
            F::accept_out_of_order(state.tracker(side), &range, us(self.now_ns), rtt_us)
        };
        if completes {
            state.complete(side, us(self.now_ns));
            self.emit(SegmentKind::Ack, class, Some(state));
        } else if class.is_retransmit() {
            self.emit(SegmentKind::Retransmit, class, Some(state));
        }
    }

    /// Data, or a FIN, of a flow that was open before the probe was attached, or that was evicted.
    #[inline(always)]
    fn learn(&self, state: &mut FlowState) {
        state.phase = Phase::OPEN;
        state.flags = FlowState::learned_from(self.packet.direction(), self.side);
        state.tracker(self.side).learn(&self.packet.range(), us(self.now_ns));
    }

    #[inline(always)]
    fn syn(self, state: Option<&mut FlowState>) {
        let (segment, side, now_us) = (&self.packet.segment, self.side, us(self.now_ns));
        let is_own = matches!(self.packet.direction(), Direction::Egress | Direction::Local);
        self.sink.emit_segment(
            self.packet,
            SegmentKind::Syn,
            self.now_ns,
            SegmentClass::NEW,
            state.as_deref(),
        );
        let Some(state) = state else { return };
        if state.includes_syn(segment, side) {
            state.reopen(side, now_us);
        } else {
            let epoch = state.epoch;
            state.open(segment.seq, side, now_us);
            state.epoch = epoch;
        }
        if is_own && state.opener == side as u32 {
            state.flags |= FlowState::OPENED_HERE;
        }
    }

    /// A SYN-ACK to `opener`. Its SYN may have taken another path, or passed before the probe was attached.
    #[inline(always)]
    fn syn_ack(self, state: Option<&mut FlowState>, opener: Side) {
        let (segment, now_us) = (&self.packet.segment, us(self.now_ns));
        self.sink.emit_segment(
            self.packet,
            SegmentKind::SynAck,
            self.now_ns,
            SegmentClass::NEW,
            state.as_deref(),
        );
        let Some(state) = state else { return };
        if state.phase != Phase::FREE
            && let Answer::Taken | Answer::Unmatched = state.answer(segment, opener)
        {
            return;
        }
        let epoch = state.epoch;
        state.open(segment.ack.wrapping_sub(1), opener, now_us);
        state.flags |= FlowState::SYN_UNSEEN;
        state.epoch = epoch;
        state.answer(segment, opener);
    }

    #[inline(always)]
    fn rst(self, state: Option<&mut FlowState>) {
        let mut class = SegmentClass::NEW;
        let state = state.map(|state| {
            if state.reset_by(&self.packet.segment, self.side) {
                state.phase = Phase::ENDED;
            } else if state.phase == Phase::OPEN {
                class = SegmentClass::OUT_OF_WINDOW;
            }
            &*state
        });
        self.emit(SegmentKind::Rst, class, state);
    }

    #[inline(always)]
    fn fin<K: Key, F: FlowStates<K>>(self, state: Option<&mut FlowState>) {
        let mut class = SegmentClass::NEW;
        let state = state.map(|state| {
            if state.phase == Phase::FREE {
                self.learn(state);
                state.flags |= 1 << (self.side as u32);
            } else {
                class = self.takes_fin::<K, F>(state);
            }
            &*state
        });
        self.emit(SegmentKind::Fin, class, state);
    }

    #[inline(always)]
    fn takes_fin<K: Key, F: FlowStates<K>>(&self, state: &mut FlowState) -> SegmentClass {
        let (segment, side, now_us) = (&self.packet.segment, self.side, us(self.now_ns));
        let range = self.packet.range();
        if state.phase.is_opening() && state.completed_by(segment, side) {
            // It completes the handshake in place of an ACK that was not seen: the round-trip time is not known.
            state.flags |= FlowState::SYN_UNSEEN;
            state.complete(side, now_us);
        }
        // Where only one end is seen, the handshake is never complete. The FIN may also come before the ACK (Fast Open).
        let follows = !state.phase.is_opening()
            || (state.phase != Phase::OPENING
                && segment.flags.has(TcpFlags::ACK)
                && state.tracker(side).is_near(&range));
        if !follows {
            return SegmentClass::NEW;
        }
        state.note_ack(segment, side);
        let rtt_us = state.rtt_us;
        let class = if state.tracker(side).accept_next(&range) {
            SegmentClass::NEW
        } else {
            F::accept_out_of_order(state.tracker(side), &range, now_us, rtt_us)
        };
        state.flags |= 1 << (side as u32);
        if state.flags & 3 == 3 && !state.phase.is_opening() {
            state.phase = Phase::ENDED;
        }
        class
    }
}

/// Looks for the connection that an error is about. Only if the segment that it quotes is in flight it makes a record;
/// otherwise it is counted.
#[inline(always)]
pub fn process_icmp<F: FlowStates<FlowKey4> + FlowStates<FlowKey6>, C: Clock, S: RecordSink>(
    icmp: &ParsedIcmp,
    environment: &mut Environment<'_, F, C, S>,
) {
    let Environment { flows, clock, sink } = environment;
    let matches = icmp.is_addressed != 0
        && match icmp.quoted.family {
            Family::V4 => is_in_flight::<FlowKey4, F>(icmp, flows),
            Family::V6 => is_in_flight::<FlowKey6, F>(icmp, flows),
        };
    if matches {
        sink.emit_icmp(icmp, clock.now_ns());
    } else {
        sink.count_unmatched_icmp();
    }
}

#[inline(always)]
fn is_in_flight<K: Key, F: FlowStates<K>>(icmp: &ParsedIcmp, flows: &mut F) -> bool {
    let (key, side) = K::of(&icmp.quoted, icmp.interface);
    flows.find(&key).is_some_and(|state| state.is_in_flight(icmp.quoted.seq, side))
}
