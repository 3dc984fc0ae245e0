//! The event log: what went wrong, as much of it as there is room for.

use core::cmp::Reverse;
use std::collections::{HashMap, VecDeque};

use super::missed::{Missed, MissedCounts};
use super::peer_cache::Change;
use crate::flow::{Event, Flow, Outcome, PeerKey, Retransmit, RetransmitKind};
use crate::owner::Processes;
use crate::query::{BoundFilter, VerdictOf};
use crate::stats::Verdict;

/// Entries of one sort that are kept. Each sort has room of its own, so that what was missed stays visible during a scan.
const KEPT: usize = 1_024;
/// Retransmits of one flow, and what is missed of one kind, within this time are one entry.
const BURST_NS: u64 = 1_000_000_000;

/// The processes that the connections of a peer belong to.
pub(super) type OwnersOf<'a> = &'a dyn Fn(&PeerKey) -> Option<&'a Processes>;

/// Something that went wrong.
#[derive(Clone, Debug, PartialEq)]
pub struct LogEntry {
    /// Number of the entry, in the order of appearance.
    pub id: u64,
    /// When, in nanoseconds of the monotonic clock.
    pub time_ns: u64,
    /// What.
    pub what: What,
}

/// What went wrong.
#[derive(Clone, Debug, PartialEq)]
pub enum What {
    /// A handshake that failed: unanswered, refused, half-open or reset.
    Failed(Flow),
    /// A RST ended a connection that was established.
    Reset(Flow),
    /// Segments of one flow were retransmitted in quick succession.
    Retransmits {
        /// The flow, as it was at the latest of them.
        flow: Flow,
        /// What the latest of them is.
        kind: RetransmitKind,
        /// How many there were.
        count: u64,
    },
    /// The verdict on a peer changed.
    Verdict {
        /// Which one.
        peer: PeerKey,
        /// What was wrong with it.
        before: Option<Verdict>,
        /// What is.
        after: Option<Verdict>,
        /// The processes that its connections belonged to then.
        processes: Processes,
    },
    /// Something is missing from the figures since.
    Missed {
        /// What.
        kind: Missed,
        /// How many.
        count: u64,
    },
}

/// The entries that were requested.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LogPage {
    /// The newest first.
    pub rows: Vec<LogEntry>,
    /// How many of those that are kept match the filter, shown or not.
    pub matching: usize,
}

/// What went wrong, by sorts.
#[derive(Debug, Default)]
pub(super) struct EventLog {
    next_id: u64,
    failures: VecDeque<LogEntry>,
    retransmits: VecDeque<LogEntry>,
    changes: VecDeque<LogEntry>,
    missed: VecDeque<LogEntry>,
    /// The number of the latest entry of retransmits of each flow, by the flow's number.
    bursts: HashMap<u64, u64>,
    /// What was missed when that was last added.
    known_missed: MissedCounts,
}

impl EventLog {
    pub(super) fn add(&mut self, event: &Event) {
        match event {
            Event::Handshake(flow) if flow.outcome().is_failure() => {
                self.add_failure(flow.changed_ns(), What::Failed(flow.clone()));
            }
            Event::Correction(flow, _) => {
                let is_corrected = |entry: &LogEntry| match &entry.what {
                    What::Failed(failed) => failed.id() == flow.id(),
                    _ => false,
                };
                self.failures.retain(|entry| !is_corrected(entry));
                if flow.outcome().is_failure() {
                    self.add_failure(flow.changed_ns(), What::Failed(flow.clone()));
                }
            }
            Event::Close(flow) if flow.outcome() == Outcome::Reset => {
                self.add_failure(flow.changed_ns(), What::Reset(flow.clone()));
            }
            // That is in the log as the wire has it.
            Event::Handshake(_) | Event::Close(_) | Event::KernelRetransmit(_) => {}
            Event::Retransmit(retransmit) => self.add_retransmit(retransmit),
        }
    }

    /// Adds verdicts that changed by `now_ns`, and what was missed, given all that was missed since the start. `owners` returns the
    /// processes of a peer.
    pub(super) fn update(
        &mut self,
        changes: &[Change],
        owners: OwnersOf<'_>,
        missed: &MissedCounts,
        now_ns: u64,
    ) {
        self.add_changes(changes, owners, now_ns);
        self.add_missed(missed, now_ns);
    }

