//! The expression that rows must match: which of its terms apply to what, and what they mean there.
//!
//! Terms of identity (words, `peer`, `port`, `iface`, `role`, `proc`) choose peers, before they are grouped into rows. Terms of
//! figures (`p99>50ms`, `outcome:refused`, `verdict:N`) apply to rows, over their span of time. Terms of single connections
//! (`lport`, `local`, `setup`, `tries`, `srtt`) apply to flows only, `new` and `why` to rows only. Terms that do not apply to something
//! are ignored.

use core::fmt;
use core::ops::Range;
use core::str::FromStr;
use std::collections::BTreeMap;

use probe_common::Endpoint;

use super::parse;
use super::short_text::Short;
use super::term::{Comparison, Ends, Figure, OwnerKey, Term, Test};
use crate::flow::{Flow, Leg, Outcome, PeerKey};
use crate::owner::{Process, Processes};
use crate::stats::{Counts, Percentiles, Verdict};
use crate::why::Why;

/// A filter: terms that must all hold, such as `peer:10.0.0.0/8 port:443 p99>50ms !role:server web`.
///
/// It is only an expression: what it lets pass depends on the names of the interfaces, which the engine knows.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    terms: Vec<Term>,
}

/// A filter and the names of the interfaces by index, without which nothing can be matched.
#[derive(Clone, Copy, Debug)]
pub(crate) struct BoundFilter<'a> {
    terms: &'a [Term],
    interfaces: &'a BTreeMap<u32, String>,
}

/// What is wrong with a filter, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// The bytes of the expression that make no sense; empty where something is missing.
    pub at: Range<usize>,
    /// What was expected there, to be read by a person.
    pub expected: String,
    /// A valid expression that may have been meant.
    pub nearest: Option<String>,
}

/// The verdict on a peer, for those terms of flows that need it.
pub(crate) type VerdictOf<'a> = &'a dyn Fn(&PeerKey) -> Option<Verdict>;

/// What terms are compared with in a row of one or several peers.
pub(crate) struct RowFacts<'a> {
    pub(crate) counts: &'a Counts,
    pub(crate) rtt: Option<Percentiles>,
    pub(crate) setup: Option<Percentiles>,
    pub(crate) verdict: Option<Verdict>,
    pub(crate) why: Option<Why>,
    pub(crate) first_ns: u64,
    pub(crate) new_per_s: f64,
}

/// Whether something passes a term; `None` when the term does not apply to it.
type Answer = Option<bool>;

impl Filter {
    /// The part of an expression that a person who is still typing has finished: without a last word that may become a term,
    /// such as the `p9` of `p99>50ms`. As a word it would let nothing pass.
    #[must_use]
    pub fn finished(text: &str) -> &str {
        parse::finished(text)
    }

    /// The filter of the terms before the first wrong one, and what is wrong with that.
    #[must_use]
    pub fn valid_part(text: &str) -> (Self, Option<FilterError>) {
        let (mut part, mut first) = (text, None);
        loop {
            match part.parse() {
                Ok(filter) => return (filter, first),
                Err(FilterError { at, expected, nearest }) => {
                    let before = part[..at.start].trim_end();
                    part = before.rfind(char::is_whitespace).map_or("", |blank| &before[..blank]);
                    // What is wrong may be behind a blank: `p99 > x`.
                    part = if before.len() < at.start { before } else { part };
                    first.get_or_insert(FilterError { at, expected, nearest });
                }
            }
        }
    }

    /// What both let pass.
    #[must_use]
    pub fn and(mut self, other: Self) -> Self {
        self.terms.extend(other.terms);
        self
    }

    /// The filter for the processes with these numbers.
    #[must_use]
    pub fn of_processes(pids: &[u32]) -> Self {
        let values: Vec<String> = pids.iter().map(u32::to_string).collect();
        let term = Term { negated: false, test: Test::Owner(OwnerKey::Pid, values) };
        Self { terms: if pids.is_empty() { Vec::new() } else { vec![term] } }
    }

