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
mod sums;
mod sweep;
mod sys;
mod watcher;

use std::collections::BTreeMap;
use std::io;

use aya::maps::{MapData, PerCpuArray};
use probe_common::PassedOver;
use probe_common::Record;
use probe_common::counter::{COUNTERS, Counters};
use probe_common::holder::Holder;
use probe_common::passed_over;
use probe_ebpf::names;

pub use self::attach::AttachWanted;
use self::attach::{AttachMethod, Clsact, Tcx};
use self::drops::Drops;
use self::load::Programs;
pub use self::load::Settings;
pub use self::retransmits::{KernelRetransmits, Retold};
use self::ring::Ring;
pub use self::sums::{Collect, SocketEvents};
pub use self::sweep::KernelFlows;
use self::watcher::Watcher;
pub use self::watcher::{Change, Since, What};
use super::interface::Interface;
use super::netlink::LinkNews;
use super::passed_over::PassedOverCounts;
use super::selection::Selection;
use crate::error::Error;
use tcptop_core::{Dropped, FlowVolumes};

/// `uname -r`.
#[must_use]
pub fn release() -> String {
    load::release()
}

/// The programs of others where the packets of an interface pass, by their names.
#[must_use]
pub fn others_at(interface: &Interface) -> Vec<String> {
    attach::others_at(interface)
}

/// How many inert filters there are of runs that were killed.
#[must_use]
pub fn leftovers() -> usize {
    attach::leftovers()
}

/// Removes them.
pub fn remove_leftovers() {
    attach::remove_leftovers();
}

/// The loaded probe, and the interfaces that it watches.
pub struct KernelSource {
    // Before the programs, so that they are detached first.
    watcher: Watcher,
    programs: Programs,
    ring: Ring,
    counters: PerCpuArray<MapData, [u64; COUNTERS]>,
    passed_over: PerCpuArray<MapData, [u64; passed_over::CELLS]>,
    flows: KernelFlows,
    drops: Option<Drops>,
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
        let source =
            Self { watcher: Watcher::new(method), programs, ring, counters, passed_over, flows, drops: None };
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
        self.watcher.method()
    }

    /// Names of the interfaces at which packets pass programs of others first. What those end is not seen. The names can hold
    /// control characters.
    pub fn behind_others(&self) -> impl Iterator<Item = &str> {
        self.watcher.behind_others()
    }

    /// Sets which interfaces [`check`](Self::check) attaches to, beside those that are watched already.
    pub fn select(&mut self, selection: Selection) {
        self.watcher.select(selection);
    }

    /// Attaches the probe to an interface, which is waited for if it goes. What it says of packets before the returned time, of
    /// which some were not seen, is dropped.
    ///
    /// # Errors
    /// When the interface carries nothing that tcptop can read, is gone, or the kernel refuses.
    pub fn watch(&mut self, interface: &Interface) -> Result<Since, Error> {
        self.watch_as(interface, true)
    }

    /// The same; one that is not named by a person is not waited for.
    ///
    /// # Errors
    /// As above.
    pub fn watch_as(&mut self, interface: &Interface, is_named: bool) -> Result<Since, Error> {
        let since = self.watcher.watch(&mut self.programs, interface, is_named)?;
        let watcher = &self.watcher;
        self.ring.view(since.index, since.interface, since.time_ns, |index| watcher.is_attached(index));
        Ok(since)
    }

    /// Loads one more of the programs that interfaces need which may appear later: then attaching takes no time. Returns whether
    /// there are more.
    pub fn prepare(&mut self) -> bool {
        let Some(name) = self.programs.first_unloaded() else { return false };
        // One that the kernel refuses is refused again when it is needed, and reported then.
        self.programs.program(name).is_ok()
    }

    /// Why the first program that is not loaded yet is refused; none where all are loaded.
    pub fn unprepared(&mut self) -> Option<Error> {
        let name = self.programs.first_unloaded()?;
        self.programs.program(name).err()
    }

    /// Detaches the probe from the interface that is known under this index, or no longer waits for it. Returns whether it
    /// was watched.
    pub fn unwatch(&mut self, interface: u32) -> bool {
        self.watcher.unwatch(interface)
    }

    /// Looks at the interfaces, of which there are `news`: attaches to those that are back and to at most `most` that are new, and
    /// again where someone else has detached the probe, if it is to `look_closely`. Returns what has changed since the last
    /// call, and whether there are more new ones.
    pub fn check(&mut self, news: &LinkNews, look_closely: bool, most: usize) -> (Vec<Change>, bool) {
        let checked = self.watcher.check(&mut self.programs, news, look_closely, most);
        for since in checked.0.iter().filter_map(Change::since) {
            let watcher = &self.watcher;
            self.ring.view(since.index, since.interface, since.time_ns, |index| watcher.is_attached(index));
        }
        checked
    }

    /// The interfaces that are up and whose packets are not seen, as of the latest [`check`](Self::check), by their escaped names.
    #[must_use]
    pub fn unwatched(&self) -> &[String] {
        self.watcher.unwatched()
    }

    /// The escaped names of all interfaces that are or were watched, by the indexes that their flows are known under.
    #[must_use]
    pub fn names(&self) -> BTreeMap<u32, String> {
        let names = self.watcher.names().iter();
        names.map(|(id, name)| (*id, name.escape_debug().to_string())).collect()
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
