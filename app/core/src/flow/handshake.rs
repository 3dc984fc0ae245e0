//! The state machine of one handshake: which SYN was answered when, and what that says about the flow.

use probe_common::{IcmpRecord, SegmentRecord, TcpFlags};

use super::event::RetransmitKind;
use super::flow::{Flow, NEVER, SILENCE_NS};
use super::icmp::IcmpReason;
use super::leg::{MaybeLeg, Moment, Sent};
use super::outcome::Outcome;

/// A SYN is retransmitted after 200 ms at the earliest (Linux's minimum timeout); what comes within this time was
/// duplicated on the way.
const COPY_NS: u64 = 10_000_000;
/// After one SYN the next may take this long: BSD and many devices wait 6 s.
const UNKNOWN_RETRY_NS: u64 = 6_000_000_000;
/// Windows retransmits a SYN that was refused, after 500 ms and twice at most: it is still one `connect`.
const REFUSED_RETRY_NS: u64 = 1_000_000_000;
/// Bytes of data that an end may send before its RST in a handshake that is open.
const FLIGHT: u32 = 1 << 16;
/// A segment is rarely delayed for longer.
const LATE_NS: u64 = 1_000_000_000;
/// Bytes of data that an end may send before its FIN, unseen: a quarter of the sequence space, less one.
const TRANSFER: u32 = (1 << 30) - 1;

/// What the next segments of a handshake are compared with. What they say is kept in the [`Flow`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Handshake {
    isn: u32,
    /// Bytes of data in the SYN (Fast Open), which its answer may acknowledge.
    syn_payload: u32,
    syns: Option<Sent>,
    /// Number of the other end's SYN, when both open at once (RFC 9293, 3.5). Not an `Option`, which would be padded.
    crossing_isn: u32,
    is_crossed: bool,
    answers: Option<Sent>,
    /// Whether the first SYN was not seen: it was answered before.
    first_missed: bool,
    /// Whether it was completed, whatever came of the connection since.
    pub(super) is_completed: bool,
}

impl Handshake {
    /// A handshake that begins with this SYN.
    pub(crate) fn opened_by(syn: &SegmentRecord) -> Self {
        Self {
            isn: syn.seq,
            syn_payload: syn.payload_len,
            syns: Some(Sent::new(syn)),
            crossing_isn: 0,
            is_crossed: false,
            answers: None,
            first_missed: false,
            is_completed: false,
        }
    }

    /// A handshake of which the SYN was not seen.
    pub(crate) fn answered_by(syn_ack: &SegmentRecord) -> Self {
        Self {
            isn: syn_ack.ack.wrapping_sub(1),
            syn_payload: 0,
            syns: None,
            crossing_isn: 0,
            is_crossed: false,
            answers: Some(Sent::new(syn_ack)),
            first_missed: true,
            is_completed: false,
        }
    }

    /// Writes into a new flow what the first segment says.
    pub(super) fn begin(&self, flow: &mut Flow) {
        flow.isn = self.isn;
        match &self.answers {
            Some(answers) => {
                (flow.syn_acks, flow.answered_ns) = (1, flow.first_ns);
                flow.server_isn = answers.isn();
            }
            None => flow.tries = 1,
        }
    }

    /// Whether a SYN-ACK was seen.
    pub(super) const fn is_answered(&self) -> bool {
        self.answers.is_some()
    }

    /// Whether this SYN of the opener repeats its first.
    pub(super) const fn is_repeated_by(&self, syn: &SegmentRecord) -> bool {
        self.isn == syn.seq
    }

    /// Whether this SYN follows the last one so closely that it was not retransmitted, but duplicated on the way.
    pub(super) fn is_copied_by(&self, syn: &SegmentRecord) -> bool {
        self.syns.as_ref().is_some_and(|syns| syn.time_ns.saturating_sub(syns.last_ns()) < COPY_NS)
    }

    /// Whether this SYN is the one that opened it, delayed on its way beyond the end of the connection at `ended_ns`: with
    /// the same timestamp, or without one soon after the end. Some openers' numbers never vary.
    pub(super) fn is_delayed_in(&self, syn: &SegmentRecord, ended_ns: u64) -> bool {
        let Some(syns) = self.syns.as_ref().filter(|_| self.isn == syn.seq) else { return false };
        match syn.timestamps.value() {
            Some(value) => syns.has_value(value),
            None => !syns.is_stamped() && syn.time_ns.saturating_sub(ended_ns) < LATE_NS,
        }
    }

