//! The figures of groups of peers, kept until one of their peers changes.

use std::collections::HashMap;

use super::figures::{Figures, Period};
use super::held_verdict::{HeldVerdict, deserved};
use super::latency::Scratch;
use super::peer_cache::{CachedPeer, PeerCache, Scan};
use super::peer_row::{Row, Rows, cut_to_first};
use super::rank::RowRank;
use crate::flow::Leg;
use crate::query::{Group, RowKey};
use crate::stats::{Peer, Slow, Stats, Times, Verdict};

/// With more peers than this in the rows their latencies are merged once a second, not for each snapshot.
const MANY: usize = 1_000;
const SECOND_NS: u64 = 1_000_000_000;
/// Odd, with about as many bits set as not: 2^64 divided by the golden ratio.
const SPREAD: u64 = 0x9e37_79b9_7f4a_7c15;

/// One row.
#[derive(Clone, Debug)]
struct GroupRow {
    key: RowKey,
    /// The slots of those of its peers that pass the filter.
    peers: Vec<u32>,
    /// How many peers it has, whether they pass or not.
    known: usize,
    /// The sum of their serial numbers: practically unique to these peers.
    serials: u64,
    /// The last scan that changed one of them.
    changed: u64,
    /// The serials when they were last added up.
    added: u64,
    /// Whether it never had a peer that passes.
    is_new: bool,
    first_ns: u64,
    rank: RowRank,
    held_verdict: HeldVerdict,
    figures: Figures,
}

/// The rows of one grouping.
#[derive(Clone, Debug, Default)]
pub(super) struct GroupCache {
    group: Group,
    rows: Vec<GroupRow>,
    index: HashMap<RowKey, u32>,
    /// By the slot of a peer: its serial number, and the row that it belongs to.
    row_of: Vec<(u64, u32)>,
    /// When the latencies were merged.
    merged_ns: u64,
}

impl GroupCache {
    /// The rows. `peers` were scanned before.
    pub(super) fn rows(
        &mut self,
        peers: &PeerCache,
        scan: &Scan<'_>,
        scratch: &mut Times<Scratch>,
        limit: usize,
    ) -> Rows {
        if core::mem::replace(&mut self.group, scan.query.group) != scan.query.group {
            *self = Self { group: scan.query.group, ..Self::default() };
        }
        self.gather(peers, scan.stats);
        let now_ns = scan.period.now_ns;
        let members: usize = self.rows.iter().map(|row| row.peers.len()).sum();
        let is_due = members <= MANY || now_ns.saturating_sub(self.merged_ns) >= SECOND_NS;
        if is_due {
            self.merged_ns = now_ns;
        }
        for row in &mut self.rows {
            let is_new = !row.peers.is_empty() && core::mem::take(&mut row.is_new);
            // What was before the first scan nobody has judged, neither peers nor rows.
            if is_new && row.peers.len() > 1 && peers.scans > 1 {
                row.judge_past(scan, scratch);
            }
            row.add_up(peers, scan, is_due.then_some(&mut *scratch));
        }
        let passing = (0..).zip(&self.rows).filter(|(_, row)| !row.peers.is_empty());
        let matching = passing.filter(|(_, row)| scan.matches(|| row.row(scan.span_ns)));
        let mut ranks: Vec<(RowRank, u32)> = matching.map(|(index, row)| (row.rank, index)).collect();
        let matching = ranks.len();
        cut_to_first(&mut ranks, limit, scan.query.sort, |index| self.rows[index as usize].key);
        let rows = ranks.iter().map(|(_, index)| self.rows[*index as usize].row(scan.span_ns)).collect();
        Rows { rows, matching, count: self.rows.len() }
    }

    /// The row with this key, if there is one.
    pub(super) fn row(&self, key: &RowKey, span_ns: u64) -> Option<Row> {
        let row = &self.rows[*self.index.get(key)? as usize];
        (!row.peers.is_empty()).then(|| row.row(span_ns))
    }

