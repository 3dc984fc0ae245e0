//! Keeps what went wrong, as much of it as there is room for.

use std::collections::{HashMap, VecDeque};

use super::incidents::{Incident, Incidents, What};
use super::known::Change;
use super::losses::Losses;
use super::query::Filter;
use super::query::filter::VerdictOf;
use crate::flow::{Event, FlowReport, Outcome, RetransmitReport};

/// Incidents of one sort that are kept. Each sort has room of its own: whoever is scanned shall still see losses.
const KEPT: usize = 1_024;
/// What is sent again by one flow, and what is lost, within this time is one incident.
const BURST_NS: u64 = 1_000_000_000;

/// What went wrong, by sorts.
#[derive(Clone, Debug, Default)]
pub(super) struct Journal {
    next_id: u64,
    failures: VecDeque<Incident>,
    resent: VecDeque<Incident>,
    changes: VecDeque<Incident>,
    losses: VecDeque<Incident>,
    /// The latest burst of each flow, by the flow's number: the incident's number.
    bursts: HashMap<u64, u64>,
    /// What was lost when it was looked at last.
    lost: Losses,
}

impl Journal {
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
            let incident = self.incident(now_ns, What::Verdict { peer, before, after });
            keep(&mut self.changes, incident);
        }
    }

    /// What was lost by `now_ns`, all in all.
    pub(super) fn lost(&mut self, losses: &Losses, now_ns: u64) {
        if *losses == self.lost {
            return;
        }
        let before = core::mem::replace(&mut self.lost, losses.clone());
        let before: HashMap<&str, u64> = before.iter().collect();
        for (kind, count) in losses.iter() {
            let more = count.saturating_sub(before.get(kind).copied().unwrap_or(0));
            if more == 0 {
                continue;
            }
            let burst = self.losses.iter_mut().rev().find_map(|incident| match &mut incident.what {
                What::Lost { kind: known, count } if *known == kind => Some((incident.time_ns, count)),
                _ => None,
            });
            match burst {
                Some((since_ns, count)) if now_ns.saturating_sub(since_ns) < BURST_NS => *count += more,
                Some(_) | None => {
                    let incident = self.incident(now_ns, What::Lost { kind, count: more });
                    keep(&mut self.losses, incident);
                }
            }
        }
    }

    /// Those that match, the newest first.
    pub(super) fn incidents(&self, filter: &Filter, verdict: VerdictOf<'_>, limit: usize) -> Incidents {
        let sorts = [&self.failures, &self.resent, &self.changes, &self.losses];
        let all = sorts.into_iter().flatten();
        let mut matching: Vec<&Incident> =
            all.filter(|incident| filter.matches_incident(incident, verdict)).collect();
        let count = matching.len();
        matching.sort_unstable_by_key(|incident| core::cmp::Reverse((incident.time_ns, incident.id)));
        Incidents { rows: matching.into_iter().take(limit).cloned().collect(), matching: count }
    }

    fn failed(&mut self, time_ns: u64, what: What) {
        let incident = self.incident(time_ns, what);
        keep(&mut self.failures, incident);
    }

    fn resent(&mut self, resent: &RetransmitReport) {
        let RetransmitReport { flow, time_ns, kind, segments, .. } = resent;
        let segments = u64::from((*segments).max(1));
        if let Some((report, last, count)) = self.burst(flow, *time_ns) {
            *count += segments;
            (*report, *last) = (flow.clone(), *kind);
            return;
        }
        let what = What::Resent { flow: flow.clone(), kind: *kind, count: segments };
        let incident = self.incident(*time_ns, what);
        self.bursts.insert(flow.id, incident.id);
        if let Some(Incident { id, what: What::Resent { flow, .. }, .. }) = keep(&mut self.resent, incident)
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
    ) -> Option<(&mut FlowReport, &mut crate::flow::Resent, &mut u64)> {
        let id = *self.bursts.get(&flow.id)?;
        let place = self.resent.binary_search_by_key(&id, |incident| incident.id).ok()?;
        let incident = &mut self.resent[place];
        if time_ns.saturating_sub(incident.time_ns) >= BURST_NS {
            return None;
        }
        match &mut incident.what {
            What::Resent { flow, kind, count } => Some((flow, kind, count)),
            What::Failed(_) | What::Reset(_) | What::Verdict { .. } | What::Lost { .. } => None,
        }
    }

    fn incident(&mut self, time_ns: u64, what: What) -> Incident {
        self.next_id += 1;
        Incident { id: self.next_id, time_ns, what }
    }
}

/// Adds an incident and gives the one that had to go.
fn keep(incidents: &mut VecDeque<Incident>, incident: Incident) -> Option<Incident> {
    incidents.push_back(incident);
    if incidents.len() > KEPT { incidents.pop_front() } else { None }
}
