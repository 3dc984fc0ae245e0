//! The rows of the event log: what happens again and again to one peer is one row.

use std::collections::HashMap;

use tcptop_core::{LogEntry, Missed, Outcome, PeerKey, RetransmitKind, What};

/// What makes two entries one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKey {
    /// Verdicts on a peer.
    Verdict(PeerKey),
    /// Missed records of one kind.
    Missed(Missed),
    /// Failed handshakes of a peer with the same outcome.
    Failed(PeerKey, Outcome),
    /// Established connections of a peer that were reset.
    Reset(PeerKey),
    /// Retransmits of one kind on the connections of a peer.
    Retransmit(PeerKey, RetransmitKind),
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRow {
    /// What it is about.
    pub key: EventKey,
    /// The latest entry.
    pub latest: LogEntry,
    /// How often it happened, as far as the log goes back.
    pub count: u64,
    /// When it happened first, as far as the log goes back, in nanoseconds of the monotonic clock.
    pub first_ns: u64,
}

impl EventRow {
    /// A change of a verdict, or something that was missed: these are shown before the single packets that led to it.
    #[must_use]
    pub const fn is_incident(&self) -> bool {
        match self.key {
            EventKey::Verdict(_) | EventKey::Missed(_) => true,
            EventKey::Failed(..) | EventKey::Reset(_) | EventKey::Retransmit(..) => false,
        }
    }
}

/// Folds log entries, newest first, into rows: incidents first, each part newest first.
#[must_use]
pub fn fold(entries: &[LogEntry]) -> Vec<EventRow> {
    let mut rows: Vec<EventRow> = Vec::new();
    let mut places: HashMap<EventKey, usize> = HashMap::new();
    for entry in entries {
        let key = key(&entry.what);
        let count = count(&entry.what);
        match places.get(&key) {
            Some(&place) => {
                rows[place].count += count;
                rows[place].first_ns = entry.time_ns;
            }
            None => {
                places.insert(key, rows.len());
                rows.push(EventRow { key, latest: entry.clone(), count, first_ns: entry.time_ns });
            }
        }
    }
    rows.sort_by_key(|row| !row.is_incident());
    rows
}

fn key(what: &What) -> EventKey {
    match what {
        What::Verdict { peer, .. } => EventKey::Verdict(*peer),
        What::Missed { kind, .. } => EventKey::Missed(*kind),
        What::Failed(flow) => EventKey::Failed(flow.peer(), flow.outcome()),
        What::Reset(flow) => EventKey::Reset(flow.peer()),
        What::Retransmits { flow, kind, .. } => EventKey::Retransmit(flow.peer(), *kind),
    }
}

const fn count(what: &What) -> u64 {
    match what {
        What::Missed { count, .. } | What::Retransmits { count, .. } => *count,
        What::Verdict { .. } | What::Failed(_) | What::Reset(_) => 1,
    }
}
