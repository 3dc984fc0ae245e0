//! One row at length.

use super::figures::{Figures, Outcomes, Period};
use super::flow_scan::{self, FlowScan, Wanted};
use super::group::RowKey;
use super::latency::Scratch;
use super::peer_cache::Look;
use super::query::{FlowOrder, Sort};
use super::rows::Row;
use super::timeline::Timeline;
use super::{Bar, Flows, SnapshotRequest, Span};
use crate::table::peer::Peer;
use crate::table::{FlowReport, FlowTable};

/// Up to so many peers in the row all of it is put together for each snapshot.
const FEW_PEERS: usize = 32;
/// Of more, what is since the start and the past are put together once a second, and of very many later still.
const PATIENCE_NS: u64 = 1_000_000_000;
const PATIENCE_PEERS: u64 = 2_000;
/// Of up to so many peers the newest flows are found one by one.
const SOME_PEERS: usize = 1_024;
/// Up to so many flows are all looked at for each snapshot.
const FEW_FLOWS: usize = 1 << 13;

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
    /// How far the search for them has come, as in [`Flows`].
    pub searched: f64,
    /// How many flows it has.
    pub flow_count: usize,
    /// Its round-trip times since the start: how many were how long.
    pub bars: Vec<Bar>,
    /// Its last minutes, where they were asked for.
    pub past: Option<Timeline>,
}

/// What is kept of a row from one snapshot to the next.
#[derive(Clone, Debug, Default)]
pub(super) struct Chosen {
    long: Option<Long>,
    flow_scan: FlowScan,
}

/// What takes long to put together.
#[derive(Clone, Debug)]
struct Long {
    key: RowKey,
    at_ns: u64,
    last_ns: u64,
    waiting: u64,
    flow_count: usize,
    total: Figures,
    bars: Vec<Bar>,
    past: Option<Timeline>,
}

impl Chosen {
    /// The row at length. `members` are its peers.
    pub(super) fn selection(
        &mut self,
        row: Row,
        members: &[&Peer],
        table: &FlowTable,
        request: &SnapshotRequest,
        view: &View<'_>,
        scratch: &mut Scratch,
    ) -> Selection {
        let now_ns = view.look.period.now_ns;
        let patience_ns = PATIENCE_NS * (members.len() as u64 / PATIENCE_PEERS).clamp(1, 10);
        let is_current = |long: &Long| {
            long.key == row.key
                && members.len() > FEW_PEERS
                && now_ns.saturating_sub(long.at_ns) < patience_ns
                && long.past.is_some() == request.past
        };
        let long = self.long.take().filter(is_current);
        let long = long.unwrap_or_else(|| Long::of(row.key, members, table, request, view, scratch));
        self.long = Some(long.clone());
        let Long { total, last_ns, waiting, flow_count, bars, past, .. } = long;
        let flows = self.flows(&row, members, flow_count, table, request, view);
        Selection {
            row,
            total,
            last_ns,
            waiting,
            flows: flows.rows,
            matching: flows.matching,
            searched: flows.searched,
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
        request: &SnapshotRequest,
        view: &View<'_>,
    ) -> Flows {
        let query = &request.query;
        let wanted = Wanted {
            filter: &query.filter,
            sort: query.flow_sort,
            of: Some(row.key),
            limit: request.selected_flows,
            now_ns: view.look.period.now_ns,
            verdict: view.verdict,
        };
        let newest_first = Sort { by: FlowOrder::Age, reversed: false };
        match members {
            _ if wanted.limit == 0 => Flows::default(),
            some if some.len() <= SOME_PEERS
                && query.filter.is_empty()
                && query.flow_sort == newest_first =>
            {
                flow_scan::newest(some.iter().map(|peer| peer.key), table, flow_count, &wanted)
            }
            _ if flow_count <= FEW_FLOWS => {
                let flows = members.iter().flat_map(|peer| table.chain_of(peer.key));
                flow_scan::among(flows, table, &wanted)
            }
            _ => self.flow_scan.flows(table, query, &wanted),
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
        table: &FlowTable,
        request: &SnapshotRequest,
        view: &View<'_>,
        scratch: &mut Scratch,
    ) -> Self {
        let period = Period { span: Span::SinceStart, ..view.look.period };
        let mut outcomes = Outcomes::default();
        for peer in members {
            outcomes += period.outcomes(&peer.tally);
            period.rtts(&peer.tally, scratch);
        }
        let (rtt, bars) = scratch.take_shape();
        let past = request.past.then(|| {
            let histories = members.iter().map(|peer| peer.tally.history());
            Timeline::of(histories, view.started_ns, period.now_ns)
        });
        Self {
            key,
            at_ns: period.now_ns,
            last_ns: members.iter().map(|peer| peer.last_ns).max().unwrap_or(0),
            waiting: members.iter().map(|peer| peer.tally.waiting).sum(),
            flow_count: members.iter().map(|peer| table.count_of(&peer.key)).sum(),
            total: Figures { outcomes, rtt },
            bars,
            past,
        }
    }
}
