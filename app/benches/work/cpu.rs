//! Processor time.

use std::time::Duration;

use nix::time::{ClockId, clock_gettime};

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
