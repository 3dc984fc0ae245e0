//! The one door to the core: inputs in, events and snapshots out, for any number of readers.

use std::collections::BTreeMap;

use crate::input::Input;
use crate::snapshot::{self, Filter, RunCounters, Snapshot, SnapshotRequest, Snapshotter};
use crate::table::{Event, FlowTable, Limits};

/// Turns inputs into events and snapshots. It has no clock: times come with the inputs.
///
/// After each [`handle`](Self::handle) every reader that takes events polls them; [`poll_timeout`](Self::poll_timeout)
/// says when the engine wants to hear of the time.
#[derive(Debug)]
pub struct Engine {
    table: FlowTable,
    run: RunCounters,
    interfaces: BTreeMap<u32, String>,
    readers: Vec<Reader>,
    latest_ns: u64,
}

/// One reader of an engine. Only the engine that gave it knows it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct ReaderId(usize);

/// What a reader takes, besides snapshots.
#[derive(Clone, Debug, Default)]
pub struct ReaderConfig {
    /// The events that it polls; `None` for a reader that polls none.
    pub events: Option<Filter>,
    /// Whether its snapshots have an event log.
    pub log: bool,
}

#[derive(Debug)]
struct Reader {
    config: ReaderConfig,
    /// Which of the table's views its figures are.
    view: usize,
    snapshotter: Snapshotter,
    /// Events of the table that it has polled.
    polled: usize,
    /// Events of the table that are in its log.
    logged: usize,
    unwritten: u64,
}

impl Engine {
    /// An engine that has seen nothing. The run starts at `now_ns`.
    #[must_use]
    pub fn new(limits: &Limits, now_ns: u64) -> Self {
        Self {
            table: FlowTable::new(limits),
            run: RunCounters { started_ns: now_ns, ..RunCounters::default() },
            interfaces: BTreeMap::new(),
            readers: Vec::new(),
            latest_ns: now_ns,
        }
    }

    /// Adds a reader. It counts since the start, or, where all others have reset their figures, as
    /// [`Snapshot::counted_ns`] says; events reach it from now on.
    pub fn add_reader(&mut self, mut config: ReaderConfig) -> ReaderId {
        if let Some(filter) = &mut config.events {
            filter.bind(&self.interfaces);
        }
        let seen = self.table.events.len();
        self.readers.push(Reader {
            config,
            view: self.table.views.join(),
            snapshotter: Snapshotter::default(),
            polled: seen,
            logged: seen,
            unwritten: 0,
        });
        ReaderId(self.readers.len() - 1)
    }

    /// Takes one input.
    pub fn handle(&mut self, input: Input<'_>) {
        self.discard_polled();
        match input {
            Input::Records(records) => {
                let handled = &records[..self.table.handle_all(records)];
                self.run.records += handled.len() as u64;
                self.latest_ns = handled.iter().map(|record| record.time_ns()).fold(self.latest_ns, u64::max);
            }
            Input::Volumes { flows, now_ns } => {
                flows.iter().for_each(|flow| self.table.take_volumes(flow, now_ns));
            }
            Input::Counters(counters) => self.run.counters = *counters,
            Input::Undecodable(records) => self.run.undecodable = records,
            Input::Unreadable(packets) => self.run.unreadable = packets,
            Input::Copies(packets) => self.run.copies = packets,
            Input::PassedOver(counts) => self.run.passed_over = counts.into(),
            Input::Unwritten { reader, lines } => self.readers[reader.0].unwritten = lines,
            Input::Interfaces(names) => {
                self.interfaces.clone_from(names);
                let filters = self.readers.iter_mut().filter_map(|reader| reader.config.events.as_mut());
                filters.for_each(|filter| filter.bind(names));
            }
            Input::Watched { interface, since_ns } => self.table.watched.set(interface, since_ns),
            Input::Time { now_ns } => self.table.expire(now_ns),
            Input::End { now_ns } if !self.is_done() => {
                self.table.expire(now_ns);
                self.table.finish(now_ns);
            }
            Input::End { .. } => {}
        }
        self.log_events();
    }

    /// The events since this reader polled last that pass its filter, in order. They stay as they are until the next
    /// input; events that a reader does not poll are kept for it.
    pub fn poll_events(&mut self, reader: ReaderId) -> impl Iterator<Item = &Event> {
        let Reader { config, view, polled, .. } = &mut self.readers[reader.0];
        let from = core::mem::replace(polled, self.table.events.len());
        let stats = &self.table.views.get(*view).stats;
        let filter = config.events.as_ref();
        self.table.events[from..].iter().filter(move |event| {
            let now_ns = event.time_ns();
            let verdict = |peer: &_| snapshot::verdict(stats, peer, now_ns);
            filter.is_some_and(|filter| filter.matches_flow(event.flow(), now_ns, &verdict))
        })
    }

    /// When the engine wants the next [`Input::Time`] at the latest to be in time with what it reports; `None` when
    /// nothing is waited for. It may want it in vain.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        self.table.due_ns()
    }

    /// Takes a snapshot for a reader, of what was handled so far, as it is at `now_ns`.
    #[must_use]
    pub fn snapshot(&mut self, reader: ReaderId, request: &SnapshotRequest, now_ns: u64) -> Snapshot {
        let Reader { snapshotter, view, unwritten, .. } = &mut self.readers[reader.0];
        let mut request = request.clone();
        request.query.filter.bind(&self.interfaces);
        let run = RunCounters { unwritten: *unwritten, ..self.run.clone() };
        snapshotter.take(&self.table, self.table.views.get(*view), &run, &request, now_ns)
    }

    /// Restarts the counts of one reader at `now_ns`. What is known of flows and peers stays.
    pub fn reset(&mut self, reader: ReaderId, now_ns: u64) {
        let reader = &mut self.readers[reader.0];
        let run = RunCounters { unwritten: reader.unwritten, ..self.run.clone() };
        reader.view = self.table.views.split(reader.view);
        self.table.reset(reader.view, &run, now_ns);
    }

    /// Changes the length of one reader's sliding window, in nanoseconds. The window starts empty at `now_ns`.
    pub fn set_window(&mut self, reader: ReaderId, window_ns: u64, now_ns: u64) {
        let reader = &mut self.readers[reader.0];
        reader.view = self.table.views.split(reader.view);
        self.table.views.get_mut(reader.view).stats.set_window(window_ns, now_ns);
    }

    /// Whether as many handshakes were reported as the limits allow. Records are no longer handled then.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.table.is_done()
    }

    /// The time of the latest record, or of the start, in nanoseconds.
    #[must_use]
    pub const fn latest_ns(&self) -> u64 {
        self.latest_ns
    }

    /// Forgets the events that every reader has polled. The allocation stays: as many will come again.
    fn discard_polled(&mut self) {
        let count = self.table.events.len();
        let waits = |reader: &Reader| reader.config.events.is_some() && reader.polled < count;
        if count > 0 && !self.readers.iter().any(waits) {
            self.table.events.clear();
            self.readers.iter_mut().for_each(|reader| (reader.polled, reader.logged) = (0, 0));
        }
    }

    fn log_events(&mut self) {
        for reader in self.readers.iter_mut().filter(|reader| reader.config.log) {
            let from = core::mem::replace(&mut reader.logged, self.table.events.len());
            reader.snapshotter.note(&self.table.events[from..]);
        }
    }
}
