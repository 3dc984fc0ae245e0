//! What a wire does to the frames on it, written down: rules, each with what it matches and what it does.

use std::net::IpAddr;
use std::time::Duration;

/// The way a frame travels. The two ends of a wire are called near and far; tests usually watch the near one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Direction {
    /// From the near end to the far end.
    ToFar,
    /// From the far end to the near end.
    ToNear,
}

/// What a TCP segment is, by its flags and payload. The first that fits, from the top.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Kind {
    /// RST is set.
    Rst,
    /// SYN without ACK.
    Syn,
    /// SYN with ACK.
    SynAck,
    /// FIN is set.
    Fin,
    /// It carries payload.
    Data,
    /// Nothing of the above: a bare acknowledgement. The one that completes a handshake is the opener's first.
    Ack,
}

/// Which of the frames that fit otherwise are meant, counted for each flow (both directions together, unless
/// the match names one). A SYN with a new initial sequence number starts the flow, and the counting, anew.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Occurrence {
    /// Every one.
    #[default]
    Every,
    /// The first so many of each flow.
    First(u64),
    /// Only the one with this number, from 1, of each flow.
    Nth(u64),
}

/// Which TCP frames a rule is about: those that fit all that is given. Frames that are not TCP, or fragments
/// of it, are never matched: they cross with no delay and no loss, so that neighbour resolution cannot disturb
/// a figure.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Match {
    /// Only frames that travel this way.
    pub direction: Option<Direction>,
    /// Only segments of this kind.
    pub kind: Option<Kind>,
    /// Only frames from or to this address.
    pub address: Option<IpAddr>,
    /// Only frames from or to this port.
    pub port: Option<u16>,
    /// Only frames with an IP packet of more than so many bytes.
    pub longer_than: Option<usize>,
    /// Which of the frames that fit the rest.
    pub occurrence: Occurrence,
}

impl Match {
    /// Every TCP frame.
    #[must_use]
    pub fn any() -> Self {
        Self::default()
    }

    /// Every segment of this kind.
    #[must_use]
    pub fn kind(kind: Kind) -> Self {
        Self { kind: Some(kind), ..Self::default() }
    }

    /// Every SYN without ACK.
    #[must_use]
    pub fn syn() -> Self {
        Self::kind(Kind::Syn)
    }

    /// Every SYN-ACK.
    #[must_use]
    pub fn syn_ack() -> Self {
        Self::kind(Kind::SynAck)
    }

    /// Of those, the ones that travel this way.
    #[must_use]
    pub fn direction(self, direction: Direction) -> Self {
        Self { direction: Some(direction), ..self }
    }

    /// Of those, the ones from or to this address.
    #[must_use]
    pub fn address(self, address: impl Into<IpAddr>) -> Self {
        Self { address: Some(address.into()), ..self }
    }

    /// Of those, the ones from or to this port.
    #[must_use]
    pub fn port(self, port: u16) -> Self {
        Self { port: Some(port), ..self }
    }

    /// Of those, the ones whose IP packet has more than so many bytes.
    #[must_use]
    pub fn longer_than(self, bytes: usize) -> Self {
        Self { longer_than: Some(bytes), ..self }
    }

    /// Of those, the first `count` of each flow.
    #[must_use]
    pub fn first(self, count: u64) -> Self {
        Self { occurrence: Occurrence::First(count), ..self }
    }

    /// Of those, the one with this number, from 1, of each flow.
    #[must_use]
    pub fn nth(self, number: u64) -> Self {
        Self { occurrence: Occurrence::Nth(number), ..self }
    }
}

/// What happens to a frame. Probabilities go from 0 to 1.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Effect {
    /// It takes this much longer, each way that the rule matches; delays of several rules add up.
    Delay(Duration),
    /// It is gone.
    Drop,
    /// It is gone with this probability.
    Lose(f64),
    /// It arrives twice with this probability.
    Duplicate(f64),
    /// With this probability it is held back, so that frames behind it overtake.
    Reorder {
        /// How likely it is held back.
        probability: f64,
        /// For how much longer.
        extra: Duration,
    },
}

/// One effect on some frames.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Rule {
    /// Which frames.
    pub matching: Match,
    /// What happens to them.
    pub effect: Effect,
}

impl Rule {
    /// Delays what matches by `each_way` in every direction that matches.
    #[must_use]
    pub fn delay(matching: Match, each_way: Duration) -> Self {
        Self { matching, effect: Effect::Delay(each_way) }
    }

    /// Drops what matches.
    #[must_use]
    pub fn drop(matching: Match) -> Self {
        Self { matching, effect: Effect::Drop }
    }

    /// Loses some of what matches.
    #[must_use]
    pub fn lose(matching: Match, probability: f64) -> Self {
        Self { matching, effect: Effect::Lose(probability) }
    }

    /// Delivers some of what matches twice.
    #[must_use]
    pub fn duplicate(matching: Match, probability: f64) -> Self {
        Self { matching, effect: Effect::Duplicate(probability) }
    }

    /// Holds some of what matches back by `extra`.
    #[must_use]
    pub fn reorder(matching: Match, probability: f64, extra: Duration) -> Self {
        Self { matching, effect: Effect::Reorder { probability, extra } }
    }
}

/// The rules of a wire, looked at in order for each TCP frame: delays add up, and the first rule that drops or
/// loses the frame ends the walk (rules after it do not count it).
///
/// Chance is drawn from the seed, apart for each rule and direction: which of the frames that a rule matches in
/// a direction are picked (say the 3rd and the 17th) depends on the seed and the rule's place alone.
///
/// An empty script is a wire that does nothing.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Script {
    /// Where chance is drawn from.
    pub seed: u64,
    /// The rules, first to last.
    pub rules: Vec<Rule>,
}

impl Script {
    /// A script without rules.
    #[must_use]
    pub fn seeded(seed: u64) -> Self {
        Self { seed, rules: Vec::new() }
    }

    /// Adds a rule at the end.
    #[must_use]
    pub fn with(mut self, rule: Rule) -> Self {
        self.rules.push(rule);
        self
    }

    /// Adds a delay of every frame, in both directions.
    #[must_use]
    pub fn delay(self, each_way: Duration) -> Self {
        self.with(Rule::delay(Match::any(), each_way))
    }
}
