//! One run, whatever its records come from: the engine, everything that reads it, and how it ends.

use std::io::{self, Write};
use std::sync::Arc;

use tokio::runtime::{self, Runtime};

use crate::config::Config;
use crate::error::Error;
use crate::output::line_writer::{LineWriter, Lines, Stopped, WhenFull};
use crate::output::metrics::{Bound, MetricsReader};
#[cfg(feature = "otlp")]
use crate::output::otlp::Otlp;
use crate::output::outputs::{Gone, Opened, Outputs};
use crate::output::summary::Summary;
use crate::output::target::Target;
use crate::output::{Output, RenderContext};
use crate::tui::model::Model;
use crate::tui::{Command, Screen};
use tcptop_core::{Engine, Input, Query, ReaderConfig, ReaderId, SnapshotRequest, Span};

/// Why a run ends.
#[derive(Debug)]
pub enum End {
    /// A signal, a key, the time limit or the count ended it, or there is no more to read.
    Done,
    /// The reader of standard output has closed it.
    ReaderGone,
    /// The source is gone or damaged, or an output failed: the figures so far are written all the same.
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

/// The event loop of a run: one thread.
///
/// # Errors
/// When the system refuses what it needs.
pub fn event_loop() -> Result<Runtime, Error> {
    let mut builder = runtime::Builder::new_current_thread();
    builder.enable_all().build().map_err(|source| Error::System { what: "start the event loop", source })
}

/// The engine of one run and everything that reads it.
pub struct Session<'a> {
    config: &'a Config,
    engine: Engine,
    context: Arc<RenderContext>,
    outputs: Outputs,
    metrics: Option<MetricsReader>,
    #[cfg(feature = "otlp")]
    otlp: Option<Otlp>,
    #[cfg(feature = "otlp")]
    when_full: WhenFull,
    screen: Option<ScreenReader>,
    /// The first output that failed while others went on.
    failed: Option<Error>,
}

/// The screen, and what it wants to see.
struct ScreenReader {
    screen: Screen,
    reader: ReaderId,
    request: SnapshotRequest,
}

impl<'a> Session<'a> {
    /// Starts the outputs and the screen. `started_ns` is on the clock that the records carry.
    ///
    /// # Errors
    /// When the terminal cannot be used, or the system gives no threads.
    pub fn start(
        config: &'a Config,
        opened: Vec<Opened>,
        context: RenderContext,
        started_ns: u64,
        when_full: WhenFull,
    ) -> Result<Self, Error> {
        let mut engine = Engine::new(&config.engine, started_ns);
        engine.handle(Input::Interfaces(&context.interfaces));
        let context = Arc::new(context);
        let outputs = Outputs::start(opened, &mut engine, &config.query, when_full)?;
        let screen = match &config.screen {
            Some(setup) => Some(ScreenReader {
                reader: engine.add_reader(ReaderConfig { events: None, log: true }),
                request: SnapshotRequest {
                    query: config.query.clone(),
                    ..SnapshotRequest::totals(Span::Window)
                },
                screen: Screen::open(Arc::clone(&context), setup, Model::new(config.query.clone()))
                    .map_err(Error::Terminal)?,
            }),
            None => None,
        };
        Ok(Self {
            config,
            engine,
            context,
            outputs,
            metrics: None,
            #[cfg(feature = "otlp")]
            otlp: None,
            #[cfg(feature = "otlp")]
            when_full,
            screen,
            failed: None,
        })
    }

