//! Reads the capture, which blocks, in a thread of its own.

use std::io;
use std::thread;
use std::time::{Duration, Instant};

use probe_common::PassedOver;
use probe_common::Record;
use probe_common::counter::Counters;
use tokio::sync::mpsc;

use crate::confine;
use crate::source::capture::{CaptureError, Next};
use crate::source::replay::{ClockStep, ReplaySource};
use tcptop_core::FlowVolumes;

/// Maximum number of records that are sent together.
const BATCH: usize = 1_024;
/// How often flow volumes are sent, in the capture's time.
const SWEEP_NS: u64 = 1_000_000_000;
/// At a given speed, packets this close together are sent together.
const STEP: Duration = Duration::from_millis(5);

/// Some records, and the state of the capture after them.
pub(super) struct Batch {
    pub(super) records: Vec<Record>,
    /// Times of the first packet and the latest; both 0 when none could be read.
    pub(super) span_ns: (u64, u64),
    pub(super) counters: Counters,
    pub(super) unreadable: u64,
    pub(super) copies: u64,
    pub(super) passed_over: Vec<(Option<PassedOver>, u64)>,
    /// What every flow has sent, from time to time and at the end.
    pub(super) volumes: Vec<FlowVolumes>,
    /// When there is more of it than before.
    pub(super) scene: Option<Scene>,
}

/// What is needed to show records to people.
#[derive(Debug, Default)]
pub(super) struct Scene {
    /// Names of all interfaces so far.
    pub(super) names: Vec<String>,
    /// Where the capture's clock was changed so far.
    pub(super) steps: Vec<ClockStep>,
}

pub(super) type Received = Result<Batch, CaptureError>;

/// Sends what the capture holds in batches.
pub(super) struct Reader {
    source: ReplaySource,
    batches: mpsc::Sender<Received>,
    pace: Option<Pace>,
    /// What was read and not sent: records, and the times of the first packet and the latest.
    records: Vec<Record>,
    span_ns: Option<(u64, u64)>,
    /// What the latest packet made.
    made: Vec<Record>,
    /// The latest time of all that was read.
    latest_ns: u64,
    /// How many names of interfaces and clock steps were sent.
    known: (usize, usize),
    /// When volumes were last sent.
    swept_ns: u64,
    /// Whether volumes are wanted before the end.
    wants_volumes: bool,
}

impl Reader {
    pub(super) fn new(
        source: ReplaySource,
        batches: mpsc::Sender<Received>,
        pace: Option<Pace>,
        wants_volumes: bool,
    ) -> Self {
        Self {
            source,
            batches,
            pace,
            records: Vec::with_capacity(BATCH),
            span_ns: None,
            made: Vec::new(),
            latest_ns: 0,
            known: (0, 0),
            swept_ns: 0,
            wants_volumes,
        }
    }

    /// Reads to the end, in a thread that can do nothing else from now on.
    pub(super) fn run(mut self) {
        if let Err(error) = confine::parser() {
            return self.end(Some(CaptureError::Open(io::Error::other(error))));
        }
        loop {
            match self.source.step(&mut self.made) {
                Ok(Next::Packet(time_ns)) => {
                    if !self.take(time_ns) {
                        return;
                    }
                }
                Ok(Next::Starved) if self.source.release() => {}
                Ok(Next::Starved) => {
                    if !self.send(false) {
                        return;
                    }
                    self.source.refill();
                }
                Ok(Next::End) => return self.end(None),
                Err(error) => return self.end(Some(error)),
            }
        }
    }

    /// What flows have sent and what could not be read is reported even if there is nothing else, and then the error.
    fn end(mut self, error: Option<CaptureError>) {
        self.span_ns = self.span_ns.or(Some((self.latest_ns, self.latest_ns)));
        if self.send(true)
            && let Some(error) = error
        {
            // It fails when the run has ended before.
            let _ = self.batches.blocking_send(Err(error));
        }
    }

    /// Keeps the records of a packet, at the pace that was asked for. Returns false once the run has ended.
    fn take(&mut self, time_ns: u64) -> bool {
        if self.pace.as_mut().is_some_and(|pace| pace.is_early(time_ns)) {
            if !self.send(false) {
                return false;
            }
            self.pace.as_mut().into_iter().for_each(|pace| pace.wait(time_ns));
        }
        let (from_ns, until_ns) = self.span_ns.unwrap_or((time_ns, time_ns));
        self.span_ns = Some((from_ns, time_ns.max(until_ns)));
        self.latest_ns = self.latest_ns.max(time_ns);
        self.records.append(&mut self.made);
        self.records.len() < BATCH || self.send(false)
    }

    /// Sends what was read. Returns false once the run has ended.
    fn send(&mut self, at_the_end: bool) -> bool {
        let Some(span_ns) = self.span_ns.take() else { return true };
        let records = std::mem::replace(&mut self.records, Vec::with_capacity(BATCH));
        let volumes = self.volumes(span_ns.1, at_the_end);
        let scene = self.scene();
        let source = &self.source;
        let batch = Batch {
            records,
            span_ns,
            counters: *source.counters(),
            unreadable: source.unreadable(),
            copies: source.copies(),
            passed_over: source.passed_over(),
            volumes,
            scene,
        };
        self.batches.blocking_send(Ok(batch)).is_ok()
    }

    /// Names and clocks, when there are more than before.
    fn scene(&mut self) -> Option<Scene> {
        let (names, steps) = (self.source.names(), self.source.clock_steps());
        let known = (names.len(), steps.len());
        let is_new = std::mem::replace(&mut self.known, known) != known;
        is_new.then(|| Scene { names: names.to_vec(), steps: steps.to_vec() })
    }

    /// What every flow has sent, if that is due.
    fn volumes(&mut self, now_ns: u64, at_the_end: bool) -> Vec<FlowVolumes> {
        let is_due = self.wants_volumes && now_ns.saturating_sub(self.swept_ns) >= SWEEP_NS;
        if !at_the_end && !is_due {
            return Vec::new();
        }
        self.swept_ns = now_ns;
        self.source.volumes().collect()
    }
}

/// How fast the capture's time passes.
pub(super) struct Pace {
    speed: f64,
    /// The time of the clock and of the capture at the start.
    began: Option<(Instant, u64)>,
}

impl Pace {
    pub(super) const fn new(speed: f64) -> Self {
        Self { speed, began: None }
    }

    fn due(&mut self, time_ns: u64) -> Instant {
        let (began, began_ns) = *self.began.get_or_insert_with(|| (Instant::now(), time_ns));
        began + Duration::from_nanos(time_ns.saturating_sub(began_ns)).div_f64(self.speed)
    }

    fn is_early(&mut self, time_ns: u64) -> bool {
        self.due(time_ns) > Instant::now() + STEP
    }

    fn wait(&mut self, time_ns: u64) {
        thread::sleep(self.due(time_ns).saturating_duration_since(Instant::now()));
    }
}
