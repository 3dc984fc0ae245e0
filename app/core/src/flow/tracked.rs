//! A flow in the table, and what each kind of record does to it.

use probe_common::{
    Direction, Endpoint, IcmpRecord, ResetReason, SegmentKind, SegmentRecord, TcpFlags, Volume,
};

use super::cause::RetransmitCause;
use super::event::{NoLoss, Retransmit, RetransmitKind};
use super::flow::{ABORT_NS, Flow, NEVER, Opened, is_local};
use super::handshake::Handshake;
use super::key::FlowTuple;
use super::leg::Moment;
use super::outcome::{Outcome, Party, Role};
use super::reset::{Reset, ResetStage};
use crate::locals::Locals;
use crate::stats::Account;

/// What a SYN on the ports of a known flow means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Syn {
    /// The opener retransmitted it.
    Repeats,
    /// The opener tries again after a refusal.
    Retries,
    /// The opener had not given up, although it was silent for long.
    Resumes,
    /// It passed just behind its answer.
    Trails,
    /// It is a copy of one that has passed: nothing was retransmitted.
    Copies,
    /// Both ends open at once (RFC 9293, 3.5): still one connection.
    Crosses,
    /// The ports are reused.
    Opens,
}

/// What a SYN-ACK on the ports of a known flow means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SynAck {
    /// It answers the SYN, or the one that crossed it.
    Answers,
    /// It was retransmitted.
    Repeats,
    /// It answers another SYN.
    Unmatched,
}

/// What an ACK that fits a handshake means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ack {
    /// It completes the handshake.
    Completes,
    /// The handshake is complete. The source had forgotten it, and a retransmitted SYN or SYN-ACK restarted it there.
    Repeats,
    /// It answers the SYN with the numbers of another connection on these ports.
    Challenges,
    /// The handshake was given up, or the other end sent it.
    Unmatched,
}

/// What an ICMP error about a segment of a known flow means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Icmp {
    /// The segment that waits for an answer was not delivered.
    Undeliverable,
    /// It changes nothing, and is noted.
    Noted,
    /// It is about another segment than those that are known.
    Unmatched,
}

/// What was sent that was not known to be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct NewVolumes {
    /// Segments with data.
    pub(crate) segments: u64,
    /// How many of them were retransmits: of this host, and of the other end.
    pub(crate) retransmits: [u64; 2],
    /// These by their causes, as far as they are known.
    pub(crate) causes: [u64; RetransmitCause::COUNT],
}

/// A flow and what the table needs to continue it. Many are in no cache when they are looked for, so each begins where a
/// cache line does, and takes five.
#[derive(Clone, Debug, PartialEq, Eq)]
#[repr(align(64))]
pub(crate) struct Tracked {
    pub(crate) flow: Flow,
    /// `None` when it was not seen.
    handshake: Option<Handshake>,
    /// Whether the outcome of the handshake was reported.
    pub(crate) is_reported: bool,
    /// Whether it counts as unanswered now.
    pub(crate) is_waiting: bool,
    /// Whether the source evicted it while the handshake was open.
    pub(crate) is_doubtful: bool,
    /// Whether this host opened it, as was seen: nobody else can have forged it.
    pub(crate) is_own: bool,
    /// Whether it is an attempt of a stranger that is not kept: see [`Account::Strangers`].
    pub(crate) is_strangers: bool,
    /// In which era of the statistics its handshake ended.
    pub(crate) era: u8,
    /// Who sent a FIN first.
    first_fin: Option<Party>,
    /// The outcome that was reported last, whether it is still true or not.
    pub(crate) told: Option<Outcome>,
}

const _: () = assert!(size_of::<Tracked>() <= 5 * 64, "five lines of the cache");

