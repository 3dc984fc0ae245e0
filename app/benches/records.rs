//! The cost of a record from the ring buffer to the figures, step by step and as a whole, with few, many and very many
//! flows.
//!
//! `--rounds N` measures only the whole, N times, and prints the records per second for each number of flows:
//! `cargo xtask bench table` compares them with the limit.

use std::cell::{LazyCell, RefCell};
use std::env;
use std::hint::black_box;
use std::time::Duration;

use criterion::{BenchmarkId, Criterion, Throughput, criterion_group};
use probe_common::Record;

use work::cpu::timed;
use work::{READY, Work};

mod work;

/// Flows in the table.
const FLOWS: [u32; 3] = [1_000, 65_536, 1_000_000];
/// How often records are prepared in a round.
const TIMES: u64 = 2;

fn main() {
    let mut words = env::args().skip_while(|word| word != "--rounds").skip(1);
    match words.next() {
        Some(rounds) => print_rounds(rounds.parse().expect("--rounds is followed by a number")),
        None => {
            all();
            Criterion::default().configure_from_args().final_summary();
        }
    }
}

/// Prints a line for each round and number of flows: the flows, and records per second of processor time.
fn print_rounds(rounds: u32) {
    let mut works = FLOWS.map(|flows| (flows, RefCell::new(Work::new(flows))));
    for _ in 0..rounds {
        for (flows, work) in &mut works {
            let refill = || work.borrow_mut().refill();
            let taken = timed(TIMES, refill, |()| work.borrow_mut().take());
            println!("{flows} {:.0}", TIMES as f64 * READY as f64 / taken.as_secs_f64());
        }
    }
}

fn records(criterion: &mut Criterion) {
    for flows in FLOWS {
        let work = LazyCell::new(|| RefCell::new(Work::new(flows)));
        let mut bench = |name: &str, run: &dyn Fn(&RefCell<Work>, u64) -> Duration| {
            let mut group = criterion.benchmark_group(name);
            group.throughput(Throughput::Elements(READY as u64));
            group.bench_function(BenchmarkId::from_parameter(flows), |bencher| {
                // Outside of the measured time, and only for the requested benchmarks.
                let work = LazyCell::force(&work);
                bencher.iter_custom(|times| run(work, times));
            });
            group.finish();
        };
        bench("decode", &|work, times| {
            let work = work.borrow();
            let decode = |bytes| _ = black_box(Record::decode(bytes));
            timed(times, || (), |()| work.ready.iter().for_each(|bytes| decode(bytes)))
        });
        bench("table", &|work, times| {
            let next = || {
                let work = &mut *work.borrow_mut();
                work.refill();
                work.decoded()
            };
            timed(times, next, |records| work.borrow_mut().take_decoded(&records))
        });
        bench("record", &|work, times| {
            timed(times, || work.borrow_mut().refill(), |()| work.borrow_mut().take())
        });
    }
}

fn config() -> Criterion {
    // Preparation takes three times as long as the measured part.
    let (warm_up, measure) = (Duration::from_millis(500), Duration::from_secs(2));
    Criterion::default().sample_size(20).warm_up_time(warm_up).measurement_time(measure)
}

criterion_group! { name = all; config = config(); targets = records }
