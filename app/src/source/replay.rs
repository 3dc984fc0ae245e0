//! Records out of a capture: the same parsing and the same verdicts as in the kernel, on captured bytes.

use probe_common::counter::{Counter, Counters};
use probe_common::encapsulation::{PassedOver, locate};
use probe_common::{
    Clock, Direction, Hook, LinkLayer, ParsedPacket, Record, Size, Told, Tools, Unparsed, fast_path, process,
};

use super::capture::{Capture, CaptureError, Locals, Next};
use super::states::HostStates;
use tcptop_core::table::FlowVolumes;

/// A capture that gives records.
pub struct ReplaySource {
    capture: Capture,
    states: HostStates,
    locals: Locals,
    counters: Counters,
    room: ParsedPacket,
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

/// The time of a packet.
struct PacketTime(u64);

/// Length of an epoch: about that of the kernel's at 250 Hz.
const EPOCH_NS: u64 = 256_000_000;

impl Clock for PacketTime {
    fn now_ns(&self) -> u64 {
        self.0
    }

    #[allow(clippy::cast_possible_truncation, reason = "epochs are compared; they wrap after 34 years")]
    fn epoch(&self) -> u32 {
        (self.0 / EPOCH_NS) as u32
    }
}

impl ReplaySource {
    /// Takes a capture; `flows` is how many flows are remembered, `locals` which addresses are this host's.
    #[must_use]
    pub fn new(capture: Capture, flows: usize, locals: Locals) -> Self {
        Self {
            capture,
            states: HostStates::new(flows),
            locals,
            counters: Counters::default(),
            room: ParsedPacket::NOTHING,
        }
    }

    /// The next packet, without waiting for more bytes.
    ///
    /// # Errors
    /// When the capture cannot be read on.
    pub fn step(&mut self) -> Result<Next<Step>, CaptureError> {
        let Self { capture, states, locals, counters, room } = self;
        capture.next(|packet| {
            let inner = match locate(packet.bytes, packet.first, true) {
                Ok(inner) => inner,
                Err(passed_over) => {
                    if passed_over == PassedOver::Truncated {
                        count(counters, Counter::Unparsed(Unparsed::Truncated));
                    }
                    return Step { time_ns: packet.time_ns, record: None, evicted: None };
                }
            };
            let hook =
                Hook { interface: packet.interface, direction: packet.direction, link: LinkLayer::None };
            let bytes = &packet.bytes[inner.offset..];
            let offset = u32::try_from(inner.offset).unwrap_or(u32::MAX);
            // A capture has what passed an interface: super-packets are in it as one, and counted as one.
            let size = Size { bytes: packet.wire_len.saturating_sub(offset), segments: 1 };
            let time = PacketTime(packet.time_ns);
            let mut told = Told::default();
            let mut tools = Tools { states: &mut *states, clock: &time, records: &mut told };
            if !fast_path(bytes, size, &hook, &mut tools, || Some(room)) {
                // A capture that was cut to the headers may have both lengths of its packets cut, too.
                let processed = match process(bytes, size, &hook, &mut tools) {
                    Err(Unparsed::Truncated) => {
                        process(bytes, Size { bytes: u32::MAX, ..size }, &hook, &mut tools)
                    }
                    processed => processed,
                };
                if let Err(unparsed) = processed {
                    count(counters, Counter::Unparsed(unparsed));
                }
            }
            let record = told.0.map(|mut record| {
                if record.direction == Direction::Unknown || !locals.0.is_empty() {
                    record.direction = locals.direction(record.source.address, record.destination.address);
                }
                record
            });
            let evicted = states.take_evicted();
            for told in record.iter().chain(&evicted) {
                count(counters, Counter::Submitted(told.kind));
            }
            if evicted.is_some() {
                count(counters, Counter::Evicted);
            }
            Step { time_ns: packet.time_ns, record, evicted }
        })
    }

    /// What every flow that is known has sent.
    pub fn volumes(&self) -> impl Iterator<Item = FlowVolumes> {
        self.states.volumes().map(|flow| {
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
