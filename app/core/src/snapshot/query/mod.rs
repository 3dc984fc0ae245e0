//! What of the snapshot is wanted: which rows, taken together how, in which order. One home, so that the screen, text
//! lines, JSON and reports agree.

pub mod facts;
pub mod filter;
mod nearest;
pub mod order;
mod parse;
mod short;
mod term;

pub use facts::FlowFacts;
pub use filter::{Filter, FilterError};
pub use order::{FlowOrder, RowOrder, Sort};

use super::group::Group;

/// Which rows, in which order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// What a row must be to be shown; an empty one lets everything pass.
    pub filter: Filter,
    /// What peers are taken together by.
    pub group: Group,
    /// The order of the rows of the first table.
    pub sort: Sort<RowOrder>,
    /// The order of the rows of flows.
    pub flow_sort: Sort<FlowOrder>,
}
