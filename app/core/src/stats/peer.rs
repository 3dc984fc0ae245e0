//! What is known of one peer.

use super::distribution::Latencies;
use super::streak::Streak;
use super::tally::Tally;
use super::verdict::{Slow, Verdict};
use crate::flow::{IcmpError, PeerKey, ResetSign};
use crate::owner::{PeerOwners, Processes};
use crate::socket::AcceptQueue;

/// One peer.
#[derive(Clone, Debug)]
pub(crate) struct Peer {
    pub(crate) key: PeerKey,
    pub(crate) tally: Tally,
    /// Since when each kind of problem goes on, by [`Verdict`].
    pub(crate) streaks: [Streak; Verdict::ALL.len()],
    /// Its median round-trip time since the start, in nanoseconds. Known only where that decides what is slow.
    pub(crate) usual_ns: Option<u64>,
    /// With so many round-trip times the median is computed again.
    usual_due: u64,
    /// When it was first seen.
    pub(crate) first_ns: u64,
    /// When it was last seen.
    pub(crate) last_ns: u64,
    /// Which processes have or had connections with it.
    pub(crate) processes: Processes,
    /// The latest ICMP error about its connections.
    pub(crate) icmp: Option<Box<IcmpError>>,
    /// What is known of its latest refused and its latest aborted connection, and when that was.
    pub(crate) resets: PeerResets,
    /// Whose its connections are, by those.
    pub(crate) owners: PeerOwners,
    /// The queue of the listener that it connects to, when that was last full while an attempt waited.
    pub(crate) accept_queue: Option<AcceptQueue>,
    /// Heap bytes that the budget was charged for.
    pub(super) charged_bytes: usize,
}

/// Why connections were reset, each with the time.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct PeerResets {
    refused: Option<(ResetSign, u64)>,
    aborted: Option<(ResetSign, u64)>,
}

impl PeerResets {
    /// The place of connections that make up this verdict.
    const fn of_mut(&mut self, verdict: Verdict) -> Option<&mut Option<(ResetSign, u64)>> {
        match verdict {
            Verdict::Refused => Some(&mut self.refused),
            Verdict::Aborted => Some(&mut self.aborted),
            _ => None,
        }
    }

    pub(super) const fn note(&mut self, verdict: Verdict, sign: ResetSign, now_ns: u64) {
        if let Some(place) = self.of_mut(verdict) {
            *place = Some((sign, now_ns));
        }
    }

    /// What is behind this verdict since `begin_ns`.
    pub(crate) fn since(mut self, verdict: Verdict, begin_ns: u64) -> Option<ResetSign> {
        let known = self.of_mut(verdict).copied().flatten();
        known.filter(|(_, at_ns)| *at_ns >= begin_ns).map(|(sign, _)| sign)
    }
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
            processes: Processes::default(),
            icmp: None,
            resets: PeerResets::default(),
            owners: PeerOwners::default(),
            accept_queue: None,
            charged_bytes: 0,
        }
    }

    /// Computes the median now and then: whenever there are an eighth more samples.
    pub(super) fn learn_usual(&mut self) {
        let all = || self.tally.eras(0).map(|era| &era.latencies.rtt);
        let samples: u64 = all().map(|rtts| rtts.len()).sum();
        if samples >= self.usual_due {
            let mut sum = Latencies::spanning();
            all().for_each(|rtts| rtts.merge_into(&mut sum));
            self.usual_ns = Some(sum.quantile_ns(0.5));
            self.usual_due = samples + samples / 8 + 1;
        }
    }

    /// Charges a budget for what it takes on the heap now.
    pub(super) fn charge(&mut self, budget_bytes: &mut usize) {
        let streaks: usize = self.streaks.iter().map(Streak::heap_bytes).sum();
        let icmp = self.icmp.as_deref().map_or(0, size_of_val);
        let bytes = self.tally.heap_bytes() + streaks + self.processes.heap_bytes() + icmp;
        *budget_bytes = *budget_bytes + bytes - self.charged_bytes;
        self.charged_bytes = bytes;
    }
}