    /// Whether everything passes.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether a term of connections is about the verdict on their peer.
    #[must_use]
    pub fn asks_verdict(&self) -> bool {
        self.terms.iter().any(|term| matches!(term.test, Test::Verdict(_)))
    }

    /// Whether a term is about processes.
    #[must_use]
    pub fn asks_owner(&self) -> bool {
        self.terms.iter().any(|term| matches!(term.test, Test::Owner(..)))
    }

    /// The terms that apply to single connections only, and do not restrict the rows of peers.
    pub fn flow_terms(&self) -> impl Iterator<Item = String> {
        self.terms.iter().filter(|term| term.test.is_of_flows()).map(ToString::to_string)
    }

    /// The terms that cannot be tested of a socket of which no segment was seen, and whose process is not known.
    pub fn terms_not_of_sockets(&self) -> impl Iterator<Item = String> {
        self.terms.iter().filter(|term| !term.test.is_of_sockets()).map(ToString::to_string)
    }

    /// The terms that cannot be tested of a retransmit that the kernel tells of: see [`Flow::of_sender`].
    pub fn terms_not_of_senders(&self) -> impl Iterator<Item = String> {
        let is_of_senders = |term: &&Term| match term.test {
            Test::Figure { .. } => false,
            Test::Owner(..) | Test::Cause(_) => true,
            ref other => other.is_of_sockets(),
        };
        self.terms.iter().filter(move |term| !is_of_senders(term)).map(ToString::to_string)
    }

    /// Whether a flow that was made of a socket at `now_ns` passes: see [`Flow::of_socket`].
    #[must_use]
    pub fn matches_socket(&self, flow: &Flow, now_ns: u64) -> bool {
        self.bind(&BTreeMap::new()).matches_flow(flow, now_ns, &|_| None)
    }

    /// The filter where interfaces have these names.
    pub(crate) fn bind<'a>(&'a self, interfaces: &'a BTreeMap<u32, String>) -> BoundFilter<'a> {
        BoundFilter { terms: &self.terms, interfaces }
    }
}