    /// Whether this SYN, which is the first that is seen, passed just behind its SYN-ACK: queues and taps swap neighbours.
    pub(super) fn is_swapped_with(&self, syn: &SegmentRecord) -> bool {
        // What is acknowledged is this SYN and its data.
        let is_acknowledged = self.isn.wrapping_sub(syn.seq) <= syn.payload_len;
        let answered = self.answers.as_ref().filter(|_| self.syns.is_none() && is_acknowledged);
        answered.is_some_and(|answers| syn.time_ns.saturating_sub(answers.first_at().time_ns) < COPY_NS)
    }

    /// Whether an opener whose attempt was refused at `refused_ns` tries again by this SYN. Windows sends no timestamps.
    pub(super) fn is_retried_by(&self, syn: &SegmentRecord, refused_ns: u64) -> bool {
        let is_soon = syn.time_ns.saturating_sub(refused_ns) <= REFUSED_RETRY_NS;
        is_soon && !self.syns.as_ref().is_some_and(Sent::is_stamped)
    }

    /// The attempt that a SYN of an opener began whose earlier ones were refused, as it turns out by this SYN-ACK.
    pub(super) fn after_refusal(&self, syn_ack: &SegmentRecord) -> Option<Self> {
        let syns = self.syns.as_ref().filter(|_| self.is_acknowledged_by(syn_ack.ack))?;
        Some(Self { syns: Some(syns.latest()), answers: None, is_completed: false, ..self.clone() })
    }

    /// When the latest SYN passed.
    pub(super) fn tried_ns(&self) -> Option<u64> {
        self.syns.as_ref().map(Sent::last_ns)
    }

    /// Whether this ACK of the other end answers another SYN than this handshake's.
    pub(super) fn is_challenged_by(&self, ack: &SegmentRecord) -> bool {
        !self.is_answered() && !self.is_crossed && !self.is_acknowledged_by(ack.ack)
    }

    /// Whether this SYN of the other end belongs to it, because both open at once.
    pub(super) fn is_crossed_by(&self, syn: &SegmentRecord, flow: &Flow) -> bool {
        let may_cross = flow.outcome == Outcome::Pending && !self.is_answered();
        if self.is_crossed { self.crossing_isn == syn.seq } else { may_cross }
    }

    /// Handles a SYN of the other end.
    pub(super) fn cross(&mut self, syn: &SegmentRecord, flow: &mut Flow) {
        if !self.is_crossed {
            (self.crossing_isn, self.is_crossed) = (syn.seq, true);
        }
        let isn = self.crossing_isn;
        flow.server_isn = self.answers.as_ref().map_or(Some(isn), Sent::isn);
        flow.tries = flow.tries.saturating_add(1);
    }

    /// Whether this SYN-ACK is the opener's, in answer to the SYN that crossed its own.
    pub(super) fn is_crossing_answered_by(&self, syn_ack: &SegmentRecord) -> bool {
        self.is_crossed && self.crossing_isn.wrapping_add(1) == syn_ack.ack
    }

    /// Whether this RST of the opener can be meant for it. A client answers a stale SYN-ACK by a RST with the number that it
    /// was offered, and goes on waiting for the right one (RFC 9293, 3.10.7.3).
    pub(super) const fn is_abandoned_by(&self, rst: &SegmentRecord) -> bool {
        let most = if self.is_answered() { FLIGHT } else { self.syn_payload };
        rst.seq.wrapping_sub(self.isn.wrapping_add(1)) <= most
    }

    /// Handles the opener's SYN when it is seen again.
    pub(super) fn repeat(&mut self, syn: &SegmentRecord, flow: &mut Flow) {
        match &mut self.syns {
            Some(syns) => syns.retransmitted(syn),
            // An earlier SYN was answered, which was not seen.
            None => {
                (self.isn, self.syn_payload, self.syns) = (syn.seq, syn.payload_len, Some(Sent::new(syn)));
                flow.isn = syn.seq;
            }
        }
        flow.tries = flow.tries.saturating_add(1);
        flow.is_repeated |= !self.is_answered() && !flow.is_challenged && !flow.is_unreachable;
    }

