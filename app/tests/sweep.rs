//! The sweep: volumes of flows, read from the maps of a real kernel.

use std::collections::HashMap;
use std::os::fd::AsFd;

use aya::maps::{Array, Map, MapData};
use aya::{EbpfLoader, Pod};
use probe_common::buckets::{self, Bucket, Candidate};
use probe_common::key::{Ends, FlowKey4, FlowKey6, Key};
use probe_common::segment::mapped_words;
use probe_common::state::Phase;
use probe_common::{Direction, Family, FlowState, Segment, Side, Volume};
use probe_ebpf::{OBJECT, names};
use tcptop::source::kernel::KernelFlows;
use tcptop_core::FlowVolumes;

/// More buckets than one system call reads.
const BUCKETS: u32 = 600;
const EPOCH: u32 = 1_000;

/// A bucket as it is written to a map.
#[repr(transparent)]
struct InMap<K>(Bucket<K>);

impl<K: Copy> Copy for InMap<K> {}
impl<K: Copy> Clone for InMap<K> {
    fn clone(&self) -> Self {
        *self
    }
}

// SAFETY: integers without padding.
unsafe impl Pod for InMap<FlowKey4> {}
// SAFETY: as above.
unsafe impl Pod for InMap<FlowKey6> {}

fn maps() -> [MapData; 2] {
    let mut loader = EbpfLoader::new();
    for name in names::FLOWS {
        loader.map_max_entries(name, BUCKETS);
    }
    let mut ebpf = loader.load(OBJECT).expect("it loads");
    names::FLOWS.map(|name| match ebpf.take_map(name) {
        Some(Map::Array(map)) => map,
        _ => panic!("no array {name}"),
    })
}

/// Other handles of the same maps: one is written, the other is read.
fn again(maps: &[MapData; 2]) -> [MapData; 2] {
    let again = |map: &MapData| {
        let fd = map.fd().as_fd().try_clone_to_owned().expect("a descriptor");
        MapData::from_fd(fd).expect("a map")
    };
    [again(&maps[0]), again(&maps[1])]
}

/// The state of a flow that has sent as many segments as its number.
fn state(number: u32, epoch: u32) -> FlowState {
    let mut state = FlowState {
        phase: Phase::OPEN,
        epoch,
        flags: FlowState::learned_from(Direction::Egress, Side::Low),
        ..FlowState::FREE
    };
    state.trackers[0].volume = Volume { segments: number.into(), ..Volume::NONE };
    state
}

fn segment(family: Family, number: u32) -> Segment {
    let mut segment = Segment::NOTHING;
    (segment.source, segment.destination) = match family {
        Family::V4 => (mapped_words(0x0a00_0001), mapped_words(0x0a00_0002)),
        Family::V6 => ([0xfd09 << 48, 1], [0xfd09 << 48, 2]),
    };
    segment.family = family;
    segment.source_port = u16::try_from(number).expect("a port");
    segment.destination_port = 443;
    segment
}

fn write<K: Key>(map: MapData, number: u32, key: &K, epoch: u32)
where
    InMap<K>: Pod,
{
    let mut map = Map::Array(map);
    let mut buckets: Array<_, InMap<K>> = (&mut map).try_into().expect("an array of buckets");
    let mut bucket = Bucket::EMPTY;
    // In any bucket: the sweep reads all of them.
    let slot = buckets::find_or_claim(&mut bucket, || None, key, 0, |_| Candidate::from_word(0), |_, _| {});
    *slot.expect("it is empty") = state(number, epoch);
    buckets.set(number % BUCKETS, InMap(bucket), 0).expect("there are more");
}

/// Writes a flow that was last seen in this epoch.
fn speak(maps: &[MapData; 2], family: Family, number: u32, epoch: u32) {
    let [v4, v6] = again(maps);
    let segment = segment(family, number);
    match family {
        Family::V4 => write(v4, number, &FlowKey4::of(&segment, 7).0, epoch),
        Family::V6 => write(v6, number, &FlowKey6::of(&segment, 7).0, epoch),
    }
}

fn sweep(flows: &mut KernelFlows) -> Vec<FlowVolumes> {
    let mut taken = Vec::new();
    flows.sweep(|flow| taken.push(*flow)).expect("the kernel gives them");
    taken
}

fn ports(taken: &[FlowVolumes]) -> Vec<u16> {
    let mut ports: Vec<u16> = taken.iter().map(|flow| flow.ends.ports[0]).collect();
    ports.sort_unstable();
    ports
}

#[test]
fn every_flow_is_read_once() {
    lab::needs_root!();
    let maps = maps();
    let [v4, v6] = again(&maps);
    let mut flows = KernelFlows::new(v4, v6);
    assert_eq!(sweep(&mut flows), []);
    for family in [Family::V4, Family::V6] {
        (1..=BUCKETS).for_each(|number| speak(&maps, family, number, EPOCH));
    }
    let taken = sweep(&mut flows);
    let known: HashMap<_, _> = taken.iter().map(|flow| (flow.ends.endpoints(), *flow)).collect();
    assert_eq!((taken.len(), known.len()), (2 * BUCKETS as usize, 2 * BUCKETS as usize));
    for flow in taken {
        let Ends { ports: [port, service], interface, .. } = flow.ends;
        assert_eq!((service, interface, flow.learned), (443, 7, Some(Direction::Egress)));
        assert_eq!(flow.volumes[0].segments, u64::from(port));
    }
}

/// Silent flows are skipped, but not before their epoch is over, in which more packets may have followed.
#[test]
fn silent_flows_are_skipped() {
    lab::needs_root!();
    let maps = maps();
    let [v4, v6] = again(&maps);
    let mut flows = KernelFlows::new(v4, v6);
    (1..=5).for_each(|number| speak(&maps, Family::V4, number, EPOCH));
    assert_eq!(ports(&sweep(&mut flows)), [1, 2, 3, 4, 5]);
    assert_eq!(ports(&sweep(&mut flows)), [1, 2, 3, 4, 5], "the epoch is not over");
    speak(&maps, Family::V6, 6, EPOCH + 1);
    assert_eq!(ports(&sweep(&mut flows)), [1, 2, 3, 4, 5, 6]);
    assert_eq!(ports(&sweep(&mut flows)), [1, 2, 3, 4, 5, 6], "it was seen as it began");
    speak(&maps, Family::V4, 2, EPOCH + 2);
    assert_eq!(ports(&sweep(&mut flows)), [1, 2, 3, 4, 5, 6]);
    assert_eq!(ports(&sweep(&mut flows)), [2, 6]);
    speak(&maps, Family::V4, 3, EPOCH + 9);
    assert_eq!(ports(&sweep(&mut flows)), [2, 3, 6]);
    assert_eq!(ports(&sweep(&mut flows)), [3]);
}
