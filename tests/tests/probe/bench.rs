//! Kernel and host, which must agree.

use std::fs;

use aya::maps::{Array, MapData, PerCpuArray, RingBuf};
use aya::programs::links::LinkOrder;
use aya::programs::tc::{TcAttachOptions, qdisc_add_clsact};
use aya::programs::{ProgramError, SchedClassifier, TcAttachType, TestRun, TestRunOptions};
use aya::{Ebpf, EbpfLoader, Pod};
use lab::Namespace;
use nix::time::{ClockId, clock_gettime};
use probe_common::buckets::Bucket;
use probe_common::counter::{COUNTERS, Counters};
use probe_common::encapsulation::Encapsulation;
use probe_common::key::{FlowKey4, FlowKey6};
use probe_common::{
    Counter, Direction, EvictedFlowRecord, FlowState, Hook, LinkLayer, Record, SegmentClass, SegmentRecord,
    TcpFlags, parse,
};
use probe_ebpf::{OBJECT, names};

use crate::host::{Flows, Host, SEED};

/// The only verdict that a passive program may return (`linux/bpf.h`).
const TCX_NEXT: i32 = -1;
/// `BPF_PROG_TEST_RUN` runs packets as if on the loopback interface of the namespace.
const LOOPBACK: u32 = 1;
/// Where `gso_segs` is in `struct __sk_buff` (`linux/bpf.h`).
const GSO_SEGS: usize = 164;

/// The shortest packet that `BPF_PROG_TEST_RUN` accepts, whatever the program reads: an Ethernet header, and the
/// fixed part of the IP header that it announces (bpf_prog_test_run_skb).
pub(crate) fn shortest(frame: &[u8]) -> usize {
    match frame.get(12..14) {
        Some([0x08, 0x00]) => 14 + 20,
        Some([0x86, 0xdd]) => 14 + 40,
        _ => 14,
    }
}

/// A packet, and the number of segments in it (GSO, GRO).
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame<'a> {
    pub(crate) bytes: &'a [u8],
    pub(crate) segments: u32,
}

impl<'a> Frame<'a> {
    pub(crate) fn one(bytes: &'a [u8]) -> Self {
        Self { bytes, segments: 1 }
    }
}

/// What a frame caused.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Seen {
    pub(crate) records: Vec<Record>,
    /// The increments of the counters.
    pub(crate) counted: Counters,
}

impl Seen {
    pub(crate) fn count(&mut self, counter: Counter) {
        if let Some(cell) = counter.cell() {
            self.counted.0[cell] += 1;
        }
    }

    /// The same without unpredictable values: times are 0, and the age of a hole is 1 if there is one.
    pub(crate) fn timeless(mut self) -> Self {
        for record in &mut self.records {
            match record {
                Record::Segment(segment) => {
                    segment.time_ns = 0;
                    if segment.class.hole_age_us() > 0 {
                        segment.class = SegmentClass::retransmit(1);
                    }
                }
                Record::EvictedFlow(flow) => flow.time_ns = 0,
                Record::Icmp(icmp) => icmp.time_ns = 0,
                Record::Owner(owner) => owner.time_ns = 0,
                Record::Reset(reset) => reset.time_ns = 0,
            }
        }
        self
    }

    /// Records of flows that were evicted.
    pub(crate) fn evicted(&self) -> impl Iterator<Item = &EvictedFlowRecord> {
        self.records.iter().filter_map(|record| match record {
            Record::EvictedFlow(flow) => Some(flow),
            Record::Segment(_) | Record::Owner(_) | Record::Reset(_) | Record::Icmp(_) => None,
        })
    }

    /// The first record, which is a segment's.
    pub(crate) fn segment(&self) -> &SegmentRecord {
        match self.records.first() {
            Some(Record::Segment(segment)) => segment,
            _ => panic!("no segment: {self:?}"),
        }
    }
}

/// The kernel runs the programs with a socket of its own, whose cookie nobody can predict: it is there in the records that
/// have one, and taken out of them, because on the host there is no socket.
fn check_cookie(segment: &mut SegmentRecord) {
    let has = |flags| segment.flags.has(flags);
    let is_of_process = has(TcpFlags::SYN) || has(TcpFlags::FIN) || segment.payload_len > 0;
    let has_cookie = is_of_process && !has(TcpFlags::RST) && segment.encapsulation == Encapsulation::None;
    assert_eq!(core::mem::take(&mut segment.cookie) != 0, has_cookie, "{segment:?}");
}

