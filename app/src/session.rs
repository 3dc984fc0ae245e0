//! One run, whatever its records come from: the table, the sinks, and how it ends.

use std::sync::Arc;

use tokio::runtime::{self, Runtime};

use crate::config::{Config, Ending, Output};
use crate::error::Error;
use crate::output::outputs::Outputs;
use crate::output::writer::{Stopped, WhenFull};
use crate::output::{RenderContext, report};
use crate::tui::Command;
use tcptop_core::snapshot::{Group, Query, Snapshot, SnapshotRequest, Span};
use tcptop_core::{Engine, Input, ReaderConfig, ReaderId};

/// Peers in a report, and in the choice of the worst.
const REPORT_PEERS: usize = 1_000;

/// Why a run ends.
#[derive(Debug)]
pub enum End {
    /// Asked for by a signal, a key, the time limit or the count, or there is no more to read.
    Done,
    /// Nobody reads the output any more.
    ReaderGone,
    /// What was watched is gone, or damaged, or the output fails: the figures so far are given all the same.
    Failed(Error),
}

impl From<Error> for End {
    fn from(error: Error) -> Self {
        Self::Failed(error)
    }
}

impl From<Stopped> for End {
    fn from(stopped: Stopped) -> Self {
        match stopped {
            Stopped::ReaderGone => Self::ReaderGone,
            Stopped::Failed(error) => Self::Failed(Error::Output(error)),
        }
    }
}

/// The event loop that a run lives in: one thread.
///
/// # Errors
/// When the system has none to give.
pub fn event_loop() -> Result<Runtime, Error> {
    let mut builder = runtime::Builder::new_current_thread();
    builder.enable_all().build().map_err(|source| Error::System { what: "start the event loop", source })
}

/// The engine and the outputs of one run.
pub struct Session<'a> {
    config: &'a Config,
    engine: Engine,
    reader: ReaderId,
    request: SnapshotRequest,
    context: Arc<RenderContext>,
    outputs: Outputs,
}

impl<'a> Session<'a> {
    /// Opens the outputs. `started_ns` is on the clock that the records carry.
    ///
    /// # Errors
    /// When the terminal cannot be used.
    pub fn open(
        config: &'a Config,
        context: RenderContext,
        started_ns: u64,
        when_full: WhenFull,
    ) -> Result<Self, Error> {
        let mut engine = Engine::new(&config.limits, started_ns);
        engine.handle(Input::Interfaces(&context.interfaces));
        let writes_events = matches!(config.output, Output::Text | Output::Json);
        let reader = engine.add_reader(ReaderConfig {
            events: writes_events.then(|| config.query.filter.clone()),
            log: config.output == Output::Screen,
        });
        let request =
            SnapshotRequest { query: config.query.clone(), ..SnapshotRequest::totals(Span::Window) };
        let context = Arc::new(context);
        let outputs = Outputs::open(config, &context, when_full)?;
        Ok(Self { config, engine, reader, request, context, outputs })
    }

    /// Hands an input to the engine. Returns false once as many handshakes were reported as were asked for.
    pub fn handle(&mut self, input: Input<'_>) -> bool {
        self.engine.handle(input);
        !self.engine.is_done()
    }

    /// The time of the latest record, in nanoseconds.
    #[must_use]
    pub const fn latest_ns(&self) -> u64 {
        self.engine.latest_ns()
    }

    /// When the engine wants to hear of the time again.
    #[must_use]
    pub fn timeout_ns(&self) -> Option<u64> {
        self.engine.poll_timeout()
    }

    /// Whether as many handshakes were reported as were asked for.
    #[must_use]
    pub fn is_counted_out(&self) -> bool {
        self.engine.is_done()
    }

    /// Writes the events since the last time.
    ///
    /// # Errors
    /// When they cannot be written.
    pub fn deliver(&mut self) -> Result<(), Stopped> {
        self.outputs.events(self.engine.poll_events(self.reader), &self.context)
    }

    /// Waits until the output's reader has caught up, where lines wait for it.
    pub fn room(&self) -> impl Future<Output = ()> + use<> {
        self.outputs.room()
    }

    /// Shows everything in another context from now on.
    pub fn change_context(&mut self, context: RenderContext) {
        self.context = Arc::new(context);
        self.engine.handle(Input::Interfaces(&self.context.interfaces));
        self.outputs.change_context(&self.context);
    }

    /// Is there a screen?
    #[must_use]
    pub fn has_screen(&self) -> bool {
        self.config.output == Output::Screen
    }

    /// Gives the screen, if there is one, a new snapshot.
    pub fn show(&mut self, now_ns: u64) {
        if self.has_screen() {
            let snapshot = self.snapshot(now_ns, &self.request.clone());
            self.outputs.show(snapshot);
        }
    }

    /// Says something to people while the run goes on.
    pub fn notice(&self, message: &str) {
        self.outputs.notice(message);
    }

    /// The next wish of the person at the screen; `None` when the screen is gone.
    pub async fn command(&mut self) -> Option<Command> {
        self.outputs.command().await
    }

    /// Does what the person asked for. Gives false when that is to quit.
    pub fn obey(&mut self, command: Option<Command>, now_ns: u64) -> bool {
        match command {
            Some(Command::Request(request)) => {
                self.request = *request;
                // Whoever asks is looking.
                self.show(now_ns);
            }
            Some(Command::Reset) => self.engine.reset(self.reader, now_ns),
            Some(Command::Window(window_ns)) => self.engine.set_window(self.reader, window_ns, now_ns),
            Some(Command::Quit) | None => return false,
        }
        true
    }

    /// Gives what is left to give.
    ///
    /// # Errors
    /// What ended the run, or what could not be written.
    pub async fn end(mut self, end: End, now_ns: u64) -> Result<(), Error> {
        if let End::ReaderGone = end {
            return Ok(());
        }
        self.engine.handle(Input::End { now_ns });
        let delivered = self.deliver();
        // What was chosen at the screen was for the screen.
        let mut query = if self.has_screen() { Query::default() } else { self.request.query.clone() };
        if self.config.output == Output::Json {
            query.group = Group::Peer;
        }
        let request =
            SnapshotRequest { query, rows: REPORT_PEERS, ..SnapshotRequest::totals(Span::SinceStart) };
        let snapshot = self.snapshot(now_ns, &request);
        let closing = match self.config.ending {
            Ending::Summary => report::summary(&snapshot, &self.context),
            Ending::Report => report::report(&snapshot, &self.context),
        };
        let closed = match delivered {
            Ok(()) => self.outputs.close(&snapshot, &closing, &self.context).await,
            Err(stopped) => Err(stopped),
        };
        match (end, closed.map_err(End::from)) {
            (End::Failed(error), _) | (_, Err(End::Failed(error))) => Err(error),
            (End::Done | End::ReaderGone, Ok(()) | Err(End::ReaderGone | End::Done)) => Ok(()),
        }
    }

    fn snapshot(&mut self, now_ns: u64, request: &SnapshotRequest) -> Snapshot {
        self.engine.handle(Input::Unwritten { reader: self.reader, lines: self.outputs.unwritten() });
        self.engine.snapshot(self.reader, request, now_ns)
    }
}
