//! Segments that the kernel retransmits, as it tells of them: of every socket of the machine, whichever interface they pass.
//!
//! The programs are loaded apart from the classifiers: where the kernel refuses them, all else goes on, and a sentence says what is
//! missing.

use aya::maps::{MapData, PerCpuArray, RingBuf};
use aya::{Btf, Ebpf, EbpfLoader};
use probe_common::retransmit::{KernelRetransmit, Place, RawRetransmit, TALLIES, Tally};
use probe_ebpf::names;

use super::btf::Types;
use super::owners::{attach_tracepoint, words};
use crate::error::Error;

/// The tracepoints that tell of retransmits (`include/trace/events/tcp.h`), in the order of their programs.
const TRACEPOINTS: [&str; 2] = ["tcp_retransmit_skb", "tcp_retransmit_synack"];
/// The type of what is called at the first of them. It has one parameter of its own, then the socket, the segment, and since Linux
/// 6.15 an error.
const FUNCTION: &str = "btf_trace_tcp_retransmit_skb";
const WITH_ERROR: usize = 4;
/// What a ring takes that nobody reads.
const NO_ROOM: u32 = 4_096;

/// Where the kernel's fields are.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Layout {
    /// By the numbers of [`Place`]. `None` where the kernel does not describe all of them.
    places: Option<[u32; Place::COUNT]>,
    errors: u32,
}

/// The ring of retransmits, and how many there were.
pub struct KernelRetransmits {
    ring: RingBuf<MapData>,
    tally: PerCpuArray<MapData, [u64; TALLIES]>,
    undecodable: u64,
    has_errors: bool,
}

/// How many retransmits the kernel has told of since the programs were attached.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Retold {
    /// Those that were passed on.
    pub records: u64,
    /// Segments of them.
    pub segments: u64,
    /// Those that were not, because the ring was full.
    pub missed_records: u64,
    /// Segments of them.
    pub missed_segments: u64,
}

impl Layout {
    /// As the kernel describes it.
    pub(super) fn of(types: &Types<'_>) -> Self {
        let has_error = types.parameters(FUNCTION) == Some(WITH_ERROR);
        Self { places: types.places(Place::ALL), errors: has_error.into() }
    }

    /// Tells the programs.
    pub(super) fn set<'a>(&'a self, loader: &mut EbpfLoader<'a>) {
        if let Some(places) = &self.places {
            loader.override_global(names::RETRANSMIT_PLACES, &places[..], true);
        }
        loader.override_global(names::RETRANSMIT_ERRORS, &self.errors, true);
    }
}

/// Where nobody asks, the ring takes no memory.
pub(super) fn take_no_room(loader: &mut EbpfLoader<'_>) {
    loader.map_max_entries(names::RETRANSMITS, NO_ROOM);
}

/// Loads and attaches the programs.
///
/// # Errors
/// Why retransmits are not known: a sentence.
pub(super) fn attach(
    ebpf: &mut Ebpf,
    btf: &Result<Btf, String>,
    layout: &Layout,
) -> Result<KernelRetransmits, String> {
    attach_to(ebpf, btf, layout)
        .map_err(|error| format!("what the kernel itself says of retransmits is not known: {error}"))
}

fn attach_to(
    ebpf: &mut Ebpf,
    btf: &Result<Btf, String>,
    layout: &Layout,
) -> Result<KernelRetransmits, String> {
    if layout.places.is_none() {
        return Err("the kernel does not describe its sockets and segments".to_owned());
    }
    let mut map = |name: &str| ebpf.take_map(name).ok_or_else(|| format!("the built object has no `{name}`"));
    let ring = RingBuf::try_from(map(names::RETRANSMITS)?).map_err(words)?;
    let tally = PerCpuArray::try_from(map(names::RETRANSMIT_TALLY)?).map_err(words)?;
    for (name, tracepoint) in names::RETRANSMIT_PROGRAMS.into_iter().zip(TRACEPOINTS) {
        attach_tracepoint(ebpf, btf.as_ref()?, name, tracepoint)
            .map_err(|error| format!("{tracepoint}: {}", error.lines().next().unwrap_or_default()))?;
    }
    Ok(KernelRetransmits { ring, tally, undecodable: 0, has_errors: layout.errors != 0 })
}

impl KernelRetransmits {
    /// Whether the kernel also tells of those that it could not send, and why. Before Linux 6.15 it counts them, and does not tell.
    #[must_use]
    pub const fn has_errors(&self) -> bool {
        self.has_errors
    }

    /// Passes retransmits to `take` until there are no more, or `most` were passed. Returns how many.
    pub fn drain(&mut self, most: usize, mut take: impl FnMut(&KernelRetransmit)) -> usize {
        let mut taken = 0;
        while taken < most
            && let Some(item) = self.ring.next()
        {
            taken += 1;
            match RawRetransmit::read(&item) {
                Some(raw) => take(&raw.typed()),
                None => self.undecodable += 1,
            }
        }
        taken
    }

    /// How many there were since the start.
    ///
    /// # Errors
    /// When the kernel does not allow it.
    pub fn retold(&self) -> Result<Retold, Error> {
        let cells = self.tally.get(&0, 0).map_err(|error| Error::kernel("read the counters", error))?;
        let sum = |tally: Tally| cells.iter().map(|cells| cells[tally as usize]).sum();
        Ok(Retold {
            records: sum(Tally::Records),
            segments: sum(Tally::Segments),
            missed_records: sum(Tally::MissedRecords) + self.undecodable,
            missed_segments: sum(Tally::MissedSegments),
        })
    }
}
