//! The expression that rows must match: which of its terms are asked of what, and what they mean there.
//!
//! Terms of identity (words, `peer`, `port`, `iface`, `role`) choose peers, before they are taken together to rows.
//! Terms of figures (`p99>50ms`, `outcome:refused`, `verdict:N`) are asked of the row, over its span of time. Terms of
//! single connections (`lport`, `local`, `setup`, `tries`) are asked of flows only, and `new` of rows only: elsewhere
//! they do not restrict anything.

use core::fmt;
use core::ops::Range;
use core::str::FromStr;
use std::collections::BTreeMap;

use probe_common::Endpoint;

use super::facts::FlowFacts;
use super::parse;
use super::short::Short;
use super::term::{Comparison, Figure, Term, Test};
use crate::snapshot::{LogEntry, Row, What};
use crate::table::{Outcome, PeerKey, Role, Verdict};

/// A filter: terms that must all hold, such as `peer:10.0.0.0/8 port:443 p99>50ms !role:server web`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    terms: Vec<Term>,
    /// Names of interfaces by index.
    interfaces: BTreeMap<u32, String>,
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

/// The verdict on a peer, for those terms of flows that ask for it.
pub type VerdictOf<'a> = &'a dyn Fn(&PeerKey) -> Option<Verdict>;

/// Does a row, of which only some terms can be asked, pass one of them? `None` when it cannot be asked.
type Answer = Option<bool>;

impl Filter {
    /// The part of an expression that a person who is still typing it has finished: without a last word that may become
    /// a term, such as the `p9` of `p99>50ms`. As a word it would let nothing pass.
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

