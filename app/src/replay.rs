//! A run over a capture: the same table and the same sinks, with the capture's time.

use std::collections::BTreeMap;
use std::path::Path;
use std::slice;
use std::thread;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use probe_common::Record;
use probe_common::counter::Counters;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::clock::Anchor;
use crate::config::{Config, Replay};
use crate::error::Error;
use crate::output::RenderContext;
use crate::output::outputs;
use crate::output::writer::{FAREWELL, WhenFull, unread};
use crate::session::{self, End, Session};
use crate::source::capture::{Capture, CaptureError, Locals, Next};
use crate::source::replay::{ReplaySource, Step};
use crate::stop::Stop;
use tcptop_core::Input;
use tcptop_core::table::FlowVolumes;

/// Records that travel together.
const BATCH: usize = 1_024;
/// Batches that wait for the table at the most.
const WAITING: usize = 16;
/// How often the screen gets a new snapshot.
const REFRESH: Duration = Duration::from_millis(250);
/// What flows have sent is told this often, in the capture's time.
const SWEEP_NS: u64 = 1_000_000_000;
/// At a given speed, packets this close together are not waited for one by one.
const STEP: Duration = Duration::from_millis(5);

/// Some records, and how far the capture was read with them.
struct Batch {
    records: Vec<Record>,
    /// Times of the first packet and the latest; both 0 when none could be read.
    span_ns: (u64, u64),
    counters: Counters,
    unreadable: u64,
    /// What every flow has sent, from time to time and at the end.
    volumes: Vec<FlowVolumes>,
    /// Names of all interfaces so far, when there are more than before.
    names: Option<Vec<String>>,
}

type Told = Result<Batch, CaptureError>;

/// Reads a capture to its end, or until told to stop.
///
/// # Errors
/// When the capture cannot be read, or the output cannot be written. What was read before is given first.
pub fn run(config: &Config, replay: &Replay) -> Result<(), Error> {
    let failed = |source| Error::Capture { path: replay.path.escape_debug().to_string(), source };
    let capture = Capture::open(&replay.path).map_err(failed)?;
    let source = ReplaySource::new(capture, config.limits.flows, Locals(replay.locals.clone()));
    let opened = outputs::open(&config.outputs)?;
    let runtime = session::event_loop()?;
    let (batches, told) = mpsc::channel(WAITING);
    let is_watched = config.needs_volumes();
    let reader = Reader::new(source, batches, replay.speed.map(Pace::new), is_watched);
    thread::Builder::new()
        .name("capture".to_owned())
        .spawn(move || reader.run())
        .map_err(|source| Error::System { what: "start the reading thread", source })?;
    runtime.block_on(async {
        let mut follower = Follower::new(told, &replay.path)?;
        let (mut first, stopped) = tokio::select! {
            first = follower.told.recv() => (first.transpose().map_err(failed)?, false),
            // A stream may keep us waiting for its first packet.
            () = follower.stop.wanted() => (None, true),
        };
        let started_ns = first.as_ref().map_or(0, |batch| batch.span_ns.0);
        let names = first.as_mut().and_then(|batch| batch.names.take()).unwrap_or_default();
        let context = context(&replay.path, &names);
        let mut session = Session::start(config, opened, context, started_ns, WhenFull::Wait)?;
        follower.now_ns = started_ns;
        let end = match follower.follow(&mut session, first).await {
            Left::AtTheEnd if stopped => End::Done,
            Left::Told(end) => end,
            Left::Damaged(error) => End::Failed(failed(error)),
            Left::AtTheEnd => follower.browse(&mut session).await,
        };
        tokio::select! {
            ended = session.end(end, follower.now_ns) => ended,
            // Lines may wait for a reader that is stuck.
            () = follower.stop.overdue(FAREWELL) => Err(Error::Output { target: "the output".to_owned(), source: unread() }),
        }
    })
}

/// The capture's interfaces under their names, or that of the file.
fn context(path: &str, names: &[String]) -> RenderContext {
    let file = Path::new(path).file_name().map_or(path.into(), |name| name.to_string_lossy());
    let file = if path == "-" { "standard input".into() } else { file };
    let name =
        |name: &String| if name.is_empty() { file.escape_debug() } else { name.escape_debug() }.to_string();
    let mut interfaces: BTreeMap<u32, String> = (1..).zip(names.iter().map(name)).collect();
    interfaces.entry(1).or_insert_with(|| file.escape_debug().to_string());
    RenderContext::new(interfaces, "replay", Anchor::new(0, Timestamp::UNIX_EPOCH))
}

/// Why the capture is no longer followed.
enum Left {
    /// It was asked for, or the output ended it.
    Told(End),
    /// It cannot be read on.
    Damaged(CaptureError),
    /// There is no more of it.
    AtTheEnd,
}

/// The side of the table and the sinks.
struct Follower<'a> {
    told: mpsc::Receiver<Told>,
    /// That of the capture.
    path: &'a str,
    refresh: Interval,
    stop: Stop,
    /// The capture's time.
    now_ns: u64,
}

