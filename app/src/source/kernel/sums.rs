//! Events of sockets: changes of their states one by one, or added up with each socket in the kernel.
//!
//! The programs see the sockets of a control group, and of those below it, in all network namespaces. Sums are read by an iterator,
//! of the own network namespace.

use std::fs::File;
use std::io;

use aya::maps::{MapData, PerCpuArray, RingBuf};
use aya::programs::{CgroupAttachMode, Iter, SockOps};
use aya::{Btf, Ebpf, EbpfLoader};
use probe_common::sums::{Place, RawSocketSums, RawStateChange};
use probe_ebpf::names;

use super::btf::Types;
use super::load::{Programs, Settings};
use super::owners::{attach_tracepoint, first_line, iterate, program, words};
use crate::error::Error;
use crate::source::kernel::AttachWanted;

/// The iterator over the sockets of a network namespace.
const SOCKETS: &str = "tcp";
/// What a ring takes that nobody reads.
const NO_ROOM: u32 = 4_096;

/// What is collected.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Collect {
    /// Each change of a state.
    States,
    /// Sums of rare events: round trips, timeouts, signals of congestion.
    Sums,
    /// These, and sums of the segments that come in.
    Segments,
}

/// Where the kernel's fields are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Layout {
    /// By the numbers of [`Place`]. `None` where the kernel does not describe all of them.
    places: Option<[u32; Place::COUNT]>,
}

impl Layout {
    /// As the kernel describes it.
    pub(super) fn of(types: &Types<'_>) -> Self {
        Self { places: types.places(Place::ALL) }
    }

    /// Tells the programs.
    pub(super) fn set<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        if let Some(places) = &self.places {
            loader.override_global(names::SUM_PLACES, &places[..], true);
        }
    }
}

/// Where nobody asks, the ring takes no memory.
pub(super) fn take_no_room(loader: &mut EbpfLoader<'_>) {
    loader.map_max_entries(names::STATE_CHANGES, NO_ROOM);
}

/// Events that are collected. Callbacks that were switched on are switched off again when this is dropped.
pub struct SocketEvents {
    programs: Programs,
    changes: Option<Changes>,
}

struct Changes {
    ring: RingBuf<MapData>,
    missed: PerCpuArray<MapData, u64>,
}

impl SocketEvents {
    /// Collects events of the sockets of a control group from now on. Returns also what is not collected although it is wanted: a
    /// sentence for each.
    ///
    /// # Errors
    /// When the kernel lacks what it takes, or refuses.
    pub fn start(
        collect: Collect,
        cgroup: &File,
        wakes_existing: bool,
    ) -> Result<(Self, Vec<String>), Error> {
        let settings = Settings {
            flows: 1,
            decap: false,
            attach: AttachWanted::Auto,
            causes: false,
            owners: false,
            failures: false,
            retransmits: false,
            states: collect == Collect::States,
        };
        let (programs, _) = Programs::new(&settings)?;
        let mut events = Self { programs, changes: None };
        let failed = |reason| Error::kernel("collect events of sockets", io::Error::other(reason));
        if collect == Collect::States {
            events.programs.attach_states(cgroup).map_err(failed)?;
            let ring = RingBuf::try_from(events.programs.take_map(names::STATE_CHANGES)?)
                .map_err(|error| Error::kernel("open the ring buffer", error))?;
            let missed = PerCpuArray::try_from(events.programs.take_map(names::STATE_CHANGES_MISSED)?)
                .map_err(|error| Error::kernel("open the counters", error))?;
            events.changes = Some(Changes { ring, missed });
            return Ok((events, Vec::new()));
        }
        let lacking = events.programs.attach_sums(collect, cgroup).map_err(failed)?;
        if wakes_existing {
            events.programs.run_iterator(names::SOCKET_WAKE, |_| {}).map_err(failed)?;
        }
        Ok((events, lacking))
    }

