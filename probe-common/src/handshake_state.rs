//! The handshake of a flow, as far as the probe has to follow it: which ACK completes it.

use crate::key::Side;
use crate::segment::{Segment, TcpFlags};
use crate::sequence::elapsed_us;
use crate::state::{FlowState, Phase};

/// How far from the handshake's end a completing ACK may lie in sequence space, in bytes. The exact next
/// number is the rule, but the ACK itself may be lost and the first flight of data completes in its
/// place. An unrelated segment of an older connection fits by chance once in 2^16 times (2^24 of 2^32, in both
/// directions).
const COMPLETION_WINDOW: u32 = 1 << 24;
/// The same while no SYN-ACK was seen, when the other number is not known: data in the SYN (Fast Open) at most. The
/// numbers of connections that follow each other on the same ports lie farther apart: Linux counts up by one in 64 ns
/// (`secure_tcp_seq`).
const UNANSWERED_WINDOW: u32 = 1 << 14;
/// The same for a RST that ends a handshake: data in the SYN or in the first flight may precede it.
const RESET_WINDOW: u32 = 1 << 16;
/// How far behind the next number a RST may lie that ends a connection: no window is larger in practice. Whoever resets
/// what it does not know takes the number that the other end had acknowledged.
const CONNECTION_WINDOW: u32 = 1 << 26;
/// How far ahead: data that was not seen.
const UNSEEN_WINDOW: u32 = 1 << 17;

/// What a SYN-ACK means for a flow that is known.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Answer {
    /// It answers its SYN.
    Taken,
    /// It answers another one.
    Unmatched,
    /// The flow has ended: it belongs to the next connection, whose SYN was not seen.
    Next,
}

impl FlowState {
    /// Begins anew with a SYN of `side`.
    #[inline(always)]
    pub fn open(&mut self, isn: u32, side: Side, now_us: u32) {
        if self.phase != Phase::FREE {
            self.clear();
        }
        self.phase = Phase::OPENING;
        self.opener = side as u32;
        self.opened_us = now_us;
        self.begin(side, isn);
    }

    /// Takes a repeated SYN, or the one that crosses it.
    #[inline(always)]
    pub fn reopen(&mut self, side: Side, now_us: u32) {
        if self.opener == side as u32 && self.phase == Phase::OPENING {
            self.opened_us = now_us;
        }
    }

    /// Takes a SYN-ACK to `opener`, if it answers the SYN that is known.
    #[inline(always)]
    pub fn answer(&mut self, segment: &Segment, opener: Side) -> Answer {
        // The former opener accepts the SYN that crossed its own, with another number: its own attempt is over.
        let sender = opener.other();
        let fresh = self.opener == sender as u32
            && self.phase == Phase::OPENING
            && self.trackers[opener as usize].began_with(segment.ack.wrapping_sub(1))
            && !self.trackers[sender as usize].began_with(segment.seq);
        if fresh {
            self.opener = opener as u32;
        }
        let sent = segment.ack.wrapping_sub(self.trackers[opener as usize].isn.wrapping_add(1));
        // Data in the SYN (Fast Open, RFC 7413) may be acknowledged too.
        let fits = self.opener == opener as u32 && sent < COMPLETION_WINDOW;
        // After an end the numbers of the next connection may lie close by: only the very same answer is a late copy.
        if self.phase == Phase::ENDED && !self.trackers[sender as usize].began_with(segment.seq) {
            return Answer::Next;
        }
        if !fits || !self.phase.is_opening() {
            return Answer::Unmatched;
        }
        if self.phase == Phase::OPENING {
            self.begin(sender, segment.seq);
            self.note_ack(segment, sender);
            if sent > 0 {
                self.tracker(opener).next_seq = segment.ack;
            }
            self.phase = Phase::ANSWERED;
        } else {
            // The answer or its ACK was lost: the wait for another one is no round trip.
            self.flags |= Self::SYN_UNSEEN;
            if !self.tracker(sender).began_with(segment.seq) {
                self.phase = Phase::ANSWERED_TWICE;
            }
        }
        Answer::Taken
    }