    /// The peers of a row, also of one that is a single peer.
    pub(super) fn peers_of<'a>(
        &'a self,
        stats: &'a Stats,
        key: &RowKey,
    ) -> impl Iterator<Item = &'a Peer> + Clone {
        let single = if let RowKey::Peer(peer) = key { stats.peer(peer) } else { None };
        let slots = self.index.get(key).map_or(&[][..], |index| &self.rows[*index as usize].peers);
        single.into_iter().chain(slots.iter().filter_map(|slot| stats.peer_in(*slot)))
    }

    /// Assigns peers to rows. A row is removed when none of its peers is known any more, not when none passes the filter.
    fn gather(&mut self, peers: &PeerCache, stats: &Stats) {
        for row in &mut self.rows {
            row.peers.clear();
            (row.known, row.serials, row.changed) = (0, 0, 0);
        }
        for (slot, known) in peers.all() {
            let index = self.row_of(slot, known, stats);
            let row = &mut self.rows[index as usize];
            row.known += 1;
            if !known.passes {
                continue;
            }
            row.peers.push(slot);
            row.serials = row.serials.wrapping_add(known.serial.wrapping_mul(SPREAD));
            row.changed = row.changed.max(known.changed);
        }
        for index in (0..self.rows.len()).rev() {
            if self.rows[index].known == 0 {
                self.remove(index);
            }
        }
    }

    /// Removes an empty row; the last row takes its place.
    fn remove(&mut self, index: usize) {
        let row = self.rows.swap_remove(index);
        self.index.remove(&row.key);
        // Its entries may name the row that was moved.
        self.row_of.clear();
        let Some(moved) = self.rows.get(index) else { return };
        let place = u32::try_from(index).expect("there are no more rows than peers");
        self.index.insert(moved.key, place);
    }

    fn row_of(&mut self, slot: u32, known: &CachedPeer, stats: &Stats) -> u32 {
        let place = slot as usize;
        // Whose the connections of a peer are may change.
        if let Some((serial, index)) = self.row_of.get(place)
            && *serial == known.serial
            && !self.group.is_of_owners()
        {
            return *index;
        }
        let owners = stats.peer_in(slot).map_or_else(Default::default, |peer| peer.owners);
        let key = self.group.row_with(&known.key, owners);
        let index = *self.index.entry(key).or_insert_with(|| {
            self.rows.push(GroupRow::new(key));
            u32::try_from(self.rows.len() - 1).expect("there are no more rows than peers")
        });
        if self.row_of.len() <= place {
            self.row_of.resize(place + 1, (0, 0));
        }
        self.row_of[place] = (known.serial, index);
        index
    }
}

impl GroupRow {
    fn new(key: RowKey) -> Self {
        Self {
            key,
            peers: Vec::new(),
            known: 0,
            serials: 0,
            changed: 0,
            added: 0,
            is_new: true,
            first_ns: 0,
            rank: RowRank::default(),
            held_verdict: HeldVerdict::default(),
            figures: Figures::default(),
        }
    }

    /// Adds the peers up, and merges their latencies if there is a place to.
    fn add_up(&mut self, peers: &PeerCache, scan: &Scan<'_>, scratch: Option<&mut Times<Scratch>>) {
        let has_others = core::mem::replace(&mut self.added, self.serials) != self.serials;
        let is_due = scratch.is_some() || self.held_verdict.is_due(scan.period.now_ns);
        if !has_others && !is_due && self.changed < peers.scans {
            return;
        }
        let known = || self.peers.iter().filter_map(|slot| peers.get(*slot));
        let mut figures = Figures { rtt: self.figures.rtt, setup: self.figures.setup, ..Figures::default() };
        known().for_each(|known| figures.counts += &known.figures.counts);
        figures.refusals = known().filter_map(|known| known.figures.refusals).reduce(Leg::spanning);
        if let [only] = self.peers[..] {
            let only = peers.get(only).map(|known| &known.figures);
            (figures.rtt, figures.setup) = only.map_or((None, None), |only| (only.rtt, only.setup));
        } else if let Some(scratch) = scratch {
            let has_latencies = |slot: &&u32| {
                let known = peers.get(**slot).map(|known| &known.figures);
                known.is_some_and(|figures| figures.rtt.is_some() || figures.setup.is_some())
            };
            for slot in self.peers.iter().filter(has_latencies) {
                let tally = scan.stats.peer_in(*slot).map(|peer| &peer.tally);
                tally.into_iter().for_each(|tally| _ = scan.period.add(tally, scratch));
            }
            (figures.rtt, figures.setup) = (scratch.rtt.take(), scratch.setup.take());
        }
        self.first_ns = known().map(|known| known.first_ns).min().unwrap_or(0);
        self.figures = figures;
        self.held_verdict = self.judged(peers, scan);
        self.rank = RowRank::of(&self.figures, self.held_verdict.worst(), scan.query.sort);
    }

