//! One immutable picture of everything that the sinks show. Pure, like the table it is taken from.
//!
//! Sorting and cutting to the most important rows happens here, once, so that all sinks agree.

pub mod camera;
pub mod group;
pub mod incidents;
pub mod latency;
pub mod losses;
pub mod past;
pub mod query;
pub mod rows;

use probe_common::Kind;
use probe_common::counter::{Counter, Counters};

use crate::flow::distribution::Latencies;
use crate::flow::peer::{Happening, Tally};
use crate::flow::{FlowName, FlowReport, FlowTable, Thresholds};

pub use camera::Camera;
pub use group::{Group, RowKey};
pub use incidents::{Incident, Incidents, What};
pub use latency::{Bar, Percentiles};
pub use losses::Losses;
pub use past::{Moment, Past};
pub use query::{Filter, FilterError, FlowOrder, Query, RowOrder, Sort};
pub use rows::Row;

/// The time that the rows of peers speak of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Span {
    /// The sliding window.
    Window,
    /// The whole run.
    SinceStart,
}

/// What a sink wants to see beyond the totals. What is not asked for costs nothing.
#[derive(Clone, Debug, PartialEq)]
pub struct Interest {
    /// The time that the rows of the first table speak of.
    pub span: Span,
    /// Which rows, in which order.
    pub query: Query,
    /// Rows of the first table at the most.
    pub rows: usize,
    /// The row whose flows and latencies are wanted; without one, those of the first.
    pub selected: Option<RowKey>,
    /// Rows of its flows at the most.
    pub selected_flows: usize,
    /// Rows of flows at the most, whosever they are.
    pub flows: usize,
    /// The flow that is looked at.
    pub flow: Option<FlowName>,
    /// Rows of incidents at the most.
    pub incidents: usize,
    /// Are the last minutes wanted, of all and of the selected row?
    pub past: bool,
}

impl Interest {
    /// Nothing but the totals.
    #[must_use]
    pub fn totals(span: Span) -> Self {
        Self {
            span,
            query: Query::default(),
            rows: 0,
            selected: None,
            selected_flows: 0,
            flows: 0,
            flow: None,
            incidents: 0,
            past: false,
        }
    }
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

/// One row at length, with its flows.
#[derive(Clone, Debug, PartialEq)]
pub struct Selection {
    /// The row itself, within the span of time that was asked for.
    pub row: Row,
    /// The same since the start.
    pub total: Figures,
    /// When it was heard of last, in nanoseconds of the monotonic clock.
    pub last_ns: u64,
    /// Attempts that are unanswered now and not given up.
    pub waiting: u64,
    /// What is usual for it: the median since the start, in nanoseconds.
    pub usual_ns: Option<u64>,
    /// Its flows that match the filter, in the order that was asked for.
    pub flows: Vec<FlowReport>,
    /// How many match, shown or not.
    pub matching: usize,
    /// How many flows it has.
    pub flow_count: usize,
    /// Its round-trip times since the start: how many were how long.
    pub bars: Vec<Bar>,
    /// Its last minutes, where they were asked for.
    pub past: Option<Past>,
}

/// Flows, whosever they are.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Flows {
    /// Those that match the filter, in the order that was asked for.
    pub rows: Vec<FlowReport>,
    /// How many match, shown or not.
    pub matching: usize,
    /// How far the search for them has come, 0 to 1: below 1 the rows are the best of those that were looked at, as
    /// after a change of the filter while very many flows are known.
    pub searched: f64,
}

/// Everything that is shown, at one moment. Times are nanoseconds of the monotonic clock.
#[derive(Clone, Debug, PartialEq)]
pub struct Snapshot {
    /// When it was taken.
    pub taken_ns: u64,
    /// When the run began.
    pub started_ns: u64,
    /// Since when is counted what is counted since the start: it can be begun anew.
    pub counted_ns: u64,
    /// Length of the sliding window.
    pub window_ns: u64,
    /// From where on something is wrong with a peer: for [`Verdict::definition`](crate::flow::Verdict::definition).
    pub thresholds: Thresholds,
    /// Attempts per second, within the window or the time since the start if that is shorter.
    pub new_per_s: f64,
    /// Of all, within the window. Filters do not change it.
    pub recent: Figures,
    /// Of all, since the start. Filters do not change it.
    pub total: Figures,
    /// Round-trip times of all since the start: how many were how long.
    pub bars: Vec<Bar>,
    /// The last minutes of all, where they were asked for.
    pub past: Option<Past>,
    /// What the rows are.
    pub group: Group,
    /// Rows of the first table that match the filter, in the order that was asked for.
    pub rows: Vec<Row>,
    /// How many rows match, shown or not.
    pub matching: usize,
    /// How many rows there are, whether they match or not.
    pub row_count: usize,
    /// How many peers are known.
    pub peer_count: usize,
    /// How many flows are known.
    pub flow_count: usize,
    /// The row of interest.
    pub selection: Option<Selection>,
    /// Flows whosever they are, where they were asked for.
    pub flows: Option<Flows>,
    /// The flow that was asked for, as long as it is known: for a minute after it has ended.
    pub flow: Option<FlowReport>,
    /// What went wrong, where that was asked for.
    pub incidents: Incidents,
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
    /// Takes one picture without any before it. Whoever takes many has a [`Camera`].
    #[must_use]
    pub fn take(table: &FlowTable, intake: &Intake, interest: &Interest, now_ns: u64) -> Self {
        Camera::default().take(table, intake, interest, now_ns)
    }
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
