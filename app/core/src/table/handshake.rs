//! The state machine of one handshake: which SYN was answered when, and what that says.

use probe_common::{SegmentRecord, TcpFlags};

use super::leg::{Leg, Moment, Sent};
use super::outcome::Outcome;
use super::report::RetransmitKind;

/// Without a SYN-ACK for this long a handshake counts as unanswered, without the ACK as half-open. Linux
/// repeats its first SYN after 1 s (RFC 6298, 2.1).
pub const SILENCE_NS: u64 = 1_000_000_000;
/// A SYN is repeated after 200 ms at the soonest (Linux's least timeout); what comes within this was doubled on its way.
const COPY_NS: u64 = 10_000_000;
/// Bytes of data that an end may send before its RST in a handshake that is under way.
const FLIGHT: u32 = 1 << 16;
/// Bytes of data that an end may send before its FIN, unseen: a quarter of the space, less one.
const TRANSFER: u32 = (1 << 30) - 1;

/// How far a handshake has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// SYN seen.
    Opening,
    /// SYN-ACK seen.
    Answered,
    /// Completed.
    Established,
    /// Answered by a RST.
    Refused,
    /// The opener gave up before an answer.
    GivenUp,
    /// The answer was never acknowledged.
    HalfOpen,
    /// An answer was seen once, and nothing at all of the opener: its packets pass elsewhere.
    OneSided,
    /// A RST ended it after the SYN-ACK.
    Reset,
}

impl Stage {
    /// Is the outcome of the handshake still open?
    #[must_use]
    pub const fn is_open(self) -> bool {
        matches!(self, Self::Opening | Self::Answered)
    }
}

/// The SYN of the other end, when both open at once (RFC 9293, 3.5).
#[derive(Clone, Copy, Debug)]
struct Crossing {
    isn: u32,
    syns: u32,
}

/// A handshake from its first SYN on.
#[derive(Clone, Debug)]
pub struct Handshake {
    /// How far it has come.
    pub stage: Stage,
    isn: u32,
    /// Bytes of data in the SYN (Fast Open), which its answer may acknowledge.
    syn_payload: u32,
    syns: Option<Sent>,
    first_missed: bool,
    crossing: Option<Crossing>,
    answers: Option<Sent>,
    /// From the SYN that was answered to its answer: a SYN-ACK, or the RST of who refuses.
    answer_leg: Option<Leg>,
    client_leg: Option<Leg>,
    setup_ns: Option<u64>,
}

impl Handshake {
    /// A handshake that begins with this SYN.
    #[must_use]
    pub fn opened_by(syn: &SegmentRecord) -> Self {
        Self {
            stage: Stage::Opening,
            isn: syn.seq,
            syn_payload: syn.payload_len,
            syns: Some(Sent::new(syn)),
            first_missed: false,
            crossing: None,
            answers: None,
            answer_leg: None,
            client_leg: None,
            setup_ns: None,
        }
    }

    /// A handshake of which the SYN was not seen.
    #[must_use]
    pub fn answered_by(syn_ack: &SegmentRecord) -> Self {
        Self {
            stage: Stage::Answered,
            isn: syn_ack.ack.wrapping_sub(1),
            syn_payload: 0,
            syns: None,
            first_missed: false,
            crossing: None,
            answers: Some(Sent::new(syn_ack)),
            answer_leg: None,
            client_leg: None,
            setup_ns: None,
        }
    }

    /// Is this SYN of the opener the same, sent again?
    #[must_use]
    pub const fn is_repeated_by(&self, syn: &SegmentRecord) -> bool {
        self.isn == syn.seq
    }

    /// Does this SYN come so soon after the last one that no sender can have sent it again, but the way doubled it?
    #[must_use]
    pub fn is_copied_by(&self, syn: &SegmentRecord) -> bool {
        self.syns.as_ref().is_some_and(|syns| syn.time_ns.saturating_sub(syns.last_ns()) < COPY_NS)
    }