/// Every program of the object, and the hook that it is for.
pub(crate) fn programs() -> impl Iterator<Item = (&'static str, Hook)> {
    let directions = [Direction::Ingress, Direction::Egress, Direction::Local];
    let hooks = directions.into_iter().flat_map(|direction| {
        [LinkLayer::Ethernet, LinkLayer::None].map(|link| Hook { interface: LOOPBACK, direction, link })
    });
    hooks.filter_map(|hook| Some((names::program(hook.link, hook.direction)?, hook)))
}

/// A bucket as it is read from a map and written to one.
#[repr(transparent)]
struct InMap<K>(Bucket<K>);

impl<K: Copy> Copy for InMap<K> {}
impl<K: Copy> Clone for InMap<K> {
    fn clone(&self) -> Self {
        *self
    }
}

// SAFETY: integers without padding; any bits are valid.
unsafe impl Pod for InMap<FlowKey4> {}
// SAFETY: as above.
unsafe impl Pod for InMap<FlowKey6> {}

/// The probe, loaded.
pub(crate) struct Kernel {
    ebpf: Ebpf,
    ring: RingBuf<MapData>,
    counters: PerCpuArray<MapData, [u64; COUNTERS]>,
    flows_v4: Array<MapData, InMap<FlowKey4>>,
    flows_v6: Array<MapData, InMap<FlowKey6>>,
}

impl Kernel {
    /// Loads the committed object, or the one that the environment names, with this many buckets for each family: few,
    /// because all of them are read after each frame.
    pub(crate) fn load(buckets: u32) -> Self {
        Self::load_with(buckets, false)
    }

