//! Packets of any kind, one after the other, through parser and state machine.
//!
//! An input is a byte that chooses the hook, then packets: a byte for the time since the last one, two for the length, and
//! as many bytes.

use lab::capture::packet;
use lab::conversation::{segment, v4};
use lab::icmp::IcmpError;
use lab::scenario::{self, Variant};
use probe_common::{
    Cause, Direction, FlowState, Hook, LinkLayer, Record, SegmentRecord, TcpFlags, Volume, icmp,
};
use probe_host::{HostProbe, Packet, PacketTime};

const INTERFACE: u32 = 7;
/// So few that flows are evicted by each other.
const FLOWS: u32 = 4;
const SEED: u64 = 0x5eed;
const START_NS: u64 = 1 << 40;

/// The fast path and the long way must have the same results, and each record must be sound.
pub(crate) fn run(data: &[u8]) {
    let Some((&choice, mut rest)) = data.split_first() else { return };
    let hook = hook(choice);
    let mut fast = HostProbe::with_seed(FLOWS, SEED);
    let mut slow = HostProbe::with_seed(FLOWS, SEED).without_fast_path();
    let mut now_ns = START_NS;
    while let Some((&[pause, low, high], behind)) = rest.split_first_chunk() {
        now_ns += 1 << (pause % 40);
        let length = usize::from(u16::from_le_bytes([low, high])).min(behind.len());
        let (bytes, behind) = behind.split_at(length);
        rest = behind;
        let records = [&mut fast, &mut slow].map(|probe| {
            let mut records = Vec::new();
            probe.process(&Packet::whole(bytes, hook), &PacketTime(now_ns), |bytes| {
                records.push(Record::decode(bytes).expect("the probe's own"));
            });
            records
        });
        assert_eq!(records[0], records[1], "the fast path differs");
        records[0].iter().for_each(|record| check(record, now_ns));
    }
    assert_eq!(fast.counters(), slow.counters());
    let flows =
        [&fast, &slow].map(|probe| probe.flows().map(|(ends, state)| (ends, *state)).collect::<Vec<_>>());
    assert_eq!(flows[0], flows[1], "the fast path remembers something else");
    flows[0].iter().for_each(|(_, state)| check_state(state));
}

fn hook(choice: u8) -> Hook {
    let link = if choice & 4 == 0 { LinkLayer::Ethernet } else { LinkLayer::None };
    let direction = [Direction::Ingress, Direction::Egress, Direction::Local, Direction::Unknown];
    Hook { interface: INTERFACE, direction: direction[usize::from(choice & 3)], link }
}

fn check(record: &Record, now_ns: u64) {
    assert_eq!(record.time_ns(), now_ns);
    match record {
        Record::Segment(segment) => {
            assert_eq!((segment.interface, segment.segments), (INTERFACE, 1));
            segment.volumes.iter().for_each(check_volume);
        }
        Record::EvictedFlow(flow) => {
            assert!(flow.interface == INTERFACE && flow.ends[0] <= flow.ends[1]);
            flow.volumes.iter().for_each(check_volume);
        }
        Record::Icmp(icmp) => {
            assert!(icmp.interface == INTERFACE && icmp::is_error(icmp.family, icmp.icmp_type))
        }
        Record::Owner(owner) => panic!("no packet says it: {owner:?}"),
        Record::Reset(reset) => panic!("no packet says it: {reset:?}"),
    }
}

fn check_state(state: &FlowState) {
    state.trackers.iter().for_each(|tracker| check_volume(&tracker.volume));
}

/// A part is never more than its whole.
fn check_volume(volume: &Volume) {
    let by_cause: u64 = Cause::ALL.into_iter().map(|cause| volume.caused_by(cause)).sum();
    assert!(by_cause <= volume.retransmits.into(), "{volume:?}");
    assert!(
        u64::from(volume.retransmits) <= volume.segments && volume.segments <= volume.bytes,
        "{volume:?}"
    );
}

/// Every scenario, at a hook of each kind.
pub(crate) fn seeds() -> Vec<Vec<u8>> {
    let scenarios = scenario::all().expect("well-formed");
    let mut seeds = Vec::new();
    for scenario in &scenarios {
        for (variant, choice) in Variant::ALL.into_iter().zip((0..8).cycle()) {
            let link_type = if hook(choice).link == LinkLayer::Ethernet { 1 } else { 101 };
            let mut seed = vec![choice];
            for segment in scenario.records(variant) {
                let bytes = packet(&segment, link_type);
                seed.push(20);
                seed.extend(u16::try_from(bytes.len()).unwrap_or(u16::MAX).to_le_bytes());
                seed.extend(bytes);
            }
            seeds.push(seed);
        }
    }
    seeds.extend((0..8).flat_map(icmp_errors));
    seeds
}

/// A SYN, and errors about it: as a router quotes it, cut, and with extensions.
fn icmp_errors(choice: u8) -> Vec<Vec<u8>> {
    let [client, server] = [v4([10, 1, 0, 1], 40_000), v4([10, 1, 0, 2], 443)];
    let syn = packet(&SegmentRecord { seq: 7, ..segment(client, server, TcpFlags::SYN) }, 101);
    let error = IcmpError { mtu: 1_400, ..IcmpError::new([10, 9, 9, 1].into(), 3, 4) };
    let errors = [error.packet(&syn), error.packet(&syn[..28]), error.packet_with_extensions(&syn)];
    let link: &[u8] = match hook(choice).link {
        LinkLayer::Ethernet => &[2, 0, 0, 0, 0, 1, 2, 0, 0, 0, 0, 2, 8, 0],
        LinkLayer::None => &[],
    };
    let seed = |error: Vec<u8>| {
        let mut seed = vec![choice];
        for bytes in [&syn, &error] {
            seed.push(20);
            seed.extend(u16::try_from(link.len() + bytes.len()).expect("short").to_le_bytes());
            seed.extend([link, bytes].concat());
        }
        seed
    };
    errors.map(seed).into()
}
