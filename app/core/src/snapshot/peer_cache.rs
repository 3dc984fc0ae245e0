//! What was found out of each peer, kept until it changes: of ten thousand peers few do from one snapshot to the next.

use super::Span;
use super::figures::{Figures, Period};
use super::held_verdict::{HeldVerdict, deserved};
use super::latency::Scratch;
use super::query::Query;
use super::rank::{Ranked, RowRank};
use crate::table::peer::Peer;
use crate::table::stats::Stats;
use crate::table::{PeerKey, Verdict};

/// One peer.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) key: PeerKey,
    pub(super) first_ns: u64,
    /// No two that are or were known have the same.
    pub(super) serial: u64,
    /// The look that found it changed last.
    pub(super) changed: u64,
    /// The peer's stamp when it was looked at.
    stamp: u64,
    /// Is it one of those that rows are made of?
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
pub(super) struct Peers {
    known: Vec<Option<Known>>,
    /// What the ranks and the passing depend on.
    query: Query,
    span: Span,
    /// The number of the window's slot that was under way.
    slide: u64,
    /// How many looks there were.
    pub(super) looks: u64,
    serials: u64,
    /// The verdicts that changed with the last look.
    pub(super) changes: Vec<Change>,
}

/// What one look at the peers finds them by.
pub(super) struct Look<'a> {
    pub(super) stats: &'a Stats,
    pub(super) query: &'a Query,
    pub(super) period: Period,
}

/// What is wrong with a peer within the window that ends at `now_ns`, whatever was before.
#[must_use]
pub(crate) fn verdict(stats: &Stats, peer: &PeerKey, now_ns: u64) -> Option<Verdict> {
    let peer = stats.peer(peer)?;
    let period = Period { span: Span::Window, slot_ns: stats.slot_ns(), now_ns };
    let figures = period.figures(&peer.tally, &mut Scratch::default());
    let slow_ns = stats.thresholds().slow.from_ns(peer.usual_ns);
    let deserved = deserved(&figures, stats.thresholds(), slow_ns);
    Verdict::ALL.into_iter().find(|verdict| deserved[*verdict as usize])
}

impl Look<'_> {
    /// For how long a verdict is held that is no longer deserved.
    pub(super) const fn hold_ns(&self) -> u64 {
        match self.period.span {
            Span::Window => self.stats.window_ns(),
            Span::SinceStart => 0,
        }
    }
}

impl Default for Peers {
    fn default() -> Self {
        Self {
            known: Vec::new(),
            query: Query::default(),
            span: Span::Window,
            slide: 0,
            looks: 0,
            serials: 0,
            changes: Vec::new(),
        }
    }
}

impl Peers {
    /// Finds out anew what has changed.
    pub(super) fn look(&mut self, look: &Look<'_>, scratch: &mut Scratch) {
        let Look { stats, query, period } = look;
        if core::mem::replace(&mut self.span, period.span) != period.span {
            // Of another span nothing holds: neither figures nor verdicts.
            self.known.clear();
        }
        let slid = core::mem::replace(&mut self.slide, period.slide()) != period.slide();
        let refiltered = query.filter != self.query.filter;
        let resorted = query.sort != self.query.sort;
        self.query.clone_from(query);
        self.changes.clear();
        self.looks += 1;
        self.known.resize(stats.stamps().len(), None);
        for ((slot, known), &stamp) in (0..).zip(&mut self.known).zip(stats.stamps()) {
            let is_stale = known.as_ref().is_none_or(|known| known.stamp != stamp);
            if is_stale
                || refiltered
                || known.as_ref().is_some_and(|known| known.may_change(slid, period.now_ns))
                || resorted
            {
                let Some(peer) = stats.peer_in(slot) else {
                    *known = None;
                    continue;
                };
                let is_other = known.as_ref().is_none_or(|known| known.key != peer.key);
                let known = match known {
                    Some(known) if !is_other => known,
                    _ => {
                        self.serials += 1;
                        known.insert(Known::new(peer, self.serials))
                    }
                };
                if is_other || refiltered {
                    known.passes = query.filter.matches_peer(&known.key);
                }
                if is_stale || slid {
                    known.stamp = stamp;
                    known.figures = period.figures(&peer.tally, scratch);
                }
                self.changes.extend(known.judge(peer, look));
                known.changed = self.looks;
                known.rank = RowRank::of(&known.ranked(), query.sort);
            }
        }
    }

    /// Every peer, with its slot.
    pub(super) fn all(&self) -> impl Iterator<Item = (u32, &Known)> {
        (0..).zip(&self.known).filter_map(|(slot, known)| Some((slot, known.as_ref()?)))
    }

    /// Every peer that rows are made of, with its slot.
    pub(super) fn passing(&self) -> impl Iterator<Item = (u32, &Known)> {
        self.all().filter(|(_, known)| known.passes)
    }

    pub(super) fn get(&self, slot: u32) -> Option<&Known> {
        self.known.get(slot as usize)?.as_ref()
    }

    /// The verdict on a peer.
    pub(super) fn verdict(&self, stats: &Stats, peer: &PeerKey) -> Option<Verdict> {
        let known = self.get(stats.slot_of(peer)?)?;
        known.held_verdict.worst().map(|(verdict, _)| verdict)
    }
}

impl Known {
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

    /// Can it be another without a change of the peer? Figures change when the window slides, verdicts go with time.
    fn may_change(&self, slid: bool, now_ns: u64) -> bool {
        slid && !self.figures.outcomes.is_nothing() || self.held_verdict.is_due(now_ns)
    }

    fn judge(&mut self, peer: &Peer, look: &Look<'_>) -> Option<Change> {
        let now_ns = look.period.now_ns;
        let thresholds = look.stats.thresholds();
        let before = self.held_verdict.worst().map(|(verdict, _)| verdict);
        let slow_ns = thresholds.slow.from_ns(peer.usual_ns);
        let since_ns = |verdict: Verdict| match peer.streaks[verdict as usize].since_ns() {
            0 => now_ns,
            since_ns => since_ns,
        };
        self.held_verdict.judge(
            deserved(&self.figures, thresholds, slow_ns),
            now_ns,
            look.hold_ns(),
            since_ns,
        );
        let after = self.held_verdict.worst().map(|(verdict, _)| verdict);
        (before != after).then_some(Change { peer: self.key, before, after })
    }

    fn ranked(&self) -> Ranked<'_> {
        Ranked { figures: &self.figures, verdict: self.held_verdict.worst() }
    }
}
