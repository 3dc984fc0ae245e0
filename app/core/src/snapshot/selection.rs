//! One row in detail.

use super::figures::{Figures, Period};
use super::flow_scan::{self, FlowScan, Wanted};
use super::latency::Scratch;
use super::peer_cache::Scan;
use super::peer_row::Row;
use super::snapshotter::Seen;
use super::timeline::Timeline;
use super::{Bar, Flows, SnapshotRequest, Span};
use crate::flow::Flow;
use crate::query::{FlowOrder, RowKey, Sort, VerdictOf};
use crate::stats::{Counts, Latency, Peer, Times};

/// With up to so many peers in the row all of it is computed for each snapshot.
const FEW_PEERS: usize = 32;
/// With more, what covers the time since the start and the timeline are computed once a second, and with very many later
/// still.
const KEPT_NS: u64 = 1_000_000_000;
const KEPT_PEERS: u64 = 2_000;
/// With up to so many peers the newest flows are taken from each peer's own.
const SOME_PEERS: usize = 1_024;
/// Up to so many flows are all tested for each snapshot.
const FEW_FLOWS: usize = 1 << 13;

/// One row in detail, with its flows.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// The row itself, within the span of time that was requested.
    pub row: Row,
    /// The same since the start.
    pub total: Figures,
    /// When it was last seen, in nanoseconds of the monotonic clock.
    pub last_ns: u64,
    /// Attempts that are unanswered now and not given up.
    pub waiting: u64,
    /// Its flows that match the filter, in the order that was requested.
    pub flows: Vec<Flow>,
    /// How many match, shown or not.
    pub matching: usize,
    /// How much was searched for them, as in [`Flows`].
    pub searched: f64,
    /// How many flows it has.
    pub flow_count: usize,
    /// Histogram of its round-trip times since the start.
    pub bars: Vec<Bar>,
    /// The same of its setup times.
    pub setup_bars: Vec<Bar>,
    /// Its timeline, if requested.
    pub timeline: Option<Timeline>,
}

impl Selection {
    /// The histogram of one latency since the start.
    #[must_use]
    pub fn bars(&self, latency: Latency) -> &[Bar] {
        match latency {
            Latency::Rtt => &self.bars,
            Latency::Setup => &self.setup_bars,
        }
    }
}

/// What is kept of a row from one snapshot to the next.
#[derive(Debug, Default)]
pub(super) struct SelectionCache {
    expensive: Option<Expensive>,
    flow_scan: FlowScan,
}

/// What takes long to compute.
#[derive(Clone, Debug)]
struct Expensive {
    key: RowKey,
    at_ns: u64,
    last_ns: u64,
    waiting: u64,
    flow_count: usize,
    total: Figures,
    bars: Vec<Bar>,
    setup_bars: Vec<Bar>,
    timeline: Option<Timeline>,
}

/// The row that is wanted in detail.
pub(super) struct Selected<'a> {
    pub(super) row: Row,
    /// Its peers.
    pub(super) members: &'a [&'a Peer],
    pub(super) verdict: VerdictOf<'a>,
}

impl SelectionCache {
    pub(super) fn take(
        &mut self,
        selected: &Selected<'_>,
        seen: &Seen<'_>,
        scan: &Scan<'_>,
        request: &SnapshotRequest,
        scratch: &mut Times<Scratch>,
    ) -> Selection {
        let Selected { row, members, .. } = selected;
        let now_ns = scan.period.now_ns;
        let kept_ns = KEPT_NS * (members.len() as u64 / KEPT_PEERS).clamp(1, 10);
        let is_current = |expensive: &Expensive| {
            expensive.key == row.key
                && members.len() > FEW_PEERS
                && now_ns.saturating_sub(expensive.at_ns) < kept_ns
                && expensive.timeline.is_some() == request.timeline
        };
        let expensive = self.expensive.take().filter(is_current);
        let expensive = expensive.unwrap_or_else(|| Expensive::of(selected, seen, scan, request, scratch));
        self.expensive = Some(expensive.clone());
        let flows = self.flows(selected, expensive.flow_count, seen, scan, request);
        let Flows { rows: flows, matching, searched } = flows;
        let Expensive { total, last_ns, waiting, flow_count, bars, setup_bars, timeline, .. } = expensive;
        Selection {
            row: *row,
            total,
            last_ns,
            waiting,
            flows,
            matching,
            searched,
            flow_count,
            bars,
            setup_bars,
            timeline,
        }
    }

    fn flows(
        &mut self,
        selected: &Selected<'_>,
        flow_count: usize,
        seen: &Seen<'_>,
        scan: &Scan<'_>,
        request: &SnapshotRequest,
    ) -> Flows {
        let (query, table) = (&request.query, seen.table);
        let wanted = Wanted {
            filter: scan.filter,
            sort: query.flow_sort,
            of: Some(selected.row.key),
            limit: request.selected_flows,
            now_ns: scan.period.now_ns,
            verdict: selected.verdict,
            owners: &|peer| scan.stats.peer(peer).map_or_else(Default::default, |peer| peer.owners),
        };
        let is_newest_first = query.flow_sort == Sort { by: FlowOrder::Age, reversed: false };
        match selected.members {
            _ if wanted.limit == 0 => Flows::default(),
            some if some.len() <= SOME_PEERS && wanted.filter.is_empty() && is_newest_first => {
                flow_scan::newest(some.iter().map(|peer| peer.key), table, flow_count, &wanted)
            }
            members if flow_count <= FEW_FLOWS => {
                let flows = members.iter().flat_map(|peer| table.flows_of(peer.key));
                flow_scan::among(flows, table, &wanted)
            }
            _ => self.flow_scan.flows(table, query, &wanted),
        }
    }
}

impl Expensive {
    fn of(
        Selected { row, members, .. }: &Selected<'_>,
        seen: &Seen<'_>,
        scan: &Scan<'_>,
        request: &SnapshotRequest,
        scratch: &mut Times<Scratch>,
    ) -> Self {
        let period = Period { span: Span::SinceStart, ..scan.period };
        let mut counts = Counts::default();
        for peer in *members {
            counts += &peer.tally.with_open(period.add(&peer.tally, scratch));
        }
        let ((rtt, bars), (setup, setup_bars)) =
            (scratch.rtt.take_with_bars(), scratch.setup.take_with_bars());
        let timeline = request.timeline.then(|| {
            let tallies = members.iter().map(|peer| &peer.tally);
            Timeline::of(tallies, seen.run.started_ns, period.now_ns)
        });
        Self {
            key: row.key,
            at_ns: period.now_ns,
            last_ns: members.iter().map(|peer| peer.last_ns).max().unwrap_or(0),
            waiting: members.iter().map(|peer| peer.tally.waiting()).sum(),
            flow_count: members.iter().map(|peer| seen.table.count_of(&peer.key)).sum(),
            total: Figures {
                counts,
                rtt,
                setup,
                refusals: period.refusals(members.iter().map(|peer| &peer.tally)),
            },
            bars,
            setup_bars,
            timeline,
        }
    }
}
