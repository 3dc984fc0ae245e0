//! Records as the ring buffer hands them over.

use lab::capture::packet;
use lab::scenario::{self, Variant};
use probe_common::{Hook, LinkLayer, Record};
use probe_host::{HostProbe, Packet, PacketTime};

/// Bytes are a record or they are not; no part of one is, and none with something behind it.
pub(crate) fn run(data: &[u8]) {
    let Ok(record) = Record::decode(data) else { return };
    assert_eq!(Record::decode(data), Ok(record));
    assert!(Record::decode(&data[..data.len() - 1]).is_err());
    assert!(Record::decode(&[data, &[0]].concat()).is_err());
}

/// The records of every scenario, with flows that are evicted.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let mut probe = HostProbe::with_seed(1, 0);
    let mut seeds = Vec::new();
    for scenario in scenario::all().expect("well-formed") {
        for variant in Variant::ALL {
            for segment in scenario.records(variant) {
                let bytes = packet(&segment, 101);
                let hook = Hook { interface: 1, direction: segment.direction, link: LinkLayer::None };
                probe.process(&Packet::whole(&bytes, hook), &PacketTime(segment.time_ns), |bytes| {
                    seeds.push(bytes.to_vec());
                });
            }
        }
    }
    seeds
}
