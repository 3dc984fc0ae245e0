//! A capture, watched like an interface: a snapshot four times a second of its own time.

use std::collections::BTreeMap;
use std::error::Error;
use std::sync::Arc;

use jiff::Timestamp;
use jiff::tz::TimeZone;
use probe_common::Endpoint;
use probe_common::segment::mapped;
use tcptop::clock::Anchor;
use tcptop::output::RenderContext;
use tcptop::source::capture::{Capture, Next};
use tcptop::source::replay::{ReplayConfig, ReplaySource};
use tcptop::tui::model::Model;
use tcptop_core::{
    Engine, EngineConfig, Input, Locals, ReaderConfig, ReaderId, Snapshot, SnapshotRequest, Span,
};

const S: u64 = 1_000_000_000;
/// How often there is a new snapshot.
const REFRESH_NS: u64 = S / 4;
/// How often volumes are swept.
const SWEEP_NS: u64 = S;
const FLOWS: usize = 65_536;
/// The host that the capture is from.
const LOCAL: [&str; 2] = ["10.20.0.5", "2001:db8:20::5"];

/// The SSH session through which the capture was made.
pub(crate) fn own_session() -> [Endpoint; 2] {
    let end = |address, port| Endpoint { address: mapped(address), port };
    [end([10, 20, 0, 5], 22), end([192, 0, 2, 7], 50_122)]
}

/// The state at the end of the capture.
pub(crate) struct Watch {
    pub(crate) context: RenderContext,
    engine: Engine,
    reader: ReaderId,
    now_ns: u64,
}

impl Watch {
    pub(crate) fn to_the_end(path: &str) -> Result<Self, Box<dyn Error>> {
        let locals = LOCAL.iter().map(|text| text.parse()).collect::<Result<_, String>>()?;
        let locals = Locals::Named(locals);
        let mut source = ReplaySource::new(Capture::open(path)?, ReplayConfig { flows: FLOWS, decap: true });
        let config = EngineConfig { max_flows: FLOWS, ..EngineConfig::default() };
        let mut watch: Option<Self> = None;
        let begin = |now_ns| {
            let interfaces = BTreeMap::from([(1, "enp0s1".to_owned())]);
            let mut engine = Engine::new(&config, now_ns);
            engine.handle(Input::Interfaces(&interfaces));
            engine.handle(Input::Locals(&locals));
            let reader = engine.add_reader(ReaderConfig { events: None, log: true });
            let context = RenderContext {
                interfaces,
                source: "replay",
                not_known: Vec::new(),
                host: None,
                run: String::new(),
                anchor: Anchor::new(0, Timestamp::UNIX_EPOCH),
                zone: TimeZone::UTC,
            };
            Self { context, engine, reader, now_ns }
        };
        let mut records = Vec::new();
        loop {
            match source.step(&mut records)? {
                Next::Packet(time_ns) => {
                    let watch = watch.get_or_insert_with(|| begin(time_ns));
                    watch.wait_until(time_ns, &source);
                    watch.engine.handle(Input::Records(&records));
                    records.clear();
                }
                Next::Starved => source.refill(),
                Next::End => break,
            }
        }
        let mut watch = watch.ok_or("an empty capture")?;
        // To the next full second, because the clock in the first line shows full seconds.
        watch.wait_until(watch.now_ns.next_multiple_of(S), &source);
        Ok(watch)
    }

    /// Lets time pass, with all snapshots that fall into it.
    fn wait_until(&mut self, time_ns: u64, source: &ReplaySource) {
        while (self.now_ns / REFRESH_NS + 1) * REFRESH_NS <= time_ns {
            self.now_ns = (self.now_ns / REFRESH_NS + 1) * REFRESH_NS;
            self.look(source);
        }
        self.now_ns = time_ns;
        self.engine.handle(Input::Time { now_ns: time_ns });
    }

    fn look(&mut self, source: &ReplaySource) {
        self.engine.handle(Input::Time { now_ns: self.now_ns });
        if self.now_ns.is_multiple_of(SWEEP_NS) {
            let flows: Vec<_> = source.volumes().collect();
            self.engine.handle(Input::Volumes { flows: &flows, now_ns: self.now_ns });
        }
        self.engine.handle(Input::Counters { counters: source.counters(), now_ns: self.now_ns });
        let request = SnapshotRequest { rows: 500, ..SnapshotRequest::totals(Span::Window) };
        // The snapshot is not shown, but the snapshotter remembers what changed.
        let _ = self.engine.snapshot(self.reader, &request, self.now_ns);
    }

    /// The request of the screen.
    pub(crate) fn snapshot(&mut self, model: &Model) -> Arc<Snapshot> {
        Arc::new(self.engine.snapshot(self.reader, &model.request(), self.now_ns))
    }
}
