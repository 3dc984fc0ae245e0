//! Records out of a capture: the same parsing and the same verdicts as in the kernel, on captured bytes.

use probe_common::counter::Counters;
use probe_common::{Direction, Hook, Record, Size};
use probe_host::{HostProbe, Packet, PacketTime};

use super::capture::{Capture, CaptureError, Locals, Next};
use tcptop_core::table::FlowVolumes;

/// A capture that gives records.
pub struct ReplaySource {
    capture: Capture,
    probe: HostProbe,
    locals: Locals,
}

/// What one packet came to.
#[derive(Clone, Copy, Debug)]
pub struct Step {
    /// When it was captured, in nanoseconds since 1970.
    pub time_ns: u64,
    /// Its record, if it was worth one.
    pub record: Option<Record>,
    /// What is known last of a flow that had to give way for it.
    pub evicted: Option<Record>,
}

impl ReplaySource {
    /// Takes a capture; `flows` is how many flows are remembered, `locals` which addresses are this host's.
    #[must_use]
    pub fn new(capture: Capture, flows: usize, locals: Locals) -> Self {
        let flows = u32::try_from(flows).unwrap_or(u32::MAX);
        Self { capture, probe: HostProbe::new(flows), locals }
    }

    /// The next packet, without waiting for more bytes.
    ///
    /// # Errors
    /// When the capture cannot be read on.
    pub fn step(&mut self) -> Result<Next<Step>, CaptureError> {
        let Self { capture, probe, locals } = self;
        capture.next(|packet| {
            let hook = Hook { interface: packet.interface, direction: packet.direction, link: packet.link };
            // A capture has what passed an interface: super-packets are in it as one, and counted as one.
            let size = Size { bytes: packet.wire_len, segments: 1 };
            let mut step = Step { time_ns: packet.time_ns, record: None, evicted: None };
            probe.process(
                &Packet { bytes: packet.bytes, size, hook },
                &PacketTime(packet.time_ns),
                |bytes| {
                    let record = Record::decode(bytes).expect("made by the same version");
                    match located(record, locals) {
                        record @ Record::Segment(_) => step.record = Some(record),
                        record @ Record::EvictedFlow(_) => step.evicted = Some(record),
                    }
                },
            );
            step
        })
    }

    /// What every flow that is known has sent.
    pub fn volumes(&self) -> impl Iterator<Item = FlowVolumes> {
        self.probe.flows().map(|(ends, state)| FlowVolumes::of(ends, state)).map(|flow| {
            let [low, high] = flow.ends.endpoints();
            let is_unknown = flow.learned == Some(Direction::Unknown);
            let said = is_unknown.then(|| self.locals.direction(low.address, high.address));
            FlowVolumes { learned: said.or(flow.learned), ..flow }
        })
    }

    /// What was counted so far.
    #[must_use]
    pub const fn counters(&self) -> &Counters {
        self.probe.counters()
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

/// The same record, with the direction that the local addresses tell where the capture does not.
fn located(mut record: Record, locals: &Locals) -> Record {
    match &mut record {
        Record::Segment(segment) if segment.direction == Direction::Unknown => {
            segment.direction = locals.direction(segment.source.address, segment.destination.address);
        }
        Record::EvictedFlow(flow) if flow.learned == Some(Direction::Unknown) => {
            let [low, high] = flow.ends;
            flow.learned = Some(locals.direction(low.address, high.address));
        }
        Record::Segment(_) | Record::EvictedFlow(_) => {}
    }
    record
}