    /// Passes every connection of the network namespace to `take`, with its sums.
    ///
    /// # Errors
    /// When the kernel refuses.
    pub fn list(&mut self, take: impl FnMut(&RawSocketSums)) -> Result<(), Error> {
        self.programs
            .run_iterator(names::SOCKET_LIST, take)
            .map_err(|reason| Error::kernel("list sockets", io::Error::other(reason)))
    }

    /// Passes changes of states to `take`, until there are no more or `most` were passed. Returns how many.
    pub fn drain(&mut self, most: usize, mut take: impl FnMut(&RawStateChange)) -> usize {
        let Some(Changes { ring, .. }) = &mut self.changes else { return 0 };
        let mut taken = 0;
        while taken < most
            && let Some(item) = ring.next()
        {
            taken += 1;
            if let Some(change) = RawStateChange::read(&item) {
                take(&change);
            }
        }
        taken
    }

    /// How many changes of states were missed, because the ring was full.
    ///
    /// # Errors
    /// When the kernel does not allow it.
    pub fn missed(&self) -> Result<u64, Error> {
        let Some(Changes { missed, .. }) = &self.changes else { return Ok(0) };
        let cells = missed.get(&0, 0).map_err(|error| Error::kernel("read the counters", error))?;
        Ok(cells.iter().sum())
    }
}

impl Drop for SocketEvents {
    fn drop(&mut self) {
        if self.changes.is_none() {
            // Without the program a callback does nothing, so nothing depends on it.
            let _ = self.programs.run_iterator(names::SOCKET_REST, |_| {});
        }
    }
}

/// Attaches the program that passes on changes of states.
///
/// # Errors
/// Why it is not.
pub(super) fn attach_states(ebpf: &mut Ebpf, cgroup: &File) -> Result<(), String> {
    attach_to_group(ebpf, names::SOCKET_STATES, cgroup)
}

/// Attaches the programs that add up, and loads the iterators. Returns what is not collected: a sentence for each.
///
/// # Errors
/// Why nothing is.
pub(super) fn attach_sums(
    ebpf: &mut Ebpf,
    btf: &Result<Btf, String>,
    layout: &Layout,
    (collect, cgroup): (Collect, &File),
) -> Result<Vec<String>, String> {
    if layout.places.is_none() {
        return Err("the kernel does not describe its sockets".to_owned());
    }
    let btf = btf.as_ref()?;
    for name in [names::SOCKET_LIST, names::SOCKET_WAKE, names::SOCKET_REST] {
        let iterator: &mut Iter = program(ebpf, name)?;
        iterator.load(SOCKETS, btf).map_err(|error| first_line(&words(error)).to_owned())?;
    }
    let mut lacking = Vec::new();
    let mut tracepoints = vec![(names::CONGESTION_SUMS, "tcp_cong_state_set", "signals of congestion")];
    if collect == Collect::Segments {
        tracepoints.push((names::SEGMENT_SUMS, "tcp_probe", "segments that come in"));
    }
    for (name, tracepoint, what) in tracepoints {
        if let Err(error) = attach_tracepoint(ebpf, btf, name, tracepoint) {
            lacking.push(format!("{what} are not counted: {}", first_line(&error)));
        }
    }
    // Last: then all that follows an event is counted.
    attach_to_group(ebpf, names::SOCKET_SUMS, cgroup)?;
    Ok(lacking)
}

fn attach_to_group(ebpf: &mut Ebpf, name: &str, cgroup: &File) -> Result<(), String> {
    let program: &mut SockOps = program(ebpf, name)?;
    program.load().map_err(|error| first_line(&words(error)).to_owned())?;
    // A link lets others attach, too.
    program.attach(cgroup, CgroupAttachMode::default()).map(drop).map_err(words)
}

/// Runs an iterator over the connections of the network namespace, and passes what it writes to `take`.
///
/// # Errors
/// When the kernel refuses.
pub(super) fn run_iterator(
    ebpf: &mut Ebpf,
    name: &str,
    mut take: impl FnMut(&RawSocketSums),
) -> Result<(), String> {
    const LEN: usize = size_of::<RawSocketSums>();
    iterate::<LEN>(ebpf, name, 256, |raw| take(&RawSocketSums::read(raw)))
}
