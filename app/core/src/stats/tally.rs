//! Counts and latencies of a peer or of all, as any reader wants them: since it restarted its counts, and within its window.

use super::addresses::{Addresses, Estimate};
use super::counts::{Counts, Number, PeerEvent};
use super::distribution::Distribution;
use super::history::{History, Part};
use super::times::Times;
use super::window::Window;
use crate::flow::{Leg, Outcome};

/// What a reader sees: a length of the window, and since when it counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct View {
    /// Its sliding window.
    pub(crate) window: Window,
    /// The first era that it counts.
    pub(crate) era: u32,
    /// When that began, in nanoseconds.
    pub(crate) counted_ns: u64,
}

impl View {
    /// When trouble began that began at `since_ns`, as far as the reader counts.
    pub(crate) fn since_ns(&self, since_ns: u64) -> u64 {
        if self.era == 0 { since_ns } else { since_ns.max(self.counted_ns) }
    }

    /// How much time its window covers when it ends at `now_ns`, in nanoseconds, at least 1 s.
    pub(crate) fn covered_ns(&self, now_ns: u64) -> u64 {
        self.window.covered_ns(self.counted_ns, now_ns)
    }
}

/// What happened between two moments at which readers restarted their counts.
#[derive(Clone, Debug, Default)]
pub(crate) struct Era {
    pub(crate) counts: Counts,
    pub(crate) latencies: Times<Distribution>,
    /// How long refusals took, from the quickest to the slowest.
    refusals: Option<Leg>,
    history: History,
    /// The addresses of strangers, where those are added up.
    addresses: Option<Box<Addresses>>,
}

impl Era {
    fn is_empty(&self) -> bool {
        self.counts.is_empty() && self.history.is_empty()
    }

    fn absorb(&mut self, later: &Self) {
        self.counts += &later.counts;
        self.latencies.absorb(&later.latencies);
        self.refusals = self.refusals.into_iter().chain(later.refusals).reduce(Leg::spanning);
        self.history.absorb(&later.history);
        if let Some(addresses) = &later.addresses {
            self.addresses.get_or_insert_default().absorb(addresses);
        }
    }

    /// Takes back one of what was counted at `at_ns`. Returns whether it was counted here.
    fn take_back(&mut self, number: Number, at_ns: u64) -> bool {
        let is_counted = self.counts.take_back(number);
        if is_counted {
            self.history.take_back(number, at_ns);
        }
        is_counted
    }

    fn heap_bytes(&self) -> usize {
        self.latencies.heap_bytes() + self.history.heap_bytes()
    }
}

/// Counts and latencies, of a peer or of all. Each is kept once, in the era in which it happened.
#[derive(Clone, Debug, Default)]
pub(crate) struct Tally {
    current: Era,
    /// Earlier ones with their numbers, the oldest first, without those in which nothing happened.
    earlier: Vec<(u32, Era)>,
    /// Attempts that are open.
    open: u64,
    /// Those of them that count as unanswered.
    waiting: u64,
}

impl Tally {
    /// That of all peers together.
    pub(super) fn of_all() -> Self {
        Self { current: Era { history: History::of_all(), ..Era::default() }, ..Self::default() }
    }

    /// Counts what happened at `now_ns`. Returns whether it takes more or less heap than before.
    pub(crate) fn count(&mut self, event: PeerEvent, now_ns: u64) -> bool {
        match event {
            PeerEvent::Opened => self.open += 1,
            // An evicted peer that comes back does not know of those that were open before.
            PeerEvent::Ended(_) => self.open = self.open.saturating_sub(1),
            PeerEvent::Waits { begins: true } => self.waiting += 1,
            PeerEvent::Waits { begins: false } => self.waiting = self.waiting.saturating_sub(1),
            PeerEvent::SlowSetup
            | PeerEvent::Aborted
            | PeerEvent::Stuck
            | PeerEvent::Caused { .. }
            | PeerEvent::Spurious { .. }
            | PeerEvent::Repeated { .. }
            | PeerEvent::Sent(_)
            | PeerEvent::Retransmitted { .. } => {}
        }
        self.current.counts.count(event);
        self.current.history.count(event, now_ns)
    }

    /// Counts what happened to a connection whose handshake ended in this era, at `now_ns`, with that handshake, if it was
    /// counted here. Returns as [`count`](Self::count).
    pub(super) fn count_later(&mut self, event: PeerEvent, era: u32, current: u32, now_ns: u64) -> bool {
        if era == current {
            return self.count(event, now_ns);
        }
        self.era_mut(era, current).is_some_and(|era| {
            era.counts.count(event);
            era.history.count(event, now_ns)
        })
    }

    /// What was counted in an era.
    fn era_mut(&mut self, era: u32, current: u32) -> Option<&mut Era> {
        if era == current {
            return Some(&mut self.current);
        }
        // It may be part of an earlier one by now.
        self.earlier.iter_mut().rev().find(|(number, _)| *number <= era).map(|(_, era)| era)
    }

    /// Takes back that an attempt ended in this era, at `at_ns`, as if it had not: it is open again, and waits again if it did
    /// until then. Returns whether it was counted here.
    pub(super) fn reopen(&mut self, outcome: Outcome, era: u32, current: u32, at_ns: u64) -> bool {
        let Some(era) = self.era_mut(era, current) else { return false };
        if !era.take_back(Number::Attempts(outcome), at_ns) {
            return false;
        }
        let has_waited = outcome == Outcome::Unanswered && era.take_back(Number::WaitsEnded, at_ns);
        (self.open, self.waiting) = (self.open + 1, self.waiting + u64::from(has_waited));
        true
    }