    /// Counts metrics from now on, if there are to be any: serves them, and sends them with events.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn serve(&mut self, bound: Option<Bound>) -> Result<(), Error> {
        let Some(plan) = &self.config.metrics else { return Ok(()) };
        let metrics = MetricsReader::start(plan, bound, &mut self.engine)?;
        #[cfg(feature = "otlp")]
        if let Some(plan) = &self.config.otlp {
            let (filter, registry) = (&self.config.query.filter, metrics.registry());
            let (engine, context) = (&mut self.engine, &self.context);
            self.otlp = Some(Otlp::start(plan, engine, filter, registry, context, self.when_full)?);
        }
        self.metrics = Some(metrics);
        Ok(())
    }

    /// Hands an input to the engine. Returns false once as many handshakes were reported as were asked for.
    pub fn handle(&mut self, input: Input<'_>) -> bool {
        if let (Input::Sockets { sockets, is_last, .. }, Some(metrics)) = (&input, &mut self.metrics) {
            metrics.list(sockets, *is_last);
        }
        self.engine.handle(input);
        !self.engine.is_done()
    }

    /// The time of the latest record, in nanoseconds.
    #[must_use]
    pub const fn latest_ns(&self) -> u64 {
        self.engine.latest_ns()
    }

    /// When the engine needs to know the time: see [`Engine::poll_timeout`].
    #[must_use]
    pub fn timeout_ns(&self) -> Option<u64> {
        self.engine.poll_timeout()
    }

    /// Whether as many handshakes were reported as were asked for.
    #[must_use]
    pub fn is_counted_out(&self) -> bool {
        self.engine.is_done()
    }

    /// Writes the events since the last time. An output that fails is left out from then on; the run goes on while
    /// there is another one.
    ///
    /// # Errors
    /// Why the run ends: the reader of standard output has gone, or nothing can be written any more.
    pub fn deliver(&mut self) -> Result<(), End> {
        if let Some(metrics) = &mut self.metrics {
            metrics.deliver(&mut self.engine, &self.context);
        }
        #[cfg(feature = "otlp")]
        if let Some(otlp) = &mut self.otlp {
            otlp.deliver(&mut self.engine, &self.context);
            if let Some(trouble) = otlp.trouble() {
                self.notice(&trouble);
            }
        }
        for gone in self.outputs.deliver(&mut self.engine, &self.context) {
            let is_last = self.outputs.is_empty() && self.screen.is_none() && self.metrics.is_none();
            match failure(gone) {
                None => return Err(End::ReaderGone),
                Some(error) if is_last => return Err(End::Failed(error)),
                Some(error) => {
                    self.notice(&format!("{error}; going on without it"));
                    self.failed.get_or_insert(error);
                }
            }
        }
        for trouble in self.outputs.troubles().collect::<Vec<_>>() {
            self.notice(&format!("{trouble}; its lines are counted as missed until it can be written again"));
        }
        Ok(())
    }

    /// Opens the files that are added to again.
    pub fn reopen(&mut self) {
        self.outputs.reopen();
    }

    /// Waits until the outputs' readers have caught up, where lines wait for them.
    pub fn room(&self) -> impl Future<Output = ()> + use<> {
        self.outputs.room()
    }

    /// Replaces the context in which everything is shown.
    pub fn change_context(&mut self, context: RenderContext) {
        self.context = Arc::new(context);
        self.engine.handle(Input::Interfaces(&self.context.interfaces));
        if let Some(reader) = &self.screen {
            reader.screen.change_context(Arc::clone(&self.context));
        }
    }

    /// Whether there is a screen.
    #[must_use]
    pub const fn has_screen(&self) -> bool {
        self.screen.is_some()
    }

    /// Whether a reader wants figures that the kernel keeps before the end.
    #[must_use]
    pub fn needs_volumes(&self) -> bool {
        self.config.needs_volumes()
    }

    /// Whether a reader wants to know again and again which processes hold sockets.
    #[must_use]
    pub fn needs_holders(&self) -> bool {
        self.config.needs_holders()
    }

    /// Brings up to date what metrics only totals have. Once a second is often enough.
    pub fn refresh_metrics(&mut self, now_ns: u64) {
        let Some(metrics) = &mut self.metrics else { return };
        #[cfg(feature = "otlp")]
        if let Some(otlp) = &self.otlp {
            self.engine.handle(Input::Unwritten { reader: metrics.reader(), lines: otlp.lost() });
        }
        metrics.refresh(&mut self.engine, now_ns);
    }

    /// Gives the screen, if there is one, a new snapshot.
    pub fn show(&mut self, now_ns: u64) {
        if let Some(ScreenReader { screen, reader, request }) = &self.screen {
            screen.show(self.engine.snapshot(*reader, request, now_ns));
        }
    }

    /// Shows a message while the run goes on.
    pub fn notice(&self, message: &str) {
        match &self.screen {
            Some(reader) => reader.screen.notice(message),
            // Standard error may be closed; that is no reason to stop.
            None => drop(writeln!(io::stderr(), "tcptop: {message}")),
        }
    }

    /// The next command from the screen; `None` when the screen is gone. Without a screen, never.
    pub async fn command(&mut self) -> Option<Command> {
        match &mut self.screen {
            Some(reader) => reader.screen.command().await,
            None => std::future::pending().await,
        }
    }

    /// Carries out a command from the screen. Returns false when that is to quit.
    pub fn obey(&mut self, command: Option<Command>, now_ns: u64) -> bool {
        let Some(ScreenReader { reader, request, .. }) = &mut self.screen else { return false };
        match command {
            Some(Command::Request(wanted)) => {
                *request = *wanted;
                // A person is waiting.
                self.show(now_ns);
            }
            Some(Command::Reset) => self.engine.reset(*reader, now_ns),
            Some(Command::Window(window_ns)) => self.engine.set_window(*reader, window_ns),
            Some(Command::Quit) | None => return false,
        }
        true
    }

    /// Writes what is left to write: what each output writes last, and after the screen a summary.
    ///
    /// # Errors
    /// What ended the run, or what could not be written.
    pub async fn end(mut self, mut end: End, now_ns: u64) -> Result<(), Error> {
        self.engine.handle(Input::End { now_ns });
        if let Err(gone) = self.deliver() {
            end = if let End::Failed(error) = end { End::Failed(error) } else { gone };
        }
        let mut failures: Vec<Error> = self.failed.take().into_iter().collect();
        #[cfg(feature = "otlp")]
        if let Some(otlp) = self.otlp.take() {
            self.refresh_metrics(now_ns);
            failures.extend(otlp.finish().await.err());
        }
        if let Some(reader) = self.screen.take() {
            let closed = reader.close(&mut self.engine, &self.config.query, &self.context, now_ns).await;
            failures.extend(closed.err());
        }
        let Self { config, mut engine, context, outputs, .. } = self;
        let gone = outputs.close(&mut engine, &config.query, &context, now_ns).await;
        failures.extend(gone.into_iter().filter_map(failure));
        match end {
            End::Failed(error) => Err(error),
            End::Done | End::ReaderGone => failures.into_iter().next().map_or(Ok(()), Err),
        }
    }
}

