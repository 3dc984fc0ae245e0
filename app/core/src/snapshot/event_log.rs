//! Keeps what went wrong, as much of it as there is room for.

use std::collections::{HashMap, VecDeque};

use super::log_entry::{LogEntry, LogPage, What};
use super::missed::MissedCounts;
use super::peer_cache::Change;
use super::query::Filter;
use super::query::filter::VerdictOf;
use crate::table::{Event, FlowReport, Outcome, RetransmitReport};

/// LogPage of one sort that are kept. Each sort has room of its own: whoever is scanned shall still see what was missed.
const KEPT: usize = 1_024;
/// What is sent again by one flow, and what is missed, within this time is one entry.
const BURST_NS: u64 = 1_000_000_000;

/// What went wrong, by sorts.
#[derive(Clone, Debug, Default)]
pub(super) struct EventLog {
    next_id: u64,
    failures: VecDeque<LogEntry>,
    resent: VecDeque<LogEntry>,
    changes: VecDeque<LogEntry>,
    missed: VecDeque<LogEntry>,
    /// The latest burst of each flow, by the flow's number: the entry's number.
    bursts: HashMap<u64, u64>,
    /// What was missed when it was looked at last.
    missed_before: MissedCounts,
}

impl EventLog {
    pub(super) fn note(&mut self, event: &Event) {
        match event {
            Event::Handshake(flow) => match flow.outcome {
                Outcome::Unanswered | Outcome::Refused | Outcome::HalfOpen | Outcome::Reset => {
                    self.failed(flow.changed_ns, What::Failed(flow.clone()));
                }
                Outcome::Pending | Outcome::Established | Outcome::Closed | Outcome::Unknown => {}
            },
            Event::Close(flow) if flow.outcome == Outcome::Reset => {
                self.failed(flow.changed_ns, What::Reset(flow.clone()));
            }
            Event::Close(_) => {}
            Event::Retransmit(resent) => self.resent(resent),
        }
    }

    /// Verdicts that changed by `now_ns`.
    pub(super) fn changed(&mut self, changes: &[Change], now_ns: u64) {
        for &Change { peer, before, after } in changes {
            let entry = self.entry(now_ns, What::Verdict { peer, before, after });
            keep(&mut self.changes, entry);
        }
    }

    /// What was missed by `now_ns`, all in all.
    pub(super) fn missed(&mut self, missed: &MissedCounts, now_ns: u64) {
        if *missed == self.missed_before {
            return;
        }
        let before = core::mem::replace(&mut self.missed_before, missed.clone());
        for (kind, more) in missed.since(&before).iter().filter(|(_, more)| *more > 0) {
            let burst = self.missed.iter_mut().rev().find_map(|entry| match &mut entry.what {
                What::Missed { kind: known, count } if *known == kind => Some((entry.time_ns, count)),
                _ => None,
            });
            match burst {
                Some((since_ns, count)) if now_ns.saturating_sub(since_ns) < BURST_NS => *count += more,
                Some(_) | None => {
                    let entry = self.entry(now_ns, What::Missed { kind, count: more });
                    keep(&mut self.missed, entry);
                }
            }
        }
    }

    /// Those that match, the newest first.
    pub(super) fn log(&self, filter: &Filter, verdict: VerdictOf<'_>, limit: usize) -> LogPage {
        let sorts = [&self.failures, &self.resent, &self.changes, &self.missed];
        let all = sorts.into_iter().flatten();
        let mut matching: Vec<&LogEntry> =
            all.filter(|entry| filter.matches_incident(entry, verdict)).collect();
        let count = matching.len();
        matching.sort_unstable_by_key(|entry| core::cmp::Reverse((entry.time_ns, entry.id)));
        LogPage { rows: matching.into_iter().take(limit).cloned().collect(), matching: count }
    }

    fn failed(&mut self, time_ns: u64, what: What) {
        let entry = self.entry(time_ns, what);
        keep(&mut self.failures, entry);
    }

    fn resent(&mut self, resent: &RetransmitReport) {
        let RetransmitReport { flow, time_ns, kind, segments, .. } = resent;
        let segments = u64::from((*segments).max(1));
        if let Some((report, last, count)) = self.burst(flow, *time_ns) {
            *count += segments;
            (*report, *last) = (flow.clone(), *kind);
            return;
        }
        let what = What::RetransmitKind { flow: flow.clone(), kind: *kind, count: segments };
        let entry = self.entry(*time_ns, what);
        self.bursts.insert(flow.id, entry.id);
        if let Some(LogEntry { id, what: What::RetransmitKind { flow, .. }, .. }) =
            keep(&mut self.resent, entry)
            && self.bursts.get(&flow.id) == Some(&id)
        {
            self.bursts.remove(&flow.id);
        }
    }

    /// The burst of a flow that is under way.
    fn burst(
        &mut self,
        flow: &FlowReport,
        time_ns: u64,
    ) -> Option<(&mut FlowReport, &mut crate::table::RetransmitKind, &mut u64)> {
        let id = *self.bursts.get(&flow.id)?;
        let place = self.resent.binary_search_by_key(&id, |entry| entry.id).ok()?;
        let entry = &mut self.resent[place];
        if time_ns.saturating_sub(entry.time_ns) >= BURST_NS {
            return None;
        }
        match &mut entry.what {
            What::RetransmitKind { flow, kind, count } => Some((flow, kind, count)),
            What::Failed(_) | What::Reset(_) | What::Verdict { .. } | What::Missed { .. } => None,
        }
    }

    fn entry(&mut self, time_ns: u64, what: What) -> LogEntry {
        self.next_id += 1;
        LogEntry { id: self.next_id, time_ns, what }
    }
}

/// Adds an entry and gives the one that had to go.
fn keep(log: &mut VecDeque<LogEntry>, entry: LogEntry) -> Option<LogEntry> {
    log.push_back(entry);
    if log.len() > KEPT { log.pop_front() } else { None }
}