    /// Takes back that an attempt of a peer that was added to this ended.
    pub(super) fn reopen_absorbed(&mut self, outcome: Outcome, era: u32, current: u32, at_ns: u64) {
        let (open, waiting) = (self.open, self.waiting);
        self.reopen(outcome, era, current, at_ns);
        // What is open of such a peer is not counted here.
        (self.open, self.waiting) = (open, waiting);
    }

    /// Adds the latencies of a handshake, in nanoseconds, as far as they are known. Returns whether it takes more or less
    /// heap than before.
    pub(crate) fn record(&mut self, latencies: Times<Option<u64>>, now_ns: u64) -> bool {
        let is_resized = self.current.latencies.record(latencies);
        self.current.history.record(latencies, now_ns) || is_resized
    }

    /// Adds the time that a refusal took.
    pub(super) fn refuse(&mut self, refusal: Leg) {
        let refusals = &mut self.current.refusals;
        *refusals = Some(refusals.map_or(refusal, |before| before.spanning(refusal)));
    }

    /// Open attempts that count as unanswered.
    pub(crate) const fn waiting(&self) -> u64 {
        self.waiting
    }

    /// Adds the address of a stranger by its hash.
    pub(super) fn add_address(&mut self, hash: u64) {
        self.current.addresses.get_or_insert_default().add(hash);
    }

    /// How many addresses of strangers were added since this era began.
    pub(crate) fn addresses(&self, first: u32) -> Estimate {
        let mut sum = Addresses::default();
        self.eras(first).filter_map(|era| era.addresses.as_deref()).for_each(|some| sum.absorb(some));
        sum.count()
    }

    /// Adds all that was counted of a peer that is no longer kept. Its attempts that are open are not counted any more.
    pub(super) fn absorb(&mut self, peer: &Self) {
        for (number, era) in &peer.earlier {
            match self.earlier.binary_search_by_key(number, |(number, _)| *number) {
                Ok(place) => self.earlier[place].1.absorb(era),
                Err(place) => self.earlier.insert(place, (*number, era.clone())),
            }
        }
        self.current.absorb(&peer.current);
    }

    /// Hands over an attempt that is open.
    pub(super) fn hand_over(&mut self, is_waiting: bool, other: &mut Self) {
        self.open = self.open.saturating_sub(1);
        other.open += 1;
        if is_waiting {
            self.waiting = self.waiting.saturating_sub(1);
            other.waiting += 1;
        }
    }

    /// Whether a handshake was ever completed.
    pub(super) fn is_proven(&self) -> bool {
        self.eras(0).any(|era| era.counts.of(Outcome::Established) > 0)
    }

    /// The eras from this one on.
    pub(crate) fn eras(&self, first: u32) -> impl Iterator<Item = &Era> {
        let earlier = self.earlier.iter().filter(move |(number, _)| *number >= first);
        earlier.map(|(_, era)| era).chain([&self.current])
    }

    /// How long refusals took, from the quickest to the slowest, since this era began.
    pub(crate) fn refusals(&self, first: u32) -> Option<Leg> {
        self.eras(first).filter_map(|era| era.refusals).reduce(Leg::spanning)
    }

    /// What happened from `from_ns`, which is the beginning of a slot, to `to_ns`, each with the time of its slot.
    pub(crate) fn parts(&self, first: u32, from_ns: u64, to_ns: u64) -> impl Iterator<Item = (u64, Part)> {
        self.eras(first).flat_map(move |era| era.history.parts(from_ns, to_ns))
    }

    /// Adds the attempts that are open to what ended.
    pub(crate) fn with_open(&self, mut ended: Counts) -> Counts {
        ended.add(Number::Attempts(Outcome::Unanswered), self.waiting);
        ended.add(Number::Attempts(Outcome::Pending), self.open.saturating_sub(self.waiting));
        ended
    }

    /// Adds the attempts that were open at `to_ns`, which is the end of a slot.
    pub(crate) fn with_open_at(&self, to_ns: u64, ended: Counts) -> Counts {
        let mut after = Counts::default();
        self.parts(0, to_ns + 1, u64::MAX).for_each(|(_, part)| {
            if let Part::Count(number, more) = part {
                after.add(number, more);
            }
        });
        let open = (self.open + after.attempts()).saturating_sub(after.opened);
        let waiting = (self.waiting + after.waits_ended).saturating_sub(after.waits_begun);
        Self { open, waiting, ..Self::default() }.with_open(ended)
    }

    /// Begins an era after `ended`. Each earlier one belongs to `kept(its number)` from now on. Which attempts are open does
    /// not change.
    pub(super) fn begin_era(&mut self, ended: u32, kept: impl Fn(u32) -> u32) {
        let current = Era { history: self.current.history.anew(), ..Era::default() };
        let eras = core::mem::take(&mut self.earlier).into_iter();
        for (number, era) in eras.chain([(ended, core::mem::replace(&mut self.current, current))]) {
            match self.earlier.last_mut() {
                _ if era.is_empty() => {}
                Some((before, sum)) if *before == kept(number) => sum.absorb(&era),
                Some(_) | None => self.earlier.push((kept(number), era)),
            }
        }
        self.earlier.shrink_to_fit();
    }

    /// What it takes on the heap, in bytes.
    pub(super) fn heap_bytes(&self) -> usize {
        let earlier: usize = self.earlier.iter().map(|(_, era)| era.heap_bytes()).sum();
        self.current.heap_bytes() + earlier + self.earlier.capacity() * size_of::<(u32, Era)>()
    }
}
