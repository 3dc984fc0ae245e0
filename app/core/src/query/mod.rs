//! What of a snapshot is wanted: which rows, grouped how, in which order. One place, so that all outputs agree.

mod filter;
mod group;
mod nearest;
mod order;
mod parse;
mod short_text;
mod term;

pub(crate) use filter::{BoundFilter, RowFacts, VerdictOf};
pub use filter::{Filter, FilterError};
pub use group::{Group, RowKey};
pub use order::{FlowOrder, RowOrder, Sort};

/// Which rows, in which order.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Query {
    /// What a row must match to be shown.
    pub filter: Filter,
    /// How peers are grouped.
    pub group: Group,
    /// The order of the rows of the first table.
    pub sort: Sort<RowOrder>,
    /// The order of the rows of flows.
    pub flow_sort: Sort<FlowOrder>,
}
