//! Is this segment worth a record?
//!
//! SYN, SYN-ACK, RST and FIN always are. Of the pure ACKs only the one that completes a handshake is, and
//! telling it from the others takes one look-up of the flow's state: no clock, no insertion.

use crate::flow::{FlowKey, FlowState, FlowStates, Half, Phase, Side};
use crate::load::Load;
use crate::options::timestamps;
use crate::parse::{LinkLayer, Unparsed, parse};
use crate::record::{Direction, Kind};
use crate::segment::{Segment, TcpFlags, Timestamps};

/// How far from the handshake's end a completing ACK may lie in sequence space, in bytes. The exact next
/// number is the rule, but the ACK itself may be lost and the first flight of data completes in its
/// stead. A stray segment of an older connection fits by chance once in 2^16 times (2^24 of 2^32, in both
/// directions).
const COMPLETION_WINDOW: u32 = 1 << 24;
/// The same while no SYN-ACK was seen, when the other number is not known: data in the SYN (Fast Open) at most. The
/// numbers of connections that follow each other on the same ports lie farther apart: Linux counts up by one in 64 ns
/// (`secure_tcp_seq`).
const UNANSWERED_WINDOW: u32 = 1 << 14;
/// The same for a RST that ends a handshake: data in the SYN or in the first flight may precede it.
const RESET_WINDOW: u32 = 1 << 16;

/// Where a packet was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hook {
    /// Index of the interface.
    pub interface: u32,
    /// Which way packets pass here.
    pub direction: Direction,
    /// What stands before the IP header.
    pub link: LinkLayer,
}

/// A segment that is worth a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sighting {
    /// Why.
    pub kind: Kind,
    /// What its headers say.
    pub segment: Segment,
    /// Its timestamp option.
    pub timestamps: Timestamps,
}

/// Looks at one packet: the whole way from bytes to verdict. `packet_len` is its length in bytes at the
/// interface. `Ok(None)` is a segment that needs no record.
///
/// # Errors
/// Says why the packet gave no segment, or a segment worth a record had malformed options.
#[inline(always)]
pub fn observe<P: Load + ?Sized, S: FlowStates>(
    packet: &P,
    packet_len: u32,
    hook: &Hook,
    states: &mut S,
) -> Result<Option<Sighting>, Unparsed> {
    let segment = parse(packet, hook.link, packet_len)?;
    let Some(kind) = verdict(&segment, hook.interface, states)? else { return Ok(None) };
    let timestamps = timestamps(packet, &segment)?;
    Ok(Some(Sighting { kind, segment, timestamps }))
}

#[inline(always)]
fn verdict<S: FlowStates>(
    segment: &Segment,
    interface: u32,
    states: &mut S,
) -> Result<Option<Kind>, Unparsed> {
    let (key, side) = FlowKey::of(segment, interface);
    let flags = segment.flags;
    if flags.0 & (TcpFlags::SYN.0 | TcpFlags::FIN.0 | TcpFlags::RST.0) == 0 {
        if !states.get(&key).is_some_and(|state| state.completed_by(segment, side)) {
            return Ok(None);
        }
        states.remove(&key);
        return Ok(Some(Kind::Ack));
    }
    if flags.has(TcpFlags::RST) {
        if states.get(&key).is_some_and(|state| state.reset_by(segment, side)) {
            states.remove(&key);
        }
        return Ok(Some(Kind::Rst));
    }
    if flags.has(TcpFlags::SYN.with(TcpFlags::FIN)) {
        // No connection opens and closes in one segment; Linux drops it (tcp_rcv_state_process).
        return Err(Unparsed::Malformed);
    }
    if flags.has(TcpFlags::FIN) {
        // A FIN of the opener that fits completes in the stead of an ACK. After one of the other end the ACK may
        // still come (Fast Open), and one of an older connection means nothing.
        if states.get(&key).is_some_and(|state| state.completed_by(segment, side)) {
            states.remove(&key);
        }
        return Ok(Some(Kind::Fin));
    }
    if flags.has(TcpFlags::ACK) {
        answered(states, &key, segment, side);
        return Ok(Some(Kind::SynAck));
    }
    if !states.get(&key).is_some_and(|state| state.includes_syn(segment, side)) {
        states.insert(&key, FlowState::opening(segment.seq, side));
    }
    Ok(Some(Kind::Syn))
}