impl Tracked {
    /// The flow that begins with `record`. A SYN comes from the opener, a SYN-ACK goes to it.
    pub(crate) fn new(
        tuple: FlowTuple,
        record: &SegmentRecord,
        handshake: Option<Handshake>,
        locals: &Locals,
    ) -> Self {
        let ends = [record.source, record.destination];
        let direction = locals.direction(record.interface, record.direction, ends);
        let from_opener = !record.flags.has(TcpFlags::ACK);
        let role = match (direction, from_opener) {
            (Direction::Egress, true) | (Direction::Ingress, false) => Role::Client,
            (Direction::Ingress, true) | (Direction::Egress, false) => Role::Server,
            (Direction::Local, _) => Role::Local,
            (Direction::Unknown, _) => locals.role_between(),
        };
        let opened = match &handshake {
            Some(_) => Opened::seen(role),
            None => Opened::guessed(direction, ends, locals),
        };
        let is_from_local = match role {
            Role::Local | Role::Forwarded | Role::Observer if handshake.is_some() => from_opener,
            _ => is_local(direction, ends),
        };
        let local = if is_from_local { record.source } else { record.destination };
        let mut flow = Flow::new(tuple, opened, local, record.time_ns);
        flow.encapsulation = record.encapsulation;
        flow.ttls[if is_from_local { 0 } else { 1 }] = usual_ttl(record);
        handshake.iter().for_each(|handshake| handshake.begin(&mut flow));
        // What comes in with an address of this host is forged, or has gone round a loop.
        let is_own = handshake.is_some()
            && from_opener
            && matches!(role, Role::Client | Role::Local)
            && record.direction != Direction::Ingress;
        Self { handshake, is_own, ..Self::of(flow) }
    }

    /// A connection that was open before, known since `now_ns`. `seen` is the direction of what the first of its ends sends.
    pub(crate) fn mid_stream(
        tuple: FlowTuple,
        seen: Direction,
        ends: [Endpoint; 2],
        now_ns: u64,
        locals: &Locals,
    ) -> Self {
        let direction = locals.direction(tuple.interface(), seen, ends);
        let local = if is_local(direction, ends) { ends[0] } else { ends[1] };
        Self::of(Flow::new(tuple, Opened::guessed(direction, ends, locals), local, now_ns))
    }

    /// A flow of which no handshake is seen.
    const fn of(flow: Flow) -> Self {
        Self {
            flow,
            handshake: None,
            is_reported: false,
            is_waiting: false,
            is_doubtful: false,
            is_own: false,
            is_strangers: false,
            era: 0,
            first_fin: None,
            told: None,
        }
    }

    /// For whom what happens to it is counted.
    pub(crate) fn account(&self) -> Account {
        if self.is_strangers { Account::Strangers } else { Account::Peer(self.flow.peer()) }
    }

    /// Whether its handshake is seen.
    pub(crate) const fn has_handshake(&self) -> bool {
        self.handshake.is_some()
    }

    /// Whether the outcome of the handshake is open.
    pub(crate) fn is_open(&self) -> bool {
        self.flow.outcome == Outcome::Pending
    }

    /// Whether the outcome is open and nothing answered the SYN.
    pub(crate) fn is_unanswered(&self) -> bool {
        let is_explained = self.flow.is_challenged || self.flow.is_unreachable;
        self.is_open() && self.flow.syn_acks == 0 && !is_explained
    }

    /// Whether the end that others connect to has not answered it, or does not accept it although the ACK has passed.
    pub(crate) fn waits_for_listener(&self) -> bool {
        let [local, remote] = self.flow.volumes();
        let has_sent = if self.flow.role() == Some(Role::Server) { local } else { remote }.segments > 0;
        self.is_unanswered() || self.is_up() && self.flow.not_accepted > 0 && !has_sent
    }

    /// Whether it can still exchange data, as far as was seen.
    pub(crate) fn is_up(&self) -> bool {
        match self.flow.outcome {
            Outcome::Established => true,
            Outcome::Unknown => !self.has_handshake(),
            _ => false,
        }
    }

    /// Whether nothing more can come of it, as far as was seen.
    fn is_over(&self) -> bool {
        !self.is_open() && !self.is_up()
    }

    /// Whether a SYN-ACK that answers another SYN is the next connection's. Of one that was open before nothing but its end
    /// is known, and after one FIN there may be no other in sight.
    pub(crate) fn may_be_followed(&self) -> bool {
        self.is_over() || !self.has_handshake()
    }

    pub(crate) fn sender(&self, record: &SegmentRecord) -> Party {
        if record.source == self.flow.local() { Party::Local } else { Party::Remote }
    }