impl<'a> Follower<'a> {
    fn new(told: mpsc::Receiver<Told>, path: &'a str) -> Result<Self, Error> {
        let mut refresh = interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { told, path, refresh, stop: Stop::new()?, now_ns: 0 })
    }

    async fn follow(&mut self, session: &mut Session<'_>, first: Option<Batch>) -> Left {
        let Some(first) = first else { return Left::AtTheEnd };
        let mut told = Some(Ok(first));
        loop {
            match told.take() {
                Some(Ok(batch)) => self.take(session, &batch),
                Some(Err(error)) => return Left::Damaged(error),
                None => {}
            }
            if let Err(end) = session.deliver() {
                return Left::Told(end);
            }
            if session.is_counted_out() {
                return Left::Told(End::Done);
            }
            let room = session.room();
            let next = async {
                room.await;
                self.told.recv().await
            };
            tokio::select! {
                next = next => match next {
                    Some(next) => told = Some(next),
                    None => return Left::AtTheEnd,
                },
                command = session.command() => {
                    if !session.obey(command, self.now_ns) {
                        return Left::Told(End::Done);
                    }
                }
                _ = self.refresh.tick() => session.show(self.now_ns),
                () = self.stop.wanted() => return Left::Told(End::Done),
            }
        }
    }

    fn take(&mut self, session: &mut Session<'_>, batch: &Batch) {
        if let Some(names) = &batch.names {
            session.change_context(context(self.path, names));
        }
        for record in &batch.records {
            self.now_ns = self.now_ns.max(record.time_ns());
            session.handle(Input::Time { now_ns: self.now_ns });
            if !session.handle(Input::Records(slice::from_ref(record))) {
                break;
            }
        }
        session.handle(Input::Volumes { flows: &batch.volumes, now_ns: self.now_ns });
        session.handle(Input::Counters(&batch.counters));
        session.handle(Input::Unreadable(batch.unreadable));
        if !session.is_counted_out() {
            self.now_ns = self.now_ns.max(batch.span_ns.1);
            session.handle(Input::Time { now_ns: self.now_ns });
        }
    }

    /// The last snapshot stays until the person has seen enough of it.
    async fn browse(&mut self, session: &mut Session<'_>) -> End {
        while session.has_screen() {
            session.show(self.now_ns);
            tokio::select! {
                command = session.command() => if !session.obey(command, self.now_ns) { break },
                () = self.stop.wanted() => break,
            }
        }
        End::Done
    }
}

/// The side of the capture, in a thread of its own: reading blocks.
struct Reader {
    source: ReplaySource,
    batches: mpsc::Sender<Told>,
    pace: Option<Pace>,
    /// What was read and not handed over: records, and the times of the first packet and the latest.
    records: Vec<Record>,
    span_ns: Option<(u64, u64)>,
    /// The latest time of all that was read.
    latest_ns: u64,
    /// How many interfaces' names were handed over.
    named: usize,
    /// When the volumes were handed over last.
    swept_ns: u64,
    /// Somebody looks at them before the end.
    is_watched: bool,
}

impl Reader {
    fn new(source: ReplaySource, batches: mpsc::Sender<Told>, pace: Option<Pace>, is_watched: bool) -> Self {
        Self {
            source,
            batches,
            pace,
            records: Vec::with_capacity(BATCH),
            span_ns: None,
            latest_ns: 0,
            named: 0,
            swept_ns: 0,
            is_watched,
        }
    }

    fn run(mut self) {
        let end = loop {
            let next = self.source.step();
            let wanted = match next {
                Ok(Next::Packet(step)) => self.take(&step),
                Ok(Next::Starved) => self.send(false),
                // What flows have sent and what could not be read is told even if there is nothing else.
                Ok(Next::End) | Err(_) => {
                    self.span_ns = self.span_ns.or(Some((self.latest_ns, self.latest_ns)));
                    self.send(true)
                }
            };
            if !wanted {
                return;
            }
            match next {
                Ok(Next::Packet(_)) => {}
                Ok(Next::Starved) => {
                    if let Err(error) = self.source.refill() {
                        break Err(error);
                    }
                }
                Ok(Next::End) => break Ok(()),
                Err(error) => break Err(error),
            }
        };
        if let Err(error) = end {
            // When nobody listens the run has ended before.
            let _ = self.batches.blocking_send(Err(error));
        }
    }

    /// Keeps what one packet came to, in its time. Gives false when nobody wants it any more.
    fn take(&mut self, step: &Step) -> bool {
        let time_ns = step.time_ns;
        if self.pace.as_mut().is_some_and(|pace| pace.is_early(time_ns)) {
            if !self.send(false) {
                return false;
            }
            self.pace.as_mut().into_iter().for_each(|pace| pace.wait(time_ns));
        }
        let (from_ns, until_ns) = self.span_ns.unwrap_or((time_ns, time_ns));
        self.span_ns = Some((from_ns, time_ns.max(until_ns)));
        self.latest_ns = self.latest_ns.max(time_ns);
        self.records.extend(step.evicted);
        self.records.extend(step.record);
        self.records.len() < BATCH || self.send(false)
    }

    /// Hands over what was read. Gives false when nobody wants it any more.
    fn send(&mut self, at_the_end: bool) -> bool {
        let Some(span_ns) = self.span_ns.take() else { return true };
        let records = std::mem::replace(&mut self.records, Vec::with_capacity(BATCH));
        let names = self.source.names();
        let names = (names.len() > self.named).then(|| names.to_vec());
        self.named = self.source.names().len();
        let (counters, unreadable) = (*self.source.counters(), self.source.unreadable());
        let volumes = self.volumes(span_ns.1, at_the_end);
        let batch = Batch { records, span_ns, counters, unreadable, volumes, names };
        self.batches.blocking_send(Ok(batch)).is_ok()
    }

    /// What every flow has sent, if that was not told for a while.
    fn volumes(&mut self, now_ns: u64, at_the_end: bool) -> Vec<FlowVolumes> {
        let is_due = self.is_watched && now_ns.saturating_sub(self.swept_ns) >= SWEEP_NS;
        if !at_the_end && !is_due {
            return Vec::new();
        }
        self.swept_ns = now_ns;
        self.source.volumes().collect()
    }
}

/// How fast the capture's time passes.
struct Pace {
    speed: f64,
    /// A moment, and the capture's time then.
    began: Option<(Instant, u64)>,
}

impl Pace {
    const fn new(speed: f64) -> Self {
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