/// A SYN-ACK: the SYN may have passed elsewhere, or before the probe was there.
#[inline(always)]
fn answered<S: FlowStates>(states: &mut S, key: &FlowKey, segment: &Segment, side: Side) {
    // One end connected to itself: both sides are the low one.
    let opener = if key.is_to_itself() { side } else { side.other() };
    match states.get(key) {
        Some(state) => state.answer(segment, opener),
        None => {
            let mut state = FlowState::opening(segment.ack.wrapping_sub(1), opener);
            state.answer(segment, opener);
            states.insert(key, state);
        }
    }
}

impl FlowState {
    /// The state after a SYN of `side` with initial sequence number `isn`.
    #[inline(always)]
    fn opening(isn: u32, side: Side) -> Self {
        let mut halves = [Half { next_seq: 0 }; 2];
        halves[side as usize].next_seq = isn.wrapping_add(1);
        Self { phase: Phase::OPENING, opener: side as u32, halves }
    }

    /// Takes a SYN-ACK that goes to `opener`, if it answers the SYN that is known.
    #[inline(always)]
    fn answer(&mut self, segment: &Segment, opener: Side) {
        // The opener of old accepts the SYN that crossed its own by a number of its own: its attempt is over.
        let sender = opener.other();
        let fresh = self.opener == sender as u32
            && self.phase == Phase::OPENING
            && self.halves[opener as usize].next_seq == segment.ack
            && self.halves[sender as usize].next_seq != segment.seq.wrapping_add(1);
        if fresh {
            self.opener = opener as u32;
        }
        if self.opener == opener as u32 {
            let sent = segment.ack.wrapping_sub(self.halves[opener as usize].next_seq);
            // Data in the SYN (Fast Open, RFC 7413) may be acknowledged too.
            if sent < COMPLETION_WINDOW {
                self.phase = self.phase.answered(&mut self.halves[opener.other() as usize], segment.seq);
            }
        }
    }

    /// Is this the ACK that completes the handshake?
    ///
    /// Without a SYN-ACK in sight (asymmetric routing) any ACK of the opener tells that there was one; with several,
    /// that it took one of them.
    #[inline(always)]
    fn completed_by(&self, segment: &Segment, side: Side) -> bool {
        if self.opener != side as u32 || !segment.flags.has(TcpFlags::ACK) {
            return false;
        }
        let sent = segment.seq.wrapping_sub(self.halves[side as usize].next_seq);
        let received = segment.ack.wrapping_sub(self.halves[side.other() as usize].next_seq);
        if self.phase == Phase::OPENING {
            return sent < UNANSWERED_WINDOW;
        }
        sent < COMPLETION_WINDOW && (self.phase == Phase::ANSWERED_TWICE || received < COMPLETION_WINDOW)
    }

    /// Does this RST end the handshake? A client answers a stale SYN-ACK by a RST with the number that it
    /// was offered, and goes on waiting for the right one (RFC 9293, 3.10.7.3).
    #[inline(always)]
    fn reset_by(&self, segment: &Segment, side: Side) -> bool {
        let sent = segment.seq.wrapping_sub(self.halves[side as usize].next_seq);
        let received = segment.ack.wrapping_sub(self.halves[side.other() as usize].next_seq);
        if self.phase == Phase::OPENING {
            let refuses = segment.flags.has(TcpFlags::ACK) && received == 0;
            return if self.opener == side as u32 { sent == 0 } else { refuses };
        }
        (self.phase == Phase::ANSWERED || self.opener == side as u32) && sent < RESET_WINDOW
    }

    /// Is this SYN one that is known, sent again, or one of the other end while the opener's is not answered
    /// (simultaneous open, RFC 9293, 3.5)? Then it is the same handshake still, as far as it has come.
    #[inline(always)]
    fn includes_syn(&mut self, segment: &Segment, side: Side) -> bool {
        let next_seq = segment.seq.wrapping_add(1);
        let half = &mut self.halves[side as usize];
        let again = half.next_seq == next_seq;
        let crosses = self.opener != side as u32 && self.phase == Phase::OPENING && half.next_seq == 0;
        if crosses {
            half.next_seq = next_seq;
        }
        again || crosses
    }
}

impl Phase {
    /// The phase after a SYN-ACK with initial sequence number `isn` of the end whose half this is. One that keeps
    /// no state (SYN cookies), or another host behind the same address, answers a repeated SYN with a number of
    /// its own.
    #[inline(always)]
    fn answered(self, half: &mut Half, isn: u32) -> Self {
        let next_seq = isn.wrapping_add(1);
        if self == Self::OPENING {
            half.next_seq = next_seq;
            Self::ANSWERED
        } else if half.next_seq == next_seq {
            self
        } else {
            Self::ANSWERED_TWICE
        }
    }
}