    fn is_from_opener(&self, record: &SegmentRecord) -> bool {
        self.is_opener(record.source)
    }

    pub(crate) fn is_opener(&self, end: Endpoint) -> bool {
        match self.flow.role() {
            Some(Role::Client | Role::Local | Role::Forwarded | Role::Observer) => end == self.flow.local(),
            Some(Role::Server) => end == self.flow.remote(),
            None => false,
        }
    }

    /// The time from the first SYN to a segment, in nanoseconds; [`NEVER`] if it is not known.
    fn since_opened(&self, record: &SegmentRecord) -> u64 {
        let at = Moment::of(record);
        self.handshake.as_ref().map_or(NEVER, |handshake| handshake.since_opened(at))
    }

    /// Whether it is a connection of an end with itself.
    fn is_to_itself(&self) -> bool {
        let [low, high] = self.flow.tuple.ends();
        low == high
    }

    /// Handles a SYN, unless it opens another connection.
    pub(crate) fn syn(&mut self, syn: &SegmentRecord) -> Syn {
        let from_opener = self.is_from_opener(syn);
        let is_over = self.is_over();
        let Some(handshake) = &mut self.handshake else { return Syn::Opens };
        if is_over && from_opener && handshake.is_repeated_by(syn) {
            let is_delayed = handshake.is_completed && handshake.is_delayed_in(syn, self.flow.changed_ns);
            if is_delayed || handshake.is_copied_by(syn) {
                return Syn::Copies;
            }
            if self.flow.outcome == Outcome::Refused && handshake.is_retried_by(syn, self.flow.changed_ns) {
                handshake.repeat(syn, &mut self.flow);
                self.flow.changed_ns = syn.time_ns;
                return Syn::Retries;
            }
        }
        // Of a series whose first SYNs were not seen, the intervals are longer than patience: 8 s, 16 s, 32 s.
        if is_over && from_opener && self.flow.given_up_ns().is_some() && handshake.is_repeated_by(syn) {
            return Syn::Resumes;
        }
        // What else was decided stays so, even if the number is the same: some openers' numbers never vary.
        if is_over && !handshake.is_copied_by(syn) {
            return Syn::Opens;
        }
        if from_opener && handshake.is_swapped_with(syn) {
            handshake.repeat(syn, &mut self.flow);
            Syn::Trails
        } else if from_opener && handshake.is_repeated_by(syn) {
            handshake.repeat(syn, &mut self.flow);
            self.flow.changed_ns = syn.time_ns;
            Syn::Repeats
        } else if !from_opener && handshake.is_crossed_by(syn, &self.flow) {
            handshake.cross(syn, &mut self.flow);
            Syn::Crosses
        } else {
            Syn::Opens
        }
    }

    /// Handles the SYN by which an attempt goes on that had been given up. Returns its outcome until now, and when that was
    /// counted.
    pub(crate) fn resume(&mut self, syn: &SegmentRecord) -> Option<(Outcome, u64)> {
        let given_up_ns = self.flow.given_up_ns()?;
        let handshake = self.handshake.as_mut()?;
        handshake.repeat(syn, &mut self.flow);
        (self.flow.changed_ns, self.flow.end_ns) = (syn.time_ns, NEVER);
        self.is_reported = false;
        let outcome = core::mem::replace(&mut self.flow.outcome, Outcome::Pending);
        Some((outcome, given_up_ns))
    }

    /// Handles a SYN-ACK, unless it answers another SYN.
    pub(crate) fn syn_ack(&mut self, syn_ack: &SegmentRecord) -> SynAck {
        // An end that is connected to itself is the opener, too.
        let from_opener = self.is_from_opener(syn_ack) && !self.is_to_itself();
        let Some(handshake) = &mut self.handshake else { return SynAck::Unmatched };
        if from_opener {
            let answers = handshake.is_crossing_answered_by(syn_ack);
            return if answers { SynAck::Answers } else { SynAck::Unmatched };
        }
        let is_repeated = handshake.is_answered();
        if !handshake.answer(syn_ack, &mut self.flow) {
            return SynAck::Unmatched;
        }
        self.flow.changed_ns = syn_ack.time_ns;
        if is_repeated { SynAck::Repeats } else { SynAck::Answers }
    }

