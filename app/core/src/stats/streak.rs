//! Since when a problem has gone on: the answer depends on how long a pause ends it, which is the window of who asks.

/// Pauses that are remembered: each is shorter than the one before, so that there are rarely more than three.
const KEPT: usize = 8;
/// No window is so short that a shorter pause would matter.
const SHORTEST_NS: u64 = 200_000_000;

/// The events of one kind of problem, as series for any window: a series is events that each followed within a window of the
/// one before.
#[derive(Clone, Debug, Default)]
pub(crate) struct Streak {
    /// Events before which nothing had happened for a while, and for how long, in nanoseconds; the oldest first. One that a
    /// longer pause followed starts no series that still goes on.
    starts: Vec<(u64, u64)>,
    last_ns: u64,
}

impl Streak {
    /// Adds an event. `is_ongoing` continues the series however long ago the last event was. Returns whether it takes more or
    /// less heap than before.
    pub(super) fn extend(&mut self, now_ns: u64, is_ongoing: bool) -> bool {
        let pause_ns = match self.starts.first() {
            None => u64::MAX,
            Some(_) if is_ongoing => 0,
            Some(_) => now_ns.saturating_sub(self.last_ns),
        };
        self.last_ns = self.last_ns.max(now_ns);
        if pause_ns <= SHORTEST_NS {
            return false;
        }
        let capacity = self.starts.capacity();
        self.starts.retain(|(_, before_ns)| *before_ns > pause_ns);
        if self.starts.len() == KEPT {
            self.starts.remove(0);
        }
        if self.starts.is_empty() {
            self.starts.reserve_exact(1);
        }
        self.starts.push((now_ns, pause_ns));
        self.starts.capacity() != capacity
    }

    /// When the series began that went on or was the last at `now_ns`, with pauses of `window_ns` at most; `None` if that is not
    /// known.
    pub(crate) fn since_ns(&self, window_ns: u64, now_ns: u64) -> Option<u64> {
        let mut starts = self.starts.iter().filter(|(since_ns, _)| *since_ns <= now_ns);
        let start = starts.clone().rev().find(|(_, pause_ns)| *pause_ns > window_ns);
        start.or_else(|| starts.next()).map(|(since_ns, _)| *since_ns)
    }

    /// When the last event was; 0 before the first.
    pub(crate) const fn last_ns(&self) -> u64 {
        self.last_ns
    }

    pub(super) const fn heap_bytes(&self) -> usize {
        self.starts.capacity() * size_of::<(u64, u64)>()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const S: u64 = 1_000_000_000;

    fn streak(events_s: &[u64]) -> Streak {
        let mut streak = Streak::default();
        events_s.iter().for_each(|at_s| _ = streak.extend(at_s * S, false));
        streak
    }

    #[test]
    fn a_pause_of_more_than_a_window_ends_a_series() {
        let streak = streak(&[100, 101, 120, 125, 126, 140, 141, 143, 144]);
        let since_s = |window_s: u64| streak.since_ns(window_s * S, 150 * S).map(|ns| ns / S);
        assert_eq!(
            [1, 2, 5, 13, 14, 18, 19, 100].map(since_s),
            [143, 140, 140, 140, 120, 120, 100, 100].map(Some)
        );
        assert_eq!(streak.since_ns(5 * S, 130 * S), Some(120 * S), "as it was then");
        assert_eq!(streak.since_ns(5 * S, 99 * S), None);
    }

    #[test]
    fn it_agrees_with_counting() {
        let mut random: u64 = 1;
        for _ in 0..200 {
            let mut events = vec![1_000];
            for _ in 0..30 {
                random =
                    random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                events.push(events.last().unwrap() + 1 + (random >> 60));
            }
            let streak = streak(&events);
            for window_s in 1..20 {
                let pauses = events.windows(2).rev();
                let since = pauses.clone().find(|pair| pair[1] - pair[0] > window_s).map(|pair| pair[1]);
                assert_eq!(
                    streak.since_ns(window_s * S, u64::MAX),
                    Some(since.unwrap_or(events[0]) * S),
                    "{events:?}"
                );
            }
        }
    }

    #[test]
    fn one_that_is_ongoing_has_no_pause() {
        let mut streak = streak(&[100]);
        streak.extend(200 * S, true);
        assert_eq!(streak.since_ns(S, 200 * S), Some(100 * S));
    }

    #[test]
    fn few_pauses_are_remembered() {
        let mut at_s = 0;
        let mut streak = Streak::default();
        for pause_s in (1..100).rev() {
            at_s += pause_s;
            streak.extend(at_s * S, false);
        }
        assert_eq!(streak.starts.len(), KEPT);
        assert_eq!(streak.since_ns(1_000 * S, u64::MAX), Some((at_s - 28) * S), "no earlier than is known");
    }
}
