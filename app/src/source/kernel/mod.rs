//! The probe in the kernel: `load` it, `attach` it to interfaces, read its `ring` and `sweep` its flow states.
//!
//! Interfaces come and go during a run, and others may detach what was attached: [`KernelSource::check`] deals with it.
//! When this process ends, in whatever way, the kernel detaches everything, or makes it inert.

mod attach;
mod btf;
mod drops;
mod failures;
mod load;
mod owners;
mod resets;
mod retransmits;
mod ring;
mod sweep;
mod sys;

use std::fmt;
use std::io;

use aya::maps::{MapData, PerCpuArray};
use probe_common::PassedOver;
use probe_common::Record;
use probe_common::counter::{COUNTERS, Counters};
use probe_common::holder::Holder;
use probe_common::passed_over;
use probe_ebpf::names;

pub use self::attach::AttachWanted;
use self::attach::{AttachMethod, Attachment, Clsact, Tcx};
use self::drops::Drops;
use self::load::Programs;
pub use self::load::Settings;
pub use self::retransmits::{KernelRetransmits, Retold};
use self::ring::Ring;
pub use self::sweep::KernelFlows;
use super::interface::{self, Interface};
use super::passed_over::PassedOverCounts;
use crate::clock::monotonic_ns;
use crate::error::Error;
use tcptop_core::{Dropped, FlowVolumes};

/// The loaded probe, and the interfaces that it watches.
pub struct KernelSource {
    // Before the programs, so that they are detached first.
    watched: Vec<Watched>,
    programs: Programs,
    method: Box<dyn AttachMethod>,
    ring: Ring,
    counters: PerCpuArray<MapData, [u64; COUNTERS]>,
    passed_over: PerCpuArray<MapData, [u64; passed_over::CELLS]>,
    flows: KernelFlows,
    /// Names of interfaces that are up and not watched.
    unwatched: Vec<String>,
    drops: Option<Drops>,
}

/// An interface that is watched, or waited for.
struct Watched {
    name: String,
    /// The index that it had first. Its flows keep it when the interface is made again and has another.
    id: u32,
    state: State,
}

enum State {
    Attached {
        index: u32,
        attachments: Vec<Box<dyn Attachment>>,
    },
    /// There is none of that name, or it cannot be attached to, for the reason that was given last.
    Waiting(Option<String>),
}

/// What happened to an interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The name of the interface. Can hold control characters.
    pub name: String,
    /// What it is.
    pub what: What,
}

/// See [`Change`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum What {
    /// The interface is gone.
    Gone,
    /// There is an interface of that name again, and the probe is attached to it.
    Back(Since),
    /// Someone else had detached the probe. It is attached again.
    Detached(Since),
    /// The probe cannot be attached, for this reason.
    Failed(String),
}

/// Since when all packets of an interface are seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Since {
    /// The index under which its flows are known.
    pub interface: u32,
    /// The time, in nanoseconds of the monotonic clock.
    pub time_ns: u64,
}

impl Change {
    /// Since when all packets of the interface are seen, if that has begun anew.
    #[must_use]
    pub const fn since(&self) -> Option<Since> {
        match self.what {
            What::Back(since) | What::Detached(since) => Some(since),
            What::Gone | What::Failed(_) => None,
        }
    }
}

impl fmt::Display for Change {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = self.name.escape_debug();
        match &self.what {
            What::Gone => write!(f, "the interface is gone: {name}; waiting for it"),
            What::Back(_) => write!(f, "{name} is back and watched again"),
            What::Detached(_) => {
                write!(f, "the probe was detached from {name} by someone else, and is attached again")
            }
            What::Failed(reason) => write!(f, "{name} is not watched: {reason}"),
        }
    }
}

impl KernelSource {
    /// Loads the probe. Returns also what it cannot say although it is wanted: a sentence for each.
    ///
    /// # Errors
    /// When the kernel lacks something that the probe needs, or refuses it.
    pub fn load(settings: &Settings) -> Result<(Self, Vec<String>), Error> {
        let by_tcx = load::check_kernel(settings.attach)?;
        let method: Box<dyn AttachMethod> = if by_tcx {
            attach::remove_leftovers();
            Box::new(Tcx)
        } else {
            Box::new(Clsact::new()?)
        };
        let (mut programs, lacking) = Programs::new(settings)?;
        let ring = Ring::new(programs.take_map(names::RECORDS)?)?;
        let counters = PerCpuArray::try_from(programs.take_map(names::COUNTERS)?)
            .map_err(|error| Error::kernel("open the counters", error))?;
        let passed_over = PerCpuArray::try_from(programs.take_map(names::PASSED_OVER)?)
            .map_err(|error| Error::kernel("open the counters", error))?;
        let [v4, v6] = names::FLOWS.map(|name| programs.take_array(name));
        let flows = KernelFlows::new(v4?, v6?);
        let source = Self {
            watched: Vec::new(),
            programs,
            method,
            ring,
            counters,
            passed_over,
            flows,
            unwatched: Vec::new(),
            drops: None,
        };
        Ok((source, lacking.into_iter().collect()))
    }

