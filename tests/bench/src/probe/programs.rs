//! The committed object, and an empty program to compare with.

use std::hash::{BuildHasher, RandomState};
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use anyhow::{Context, Result};
use aya::maps::{Array, MapData, RingBuf};
use aya::programs::links::LinkOrder;
use aya::programs::tc::TcAttachOptions;
use aya::programs::{ProgramFd, SchedClassifier, TcAttachType};
use aya::{Ebpf, EbpfLoader};
use lab::bpf;
use probe_common::buckets::{self, Bucket};
use probe_common::key::FlowKey4;
use probe_ebpf::{OBJECT, names};

/// The verdict of a program that only looks (`linux/bpf.h`).
const TCX_NEXT: i32 = -1;

/// The program that is measured with test runs; the others have the same body.
pub(super) const PROGRAM: &str = "ethernet_ingress";
/// The program for loopback.
pub(super) const LOOPBACK_PROGRAM: &str = "loopback";

/// How a packet differs from the one before: the 32 bits at `offset` increase by `by`.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) struct Step {
    pub(super) offset: i16,
    pub(super) by: u32,
}

impl Step {
    /// The same packet every time.
    pub(super) const SAME: Self = Self { offset: 0, by: 0 };
}

/// The two programs, each behind a step.
pub(super) struct Pair {
    pub(super) ours: Behind,
    pub(super) empty: Behind,
}

/// A program that is called by one that changes the packet first.
pub(super) struct Behind {
    pub(super) program: OwnedFd,
    /// The kernel empties the map when this is closed.
    _next: OwnedFd,
}

/// The loaded programs.
pub(super) struct Programs {
    ebpf: Ebpf,
    records: RingBuf<MapData>,
    empty: OwnedFd,
}

impl Programs {
    /// Loads the object with room for this many flows of each family.
    pub(super) fn load(flows: u32) -> Result<Self> {
        let (seed, buckets) = (RandomState::new().hash_one(0), buckets::buckets(flows));
        let mut loader = EbpfLoader::new();
        loader.override_global(names::HASH_SEED, &seed, true);
        loader.override_global(names::BUCKETS, &buckets, true);
        for name in names::FLOWS {
            loader.map_max_entries(name, buckets);
        }
        let mut ebpf = loader.load(OBJECT).context("cannot load the object")?;
        for name in [PROGRAM, LOOPBACK_PROGRAM] {
            classifier(&mut ebpf, name)?.load().with_context(|| format!("the verifier refuses {name}"))?;
        }
        let records = ebpf.take_map(names::RECORDS).context("the object has no ring")?;
        let empty = bpf::load(&bpf::answering(TCX_NEXT)).context("cannot load an empty program")?;
        Ok(Self { ebpf, records: RingBuf::try_from(records)?, empty })
    }

    /// The descriptor of one of the object's programs.
    pub(super) fn descriptor(&mut self, name: &str) -> Result<ProgramFd> {
        Ok(classifier(&mut self.ebpf, name)?.fd()?.try_clone()?)
    }

    /// The object's program and the empty one, each behind a step, so that the cost of the step is in both.
    pub(super) fn stepping(&mut self, step: Step) -> Result<Pair> {
        let ours = self.descriptor(PROGRAM)?;
        Ok(Pair { ours: behind(step, ours.as_fd())?, empty: behind(step, self.empty())? })
    }

    /// The empty program.
    pub(super) fn empty(&self) -> BorrowedFd<'_> {
        self.empty.as_fd()
    }

    /// Attaches one of the object's programs ahead of all others, to an interface in the calling thread's namespace,
    /// for as long as `self` lives.
    pub(super) fn attach(&mut self, name: &str, interface: &str) -> Result<()> {
        let order = TcAttachOptions::TcxOrder(LinkOrder::first());
        classifier(&mut self.ebpf, name)?.attach_with_options(interface, TcAttachType::Ingress, order)?;
        Ok(())
    }

    /// Clears the IPv4 flow states.
    pub(super) fn forget(&mut self) -> Result<()> {
        const EMPTY: [u8; size_of::<Bucket<FlowKey4>>()] = [0; size_of::<Bucket<FlowKey4>>()];
        let flows = self.ebpf.map_mut(names::FLOWS[0]).context("the object has no flow states")?;
        let mut flows: Array<_, [u8; EMPTY.len()]> = Array::try_from(flows)?;
        for bucket in 0..flows.len() {
            flows.set(bucket, EMPTY, 0)?;
        }
        Ok(())
    }

    /// Empties the ring and returns how many records it held.
    pub(super) fn drain(&mut self) -> u64 {
        let mut drained = 0;
        while self.records.next().is_some() {
            drained += 1;
        }
        drained
    }
}

fn behind(step: Step, program: BorrowedFd<'_>) -> Result<Behind> {
    let next = bpf::single_program(program).context("cannot make a map of programs")?;
    let program = bpf::load(&bpf::counting_up(step.offset, step.by.cast_signed(), &next));
    Ok(Behind { program: program.context("the verifier refuses a step")?, _next: next })
}

fn classifier<'e>(ebpf: &'e mut Ebpf, name: &str) -> Result<&'e mut SchedClassifier> {
    let program = ebpf.program_mut(name).with_context(|| format!("the object has no {name}"))?;
    Ok(program.try_into()?)
}