impl BoundFilter<'_> {
    /// Whether everything passes.
    pub(crate) const fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Whether a term applies to rows as a whole.
    pub(crate) fn restricts_rows(&self) -> bool {
        self.terms.iter().any(|term| match term.test {
            Test::Figure { figure, .. } => !figure.is_of_flows(),
            Test::Outcome(_) | Test::Cause(_) | Test::Verdict(_) | Test::Why(_) => true,
            Test::Word(_)
            | Test::Peer(_)
            | Test::Port(_)
            | Test::Local(_)
            | Test::LocalPort(_)
            | Test::Interface(_)
            | Test::Owner(..)
            | Test::Role(_) => false,
        })
    }

    /// Whether there is a word to be searched for.
    pub(crate) fn has_words(&self) -> bool {
        self.terms.iter().any(|term| matches!(term.test, Test::Word(_)))
    }

    /// Whether this flow passes, as it is at `now_ns`.
    pub(crate) fn matches_flow(&self, flow: &Flow, now_ns: u64, verdict: VerdictOf<'_>) -> bool {
        self.all(|test| self.test_flow(test, flow, now_ns, verdict))
    }

    /// Whether this peer is one of those that rows are made of. Its connections belong to these processes.
    pub(crate) fn matches_peer(&self, peer: &PeerKey, processes: &Processes) -> bool {
        self.all(|test| self.test_peer(test, peer, processes))
    }

    /// Whether a term is about processes: they may become known later than the peer.
    pub(crate) fn has_owners(&self) -> bool {
        self.terms.iter().any(|term| matches!(term.test, Test::Owner(..) | Test::Word(_)))
    }

    /// Whether this row passes, made of peers that do.
    pub(crate) fn matches_row(&self, row: &RowFacts<'_>, now_ns: u64) -> bool {
        self.all(|test| test_row(test, row, now_ns))
    }

    /// Whether the change from one of these verdicts on a peer to the other passes. Its connections belong to these processes.
    pub(crate) fn matches_change(
        &self,
        peer: &PeerKey,
        processes: &Processes,
        verdicts: [Option<Verdict>; 2],
    ) -> bool {
        self.all(|test| match test {
            Test::Verdict(wanted) => Some(verdicts.iter().flatten().any(|verdict| wanted.contains(verdict))),
            test => Some(self.test_peer(test, peer, processes).unwrap_or(false)),
        })
    }

    fn all(&self, test: impl Fn(&Test) -> Answer) -> bool {
        self.terms.iter().all(|term| test(&term.test).is_none_or(|holds| holds != term.negated))
    }

    fn test_flow(&self, test: &Test, flow: &Flow, now_ns: u64, verdict: VerdictOf<'_>) -> Answer {
        Some(match test {
            Test::Word(word) => self.has_word(flow, now_ns, word),
            Test::Peer(ends) => ends.iter().any(|end| end.holds(flow.remote(), flow.peer().service.port)),
            Test::Local(ends) => ends.iter().any(|end| end.holds(flow.local(), flow.local().port)),
            Test::LocalPort(ports) => ports.iter().any(|ports| ports.0.contains(&flow.local().port)),
            Test::Role(roles) => flow.role().is_some_and(|role| roles.contains(&role)),
            Test::Outcome(outcomes) => outcomes.contains(&flow.outcome_at(now_ns)),
            Test::Cause(causes) => {
                let known = flow.retransmit_causes();
                causes.iter().any(|cause| known.has(*cause))
            }
            Test::Verdict(verdicts) => verdict(&flow.peer()).is_some_and(|known| verdicts.contains(&known)),
            Test::Owner(key, values) => flow.processes().any(|process| key.holds(process, values)),
            Test::Port(_) | Test::Interface(_) => {
                return self.test_peer(test, &flow.peer(), &Processes::default());
            }
            Test::Why(_) | Test::Figure { figure: Figure::New, .. } => return None,
            Test::Figure { figure, comparison, amount } => {
                let known = flow_figure(*figure, flow, now_ns);
                known.is_some_and(|value| compare(*figure, *comparison, value, *amount))
            }
        })
    }

    fn test_peer(&self, test: &Test, peer: &PeerKey, processes: &Processes) -> Answer {
        Some(match test {
            Test::Word(word) => {
                has(Short::of(peer).text(), word)
                    || has(self.interface(peer.interface), word)
                    || has(peer.role.name(), word)
                    || processes.iter().any(|process| is_named(process, word))
            }
            Test::Owner(key, values) => processes.iter().any(|process| key.holds(process, values)),
            Test::Peer(ends) => ends.iter().any(|end| end.holds(peer.service, peer.service.port)),
            Test::Port(ports) => ports.iter().any(|ports| ports.0.contains(&peer.service.port)),
            Test::Interface(names) => names.iter().any(|name| name == self.interface(peer.interface)),
            Test::Role(roles) => roles.contains(&peer.role),
            Test::Local(_)
            | Test::LocalPort(_)
            | Test::Outcome(_)
            | Test::Cause(_)
            | Test::Verdict(_)
            | Test::Why(_)
            | Test::Figure { .. } => return None,
        })
    }

    fn has_word(&self, flow: &Flow, now_ns: u64, word: &str) -> bool {
        has(flow.outcome_at(now_ns).name(), word)
            || flow.role().is_some_and(|role| has(role.name(), word))
            || has(self.interface(flow.interface()), word)
            || flow.processes().any(|process| is_named(process, word))
            || may_be_address(word) && is_in_addresses(flow, word)
    }

    /// The name of an interface; empty if it is not known.
    fn interface(&self, index: u32) -> &str {
        self.interfaces.get(&index).map_or("", String::as_str)
    }
}