    /// Handles an ACK whose numbers fit the handshake: the source compared them.
    pub(crate) fn ack(&mut self, ack: &SegmentRecord) -> Ack {
        let (from_opener, is_open) = (self.is_from_opener(ack), self.is_open());
        match &mut self.handshake {
            Some(handshake) if from_opener && is_open => {
                handshake.complete(ack, &mut self.flow);
                self.flow.changed_ns = ack.time_ns;
                Ack::Completes
            }
            Some(handshake) if from_opener && handshake.is_completed => Ack::Repeats,
            Some(handshake) if is_open && handshake.is_challenged_by(ack) => {
                self.flow.is_challenged = true;
                self.flow.changed_ns = ack.time_ns;
                Ack::Challenges
            }
            Some(_) | None => Ack::Unmatched,
        }
    }

    /// Handles an ICMP error about a segment that was in flight: the source compared the numbers.
    pub(crate) fn icmp(&mut self, icmp: &IcmpRecord) -> Icmp {
        let from_opener = self.is_opener(icmp.source);
        match &self.handshake {
            Some(handshake) if self.flow.outcome == Outcome::Pending => {
                if !handshake.undeliverable(icmp, from_opener, &mut self.flow) {
                    return Icmp::Unmatched;
                }
                if !self.flow.is_unreachable {
                    return Icmp::Noted;
                }
                self.flow.changed_ns = icmp.time_ns;
                Icmp::Undeliverable
            }
            _ if self.is_up() => {
                self.flow.notes.get_or_insert_default().icmp.note(icmp, None);
                Icmp::Noted
            }
            Some(_) | None => Icmp::Unmatched,
        }
    }

    /// Handles retransmitted data. Returns whether it shows now that segments of full size do not get through.
    pub(crate) fn data_retransmitted(&mut self, record: &SegmentRecord) -> bool {
        let (by, from_opener) = (self.sender(record), self.is_from_opener(record));
        let isn = if from_opener { self.flow.client_isn() } else { self.flow.server_isn };
        let notes = self.flow.notes.get_or_insert_default();
        let is_new = notes.oversized.retransmitted(by, record, isn);
        is_new && self.flow.stuck_bytes().is_some()
    }

    /// Nothing more of it can be seen. Returns whether it shows now that segments of full size did not get through.
    pub(crate) fn is_stuck_at_end(&mut self) -> bool {
        let is_new = self.flow.notes.as_mut().is_some_and(|notes| notes.oversized.end());
        is_new && self.flow.stuck_bytes().is_some()
    }

    /// Handles a FIN that completes the handshake instead of an ACK that was not seen. Returns whether it does.
    pub(crate) fn fin_completes(&mut self, fin: &SegmentRecord) -> bool {
        let (from_opener, is_open) = (self.is_from_opener(fin), self.is_open());
        let handshake = self.handshake.as_mut().filter(|_| is_open);
        let Some(handshake) = handshake.filter(|handshake| handshake.is_completed_by(fin, from_opener))
        else {
            return false;
        };
        handshake.complete_unseen(&mut self.flow);
        self.flow.changed_ns = fin.time_ns;
        true
    }

    /// Handles a RST while the outcome is open. Returns false when it answers another SYN.
    pub(crate) fn early_rst(&mut self, rst: &SegmentRecord) -> bool {
        let from_opener = self.is_from_opener(rst) && !self.is_to_itself();
        let reset = self.reset_by(rst);
        let Some(handshake) = &mut self.handshake else { return false };
        let is_meant = if from_opener {
            let is_meant = handshake.is_abandoned_by(rst);
            if is_meant {
                handshake.abandon(&mut self.flow);
            }
            is_meant
        } else {
            let is_meant = handshake.reject(rst, &mut self.flow);
            self.flow.is_aborted =
                is_meant && handshake.is_answered() && self.is_aborted_by(rst, Some(self.flow.answered_ns));
            is_meant
        };
        if is_meant {
            self.flow.changed_ns = rst.time_ns;
            self.flow.reset = Some(reset);
        }
        is_meant
    }

