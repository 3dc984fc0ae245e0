//! Records out of a capture: the same parsing and the same verdicts as in the kernel, on captured bytes.

use probe_common::counter::{Counter, Counters};
use probe_common::{Direction, Hook, RawRecord, Record, observe};

use super::capture::{Capture, CaptureError, Locals, Next};
use super::states::HostStates;

/// A capture that gives records.
pub struct ReplaySource {
    capture: Capture,
    states: HostStates,
    locals: Locals,
    counters: Counters,
}

/// What one packet came to.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// When it was captured, in nanoseconds since 1970.
    pub time_ns: u64,
    /// Its record, if it was worth one.
    pub record: Option<Record>,
}

impl ReplaySource {
    /// Takes a capture; `flows` is how many flows are remembered, `locals` which addresses are this host's.
    #[must_use]
    pub fn new(capture: Capture, flows: usize, locals: Locals) -> Self {
        Self { capture, states: HostStates::new(flows), locals, counters: Counters::default() }
    }

    /// The next packet, without waiting for more bytes.
    ///
    /// # Errors
    /// When the capture cannot be read on.
    pub fn step(&mut self) -> Result<Next<Step>, CaptureError> {
        let Self { capture, states, locals, counters } = self;
        capture.next(|packet| {
            let hook = Hook { interface: packet.interface, direction: packet.direction, link: packet.link };
            let seen = match observe(packet.bytes, packet.wire_len, &hook, states) {
                Ok(seen) => seen,
                Err(unparsed) => {
                    count(counters, Counter::Unparsed(unparsed));
                    None
                }
            };
            let record = seen.map(|sighting| {
                count(counters, Counter::Submitted(sighting.kind));
                let direction = match hook.direction {
                    Direction::Unknown => locals.direction(&sighting.segment),
                    known => known,
                };
                RawRecord::new(packet.time_ns, &Hook { direction, ..hook }, &sighting).typed()
            });
            Step { time_ns: packet.time_ns, record: record.and_then(Result::ok) }
        })
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        &self.counters
    }

    /// How many packets were passed over because they could not be read.
    #[must_use]
    pub const fn unreadable(&self) -> u64 {
        self.capture.unreadable()
    }

    /// Waits for more bytes.
    ///
    /// # Errors
    /// When the capture cannot be read on.
    pub fn refill(&mut self) -> Result<(), CaptureError> {
        self.capture.refill()
    }

    /// Names of the interfaces that the capture has named so far.
    #[must_use]
    pub fn names(&self) -> &[String] {
        self.capture.names()
    }
}

fn count(counters: &mut Counters, counter: Counter) {
    if let Some(cell) = counter.cell().and_then(|cell| counters.0.get_mut(cell)) {
        *cell += 1;
    }
}
