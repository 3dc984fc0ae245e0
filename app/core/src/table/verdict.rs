//! What can be wrong with a peer, and from where on it is: the one home of these definitions.

use core::fmt;
use core::str::FromStr;

use super::units::{Share, Time};

/// What is wrong with a peer, worst first.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Verdict {
    /// Attempts are not answered.
    NoAnswer,
    /// It refuses.
    Refuses,
    /// Its handshakes take long.
    Slow,
    /// Segments have to be sent again.
    Loses,
}

/// From where on a peer is slow.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slow {
    /// From this round-trip time on, in nanoseconds.
    From(u64),
    /// From so many thousandths of what is usual for it: its own median since the start.
    Usual(u64),
}

/// From where on a verdict is deserved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Thresholds {
    /// Attempts without an answer, of all.
    pub unanswered: Share,
    /// Attempts that were refused, of all.
    pub refused: Share,
    /// The round-trip time that a tenth of the handshakes reach.
    pub slow: Slow,
    /// Segments that were sent again, of all.
    pub loss: Share,
}

/// One late attempt must not stand for a hundred that are not: a tenth makes a verdict. Of segments one in a hundred
/// does: a SYN that is sent again costs a second, data a round trip at the least.
impl Default for Thresholds {
    fn default() -> Self {
        Self {
            unanswered: Share::PERCENT.times(10),
            refused: Share::PERCENT.times(10),
            slow: Slow::From(100_000_000),
            loss: Share::PERCENT,
        }
    }
}

impl Verdict {
    /// Every verdict, worst first.
    pub const ALL: [Self; 4] = [Self::NoAnswer, Self::Refuses, Self::Slow, Self::Loses];

    /// The letter in the first column.
    #[must_use]
    pub const fn letter(self) -> char {
        match self {
            Self::NoAnswer => 'N',
            Self::Refuses => 'R',
            Self::Slow => 'S',
            Self::Loses => 'L',
        }
    }

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoAnswer => "no answer",
            Self::Refuses => "refuses",
            Self::Slow => "slow",
            Self::Loses => "loses",
        }
    }

    /// The word for programs: JSON values and labels of metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoAnswer => "unanswered",
            Self::Refuses => "refused",
            Self::Slow => "slow",
            Self::Loses => "loss",
        }
    }

    /// When it is deserved, as a sentence without its full stop.
    #[must_use]
    pub fn definition(self, thresholds: &Thresholds) -> String {
        let Thresholds { unanswered, refused, slow, loss } = thresholds;
        match self {
            Self::NoAnswer => format!(
                "{unanswered} of the window's attempts or more got no reply to the SYN, or to the SYN-ACK"
            ),
            Self::Refuses => format!("a RST answered {refused} of the window's SYNs or more"),
            Self::Slow => format!("the 90th percentile within the window is {slow} or more"),
            Self::Loses => format!(
                "{loss} of the window's segments or more (SYNs, SYN-ACKs and data, in both directions) had to be \
                 sent again"
            ),
        }
    }
}

impl Slow {
    /// Below this nothing is slow, whatever is usual: nobody notices.
    pub const LEAST_NS: u64 = 1_000_000;
    /// So many round-trip times make what is usual for a peer.
    pub const SAMPLES: u64 = 20;

    /// The round-trip time from which on a peer is slow, in nanoseconds, when this is usual for it. `None` when nothing
    /// tells.
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
            Some(times) => super::units::decimal(times, 1_000).map(Self::Usual),
            None => text.parse().ok().map(|Time(ns)| Self::From(ns)),
        };
        let is_more_than_usual = |slow: &Self| match slow {
            Self::From(ns) => *ns > 0,
            Self::Usual(thousandths) => *thousandths > 1_000,
        };
        slow.filter(is_more_than_usual).ok_or_else(wanted)
    }
}