/// Tests a row as a whole. The peers that it is made of were tested before.
fn test_row(test: &Test, row: &RowFacts<'_>, now_ns: u64) -> Answer {
    Some(match test {
        Test::Outcome(_) if test.is_of_flows() => return None,
        Test::Outcome(wanted) => wanted.iter().any(|outcome| row.counts.of(*outcome) > 0),
        Test::Cause(causes) => {
            let known = row.counts.retransmit_causes();
            causes.iter().any(|cause| known.has(*cause))
        }
        Test::Verdict(verdicts) => row.verdict.is_some_and(|verdict| verdicts.contains(&verdict)),
        Test::Why(words) => row.why.is_some_and(|why| words.iter().any(|word| why.is_called(word))),
        Test::Figure { figure, .. } if figure.is_of_flows() => return None,
        Test::Figure { figure, comparison, amount } => row_figure(*figure, row, now_ns)
            .is_some_and(|value| compare(*figure, *comparison, value, *amount)),
        Test::Word(_)
        | Test::Peer(_)
        | Test::Port(_)
        | Test::Local(_)
        | Test::LocalPort(_)
        | Test::Interface(_)
        | Test::Owner(..)
        | Test::Role(_) => return None,
    })
}

/// The percentiles of a flow are its own latencies: it has no others.
#[allow(clippy::cast_precision_loss, reason = "what is compared has a few digits")]
fn flow_figure(figure: Figure, flow: &Flow, now_ns: u64) -> Option<f64> {
    let outcome = || flow.outcome_at(now_ns);
    Some(match figure {
        Figure::P50 | Figure::P90 | Figure::P99 | Figure::Max | Figure::Rtt => {
            flow.rtt().and_then(Leg::exact)? as f64
        }
        Figure::Setup | Figure::SetupP50 | Figure::SetupP90 | Figure::SetupP99 | Figure::SetupMax => {
            flow.setup_ns()? as f64
        }
        Figure::Age => now_ns.saturating_sub(flow.first_ns()) as f64,
        Figure::New => return None,
        Figure::Unanswered => f64::from(matches!(outcome(), Outcome::Unanswered | Outcome::HalfOpen)),
        Figure::Unreachable => f64::from(outcome() == Outcome::Unreachable),
        Figure::Refused => f64::from(outcome() == Outcome::Refused),
        Figure::Aborted => f64::from(flow.is_aborted()),
        Figure::Share => flow.retransmit_share()? * 100_000.0,
        Figure::Retransmits => flow.retransmits() as f64,
        Figure::Tries => f64::from(flow.tries()?),
        Figure::Srtt => flow.srtt_ns()? as f64,
        Figure::MinRtt => flow.min_rtt_ns()? as f64,
    })
}

/// The round-trip time of a row is the median.
#[allow(clippy::cast_precision_loss, reason = "what is compared has a few digits")]
fn row_figure(figure: Figure, row: &RowFacts<'_>, now_ns: u64) -> Option<f64> {
    let RowFacts { counts, rtt, setup, .. } = row;
    let (rtt, setup) = (rtt.as_ref(), setup.as_ref());
    Some(match figure {
        Figure::P50 | Figure::Rtt => rtt?.p50_ns as f64,
        Figure::P90 => rtt?.p90_ns as f64,
        Figure::P99 => rtt?.p99_ns as f64,
        Figure::Max => rtt?.max_ns as f64,
        Figure::SetupP50 => setup?.p50_ns as f64,
        Figure::SetupP90 => setup?.p90_ns as f64,
        Figure::SetupP99 => setup?.p99_ns as f64,
        Figure::SetupMax => setup?.max_ns as f64,
        Figure::Setup | Figure::Tries | Figure::Srtt | Figure::MinRtt => return None,
        Figure::Age => now_ns.saturating_sub(row.first_ns) as f64,
        Figure::New => row.new_per_s * 1_000.0,
        Figure::Unanswered => counts.unanswered() as f64,
        Figure::Unreachable => counts.of(Outcome::Unreachable) as f64,
        Figure::Refused => counts.of(Outcome::Refused) as f64,
        Figure::Aborted => counts.aborted as f64,
        Figure::Share => counts.retransmit_share()? * 100_000.0,
        Figure::Retransmits => counts.retransmits() as f64,
    })
}

