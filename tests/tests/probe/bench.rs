//! The two that must agree: the programs in the kernel, and the same code here.

use std::collections::HashMap;
use std::fs;

use aya::maps::{HashMap as KernelHashMap, MapData, PerCpuArray, RingBuf};
use aya::programs::links::LinkOrder;
use aya::programs::tc::TcAttachOptions;
use aya::programs::{ProgramError, SchedClassifier, TcAttachType, TestRun, TestRunOptions};
use aya::{Ebpf, EbpfLoader};
use lab::Namespace;
use nix::time::{ClockId, clock_gettime};
use probe_common::counter::{COUNTERS, Counters};
use probe_common::{
    Counter, Direction, FlowKey, FlowState, FlowStates, Hook, LinkLayer, RawRecord, Record, observe,
};
use probe_ebpf::{OBJECT, names};

/// What a program that only looks must answer (`linux/bpf.h`).
const TCX_NEXT: i32 = -1;
/// `BPF_PROG_TEST_RUN` shows packets as if on the loopback interface of the namespace.
const LOOPBACK: u32 = 1;

/// What `BPF_PROG_TEST_RUN` asks of a packet, whatever the program reads: an Ethernet header, and the fixed part
/// of the IP header that it announces (bpf_prog_test_run_skb).
pub(crate) fn shortest(frame: &[u8]) -> usize {
    match frame.get(12..14) {
        Some([0x08, 0x00]) => 14 + 20,
        Some([0x86, 0xdd]) => 14 + 40,
        _ => 14,
    }
}

/// What came of a frame.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    /// Their times are 0, so that they can be compared.
    pub(crate) records: Vec<Record>,
    /// What was counted in addition.
    pub(crate) counted: Counters,
}

/// Every program of the object, and where it is meant to be.
pub(crate) fn programs() -> impl Iterator<Item = (&'static str, Hook)> {
    let directions = [Direction::Ingress, Direction::Egress, Direction::Local];
    let hooks = directions.into_iter().flat_map(|direction| {
        [LinkLayer::Ethernet, LinkLayer::None].map(|link| Hook { interface: LOOPBACK, direction, link })
    });
    hooks.filter_map(|hook| Some((names::program(hook.link, hook.direction)?, hook)))
}

/// The probe, loaded.
pub(crate) struct Kernel {
    ebpf: Ebpf,
    ring: RingBuf<MapData>,
    counters: PerCpuArray<MapData, [u64; COUNTERS]>,
    flows_v4: KernelHashMap<MapData, [u8; 16], [u8; 16]>,
    flows_v6: KernelHashMap<MapData, [u8; 40], [u8; 16]>,
}

impl Kernel {
    /// Loads the committed object, or the one that the environment names.
    pub(crate) fn load() -> Self {
        let fresh = std::env::var_os("TCPTOP_PROBE_OBJECT").map(|path| fs::read(path).expect("an object"));
        let mut ebpf = EbpfLoader::new().load(fresh.as_deref().unwrap_or(OBJECT)).expect("it loads");
        assert_eq!(programs().count(), names::PROGRAMS.len(), "a program without a place");
        for name in names::PROGRAMS {
            let program: &mut SchedClassifier = ebpf.program_mut(name).expect(name).try_into().expect(name);
            program.load().expect("the verifier accepts it");
        }
        let [v4, v6] = names::FLOWS.map(|name| ebpf.take_map(name).expect(name));
        let mut take = |name| ebpf.take_map(name).expect(name);
        Self {
            ring: RingBuf::try_from(take(names::RECORDS)).expect("a ring buffer"),
            counters: PerCpuArray::try_from(take(names::COUNTERS)).expect("an array"),
            flows_v4: KernelHashMap::try_from(v4).expect("16 bytes of key and of state"),
            flows_v6: KernelHashMap::try_from(v6).expect("40 bytes of key, 16 of state"),
            ebpf,
        }
    }

