//! One row at length.

use super::figures::{Extent, Figures, Outcomes};
use super::group::RowKey;
use super::known::Look;
use super::latency::Scratch;
use super::past::Past;
use super::query::{FlowOrder, Sort};
use super::rows::Row;
use super::survey::{self, Survey, Wanted};
use super::{Bar, Flows, Interest, Span};
use crate::flow::peer::Peer;
use crate::flow::{FlowReport, FlowTable};

/// With so many peers in the row what is since the start and the past are put together once a second.
const MANY: usize = 256;
const SECOND_NS: u64 = 1_000_000_000;
/// Up to so many flows are all looked at for each picture.
const FEW_FLOWS: usize = 1 << 14;

/// One row at length, with its flows.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// The row itself, within the span of time that was asked for.
    pub row: Row,
    /// The same since the start.
    pub total: Figures,
    /// When it was heard of last, in nanoseconds of the monotonic clock.
    pub last_ns: u64,
    /// Attempts that are unanswered now and not given up.
    pub waiting: u64,
    /// Its flows that match the filter, in the order that was asked for.
    pub flows: Vec<FlowReport>,
    /// How many match, shown or not.
    pub matching: usize,
    /// How many flows it has.
    pub flow_count: usize,
    /// Its round-trip times since the start: how many were how long.
    pub bars: Vec<Bar>,
    /// Its last minutes, where they were asked for.
    pub past: Option<Past>,
}

/// What is kept of a row from one picture to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Chosen {
    long: Option<Long>,
    survey: Survey,
}

/// What takes long to put together.
#[derive(Clone, Debug)]
struct Long {
    key: RowKey,
    at_ns: u64,
    total: Figures,
    bars: Vec<Bar>,
    past: Option<Past>,
}

impl Chosen {
    /// The row at length. `members` are its peers.
    pub(super) fn selection(
        &mut self,
        row: Row,
        members: &[&Peer],
        table: &FlowTable,
        interest: &Interest,
        view: &View<'_>,
        scratch: &mut Scratch,
    ) -> Selection {
        let now_ns = view.look.extent.now_ns;
        let is_current = self.long.as_ref().is_some_and(|long| {
            long.key == row.key
                && members.len() > MANY
                && now_ns.saturating_sub(long.at_ns) < SECOND_NS
                && long.past.is_some() == interest.past
        });
        if !is_current {
            self.long = Some(Long::of(row.key, members, interest, view, scratch));
        }
        let Long { total, bars, past, .. } = self.long.clone().expect("it was made just now, if not before");
        let flow_count = members.iter().map(|peer| table.count_of(&peer.key)).sum();
        let flows = self.flows(&row, members, flow_count, table, interest, view);
        Selection {
            row,
            total,
            last_ns: members.iter().map(|peer| peer.last_ns).max().unwrap_or(0),
            waiting: members.iter().map(|peer| peer.tally.waiting).sum(),
            flows: flows.rows,
            matching: flows.matching,
            flow_count,
            bars,
            past,
        }
    }

    fn flows(
        &mut self,
        row: &Row,
        members: &[&Peer],
        flow_count: usize,
        table: &FlowTable,
        interest: &Interest,
        view: &View<'_>,
    ) -> Flows {
        let query = &interest.query;
        let wanted = Wanted {
            filter: &query.filter,
            sort: query.flow_sort,
            of: Some(row.key),
            limit: interest.selected_flows,
            now_ns: view.look.extent.now_ns,
            verdict: view.verdict,
        };
        let newest_first = Sort { by: FlowOrder::Age, reversed: false };
        match members {
            _ if wanted.limit == 0 => Flows::default(),
            [only] if query.filter.is_empty() && query.flow_sort == newest_first => {
                survey::newest(table.chain_of(only.key), flow_count, &wanted)
            }
            _ if flow_count <= FEW_FLOWS => {
                let flows = members.iter().flat_map(|peer| table.chain_of(peer.key));
                survey::among(flows, table, &wanted)
            }
            _ => self.survey.flows(table, query, &wanted),
        }
    }
}

/// What is known of all peers.
pub(super) struct View<'a> {
    pub(super) look: &'a Look<'a>,
    pub(super) verdict: super::query::filter::VerdictOf<'a>,
    pub(super) started_ns: u64,
}

impl Long {
    fn of(
        key: RowKey,
        members: &[&Peer],
        interest: &Interest,
        view: &View<'_>,
        scratch: &mut Scratch,
    ) -> Self {
        let extent = Extent { span: Span::SinceStart, ..view.look.extent };
        let mut outcomes = Outcomes::default();
        for peer in members {
            outcomes += extent.outcomes(&peer.tally);
            extent.rtts(&peer.tally, scratch);
        }
        let (rtt, bars) = scratch.take_shape();
        let past = interest.past.then(|| {
            let histories = members.iter().map(|peer| peer.tally.history());
            Past::of(histories, view.started_ns, extent.now_ns)
        });
        Self { key, at_ns: extent.now_ns, total: Figures { outcomes, rtt }, bars, past }
    }
}
