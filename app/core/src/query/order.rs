//! What rows are sorted by.

use core::str::FromStr;

/// An order, and which way round.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sort<By> {
    /// What decides.
    pub by: By,
    /// Other than usual: the usual is the worst, the largest or the newest first, and names from A to Z.
    pub reversed: bool,
}

/// What the rows of the first table can be sorted by: one for each of its columns, and the worst first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowOrder {
    /// What is wrong, worst first; then how much of it.
    #[default]
    Problem,
    /// Address and port.
    Peer,
    /// Attempts per second.
    New,
    /// Median of the round-trip times.
    P50,
    /// What nine of ten do not exceed.
    P90,
    /// What 99 of 100 do not exceed.
    P99,
    /// The longest.
    Max,
    /// Attempts without an answer.
    Unanswered,
    /// Attempts that were refused.
    Refused,
    /// Share of segments that were sent again.
    Retransmits,
    /// How long something has been wrong.
    Since,
}

/// What rows of flows can be sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlowOrder {
    /// The newest first.
    #[default]
    Age,
    /// What failed first, then what was sent again most, then the newest.
    Problem,
    /// Address and service port of the peer.
    Peer,
    /// The port that tells the connections of a peer apart.
    Port,
    /// What became of it.
    Outcome,
    /// Round-trip time of the handshake.
    Rtt,
    /// From the first SYN to the ACK.
    Setup,
    /// SYNs that were sent.
    Tries,
    /// Everything that was sent again.
    Retransmits,
}

impl RowOrder {
    /// Every order, in that of the columns.
    pub const ALL: [Self; 11] = [
        Self::Problem,
        Self::Peer,
        Self::New,
        Self::P50,
        Self::P90,
        Self::P99,
        Self::Max,
        Self::Unanswered,
        Self::Refused,
        Self::Retransmits,
        Self::Since,
    ];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Problem => "problem",
            Self::Peer => "peer",
            Self::New => "new",
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::Max => "max",
            Self::Unanswered => "unanswered",
            Self::Refused => "refused",
            Self::Retransmits => "retr",
            Self::Since => "since",
        }
    }
}

impl FlowOrder {
    /// Every order.
    pub const ALL: [Self; 9] = [
        Self::Age,
        Self::Problem,
        Self::Peer,
        Self::Port,
        Self::Outcome,
        Self::Rtt,
        Self::Setup,
        Self::Tries,
        Self::Retransmits,
    ];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Age => "age",
            Self::Problem => "problem",
            Self::Peer => "peer",
            Self::Port => "port",
            Self::Outcome => "outcome",
            Self::Rtt => "rtt",
            Self::Setup => "setup",
            Self::Tries => "tries",
            Self::Retransmits => "retr",
        }
    }
}

/// `p99`, or `-p99` for the other way round.
impl FromStr for Sort<RowOrder> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (reversed, name) = text.strip_prefix('-').map_or((false, text), |name| (true, name));
        let known = RowOrder::ALL.into_iter().find(|order| order.name() == name);
        let names = || RowOrder::ALL.map(RowOrder::name).join(", ");
        known.map(|by| Self { by, reversed }).ok_or_else(|| format!("must be one of {}", names()))
    }
}
