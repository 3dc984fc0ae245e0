//! The rows of the event log: what happens again and again to one peer is one row.

use std::collections::HashMap;

use tcptop_core::{LogEntry, Missed, Outcome, PeerKey, RetransmitKind, What};

/// What makes two entries one row.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum EventKey {
    /// Verdicts on a peer.
    Verdict(PeerKey),
    /// What was missed of one kind.
    Missed(Missed),
    /// Failed handshakes of a peer with the same outcome.
    Failed(PeerKey, Outcome),
    /// Established connections of a peer that were reset.
    Reset(PeerKey),
    /// Connections of a peer that were aborted.
    Aborted(PeerKey),
    /// Retransmits of one kind on the connections of a peer.
    Retransmit(PeerKey, RetransmitKind),
}

/// Entries that are one row. The latest of them stays where it is: most rows are out of sight.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Folded {
    /// What they have in common.
    pub key: EventKey,
    /// The position of the latest.
    pub latest: usize,
    /// How often it happened, as far as the log goes back.
    pub count: u64,
    /// When it happened first, as far as the log goes back, in nanoseconds of the monotonic clock.
    pub first_ns: u64,
}

/// One row.
#[derive(Clone, Debug, PartialEq)]
pub struct EventRow {
    /// The entries that it stands for.
    pub folded: Folded,
    /// The latest of them.
    pub latest: LogEntry,
}

impl EventKey {
    fn of(what: &What) -> Self {
        match what {
            What::Verdict { peer, .. } => Self::Verdict(*peer),
            What::Missed { kind, .. } => Self::Missed(*kind),
            What::Failed(flow) => Self::Failed(flow.peer(), flow.outcome()),
            What::Reset(flow) if flow.is_aborted() => Self::Aborted(flow.peer()),
            What::Reset(flow) => Self::Reset(flow.peer()),
            What::Retransmits { flow, kind, .. } => Self::Retransmit(flow.peer(), *kind),
        }
    }

    /// The peer, if it concerns a single one.
    #[must_use]
    pub const fn peer(&self) -> Option<PeerKey> {
        match self {
            Self::Verdict(peer)
            | Self::Failed(peer, _)
            | Self::Reset(peer)
            | Self::Aborted(peer)
            | Self::Retransmit(peer, _) => Some(*peer),
            Self::Missed(_) => None,
        }
    }

    /// A change of a verdict, or something that was missed: these are shown before the single packets that led to it.
    #[must_use]
    pub const fn is_incident(&self) -> bool {
        match self {
            Self::Verdict(_) | Self::Missed(_) => true,
            Self::Failed(..) | Self::Reset(_) | Self::Aborted(_) | Self::Retransmit(..) => false,
        }
    }
}

/// Folds log entries, newest first: incidents first, each part newest first.
#[must_use]
pub fn fold(entries: &[LogEntry]) -> Vec<Folded> {
    let mut rows: Vec<Folded> = Vec::new();
    let mut places: HashMap<EventKey, usize> = HashMap::with_capacity(entries.len());
    for (latest, entry) in entries.iter().enumerate() {
        let (key, count, first_ns) = (EventKey::of(&entry.what), count(&entry.what), entry.time_ns);
        let place = *places.entry(key).or_insert(rows.len());
        match rows.get_mut(place) {
            Some(row) => {
                row.count += count;
                row.first_ns = first_ns;
            }
            None => rows.push(Folded { key, latest, count, first_ns }),
        }
    }
    rows.sort_by_key(|row| !row.key.is_incident());
    rows
}

const fn count(what: &What) -> u64 {
    match what {
        What::Missed { count, .. } | What::Retransmits { count, .. } => *count,
        What::Verdict { .. } | What::Failed(_) | What::Reset(_) => 1,
    }
}