    /// Is this SYN of the other end part of it, because both open at once?
    #[must_use]
    pub fn is_crossed_by(&self, syn: &SegmentRecord) -> bool {
        self.crossing.map_or(self.stage == Stage::Opening, |crossing| crossing.isn == syn.seq)
    }

    /// A SYN of the other end.
    pub fn cross(&mut self, syn: &SegmentRecord) {
        self.crossing.get_or_insert(Crossing { isn: syn.seq, syns: 0 }).syns += 1;
    }

    /// Is this SYN-ACK the opener's, in answer to the SYN that crossed its own?
    #[must_use]
    pub fn is_crossing_answered_by(&self, syn_ack: &SegmentRecord) -> bool {
        self.crossing.is_some_and(|crossing| crossing.isn.wrapping_add(1) == syn_ack.ack)
    }

    /// Can this RST of the opener be meant for it? A client answers a stale SYN-ACK by a RST with the number
    /// that it was offered, and goes on waiting for the right one (RFC 9293, 3.10.7.3).
    #[must_use]
    pub const fn is_abandoned_by(&self, rst: &SegmentRecord) -> bool {
        let most = if matches!(self.stage, Stage::Opening) { self.syn_payload } else { FLIGHT };
        rst.seq.wrapping_sub(self.isn.wrapping_add(1)) <= most
    }

    /// The opener's SYN once more.
    pub fn repeat(&mut self, syn: &SegmentRecord) {
        match &mut self.syns {
            Some(syns) => syns.repeat(syn),
            None => {
                // An earlier SYN was answered before this one came: when it left is not known.
                self.first_missed = true;
                self.syns = Some(Sent::new(syn));
            }
        }
    }

    /// A SYN-ACK of the other end. Gives false when it answers another SYN than this handshake's.
    pub fn answer(&mut self, syn_ack: &SegmentRecord) -> bool {
        if !self.is_acknowledged_by(syn_ack.ack) {
            return false;
        }
        match &mut self.answers {
            Some(answers) => answers.repeat(syn_ack),
            None => {
                // One that comes after a RST changes nothing any more.
                if self.stage != Stage::Refused {
                    let (at, echo) = (Moment::of(syn_ack), syn_ack.timestamps.echo());
                    self.answer_leg = self.syns.as_ref().and_then(|syns| syns.leg(at, self.isn, echo));
                }
                self.answers = Some(Sent::new(syn_ack));
            }
        }
        if self.stage == Stage::Opening {
            self.stage = Stage::Answered;
        }
        true
    }

    /// A FIN shows that the ACK came by unseen: when, nobody knows.
    pub fn complete_unseen(&mut self) {
        self.stage = Stage::Established;
    }

    /// An ACK of the opener. Only the first one tells how long it took.
    pub fn complete(&mut self, ack: &SegmentRecord) {
        self.stage = Stage::Established;
        if let Some(answers) = &mut self.answers {
            answers.acknowledge(ack.ack.wrapping_sub(1));
        }
        if !self.is_first_of_opener(ack) {
            return;
        }
        let (at, answered) = (Moment::of(ack), ack.ack.wrapping_sub(1));
        let echo = ack.timestamps.echo();
        self.client_leg = self.answers.as_ref().and_then(|answers| answers.leg(at, answered, echo));
        self.setup_ns = self.opened_at().and_then(|opened| at.since(opened));
        if self.is_contradicted_by(at) {
            (self.answer_leg, self.client_leg) = (None, None);
        }
    }

    /// Do the times of SYN, SYN-ACK and ACK, which is the third, run backwards? Queues and cards stamp with clocks of their
    /// own: then one leg is as wrong as the other.
    fn is_contradicted_by(&self, ack: Moment) -> bool {
        let opened = self.opened_at();
        self.answers.as_ref().is_some_and(|answers| {
            ack.contradicts(answers.last_at())
                || opened.is_some_and(|opened| answers.last_at().contradicts(opened))
        })
    }