    /// Does everything pass?
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.terms.is_empty()
    }

    /// Takes the names of the interfaces, which terms are compared with. To be called before the filter is used, and
    /// when interfaces come or go.
    pub fn bind(&mut self, interfaces: &BTreeMap<u32, String>) {
        self.interfaces.clone_from(interfaces);
    }

    /// Is there a term of flows that asks for the verdict on their peer?
    #[must_use]
    pub fn asks_verdict(&self) -> bool {
        self.terms.iter().any(|term| matches!(term.test, Test::Verdict(_)))
    }

    /// Is there a term that is asked of rows as a whole?
    #[must_use]
    pub fn asks_rows(&self) -> bool {
        self.terms.iter().any(|term| match term.test {
            Test::Figure { figure, .. } => !matches!(figure, Figure::Setup | Figure::Tries),
            Test::Outcome(_) | Test::Verdict(_) => true,
            Test::Word(_)
            | Test::Peer(_)
            | Test::Port(_)
            | Test::Local(_)
            | Test::LocalPort(_)
            | Test::Interface(_)
            | Test::Role(_) => false,
        })
    }

    /// Is there a word to be looked for?
    #[must_use]
    pub fn has_words(&self) -> bool {
        self.terms.iter().any(|term| matches!(term.test, Test::Word(_)))
    }

    /// The terms that speak of single connections, and do not restrict the rows of peers.
    pub fn flow_terms(&self) -> impl Iterator<Item = String> {
        self.terms.iter().filter(|term| term.is_of_flows()).map(ToString::to_string)
    }

    /// Does this flow pass?
    #[must_use]
    pub fn matches_flow(&self, flow: &impl FlowFacts, now_ns: u64, verdict: VerdictOf<'_>) -> bool {
        self.all(|test| self.asks_flow(test, flow, now_ns, verdict))
    }

    /// Is this peer one of those that rows are made of?
    #[must_use]
    pub fn matches_peer(&self, peer: &PeerKey) -> bool {
        self.all(|test| self.asks_peer(test, peer))
    }

    /// Does this row pass, made of peers that do?
    #[must_use]
    pub fn matches_row(&self, row: &Row, now_ns: u64) -> bool {
        self.all(|test| asks_row(test, row, now_ns))
    }

    /// Does this entry pass? What was lost always does: it may be what is asked for.
    #[must_use]
    pub fn matches_incident(&self, entry: &LogEntry, verdict: VerdictOf<'_>) -> bool {
        match &entry.what {
            What::Failed(flow) | What::Reset(flow) | What::RetransmitKind { flow, .. } => {
                self.matches_flow(flow, entry.time_ns, verdict)
            }
            What::Verdict { peer, before, after } => self.all(|test| match test {
                Test::Verdict(verdicts) => {
                    Some([before, after].into_iter().flatten().any(|verdict| verdicts.contains(verdict)))
                }
                test => Some(self.asks_peer(test, peer).unwrap_or(false)),
            }),
            What::Missed { .. } => true,
        }
    }

    fn all(&self, ask: impl Fn(&Test) -> Answer) -> bool {
        self.terms.iter().all(|term| ask(&term.test).is_none_or(|holds| holds != term.negated))
    }

    fn asks_flow(&self, test: &Test, flow: &impl FlowFacts, now_ns: u64, verdict: VerdictOf<'_>) -> Answer {
        Some(match test {
            Test::Word(word) => self.has_word(flow, now_ns, word),
            Test::Peer(ends) => ends.iter().any(|end| end.holds(flow.remote(), flow.peer().service.port)),
            Test::Local(ends) => ends.iter().any(|end| end.holds(flow.local(), flow.local().port)),
            Test::LocalPort(ports) => ports.iter().any(|ports| ports.0.contains(&flow.local().port)),
            Test::Role(roles) => flow.role().is_some_and(|role| roles.contains(&role)),
            Test::Outcome(outcomes) => outcomes.contains(&flow.outcome(now_ns)),
            Test::Verdict(verdicts) => verdict(&flow.peer()).is_some_and(|known| verdicts.contains(&known)),
            Test::Port(_) | Test::Interface(_) => return self.asks_peer(test, &flow.peer()),
            Test::Figure { figure: Figure::New, .. } => return None,
            Test::Figure { figure, comparison, amount } => {
                let known = flow_figure(*figure, flow, now_ns);
                known.is_some_and(|value| compare(*figure, *comparison, value, *amount))
            }
        })
    }

    fn asks_peer(&self, test: &Test, peer: &PeerKey) -> Answer {
        Some(match test {
            Test::Word(word) => {
                has(Short::of(peer).text(), word)
                    || has(self.interface(peer.interface), word)
                    || has(direction(peer).name(), word)
            }
            Test::Peer(ends) => ends.iter().any(|end| end.holds(peer.service, peer.service.port)),
            Test::Port(ports) => ports.iter().any(|ports| ports.0.contains(&peer.service.port)),
            Test::Interface(names) => names.iter().any(|name| name == self.interface(peer.interface)),
            // Which of the other three it is, a peer does not tell.
            Test::Role(roles) => roles.iter().any(|role| (*role == Role::Server) == peer.inbound),
            Test::Local(_)
            | Test::LocalPort(_)
            | Test::Outcome(_)
            | Test::Verdict(_)
            | Test::Figure { .. } => return None,
        })
    }

    fn has_word(&self, flow: &impl FlowFacts, now_ns: u64, word: &str) -> bool {
        has(flow.outcome(now_ns).name(), word)
            || flow.role().is_some_and(|role| has(role.name(), word))
            || has(self.interface(flow.peer().interface), word)
            || may_be_address(word) && is_in_addresses(flow, word)
    }

    /// The name of an interface; empty where it is not known.
    fn interface(&self, index: u32) -> &str {
        self.interfaces.get(&index).map_or("", String::as_str)
    }
}

/// Whom a row of several peers is made of was asked before; this is asked of it as a whole.
fn asks_row(test: &Test, row: &Row, now_ns: u64) -> Answer {
    let outcomes = &row.figures.outcomes;
    Some(match test {
        Test::Outcome(_) if test.is_of_flows() => return None,
        Test::Outcome(wanted) => wanted.iter().any(|outcome| {
            0 < match outcome {
                Outcome::Established => outcomes.established,
                Outcome::Refused => outcomes.refused,
                Outcome::Unanswered => outcomes.unanswered,
                Outcome::HalfOpen => outcomes.half_open,
                Outcome::Reset => outcomes.reset,
                Outcome::Unknown => outcomes.unknown,
                Outcome::Pending | Outcome::Closed => 0,
            }
        }),
        Test::Verdict(verdicts) => row.verdict.is_some_and(|verdict| verdicts.contains(&verdict)),
        Test::Figure { figure: Figure::Setup | Figure::Tries, .. } => return None,
        Test::Figure { figure, comparison, amount } => row_figure(*figure, row, now_ns)
            .is_some_and(|value| compare(*figure, *comparison, value, *amount)),
        Test::Word(_)
        | Test::Peer(_)
        | Test::Port(_)
        | Test::Local(_)
        | Test::LocalPort(_)
        | Test::Interface(_)
        | Test::Role(_) => return None,
    })
}

