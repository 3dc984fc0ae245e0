//! One immutable picture of everything that the sinks show. Pure, like the table it is taken from.
//!
//! Sorting and cutting to the most important rows happens here, once, so that all sinks agree.

pub mod latency;
pub mod losses;
pub mod peers;

use probe_common::Kind;
use probe_common::counter::{Counter, Counters};

use crate::flow::distribution::Latencies;
use crate::flow::peer::{Happening, PeerKey, Tally};
use crate::flow::{FlowReport, FlowTable};

pub use latency::{Bar, Percentiles};
pub use losses::Losses;
pub use peers::PeerRow;

/// The time that the rows of peers speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The sliding window.
    Window,
    /// The whole run.
    SinceStart,
}

/// What a sink wants to see beyond the totals.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest {
    /// The time that the rows of peers speak of.
    pub span: Span,
    /// Rows of peers at the most.
    pub peer_rows: usize,
    /// The peer whose flows and histogram are wanted; without one, those of the worst peer.
    pub peer: Option<PeerKey>,
    /// Rows of flows at the most.
    pub flow_rows: usize,
}

/// What is known from outside the table.
#[derive(Clone, Copy, Debug, Default)]
pub struct Intake {
    /// When the run began, in nanoseconds of the monotonic clock.
    pub started_ns: u64,
    /// The probe's own counters.
    pub counters: Counters,
    /// Records that were taken from the ring buffer.
    pub records: u64,
    /// Records that could not be decoded.
    pub undecodable: u64,
    /// Packets of a capture that could not be read.
    pub unreadable: u64,
    /// Lines that a slow reader of the output did not take.
    pub unwritten: u64,
}

/// Counts of handshakes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Outcomes {
    /// Connection attempts that were seen.
    pub opened: u64,
    /// Completed.
    pub established: u64,
    /// Answered by a RST.
    pub refused: u64,
    /// Not answered. Within the window: those still waiting, too.
    pub unanswered: u64,
    /// Answered, but never completed.
    pub half_open: u64,
    /// Ended by a RST after the SYN-ACK.
    pub reset: u64,
    /// Nothing of the opener was seen.
    pub unknown: u64,
    /// SYNs and SYN-ACKs that were sent again.
    pub repeated: u64,
    /// Segments with data, in both directions.
    pub sent: u64,
    /// Segments of them that had been sent before.
    pub resent: u64,
}

/// Counts and latencies of one span of time.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Figures {
    /// Counts.
    pub outcomes: Outcomes,
    /// Round-trip times, where there are any.
    pub rtt: Option<Percentiles>,
}

/// The flows of one peer beside its histogram.
#[derive(Clone, Debug, PartialEq)]
pub struct Detail {
    /// Whose.
    pub peer: PeerKey,
    /// Its flows, newest first.
    pub flows: Vec<FlowReport>,
    /// How many flows it has, shown or not.
    pub flow_count: usize,
    /// Its round-trip times since the start: how many were how long.
    pub bars: Vec<Bar>,
    /// Their percentiles.
    pub rtt: Option<Percentiles>,
}

/// Everything that is shown, at one moment. Times are nanoseconds of the monotonic clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// When it was taken.
    pub taken_ns: u64,
    /// When the run began.
    pub started_ns: u64,
    /// Length of the sliding window.
    pub window_ns: u64,
    /// Attempts per second, within the window or the time since the start if that is shorter.
    pub new_per_s: f64,
    /// Within the window.
    pub recent: Figures,
    /// Since the start.
    pub total: Figures,
    /// Peers, worst first.
    pub peers: Vec<PeerRow>,
    /// How many peers there are, shown or not.
    pub peer_count: usize,
    /// How many flows are known.
    pub flow_count: usize,
    /// The peer of interest.
    pub detail: Option<Detail>,
    /// Records that were read.
    pub records: u64,
    /// Handshakes whose outcome was told.
    pub told: u64,
    /// SYN-ACKs, ACKs and RSTs that answer nothing that was seen.
    pub stray: u64,
    /// What is missing from all of the above.
    pub losses: Losses,
}

