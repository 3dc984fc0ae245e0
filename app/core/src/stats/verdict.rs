//! What can be wrong with a peer, and from which figures on: the only place with these definitions.

use core::fmt;
use core::str::FromStr;

use crate::flow::ABORT_NS;
use crate::units::{Share, Time};

/// What is wrong with a peer, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Attempts are not answered.
    Unanswered,
    /// Attempts fail on this host, before any SYN leaves it.
    Failed,
    /// Attempts are answered by ICMP errors.
    Unreachable,
    /// Attempts are refused.
    Refused,
    /// Connections are accepted, and reset at once.
    Aborted,
    /// Round trips take long.
    Slow,
    /// Applications wait long for their connections.
    SlowSetup,
    /// Segments are lost: they have to be retransmitted.
    Loss,
}

/// Which round-trip times are slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// This one and longer ones, in nanoseconds.
    From(u64),
    /// So many thousandths of the peer's own median since the start, and longer ones.
    Usual(u64),
}

/// When each verdict applies: at the threshold or beyond.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Share of attempts that are unanswered.
    pub unanswered: Share,
    /// Share of attempts that fail on this host.
    pub failed: Share,
    /// Share of attempts that are answered by an ICMP error.
    pub unreachable: Share,
    /// Share of attempts that are refused.
    pub refused: Share,
    /// Share of attempts that are aborted.
    pub aborted: Share,
    /// Round-trip time of a tenth of the handshakes.
    pub slow: Slow,
    /// Setup time of [`SLOW_SETUP_SHARE`](Self::SLOW_SETUP_SHARE) of the handshakes, in nanoseconds.
    pub slow_setup_ns: u64,
    /// Share of segments that are retransmits.
    pub loss: Share,
    /// The smallest sample: with fewer attempts or handshakes no verdict applies; nor with fewer retransmits for loss, or
    /// fewer slow handshakes for a slow setup. At least 1.
    pub min_attempts: u64,
}

/// One late attempt of a hundred is no problem: a tenth makes a verdict. Of segments one in a hundred does: a retransmitted SYN
/// costs a second, data at least a round trip. So does one in a hundred setup times, which is where a repeated SYN appears:
/// half a second is less than the second after which a SYN is repeated first (RFC 6298, 2.1), and more than nearly every round
/// trip. And one or two of anything are a fact, not a verdict.
impl Default for Thresholds {
    fn default() -> Self {
        Self {
            unanswered: Share::PERCENT.times(10),
            failed: Share::PERCENT.times(10),
            unreachable: Share::PERCENT.times(10),
            refused: Share::PERCENT.times(10),
            aborted: Share::PERCENT.times(10),
            slow: Slow::From(100_000_000),
            slow_setup_ns: 500_000_000,
            loss: Share::PERCENT,
            min_attempts: 3,
        }
    }
}

impl Thresholds {
    /// The share of the handshakes that have to be slow for [`Verdict::SlowSetup`]: those that the 99th percentile leaves out.
    pub const SLOW_SETUP_SHARE: Share = Share::PERCENT;
}

impl Verdict {
    /// Every verdict, worst first.
    pub const ALL: [Self; 8] = [
        Self::Unanswered,
        Self::Failed,
        Self::Unreachable,
        Self::Refused,
        Self::Aborted,
        Self::Slow,
        Self::SlowSetup,
        Self::Loss,
    ];