    /// Handles the RST that ends a connection. Records are complete since the given moment: of an earlier connection data may
    /// have passed unseen.
    pub(crate) fn reset(&mut self, rst: &SegmentRecord, complete_since_ns: u64) {
        self.flow.reset = Some(self.reset_by(rst));
        let is_complete = self.flow.first_ns > complete_since_ns;
        self.flow.is_aborted = is_complete && self.is_aborted_by(rst, self.flow.completed_ns());
        self.flow.outcome = Outcome::Reset;
        self.flow.closed_by = Some(self.sender(rst));
        self.flow.end_ns = self.since_opened(rst);
        self.flow.changed_ns = rst.time_ns;
    }

    /// Handles a RST after both FINs. Returns whether it shows that the connection was aborted: the responder closed at once, and
    /// resets because there was a request. The opener may have closed, too, before that.
    pub(crate) fn late_rst(&mut self, rst: &SegmentRecord, complete_since_ns: u64) -> bool {
        let is_closed = self.flow.outcome == Outcome::Closed && !self.flow.is_aborted;
        let has_request = match self.sender(rst) {
            Party::Local => self.flow.volumes[1].segments > 0,
            Party::Remote => self.flow.volumes[0].segments > 0,
        };
        let is_complete = self.flow.first_ns > complete_since_ns;
        let is_aborted = is_closed && has_request && is_complete;
        self.flow.is_aborted |= is_aborted && self.is_aborted_by(rst, self.flow.completed_ns());
        if is_closed && self.flow.reset.is_none() {
            self.flow.reset = Some(self.reset_by(rst));
        }
        is_closed && self.flow.is_aborted
    }

    /// What this RST says, by what is known before it.
    fn reset_by(&self, rst: &SegmentRecord) -> Reset {
        let [sent, received] = self.flow.volumes();
        let stage = match &self.handshake {
            None => ResetStage::Unseen,
            Some(handshake) if self.is_open() && handshake.is_answered() => ResetStage::SynAck,
            Some(_) if self.is_open() => ResetStage::Syn,
            Some(_) if self.first_fin.is_some() => ResetStage::Closing,
            Some(_) if sent.segments + received.segments > 0 => ResetStage::Data,
            Some(_) => ResetStage::Connected,
        };
        Reset { by: self.sender(rst), stage, reason: rst.reset, ttl: rst.ttl }
    }

    /// Learns the time to live of what its sender sends.
    pub(crate) fn learn_ttl(&mut self, record: &SegmentRecord) {
        let ttl = usual_ttl(record);
        if ttl > 0 {
            self.flow.ttls[self.sender(record) as usize] = ttl;
        }
    }

    /// Learns why a socket of this host sent the RST that ended it. Returns whether that is news.
    pub(crate) fn learn_reset_reason(&mut self, reason: ResetReason) -> bool {
        self.flow.learn_reset_reason(reason)
    }

    /// Whether this RST aborts a connection that was accepted at this time.
    fn is_aborted_by(&self, rst: &SegmentRecord, accepted_ns: Option<u64>) -> bool {
        let is_of_responder = self.has_handshake() && !self.is_from_opener(rst) && !self.is_to_itself();
        let is_soon = accepted_ns.is_some_and(|ns| rst.time_ns.saturating_sub(ns) <= ABORT_NS);
        let responder = self.sender(rst);
        let (opener, [sent, received]) = (responder.other(), self.flow.volumes);
        let [responder_sent, opener_sent] = match responder {
            Party::Local => [sent, received],
            Party::Remote => [received, sent],
        };
        let is_probe = self.first_fin == Some(opener) && opener_sent.segments == 0;
        is_of_responder && is_soon && responder_sent.segments == 0 && !is_probe
    }

    /// Handles the reuse of its ports at `now_ns`: an attempt was given up, a connection has ended unseen. Returns true for
    /// a connection.
    pub(crate) fn supersede(&mut self, now_ns: u64) -> bool {
        let is_up = self.is_up();
        if is_up {
            self.flow.outcome = Outcome::Closed;
            self.flow.closed_by = self.first_fin;
            self.flow.changed_ns = now_ns;
        } else if self.has_handshake() {
            self.expire(now_ns);
        }
        is_up
    }

