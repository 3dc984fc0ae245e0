//! The cost of a SYN of sources that are chosen so that their flows would all be looked for in the same place, if the hash of
//! endpoints had no key, compared with that of random sources. With a key the two must be alike.

use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group, criterion_main};
use probe_common::segment::mapped;
use probe_common::{
    Direction, Endpoint, Record, SegmentClass, SegmentKind, SegmentRecord, TcpFlags, Transmission,
};
use tcptop_core::{Engine, EngineConfig, Input};

use cpu::timed;

#[path = "work/cpu.rs"]
mod cpu;

const SOURCES: usize = 8_192;
/// As many low bits of the hash choose the place in a table of twice as many flows.
const PLACE: u64 = (1 << 14) - 1;
const START_NS: u64 = 1 << 50;
const SERVER: [u8; 4] = [10, 9, 0, 1];

/// What a flow was looked for by before the hash had a key: FNV-1a and an avalanche.
fn public_hash(address: [u8; 4], port: u16) -> u64 {
    let bytes = mapped(address).into_iter().chain(port.to_be_bytes());
    let fnv = bytes.fold(0xcbf2_9ce4_8422_2325, |hash: u64, byte| {
        (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3)
    });
    let hash = (fnv ^ (fnv >> 33)).wrapping_mul(0xff51_afd7_ed55_8ccd);
    let hash = (hash ^ (hash >> 33)).wrapping_mul(0xc4ce_b9fe_1a85_ec53);
    hash ^ (hash >> 33)
}

fn chosen() -> Vec<([u8; 4], u16)> {
    let server = public_hash(SERVER, 443);
    let all = (0x0b00_0000_u32..)
        .flat_map(|address| (1_024..=u16::MAX).map(move |port| (address.to_be_bytes(), port)));
    let collides =
        |&(address, port): &([u8; 4], u16)| public_hash(address, port).wrapping_add(server) & PLACE == 0;
    all.filter(collides).take(SOURCES).collect()
}

/// The same addresses with other ports, so that there are as many peers.
fn random(chosen: &[([u8; 4], u16)]) -> Vec<([u8; 4], u16)> {
    let mut random = fastrand::Rng::with_seed(1);
    chosen.iter().map(|&(address, _)| (address, random.u16(1_024..))).collect()
}

fn syn(number: usize, address: [u8; 4], port: u16) -> Record {
    let record = SegmentRecord {
        time_ns: START_NS + number as u64,
        interface: 1,
        kind: SegmentKind::Syn,
        direction: Direction::Ingress,
        source: Endpoint { address: mapped(address), port },
        destination: Endpoint { address: mapped(SERVER), port: 443 },
        seq: 1,
        ack: 0,
        flags: TcpFlags::SYN,
        payload_len: 0,
        timestamps: Default::default(),
        segments: 1,
        class: SegmentClass::NEW,
        volumes: Default::default(),
        encapsulation: Default::default(),
        cookie: 0,
        said: Transmission::UNKNOWN,
        dsacks: None,
        ttl: None,
        reset: None,
        timebase: 0,
    };
    record.into()
}

fn syns(criterion: &mut Criterion) {
    let mut group = criterion.benchmark_group("syn");
    group.throughput(Throughput::Elements(SOURCES as u64));
    let chosen = chosen();
    for (name, sources) in [("chosen", chosen.clone()), ("random", random(&chosen))] {
        let sources = sources.into_iter().enumerate();
        let records: Vec<Record> =
            sources.map(|(number, (address, port))| syn(number, address, port)).collect();
        group.bench_function(BenchmarkId::from_parameter(name), |bencher| {
            bencher.iter_custom(|times| {
                let mut seed = 0;
                let engine = || {
                    seed += 1;
                    Engine::new(&EngineConfig { seed, ..EngineConfig::default() }, START_NS)
                };
                timed(times, engine, |mut engine| {
                    records.chunks(1_024).for_each(|batch| engine.handle(Input::Records(batch)));
                })
            });
        });
    }
    group.finish();
}

fn config() -> Criterion {
    Criterion::default().sample_size(20).warm_up_time(Duration::from_millis(500))
}

criterion_group! { name = all; config = config(); targets = syns }
criterion_main!(all);