#[allow(clippy::cast_precision_loss, reason = "what is compared has a few digits")]
fn compare(figure: Figure, comparison: Comparison, value: f64, amount: u64) -> bool {
    comparison.holds(value, amount as f64, figure.unit())
}

/// Whether the text has the word in it, in whatever case; words are in lower case.
fn has(text: &str, word: &str) -> bool {
    text.contains(word)
        || text.bytes().any(|byte| byte.is_ascii_uppercase()) && text.to_lowercase().contains(word)
}

/// Whether the process, its container or its unit has the word in its name.
fn is_named(process: &Process, word: &str) -> bool {
    let workload = process.workload.as_deref();
    let names = workload.map(|workload| [&workload.container, &workload.pod, &workload.unit]);
    has(&process.name, word) || names.into_iter().flatten().flatten().any(|name| has(name, word))
}

/// All that the text of a peer has beyond an address and a port is an arrow.
fn is_in_addresses(flow: &Flow, word: &str) -> bool {
    [flow.remote(), flow.local()].iter().any(|end| has(Short::endpoint(end).text(), word))
        || word.contains('→') && has(Short::of(&flow.peer()).text(), word)
}

/// To write addresses takes longer than all else.
fn may_be_address(word: &str) -> bool {
    word.chars().all(|letter| letter.is_ascii_hexdigit() || ".:[]/→".contains(letter))
}

impl Test {
    /// Whether it applies to flows only. A row does not have how many are pending or closed.
    fn is_of_sockets(&self) -> bool {
        match self {
            Self::Word(_)
            | Self::Peer(_)
            | Self::Port(_)
            | Self::Local(_)
            | Self::LocalPort(_)
            | Self::Role(_)
            | Self::Outcome(_) => true,
            Self::Figure { figure, .. } => matches!(figure, Figure::Srtt | Figure::MinRtt),
            Self::Interface(_) | Self::Owner(..) | Self::Cause(_) | Self::Verdict(_) | Self::Why(_) => false,
        }
    }

    fn is_of_flows(&self) -> bool {
        match self {
            Self::Local(_) | Self::LocalPort(_) => true,
            Self::Figure { figure, .. } => figure.is_of_flows(),
            Self::Outcome(outcomes) => outcomes.iter().any(|outcome| !outcome.is_decided()),
            Self::Cause(_)
            | Self::Word(_)
            | Self::Peer(_)
            | Self::Port(_)
            | Self::Interface(_)
            | Self::Owner(..)
            | Self::Role(_)
            | Self::Verdict(_)
            | Self::Why(_) => false,
        }
    }
}

impl Ends {
    fn holds(&self, end: Endpoint, port: u16) -> bool {
        self.block.contains(end.address) && self.port.is_none_or(|wanted| wanted == port)
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self { terms: parse::terms(text)? })
    }
}

/// The expression again: it parses to an equal filter.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms: Vec<String> = self.terms.iter().map(ToString::to_string).collect();
        f.write_str(&terms.join(" "))
    }
}

impl FilterError {
    pub(super) fn new(at: Range<usize>, expected: impl Into<String>) -> Self {
        Self { at, expected: expected.into(), nearest: None }
    }

    /// The expression, a mark below what makes no sense, and what was expected there: three lines. Control characters are
    /// shown as `?`.
    #[must_use]
    pub fn shown_in(&self, expression: &str) -> String {
        let before = expression[..self.at.start].chars().count();
        let marks = expression[self.at.clone()].chars().count().max(1);
        let shown = expression.replace(char::is_control, "?");
        format!("{shown}\n{}{}\n{self}", " ".repeat(before), "^".repeat(marks))
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { expected, nearest, .. } = self;
        match nearest {
            Some(nearest) => write!(f, "did you mean {}? Expected {expected}", nearest.escape_debug()),
            None => write!(f, "expected {expected}"),
        }
    }
}

impl core::error::Error for FilterError {}
