//! A full engine, fed as a live run feeds it.

use std::hint::black_box;
use std::time::Duration;

use nix::time::{ClockId, clock_gettime};
use probe_common::Record;
use tcptop_core::{Engine, EngineConfig, Filter, Input, ReaderConfig, ReaderId, SnapshotRequest, Span};

use feed::{Bytes, Feed, START_NS};

mod feed;

/// Records that a live run takes at a time.
pub(crate) const BATCH: usize = 1_024;
/// Records that are decoded at a time.
const AT_A_TIME: usize = 64;
/// Records that are prepared at a time, because making them uses the caches, too.
pub(crate) const READY: usize = 256 * BATCH;
/// Records of more than a second, after which the first SYNs count as unanswered.
const SETTLED: usize = 2_500_000;
/// How often time passes in a live run.
const REFRESH_NS: u64 = 250_000_000;
/// An engine and the records for it.
pub(crate) struct Work {
    feed: Feed,
    pub(crate) ready: Vec<Bytes>,
    engine: Engine,
    reader: ReaderId,
    decoded: Vec<Record>,
    refreshed_ns: u64,
}

impl Work {
    /// A table that has been full long enough to be in a steady state: seven of eight flows are open connections, the
    /// others have ended.
    pub(crate) fn new(flows: u32) -> Self {
        let config = EngineConfig { max_flows: flows as usize, ..EngineConfig::default() };
        let mut engine = Engine::new(&config, START_NS);
        let reader = engine.add_reader(ReaderConfig { events: Some(Filter::default()), log: false });
        let mut this = Self {
            feed: Feed::new(flows - flows / 8),
            ready: vec![[0; size_of::<Bytes>()]; READY],
            engine,
            reader,
            decoded: Vec::with_capacity(AT_A_TIME),
            refreshed_ns: 0,
        };
        let mut taken = 0;
        while this.flow_count() < flows as usize || taken < SETTLED {
            this.refill();
            this.take();
            taken += READY;
        }
        this
    }

    fn flow_count(&mut self) -> usize {
        let totals = SnapshotRequest::totals(Span::Window);
        self.engine.snapshot(self.reader, &totals, self.refreshed_ns).flow_count
    }

    /// Prepares the next records.
    pub(crate) fn refill(&mut self) {
        self.feed.fill(&mut self.ready);
    }

    /// The prepared records.
    pub(crate) fn decoded(&self) -> Vec<Record> {
        self.ready.iter().map(|bytes| Record::decode(bytes).expect("a record")).collect()
    }

    /// Handles the prepared records, as a live run does.
    pub(crate) fn take(&mut self) {
        for batch in 0..READY / BATCH {
            let mut latest_ns = 0;
            for some in self.ready[batch * BATCH..][..BATCH].chunks(AT_A_TIME) {
                self.decoded.clear();
                self.decoded.extend(some.iter().map(|bytes| Record::decode(bytes).expect("a record")));
                latest_ns = self.decoded.last().map_or(0, Record::time_ns);
                self.engine.handle(Input::Records(&self.decoded));
            }
            self.look_around(latest_ns);
        }
    }

    /// Handles records that were decoded before.
    pub(crate) fn take_decoded(&mut self, records: &[Record]) {
        for batch in records.chunks(BATCH) {
            self.engine.handle(Input::Records(batch));
            self.look_around(batch.last().map_or(0, Record::time_ns));
        }
    }

    fn look_around(&mut self, now_ns: u64) {
        if now_ns >= self.refreshed_ns + REFRESH_NS {
            self.engine.handle(Input::Time { now_ns });
            self.refreshed_ns = now_ns;
        }
        self.engine.poll_events(self.reader).for_each(|event| _ = black_box(event));
    }
}

/// The processor time of `work`, done this many times, without that of `prepare`.
pub(crate) fn timed<T>(times: u64, mut prepare: impl FnMut() -> T, mut work: impl FnMut(T)) -> Duration {
    let mut sum = Duration::ZERO;
    for _ in 0..times {
        let prepared = prepare();
        let began = processor_time();
        work(prepared);
        sum += processor_time() - began;
    }
    sum
}

fn processor_time() -> Duration {
    clock_gettime(ClockId::CLOCK_THREAD_CPUTIME_ID).expect("Linux has this clock").into()
}
