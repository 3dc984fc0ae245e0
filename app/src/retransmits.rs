//! `tcptop retransmits`: each segment that the kernel retransmits, on any interface and in any network namespace.

mod senders;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::io;
use std::time::Duration;

use probe_common::retransmit::KernelRetransmit;
use tokio::time::{Instant, MissedTickBehavior, interval};

use crate::cli::RetransmitsArgs;
use crate::clock::{Anchor, monotonic_ns};
use crate::error::Error;
use crate::output::RenderContext;
use crate::output::json::kernel;
use crate::output::json::objects::Object;
use crate::output::json::push;
use crate::output::kernel_retransmits::{self, Resent, Totals};
use crate::output::line_writer::{LineWriter, Lines, Stopped, WhenFull};
use crate::session;
use crate::source::host_counters;
use crate::source::kernel::{AttachWanted, KernelRetransmits, KernelSource, Settings};
use crate::source::owner::OwnerSource;
use crate::source::privilege;
use crate::stop::Stop;
use senders::Senders;
use tcptop_core::{Filter, HostCounter};

/// How often the rings are read: the kernel wakes nobody.
const TICK: Duration = Duration::from_millis(50);
/// The most retransmits that wait for the name of a process.
const WAITING: usize = 1 << 16;
/// Retransmits that are read before anything else is done.
const BATCH: usize = 8_192;
/// The longest time that reading the last retransmits takes, while more and more come.
const LAST: Duration = Duration::from_secs(1);
/// The most other network namespaces that are told apart.
const NAMESPACES: usize = 4_096;

/// Writes retransmits until told to stop.
///
/// # Errors
/// When the privileges or the kernel are not what is needed, a term of the filter does not apply, or the output cannot be written.
pub fn run(arguments: &RetransmitsArgs) -> Result<(), Error> {
    let filter = arguments.filter.clone().unwrap_or_default().and(Filter::of_processes(&arguments.pids));
    if let Some(term) = filter.terms_not_of_senders().next() {
        return Err(Error::Usage(format!("`{term}` needs what only interfaces tell: retransmits has none")));
    }
    privilege::check()?;
    session::event_loop()?.block_on(async {
        let mut stop = Stop::new()?;
        let mut run = Run::new(arguments, filter)?;
        stop.within(arguments.duration);
        let watched = run.watch(&mut stop).await;
        run.end(watched).await
    })
}

struct Run<'a> {
    arguments: &'a RetransmitsArgs,
    filter: Filter,
    source: KernelSource,
    retransmits: KernelRetransmits,
    senders: Senders,
    /// Those whose process is not known yet, and those behind them.
    waiting: VecDeque<KernelRetransmit>,
    writer: LineWriter,
    lines: Lines,
    context: RenderContext,
    totals: Totals,
    /// Those that match the filter.
    matching: u64,
    /// The number of the network namespace of this thread; 0 if it is not known.
    own: u32,
    others: BTreeSet<u32>,
    /// The kernel's count at the start.
    counted: Reading,
}

/// The kernel's count of retransmits, and between which moments it was read.
#[derive(Clone, Copy)]
struct Reading {
    before_ns: u64,
    after_ns: u64,
    count: Option<u64>,
}

impl Reading {
    fn now() -> Self {
        let before_ns = monotonic_ns();
        let count = host_counters::read().of(HostCounter::RetransSegs);
        Self { before_ns, after_ns: monotonic_ns(), count }
    }
}

impl<'a> Run<'a> {
    fn new(arguments: &'a RetransmitsArgs, filter: Filter) -> Result<Self, Error> {
        let settings = Settings {
            flows: 1,
            decap: false,
            attach: AttachWanted::Auto,
            causes: false,
            owners: arguments.owners == OwnerSource::Kernel,
            failures: false,
            retransmits: true,
            states: false,
        };
        let (mut source, mut not_known) = KernelSource::load(&settings)?;
        let (senders, lacking) = Senders::new(arguments.owners, &mut source);
        not_known.extend(lacking);
        let retransmits = source
            .watch_retransmits()
            .map_err(|reason| Error::kernel("watch retransmits", io::Error::other(reason)))?;
        let counted = Reading::now();
        let context = RenderContext::new(BTreeMap::new(), "tracepoint", Anchor::now());
        let context = RenderContext { host: crate::live::host(), not_known, ..context };
        let writer = LineWriter::new(io::stdout(), WhenFull::Drop)
            .map_err(|source| Error::System { what: "start an output thread", source })?;
        crate::live::say(
            "watching retransmits on all interfaces and in all network namespaces; Ctrl-C stops",
        );
        context.not_known.iter().for_each(|reason| crate::live::say(reason));
        let failed = retransmits.has_errors().then_some(0);
        Ok(Self {
            arguments,
            filter,
            source,
            retransmits,
            senders,
            waiting: VecDeque::new(),
            writer,
            lines: Lines::default(),
            context,
            totals: Totals { since_ns: counted.after_ns, failed, ..Totals::default() },
            matching: 0,
            own: crate::source::own_network_namespace().unwrap_or(0),
            others: BTreeSet::new(),
            counted,
        })
    }

