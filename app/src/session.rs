//! One run, whatever its records come from: the table, the sinks, and how it ends.

use std::sync::Arc;

use probe_common::Record;
use probe_common::counter::Counters;
use tokio::runtime::{self, Runtime};

use crate::config::{Config, Ending, Output};
use crate::error::Error;
use crate::output::outputs::Outputs;
use crate::output::writer::{Stopped, WhenFull};
use crate::output::{RenderContext, report};
use crate::tui::Command;
use tcptop_core::snapshot::{self, Query, RunCounters, Snapshot, SnapshotRequest, Snapshotter, Span};
use tcptop_core::table::{Event, FlowTable, FlowVolumes, PeerKey};

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

/// The table and the sinks of one run.
pub struct Session<'a> {
    config: &'a Config,
    table: FlowTable,
    run_counters: RunCounters,
    request: SnapshotRequest,
    snapshotter: Snapshotter,
    latest_ns: u64,
    context: Arc<RenderContext>,
    outputs: Outputs,
}

impl<'a> Session<'a> {
    /// Opens the sinks. `started_ns` is on the clock that the records carry.
    ///
    /// # Errors
    /// When the terminal cannot be used.
    pub fn open(
        config: &'a Config,
        context: RenderContext,
        started_ns: u64,
        when_full: WhenFull,
    ) -> Result<Self, Error> {
        let context = Arc::new(context);
        let mut request =
            SnapshotRequest { query: config.query.clone(), ..SnapshotRequest::totals(Span::Window) };
        request.query.filter.bind(&context.interfaces);
        Ok(Self {
            config,
            table: FlowTable::new(&config.limits),
            run_counters: RunCounters { started_ns, ..RunCounters::default() },
            request,
            snapshotter: Snapshotter::default(),
            latest_ns: started_ns,
            outputs: Outputs::open(config, &context, when_full)?,
            context,
        })
    }

    /// Takes a record. Gives false when enough handshakes were told.
    pub fn take(&mut self, record: &Record) -> bool {
        self.run_counters.records += 1;
        self.latest_ns = self.latest_ns.max(record.time_ns);
        self.table.handle(record);
        !self.is_counted_out()
    }

    /// Takes some records, which is quicker than one after the other. Gives false when enough handshakes were told.
    pub fn take_all(&mut self, records: &[Record]) -> bool {
        let taken = &records[..self.table.handle_all(records)];
        self.run_counters.records += taken.len() as u64;
        self.latest_ns = taken.iter().map(|record| record.time_ns).fold(self.latest_ns, u64::max);
        !self.is_counted_out()
    }

    /// Takes what both ends of a flow have sent so far.
    pub fn take_volumes(&mut self, flow: &FlowVolumes, now_ns: u64) {
        self.table.take_volumes(flow, now_ns);
    }

    /// The time of the latest record, in nanoseconds.
    #[must_use]
    pub const fn latest_ns(&self) -> u64 {
        self.latest_ns
    }

    /// Lets time pass.
    pub fn expire(&mut self, now_ns: u64) {
        self.table.expire(now_ns);
    }

    /// Were as many handshakes told as were asked for?
    #[must_use]
    pub fn is_counted_out(&self) -> bool {
        self.table.is_done()
    }

    /// Hands to the sink what was decided.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn deliver(&mut self) -> Result<(), Stopped> {
        let events = self.table.events();
        let delivered = if self.has_screen() {
            self.snapshotter.note(events);
            Ok(())
        } else {
            let (filter, stats) = (&self.request.query.filter, self.table.stats());
            let verdict = |peer: &PeerKey, now_ns| snapshot::verdict(stats, peer, now_ns);
            let passes = |event: &&Event| {
                let now_ns = event.time_ns();
                filter.matches_flow(event.flow(), now_ns, &|peer| verdict(peer, now_ns))
            };
            self.outputs.events(events.iter().filter(passes), &self.context)
        };
        drop(self.table.take_events());
        delivered
    }

    /// Waits until the output's reader has caught up, where lines wait for it.
    pub fn room(&self) -> impl Future<Output = ()> + use<> {
        self.outputs.room()
    }

    /// What the probe has counted.
    pub fn count(&mut self, counters: Counters) {
        self.run_counters.counters = counters;
    }

    /// How many records could not be decoded.
    pub fn count_undecodable(&mut self, records: u64) {
        self.run_counters.undecodable = records;
    }

    /// How many packets of a capture could not be read.
    pub fn count_unreadable(&mut self, packets: u64) {
        self.run_counters.unreadable = packets;
    }

    /// Shows everything in another context from now on.
    pub fn change_context(&mut self, context: RenderContext) {
        self.context = Arc::new(context);
        self.request.query.filter.bind(&self.context.interfaces);
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
            Some(Command::Request(mut request)) => {
                request.query.filter.bind(&self.context.interfaces);
                self.request = *request;
                // Whoever asks is looking.
                self.show(now_ns);
            }
            Some(Command::Reset) => {
                self.table.reset(now_ns);
                self.snapshotter.reset(&self.table, &self.run_counters, now_ns);
            }
            Some(Command::Window(window_ns)) => self.table.set_window(window_ns, now_ns),
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
        if !self.is_counted_out() {
            self.table.expire(now_ns);
            self.table.finish(now_ns);
        }
        let delivered = self.deliver();
        // What was chosen at the screen was for the screen.
        let query = if self.has_screen() { Query::default() } else { self.request.query.clone() };
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
        self.run_counters.unwritten = self.outputs.unwritten();
        self.snapshotter.take(&self.table, &self.run_counters, request, now_ns)
    }
}
