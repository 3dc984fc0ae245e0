//! The only way in and out of the core: inputs in, events and snapshots out, for any number of readers.

use std::collections::BTreeMap;
use std::sync::Arc;

use probe_common::Record;

use crate::flow::Event;
use crate::host::HostRun;
use crate::input::Input;
use crate::query::Filter;
use crate::snapshot::{
    self, Baseline, IcmpCounts, MissedCounts, RunCounters, Seen, Snapshot, SnapshotRequest, Snapshotter,
};
use crate::stats::{Thresholds, View, Window};
use crate::table::FlowTable;

/// What an engine may hold, and how it judges.
#[derive(Clone, Copy, Debug)]
pub struct EngineConfig {
    /// Maximum number of flows at the same time, at least 1.
    pub max_flows: usize,
    /// After so many reported handshakes records are no longer handled; `None` for no limit.
    pub max_handshakes: Option<u64>,
    /// Length of the sliding window, in nanoseconds. A reader may change its own.
    pub window_ns: u64,
    /// When a verdict on a peer applies.
    pub thresholds: Thresholds,
    /// Memory for the statistics of all peers together, in bytes.
    pub peer_bytes: usize,
    /// Key of the hash that flows are found by: random, so that nobody can choose addresses that collide.
    pub seed: u64,
}

impl Default for EngineConfig {
    fn default() -> Self {
        Self {
            max_flows: 65_536,
            max_handshakes: None,
            window_ns: 10_000_000_000,
            thresholds: Thresholds::default(),
            peer_bytes: 40 << 20,
            seed: 0,
        }
    }
}

/// Turns inputs into events and snapshots. It has no clock: times come with the inputs.
///
/// After each [`handle`](Self::handle) every reader that takes events polls them; [`poll_timeout`](Self::poll_timeout) returns
/// when the engine needs to know the time. Readers are independent: what one polls, requests, resets or sets changes nothing
/// for another.
#[derive(Debug)]
pub struct Engine {
    table: FlowTable,
    run: RunCounters,
    /// What a reader sees that has changed nothing.
    view: View,
    /// Names by index.
    interfaces: BTreeMap<u32, String>,
    readers: Vec<Reader>,
    latest_ns: u64,
}