    /// Decides an outcome that is open at `deadline_ns`, because nothing more was seen.
    pub(crate) fn give_up(&mut self, deadline_ns: u64) {
        self.expire(deadline_ns);
        self.flow.end_ns = deadline_ns;
    }

    /// Decides an outcome that is open at `now_ns`.
    fn expire(&mut self, now_ns: u64) {
        let is_open = self.is_open();
        if let Some(handshake) = self.handshake.as_ref().filter(|_| is_open) {
            handshake.expire(&mut self.flow);
            if !self.ended_by_icmp() {
                self.flow.changed_ns = now_ns;
            }
        }
    }

    /// Whether the ICMP error that it is unreachable by was the last that happened: then its time is the attempt's, however
    /// long it takes to see that the opener has given up.
    fn ended_by_icmp(&self) -> bool {
        let said_ns = self.flow.icmp_error().filter(|_| self.flow.is_unreachable).map(|error| error.last_ns);
        said_ns == Some(self.flow.changed_ns)
    }

    /// Records that could have decided it were missed, or the source has evicted it: what was not seen may have been there.
    pub(crate) fn doubt(&mut self) {
        if matches!(
            self.flow.outcome,
            Outcome::Unreachable | Outcome::Unanswered | Outcome::HalfOpen | Outcome::Reset
        ) {
            (self.flow.outcome, self.flow.is_aborted) = (Outcome::Unknown, false);
        }
    }

    /// The attempt that this SYN-ACK answers, of an opener that tried again after a refusal. Its SYN is no longer one of the
    /// attempt that was refused.
    pub(crate) fn after_refusal(&mut self, syn_ack: &SegmentRecord) -> Option<Self> {
        let is_refused = self.flow.outcome == Outcome::Refused && self.flow.tries > 1;
        let handshake = self.handshake.as_ref().filter(|_| is_refused && !self.is_from_opener(syn_ack))?;
        let (handshake, tried_ns) = (handshake.after_refusal(syn_ack)?, handshake.tried_ns()?);
        if tried_ns <= self.flow.answered_ns {
            return None;
        }
        self.flow.tries -= 1;
        let mut flow = Flow::new(self.flow.tuple, Opened::seen(self.flow.role), self.flow.local(), tried_ns);
        flow.encapsulation = self.flow.encapsulation;
        handshake.begin(&mut flow);
        Some(Self { handshake: Some(handshake), is_own: self.is_own, ..Self::of(flow) })
    }

    /// Counts a SYN or SYN-ACK that was retransmitted by its cause, and returns that.
    pub(crate) fn note_repeated(
        &mut self,
        kind: RetransmitKind,
        record: &SegmentRecord,
    ) -> Option<RetransmitCause> {
        let cause = said_cause(kind, record)?;
        self.flow.syn_timeouts = self.flow.syn_timeouts.saturating_add(1);
        Some(cause)
    }

    /// Learns how many segments the other end has said arrived twice. Returns how many retransmits of the sender are spurious
    /// that were not known to be. What arrived twice may have been doubled on its way: no more than were retransmitted.
    pub(crate) fn learn_dsacks(&mut self, record: &SegmentRecord) -> u64 {
        let by = self.sender(record);
        let (is_begun, sent) = (self.flow.is_opener_seen, self.flow.volumes[by as usize].retransmits);
        let Some(dsacks) = record.dsacks.filter(|&dsacks| dsacks > 0 || self.flow.notes.is_some()) else {
            return 0;
        };
        let notes = &mut self.flow.notes.get_or_insert_default().retransmits[by as usize];
        let before = notes.dsacks.replace(dsacks).unwrap_or(if is_begun { 0 } else { dsacks });
        let more = u64::from(dsacks.saturating_sub(before)).min(sent.saturating_sub(notes.spurious));
        notes.spurious += more;
        more
    }

    /// Why a SYN or SYN-ACK that was seen again is no sign of loss.
    pub(crate) fn no_loss(&self, kind: RetransmitKind, is_retry: bool) -> Option<NoLoss> {
        match kind {
            RetransmitKind::Syn if is_retry => Some(NoLoss::Refused),
            RetransmitKind::Syn | RetransmitKind::SynAck if self.flow.is_unreachable => {
                Some(NoLoss::Unreachable)
            }
            RetransmitKind::Syn if self.flow.is_challenged => Some(NoLoss::Challenged),
            RetransmitKind::SynAck => self.not_accepted(),
            _ => None,
        }
    }

