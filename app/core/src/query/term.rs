//! What a term of a filter asks for, and how it is written.

use core::fmt::{self, Write};
use core::ops::RangeInclusive;

use crate::cidr::Cidr;
use crate::flow::{CauseTerm, Outcome, Role};
use crate::owner::Process;
use crate::stats::Verdict;
use crate::units::Time;

/// One condition.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Term {
    /// Whether the test must fail.
    pub(super) negated: bool,
    pub(super) test: Test,
}

/// What is tested. Of several values one is enough.
#[derive(Clone, Debug, PartialEq)]
pub(super) enum Test {
    /// Text that must be shown; in lower case.
    Word(String),
    /// The remote end.
    Peer(Vec<Ends>),
    /// The service port.
    Port(Vec<Ports>),
    /// This host's end.
    Local(Vec<Ends>),
    /// This host's port.
    LocalPort(Vec<Ports>),
    Interface(Vec<String>),
    /// The process at an end; in lower case.
    Owner(OwnerKey, Vec<String>),
    Role(Vec<Role>),
    Outcome(Vec<Outcome>),
    /// The cause of a retransmit.
    Cause(Vec<CauseTerm>),
    Verdict(Vec<Verdict>),
    /// What is behind the verdict; in lower case.
    Why(Vec<String>),
    Figure {
        figure: Figure,
        comparison: Comparison,
        /// In the smallest part of the figure's [`Unit`].
        amount: u64,
    },
}

/// What of a process is tested.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum OwnerKey {
    /// Its name, or that of its executable.
    Process,
    /// Its number.
    Pid,
    /// Its container or pod.
    Container,
    /// Its systemd unit.
    Unit,
}

/// A block of addresses, and a port if one was given.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Ends {
    pub(super) block: Cidr,
    pub(super) port: Option<u16>,
}

/// A port or a range of ports.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ports(pub(super) RangeInclusive<u16>);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Figure {
    P50,
    P90,
    P99,
    Max,
    Rtt,
    Setup,
    SetupP50,
    SetupP90,
    SetupP99,
    SetupMax,
    Age,
    New,
    Unanswered,
    Failed,
    Unreachable,
    Refused,
    Aborted,
    Share,
    Retransmits,
    Tries,
    Srtt,
    MinRtt,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Comparison {
    Less,
    AtMost,
    Equal,
    AtLeast,
    More,
}

/// The unit of a figure.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Unit {
    /// Nanoseconds.
    Time,
    /// Thousandths of one per second.
    Rate,
    /// Thousandths of one in a hundred.
    Percent,
    Count,
}

impl OwnerKey {
    pub(super) const ALL: [Self; 4] = [Self::Process, Self::Pid, Self::Container, Self::Unit];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Process => "proc",
            Self::Pid => "pid",
            Self::Container => "container",
            Self::Unit => "unit",
        }
    }

    /// Whether one of the values is this process's.
    pub(super) fn holds(self, process: &Process, values: &[String]) -> bool {
        let workload = process.workload.as_deref();
        let is = |text: &str| values.iter().any(|value| text.to_lowercase() == *value);
        match self {
            Self::Process => is(&process.name) || process.executable_name().is_some_and(is),
            Self::Pid => is(&process.pid.to_string()),
            Self::Container => workload.is_some_and(|workload| {
                let names = [&workload.container, &workload.container_id, &workload.pod];
                let shown = workload.shown_container();
                names.into_iter().chain([&shown]).flatten().any(|name| is(name))
            }),
            Self::Unit => workload
                .and_then(|workload| workload.unit.as_deref())
                .is_some_and(|unit| is(unit) || unit.strip_suffix(".service").is_some_and(is)),
        }
    }
}

impl Figure {
    /// Whether only single connections have it.
    pub(super) const fn is_of_flows(self) -> bool {
        matches!(self, Self::Setup | Self::Tries | Self::Srtt | Self::MinRtt)
    }

    pub(super) const ALL: [Self; 22] = [
        Self::P50,
        Self::P90,
        Self::P99,
        Self::Max,
        Self::Rtt,
        Self::Setup,
        Self::SetupP50,
        Self::SetupP90,
        Self::SetupP99,
        Self::SetupMax,
        Self::Age,
        Self::New,
        Self::Unanswered,
        Self::Failed,
        Self::Unreachable,
        Self::Refused,
        Self::Aborted,
        Self::Share,
        Self::Retransmits,
        Self::Tries,
        Self::Srtt,
        Self::MinRtt,
    ];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::P50 => "p50",
            Self::P90 => "p90",
            Self::P99 => "p99",
            Self::Max => "max",
            Self::Rtt => "rtt",
            Self::Setup => "setup",
            Self::SetupP50 => "setup_p50",
            Self::SetupP90 => "setup_p90",
            Self::SetupP99 => "setup_p99",
            Self::SetupMax => "setup_max",
            Self::Age => "age",
            Self::New => "new",
            Self::Unanswered => "unanswered",
            Self::Failed => "failed",
            Self::Unreachable => "unreachable",
            Self::Refused => "refused",
            Self::Aborted => "aborted",
            Self::Share => "retr",
            Self::Retransmits => "retransmits",
            Self::Tries => "tries",
            Self::Srtt => "srtt",
            Self::MinRtt => "min_rtt",
        }
    }

    pub(super) const fn unit(self) -> Unit {
        match self {
            Self::P50
            | Self::P90
            | Self::P99
            | Self::Max
            | Self::Rtt
            | Self::Setup
            | Self::SetupP50
            | Self::SetupP90
            | Self::SetupP99
            | Self::SetupMax
            | Self::Age
            | Self::Srtt
            | Self::MinRtt => Unit::Time,
            Self::New => Unit::Rate,
            Self::Share => Unit::Percent,
            Self::Unanswered
            | Self::Failed
            | Self::Unreachable
            | Self::Refused
            | Self::Aborted
            | Self::Retransmits
            | Self::Tries => Unit::Count,
        }
    }
}