    /// The same; with `decap` the programs look into tunnels and the like.
    pub(crate) fn load_with(buckets: u32, decap: bool) -> Self {
        let decap = u32::from(decap);
        let fresh = std::env::var_os("TCPTOP_PROBE_OBJECT").map(|path| fs::read(path).expect("an object"));
        let mut loader = EbpfLoader::new();
        loader.override_global("BUCKETS", &buckets, true).override_global("HASH_SEED", &SEED, true);
        loader.override_global(names::DECAP, &decap, true);
        for name in names::FLOWS {
            loader.map_max_entries(name, buckets);
        }
        let mut ebpf = loader.load(fresh.as_deref().unwrap_or(OBJECT)).expect("it loads");
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
            flows_v4: Array::try_from(v4).expect("an array of buckets"),
            flows_v6: Array::try_from(v6).expect("an array of buckets"),
            ebpf,
        }
    }

    /// The number of instructions that the verifier processed, for each program.
    pub(crate) fn verified_instructions(&self) -> Vec<(&'static str, Option<u32>)> {
        let count = |name| {
            let program: &SchedClassifier =
                self.ebpf.program(name).expect(name).try_into().expect("a classifier");
            (name, program.info().expect("it is loaded").verified_instruction_count())
        };
        names::PROGRAMS.into_iter().map(count).collect()
    }

    /// Runs a program on a frame; `None` if the kernel refuses to.
    pub(crate) fn run(&mut self, name: &str, frame: &Frame<'_>) -> Option<Seen> {
        let before = self.counters();
        let program: &SchedClassifier =
            self.ebpf.program(name).expect("it is in the object").try_into().expect("a classifier");
        let mut context = [0; GSO_SEGS + 4];
        context[GSO_SEGS..].copy_from_slice(&frame.segments.to_ne_bytes());
        let options =
            TestRunOptions { data_in: Some(frame.bytes), ctx_in: Some(&context), ..TestRunOptions::new() };
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

    /// What `act` causes.
    pub(crate) fn watch(&mut self, act: impl FnOnce()) -> Seen {
        let (before, started_ns) = (self.counters(), monotonic_ns());
        act();
        self.seen(&before, started_ns)
    }

    fn seen(&mut self, before: &Counters, started_ns: u64) -> Seen {
        let mut records = Vec::new();
        while let Some(item) = self.ring.next() {
            let mut record = Record::decode(&item).expect("a record");
            if let Record::Segment(segment) = &mut record {
                check_cookie(segment);
            }
            assert!(
                (started_ns..=monotonic_ns()).contains(&record.time_ns()),
                "{} is not the monotonic clock's",
                record.time_ns()
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

    /// All flow states.
    pub(crate) fn flows(&self) -> Flows {
        let v4 = (0..self.flows_v4.len()).map(|at| self.flows_v4.get(&at, 0).expect("it is there").0);
        let v6 = (0..self.flows_v6.len()).map(|at| self.flows_v6.get(&at, 0).expect("it is there").0);
        Flows { v4: v4.collect(), v6: v6.collect() }
    }

    /// Replaces all flow states.
    pub(crate) fn remember(&mut self, flows: &Flows) {
        for (at, bucket) in (0..).zip(&flows.v4) {
            self.flows_v4.set(at, InMap(*bucket), 0).expect("it is there");
        }
        for (at, bucket) in (0..).zip(&flows.v6) {
            self.flows_v6.set(at, InMap(*bucket), 0).expect("it is there");
        }
    }

    /// Removes all flow states.
    pub(crate) fn forget(&mut self) {
        self.remember(&Flows::none(self.flows_v4.len()));
    }

    /// Attaches a program at ingress.
    pub(crate) fn attach(&mut self, name: &str, namespace: &Namespace, interface: &str) {
        let program: &mut SchedClassifier =
            self.ebpf.program_mut(name).expect("it is in the object").try_into().expect("a classifier");
        let order = TcAttachOptions::TcxOrder(LinkOrder::first());
        let attach = || match program.attach_with_options(interface, TcAttachType::Ingress, order) {
            // Before Linux 6.6 there is no TCX, and the program becomes a filter of the clsact discipline.
            Err(ProgramError::SyscallError(error))
                if error.io_error.raw_os_error() == Some(nix::libc::EINVAL) =>
            {
                qdisc_add_clsact(interface).expect("the interface is new");
                program.attach(interface, TcAttachType::Ingress).map(drop)
            }
            attached => attached.map(drop),
        };
        namespace.run(attach).expect("it attaches");
    }
}

/// Kernel and host, side by side.
pub(crate) struct Both {
    kernel: Kernel,
    host: Host,
}

impl Both {
    /// See [`Kernel::load`].
    pub(crate) fn load(buckets: u32) -> Self {
        Self { kernel: Kernel::load(buckets), host: Host::new(buckets) }
    }

    /// See [`Kernel::load_with`].
    pub(crate) fn with_decap(buckets: u32) -> Self {
        Self { kernel: Kernel::load_with(buckets, true), host: Host::with_decap(buckets) }
    }

    /// Runs both on a frame. Their records must be equal byte for byte, times included, and so must their flow states.
    /// `None` if the kernel refuses the frame.
    ///
    /// The kernel goes first, and the host uses the time of its record. Without a record the exact time does not
    /// matter.
    pub(crate) fn run(
        &mut self,
        name: &str,
        hook: &Hook,
        frame: &Frame<'_>,
        place: impl Fn() -> String,
    ) -> Option<Seen> {
        let started_ns = monotonic_ns();
        let there = self.kernel.run(name, frame)?;
        let now_ns = there.records.first().map_or(started_ns, Record::time_ns);
        let here = self.host.run(hook, frame, now_ns);
        assert_eq!(there, here, "the kernel (left) is not the host (right): {}", place());
        let times_ns = now_ns..=monotonic_ns();
        if let Err(difference) = self.host.agree(&self.kernel.flows(), &times_ns) {
            panic!("they remember what differs, {difference}: {}", place());
        }
        Some(there)
    }

    /// Removes all flow states.
    pub(crate) fn forget(&mut self) {
        self.kernel.forget();
        self.host.forget();
    }

    /// The number of flows that they know.
    pub(crate) fn count(&self) -> usize {
        self.host.count()
    }

    /// Edits the state of the flow of this frame, in both.
    pub(crate) fn edit(&mut self, hook: &Hook, frame: &[u8], edit: impl FnOnce(&mut FlowState)) {
        edit(self.look(hook, frame));
        self.kernel.remember(&self.host.flows());
    }

    /// The state of the flow of this frame.
    pub(crate) fn look(&mut self, hook: &Hook, frame: &[u8]) -> &mut FlowState {
        let length = u32::try_from(frame.len()).expect("short");
        let segment = parse(frame, hook.link, length).expect("a segment");
        self.host.flow_mut(&segment, hook.interface).expect("a flow that they remember")
    }
}

pub(crate) fn monotonic_ns() -> u64 {
    let now = clock_gettime(ClockId::CLOCK_MONOTONIC).expect("every Linux has it");
    let seconds = u64::try_from(now.tv_sec()).expect("since boot");
    seconds * 1_000_000_000 + u64::try_from(now.tv_nsec()).expect("below a second")
}
