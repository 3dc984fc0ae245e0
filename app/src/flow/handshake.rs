//! The state machine of one handshake: which SYN was answered when, and what that says.

use probe_common::{Record, TcpFlags};

use super::leg::{Leg, Sent};

/// Without a SYN-ACK for this long a handshake counts as unanswered, without the ACK as half-open. Linux
/// repeats its first SYN after 1 s (RFC 6298, 2.1).
pub const SILENCE_NS: u64 = 1_000_000_000;
/// Bytes of data that an end may send before its RST in a handshake that is under way.
const FLIGHT: u32 = 1 << 16;

/// Who opened the connection, as seen from this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// This host: its SYN left.
    Client,
    /// The peer: its SYN came in.
    Server,
    /// Both ends are this host.
    Local,
    /// Seen from elsewhere: a capture that does not tell which end is this host.
    Observer,
}

impl Role {
    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Local => "local",
            Self::Observer => "observer",
        }
    }
}

/// What has become of a connection attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Too early to say.
    Pending,
    /// The handshake was completed.
    Established,
    /// A RST answered the SYN.
    Refused,
    /// The SYN was repeated, or is older than a second, without an answer.
    Unanswered,
    /// A SYN-ACK was seen, but no ACK.
    HalfOpen,
    /// A RST ended it.
    Reset,
    /// Both ends sent a FIN.
    Closed,
    /// The handshake was not seen.
    Unknown,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Established,
        Self::Refused,
        Self::Unanswered,
        Self::HalfOpen,
        Self::Reset,
        Self::Closed,
        Self::Unknown,
    ];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Established => "established",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
            Self::HalfOpen => "half-open",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Unknown => "unknown",
        }
    }
}

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
    answers: Option<Sent>,
    answer_isn: u32,
    server_leg: Option<Leg>,
    client_leg: Option<Leg>,
    refusal: Option<Leg>,
    setup_ns: Option<u64>,
}

impl Handshake {
    /// A handshake that begins with this SYN.
    #[must_use]
    pub fn opened_by(syn: &Record) -> Self {
        Self {
            stage: Stage::Opening,
            isn: syn.seq,
            syn_payload: syn.payload_len,
            syns: Some(Sent::new(syn)),
            first_missed: false,
            answers: None,
            answer_isn: 0,
            server_leg: None,
            client_leg: None,
            refusal: None,
            setup_ns: None,
        }
    }

    /// A handshake of which the SYN was not seen.
    #[must_use]
    pub fn answered_by(syn_ack: &Record) -> Self {
        Self {
            stage: Stage::Answered,
            isn: syn_ack.ack.wrapping_sub(1),
            syn_payload: 0,
            syns: None,
            first_missed: false,
            answers: Some(Sent::new(syn_ack)),
            answer_isn: syn_ack.seq,
            server_leg: None,
            client_leg: None,
            refusal: None,
            setup_ns: None,
        }
    }

    /// Is this SYN of the opener the same, sent again?
    #[must_use]
    pub const fn is_repeated_by(&self, syn: &Record) -> bool {
        self.isn == syn.seq
    }

    /// Can this RST of the opener be meant for it? A client answers a stale SYN-ACK by a RST with the number
    /// that it was offered, and goes on waiting for the right one (RFC 9293, 3.10.7.3).
    #[must_use]
    pub const fn is_abandoned_by(&self, rst: &Record) -> bool {
        let most = if matches!(self.stage, Stage::Opening) { self.syn_payload } else { FLIGHT };
        rst.seq.wrapping_sub(self.isn.wrapping_add(1)) <= most
    }