    fn add_changes(&mut self, changes: &[Change], owners: OwnersOf<'_>, now_ns: u64) {
        for &Change { peer, before, after } in changes {
            let processes = owners(&peer).cloned().unwrap_or_default();
            let entry = self.entry(now_ns, What::Verdict { peer, before, after, processes });
            keep(&mut self.changes, entry);
        }
    }

    fn add_missed(&mut self, missed: &MissedCounts, now_ns: u64) {
        if *missed == self.known_missed {
            return;
        }
        let new = missed.since(&core::mem::replace(&mut self.known_missed, missed.clone()));
        for (kind, more) in new.iter().filter(|(_, more)| *more > 0) {
            let latest = self.missed.iter_mut().rev().find_map(|entry| match &mut entry.what {
                What::Missed { kind: known, count } if *known == kind => Some((entry.time_ns, count)),
                _ => None,
            });
            match latest {
                Some((since_ns, count)) if now_ns.saturating_sub(since_ns) < BURST_NS => *count += more,
                Some(_) | None => {
                    let entry = self.entry(now_ns, What::Missed { kind, count: more });
                    keep(&mut self.missed, entry);
                }
            }
        }
    }

    /// The entries that match, the newest first. What was missed always does: it may be what is searched for.
    pub(super) fn page(
        &self,
        filter: BoundFilter<'_>,
        verdict: VerdictOf<'_>,
        owners: OwnersOf<'_>,
        limit: usize,
    ) -> LogPage {
        let matches = |entry: &&LogEntry| match &entry.what {
            What::Failed(flow) | What::Reset(flow) | What::Retransmits { flow, .. } => {
                filter.matches_flow(flow, entry.time_ns, verdict)
            }
            What::Verdict { peer, before, after, processes } => {
                // Who uses a socket may become known after what happened to it, and a peer may be forgotten since.
                let mut known = processes.clone();
                owners(peer).into_iter().for_each(|now| known.add_all(now));
                filter.matches_change(peer, &known, [*before, *after])
            }
            What::Missed { .. } => true,
        };
        let sorts = [&self.failures, &self.retransmits, &self.changes, &self.missed];
        let mut matching: Vec<&LogEntry> = sorts.into_iter().flatten().filter(matches).collect();
        matching.sort_unstable_by_key(|entry| Reverse((entry.time_ns, entry.id)));
        let count = matching.len();
        LogPage { rows: matching.into_iter().take(limit).cloned().collect(), matching: count }
    }

    fn add_failure(&mut self, time_ns: u64, what: What) {
        let entry = self.entry(time_ns, what);
        keep(&mut self.failures, entry);
    }

    fn add_retransmit(&mut self, retransmit: &Retransmit) {
        let Retransmit { flow, time_ns, kind, segments, .. } = retransmit;
        let segments = u64::from((*segments).max(1));
        if let Some((latest_flow, latest_kind, count)) = self.burst(flow, *time_ns) {
            *count += segments;
            (*latest_flow, *latest_kind) = (flow.clone(), *kind);
            return;
        }
        let what = What::Retransmits { flow: flow.clone(), kind: *kind, count: segments };
        let entry = self.entry(*time_ns, what);
        self.bursts.insert(flow.id(), entry.id);
        if let Some(LogEntry { id, what: What::Retransmits { flow, .. }, .. }) =
            keep(&mut self.retransmits, entry)
            && self.bursts.get(&flow.id()) == Some(&id)
        {
            self.bursts.remove(&flow.id());
        }
    }

    /// The entry that a retransmit of a flow belongs to, if one is recent.
    fn burst(&mut self, flow: &Flow, time_ns: u64) -> Option<(&mut Flow, &mut RetransmitKind, &mut u64)> {
        let id = *self.bursts.get(&flow.id())?;
        let place = self.retransmits.binary_search_by_key(&id, |entry| entry.id).ok()?;
        let entry = &mut self.retransmits[place];
        match &mut entry.what {
            What::Retransmits { flow, kind, count } if time_ns.saturating_sub(entry.time_ns) < BURST_NS => {
                Some((flow, kind, count))
            }
            _ => None,
        }
    }

    const fn entry(&mut self, time_ns: u64, what: What) -> LogEntry {
        self.next_id += 1;
        LogEntry { id: self.next_id, time_ns, what }
    }
}

/// Adds an entry. Returns the one that had to go.
fn keep(log: &mut VecDeque<LogEntry>, entry: LogEntry) -> Option<LogEntry> {
    log.push_back(entry);
    if log.len() > KEPT { log.pop_front() } else { None }
}