    /// Was no ACK of the opener before this one, as far as its numbers tell? Data before its own, or data of the
    /// other end that it acknowledges, passed after an earlier one; but for Fast Open, where the other end may
    /// send at once.
    fn is_first_of_opener(&self, ack: &SegmentRecord) -> bool {
        let answered = ack.ack.wrapping_sub(1);
        let answers = self.answers.as_ref().filter(|_| self.syn_payload == 0);
        self.is_acknowledged_by(ack.seq)
            && answers.is_none_or(|answers| answers.isns().any(|isn| isn == answered))
    }

    /// Does a FIN belong to it, as far as its numbers tell?
    #[must_use]
    pub fn is_followed_by(&self, fin: &SegmentRecord, from_opener: bool) -> bool {
        let (sent, received) = if from_opener { (fin.seq, fin.ack) } else { (fin.ack, fin.seq) };
        fin.flags.has(TcpFlags::ACK)
            && sent.wrapping_sub(self.isn.wrapping_add(1)) <= TRANSFER
            && (self.answers.is_none() || self.follows_an_answer(received, TRANSFER))
    }

    /// Does a FIN show that it was completed? One of the other end does, but for Fast Open, where it may come before
    /// the ACK.
    #[must_use]
    pub fn is_completed_by(&self, fin: &SegmentRecord, from_opener: bool) -> bool {
        self.stage.is_open()
            && (from_opener || self.syn_payload == 0)
            && self.is_followed_by(fin, from_opener)
    }

    /// A RST of the other end while the outcome is open. Gives false when it answers another SYN than
    /// this handshake's.
    pub fn reject(&mut self, rst: &SegmentRecord) -> bool {
        let acknowledges = rst.flags.has(TcpFlags::ACK) && self.is_acknowledged_by(rst.ack);
        if self.stage == Stage::Opening {
            if acknowledges {
                let at = Moment::of(rst);
                self.answer_leg = self.syns.as_ref().and_then(|syns| syns.leg(at, self.isn, None));
                self.stage = Stage::Refused;
            }
            return acknowledges;
        }
        let in_sequence = self.follows_an_answer(rst.seq, FLIGHT);
        if acknowledges || in_sequence {
            self.stage = Stage::Reset;
        }
        acknowledges || in_sequence
    }

    /// A RST of the opener while the outcome is open.
    pub fn abandon(&mut self) {
        self.stage = if self.stage == Stage::Opening { Stage::GivenUp } else { Stage::Reset };
    }

    /// Nothing more was heard: what was open is decided.
    pub fn expire(&mut self) {
        match self.stage {
            Stage::Opening => self.stage = Stage::GivenUp,
            Stage::Answered if self.is_one_sided() => self.stage = Stage::OneSided,
            Stage::Answered => self.stage = Stage::HalfOpen,
            decided => self.stage = decided,
        }
    }