    /// Handles a SYN-ACK of the other end. Returns false when it answers another SYN than this handshake's.
    pub(super) fn answer(&mut self, syn_ack: &SegmentRecord, flow: &mut Flow) -> bool {
        if !self.is_acknowledged_by(syn_ack.ack) {
            return false;
        }
        flow.syn_acks = flow.syn_acks.saturating_add(1);
        match &mut self.answers {
            Some(answers) => {
                answers.retransmitted(syn_ack);
                flow.is_repeated = true;
                if self.is_completed {
                    flow.not_accepted = flow.not_accepted.saturating_add(1);
                }
            }
            None => {
                // One that comes after a RST changes nothing any more.
                if flow.outcome != Outcome::Refused {
                    let (at, echo) = (Moment::of(syn_ack), syn_ack.timestamps.echo());
                    flow.answer_leg =
                        MaybeLeg::of(self.syns.as_ref().and_then(|syns| syns.leg(at, self.isn, echo)));
                }
                self.answers = Some(Sent::new(syn_ack));
                (flow.answered_ns, flow.is_repeated, flow.is_unreachable) = (syn_ack.time_ns, false, false);
            }
        }
        flow.server_isn = self.answers.as_ref().and_then(Sent::isn);
        true
    }

    /// Handles a FIN that shows that the ACK was not seen: the time of the ACK is not known.
    pub(super) const fn complete_unseen(&mut self, flow: &mut Flow) {
        self.is_completed = true;
        flow.outcome = Outcome::Established;
    }

    /// Handles an ACK of the opener. Only the first one says how long it took.
    pub(super) fn complete(&mut self, ack: &SegmentRecord, flow: &mut Flow) {
        self.complete_unseen(flow);
        if let Some(answers) = &mut self.answers {
            answers.acknowledge(ack.ack.wrapping_sub(1));
            flow.server_isn = answers.isn();
        }
        if !self.is_first_of_opener(ack) {
            return;
        }
        let (at, answered) = (Moment::of(ack), ack.ack.wrapping_sub(1));
        let leg = |answers: &Sent| answers.leg(at, answered, ack.timestamps.echo());
        flow.client_leg = MaybeLeg::of(self.answers.as_ref().and_then(leg));
        flow.setup_ns = self.since_opened(at);
        if self.is_contradicted_by(at) {
            (flow.answer_leg, flow.client_leg) = (MaybeLeg::UNKNOWN, MaybeLeg::UNKNOWN);
        }
    }

    /// Whether the times of SYN, SYN-ACK and ACK run backwards. Queues and cards stamp with clocks of their own: then one leg
    /// is as wrong as the other.
    fn is_contradicted_by(&self, ack: Moment) -> bool {
        self.answers.as_ref().map(Sent::last_at).is_some_and(|answered| {
            ack.contradicts(answered) || self.opened_at().is_some_and(|opened| answered.contradicts(opened))
        })
    }

    /// When the first SYN passed, if it was seen.
    fn opened_at(&self) -> Option<Moment> {
        self.syns.as_ref().filter(|_| !self.first_missed).map(Sent::first_at)
    }

    /// The time from the first SYN to a moment, in nanoseconds; [`NEVER`] if it is not known.
    pub(super) fn since_opened(&self, moment: Moment) -> u64 {
        self.opened_at().and_then(|opened| moment.since(opened)).unwrap_or(NEVER)
    }

    /// Whether no ACK of the opener came before this one, as far as its numbers show. When it is preceded by data, or
    /// acknowledges data, another ACK came before; not so with Fast Open, where the other end may send at once.
    fn is_first_of_opener(&self, ack: &SegmentRecord) -> bool {
        let answered = ack.ack.wrapping_sub(1);
        let answers = self.answers.as_ref().filter(|_| self.syn_payload == 0);
        self.is_acknowledged_by(ack.seq)
            && answers.is_none_or(|answers| answers.isns().any(|isn| isn == answered))
    }

    /// Whether a FIN belongs to it, as far as its numbers show.
    pub(super) fn is_followed_by(&self, fin: &SegmentRecord, from_opener: bool) -> bool {
        let (sent, received) = if from_opener { (fin.seq, fin.ack) } else { (fin.ack, fin.seq) };
        fin.flags.has(TcpFlags::ACK)
            && sent.wrapping_sub(self.isn.wrapping_add(1)) <= TRANSFER
            && (self.answers.is_none() || self.follows_an_answer(received, TRANSFER))
    }

    /// Whether a FIN shows that it was completed. One of the other end does, except with Fast Open, where it may come
    /// before the ACK.
    pub(super) fn is_completed_by(&self, fin: &SegmentRecord, from_opener: bool) -> bool {
        (from_opener || self.syn_payload == 0) && self.is_followed_by(fin, from_opener)
    }

