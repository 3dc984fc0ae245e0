//! What is wrong with a row over time: a verdict clears after one full window without its condition.

use core::num::NonZeroU64;

use super::Figures;
use crate::flow::Outcome;
use crate::stats::{Thresholds, Verdict};
use crate::units::Share;

const VERDICTS: usize = Verdict::ALL.len();

/// Which verdicts' conditions hold for a row at one moment, by [`Verdict`].
pub(super) type Deserved = [bool; VERDICTS];

/// Verdicts on a row at one moment, and since when they apply, in nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Verdicts([Option<NonZeroU64>; VERDICTS]);

impl Verdicts {
    /// Each of them, and since when, the worst first.
    pub fn iter(&self) -> impl Iterator<Item = (Verdict, u64)> {
        let present = Verdict::ALL.into_iter().zip(self.0);
        present.filter_map(|(verdict, since_ns)| Some((verdict, since_ns?.get())))
    }
}

/// The verdicts on one row over time. Small where there are none, as on most of ten thousand peers.
#[derive(Clone, Debug, Default)]
pub(super) struct HeldVerdict {
    trouble: Option<Box<Trouble>>,
    /// When none of the conditions held, while there is no trouble, as far as it was judged.
    healthy_ns: u64,
}

/// Some verdict applies.
#[derive(Clone, Debug)]
struct Trouble {
    held: [Option<Held>; VERDICTS],
    /// When the condition of each last did not hold, as far as it was judged; 0 when it always held.
    healthy_ns: [u64; VERDICTS],
}

/// A verdict that applies. Times are nanoseconds of the monotonic clock.
#[derive(Clone, Copy, Debug)]
struct Held {
    since_ns: u64,
    /// Until when; `None` while its condition holds.
    until_ns: Option<u64>,
}

/// Which verdicts' conditions hold for these figures, when round-trip times of `slow_ns` and more are slow.
pub(super) fn deserved(figures: &Figures, thresholds: &Thresholds, slow_ns: Option<u64>) -> Deserved {
    let counts = &figures.counts;
    let is_enough = |sample: u64| sample >= thresholds.min_attempts;
    let of_attempts = |share: Share, some: u64| {
        is_enough(counts.attempts()) && share.is_reached_by(some, counts.attempts())
    };
    Verdict::ALL.map(|verdict| match verdict {
        Verdict::Unanswered => of_attempts(thresholds.unanswered, counts.unanswered()),
        Verdict::Failed => of_attempts(thresholds.failed, counts.of(Outcome::FailedLocally)),
        Verdict::Unreachable => of_attempts(thresholds.unreachable, counts.of(Outcome::Unreachable)),
        Verdict::Refused => of_attempts(thresholds.refused, counts.of(Outcome::Refused)),
        Verdict::Aborted => of_attempts(thresholds.aborted, counts.aborted),
        Verdict::SlowSetup => {
            let established = counts.of(Outcome::Established);
            is_enough(counts.slow_setups)
                && Thresholds::SLOW_SETUP_SHARE.is_reached_by(counts.slow_setups, established)
        }
        Verdict::Slow => figures
            .rtt
            .zip(slow_ns)
            .is_some_and(|(rtt, slow_ns)| is_enough(rtt.samples) && rtt.p90_ns >= slow_ns),
        Verdict::Loss => {
            let lost = counts.lost();
            is_enough(lost) && thresholds.loss.is_reached_by(lost, counts.segments())
        }
    })
}