impl Comparison {
    /// How each is typed; the longer of two with the same beginning comes first.
    const SIGNS: [(&str, Self); 6] = [
        (">=", Self::AtLeast),
        ("<=", Self::AtMost),
        ("==", Self::Equal),
        (">", Self::More),
        ("<", Self::Less),
        ("=", Self::Equal),
    ];

    /// The comparison that a text begins with, and its sign.
    pub(super) fn begins(text: &str) -> Option<(Self, &'static str)> {
        let found = Self::SIGNS.into_iter().find(|(sign, _)| text.starts_with(sign));
        found.map(|(sign, comparison)| (comparison, sign))
    }

    pub(super) const fn sign(self) -> &'static str {
        match self {
            Self::Less => "<",
            Self::AtMost => "<=",
            Self::Equal => "=",
            Self::AtLeast => ">=",
            Self::More => ">",
        }
    }

    /// Whether the comparison holds. Times, rates and shares are equal when their first three digits are.
    pub(super) fn holds(self, figure: f64, amount: f64, unit: Unit) -> bool {
        match self {
            Self::Less => figure < amount,
            Self::AtMost => figure <= amount,
            Self::AtLeast => figure >= amount,
            Self::More => figure > amount,
            Self::Equal => {
                let tolerance = if unit == Unit::Count { 0.0 } else { 0.005 };
                (figure - amount).abs() <= amount * tolerance
            }
        }
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.negated {
            f.write_char('!')?;
        }
        match &self.test {
            Test::Word(word) => f.write_str(&quoted(word)),
            Test::Peer(ends) => listed(f, "peer", ends.iter().map(ToString::to_string)),
            Test::Port(ports) => listed(f, "port", ports.iter().map(ToString::to_string)),
            Test::Local(ends) => listed(f, "local", ends.iter().map(ToString::to_string)),
            Test::LocalPort(ports) => listed(f, "lport", ports.iter().map(ToString::to_string)),
            Test::Interface(names) => listed(f, "iface", names.iter().map(|name| quoted(name))),
            Test::Owner(key, values) => listed(f, key.name(), values.iter().map(|value| quoted(value))),
            Test::Role(roles) => listed(f, "role", roles.iter().map(|role| role.name().to_owned())),
            Test::Outcome(outcomes) => {
                listed(f, "outcome", outcomes.iter().map(|outcome| outcome.name().to_owned()))
            }
            Test::Cause(causes) => listed(f, "cause", causes.iter().map(|cause| cause.name().to_owned())),
            Test::Verdict(verdicts) => {
                listed(f, "verdict", verdicts.iter().map(|verdict| verdict.letter().to_string()))
            }
            Test::Why(words) => listed(f, "why", words.iter().map(|word| quoted(word))),
            Test::Figure { figure, comparison, amount } => {
                write!(f, "{}{}", figure.name(), comparison.sign())?;
                match figure.unit() {
                    Unit::Time => write!(f, "{}", Time(*amount)),
                    Unit::Rate => write!(f, "{}/s", thousandths(*amount)),
                    Unit::Percent => write!(f, "{}%", thousandths(*amount)),
                    Unit::Count => write!(f, "{amount}"),
                }
            }
        }
    }
}

fn listed(f: &mut fmt::Formatter<'_>, key: &str, values: impl Iterator<Item = String>) -> fmt::Result {
    write!(f, "{key}:{}", values.collect::<Vec<_>>().join(","))
}

fn thousandths(amount: u64) -> String {
    let text = format!("{}.{:03}", amount / 1_000, amount % 1_000);
    text.trim_end_matches('0').trim_end_matches('.').to_owned()
}

/// The text, in quotes if it would be read as something else without them.
fn quoted(text: &str) -> String {
    if !super::parse::needs_quotes(text) {
        return text.to_owned();
    }
    let escaped = text.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

impl fmt::Display for Ends {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let block = self.block.to_string();
        match self.port {
            None => f.write_str(&block),
            Some(port) if block.contains(':') => write!(f, "[{block}]:{port}"),
            Some(port) => write!(f, "{block}:{port}"),
        }
    }
}

impl fmt::Display for Ports {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (first, last) = (self.0.start(), self.0.end());
        if first == last { write!(f, "{first}") } else { write!(f, "{first}-{last}") }
    }
}