    /// Handles a RST of the other end while the outcome is open. Returns false when it answers another SYN than this
    /// handshake's.
    pub(super) fn reject(&mut self, rst: &SegmentRecord, flow: &mut Flow) -> bool {
        let acknowledges = rst.flags.has(TcpFlags::ACK) && self.is_acknowledged_by(rst.ack);
        if !self.is_answered() {
            if acknowledges {
                let at = Moment::of(rst);
                flow.answer_leg =
                    MaybeLeg::of(self.syns.as_ref().and_then(|syns| syns.leg(at, self.isn, None)));
                (flow.outcome, flow.answered_ns) = (Outcome::Refused, rst.time_ns);
            }
            return acknowledges;
        }
        let is_meant = acknowledges || self.follows_an_answer(rst.seq, FLIGHT);
        if is_meant {
            flow.outcome = Outcome::Reset;
        }
        is_meant
    }

    /// Handles a RST of the opener while the outcome is open.
    pub(super) const fn abandon(&self, flow: &mut Flow) {
        flow.outcome = match self.is_answered() {
            true => Outcome::Reset,
            false if flow.is_unreachable => Outcome::Unreachable,
            false if flow.is_challenged => Outcome::Challenged,
            false => Outcome::Unanswered,
        };
    }

    /// Decides an outcome that is open: nothing more was seen.
    pub(super) const fn expire(&self, flow: &mut Flow) {
        if matches!(flow.outcome, Outcome::Pending) {
            flow.outcome = match self.is_answered() {
                _ if flow.is_unreachable => Outcome::Unreachable,
                false if flow.is_challenged => Outcome::Challenged,
                false => Outcome::Unanswered,
                true if flow.is_one_sided() => Outcome::Unknown,
                true => Outcome::HalfOpen,
            };
        }
    }

    /// Handles an ICMP error while the outcome is open. Returns false when it is about none of the segments that wait for an
    /// answer.
    pub(super) fn undeliverable(&self, icmp: &IcmpRecord, from_opener: bool, flow: &mut Flow) -> bool {
        let sent = if from_opener {
            self.syns.as_ref().filter(|_| !self.is_answered())
        } else {
            self.answers.as_ref()
        };
        let Some(sent) = sent.filter(|sent| sent.isns().any(|isn| isn == icmp.seq)) else { return false };
        let at = Moment { time_ns: icmp.time_ns, timebase: icmp.timebase };
        let reason = flow.notes.get_or_insert_default().icmp.note(icmp, sent.leg(at, icmp.seq, None));
        flow.is_unreachable |= reason != IcmpReason::TooBig;
        true
    }

    /// When an open outcome is decided if nothing more is seen.
    pub(super) fn deadline_ns(&self, flow: &Flow) -> Option<u64> {
        let waits = || self.answers.as_ref().or(self.syns.as_ref());
        if let Some(error) = flow.icmp_error().filter(|error| flow.is_unreachable && error.reason.is_final())
        {
            return waits().map(|sent| sent.given_up_after_error_ns().max(error.last_ns));
        }
        let opener_gives_up = |syns: &Sent| syns.given_up_ns(UNKNOWN_RETRY_NS);
        let Some(answers) = &self.answers else { return self.syns.as_ref().map(opener_gives_up) };
        let given_up_ns = answers.given_up_ns(0);
        // Where the opener tries again after that, the answer to an earlier SYN was lost.
        let later = self.syns.as_ref().filter(|syns| syns.last_ns() > given_up_ns);
        Some(later.map_or(given_up_ns, opener_gives_up))
    }

    /// When an open handshake turns from pending to unanswered if nothing is seen.
    pub(super) fn silent_at_ns(&self, flow: &Flow) -> Option<u64> {
        (!self.is_answered() && !flow.is_challenged && !flow.is_unreachable)
            .then(|| flow.first_ns.saturating_add(SILENCE_NS))
    }

    /// The time between the latest SYN or SYN-ACK and the one before.
    pub(super) fn repeated_after_ns(&self, kind: RetransmitKind) -> Option<u64> {
        match kind {
            RetransmitKind::Syn => self.syns.as_ref().and_then(Sent::last_gap_ns),
            RetransmitKind::SynAck => self.answers.as_ref().and_then(Sent::last_gap_ns),
            RetransmitKind::Data | RetransmitKind::Fin => None,
        }
    }

    const fn is_acknowledged_by(&self, ack: u32) -> bool {
        ack.wrapping_sub(self.isn.wrapping_add(1)) <= self.syn_payload
    }

    /// Whether this sequence number lies at most `most` bytes behind one of the SYN-ACKs. A server that keeps no state
    /// (SYN cookies), or another one behind the same address, answers a retransmitted SYN with a number of its own.
    fn follows_an_answer(&self, seq: u32, most: u32) -> bool {
        let answers = self.answers.as_ref();
        answers.is_some_and(|answers| answers.isns().any(|isn| seq.wrapping_sub(isn.wrapping_add(1)) <= most))
    }
}
