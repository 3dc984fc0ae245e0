//! Records as the ring buffer hands them over, of connections without end.

use lab::Churn;
use lab::capture::packet;
use probe_common::{
    Clock, FlowState, Hook, Kind, LinkLayer, ParsedPacket, RawRecord, Records, SegmentClass, Size, Tools,
    process,
};
use tcptop::source::states::HostStates;

/// As the link type of a capture: packets without a link header.
const RAW_IP: u16 = 101;
/// Times are as if so many came: at least as many must be borne.
const RECORDS_PER_S: f64 = 2_000_000.0;
pub(super) const START_NS: u64 = 1 << 50;

/// The bytes of a record.
pub(crate) type Bytes = [u8; size_of::<RawRecord>()];

/// Makes records of segments by the probe's own code.
pub(crate) struct Feed {
    churn: Churn,
    states: HostStates,
}

/// The time of a segment.
struct At(u64);

impl Clock for At {
    fn now_ns(&self) -> u64 {
        self.0
    }

    fn epoch(&self) -> u32 {
        u32::try_from(self.0 >> 28).unwrap_or_default()
    }
}

/// The record of the segment that is being looked at, as it lies in the ring.
struct Raw(Option<RawRecord>);

impl Records for Raw {
    fn tell(
        &mut self,
        passage: &ParsedPacket,
        kind: Kind,
        time_ns: u64,
        arrival: SegmentClass,
        state: Option<&FlowState>,
    ) {
        self.0.insert(RawRecord::NOTHING).set(passage, kind as u32, time_ns, arrival, state);
    }
}

impl Feed {
    /// So many connections at a time.
    pub(crate) fn new(connections: u32) -> Self {
        let churn = Churn::new(connections, RECORDS_PER_S, START_NS);
        Self { churn, states: HostStates::new(connections as usize) }
    }

    /// Fills `batch` with the next records.
    pub(crate) fn fill(&mut self, batch: &mut [Bytes]) {
        batch.iter_mut().for_each(|bytes| *bytes = self.next());
    }

    fn next(&mut self) -> Bytes {
        loop {
            let segment = self.churn.next().expect("there is no end").segment;
            let bytes = packet(&segment, RAW_IP);
            let hook = Hook { interface: 1, direction: segment.direction, link: LinkLayer::None };
            let size = Size { bytes: u32::try_from(bytes.len()).expect("short"), segments: 1 };
            let mut raw = Raw(None);
            let mut tools =
                Tools { states: &mut self.states, clock: &At(segment.time_ns), records: &mut raw };
            process(&bytes[..], size, &hook, &mut tools).expect("well-formed");
            if let Some(record) = raw.0 {
                // SAFETY: a record is made of integers without padding, and as long as its bytes.
                return unsafe { std::mem::transmute::<RawRecord, Bytes>(record) };
            }
        }
    }
}
