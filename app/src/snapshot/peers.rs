//! The rows of the peers table, worst first.

use core::cmp::Reverse;

use super::{Figures, Interest, Span, recent, since_start};
use crate::flow::peer::{Peer, PeerKey, Verdict};
use crate::flow::stats::Stats;

/// One peer, within the span of time that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct PeerRow {
    /// Who it is.
    pub key: PeerKey,
    /// What is wrong with it, if anything is.
    pub verdict: Option<Verdict>,
    /// Since when, in nanoseconds of the monotonic clock.
    pub since_ns: Option<u64>,
    /// Attempts per second.
    pub new_per_s: f64,
    /// Counts and latencies.
    pub figures: Figures,
}

/// The worst peers, as many as asked for, and how many there are in all.
pub(super) fn worst(stats: &Stats, interest: &Interest, span_s: f64, now_ns: u64) -> (Vec<PeerRow>, usize) {
    let figures = |peer: &Peer| match interest.span {
        Span::Window => recent(&peer.tally, stats.slot_ns(), now_ns),
        Span::SinceStart => since_start(&peer.tally),
    };
    let mut rows: Vec<PeerRow> =
        stats.peers().map(|peer| row(peer, figures(peer), stats.slow_ns(), span_s)).collect();
    let limit = interest.peer_rows;
    let count = rows.len();
    if limit > 0 && limit < count {
        rows.select_nth_unstable_by_key(limit - 1, rank);
    }
    rows.truncate(limit);
    rows.sort_by_key(rank);
    (rows, count)
}

fn row(peer: &Peer, figures: Figures, slow_ns: u64, span_s: f64) -> PeerRow {
    let verdict = Verdict::ALL.into_iter().find(|&verdict| deserves(&figures, verdict, slow_ns));
    #[allow(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
    let new_per_s = figures.outcomes.opened as f64 / span_s;
    PeerRow {
        key: peer.key,
        verdict,
        since_ns: verdict.map(|verdict| peer.streaks[verdict as usize].since_ns()),
        new_per_s,
        figures,
    }
}

/// A tenth of the attempts make a verdict: one that is late must not stand for a hundred that are not. Of segments one
/// in a hundred does: a SYN that is sent again costs a second, data a round trip at the least.
fn deserves(figures: &Figures, verdict: Verdict, slow_ns: u64) -> bool {
    let outcomes = &figures.outcomes;
    let share = |count: u64, parts: u64| count > 0 && count.saturating_mul(parts) >= outcomes.opened;
    match verdict {
        Verdict::NoAnswer => share(outcomes.silent(), 10),
        Verdict::Refuses => share(outcomes.refused, 10),
        Verdict::Slow => figures.rtt.is_some_and(|rtt| rtt.p90_ns >= slow_ns),
        Verdict::Loses => {
            let retransmits = outcomes.retransmits();
            retransmits > 0 && retransmits.saturating_mul(100) >= outcomes.segments()
        }
    }
}

/// What decides the order: what is wrong, how much of it, how slow, how busy; then who, so that equal
/// rows keep their places.
fn rank(row: &PeerRow) -> (u8, Reverse<u64>, Reverse<u64>, Reverse<u64>, PeerKey) {
    let outcomes = &row.figures.outcomes;
    let p99_ns = row.figures.rtt.map_or(0, |rtt| rtt.p99_ns);
    let how_much = match row.verdict {
        Some(Verdict::NoAnswer) => outcomes.silent(),
        Some(Verdict::Refuses) => outcomes.refused,
        Some(Verdict::Slow) => p99_ns,
        Some(Verdict::Loses) => outcomes.retransmits(),
        None => outcomes.opened,
    };
    let what = row.verdict.map_or(u8::MAX, |verdict| verdict as u8);
    (what, Reverse(how_much), Reverse(p99_ns), Reverse(outcomes.opened), row.key)
}