    /// Has the kernel say from now on which processes use sockets, as far as it can. Returns why they are not known, or not
    /// all: a sentence for each reason. Records of segments do not depend on it.
    pub fn watch_owners(&mut self) -> Vec<String> {
        self.programs.attach_owners()
    }

    /// Whether the kernel lists who holds sockets.
    #[must_use]
    pub const fn has_holders(&self) -> bool {
        self.programs.has_holders()
    }

    /// Whether the kernel says of each socket who opens and who closes it.
    #[must_use]
    pub const fn names_all_owners(&self) -> bool {
        self.programs.names_all_owners()
    }

    /// Passes every process that holds a TCP socket to `take`: of this moment, in all network namespaces. None where the kernel
    /// cannot say, see [`watch_owners`](Self::watch_owners).
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn holders(&mut self, take: impl FnMut(Holder)) -> Result<(), Error> {
        self.programs.holders(take)
    }

    /// Has the kernel count from now on what the host itself drops. Returns why that is not known, if it cannot: a sentence.
    pub fn watch_drops(&mut self) -> Option<String> {
        match self.programs.attach_drops() {
            Ok(drops) => {
                self.drops = Some(drops);
                None
            }
            Err(reason) => Some(reason),
        }
    }

    /// Has the kernel tell from now on of each segment that it retransmits, in all network namespaces.
    ///
    /// # Errors
    /// Why it does not: a sentence.
    pub fn watch_retransmits(&mut self) -> Result<KernelRetransmits, String> {
        self.programs.attach_retransmits()
    }

    /// Has the kernel say from now on why this host sends RSTs. Returns why that is not known, if it cannot: a sentence.
    pub fn watch_resets(&mut self) -> Option<String> {
        let attached = self.programs.attach_resets();
        self.ring.await_reasons(attached.is_ok());
        attached.err()
    }

    /// Has the kernel tell from now on of connects that fail before any SYN passes. Returns why they are not known, or not all, if it
    /// cannot: a sentence. After [`watch_owners`](Self::watch_owners), if processes are named.
    pub fn watch_failures(&mut self) -> Option<String> {
        self.programs.attach_failures().err()
    }

    /// What the host has dropped since; `None` where that is not known.
    ///
    /// # Errors
    /// When the kernel does not allow it.
    pub fn drops(&self) -> Result<Option<Vec<Dropped>>, Error> {
        self.drops.as_ref().map(Drops::read).transpose()
    }