impl ScreenReader {
    /// Gives the terminal back and prints a summary, which is of what the screen has counted.
    async fn close(
        self,
        engine: &mut Engine,
        query: &Query,
        context: &RenderContext,
        now_ns: u64,
    ) -> Result<(), Error> {
        let Self { screen, reader, .. } = self;
        let mut lines = Lines::default();
        if let Some(request) = Summary.closing_request(query) {
            Summary.close(&engine.snapshot(reader, &request, now_ns), context, &mut lines);
        }
        let stdout = |why| failure(Gone { target: Target::Stdout, why });
        screen.close().map_err(Error::Terminal)?;
        let writer = LineWriter::new(io::stdout(), WhenFull::Drop)
            .map_err(|source| Error::System { what: "start an output thread", source })?;
        writer.finish(lines).await.map_err(stdout).or_else(|failure| failure.map_or(Ok(()), Err))
    }
}

/// The error of an output that can no longer be written; none if the reader of standard output has gone.
fn failure(Gone { target, why }: Gone) -> Option<Error> {
    let source = match (why, &target) {
        (Stopped::ReaderGone, Target::Stdout) => return None,
        (Stopped::ReaderGone, Target::File(_) | Target::Log(..)) => io::ErrorKind::BrokenPipe.into(),
        (Stopped::Failed(source), _) => source,
    };
    Some(Error::Output { target: target.to_string(), source })
}
