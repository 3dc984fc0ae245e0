//! One flow in the table, and what each kind of record does to it.

use probe_common::encapsulation::Encapsulation;
use probe_common::{Direction, Endpoint, SegmentRecord, TcpFlags, Volume};

use super::handshake::{Handshake, Stage};
use super::key::FlowTuple;
use super::leg::Moment;
use super::outcome::{Outcome, Role};
use super::report::{FlowReport, Party, RetransmitKind, RetransmitReport};

/// What a SYN on the ports of a known flow means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Syn {
    /// The opener sent it again.
    Repeats,
    /// Both ends open at once (RFC 9293, 3.5): still one connection.
    Crosses,
    /// The ports are used again.
    Opens,
}

/// What a SYN-ACK on the ports of a known flow means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SynAck {
    /// It answers the SYN, or the one that crossed it.
    Answers,
    /// It was sent again.
    Repeats,
    /// It answers another SYN.
    Unmatched,
}

/// The end of a connection.
#[derive(Clone, Copy, Debug)]
struct End {
    outcome: Outcome,
    /// Who sent the first FIN or the RST, where that was seen.
    by: Option<Party>,
    /// When, where that was seen.
    at: Option<Moment>,
}

/// What an ACK that fits a handshake means.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ack {
    /// It completes the handshake.
    Completes,
    /// The handshake is complete. The source had to forget it, and a repeated SYN or SYN-ACK began it anew there.
    Repeats,
    /// It answers the SYN with the numbers of another connection on these ports, which the other end still has (a
    /// challenge ACK, RFC 5961, 4.2).
    Challenges,
    /// The handshake was given up, or the other end sent it.
    Unmatched,
}

/// One connection attempt and what follows it. Many are in no cache when they are looked for, so each
/// begins where a line of it does, and takes five.
#[derive(Clone, Debug)]
#[repr(align(64))]
pub struct Flow {
    /// Number of the flow, in the order of their appearance.
    pub id: u64,
    /// Its identity.
    pub tuple: FlowTuple,
    /// Who opened it, where that was seen.
    pub role: Option<Role>,
    /// Which of the tuple's ends is this host's.
    pub(super) is_low_local: bool,
    /// What carries its packets.
    encapsulation: Encapsulation,
    /// `None` when it was not seen.
    pub handshake: Option<Handshake>,
    /// The outcome of the handshake was told.
    pub told: bool,
    /// It counts as unanswered now.
    pub waiting: bool,
    /// Time of the first record.
    pub first_ns: u64,
    /// Time of the last change.
    pub changed_ns: u64,
    /// How it ended.
    ended: Option<End>,
    /// Who sent a FIN first.
    first_fin: Option<Party>,
    /// What this host sent, and what the other end did.
    pub(super) volumes: [Volume; 2],
}

/// Is `source` this host's end, if what it sends passes in this direction? Where both ends are, or nobody knows, clients
/// have the higher ports.
fn is_local(direction: Direction, [source, destination]: [Endpoint; 2]) -> bool {
    match direction {
        Direction::Ingress => false,
        Direction::Egress => true,
        Direction::Local | Direction::Unknown => source.port >= destination.port,
    }
}

impl Flow {
    /// The flow that begins with `record`. Who opened it follows from its direction: a SYN comes from
    /// the opener, a SYN-ACK goes to it.
    #[must_use]
    pub fn new(tuple: FlowTuple, record: &SegmentRecord, handshake: Option<Handshake>) -> Self {
        let from_opener = !record.flags.has(TcpFlags::ACK);
        let role = handshake.as_ref().map(|_| match (record.direction, from_opener) {
            (Direction::Egress, true) | (Direction::Ingress, false) => Role::Client,
            (Direction::Ingress, true) | (Direction::Egress, false) => Role::Server,
            (Direction::Local, _) => Role::Local,
            (Direction::Unknown, _) => Role::Observer,
        });
        let ends = [record.source, record.destination];
        let is_from_local = match role {
            Some(Role::Local | Role::Observer) => from_opener,
            Some(Role::Client | Role::Server) | None => is_local(record.direction, ends),
        };
        let flow = Self::between(tuple, role, is_from_local, ends, handshake, record.time_ns);
        Self { encapsulation: record.encapsulation, ..flow }
    }

    /// One that was open before, and is known since `now_ns`. What the first of its ends sends passes in this direction.
    #[must_use]
    pub fn mid_stream(tuple: FlowTuple, direction: Direction, ends: [Endpoint; 2], now_ns: u64) -> Self {
        Self::between(tuple, None, is_local(direction, ends), ends, None, now_ns)
    }