impl HeldVerdict {
    /// Applies the verdicts whose conditions hold at `now_ns`, and holds the others for another `hold_ns`. `since_ns` returns
    /// when the problem behind a verdict began; the time in which it was too small for the verdict does not count.
    pub(super) fn judge(
        &mut self,
        deserved: Deserved,
        now_ns: u64,
        hold_ns: u64,
        since_ns: impl Fn(Verdict) -> u64,
    ) {
        if self.trouble.is_none() && !deserved.contains(&true) {
            self.healthy_ns = now_ns;
            return;
        }
        let healthy_ns = [self.healthy_ns; VERDICTS];
        let trouble =
            self.trouble.get_or_insert_with(|| Box::new(Trouble { held: [None; VERDICTS], healthy_ns }));
        for verdict in Verdict::ALL {
            let held = &mut trouble.held[verdict as usize];
            *held = match (deserved[verdict as usize], held.take()) {
                (true, Some(Held { since_ns, .. })) => Some(Held { since_ns, until_ns: None }),
                (true, None) => {
                    let since_ns = since_ns(verdict).max(trouble.healthy_ns[verdict as usize]);
                    Some(Held { since_ns, until_ns: None })
                }
                (false, Some(Held { since_ns, until_ns })) => {
                    let until_ns = until_ns.unwrap_or_else(|| now_ns.saturating_add(hold_ns));
                    Some(Held { since_ns, until_ns: Some(until_ns) }).filter(|_| until_ns > now_ns)
                }
                (false, None) => None,
            };
            if !deserved[verdict as usize] {
                trouble.healthy_ns[verdict as usize] = now_ns;
            }
        }
        if trouble.held.iter().all(Option::is_none) {
            (self.trouble, self.healthy_ns) = (None, now_ns);
        }
    }

    /// The worst one whose condition holds, else the worst one that is held, and since when it applies.
    pub(super) fn worst(&self) -> Option<(Verdict, u64)> {
        self.trouble.as_ref()?;
        self.present().iter().next().or_else(|| self.recovering().iter().next())
    }

    /// Those that are held without their conditions.
    pub(super) fn recovering(&self) -> Verdicts {
        self.those(|held| held.until_ns.is_some())
    }

    fn those(&self, are_wanted: impl Fn(&Held) -> bool) -> Verdicts {
        // Half as large as without `NonZeroU64`: rows are copied often. Time 0 becomes 1 ns.
        let since = |held: Held| NonZeroU64::new(held.since_ns).unwrap_or(NonZeroU64::MIN);
        let Some(trouble) = &self.trouble else { return Verdicts::default() };
        Verdicts(trouble.held.map(|held| held.filter(&are_wanted).map(since)))
    }

    /// Those whose conditions hold.
    pub(super) fn present(&self) -> Verdicts {
        self.those(|held| held.until_ns.is_none())
    }

    pub(super) fn deserves(&self, verdict: Verdict) -> bool {
        self.held(verdict).is_some_and(|held| held.until_ns.is_none())
    }

    /// Since when a verdict applies, whether its condition holds or not.
    pub(super) fn since_ns(&self, verdict: Verdict) -> Option<u64> {
        self.held(verdict).map(|held| held.since_ns)
    }

    fn held(&self, verdict: Verdict) -> Option<Held> {
        self.trouble.as_ref()?.held[verdict as usize]
    }

    /// Has each verdict that applies begin no later than `since_ns` says of it.
    pub(super) fn begin_by(&mut self, since_ns: impl Fn(Verdict) -> Option<u64>) {
        let Some(trouble) = &mut self.trouble else { return };
        for (verdict, held) in Verdict::ALL.into_iter().zip(&mut trouble.held) {
            if let (Some(held), Some(since_ns)) = (held, since_ns(verdict)) {
                held.since_ns = held.since_ns.min(since_ns);
            }
        }
    }