    /// When the outcome is decided if nothing more is heard, or `None` when it is decided.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<u64> {
        let waiting = if self.stage == Stage::Opening { &self.syns } else { &self.answers };
        waiting.as_ref().filter(|_| self.stage.is_open()).map(Sent::given_up_ns)
    }

    /// What there is to say at `now_ns`.
    #[must_use]
    pub fn outcome(&self, now_ns: u64) -> Outcome {
        let silent = |sent: &Option<Sent>| {
            sent.as_ref().is_some_and(|s| s.count > 1 || now_ns >= s.first_ns().saturating_add(SILENCE_NS))
        };
        match self.stage {
            Stage::Opening if silent(&self.syns) => Outcome::Unanswered,
            Stage::Answered if silent(&self.answers) && !self.is_one_sided() => Outcome::HalfOpen,
            Stage::Opening | Stage::Answered => Outcome::Pending,
            Stage::Established => Outcome::Established,
            Stage::Refused => Outcome::Refused,
            Stage::GivenUp => Outcome::Unanswered,
            Stage::HalfOpen => Outcome::HalfOpen,
            Stage::OneSided => Outcome::Unknown,
            Stage::Reset => Outcome::Reset,
        }
    }

    /// When it turns from pending to unanswered if nothing is heard.
    #[must_use]
    pub fn silent_at_ns(&self) -> Option<u64> {
        let syns = self.syns.as_ref().filter(|_| self.stage == Stage::Opening);
        syns.map(|syns| syns.first_ns().saturating_add(SILENCE_NS))
    }

    /// Was a SYN-ACK seen?
    #[must_use]
    pub const fn is_answered(&self) -> bool {
        self.answers.is_some()
    }

    /// How many SYNs were seen, those of the other end included when both open at once; `None` when there
    /// was none.
    #[must_use]
    pub fn tries(&self) -> Option<u32> {
        let crossing = self.crossing.map_or(0, |crossing| crossing.syns);
        self.syns.as_ref().map(|syns| syns.count.saturating_add(crossing))
    }

    /// How long after the one before the latest SYN or SYN-ACK came.
    #[must_use]
    pub fn repeated_after_ns(&self, kind: RetransmitKind) -> Option<u64> {
        match kind {
            RetransmitKind::Syn => self.syns.as_ref().and_then(Sent::last_gap_ns),
            RetransmitKind::SynAck => self.answers.as_ref().and_then(Sent::last_gap_ns),
            RetransmitKind::Data | RetransmitKind::Fin => None,
        }
    }

    /// How many SYN-ACKs answered the SYN, or `None` when none was seen.
    #[must_use]
    pub fn syn_acks(&self) -> Option<u32> {
        self.answers.as_ref().map(|answers| answers.count)
    }

    /// The opener's initial sequence number, where its SYN was seen.
    #[must_use]
    pub fn client_isn(&self) -> Option<u32> {
        self.syns.as_ref().map(|_| self.isn)
    }

    /// That of the other end, where its SYN-ACK or its own SYN was seen and leaves no doubt.
    #[must_use]
    pub fn server_isn(&self) -> Option<u32> {
        match &self.answers {
            Some(answers) => answers.isn(),
            None => self.crossing.map(|crossing| crossing.isn),
        }
    }

    /// Time of the first SYN, where it was seen.
    #[must_use]
    pub(super) fn opened_at(&self) -> Option<Moment> {
        self.syns.as_ref().filter(|_| !self.first_missed).map(Sent::first_at)
    }

    /// From the SYN that was answered to the SYN-ACK.
    #[must_use]
    pub const fn server_leg(&self) -> Option<Leg> {
        if matches!(self.stage, Stage::Refused) { None } else { self.answer_leg }
    }

    /// From the SYN-ACK to the ACK.
    #[must_use]
    pub const fn client_leg(&self) -> Option<Leg> {
        self.client_leg
    }

    /// From the SYN to the RST that refused it.
    #[must_use]
    pub const fn refusal(&self) -> Option<Leg> {
        if matches!(self.stage, Stage::Refused) { self.answer_leg } else { None }
    }

    /// From the first SYN to the ACK, in nanoseconds.
    #[must_use]
    pub const fn setup_ns(&self) -> Option<u64> {
        self.setup_ns
    }

    const fn is_acknowledged_by(&self, ack: u32) -> bool {
        ack.wrapping_sub(self.isn.wrapping_add(1)) <= self.syn_payload
    }

    /// Does this sequence number lie at most `most` bytes behind one of the SYN-ACKs? A server that keeps no state
    /// (SYN cookies), or another one behind the same address, answers a repeated SYN with a number of its own.
    fn follows_an_answer(&self, seq: u32, most: u32) -> bool {
        let answers = self.answers.as_ref();
        answers.is_some_and(|answers| answers.isns().any(|isn| seq.wrapping_sub(isn.wrapping_add(1)) <= most))
    }

    /// Was nothing seen but one SYN-ACK? Then nobody knows whether an ACK passed elsewhere. A SYN-ACK that is
    /// repeated does tell that none arrived.
    fn is_one_sided(&self) -> bool {
        self.syns.is_none() && self.answers.as_ref().is_some_and(|answers| answers.count == 1)
    }
}