    /// Who does not accept the connection, where it repeats its SYN-ACK so many times that nothing else explains it.
    const fn acceptor(&self) -> (NoLoss, u8) {
        match self.flow.role() {
            Some(Role::Server | Role::Local) => (NoLoss::NotAcceptedHere, 1),
            // The first one may be due to an ACK that was lost behind this place.
            _ => (NoLoss::NotAcceptedByPeer, 2),
        }
    }

    fn not_accepted(&self) -> Option<NoLoss> {
        let (cause, least) = self.acceptor();
        (self.flow.not_accepted >= least && !self.flow.is_unreachable).then_some(cause)
    }

    /// Why data that `sender` retransmits is no sign of loss: the other end does not accept the connection, as it says by
    /// repeating its SYN-ACK, and drops the data. Once it sends data itself, it has accepted it.
    pub(crate) fn data_no_loss(&self, sender: Party) -> Option<NoLoss> {
        let responder = if self.flow.role() == Some(Role::Server) { Party::Local } else { Party::Remote };
        let has_sent = self.flow.volumes()[responder as usize].segments > 0;
        self.not_accepted().filter(|_| sender != responder && !has_sent)
    }

    /// How many segments of data had arrived that were retransmitted before this SYN-ACK, the first that says that the connection
    /// is not accepted.
    pub(crate) fn arrived_so_far(&self, kind: RetransmitKind) -> u64 {
        let (_, least) = self.acceptor();
        let is_first = kind == RetransmitKind::SynAck && self.flow.not_accepted == least;
        if is_first { self.arrived(self.flow.volumes().map(|volume| volume.retransmits)) } else { 0 }
    }

    /// How many of these retransmits, by this host and by the other end, had arrived before.
    pub(crate) fn arrived(&self, retransmits: [u64; 2]) -> u64 {
        let of = |sender: Party| self.data_no_loss(sender).map_or(0, |_| retransmits[sender as usize]);
        of(Party::Local) + of(Party::Remote)
    }

    /// Handles a FIN. Returns whether both ends have sent one now, which ends a connection.
    pub(crate) fn last_fin(&mut self, fin: &SegmentRecord) -> bool {
        let closer = self.sender(fin);
        let from_opener = self.is_from_opener(fin);
        let both = self.is_to_itself() || self.first_fin.is_some_and(|first| first != closer);
        // Where only the opener is seen (direct server return) there is no other FIN to wait for.
        let both = both || (from_opener && self.handshake.as_ref().is_some_and(|h| !h.is_answered()));
        if self.is_open() {
            // Fast Open: the other end may close before the ACK has come.
            if self.handshake.as_ref().is_some_and(|handshake| handshake.is_followed_by(fin, from_opener)) {
                self.first_fin.get_or_insert(closer);
            }
            return false;
        }
        if !self.is_up() {
            return false;
        }
        let first = *self.first_fin.get_or_insert(closer);
        self.flow.changed_ns = fin.time_ns;
        if both {
            self.flow.outcome = Outcome::Closed;
            self.flow.closed_by = Some(first);
            self.flow.end_ns = self.since_opened(fin);
        }
        both
    }

    /// Learns what `source` has sent so far, and what the other end has. Returns what is new.
    pub(crate) fn learn_volumes(&mut self, source: Endpoint, volumes: [Volume; 2]) -> NewVolumes {
        let [one, other] = volumes;
        let reported = if source == self.flow.local() { [one, other] } else { [other, one] };
        let mut new = NewVolumes::default();
        for (end, reported) in reported.iter().enumerate() {
            let known = &mut self.flow.volumes[end];
            // Fewer than known: the source started over, because to it this is another connection.
            if reported.segments >= known.segments {
                new.segments += reported.segments - known.segments;
                new.retransmits[end] = u64::from(reported.retransmits).saturating_sub(known.retransmits);
                *known = reported.into();
                self.learn_causes(end, reported, &mut new.causes);
            }
        }
        if let Some(notes) = &mut self.flow.notes {
            notes.oversized.learn_volumes(&self.flow.volumes);
        }
        new
    }