    /// Returns whether this ACK completes the handshake that is under way.
    ///
    /// When no SYN-ACK was seen (asymmetric routing), an ACK of the opener shows that there was one; when several were,
    /// that it accepted one of them.
    #[inline(always)]
    #[must_use]
    pub fn completed_by(&self, segment: &Segment, side: Side) -> bool {
        if self.opener != side as u32 || !segment.flags.has(TcpFlags::ACK) {
            return false;
        }
        let sent = segment.seq.wrapping_sub(self.trackers[side as usize].isn.wrapping_add(1));
        let received = segment.ack.wrapping_sub(self.trackers[side.other() as usize].isn.wrapping_add(1));
        if self.phase == Phase::OPENING {
            return sent < UNANSWERED_WINDOW;
        }
        sent < COMPLETION_WINDOW && (self.phase == Phase::ANSWERED_TWICE || received < COMPLETION_WINDOW)
    }

    /// Returns whether this segment of `side` is an ACK that answers another SYN than the opener's: of a connection that
    /// `side` still has on these ports, or has in TIME-WAIT (a challenge ACK, RFC 5961, 4.2).
    #[inline(always)]
    #[must_use]
    pub fn is_challenged_by(&self, segment: &Segment, side: Side) -> bool {
        let received = segment.ack.wrapping_sub(self.trackers[self.opener as usize & 1].isn.wrapping_add(1));
        self.phase == Phase::OPENING
            && self.opener != side as u32
            && segment.flags.has(TcpFlags::ACK)
            && received >= UNANSWERED_WINDOW
    }

    /// Completes the handshake with a segment of `side`.
    #[inline(always)]
    pub fn complete(&mut self, side: Side, now_us: u32) {
        if self.phase == Phase::ANSWERED_TWICE {
            // Its data will show which of its numbers counts.
            self.tracker(side.other()).lose_track();
        }
        self.phase = Phase::OPEN;
        let is_known = self.flags & Self::SYN_UNSEEN == 0;
        self.rtt_us = if is_known { elapsed_us(self.opened_us, now_us) } else { 0 };
    }

    /// Returns whether this RST ends the flow. A client answers a stale SYN-ACK with a RST that has the number it was
    /// offered, and keeps waiting for the right one (RFC 9293, 3.10.7.3).
    #[inline(always)]
    #[must_use]
    pub fn reset_by(&self, segment: &Segment, side: Side) -> bool {
        let (own, other) = (&self.trackers[side as usize], &self.trackers[side.other() as usize]);
        let sent = segment.seq.wrapping_sub(own.isn.wrapping_add(1));
        if self.phase == Phase::OPENING {
            let received = segment.ack.wrapping_sub(other.isn.wrapping_add(1));
            let refuses = segment.flags.has(TcpFlags::ACK) && received == 0;
            return if self.opener == side as u32 { sent == 0 } else { refuses };
        }
        if self.phase.is_opening() {
            return (self.phase == Phase::ANSWERED || self.opener == side as u32) && sent < RESET_WINDOW;
        }
        let distance = segment.seq.wrapping_sub(own.next_seq);
        !own.is_known() || distance < UNSEEN_WINDOW || distance.wrapping_neg() < CONNECTION_WINDOW
    }

    /// Returns whether this SYN belongs to the handshake that is under way: it repeats one, or it comes from the other end
    /// while the opener's is not answered (simultaneous open, RFC 9293, 3.5).
    #[inline(always)]
    pub fn includes_syn(&mut self, segment: &Segment, side: Side) -> bool {
        if self.phase == Phase::ENDED {
            return false;
        }
        let again = self.tracker(side).began_with(segment.seq);
        let crosses =
            self.opener != side as u32 && self.phase == Phase::OPENING && !self.tracker(side).is_known();
        if crosses {
            self.begin(side, segment.seq);
        }
        again || crosses
    }
}