/// Of a flow the percentiles are its own round-trip time: it has no other.
#[allow(clippy::cast_precision_loss, reason = "what is compared has a few digits")]
fn flow_figure(figure: Figure, flow: &impl FlowFacts, now_ns: u64) -> Option<f64> {
    let outcome = || flow.outcome(now_ns);
    Some(match figure {
        Figure::P50 | Figure::P90 | Figure::P99 | Figure::Max | Figure::Rtt => flow.rtt_ns()? as f64,
        Figure::Setup => flow.setup_ns()? as f64,
        Figure::Age => now_ns.saturating_sub(flow.first_ns()) as f64,
        Figure::New => return None,
        Figure::Unanswered => f64::from(matches!(outcome(), Outcome::Unanswered | Outcome::HalfOpen)),
        Figure::Refused => f64::from(outcome() == Outcome::Refused),
        Figure::Share if flow.segments() == 0 => return None,
        Figure::Share => flow.retransmits() as f64 / flow.segments() as f64 * 100_000.0,
        Figure::Retransmits => flow.retransmits() as f64,
        Figure::Tries => f64::from(flow.tries()?),
    })
}

/// Of a row the round-trip time is the median.
#[allow(clippy::cast_precision_loss, reason = "what is compared has a few digits")]
fn row_figure(figure: Figure, row: &Row, now_ns: u64) -> Option<f64> {
    let (outcomes, rtt) = (&row.figures.outcomes, row.figures.rtt);
    Some(match figure {
        Figure::P50 | Figure::Rtt => rtt?.p50_ns as f64,
        Figure::P90 => rtt?.p90_ns as f64,
        Figure::P99 => rtt?.p99_ns as f64,
        Figure::Max => rtt?.max_ns as f64,
        Figure::Setup | Figure::Tries => return None,
        Figure::Age => now_ns.saturating_sub(row.first_ns) as f64,
        Figure::New => row.new_per_s * 1_000.0,
        Figure::Unanswered => outcomes.silent() as f64,
        Figure::Refused => outcomes.refused as f64,
        Figure::Share => outcomes.retransmit_share()? * 100_000.0,
        Figure::Retransmits => outcomes.retransmits() as f64,
    })
}

#[allow(clippy::cast_precision_loss, reason = "what is compared has a few digits")]
fn compare(figure: Figure, comparison: Comparison, value: f64, amount: u64) -> bool {
    comparison.holds(value, amount as f64, figure.unit())
}

/// Names and addresses are shown in whatever case; words are in lower case.
fn has(text: &str, word: &str) -> bool {
    text.contains(word)
        || text.bytes().any(|byte| byte.is_ascii_uppercase()) && text.to_lowercase().contains(word)
}

/// What the peer has beyond the address and the port of an end is an arrow.
fn is_in_addresses(flow: &impl FlowFacts, word: &str) -> bool {
    [flow.remote(), flow.local()].iter().any(|end| has(Short::endpoint(end).text(), word))
        || word.contains('→') && has(Short::of(&flow.peer()).text(), word)
}

/// Addresses cost more to write than all else.
fn may_be_address(word: &str) -> bool {
    word.chars().all(|letter| letter.is_ascii_hexdigit() || ".:[]/→".contains(letter))
}

/// Whoever opens connections to the peer is taken for a client of it.
const fn direction(peer: &PeerKey) -> Role {
    if peer.inbound { Role::Server } else { Role::Client }
}

impl Term {
    fn is_of_flows(&self) -> bool {
        self.test.is_of_flows()
    }
}

impl Test {
    /// Can it be asked of flows only? How many are pending or closed, a row does not tell.
    fn is_of_flows(&self) -> bool {
        match self {
            Self::Local(_) | Self::LocalPort(_) => true,
            Self::Figure { figure, .. } => matches!(figure, Figure::Setup | Figure::Tries),
            Self::Outcome(outcomes) => {
                outcomes.iter().any(|outcome| matches!(outcome, Outcome::Pending | Outcome::Closed))
            }
            Self::Word(_)
            | Self::Peer(_)
            | Self::Port(_)
            | Self::Interface(_)
            | Self::Role(_)
            | Self::Verdict(_) => false,
        }
    }
}

impl super::term::Ends {
    fn holds(&self, end: Endpoint, port: u16) -> bool {
        self.block.contains(end.address) && self.port.is_none_or(|wanted| wanted == port)
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self { terms: parse::terms(text)?, interfaces: BTreeMap::new() })
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

    /// The expression with a mark below what makes no sense, and what was expected there, in three lines. Control
    /// characters are shown as `?`.
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