    /// Shows a program a frame; `None` when the kernel refuses to.
    pub(crate) fn run(&mut self, name: &str, frame: &[u8]) -> Option<Seen> {
        let before = self.counters();
        let program: &SchedClassifier =
            self.ebpf.program(name).expect("it is in the object").try_into().expect("a classifier");
        let options = TestRunOptions { data_in: Some(frame), ..TestRunOptions::new() };
        let started_ns = monotonic_ns();
        let result = match program.test_run(options) {
            Ok(result) => result,
            Err(ProgramError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(nix::libc::EINVAL) =>
            {
                return None;
            }
            Err(error) => panic!("{name}: {error}"),
        };
        assert_eq!(result.return_value.cast_signed(), TCX_NEXT, "{name} gives a verdict on {frame:02x?}");
        Some(self.seen(&before, started_ns))
    }

    /// What comes of what `act` does.
    pub(crate) fn watch(&mut self, act: impl FnOnce()) -> Seen {
        let (before, started_ns) = (self.counters(), monotonic_ns());
        act();
        self.seen(&before, started_ns)
    }

    fn seen(&mut self, before: &Counters, started_ns: u64) -> Seen {
        let mut records = Vec::new();
        while let Some(item) = self.ring.next() {
            let mut record = RawRecord::decode(&item).expect("a record");
            let time_ns = std::mem::take(&mut record.time_ns);
            assert!(
                (started_ns..=monotonic_ns()).contains(&time_ns),
                "{time_ns} is not the monotonic clock's"
            );
            records.push(record);
        }
        let mut counted = self.counters();
        counted.0.iter_mut().zip(before.0).for_each(|(now, before)| *now -= before);
        Seen { records, counted }
    }

    fn counters(&self) -> Counters {
        let mut sum = Counters::default();
        self.counters.get(&0, 0).expect("one element").iter().for_each(|cells| sum.add(cells));
        sum
    }

    /// Forgets all flows.
    pub(crate) fn forget(&mut self) {
        let keys: Vec<_> = self.flows_v4.keys().collect::<Result<_, _>>().expect("it can be listed");
        keys.iter().for_each(|key| self.flows_v4.remove(key).expect("it was listed"));
        let keys: Vec<_> = self.flows_v6.keys().collect::<Result<_, _>>().expect("it can be listed");
        keys.iter().for_each(|key| self.flows_v6.remove(key).expect("it was listed"));
    }

    /// Attaches a program where packets come in.
    pub(crate) fn attach(&mut self, name: &str, namespace: &Namespace, interface: &str) {
        let program: &mut SchedClassifier =
            self.ebpf.program_mut(name).expect("it is in the object").try_into().expect("a classifier");
        let order = TcAttachOptions::TcxOrder(LinkOrder::first());
        let attach = || program.attach_with_options(interface, TcAttachType::Ingress, order).map(drop);
        namespace.run(attach).expect("it attaches");
    }
}

/// The same code on the same bytes.
#[derive(Default)]
pub(crate) struct Host {
    states: States,
}

#[derive(Default)]
struct States(HashMap<FlowKey, FlowState>);

impl FlowStates for States {
    fn get(&mut self, key: &FlowKey) -> Option<&mut FlowState> {
        self.0.get_mut(key)
    }

    fn insert(&mut self, key: &FlowKey, state: FlowState) {
        self.0.insert(*key, state);
    }

    fn remove(&mut self, key: &FlowKey) {
        self.0.remove(key);
    }
}

impl Host {
    pub(crate) fn run(&mut self, hook: &Hook, frame: &[u8]) -> Seen {
        let length = u32::try_from(frame.len()).expect("short");
        let mut seen = Seen::default();
        let counter = match observe(frame, length, hook, &mut self.states) {
            Ok(None) => return seen,
            Ok(Some(sighting)) => {
                let segment = sighting.segment;
                seen.records.push(Record {
                    time_ns: 0,
                    interface: hook.interface,
                    kind: sighting.kind,
                    direction: hook.direction,
                    source: segment.source,
                    destination: segment.destination,
                    seq: segment.seq,
                    ack: segment.ack,
                    flags: segment.flags,
                    payload_len: segment.payload_len,
                    timestamps: sighting.timestamps,
                });
                Counter::Submitted(sighting.kind)
            }
            Err(unparsed) => Counter::Unparsed(unparsed),
        };
        if let Some(cell) = counter.cell() {
            seen.counted.0[cell] = 1;
        }
        seen
    }
}

fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has it");
    let seconds = u64::try_from(now.tv_sec()).expect("since boot");
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec()).expect("below a second")
}
