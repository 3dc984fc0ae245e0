//! The figures of each peer, kept until they change: of ten thousand peers few do from one snapshot to the next.

use super::Span;
use super::figures::{Figures, Period};
use super::held_verdict::{HeldVerdict, deserved};
use super::latency::Scratch;
use super::rank::RowRank;
use crate::flow::PeerKey;
use crate::query::{BoundFilter, Query};
use crate::stats::{Peer, Stats, Verdict};

/// One peer.
#[derive(Clone, Debug)]
pub(super) struct CachedPeer {
    pub(super) key: PeerKey,
    pub(super) first_ns: u64,
    /// Unique among all that are or were cached.
    pub(super) serial: u64,
    /// The scan that changed it last.
    pub(super) changed: u64,
    /// The peer's stamp when its figures were computed.
    stamp: u64,
    /// Whether it is one of those that rows are made of.
    pub(super) passes: bool,
    pub(super) rank: RowRank,
    pub(super) held_verdict: HeldVerdict,
    pub(super) figures: Figures,
}

/// The verdict on a peer has changed.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Change {
    pub(super) peer: PeerKey,
    pub(super) before: Option<Verdict>,
    pub(super) after: Option<Verdict>,
}

/// All peers, by their slots in the statistics.
#[derive(Clone, Debug)]
pub(super) struct PeerCache {
    peers: Vec<Option<CachedPeer>>,
    /// What the ranks and `passes` depend on.
    query: Query,
    is_refiltered: bool,
    span: Span,
    /// The number of the window's current slot.
    slide: u64,
    /// How many scans there were.
    pub(super) scans: u64,
    serials: u64,
    /// The verdicts that changed with the last scan.
    pub(super) changes: Vec<Change>,
}

/// What one scan of the peers depends on.
pub(super) struct Scan<'a> {
    pub(super) stats: &'a Stats,
    pub(super) query: &'a Query,
    pub(super) filter: BoundFilter<'a>,
    pub(super) period: Period,
    /// Length of the time that rows cover.
    pub(super) span_ns: u64,
}

/// What is wrong with a peer within the window that ends at `now_ns`, whatever was before.
pub(crate) fn verdict(stats: &Stats, peer: &PeerKey, now_ns: u64) -> Option<Verdict> {
    let peer = stats.peer(peer)?;
    let period = Period { span: Span::Window, slot_ns: stats.slot_ns(), now_ns };
    let figures = period.figures(&peer.tally, &mut Scratch::default());
    let slow_ns = stats.thresholds().slow.from_ns(peer.usual_ns);
    let deserved = deserved(&figures, stats.thresholds(), slow_ns);
    Verdict::ALL.into_iter().find(|verdict| deserved[*verdict as usize])
}

impl Scan<'_> {
    /// For how long a verdict is held without its condition.
    pub(super) const fn hold_ns(&self) -> u64 {
        match self.period.span {
            Span::Window => self.stats.window_ns(),
            Span::SinceStart => 0,
        }
    }
}

impl Default for PeerCache {
    fn default() -> Self {
        Self {
            peers: Vec::new(),
            query: Query::default(),
            is_refiltered: false,
            span: Span::Window,
            slide: 0,
            scans: 0,
            serials: 0,
            changes: Vec::new(),
        }
    }
}

impl PeerCache {
    /// Has the next scan apply the filter to every peer.
    pub(super) const fn refilter(&mut self) {
        self.is_refiltered = true;
    }

    /// Computes what has changed.
    pub(super) fn scan(&mut self, scan: &Scan<'_>, scratch: &mut Scratch) {
        let Scan { stats, query, filter, period, .. } = scan;
        if core::mem::replace(&mut self.span, period.span) != period.span {
            // Neither figures nor verdicts of another span are of use.
            self.peers.clear();
        }
        let slid = core::mem::replace(&mut self.slide, period.slide()) != period.slide();
        let refiltered = core::mem::take(&mut self.is_refiltered) || query.filter != self.query.filter;
        let resorted = query.sort != self.query.sort;
        self.query.clone_from(query);
        self.changes.clear();
        self.scans += 1;
        self.peers.resize(stats.stamps().len(), None);
        for ((slot, cached), &stamp) in (0..).zip(&mut self.peers).zip(stats.stamps()) {
            let is_stale = cached.as_ref().is_none_or(|cached| cached.stamp != stamp);
            let may_change = cached.as_ref().is_some_and(|cached| cached.may_change(slid, period.now_ns));
            if !(is_stale || refiltered || may_change || resorted) {
                continue;
            }
            let Some(peer) = stats.peer_in(slot) else {
                *cached = None;
                continue;
            };
            let is_other = cached.as_ref().is_none_or(|cached| cached.key != peer.key);
            let cached = match cached {
                Some(cached) if !is_other => cached,
                _ => {
                    self.serials += 1;
                    cached.insert(CachedPeer::new(peer, self.serials))
                }
            };
            if is_other || refiltered || is_stale && filter.has_owners() {
                cached.passes = filter.matches_peer(&cached.key, &peer.processes);
            }
            if is_stale || slid {
                cached.stamp = stamp;
                cached.figures = period.figures(&peer.tally, scratch);
            }
            self.changes.extend(cached.judge(peer, scan));
            cached.changed = self.scans;
            cached.rank = RowRank::of(&cached.figures, cached.held_verdict.worst(), query.sort);
        }
    }

    /// Every peer, with its slot.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &CachedPeer)> {
        (0..).zip(&self.peers).filter_map(|(slot, cached)| Some((slot, cached.as_ref()?)))
    }

    pub(super) fn get(&self, slot: u32) -> Option<&CachedPeer> {
        self.peers.get(slot as usize)?.as_ref()
    }

    /// The verdict on a peer.
    pub(super) fn verdict(&self, stats: &Stats, peer: &PeerKey) -> Option<Verdict> {
        let cached = self.get(stats.slot_of(peer)?)?;
        cached.held_verdict.worst().map(|(verdict, _)| verdict)
    }
}

impl CachedPeer {
    fn new(peer: &Peer, serial: u64) -> Self {
        Self {
            key: peer.key,
            first_ns: peer.first_ns,
            serial,
            changed: 0,
            stamp: 0,
            passes: false,
            rank: RowRank::default(),
            held_verdict: HeldVerdict::default(),
            figures: Figures::default(),
        }
    }

    /// Whether it may change although the peer did not: figures change when the window slides, verdicts clear with time.
    fn may_change(&self, slid: bool, now_ns: u64) -> bool {
        slid && !self.figures.counts.is_empty() || self.held_verdict.is_due(now_ns)
    }

    fn judge(&mut self, peer: &Peer, scan: &Scan<'_>) -> Option<Change> {
        let now_ns = scan.period.now_ns;
        let thresholds = scan.stats.thresholds();
        let worst = |held: &HeldVerdict| held.worst().map(|(verdict, _)| verdict);
        let before = worst(&self.held_verdict);
        let slow_ns = thresholds.slow.from_ns(peer.usual_ns);
        let since_ns = |verdict: Verdict| match peer.streaks[verdict as usize].since_ns() {
            0 => now_ns,
            since_ns => since_ns,
        };
        let deserved = deserved(&self.figures, thresholds, slow_ns);
        self.held_verdict.judge(deserved, now_ns, scan.hold_ns(), since_ns);
        let after = worst(&self.held_verdict);
        (before != after).then_some(Change { peer: self.key, before, after })
    }
}