impl Snapshot {
    /// Takes the picture.
    #[must_use]
    pub fn take(table: &FlowTable, intake: &Intake, interest: &Interest, now_ns: u64) -> Self {
        let stats = table.stats();
        let watched_ns = now_ns.saturating_sub(intake.started_ns).max(1);
        let window_s = seconds(stats.covered_ns(intake.started_ns, now_ns));
        let span_s = match interest.span {
            Span::Window => window_s,
            Span::SinceStart => seconds(watched_ns),
        };
        let (peers, peer_count) = peers::worst(stats, interest, span_s, now_ns);
        let key = interest.peer.filter(|key| stats.peer(key).is_some());
        let key = key.or_else(|| peers.first().map(|row| row.key));
        let recent = recent(stats.total(), stats.slot_ns(), now_ns);
        #[allow(clippy::cast_precision_loss, reason = "a rate is shown with three digits")]
        let new_per_s = recent.outcomes.opened as f64 / window_s;
        Self {
            taken_ns: now_ns,
            started_ns: intake.started_ns,
            window_ns: stats.window_ns(),
            new_per_s,
            recent,
            total: since_start(stats.total()),
            peers,
            peer_count,
            flow_count: table.len(),
            detail: key.map(|key| detail(table, key, interest.flow_rows, now_ns)),
            records: intake.records,
            told: table.told(),
            stray: table.losses().stray,
            losses: Losses::of(table, intake),
        }
    }
}

fn detail(table: &FlowTable, peer: PeerKey, flow_rows: usize, now_ns: u64) -> Detail {
    let mut flows: Vec<FlowReport> = table.flows_of(peer, now_ns).collect();
    let flow_count = flows.len();
    flows.sort_unstable_by_key(|flow| core::cmp::Reverse(flow.id));
    flows.truncate(flow_rows);
    let mut sum = Latencies::spanning();
    if let Some(peer) = table.stats().peer(&peer) {
        peer.tally.rtts_since_start(&mut sum);
    }
    Detail { peer, flows, flow_count, bars: latency::bars(&sum), rtt: Percentiles::of(&sum) }
}

/// Figures of the window that ends at `now_ns`.
pub(crate) fn recent(tally: &Tally, slot_ns: u64, now_ns: u64) -> Figures {
    let mut sum = Latencies::spanning();
    tally.rtts(now_ns, slot_ns, &mut sum);
    let mut outcomes = Outcomes::of(&tally.counts(now_ns, slot_ns));
    outcomes.unanswered += tally.waiting;
    Figures { outcomes, rtt: Percentiles::of(&sum) }
}

/// Figures of the whole run.
pub(crate) fn since_start(tally: &Tally) -> Figures {
    let mut sum = Latencies::spanning();
    tally.rtts_since_start(&mut sum);
    Figures { outcomes: Outcomes::of(tally.counts_since_start()), rtt: Percentiles::of(&sum) }
}

impl Outcomes {
    fn of(counts: &crate::flow::peer::Counts) -> Self {
        Self {
            opened: counts.of(Happening::Opened),
            established: counts.of(Happening::Established),
            refused: counts.of(Happening::Refused),
            unanswered: counts.of(Happening::Unanswered),
            half_open: counts.of(Happening::HalfOpen),
            reset: counts.of(Happening::Reset),
            unknown: counts.of(Happening::OneSided),
            repeated: counts.of(Happening::Repeated),
            sent: counts.of(Happening::Sent),
            resent: counts.of(Happening::Resent),
        }
    }

    /// Attempts that the other end left without a reply: to the SYN, or to the SYN-ACK.
    #[must_use]
    pub const fn silent(&self) -> u64 {
        self.unanswered + self.half_open
    }

    /// What was sent again of any kind.
    #[must_use]
    pub const fn retransmits(&self) -> u64 {
        self.repeated + self.resent
    }

    /// What could have been: data, and the SYNs and their repeats.
    #[must_use]
    pub const fn segments(&self) -> u64 {
        self.sent + self.opened + self.repeated
    }

    /// The share of segments that were retransmits, 0 to 1, or `None` when there were none.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a share is shown with three digits")]
    pub fn retransmit_share(&self) -> Option<f64> {
        let segments = self.segments();
        (segments > 0).then(|| (self.retransmits() as f64 / segments as f64).min(1.0))
    }

    /// Handshakes that were decided.
    #[must_use]
    pub const fn decided(&self) -> u64 {
        self.established + self.refused + self.unanswered + self.half_open + self.reset + self.unknown
    }
}

impl Intake {
    /// Records of `kind` that the probe lost.
    #[must_use]
    pub fn lost(&self, kind: Kind) -> u64 {
        self.counters.of(Counter::Lost(kind))
    }
}

#[allow(
    clippy::cast_precision_loss,
    reason = "2^53 ns are 104 days, and the result is shown with three digits"
)]
fn seconds(ns: u64) -> f64 {
    ns as f64 / 1e9
}