    /// How the probe is attached, as people know it.
    #[must_use]
    pub fn method(&self) -> &'static str {
        self.method.name()
    }

    /// Names of the interfaces at which packets pass programs of others first. What those end is not seen. The names can hold
    /// control characters.
    pub fn behind_others(&self) -> impl Iterator<Item = &str> {
        self.watched.iter().filter_map(|watched| match &watched.state {
            State::Attached { attachments, .. } => attachments
                .iter()
                .any(|attached| attached.is_behind_others())
                .then_some(watched.name.as_str()),
            State::Waiting(_) => None,
        })
    }

    /// Attaches the probe to an interface. What it says of packets before the returned time, of which some were not seen,
    /// is dropped.
    ///
    /// # Errors
    /// When the interface carries nothing that tcptop can read, is gone, or the kernel refuses.
    pub fn watch(&mut self, interface: &Interface) -> Result<Since, Error> {
        let mut watched =
            Watched { name: interface.name.clone(), id: interface.index, state: State::Waiting(None) };
        let since = self.attach(&mut watched, interface)?;
        self.watched.push(watched);
        Ok(since)
    }

    /// Detaches the probe from the interface that is known under this index, or no longer waits for it. Returns whether it
    /// was watched.
    pub fn unwatch(&mut self, interface: u32) -> bool {
        let before = self.watched.len();
        self.watched.retain(|watched| watched.id != interface);
        self.watched.len() < before
    }

    fn attach(&mut self, watched: &mut Watched, interface: &Interface) -> Result<Since, Error> {
        let attachments = attach::attach(self.method.as_ref(), &mut self.programs, interface)?;
        let since = Since { interface: watched.id, time_ns: monotonic_ns() };
        self.ring.view(interface.index, watched.id, since.time_ns);
        watched.state = State::Attached { index: interface.index, attachments };
        Ok(since)
    }

    /// Looks at the interfaces: attaches to those that are back, and again where someone else has detached the probe.
    /// Returns what has changed since the last call.
    pub fn check(&mut self) -> Vec<Change> {
        // A kernel that does not say right now will the next time.
        let Ok(present) = interface::all() else { return Vec::new() };
        let mut changes = Vec::new();
        for mut watched in std::mem::take(&mut self.watched) {
            let whats = self.check_one(&mut watched, &present);
            changes.extend(whats.into_iter().map(|what| Change { name: watched.name.clone(), what }));
            self.watched.push(watched);
        }
        self.unwatched = self.unwatched_of(&present);
        changes
    }

    /// The interfaces that are up and not watched, as of the latest [`check`](Self::check), by their escaped names.
    #[must_use]
    pub fn unwatched(&self) -> &[String] {
        &self.unwatched
    }

    fn unwatched_of(&self, present: &[Interface]) -> Vec<String> {
        let is_watched = |interface: &&Interface| {
            self.watched.iter().any(
                |watched| matches!(watched.state, State::Attached { index, .. } if index == interface.index),
            )
        };
        let others = present.iter().filter(|interface| interface.up && !is_watched(interface));
        others.map(|interface| interface.name.escape_debug().to_string()).collect()
    }

    fn check_one(&mut self, watched: &mut Watched, present: &[Interface]) -> Vec<What> {
        let mut changes = Vec::new();
        let (candidate, outcome): (_, fn(Since) -> What) = match &watched.state {
            State::Attached { index, attachments } => {
                match present.iter().find(|interface| interface.index == *index) {
                    Some(_) if attachments.iter().all(|attachment| attachment.is_attached()) => {
                        return changes;
                    }
                    Some(interface) => (Some(interface), What::Detached),
                    None => {
                        changes.push(What::Gone);
                        (None, What::Back)
                    }
                }
            }
            State::Waiting(_) => (None, What::Back),
        };
        let reported = match std::mem::replace(&mut watched.state, State::Waiting(None)) {
            State::Waiting(reason) => reason,
            // What is left of the attachments ends here, so that no packet is seen twice.
            State::Attached { .. } => None,
        };
        let of_that_name = || present.iter().find(|interface| interface.name == watched.name);
        let Some(interface) = candidate.or_else(of_that_name).cloned() else { return changes };
        match self.attach(watched, &interface) {
            Ok(since) => changes.push(outcome(since)),
            Err(error) => {
                let reason = error.to_string();
                if reported.as_ref() != Some(&reason) {
                    changes.push(What::Failed(reason.clone()));
                }
                watched.state = State::Waiting(Some(reason));
            }
        }
        changes
    }

    /// The indexes of interfaces that are or were watched, and those that their flows are known under: that of the first
    /// interface of the name.
    #[must_use]
    pub fn ids(&self) -> Vec<(u32, u32)> {
        self.ring.ids()
    }

    /// Waits until the kernel says that there are records.
    ///
    /// # Errors
    /// When the reactor is gone.
    pub async fn readable(&self) -> io::Result<()> {
        self.ring.readable().await
    }

    /// Takes records until the ring is empty, `most` are taken, or `take`, which gets some at a time, returns false. Returns
    /// how many.
    pub fn drain(&mut self, most: usize, take: impl FnMut(&[Record]) -> bool) -> usize {
        self.ring.drain(most, take)
    }

    /// Passes to `take` what every flow has sent that may have sent anything since the last time.
    ///
    /// # Errors
    /// When the kernel does not allow it.
    pub fn sweep(&mut self, mut take: impl FnMut(&FlowVolumes)) -> Result<(), Error> {
        let ring = &self.ring;
        let swept = self.flows.sweep(|flow| {
            let mut flow = *flow;
            flow.ends.interface = ring.id(flow.ends.interface);
            take(&flow);
        });
        swept.map_err(|error| Error::kernel("read the flow states", error))
    }

    /// Records that were no records of this version.
    #[must_use]
    pub const fn undecodable(&self) -> u64 {
        self.ring.undecodable()
    }

    /// The probe's counters, of all processors together.
    ///
    /// # Errors
    /// When the kernel does not allow it.
    pub fn counters(&self) -> Result<Counters, Error> {
        let cells = self.counters.get(&0, 0).map_err(|error| Error::kernel("read the counters", error))?;
        let mut sum = Counters::default();
        cells.iter().for_each(|cells| sum.add(cells));
        Ok(sum)
    }

    /// What packets were that hold no TCP, and how many of each kind there were, the most frequent kind first. Those of `None`
    /// are of several further kinds.
    ///
    /// # Errors
    /// When the kernel does not allow it.
    pub fn passed_over(&self) -> Result<Vec<(Option<PassedOver>, u64)>, Error> {
        let cells = self.passed_over.get(&0, 0).map_err(|error| Error::kernel("read the counters", error))?;
        let mut sum = PassedOverCounts::default();
        let counted = cells.iter().flat_map(passed_over::counted);
        counted.for_each(|(what, packets)| sum.add(what, packets));
        Ok(sum.list())
    }
}
