//! Records as they come from the ring buffer, of an endless series of connections.

use lab::Churn;
use lab::capture::packet;
use probe_common::{Hook, LinkLayer, RawSegment};
use probe_host::{HostProbe, Packet, PacketTime};

/// As the link type of a capture: packets without a link header.
const RAW_IP: u16 = 101;
/// The rate that the times of the records correspond to, and that must be sustained at least.
const RECORDS_PER_S: f64 = 2_000_000.0;
pub(super) const START_NS: u64 = 1 << 50;

/// The bytes of a segment's record.
pub(crate) type Bytes = [u8; size_of::<RawSegment>()];

/// Makes records of segments with the probe's own code.
pub(crate) struct Feed {
    churn: Churn,
    probe: HostProbe,
}

impl Feed {
    /// With this many connections at the same time.
    pub(crate) fn new(connections: u32) -> Self {
        let churn = Churn::new(connections, RECORDS_PER_S, START_NS);
        Self { churn, probe: HostProbe::new(connections) }
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
            let mut record = None;
            self.probe.process(&Packet::whole(&bytes, hook), &PacketTime(segment.time_ns), |bytes| {
                // Records of evicted flows are shorter, and few.
                record = bytes.try_into().ok().or(record);
            });
            if let Some(record) = record {
                return record;
            }
        }
    }
}
