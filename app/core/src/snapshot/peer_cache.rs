//! The figures of each peer, kept until they change: of ten thousand peers few do from one snapshot to the next.

use super::Span;
use super::figures::{Figures, Period};
use super::held_verdict::{Deserved, HeldVerdict, deserved};
use super::latency::Scratch;
use super::rank::RowRank;
use crate::drops::Drops;
use crate::flow::{PeerKey, Role};
use crate::query::{BoundFilter, Query};
use crate::stats::{Peer, Stats, Streak, Times, Verdict, View};
use crate::why::{Signs, Why};

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
    pub(super) why: Option<Why>,
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
    view: Option<View>,
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
    /// What the host itself dropped, where that is known.
    pub(super) drops: Option<&'a Drops>,
}

/// What is wrong with a peer within the window that ends at `now_ns`, whatever was before.
pub(crate) fn verdict(stats: &Stats, view: &View, peer: &PeerKey, now_ns: u64) -> Option<Verdict> {
    let peer = stats.peer(peer)?;
    let period = Period { span: Span::Window, view: *view, now_ns };
    let figures = period.figures(&peer.tally, &mut Times::default());
    let deserved = deserved_by(peer, &figures, stats);
    Verdict::ALL.into_iter().find(|verdict| deserved[*verdict as usize])
}

/// Which verdicts' conditions hold for a peer with these figures.
fn deserved_by(peer: &Peer, figures: &Figures, stats: &Stats) -> Deserved {
    deserved(figures, stats.thresholds(), stats.thresholds().slow.from_ns(peer.usual_ns))
}

impl Scan<'_> {
    /// For how long a verdict is held without its condition.
    pub(super) const fn hold_ns(&self) -> u64 {
        match self.period.span {
            Span::Window => self.period.view.window.length_ns(),
            Span::SinceStart => 0,
        }
    }

    /// The beginnings of the slots whose ends these peers have to be judged at to know what recovers, the oldest first. None
    /// where nothing was wrong so lately that it could.
    pub(super) fn past_of<'p>(&self, peers: impl IntoIterator<Item = &'p Peer>) -> impl Iterator<Item = u64> {
        let Period { span, view, now_ns } = self.period;
        let within_ns = 2 * view.window.length_ns();
        let is_recent = |streak: &Streak| now_ns.saturating_sub(streak.last_ns()) <= within_ns;
        let mut streaks = peers.into_iter().flat_map(|peer| &peer.streaks);
        let is_wanted = span == Span::Window && streaks.any(is_recent);
        is_wanted.then(|| view.window.earlier_ns(now_ns)).into_iter().flatten()
    }

    /// The figures of a peer as they were at the end of the slot that begins at `begin_ns`.
    pub(super) fn figures_at(&self, peer: &Peer, begin_ns: u64, scratch: &mut Times<Scratch>) -> Figures {
        let ended = Period { now_ns: begin_ns, ..self.period }.add(&peer.tally, scratch);
        let counts = peer.tally.with_open_at(self.period.view.window.ends_ns(begin_ns), ended);
        let (rtt, setup) = (scratch.rtt.take(), scratch.setup.take());
        Figures { counts, rtt, setup, refusals: None }
    }

    /// Judges a peer by its figures as they were at `now_ns`.
    pub(super) fn judge(&self, held_verdict: &mut HeldVerdict, peer: &Peer, figures: &Figures, now_ns: u64) {
        let view = self.period.view;
        let since_ns = |verdict: Verdict| {
            let since_ns =
                peer.streaks[verdict as usize].since_ns(view.window.length_ns(), view.window.ends_ns(now_ns));
            view.since_ns(since_ns.unwrap_or(now_ns))
        };
        let deserved = deserved_by(peer, figures, self.stats);
        held_verdict.judge(deserved, now_ns, self.hold_ns(), since_ns);
    }
}

impl Default for PeerCache {
    fn default() -> Self {
        Self {
            peers: Vec::new(),
            query: Query::default(),
            is_refiltered: false,
            span: Span::Window,
            view: None,
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
    pub(super) fn scan(&mut self, scan: &Scan<'_>, scratch: &mut Times<Scratch>) {
        let Scan { stats, query, filter, period, .. } = scan;
        if core::mem::replace(&mut self.span, period.span) != period.span {
            // Neither figures nor verdicts of another span are of use.
            self.peers.clear();
        }
        // Without figures of another view there is nothing to correct.
        let is_other_view = self.view.replace(period.view).is_some_and(|view| view != period.view);
        let slid = is_other_view | (core::mem::replace(&mut self.slide, period.slide()) != period.slide());
        let refiltered = core::mem::take(&mut self.is_refiltered) || query.filter != self.query.filter;
        let resorted = query.sort != self.query.sort;
        self.query.clone_from(query);
        self.changes.clear();
        self.scans += 1;
        self.peers.resize(stats.stamps().len(), None);
        for ((slot, cached), &stamp) in (0..).zip(&mut self.peers).zip(stats.stamps()) {
            let is_stale = cached.as_ref().is_none_or(|cached| cached.stamp != stamp);
            let may_change = cached.as_ref().is_some_and(|cached| cached.may_change(slid, period.now_ns));
            if !(is_stale || refiltered || may_change || resorted || is_other_view) {
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
            let before = cached.worst();
            if is_other_view {
                cached.held_verdict = HeldVerdict::default();
                cached.judge_past(peer, scan, scratch);
            }
            scan.judge(&mut cached.held_verdict, peer, &cached.figures, period.now_ns);
            let after = cached.worst();
            cached.why = after.and_then(|verdict| cached.signs(peer, scan).why(verdict));
            self.changes.extend((before != after).then_some(Change { peer: cached.key, before, after }));
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
        cached.worst()
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
            why: None,
            figures: Figures::default(),
        }
    }

    /// Whether it may change although the peer did not: figures change when the window slides, verdicts clear with time.
    fn may_change(&self, slid: bool, now_ns: u64) -> bool {
        slid && !self.figures.counts.is_empty() || self.held_verdict.is_due(now_ns)
    }

    /// What explains its verdict.
    fn signs(&self, peer: &Peer, scan: &Scan<'_>) -> Signs<'_> {
        let begin_ns = scan.period.begins_ns();
        let is_served_here = matches!(self.key.role, Role::Server | Role::Local);
        let drops = scan.drops.filter(|_| is_served_here);
        Signs {
            role: self.key.role,
            counts: &self.figures.counts,
            drops: drops.map(|drops| drops.syns_to(self.key.service.port, begin_ns)).unwrap_or_default(),
            icmp: peer.icmp.as_ref().map(|error| error.reason),
            resets: [Verdict::Refused, Verdict::Aborted].map(|verdict| peer.resets.since(verdict, begin_ns)),
            is_queue_full: peer.accept_queue.is_some_and(|queue| queue.at_ns >= begin_ns),
        }
    }

    fn worst(&self) -> Option<Verdict> {
        self.held_verdict.worst().map(|(verdict, _)| verdict)
    }

    /// Judges a peer as if its window had always had the length that it has now: slot by slot, so that what recovers is known.
    fn judge_past(&mut self, peer: &Peer, scan: &Scan<'_>, scratch: &mut Times<Scratch>) {
        for begin_ns in scan.past_of([peer]) {
            let figures = scan.figures_at(peer, begin_ns, scratch);
            scan.judge(&mut self.held_verdict, peer, &figures, begin_ns);
        }
    }
}