    /// Adds to `new` what is new of the causes for which an end has sent segments again.
    fn learn_causes(&mut self, end: usize, reported: &Volume, new: &mut [u64; RetransmitCause::COUNT]) {
        let causes = RetransmitCause::ALL.map(|cause| reported.caused_by(cause));
        // Few flows have any.
        if causes == [0; RetransmitCause::COUNT] {
            return;
        }
        let known = &mut self.flow.notes.get_or_insert_default().retransmits[end].causes;
        for ((count, known), reported) in new.iter_mut().zip(known).zip(causes) {
            *count += reported.saturating_sub(*known);
            *known = reported;
        }
    }

    /// Learns what the sender of a segment acknowledges.
    pub(crate) fn learn_ack(&mut self, record: &SegmentRecord) {
        let by = self.sender(record);
        let notes = self.flow.notes.as_mut().filter(|_| record.flags.has(TcpFlags::ACK));
        notes.into_iter().for_each(|notes| notes.oversized.acknowledged(by, record.ack));
    }

    /// The report of a retransmitted segment.
    pub(crate) fn retransmit(
        &self,
        kind: RetransmitKind,
        no_loss: Option<NoLoss>,
        is_stuck: bool,
        record: &SegmentRecord,
    ) -> Retransmit {
        let hole_age_us = Some(record.class.hole_age_us()).filter(|&age_us| age_us > 0);
        let hole_age_ns = hole_age_us.map(|age_us| u64::from(age_us) * 1_000);
        Retransmit {
            flow: self.at(record.time_ns),
            time_ns: record.time_ns,
            kind,
            no_loss,
            cause: said_cause(kind, record),
            timeouts: record.said.timeouts(),
            is_stuck,
            by: self.sender(record),
            seq: record.seq,
            len: record.payload_len,
            segments: record.segments,
            after_ns: self.handshake.as_ref().and_then(|h| h.repeated_after_ns(kind)).or(hole_age_ns),
        }
    }

    /// When an open outcome is decided if nothing more is seen.
    pub(crate) fn deadline_ns(&self) -> Option<u64> {
        self.handshake.as_ref().filter(|_| self.is_open())?.deadline_ns(&self.flow)
    }

    /// When it turns from pending to unanswered if nothing is seen.
    pub(crate) fn silent_at_ns(&self) -> Option<u64> {
        self.handshake.as_ref().filter(|_| self.is_open())?.silent_at_ns(&self.flow)
    }

    /// When to look at it again if nothing more is seen.
    pub(crate) fn due_ns(&self) -> Option<u64> {
        let deadline_ns = self.deadline_ns()?;
        Some(self.silent_at_ns().filter(|_| !self.is_waiting).unwrap_or(deadline_ns))
    }

    /// The flow as its outcome is reported at `now_ns`: one that is open is as of now.
    pub(crate) fn reported_at(&mut self, now_ns: u64) -> Flow {
        if self.is_open() && !self.ended_by_icmp() {
            self.flow.changed_ns = now_ns;
        }
        self.at(now_ns)
    }

    /// The flow as it is at `now_ns`, for use outside of the table.
    pub(crate) fn at(&self, now_ns: u64) -> Flow {
        Flow { outcome: self.flow.outcome_at(now_ns), ..self.flow.clone() }
    }
}

/// The time to live of a segment that its end is sure to have sent, 0 for none: whatever is in between sends RSTs for it.
fn usual_ttl(record: &SegmentRecord) -> u8 {
    record.ttl.filter(|_| record.kind != SegmentKind::Rst).unwrap_or(0)
}

/// Why a segment was retransmitted, as its sender says. A SYN is retransmitted by a timer only.
fn said_cause(kind: RetransmitKind, record: &SegmentRecord) -> Option<RetransmitCause> {
    let is_possible =
        |cause: &RetransmitCause| kind != RetransmitKind::Syn || *cause == RetransmitCause::Timeout;
    record.said.cause().filter(is_possible)
}
