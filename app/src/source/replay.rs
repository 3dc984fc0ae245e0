//! Records out of a capture: the same parsing and the same verdicts as in the kernel, on captured bytes.

use probe_common::counter::Counters;
use probe_common::encapsulation::{PassedOver, locate};
use probe_common::{Counter, Direction, Hook, LinkLayer, ParsedPacket, Record, Size, Unparsed};
use probe_host::{HostProbe, PacketTime};

use super::capture::{Capture, CaptureError, Locals, Next, Packet};
use tcptop_core::FlowVolumes;

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
            let mut step = Step { time_ns: packet.time_ns, record: None, evicted: None };
            let parsed = match read(&packet) {
                Ok(parsed) => parsed,
                Err(unparsed) => {
                    probe.count(Counter::Unparsed(unparsed));
                    return step;
                }
            };
            probe.process_parsed(&parsed, &PacketTime(packet.time_ns), |bytes| {
                let record = Record::decode(bytes).expect("made by the same version");
                match located(record, locals) {
                    record @ Record::Segment(_) => step.record = Some(record),
                    record @ Record::EvictedFlow(_) => step.evicted = Some(record),
                }
            });
            step
        })
    }

    /// What every flow that is known has sent.
    pub fn volumes(&self) -> impl Iterator<Item = FlowVolumes> {
        self.probe.flows().map(|(ends, state)| FlowVolumes::of(ends, state)).map(|flow| {
            let [low, high] = flow.ends.endpoints();
            let is_said = flow.learned.is_some() && !self.locals.0.is_empty();
            let is_unknown = is_said || flow.learned == Some(Direction::Unknown);
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

/// The segment in a packet.
fn read(packet: &Packet<'_>) -> Result<ParsedPacket, Unparsed> {
    let inner = locate(packet.bytes, packet.first, true).map_err(|passed_over| match passed_over {
        PassedOver::Truncated => Unparsed::Truncated,
        _ => Unparsed::NotTcp,
    })?;
    let hook = Hook { interface: packet.interface, direction: packet.direction, link: LinkLayer::None };
    // A capture has what passed an interface: super-packets are in it as one, and counted as one.
    let size = Size { bytes: packet.wire_len, segments: 1 };
    match ParsedPacket::read_inner(packet.bytes, inner, size, &hook) {
        // Tools that cut a capture to the headers may cut both lengths of its packets, too.
        Err(Unparsed::Truncated) => {
            ParsedPacket::read_inner(packet.bytes, inner, Size { bytes: u32::MAX, ..size }, &hook)
        }
        read => read,
    }
}

/// The same record, with the direction that the local addresses tell, where a person has named some or the capture tells
/// none.
fn located(mut record: Record, locals: &Locals) -> Record {
    let is_said = !locals.0.is_empty();
    match &mut record {
        Record::Segment(segment) if is_said || segment.direction == Direction::Unknown => {
            segment.direction = locals.direction(segment.source.address, segment.destination.address);
        }
        Record::EvictedFlow(flow) => {
            let [low, high] = flow.ends;
            let learned = flow.learned.as_mut();
            if let Some(learned) = learned.filter(|learned| is_said || **learned == Direction::Unknown) {
                *learned = locals.direction(low.address, high.address);
            }
        }
        Record::Segment(_) => {}
    }
    record
}
