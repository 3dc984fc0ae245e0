//! Peers taken together.

use std::collections::HashMap;

use super::figures::Figures;
use super::group::{Group, RowKey};
use super::known::{Look, Peers};
use super::latency::Scratch;
use super::rank::{Ranked, RowRank};
use super::rows::{Parts, Row, Rows, first};
use super::standing::{Standing, deserved};
use crate::flow::{Slow, Verdict};

/// With so many peers in the rows their round-trip times are put together once a second, not for each picture.
const MANY: usize = 1_000;
const SECOND_NS: u64 = 1_000_000_000;

/// One row of several peers.
#[derive(Clone, Debug)]
struct Member {
    key: RowKey,
    /// The slots of its peers.
    peers: Vec<u32>,
    first_ns: u64,
    rank: RowRank,
    standing: Standing,
    figures: Figures,
}

/// The rows of one way to group.
#[derive(Clone, Debug, Default)]
pub(super) struct Groups {
    group: Group,
    rows: Vec<Member>,
    index: HashMap<RowKey, u32>,
    /// When the round-trip times were put together.
    timed_ns: u64,
}

impl Groups {
    /// The rows. `peers` were looked at before.
    pub(super) fn rows(
        &mut self,
        peers: &Peers,
        look: &Look<'_>,
        scratch: &mut Scratch,
        limit: usize,
        span_ns: u64,
    ) -> Rows {
        if core::mem::replace(&mut self.group, look.query.group) != look.query.group {
            *self = Self { group: look.query.group, ..Self::default() };
        }
        self.gather(peers);
        let now_ns = look.extent.now_ns;
        let members: usize = self.rows.iter().map(|row| row.peers.len()).sum();
        let is_due = members <= MANY || now_ns.saturating_sub(self.timed_ns) >= SECOND_NS;
        if is_due {
            self.timed_ns = now_ns;
        }
        for row in &mut self.rows {
            row.add_up(peers, look, is_due.then_some(&mut *scratch));
        }
        let filter = &look.query.filter;
        let asks = filter.asks_rows();
        let matching =
            (0..).zip(&self.rows).filter(|(_, row)| !asks || filter.matches_row(&row.row(span_ns), now_ns));
        let mut ranks: Vec<(RowRank, u32)> = matching.map(|(index, row)| (row.rank, index)).collect();
        let matching = ranks.len();
        first(&mut ranks, limit, look.query.sort, |index| self.rows[index as usize].key);
        let rows = ranks.iter().map(|(_, index)| self.rows[*index as usize].row(span_ns)).collect();
        Rows { rows, matching, count: self.rows.len() }
    }

    /// The row of this key, if there is one.
    pub(super) fn row(&self, key: &RowKey, span_ns: u64) -> Option<Row> {
        Some(self.rows[*self.index.get(key)? as usize].row(span_ns))
    }

    /// The slots of the peers of a row.
    pub(super) fn members(&self, key: &RowKey) -> &[u32] {
        self.index.get(key).map_or(&[], |index| &self.rows[*index as usize].peers)
    }

    /// Who belongs to which row. A row that nobody belongs to goes.
    fn gather(&mut self, peers: &Peers) {
        self.rows.iter_mut().for_each(|row| row.peers.clear());
        for (slot, known) in peers.passing() {
            let key = self.group.row(&known.key);
            let index = *self.index.entry(key).or_insert_with(|| {
                self.rows.push(Member::new(key));
                u32::try_from(self.rows.len() - 1).expect("there are no more rows than peers")
            });
            self.rows[index as usize].peers.push(slot);
        }
        if self.rows.iter().any(|row| row.peers.is_empty()) {
            self.rows.retain(|row| !row.peers.is_empty());
            self.index = self.rows.iter().map(|row| row.key).zip(0..).collect();
        }
    }
}

impl Member {
    fn new(key: RowKey) -> Self {
        Self {
            key,
            peers: Vec::new(),
            first_ns: 0,
            rank: RowRank::default(),
            standing: Standing::default(),
            figures: Figures::default(),
        }
    }

    /// Adds the peers up, and their round-trip times if it is time for them.
    fn add_up(&mut self, peers: &Peers, look: &Look<'_>, scratch: Option<&mut Scratch>) {
        let known = || self.peers.iter().filter_map(|slot| peers.get(*slot));
        let mut figures = Figures { rtt: self.figures.rtt, ..Figures::default() };
        known().for_each(|known| figures.outcomes += known.figures.outcomes);
        if let [only] = self.peers[..] {
            figures.rtt = peers.get(only).and_then(|known| known.figures.rtt);
        } else if let Some(scratch) = scratch {
            for slot in self
                .peers
                .iter()
                .filter(|slot| peers.get(**slot).is_some_and(|known| known.figures.rtt.is_some()))
            {
                let tally = look.stats.peer_in(*slot).map(|peer| &peer.tally);
                tally.into_iter().for_each(|tally| look.extent.rtts(tally, scratch));
            }
            figures.rtt = scratch.take();
        }
        self.first_ns = known().map(|known| known.first_ns).min().unwrap_or(0);
        self.figures = figures;
        self.judge(peers, look);
        let ranked = Ranked { figures: &self.figures, verdict: self.standing.worst() };
        self.rank = RowRank::of(&ranked, look.query.sort);
    }

    fn judge(&mut self, peers: &Peers, look: &Look<'_>) {
        let thresholds = look.stats.thresholds();
        let known = || self.peers.iter().filter_map(|slot| peers.get(*slot));
        let mut deserved = deserved(&self.figures, thresholds, thresholds.slow.from_ns(None));
        if let Slow::Usual(_) = thresholds.slow {
            // What is usual is each peer's own: here a tenth of the handshakes must be with those that are slow.
            let samples = |known: &super::known::Known| known.figures.rtt.map_or(0, |rtt| rtt.samples);
            let slow: u64 = known().filter(|known| known.standing.deserves(Verdict::Slow)).map(samples).sum();
            let all: u64 = known().map(samples).sum();
            deserved[Verdict::Slow as usize] = slow > 0 && slow * 10 >= all;
        }
        let now_ns = look.extent.now_ns;
        let since_ns = |verdict: Verdict| {
            let failing = known().filter_map(|known| known.standing.worst());
            let since = failing.filter(|(worst, _)| *worst == verdict).map(|(_, since_ns)| since_ns);
            since.min().unwrap_or(now_ns)
        };
        let mut standing = self.standing;
        standing.judge(deserved, now_ns, look.hold_ns(), since_ns);
        self.standing = standing;
    }

    fn row(&self, span_ns: u64) -> Row {
        let Self { key, first_ns, standing, figures, .. } = self;
        Parts { key: *key, peers: self.peers.len(), first_ns: *first_ns, standing, figures, span_ns }.row()
    }
}
