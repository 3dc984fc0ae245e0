//! The rows of the first table, worst first unless another order was asked for.

use core::cmp::Reverse;

use super::group::RowKey;
use super::{Figures, Interest, Span, recent, since_start};
use crate::flow::peer::Peer;
use crate::flow::stats::Stats;
use crate::flow::{Thresholds, Verdict};

/// One peer, or several taken together, within the span of time that was asked for.
#[derive(Clone, Debug, PartialEq)]
pub struct Row {
    /// Who it is.
    pub key: RowKey,
    /// How many peers are in it.
    pub peers: usize,
    /// What is wrong with it, if anything is or was within the last window.
    pub verdict: Option<Verdict>,
    /// It is no longer, and the verdict goes once it was healthy for a whole window.
    pub recovering: bool,
    /// Since when, in nanoseconds of the monotonic clock.
    pub since_ns: Option<u64>,
    /// When it was heard of first, in nanoseconds of the monotonic clock.
    pub first_ns: u64,
    /// Attempts per second.
    pub new_per_s: f64,
    /// Counts and latencies.
    pub figures: Figures,
}

/// The worst rows, as many as asked for, and how many there are in all.
pub(super) fn worst(stats: &Stats, interest: &Interest, span_s: f64, now_ns: u64) -> (Vec<Row>, usize) {
    let figures = |peer: &Peer| match interest.span {
        Span::Window => recent(&peer.tally, stats.slot_ns(), now_ns),
        Span::SinceStart => since_start(&peer.tally),
    };
    let mut rows: Vec<Row> =
        stats.peers().map(|peer| row(peer, figures(peer), stats.thresholds(), span_s)).collect();
    let limit = interest.rows;
    let count = rows.len();
    if limit > 0 && limit < count {
        rows.select_nth_unstable_by_key(limit - 1, rank);
    }
    rows.truncate(limit);
    rows.sort_by_key(rank);
    (rows, count)
}

fn row(peer: &Peer, figures: Figures, thresholds: &Thresholds, span_s: f64) -> Row {
    let verdict = Verdict::ALL.into_iter().find(|&verdict| deserves(&figures, verdict, thresholds, None));
    #[allow(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
    let new_per_s = figures.outcomes.opened as f64 / span_s;
    Row {
        key: RowKey::Peer(peer.key),
        peers: 1,
        verdict,
        recovering: false,
        since_ns: verdict.map(|verdict| peer.streaks[verdict as usize].since_ns()),
        first_ns: peer.first_ns,
        new_per_s,
        figures,
    }
}

fn deserves(figures: &Figures, verdict: Verdict, thresholds: &Thresholds, usual_ns: Option<u64>) -> bool {
    let outcomes = &figures.outcomes;
    match verdict {
        Verdict::NoAnswer => thresholds.unanswered.is_reached_by(outcomes.silent(), outcomes.opened),
        Verdict::Refuses => thresholds.refused.is_reached_by(outcomes.refused, outcomes.opened),
        Verdict::Slow => {
            let slow_ns = thresholds.slow.from_ns(usual_ns);
            figures.rtt.zip(slow_ns).is_some_and(|(rtt, slow_ns)| rtt.p90_ns >= slow_ns)
        }
        Verdict::Loses => thresholds.loss.is_reached_by(outcomes.retransmits(), outcomes.segments()),
    }
}

/// What decides the order: what is wrong, how much of it, how slow, how busy; then who, so that equal
/// rows keep their places.
fn rank(row: &Row) -> (u8, Reverse<u64>, Reverse<u64>, Reverse<u64>, RowKey) {
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