    /// The letter in the first column.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::Unanswered => 'N',
            Self::Failed => 'F',
            Self::Unreachable => 'U',
            Self::Refused => 'R',
            Self::Aborted => 'A',
            Self::Slow => 'S',
            Self::SlowSetup => 'W',
            Self::Loss => 'L',
        }
    }

    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unanswered => "unanswered",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Aborted => "aborted",
            Self::Slow => "slow",
            Self::SlowSetup => "slow-setup",
            Self::Loss => "loss",
        }
    }

    /// Its name for programs: JSON values and labels of metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::SlowSetup => "slow_setup",
            Self::Unanswered
            | Self::Failed
            | Self::Unreachable
            | Self::Refused
            | Self::Aborted
            | Self::Slow
            | Self::Loss => self.name(),
        }
    }

    /// When it applies, as a sentence without its full stop.
    #[must_use]
    pub fn definition(self, thresholds: &Thresholds) -> String {
        let Thresholds {
            unanswered,
            failed,
            unreachable,
            refused,
            aborted,
            slow,
            slow_setup_ns,
            loss,
            min_attempts,
        } = thresholds;
        match self {
            Self::Unanswered => format!(
                "{unanswered} or more of the attempts in the window, of at least {min_attempts}, are unanswered or \
                 half-open"
            ),
            Self::Failed => format!(
                "{failed} or more of the attempts in the window, of at least {min_attempts}, failed before any SYN \
                 left this host"
            ),
            Self::Unreachable => format!(
                "{unreachable} or more of the attempts in the window, of at least {min_attempts}, were answered by an \
                 ICMP error"
            ),
            Self::Refused => format!(
                "{refused} or more of the attempts in the window, of at least {min_attempts}, were refused by a RST"
            ),
            Self::Aborted => format!(
                "{aborted} or more of the attempts in the window, of at least {min_attempts}, were aborted: accepted, \
                 then reset by the same end within {}, before it sent any data",
                Time(ABORT_NS)
            ),
            Self::Slow => format!(
                "the 90th percentile of the RTT in the window, of at least {min_attempts} handshakes, is {slow} or \
                 more"
            ),
            Self::SlowSetup => format!(
                "{} or more of the handshakes in the window, and at least {min_attempts}, took {} or more from the first \
                 SYN to the ACK: the application waits",
                Thresholds::SLOW_SETUP_SHARE,
                Time(*slow_setup_ns)
            ),
            Self::Loss => format!(
                "{loss} or more of the segments in the window, and at least {min_attempts}, were retransmitted \
                 (SYNs, SYN-ACKs and data, both directions)"
            ),
        }
    }
}

impl Slow {
    /// Shorter round-trip times are never slow compared to a median: nobody notices.
    pub const LEAST_NS: u64 = 1_000_000;
    /// With fewer round-trip times there is no median to compare with.
    pub const SAMPLES: u64 = 20;

    /// The shortest slow round-trip time for a peer with this median, in nanoseconds; `None` when the median is needed and not
    /// known.
    #[must_use]
    pub fn from_ns(self, usual_ns: Option<u64>) -> Option<u64> {
        match self {
            Self::From(ns) => Some(ns),
            Self::Usual(thousandths) => {
                let long_ns = usual_ns?.saturating_mul(thousandths) / 1_000;
                Some(long_ns.max(Self::LEAST_NS))
            }
        }
    }
}

/// As in the definition: `100ms`, or `3x the peer's own median`.
impl fmt::Display for Slow {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::From(ns) => write!(f, "{}", Time(*ns)),
            Self::Usual(thousandths) => {
                let (whole, rest) = (thousandths / 1_000, thousandths % 1_000);
                let fraction = format!("{rest:03}");
                let fraction = fraction.trim_end_matches('0');
                let point = if fraction.is_empty() { "" } else { "." };
                let (samples, least) = (Self::SAMPLES, Time(Self::LEAST_NS));
                write!(
                    f,
                    "{whole}{point}{fraction}x the peer's own median since the start (of {samples} handshakes or \
                     more), {least} at the least,"
                )
            }
        }
    }
}

/// `100ms`, or `3x`.
impl FromStr for Slow {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        let wanted =
            || "must be a time such as 100ms, or such as 3x: three times the peer's own median".to_owned();
        let slow = match text.strip_suffix('x') {
            Some(times) => crate::units::decimal(times, 1_000).map(Self::Usual),
            None => text.parse().ok().map(|Time(ns)| Self::From(ns)),
        };
        let is_more_than_usual = |slow: &Self| match slow {
            Self::From(ns) => *ns > 0,
            Self::Usual(thousandths) => *thousandths > 1_000,
        };
        slow.filter(is_more_than_usual).ok_or_else(wanted)
    }
}