    async fn watch(&mut self, stop: &mut Stop) -> Result<(), Stopped> {
        let mut tick = interval(TICK);
        tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                _ = tick.tick() => {}
                () = stop.wanted() => return Ok(()),
            }
            let taken = self.take(u64::MAX);
            self.write_known(monotonic_ns());
            self.writer.write(&mut self.lines)?;
            if self.is_counted_out() {
                return Ok(());
            }
            if taken == BATCH {
                tick.reset_immediately();
            }
        }
    }

    fn is_counted_out(&self) -> bool {
        self.arguments.count.is_some_and(|count| self.matching >= count)
    }

    /// Reads what the kernel has told since the last time. Who opens a connection is told before its SYN is sent.
    /// What comes after `until_ns` is not held against the kernel's count.
    fn take(&mut self, until_ns: u64) -> usize {
        self.senders.learn(&mut self.source);
        let Self { retransmits, waiting, totals, own, others, counted, .. } = self;
        retransmits.drain(BATCH, |record| {
            let segments = u64::from(record.segments);
            totals.retransmits += 1;
            totals.segments += segments;
            if let Some(cause) = record.transmission.cause() {
                totals.by_cause[cause as usize] += segments;
            }
            if let Some(failed) = &mut totals.failed {
                *failed += u64::from(record.error.is_some_and(|error| error != 0));
            }
            if record.namespace == *own {
                let is_compared = record.time_ns > counted.after_ns && record.time_ns <= until_ns;
                totals.own_segments += if is_compared { segments } else { 0 };
            } else {
                totals.other_segments += segments;
                if others.len() < NAMESPACES {
                    others.insert(record.namespace);
                }
            }
            waiting.push_back(*record);
        })
    }

    /// Writes those whose process is known, or will not be known better; in order.
    fn write_known(&mut self, now_ns: u64) {
        let is_unknown = |record: &KernelRetransmit, senders: &Senders| senders.may_learn(record);
        if self.waiting.iter().any(|record| is_unknown(record, &self.senders)) {
            self.senders.list_if_due(&mut self.source, now_ns);
        }
        while let Some(record) = self.waiting.front().copied() {
            if is_unknown(&record, &self.senders) && self.waiting.len() < WAITING || self.is_counted_out() {
                return;
            }
            self.waiting.pop_front();
            self.write(&record);
        }
    }

    fn write(&mut self, record: &KernelRetransmit) {
        let resent = Resent {
            record,
            role: self.senders.role(record),
            owner: self.senders.owner(record),
            is_here: record.namespace == self.own,
        };
        if !self.filter.is_empty() && !self.filter.matches_socket(&resent.flow(), record.time_ns) {
            return;
        }
        self.matching += 1;
        if self.arguments.json {
            let object = Object::KernelRetransmit(Box::new(kernel::retransmit(&resent, &self.context)));
            push(&object, &mut self.lines);
        } else {
            self.lines.push_text(&kernel_retransmits::line(&resent, &self.context));
        }
    }

    /// Writes what is left, and the totals.
    async fn end(mut self, watched: Result<(), Stopped>) -> Result<(), Error> {
        if let Err(stopped) = watched {
            return failed(stopped);
        }
        let counted = Reading::now();
        let deadline = Instant::now() + LAST;
        while self.take(counted.before_ns) == BATCH && Instant::now() < deadline {}
        self.senders.list(&mut self.source, monotonic_ns());
        self.write_known(monotonic_ns());
        self.totals.retrans_segs =
            counted.count.zip(self.counted.count).map(|(now, before)| now.saturating_sub(before));
        self.totals.until_ns = counted.before_ns;
        self.totals.other_namespaces = self.others.len() as u64;
        let retold = self.retransmits.retold()?;
        (self.totals.missed, self.totals.missed_segments) = (retold.missed_records, retold.missed_segments);
        self.totals.missed_lines = self.writer.dropped();
        let mut last = std::mem::take(&mut self.lines);
        if self.arguments.json {
            let filter = Some(self.filter.to_string()).filter(|filter| !filter.is_empty());
            push(&Object::KernelRetransmits(kernel::totals(&self.totals, filter, &self.context)), &mut last);
        } else {
            kernel_retransmits::summary(&self.totals).iter().for_each(|line| last.push_text(line));
        }
        self.writer.finish(last).await.or_else(failed)
    }
}

fn failed(stopped: Stopped) -> Result<(), Error> {
    match stopped {
        // Whoever reads has seen enough.
        Stopped::ReaderGone => Ok(()),
        Stopped::Failed(source) => Err(Error::Output { target: "standard output".to_owned(), source }),
    }
}