/// One reader of an engine. Only the engine that returned it knows it.
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
    /// Which figures it sees.
    view: View,
    baseline: Baseline,
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
    pub fn new(config: &EngineConfig, now_ns: u64) -> Self {
        Self {
            table: FlowTable::new(config),
            view: View { window: Window::of(config.window_ns), era: 0, counted_ns: now_ns },
            run: RunCounters { started_ns: now_ns, ..RunCounters::default() },
            interfaces: BTreeMap::new(),
            readers: Vec::new(),
            latest_ns: now_ns,
        }
    }

    /// Adds a reader. Its figures cover the time since the start. It gets the events from now on.
    pub fn add_reader(&mut self, config: ReaderConfig) -> ReaderId {
        let seen = self.table.events.len();
        let (view, baseline, snapshotter) = (self.view, Baseline::default(), Snapshotter::default());
        let reader = Reader { config, view, baseline, snapshotter, polled: seen, logged: seen, unwritten: 0 };
        self.readers.push(reader);
        ReaderId(self.readers.len() - 1)
    }

    /// Handles one input.
    pub fn handle(&mut self, input: Input<'_>) {
        self.discard_polled();
        match input {
            Input::Records(records) => {
                let handled = &records[..self.table.handle(records)];
                for record in handled {
                    // Who uses sockets is said of the whole machine, watched or not; and a reason is part of its RST.
                    self.run.records += u64::from(!matches!(record, Record::Owner(_) | Record::Reset(_)));
                    self.latest_ns = self.latest_ns.max(record.time_ns());
                }
            }
            Input::Owner(owner) => self.table.owners.note(owner),
            Input::Holders(holders) => self.table.handle_holders(holders),
            Input::Sockets { sockets, now_ns, is_last } => {
                self.table.handle_sockets(sockets, now_ns, is_last);
            }
            Input::Volumes { flows, now_ns } => {
                flows.iter().for_each(|flow| self.table.handle_volumes(flow, now_ns));
            }
            Input::Counters { counters, now_ns } => {
                if counters.missed_records() > self.run.counters.missed_records() {
                    self.table.records_missed(now_ns, self.latest_ns);
                }
                self.run.counters = *counters;
            }
            Input::Host { counters, unwatched, now_ns } => match &mut self.run.host {
                Some(host) => host.update(counters, unwatched, now_ns),
                None => self.run.host = Some(HostRun::new(counters, unwatched)),
            },
            Input::Drops { drops, now_ns } => {
                Arc::make_mut(self.run.drops.get_or_insert_default()).update(drops, now_ns);
            }
            Input::KernelRetransmits { records, missed } => {
                self.table.handle_kernel_retransmits(records, missed);
            }
            Input::Undecodable(records) => self.run.undecodable = records,
            Input::Unreadable(packets) => self.run.unreadable = packets,
            Input::Copies(packets) => self.run.copies = packets,
            Input::PassedOver(counts) => self.run.passed_over = counts.into(),
            Input::Unwritten { reader, lines } => self.readers[reader.0].unwritten = lines,
            Input::Interfaces(names) if *names != self.interfaces => {
                self.interfaces.clone_from(names);
                self.readers.iter_mut().for_each(|reader| reader.snapshotter.interfaces_changed());
            }
            Input::Interfaces(_) => {}
            Input::Locals(locals) => self.table.locals.clone_from(locals),
            Input::Watched { interface, since_ns } => self.table.watched.set(interface, since_ns),
            Input::Time { now_ns } => self.table.expire(now_ns),
            Input::End { now_ns } => self.end(now_ns),
        }
        self.log_events();
    }

    fn end(&mut self, now_ns: u64) {
        if !self.is_done() {
            self.table.expire(now_ns);
            self.table.finish(now_ns);
        }
    }

    /// The events that this reader has not polled yet and that pass its filter, in order. Events that a reader does not poll are
    /// kept for it.
    pub fn poll_events(&mut self, reader: ReaderId) -> impl Iterator<Item = &Event> {
        let Reader { config, view, polled, .. } = &mut self.readers[reader.0];
        let from = core::mem::replace(polled, self.table.events.len());
        let stats = &self.table.stats;
        let filter = config.events.as_ref().map(|filter| filter.bind(&self.interfaces));
        self.table.events[from..].iter().filter(move |event| {
            let now_ns = event.time_ns();
            let verdict = |peer: &_| snapshot::verdict(stats, view, peer, now_ns);
            // Whoever took what is corrected takes the correction.
            let told = event.corrected();
            let mut flows = [Some(event.flow()), told.as_ref()].into_iter().flatten();
            filter.is_some_and(|filter| flows.any(|flow| filter.matches_flow(flow, now_ns, &verdict)))
        })
    }

    /// When the engine needs the next [`Input::Time`], to report in time what only time shows; `None` when nothing is waited
    /// for. It may turn out that nothing was due.
    #[must_use]
    pub fn poll_timeout(&self) -> Option<u64> {
        self.table.due_ns()
    }

    /// Takes a snapshot for a reader, of what was handled so far, as it is at `now_ns`.
    #[must_use]
    pub fn snapshot(&mut self, reader: ReaderId, request: &SnapshotRequest, now_ns: u64) -> Snapshot {
        let Reader { snapshotter, view, baseline, unwritten, .. } = &mut self.readers[reader.0];
        let seen = Seen {
            table: &self.table,
            view,
            run: &RunCounters { unwritten: *unwritten, ..self.run.clone() },
            baseline,
            interfaces: &self.interfaces,
        };
        snapshotter.take(&seen, request, now_ns)
    }

    /// Restarts the counts of one reader at `now_ns`, and since when something is wrong. Flows, peers and the event log stay.
    pub fn reset(&mut self, id: ReaderId, now_ns: u64) {
        let reader = &mut self.readers[id.0];
        let run = RunCounters { unwritten: reader.unwritten, ..self.run.clone() };
        reader.baseline = Baseline {
            records: run.records,
            reported: self.table.reported(),
            unmatched: self.table.losses().unmatched,
            evicted_strangers: self.table.losses().evicted_strangers,
            icmp: IcmpCounts::of(&run.counters),
            drops: run.drops.clone(),
            host: run.host.as_ref().map(|host| *host.latest()),
            missed: MissedCounts::of(&self.table, &run),
        };
        let others: Vec<u32> = self
            .readers
            .iter()
            .enumerate()
            .filter(|(number, _)| *number != id.0)
            .map(|(_, other)| other.view.era)
            .collect();
        let era = self.table.stats.begin_era(&others);
        let view = &mut self.readers[id.0].view;
        (view.era, view.counted_ns) = (era, now_ns);
    }

    /// Changes the length of one reader's sliding window, in nanoseconds: figures and verdicts are those of the window that
    /// ends now. [`Snapshot::window_ns`] is the true length: a second at least, an hour at most, and whole slots.
    pub fn set_window(&mut self, reader: ReaderId, window_ns: u64) {
        self.readers[reader.0].view.window = Window::of(window_ns);
    }

    /// Whether as many handshakes were reported as the configuration allows. Records are no longer handled then.
    #[must_use]
    pub fn is_done(&self) -> bool {
        self.table.is_done()
    }

    /// The time of the latest record, or of the start, in nanoseconds.
    #[must_use]
    pub const fn latest_ns(&self) -> u64 {
        self.latest_ns
    }

    /// Forgets the events that every reader has polled. The allocation stays, as large as batches of events are.
    fn discard_polled(&mut self) {
        let count = self.table.events.len();
        let has_unpolled = |reader: &Reader| reader.config.events.is_some() && reader.polled < count;
        if count > 0 && !self.readers.iter().any(has_unpolled) {
            self.table.events.clear();
            self.readers.iter_mut().for_each(|reader| (reader.polled, reader.logged) = (0, 0));
        }
    }

    fn log_events(&mut self) {
        for reader in self.readers.iter_mut().filter(|reader| reader.config.log) {
            let from = core::mem::replace(&mut reader.logged, self.table.events.len());
            reader.snapshotter.log(&self.table.events[from..]);
        }
    }
}
