//! One connection, as captured at one of its ends.

use lab::conversation::{Conversation, End, PSH};
use probe_common::{Endpoint, SegmentRecord, TcpFlags};

use super::peers::{MS, S};

const ACK: TcpFlags = TcpFlags::ACK;
/// Bytes of a request and of an answer.
const REQUEST: u32 = 180;
const ANSWER: u32 = 1_200;
/// How long an end takes to react.
const TURN_NS: u64 = 40_000;

/// The packets of one connection so far.
pub(super) struct Connection {
    conversation: Conversation,
    /// Whether the capture is made at the responder.
    at_responder: bool,
}

impl Connection {
    /// A connection from an opener to a responder that begins at `start_ns`.
    pub(super) fn new(ends: [Endpoint; 2], start_ns: u64, at_responder: bool) -> Self {
        // Ports are not reused, so any numbers will do, and these compress well.
        Self { conversation: Conversation::new(ends, [1_000, 5_000], start_ns), at_responder }
    }

    /// A whole connection; its first SYN or its request can be lost after the capture point.
    pub(super) fn whole(&mut self, rtt_ns: u64, syn_is_lost: bool, data_is_lost: bool) {
        self.opened(rtt_ns, syn_is_lost);
        self.request(rtt_ns, data_is_lost);
        self.opener(ACK.with(TcpFlags::FIN), 0, MS);
        self.responder(ACK.with(TcpFlags::FIN), 0, self.there(rtt_ns));
        self.opener(ACK, 0, self.back(rtt_ns));
    }

    /// The handshake.
    pub(super) fn opened(&mut self, rtt_ns: u64, syn_is_lost: bool) {
        self.opener(TcpFlags::SYN, 0, 0);
        if syn_is_lost {
            self.conversation.send_again(S);
        }
        self.responder(TcpFlags::SYN.with(ACK), 0, self.there(rtt_ns));
        self.opener(ACK, 0, self.back(rtt_ns));
    }

    /// A request and its answer.
    pub(super) fn request(&mut self, rtt_ns: u64, is_lost: bool) {
        self.opener(ACK.with(PSH), REQUEST, TURN_NS);
        if is_lost {
            self.conversation.send_again(210 * MS);
        }
        self.responder(ACK.with(PSH), ANSWER, self.there(rtt_ns) + 2 * MS);
        self.opener(ACK, 0, self.back(rtt_ns));
    }

    pub(super) fn refused(&mut self, after_ns: u64) {
        self.opener(TcpFlags::SYN, 0, 0);
        self.responder(TcpFlags::RST.with(ACK), 0, after_ns);
    }

    /// Two SYNs without an answer.
    pub(super) fn unanswered(&mut self) {
        self.opener(TcpFlags::SYN, 0, 0);
        self.conversation.send_again(S);
    }

    /// The SYN-ACK is retransmitted, and no ACK arrives.
    pub(super) fn half_open(&mut self) {
        self.opener(TcpFlags::SYN, 0, 0);
        self.responder(TcpFlags::SYN.with(ACK), 0, TURN_NS);
        self.conversation.send_again(S);
        self.conversation.send_again(2 * S);
    }

    /// The responder resets the connection.
    pub(super) fn reset(&mut self, after_ns: u64) {
        self.responder(TcpFlags::RST.with(ACK), 0, after_ns);
    }

    pub(super) fn into_segments(self) -> Vec<SegmentRecord> {
        self.conversation.into_segments()
    }

    /// Time from the opener's packet to the responder's answer, and the other way round.
    const fn there(&self, rtt_ns: u64) -> u64 {
        if self.at_responder { TURN_NS } else { rtt_ns }
    }

    const fn back(&self, rtt_ns: u64) -> u64 {
        if self.at_responder { rtt_ns } else { TURN_NS }
    }

    fn opener(&mut self, flags: TcpFlags, payload_len: u32, after_ns: u64) {
        self.conversation.send(End::Opener, flags, payload_len, after_ns);
    }

    fn responder(&mut self, flags: TcpFlags, payload_len: u32, after_ns: u64) {
        self.conversation.send(End::Responder, flags, payload_len, after_ns);
    }
}
