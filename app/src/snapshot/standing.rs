//! What is wrong with a row, and for how long it stays so: a verdict goes once it was not deserved for a whole window.

use super::Figures;
use crate::flow::{Thresholds, Verdict};

const VERDICTS: usize = Verdict::ALL.len();

/// Which verdicts a row deserves at one moment, by [`Verdict`].
pub(super) type Deserved = [bool; VERDICTS];

/// The verdicts on one row over time.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Standing {
    /// Until when each is held, in nanoseconds of the monotonic clock, and since when it has been.
    held: [Option<(u64, u64)>; VERDICTS],
    deserved: Deserved,
}

/// Which verdicts these figures deserve, when what is slow is slow from `slow_ns` on.
pub(super) fn deserved(figures: &Figures, thresholds: &Thresholds, slow_ns: Option<u64>) -> Deserved {
    let outcomes = &figures.outcomes;
    Verdict::ALL.map(|verdict| match verdict {
        Verdict::NoAnswer => thresholds.unanswered.is_reached_by(outcomes.silent(), outcomes.opened),
        Verdict::Refuses => thresholds.refused.is_reached_by(outcomes.refused, outcomes.opened),
        Verdict::Slow => figures.rtt.zip(slow_ns).is_some_and(|(rtt, slow_ns)| rtt.p90_ns >= slow_ns),
        Verdict::Loses => thresholds.loss.is_reached_by(outcomes.retransmits(), outcomes.segments()),
    })
}

impl Standing {
    /// Takes what is deserved at `now_ns`, and holds it for `hold_ns`. `since_ns` tells when the trouble behind a verdict
    /// began.
    pub(super) fn judge(
        &mut self,
        deserved: Deserved,
        now_ns: u64,
        hold_ns: u64,
        since_ns: impl Fn(Verdict) -> u64,
    ) {
        self.deserved = deserved;
        for verdict in Verdict::ALL {
            let held = &mut self.held[verdict as usize];
            if deserved[verdict as usize] {
                let since_ns = held.map_or_else(|| since_ns(verdict), |(_, since_ns)| since_ns);
                *held = Some((now_ns.saturating_add(hold_ns), since_ns));
            } else if held.is_some_and(|(until_ns, _)| until_ns <= now_ns) {
                *held = None;
            }
        }
    }

    /// The worst one, and since when it has been.
    pub(super) fn worst(&self) -> Option<(Verdict, u64)> {
        Verdict::ALL.into_iter().find_map(|verdict| Some((verdict, self.held[verdict as usize]?.1)))
    }

    /// Is the worst one held, but no longer deserved?
    pub(super) fn is_recovering(&self) -> bool {
        self.worst().is_some_and(|(verdict, _)| !self.deserves(verdict))
    }

    pub(super) const fn deserves(&self, verdict: Verdict) -> bool {
        self.deserved[verdict as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Deserved = [false; VERDICTS];
    const SILENT: Deserved = [true, false, false, false];
    const SLOW: Deserved = [false, false, true, false];

    fn judged(standing: &mut Standing, deserved: Deserved, now_ns: u64) -> (Option<Verdict>, bool) {
        standing.judge(deserved, now_ns, 10, |_| now_ns - 1);
        (standing.worst().map(|(verdict, _)| verdict), standing.is_recovering())
    }

    #[test]
    fn a_verdict_stays_until_it_was_not_deserved_for_a_whole_window() {
        let mut standing = Standing::default();
        assert_eq!(judged(&mut standing, NOTHING, 100), (None, false));
        assert_eq!(judged(&mut standing, SILENT, 101), (Some(Verdict::NoAnswer), false));
        assert_eq!(judged(&mut standing, NOTHING, 105), (Some(Verdict::NoAnswer), true));
        assert_eq!(judged(&mut standing, SILENT, 106), (Some(Verdict::NoAnswer), false));
        assert_eq!(judged(&mut standing, NOTHING, 115), (Some(Verdict::NoAnswer), true));
        assert_eq!(standing.worst(), Some((Verdict::NoAnswer, 100)), "since it began");
        assert_eq!(judged(&mut standing, NOTHING, 116), (None, false));
    }

    #[test]
    fn the_worse_one_is_shown_while_it_is_held() {
        let mut standing = Standing::default();
        assert_eq!(judged(&mut standing, SLOW, 100), (Some(Verdict::Slow), false));
        assert_eq!(judged(&mut standing, SILENT, 101), (Some(Verdict::NoAnswer), false));
        assert_eq!(judged(&mut standing, SLOW, 102), (Some(Verdict::NoAnswer), true));
        assert_eq!(judged(&mut standing, SLOW, 111), (Some(Verdict::Slow), false));
        assert_eq!(standing.worst(), Some((Verdict::Slow, 99)));
    }
}
