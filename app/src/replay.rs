//! A run over a capture: the same engine and outputs as a live run, with the capture's time.

mod reader;
mod time;

use std::collections::BTreeMap;
use std::path::Path;
use std::slice;
use std::thread;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::mpsc;
use tokio::time::{Interval, MissedTickBehavior, interval};

use crate::clock::Anchor;
use crate::config::{Config, Replay};
use crate::confine::Confinement;
use crate::error::Error;
use crate::output::RenderContext;
use crate::output::format::REPLAY;
use crate::output::line_writer::{FAREWELL, WhenFull, unread};
use crate::output::outputs;
use crate::output::target::{Plan, Target};
use crate::session::{self, End, Session};
use crate::source::capture::{Capture, CaptureError};
use crate::source::replay::{ReplayConfig, ReplaySource};
use crate::stop::Stop;
use reader::{Batch, Pace, Reader, Received, Scene};
use tcptop_core::{Input, Locals};
use time::StreamTime;

/// Maximum number of batches that wait for the engine.
const WAITING: usize = 16;
/// How often the screen gets a new snapshot.
const REFRESH: Duration = Duration::from_millis(250);

/// Reads a capture to its end, or until told to stop.
///
/// # Errors
/// When the capture cannot be read, or an output cannot be written. What was read before is written first.
pub fn run(config: &Config, replay: &Replay) -> Result<(), Error> {
    let failed = |source| Error::Capture { path: replay.path.escape_debug().to_string(), source };
    let capture = Capture::open(&replay.path).map_err(failed)?;
    let is_live = capture.is_stream() && replay.speed.is_none();
    let source_config = ReplayConfig { flows: config.engine.max_flows, decap: replay.decap };
    let source = ReplaySource::new(capture, source_config);
    let is_rotated = |plan: &Plan| matches!(plan.target, Target::Log(_, Some(_)));
    if config.outputs.iter().any(is_rotated) {
        return Err(Error::Usage("--rotate is for interfaces: a replay may not rename files".to_owned()));
    }
    let opened = outputs::open(&config.outputs)?;
    // Everything is open: before the first byte is parsed, and before there are threads.
    let kept = confinement(config).enter();
    let runtime = session::event_loop()?;
    let (sender, batches) = mpsc::channel(WAITING);
    let wants_volumes = config.needs_volumes();
    let reader = Reader::new(source, sender, replay.speed.map(Pace::new), wants_volumes);
    thread::Builder::new()
        .name("capture".to_owned())
        .spawn(move || reader.run())
        .map_err(|source| Error::System { what: "start the reading thread", source })?;
    runtime.block_on(async {
        let mut follower = Follower::new(batches, &replay.path, is_live)?;
        let (mut first, stopped) = tokio::select! {
            first = follower.batches.recv() => (first.transpose().map_err(failed)?, false),
            // The first packet of a stream may take any time.
            () = follower.stop.wanted() => (None, true),
        };
        let started_ns = first.as_ref().map_or(0, |batch| batch.span_ns.0);
        let scene = first.as_mut().and_then(|batch| batch.scene.take()).unwrap_or_default();
        let context = RenderContext { host: config.host.clone(), ..context(&replay.path, &scene) };
        let mut session = Session::start(config, opened, context, started_ns, WhenFull::Wait)?;
        session.serve(None)?;
        kept.iter().for_each(|reason| session.notice(reason));
        if !replay.locals.is_empty() {
            session.handle(Input::Locals(&Locals::Named(replay.locals.clone())));
        }
        follower.time.arrive(started_ns);
        let end = match follower.follow(&mut session, first).await {
            Left::AtTheEnd if stopped => End::Done,
            Left::Ended(end) => end,
            Left::Damaged(error) => End::Failed(failed(error)),
            Left::AtTheEnd => follower.browse(&mut session).await,
        };
        tokio::select! {
            ended = session.end(end, follower.time.now_ns()) => ended,
            // Lines may wait for a reader that never reads.
            () = follower.stop.overdue(FAREWELL) => Err(Error::Output { target: "the output".to_owned(), source: unread() }),
        }
    })
}

/// What is given up once the capture and the outputs are open.
const fn confinement(config: &Config) -> Confinement {
    Confinement {
        is_live: false,
        names_processes: false,
        has_screen: config.screen.is_some(),
        connects: config.connects(),
        opens_files: false,
    }
}

