//! Sort orders.

use core::str::FromStr;

/// An order and its direction.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Sort<By> {
    /// What rows are sorted by.
    pub by: By,
    /// Whether the usual direction is reversed: the worst, the largest or the newest first, and addresses ascending.
    pub reversed: bool,
}

/// What the rows of the first table can be sorted by: each of its columns, and the worst first.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum RowOrder {
    /// Verdict, the worst first, then how much is wrong.
    #[default]
    Problem,
    /// Address and port.
    Peer,
    /// Attempts per second.
    New,
    /// Median of the round-trip times.
    P50,
    /// 90th percentile of the round-trip times.
    P90,
    /// 99th percentile of the round-trip times.
    P99,
    /// The longest round-trip time.
    Max,
    /// Median of the setup times.
    SetupP50,
    /// 90th percentile of the setup times.
    SetupP90,
    /// 99th percentile of the setup times.
    SetupP99,
    /// The longest setup time.
    SetupMax,
    /// Unanswered attempts.
    Unanswered,
    /// Attempts that failed on this host.
    Failed,
    /// Attempts that an ICMP error answered.
    Unreachable,
    /// Refused attempts.
    Refused,
    /// Aborted connections.
    Aborted,
    /// Share of segments that are retransmits.
    Retransmits,
    /// How long the verdict has applied.
    Since,
}

/// What rows of flows can be sorted by.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum FlowOrder {
    /// The newest first.
    #[default]
    Age,
    /// Failures first, then the most retransmits, then the newest.
    Problem,
    /// Address and service port of the peer.
    Peer,
    /// The port that distinguishes the connections of a peer.
    Port,
    /// Outcome, failures first.
    Outcome,
    /// Round-trip time of the handshake.
    Rtt,
    /// Setup time: from the first SYN to the ACK.
    Setup,
    /// Number of SYNs.
    Tries,
    /// Number of retransmits.
    Retransmits,
    /// Smoothed round-trip time, as the kernel measures it.
    Srtt,
}

impl RowOrder {
    /// Every order, as the columns are ordered.
    pub const ALL: [Self; 18] = [
        Self::Problem,
        Self::Peer,
        Self::New,
        Self::P50,
        Self::P90,
        Self::P99,
        Self::Max,
        Self::SetupP50,
        Self::SetupP90,
        Self::SetupP99,
        Self::SetupMax,
        Self::Unanswered,
        Self::Failed,
        Self::Unreachable,
        Self::Refused,
        Self::Aborted,
        Self::Retransmits,
        Self::Since,
    ];

    /// Its name on the command line and on the screen.
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
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::SetupP50 => "setup_p50",
            Self::SetupP90 => "setup_p90",
            Self::SetupP99 => "setup_p99",
            Self::SetupMax => "setup_max",
            Self::Refused => "refused",
            Self::Aborted => "aborted",
            Self::Retransmits => "retr",
            Self::Since => "since",
        }
    }
}

impl FlowOrder {
    /// Every order.
    pub const ALL: [Self; 10] = [
        Self::Age,
        Self::Problem,
        Self::Peer,
        Self::Port,
        Self::Outcome,
        Self::Rtt,
        Self::Setup,
        Self::Tries,
        Self::Retransmits,
        Self::Srtt,
    ];

    /// Its name on the command line and on the screen.
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
            Self::Srtt => "srtt",
        }
    }
}

/// `p99`, or `-p99` for the reverse.
impl FromStr for Sort<RowOrder> {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let (reversed, name) = text.strip_prefix('-').map_or((false, text), |name| (true, name));
        let known = RowOrder::ALL.into_iter().find(|order| order.name() == name);
        let names = || RowOrder::ALL.map(RowOrder::name).join(", ");
        known.map(|by| Self { by, reversed }).ok_or_else(|| format!("must be one of {}", names()))
    }
}