    /// The opener's SYN once more.
    pub fn repeat(&mut self, syn: &Record) {
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
    pub fn answer(&mut self, syn_ack: &Record) -> bool {
        if !self.is_acknowledged_by(syn_ack.ack) {
            return false;
        }
        match &mut self.answers {
            Some(answers) => answers.repeat(syn_ack),
            None => {
                self.server_leg =
                    self.syns.as_ref().map(|syns| syns.leg(syn_ack.time_ns, syn_ack.timestamps.echo()));
                self.answers = Some(Sent::new(syn_ack));
                self.answer_isn = syn_ack.seq;
            }
        }
        if self.stage == Stage::Opening {
            self.stage = Stage::Answered;
        }
        true
    }

    /// A FIN of the opener shows that the ACK came by unseen: when, nobody knows.
    pub fn complete_unseen(&mut self) {
        self.stage = Stage::Established;
    }

    /// The opener's ACK.
    pub fn complete(&mut self, ack: &Record) {
        self.client_leg =
            self.answers.as_ref().map(|answers| answers.leg(ack.time_ns, ack.timestamps.echo()));
        self.setup_ns = self.opened_ns().map(|opened| ack.time_ns.saturating_sub(opened));
        self.stage = Stage::Established;
    }

    /// Does a segment of the opener with this acknowledgement number complete the handshake?
    #[must_use]
    pub const fn is_completed_by(&self, ack: u32) -> bool {
        // A quarter of the space: data of the other end may be acknowledged at once.
        matches!(self.stage, Stage::Answered) && ack.wrapping_sub(self.answer_isn.wrapping_add(1)) < 1 << 30
    }

    /// A RST of the other end while the outcome is open. Gives false when it answers another SYN than
    /// this handshake's.
    pub fn reject(&mut self, rst: &Record) -> bool {
        let acknowledges = rst.flags.has(TcpFlags::ACK) && self.is_acknowledged_by(rst.ack);
        if self.stage == Stage::Opening {
            if acknowledges {
                self.refusal = self.syns.as_ref().map(|syns| syns.leg(rst.time_ns, None));
                self.stage = Stage::Refused;
            }
            return acknowledges;
        }
        let in_sequence = rst.seq.wrapping_sub(self.answer_isn.wrapping_add(1)) <= FLIGHT;
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
            Stage::Answered => self.stage = Stage::HalfOpen,
            Stage::Established | Stage::Refused | Stage::GivenUp | Stage::HalfOpen | Stage::Reset => {}
        }
    }

    /// When the outcome is decided if nothing more is heard, or `None` when it is decided.
    #[must_use]
    pub fn deadline_ns(&self) -> Option<u64> {
        let waiting = match self.stage {
            Stage::Opening => self.syns.as_ref(),
            Stage::Answered => self.answers.as_ref(),
            Stage::Established | Stage::Refused | Stage::GivenUp | Stage::HalfOpen | Stage::Reset => None,
        };
        waiting.map(Sent::given_up_ns)
    }

    /// What there is to say at `now_ns`.
    #[must_use]
    pub fn outcome(&self, now_ns: u64) -> Outcome {
        let silent = |sent: &Option<Sent>| {
            sent.as_ref().is_some_and(|s| s.count > 1 || now_ns >= s.first_ns().saturating_add(SILENCE_NS))
        };
        match self.stage {
            Stage::Opening if silent(&self.syns) => Outcome::Unanswered,
            Stage::Answered if silent(&self.answers) => Outcome::HalfOpen,
            Stage::Opening | Stage::Answered => Outcome::Pending,
            Stage::Established => Outcome::Established,
            Stage::Refused => Outcome::Refused,
            Stage::GivenUp => Outcome::Unanswered,
            Stage::HalfOpen => Outcome::HalfOpen,
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

    /// How many SYNs were seen, or `None` when there was none.
    #[must_use]
    pub fn tries(&self) -> Option<u32> {
        self.syns.as_ref().map(|syns| syns.count)
    }

    /// Time of the first SYN, where it was seen.
    #[must_use]
    pub fn opened_ns(&self) -> Option<u64> {
        self.syns.as_ref().filter(|_| !self.first_missed).map(|syns| syns.first_ns())
    }

    /// From the SYN that was answered to the SYN-ACK.
    #[must_use]
    pub const fn server_leg(&self) -> Option<Leg> {
        self.server_leg
    }

    /// From the SYN-ACK to the ACK.
    #[must_use]
    pub const fn client_leg(&self) -> Option<Leg> {
        self.client_leg
    }

    /// From the SYN to the RST that refused it.
    #[must_use]
    pub const fn refusal(&self) -> Option<Leg> {
        self.refusal
    }

    /// From the first SYN to the ACK, in nanoseconds.
    #[must_use]
    pub const fn setup_ns(&self) -> Option<u64> {
        self.setup_ns
    }

    const fn is_acknowledged_by(&self, ack: u32) -> bool {
        ack.wrapping_sub(self.isn.wrapping_add(1)) <= self.syn_payload
    }
}