    /// What is wrong with the row now.
    fn judged(&mut self, peers: &PeerCache, scan: &Scan<'_>) -> HeldVerdict {
        let known = self.peers.iter().filter_map(|slot| peers.get(*slot));
        if let ([_], Some(only)) = (&self.peers[..], known.clone().next()) {
            // The same is wrong with it, since the same time.
            return only.held_verdict.clone();
        }
        let members =
            known.map(|known| (&known.held_verdict, known.figures.rtt.map_or(0, |rtt| rtt.samples)));
        let mut held_verdict = core::mem::take(&mut self.held_verdict);
        judge(&mut held_verdict, &self.figures, scan, scan.period.now_ns, &members);
        held_verdict
    }

    /// Judges the row as if its window had always had the length that it has now: slot by slot, with its peers.
    fn judge_past(&mut self, scan: &Scan<'_>, scratch: &mut Times<Scratch>) {
        let members = || self.peers.iter().filter_map(|slot| scan.stats.peer_in(*slot));
        let mut held: Vec<(HeldVerdict, u64)> = members().map(|_| Default::default()).collect();
        let mut merged = Times::default();
        let mut held_verdict = HeldVerdict::default();
        for begin_ns in scan.past_of(members()) {
            let mut sum = Figures::default();
            for (peer, (held, samples)) in members().zip(&mut held) {
                let figures = scan.figures_at(peer, begin_ns, scratch);
                scan.judge(held, peer, &figures, begin_ns);
                *samples = figures.rtt.map_or(0, |rtt| rtt.samples);
                sum.counts += &figures.counts;
                if *samples > 0 {
                    Period { now_ns: begin_ns, ..scan.period }.add(&peer.tally, &mut merged);
                }
            }
            (sum.rtt, sum.setup) = (merged.rtt.take(), merged.setup.take());
            let members = held.iter().map(|(held, samples)| (held, *samples));
            judge(&mut held_verdict, &sum, scan, begin_ns, &members);
        }
        self.held_verdict = held_verdict;
    }

    fn row(&self, span_ns: u64) -> Row {
        let Self { key, peers, first_ns, held_verdict, figures, .. } = self;
        Row::new(*key, peers.len(), *first_ns, held_verdict, figures, span_ns)
    }
}

/// Judges a row by its figures at `now_ns`. Of its peers it takes the verdicts, and how many round-trip times each has.
fn judge<'h>(
    held_verdict: &mut HeldVerdict,
    figures: &Figures,
    scan: &Scan<'_>,
    now_ns: u64,
    members: &(impl Iterator<Item = (&'h HeldVerdict, u64)> + Clone),
) {
    let thresholds = scan.stats.thresholds();
    let mut deserved = deserved(figures, thresholds, thresholds.slow.from_ns(None));
    if let Slow::Usual(_) = thresholds.slow {
        // Each peer has its own median: here a tenth of the handshakes must be with peers that are slow.
        let slow = members.clone().filter(|(held, _)| held.deserves(Verdict::Slow));
        let slow: u64 = slow.map(|(_, samples)| samples).sum();
        let all: u64 = members.clone().map(|(_, samples)| samples).sum();
        deserved[Verdict::Slow as usize] = slow > 0 && slow * 10 >= all;
    }
    let since_ns = |verdict: Verdict| members.clone().filter_map(|(held, _)| held.since_ns(verdict)).min();
    held_verdict.judge(deserved, now_ns, scan.hold_ns(), |verdict| since_ns(verdict).unwrap_or(now_ns));
    // It has the verdict for no less time than any of its peers, whenever somebody first asked for the row.
    held_verdict.begin_by(since_ns);
}