/// The capture's interfaces with their names, or with that of the file.
fn context(path: &str, scene: &Scene) -> RenderContext {
    let file = Path::new(path).file_name().map_or(path.into(), |name| name.to_string_lossy());
    let file = if path == "-" { "standard input".into() } else { file };
    let name =
        |name: &String| if name.is_empty() { file.escape_debug() } else { name.escape_debug() }.to_string();
    let mut interfaces: BTreeMap<u32, String> = (1..).zip(scene.names.iter().map(name)).collect();
    interfaces.entry(1).or_insert_with(|| file.escape_debug().to_string());
    let steps = scene.steps.iter().map(|step| (step.from_ns, step.add_ns));
    RenderContext::new(interfaces, REPLAY, Anchor::new(0, Timestamp::UNIX_EPOCH).with_steps(steps))
}

/// Why the capture is no longer followed.
enum Left {
    /// It was asked for, or an output ended it.
    Ended(End),
    /// The rest cannot be read.
    Damaged(CaptureError),
    /// It was read to its end.
    AtTheEnd,
}

/// The main task: engine, outputs and screen.
struct Follower<'a> {
    batches: mpsc::Receiver<Received>,
    /// Path of the capture.
    path: &'a str,
    refresh: Interval,
    stop: Stop,
    time: StreamTime,
}

impl<'a> Follower<'a> {
    fn new(batches: mpsc::Receiver<Received>, path: &'a str, is_live: bool) -> Result<Self, Error> {
        let mut refresh = interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self { batches, path, refresh, stop: Stop::new()?, time: StreamTime::new(is_live) })
    }

    async fn follow(&mut self, session: &mut Session<'_>, first: Option<Batch>) -> Left {
        let Some(first) = first else { return Left::AtTheEnd };
        let mut received = Some(Ok(first));
        loop {
            match received.take() {
                Some(Ok(batch)) => self.take(session, &batch),
                Some(Err(error)) => return Left::Damaged(error),
                None => {}
            }
            if let Err(end) = session.deliver() {
                return Left::Ended(end);
            }
            if session.is_counted_out() {
                return Left::Ended(End::Done);
            }
            let room = session.room();
            let next = async {
                room.await;
                self.batches.recv().await
            };
            tokio::select! {
                next = next => match next {
                    Some(next) => received = Some(next),
                    None => return Left::AtTheEnd,
                },
                command = session.command() => {
                    if !session.obey(command, self.time.now_ns()) {
                        return Left::Ended(End::Done);
                    }
                }
                _ = self.refresh.tick() => self.pass_time(session),
                () = self.stop.wanted() => return Left::Ended(End::Done),
            }
        }
    }

    fn take(&mut self, session: &mut Session<'_>, batch: &Batch) {
        if let Some(scene) = &batch.scene {
            session.change_context(context(self.path, scene));
        }
        // The time of the stream, not of the clock: its packets may be late.
        let mut now_ns = self.time.reached_ns();
        for record in &batch.records {
            now_ns = now_ns.max(record.time_ns());
            session.handle(Input::Time { now_ns });
            if !session.handle(Input::Records(slice::from_ref(record))) {
                break;
            }
        }
        session.handle(Input::Volumes { flows: &batch.volumes, now_ns });
        session.handle(Input::Counters { counters: &batch.counters, now_ns });
        session.handle(Input::Unreadable(batch.unreadable));
        session.handle(Input::Copies(batch.copies));
        session.handle(Input::PassedOver(&batch.passed_over));
        if !session.is_counted_out() {
            now_ns = now_ns.max(batch.span_ns.1);
            session.handle(Input::Time { now_ns });
        }
        self.time.arrive(now_ns);
    }

    /// A live stream goes on in time while it is silent.
    fn pass_time(&self, session: &mut Session<'_>) {
        let now_ns = self.time.now_ns();
        if now_ns > self.time.reached_ns() {
            session.handle(Input::Time { now_ns });
        }
        session.show(now_ns);
    }

    /// Keeps the last snapshot on the screen until the person quits.
    async fn browse(&mut self, session: &mut Session<'_>) -> End {
        while session.has_screen() {
            let now_ns = self.time.reached_ns();
            session.show(now_ns);
            tokio::select! {
                command = session.command() => if !session.obey(command, now_ns) { break },
                () = self.stop.wanted() => break,
            }
        }
        End::Done
    }
}