    /// Whether one clears by now, even if nothing has changed.
    pub(super) fn is_due(&self, now_ns: u64) -> bool {
        let held = self.trouble.iter().flat_map(|trouble| trouble.held.iter().flatten());
        held.into_iter().any(|held| held.until_ns.is_some_and(|until_ns| until_ns <= now_ns))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NOTHING: Deserved = [false; VERDICTS];
    const SILENT: Deserved = only(&[Verdict::Unanswered]);
    const SLOW: Deserved = only(&[Verdict::Slow]);

    const fn only(verdicts: &[Verdict]) -> Deserved {
        let (mut deserved, mut at) = (NOTHING, 0);
        while at < verdicts.len() {
            deserved[verdicts[at] as usize] = true;
            at += 1;
        }
        deserved
    }

    fn judged(held_verdict: &mut HeldVerdict, deserved: Deserved, now_ns: u64) -> (Option<Verdict>, bool) {
        held_verdict.judge(deserved, now_ns, 10, |_| now_ns - 1);
        let is_recovering = held_verdict.present().iter().next().is_none();
        let worst = held_verdict.worst().map(|(verdict, _)| verdict);
        (worst, worst.is_some() && is_recovering)
    }

    #[test]
    fn a_verdict_clears_after_a_full_window_without_its_condition() {
        let mut held_verdict = HeldVerdict::default();
        assert_eq!(judged(&mut held_verdict, NOTHING, 100), (None, false));
        assert_eq!(judged(&mut held_verdict, SILENT, 101), (Some(Verdict::Unanswered), false));
        assert_eq!(judged(&mut held_verdict, NOTHING, 105), (Some(Verdict::Unanswered), true));
        assert_eq!(judged(&mut held_verdict, SILENT, 106), (Some(Verdict::Unanswered), false));
        assert_eq!(judged(&mut held_verdict, NOTHING, 115), (Some(Verdict::Unanswered), true));
        assert_eq!(judged(&mut held_verdict, NOTHING, 124), (Some(Verdict::Unanswered), true));
        assert_eq!(held_verdict.worst(), Some((Verdict::Unanswered, 100)), "since it began");
        assert!(!held_verdict.is_due(124) && held_verdict.is_due(125));
        assert_eq!(judged(&mut held_verdict, NOTHING, 125), (None, false));
    }

    #[test]
    fn too_little_of_it_does_not_count() {
        let mut held_verdict = HeldVerdict::default();
        let mut judge = |deserved, now_ns| {
            held_verdict.judge(deserved, now_ns, 10, |_| 7);
            held_verdict.worst()
        };
        assert_eq!(judge(NOTHING, 90), None);
        assert_eq!(judge(NOTHING, 100), None);
        assert_eq!(judge(SLOW, 101), Some((Verdict::Slow, 100)));
        assert_eq!(judge(NOTHING, 105), Some((Verdict::Slow, 100)));
        assert_eq!(judge(SLOW, 106), Some((Verdict::Slow, 100)), "the same trouble still");
        let mut new = HeldVerdict::default();
        new.judge(SLOW, 101, 10, |_| 7);
        assert_eq!(new.worst(), Some((Verdict::Slow, 7)), "nobody looked before");
    }

    #[test]
    fn one_that_recovers_hides_none_that_is_present() {
        let mut held_verdict = HeldVerdict::default();
        assert_eq!(judged(&mut held_verdict, SLOW, 100), (Some(Verdict::Slow), false));
        assert_eq!(judged(&mut held_verdict, SILENT, 101), (Some(Verdict::Unanswered), false));
        assert_eq!(judged(&mut held_verdict, SLOW, 102), (Some(Verdict::Slow), false));
        let recovering: Vec<_> = held_verdict.recovering().iter().collect();
        assert_eq!(recovering, [(Verdict::Unanswered, 100)]);
        assert_eq!(judged(&mut held_verdict, SLOW, 112), (Some(Verdict::Slow), false));
        assert_eq!(held_verdict.recovering().iter().count(), 0);
        assert_eq!(held_verdict.worst(), Some((Verdict::Slow, 99)));
        held_verdict.judge(NOTHING, 113, 10, |_| 0);
        assert_eq!(held_verdict.worst(), Some((Verdict::Slow, 99)), "of those that recover the worst");
    }

    #[test]
    fn those_that_are_present_are_all_named() {
        let mut held_verdict = HeldVerdict::default();
        held_verdict.judge(SILENT, 100, 10, |_| 90);
        held_verdict.judge(only(&[Verdict::Refused, Verdict::Slow]), 102, 10, |_| 101);
        let present: Vec<_> = held_verdict.present().iter().collect();
        assert_eq!(present, [(Verdict::Refused, 101), (Verdict::Slow, 101)], "the first one is recovering");
    }
}
