//! What is known of one peer.

use super::counts::{Counts, PeerEvent};
use super::distribution::{Distribution, Latencies};
use super::history::History;
use super::times::Times;
use super::verdict::{Slow, Verdict};
use super::window::{Slot, Window};
use crate::flow::{Leg, Outcome, PeerKey};

/// What happened within one slot of the window.
#[derive(Clone, Debug, Default)]
struct WindowSlot {
    counts: Counts,
    latencies: Times<Distribution>,
}

impl Slot for WindowSlot {
    fn clear(&mut self) {
        self.counts = Counts::default();
        self.latencies.clear();
    }
}

/// Counts and latencies, of a peer or of all, within the window and since the start.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    window: Window<WindowSlot>,
    since_start: Counts,
    latencies_since_start: Times<Distribution>,
    /// How long refusals took since the start, from the quickest to the slowest.
    refusals: Option<Leg>,
    history: History,
    /// Attempts that are open.
    open: u64,
    /// Those of them that count as unanswered.
    waiting: u64,
}

impl Tally {
    /// Counts what happened at `now_ns`, with window slots `slot_ns` long. Returns whether it takes more or less heap than
    /// before.
    pub(super) fn count(&mut self, event: PeerEvent, now_ns: u64, slot_ns: u64) -> bool {
        match event {
            PeerEvent::Opened => self.open += 1,
            // An evicted peer that comes back does not know of those that were open before.
            PeerEvent::Ended(_) => self.open = self.open.saturating_sub(1),
            PeerEvent::SlowSetup
            | PeerEvent::Stuck
            | PeerEvent::Aborted
            | PeerEvent::Repeated { .. }
            | PeerEvent::Sent(_)
            | PeerEvent::Retransmitted(_) => {}
        }
        self.since_start.count(event);
        if let Some(slot) = self.window.at(now_ns, slot_ns) {
            slot.counts.count(event);
        }
        self.history.count(event, now_ns)
    }

    /// Adds the latencies of a handshake, in nanoseconds, as far as they are known. Returns whether it takes more or less
    /// heap than before.
    pub(super) fn record(&mut self, latencies: Times<Option<u64>>, now_ns: u64, slot_ns: u64) -> bool {
        let since_start = self.latencies_since_start.record(latencies);
        let slot = self.window.at(now_ns, slot_ns);
        let window = slot.is_some_and(|slot| slot.latencies.record(latencies));
        let history = latencies.rtt.is_some_and(|rtt_ns| self.history.record(rtt_ns, now_ns));
        history || window || since_start
    }

    /// One more attempt counts as unanswered, or one fewer.
    pub(super) fn wait(&mut self, begins: bool) {
        self.waiting = if begins { self.waiting + 1 } else { self.waiting.saturating_sub(1) };
    }

    /// Open attempts that count as unanswered.
    pub(crate) const fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Whether a handshake was ever completed since the start.
    pub(super) fn is_proven(&self) -> bool {
        self.since_start.of(Outcome::Established) > 0
    }

    /// Adds the time that a refusal took.
    pub(super) fn refuse(&mut self, refusal: Leg) {
        self.refusals = Some(self.refusals.map_or(refusal, |before| before.spanning(refusal)));
    }

    /// How long refusals took since the start, from the quickest to the slowest.
    pub(crate) const fn refusals(&self) -> Option<Leg> {
        self.refusals
    }

    /// Counts within the window that ends at `now_ns`.
    pub(crate) fn within_window(&self, now_ns: u64, slot_ns: u64) -> Counts {
        let mut sum = Counts::default();
        self.window.live(now_ns, slot_ns).for_each(|slot| sum += &slot.counts);
        self.with_open(sum)
    }

    /// Counts since the start.
    pub(crate) fn since_start(&self) -> Counts {
        self.with_open(self.since_start)
    }

    /// What ended, and what is open.
    fn with_open(&self, mut ended: Counts) -> Counts {
        ended.add(Outcome::Unanswered, self.waiting);
        ended.add(Outcome::Pending, self.open.saturating_sub(self.waiting));
        ended
    }

    /// The latencies within the window, slot by slot.
    pub(crate) fn latencies(&self, now_ns: u64, slot_ns: u64) -> impl Iterator<Item = &Times<Distribution>> {
        self.window.live(now_ns, slot_ns).map(|slot| &slot.latencies)
    }

    /// The latencies since the start.
    pub(crate) const fn latencies_since_start(&self) -> &Times<Distribution> {
        &self.latencies_since_start
    }

    /// The last minutes.
    pub(crate) const fn history(&self) -> &History {
        &self.history
    }

    /// What it takes on the heap, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        let slots: usize = self.window.all().map(|slot| slot.latencies.heap_bytes()).sum();
        slots + self.latencies_since_start.heap_bytes() + self.history.heap_bytes()
    }

    /// Restarts the counts. Which attempts are open and what the last minutes were is no count.
    pub(super) fn reset(&mut self) {
        let history = core::mem::take(&mut self.history);
        *self = Self { open: self.open, waiting: self.waiting, history, ..Self::default() };
    }

    /// Empties the window, because its slots get another length.
    pub(super) fn reset_window(&mut self) {
        self.window = Window::default();
    }
}

/// A series of events that each followed within a window of the one before.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Streak {
    since_ns: u64,
    last_ns: u64,
}

impl Streak {
    /// Adds an event. `is_ongoing` continues the series however long ago the last event was.
    pub(super) fn extend(&mut self, now_ns: u64, window_ns: u64, is_ongoing: bool) {
        if self.last_ns == 0 || (!is_ongoing && now_ns.saturating_sub(self.last_ns) > window_ns) {
            self.since_ns = now_ns;
        }
        self.last_ns = self.last_ns.max(now_ns);
    }

    /// When the series began.
    pub(crate) const fn since_ns(&self) -> u64 {
        self.since_ns
    }
}

/// One peer.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) key: PeerKey,
    pub(crate) tally: Tally,
    /// When each kind of problem began, by [`Verdict`].
    pub(crate) streaks: [Streak; Verdict::ALL.len()],
    /// Its median round-trip time since the start, in nanoseconds. Known only where that decides what is slow.
    pub(crate) usual_ns: Option<u64>,
    /// With so many round-trip times the median is computed again.
    usual_due: u64,
    /// When it was first seen.
    pub(crate) first_ns: u64,
    /// When it was last seen.
    pub(crate) last_ns: u64,
    /// Heap bytes that the budget was charged for.
    pub(super) charged_bytes: usize,
}

impl Peer {
    /// A peer of which nothing is known yet.
    pub(super) fn new(key: PeerKey, now_ns: u64) -> Self {
        Self {
            key,
            tally: Tally::default(),
            streaks: Default::default(),
            usual_ns: None,
            usual_due: Slow::SAMPLES,
            first_ns: now_ns,
            last_ns: now_ns,
            charged_bytes: 0,
        }
    }

    /// Restarts the counts. What is usual stays so until enough was counted.
    pub(super) fn reset(&mut self) {
        self.tally.reset();
        self.usual_due = Slow::SAMPLES;
    }

    /// Computes the median now and then: whenever there are an eighth more samples.
    pub(super) fn learn_usual(&mut self) {
        let samples = self.tally.latencies_since_start().rtt.len();
        if samples >= self.usual_due {
            let mut sum = Latencies::spanning();
            self.tally.latencies_since_start().rtt.merge_into(&mut sum);
            self.usual_ns = Some(sum.quantile_ns(0.5));
            self.usual_due = samples + samples / 8 + 1;
        }
    }
}
