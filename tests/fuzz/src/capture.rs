//! Captures of any kind, through reader, probe and engine.

use std::io::Cursor;

use lab::capture::Format;
use lab::scenario::{self, Variant};
use probe_common::{Endpoint, Record};
use tcptop::source::capture::{Capture, Next};
use tcptop::source::replay::{ReplayConfig, ReplaySource};
use tcptop_core::{Engine, EngineConfig, Filter, Input, ReaderConfig, SnapshotRequest, Span};

/// Few, so that flows are evicted.
const FLOWS: usize = 16;
/// Packets and waits for more bytes. An input of a few KiB has fewer.
const STEPS: usize = 100_000;

/// The file is read to its end or to an error, and what was read before makes a summary.
pub(crate) fn run(data: &[u8]) {
    let Ok(capture) = Capture::read(Cursor::new(data.to_vec())) else { return };
    let mut source = ReplaySource::new(capture, ReplayConfig { flows: FLOWS, decap: true });
    let mut engine = Engine::new(&config(), 0);
    let reader = engine.add_reader(ReaderConfig { events: Some(Filter::default()), log: true });
    let (mut latest_ns, mut records) = (0, Vec::<Record>::new());
    for step in 0.. {
        assert!(step < STEPS, "it does not end");
        records.clear();
        match source.step(&mut records) {
            Ok(Next::Packet(time_ns)) => {
                engine.handle(Input::Records(&records));
                latest_ns = latest_ns.max(time_ns);
                engine.handle(Input::Time { now_ns: latest_ns });
            }
            Ok(Next::Starved) => source.refill(),
            Ok(Next::End) | Err(_) => break,
        }
    }
    let flows: Vec<_> = source.volumes().collect();
    flows.iter().for_each(|flow| assert!(sorted(flow.ends.endpoints())));
    engine.handle(Input::Volumes { flows: &flows, now_ns: latest_ns });
    engine.handle(Input::Counters { counters: source.counters(), now_ns: latest_ns });
    engine.handle(Input::End { now_ns: latest_ns });
    engine.poll_events(reader).for_each(drop);
    for span in [Span::Window, Span::SinceStart] {
        let request = SnapshotRequest { rows: 100, flows: 100, ..SnapshotRequest::totals(span) };
        drop(engine.snapshot(reader, &request, latest_ns));
    }
}

fn sorted([low, high]: [Endpoint; 2]) -> bool {
    low <= high
}

fn config() -> EngineConfig {
    EngineConfig { max_flows: FLOWS, peer_bytes: 1 << 20, ..EngineConfig::default() }
}

/// Every scenario once, in one of the formats each; all formats of a few.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut formats = Vec::new();
    for link_type in [0, 1, 101, 113, 276] {
        for (big_endian, nanoseconds) in [(false, false), (false, true), (true, false), (true, true)] {
            formats.push(Format { big_endian, nanoseconds, link_type });
        }
    }
    let scenarios = scenario::all().expect("well-formed");
    let variants = Variant::ALL.into_iter().cycle();
    let mut seeds = Vec::new();
    for ((scenario, format), variant) in scenarios.iter().zip(formats.into_iter().cycle()).zip(variants) {
        let records = scenario.records(variant);
        seeds.push(format.pcap(&records));
        seeds.push(format.pcapng(&records));
    }
    seeds
}