    fn between(
        tuple: FlowTuple,
        role: Option<Role>,
        is_first_local: bool,
        [first, second]: [Endpoint; 2],
        handshake: Option<Handshake>,
        first_ns: u64,
    ) -> Self {
        let local = if is_first_local { first } else { second };
        Self {
            id: 0,
            tuple,
            role,
            is_low_local: tuple.ends()[0] == local,
            encapsulation: Encapsulation::None,
            handshake,
            told: false,
            waiting: false,
            first_ns,
            changed_ns: first_ns,
            ended: None,
            first_fin: None,
            volumes: [Volume::default(); 2],
        }
    }

    /// How far the handshake has come.
    #[must_use]
    pub fn stage(&self) -> Option<Stage> {
        self.handshake.as_ref().map(|handshake| handshake.stage)
    }

    /// Is the outcome of the handshake still open?
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.stage().is_some_and(Stage::is_open)
    }

    /// Can it still exchange data, as far as was seen?
    #[must_use]
    pub fn is_up(&self) -> bool {
        self.ended.is_none() && self.stage().is_none_or(|stage| stage == Stage::Established)
    }

    /// Is nothing more to come of it, as far as was seen?
    #[must_use]
    pub fn is_over(&self) -> bool {
        !self.is_open() && !self.is_up()
    }

    /// Is a SYN-ACK that answers another SYN the next connection's? Of one from before nothing but its end is
    /// known, and after one FIN there may be no other in sight.
    #[must_use]
    pub fn may_be_followed(&self) -> bool {
        self.is_over() || self.handshake.is_none()
    }

    /// Did this end send `record`?
    fn sender(&self, record: &SegmentRecord) -> Party {
        if record.source == self.local() { Party::Local } else { Party::Remote }
    }

    fn is_from_opener(&self, record: &SegmentRecord) -> bool {
        match self.role {
            Some(Role::Client | Role::Local | Role::Observer) => record.source == self.local(),
            Some(Role::Server) => record.source == self.remote(),
            None => false,
        }
    }

    /// Takes a SYN, unless it opens another connection.
    pub fn takes_syn(&mut self, syn: &SegmentRecord) -> Syn {
        let from_opener = self.is_from_opener(syn);
        let is_over = self.is_over();
        let Some(handshake) = &mut self.handshake else { return Syn::Opens };
        // What was decided stays so: whoever tries again after a refusal, or after having been given up, does so in
        // another flow, even with the same number (Windows does, and some openers' numbers never vary).
        if is_over && !handshake.is_copied_by(syn) {
            return Syn::Opens;
        }
        if from_opener && handshake.is_repeated_by(syn) {
            handshake.repeat(syn);
            self.changed_ns = syn.time_ns;
            Syn::Repeats
        } else if !from_opener && handshake.is_crossed_by(syn) {
            handshake.cross(syn);
            Syn::Crosses
        } else {
            Syn::Opens
        }
    }

    /// Takes a SYN-ACK, unless it answers another SYN.
    pub fn takes_syn_ack(&mut self, syn_ack: &SegmentRecord) -> SynAck {
        // An end that is connected to itself is the opener, too.
        let to_itself = self.local() == self.remote();
        let from_opener = self.is_from_opener(syn_ack) && !to_itself;
        let Some(handshake) = &mut self.handshake else { return SynAck::Unmatched };
        if from_opener {
            let answers = handshake.is_crossing_answered_by(syn_ack);
            return if answers { SynAck::Answers } else { SynAck::Unmatched };
        }
        let again = handshake.is_answered();
        if !handshake.answer(syn_ack) {
            return SynAck::Unmatched;
        }
        self.changed_ns = syn_ack.time_ns;
        if again { SynAck::Repeats } else { SynAck::Answers }
    }

    /// Takes an ACK whose numbers fit the handshake: the source compared them.
    pub fn takes_ack(&mut self, ack: &SegmentRecord) -> Ack {
        let from_opener = self.is_from_opener(ack);
        match &mut self.handshake {
            Some(handshake) if from_opener && handshake.stage.is_open() => {
                handshake.complete(ack);
                self.changed_ns = ack.time_ns;
                Ack::Completes
            }
            Some(handshake) if from_opener && handshake.stage == Stage::Established => Ack::Repeats,
            Some(handshake) if !from_opener && handshake.stage == Stage::Opening => Ack::Challenges,
            Some(_) | None => Ack::Unmatched,
        }
    }

    /// Does this FIN complete the handshake, in the stead of an ACK that was not seen?
    #[must_use]
    pub fn is_completed_by_fin(&self, fin: &SegmentRecord) -> bool {
        let from_opener = self.is_from_opener(fin);
        self.handshake.as_ref().is_some_and(|handshake| handshake.is_completed_by(fin, from_opener))
    }

    /// Takes a FIN that shows that the handshake was completed.
    pub fn complete_unseen(&mut self, fin: &SegmentRecord) {
        self.changed_ns = fin.time_ns;
        if let Some(handshake) = &mut self.handshake {
            handshake.complete_unseen();
        }
    }

    /// Takes a RST while the outcome is open. Gives false when it answers another SYN.
    pub fn takes_early_rst(&mut self, rst: &SegmentRecord) -> bool {
        let from_opener = self.is_from_opener(rst) && self.local() != self.remote();
        let Some(handshake) = &mut self.handshake else { return false };
        if from_opener {
            if !handshake.is_abandoned_by(rst) {
                return false;
            }
            handshake.abandon();
        } else if !handshake.reject(rst) {
            return false;
        }
        self.changed_ns = rst.time_ns;
        true
    }

    /// Takes the RST that ends a connection.
    pub fn reset(&mut self, rst: &SegmentRecord) {
        let (by, at) = (Some(self.sender(rst)), Some(Moment::of(rst)));
        self.ended = Some(End { outcome: Outcome::Reset, by, at });
        self.changed_ns = rst.time_ns;
    }

    /// Its ports are used again, at `now_ns`: an attempt was given up, a connection has ended unseen. Gives true
    /// for a connection.
    pub fn supersede(&mut self, now_ns: u64) -> bool {
        if self.is_up() {
            self.ended = Some(End { outcome: Outcome::Closed, by: self.first_fin, at: None });
            self.changed_ns = now_ns;
            return true;
        }
        if let Some(handshake) = &mut self.handshake {
            handshake.expire();
            self.changed_ns = now_ns;
        }
        false
    }

    /// Takes a FIN. Gives true when now both ends have sent one, and it ends a connection.
    pub fn takes_last_fin(&mut self, fin: &SegmentRecord) -> bool {
        let closer = self.sender(fin);
        let from_opener = self.is_from_opener(fin);
        let both = self.local() == self.remote() || self.first_fin.is_some_and(|first| first != closer);
        // Where only the opener passes (direct server return) there is no other FIN to wait for.
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
        self.changed_ns = fin.time_ns;
        if both {
            let at = Some(Moment::of(fin));
            self.ended = Some(End { outcome: Outcome::Closed, by: Some(first), at });
        }
        both
    }

    /// What there is to tell of a segment that was sent before.
    #[must_use]
    pub fn retransmit(&self, kind: RetransmitKind, record: &SegmentRecord) -> RetransmitReport {
        let hole_age_us = Some(record.class.hole_age_us()).filter(|&age_us| age_us > 0);
        let hole_age_ns = hole_age_us.map(|age_us| u64::from(age_us) * 1_000);
        RetransmitReport {
            flow: self.report(record.time_ns),
            time_ns: record.time_ns,
            kind,
            by: self.sender(record),
            seq: record.seq,
            len: record.payload_len,
            segments: record.segments,
            after_ns: self.handshake.as_ref().and_then(|h| h.repeated_after_ns(kind)).or(hole_age_ns),
        }
    }

    /// When to look at it again if nothing more is heard.
    #[must_use]
    pub fn due_ns(&self) -> Option<u64> {
        let handshake = self.handshake.as_ref()?;
        let deadline_ns = handshake.deadline_ns()?;
        let silent_ns = handshake.silent_at_ns().filter(|_| !self.waiting);
        Some(silent_ns.unwrap_or(deadline_ns))
    }

    /// What has become of it at `now_ns`.
    #[must_use]
    pub fn outcome(&self, now_ns: u64) -> Outcome {
        match (self.ended, &self.handshake) {
            (Some(end), _) => end.outcome,
            (None, Some(handshake)) => handshake.outcome(now_ns),
            (None, None) => Outcome::Unknown,
        }
    }

    /// What this host sent, and what the other end did.
    #[must_use]
    pub const fn volumes(&self) -> &[Volume; 2] {
        &self.volumes
    }

    /// Everything that is known of it at `now_ns`.
    #[must_use]
    pub fn report(&self, now_ns: u64) -> FlowReport {
        let handshake = self.handshake.as_ref();
        let opened = handshake.and_then(Handshake::opened_at);
        let ended = self.ended.and_then(|end| end.at);
        FlowReport {
            id: self.id,
            interface: self.tuple.interface(),
            encapsulation: self.encapsulation,
            role: self.role,
            local: self.local(),
            remote: self.remote(),
            peer: self.peer(),
            outcome: self.outcome(now_ns),
            first_ns: self.first_ns,
            changed_ns: self.changed_ns,
            tries: handshake.and_then(Handshake::tries),
            syn_acks: handshake.and_then(Handshake::syn_acks),
            client_isn: handshake.and_then(Handshake::client_isn),
            server_isn: handshake.and_then(Handshake::server_isn),
            server_leg: handshake.and_then(Handshake::server_leg),
            client_leg: handshake.and_then(Handshake::client_leg),
            refusal: handshake.and_then(Handshake::refusal),
            setup_ns: handshake.and_then(Handshake::setup_ns),
            lifetime_ns: ended.zip(opened).and_then(|(ended, opened)| ended.since(opened)),
            closed_by: self.ended.and_then(|end| end.by),
            volumes: self.volumes,
        }
    }
}
