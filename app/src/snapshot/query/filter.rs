//! The expression that rows must match.

use core::fmt;
use core::ops::Range;
use core::str::FromStr;
use std::collections::BTreeMap;

use crate::flow::FlowReport;

/// A filter: terms that must all hold, such as `peer:10.0.0.0/8 port:443 p99>50ms !role:server web`.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Filter {
    words: Vec<String>,
}

/// What is wrong with a filter, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterError {
    /// The bytes of the expression that make no sense; empty where something is missing.
    pub at: Range<usize>,
    /// What was expected there, to be read by a person.
    pub expected: String,
}

impl Filter {
    /// Does everything pass?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.words.is_empty()
    }

    /// Looks the names of interfaces up, which terms are compared with from then on. To be called before the filter is
    /// used, and when interfaces come or go.
    pub fn bind(&mut self, _interfaces: &BTreeMap<u32, String>) {}

    /// Does this flow pass?
    #[must_use]
    pub fn matches_flow(&self, _flow: &FlowReport, _now_ns: u64) -> bool {
        true
    }

    /// The terms that speak of single connections and do not restrict the rows of peers.
    pub fn flow_terms(&self) -> impl Iterator<Item = String> {
        core::iter::empty()
    }
}

impl FromStr for Filter {
    type Err = FilterError;

    fn from_str(text: &str) -> Result<Self, Self::Err> {
        Ok(Self { words: text.split_whitespace().map(str::to_owned).collect() })
    }
}

/// The expression again: it parses to an equal filter.
impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.words.join(" "))
    }
}

impl fmt::Display for FilterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {}", self.expected)
    }
}

impl core::error::Error for FilterError {}
