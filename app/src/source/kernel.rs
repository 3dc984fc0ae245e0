//! The probe in the kernel: load, attach, drain, count. Detaching is the kernel's work: a TCX link lives
//! as long as the process that holds it, whatever ends that process.

use std::error::Error as StdError;
use std::hash::{BuildHasher, RandomState};
use std::io;

use aya::maps::{Map, MapData, PerCpuArray, RingBuf};
use aya::programs::links::LinkOrder;
use aya::programs::tc::TcAttachOptions;
use aya::programs::{SchedClassifier, TcAttachType};
use aya::{Ebpf, EbpfLoader};
use nix::libc;
use probe_common::counter::{COUNTERS, Counters};
use probe_common::{Direction, Record, buckets};
use probe_ebpf::{OBJECT, names};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

use super::flows::KernelFlows;
use super::interface::Interface;
use crate::error::Error;
use tcptop_core::table::FlowVolumes;

/// Records that are handed on together: many enough that their flows can be asked for at once, few enough that they stay
/// in the nearest cache.
const AT_A_TIME: usize = 64;

/// The attached probe.
pub struct KernelSource {
    ring: AsyncFd<RingBuf<MapData>>,
    counters: PerCpuArray<MapData, [u64; COUNTERS]>,
    flows: KernelFlows,
    /// Those that are handed on together.
    decoded: Vec<Record>,
    undecodable: u64,
    /// Holds the programs and their links: dropping it detaches.
    _ebpf: Ebpf,
}

impl KernelSource {
    /// Loads the probe and attaches it first in the chains of these interfaces. `flows` is how many
    /// flows of each address family the kernel remembers, at least 1.
    ///
    /// # Errors
    /// When the kernel has no TCX hooks or refuses the probe, or an interface cannot be read.
    pub fn attach(interfaces: &[Interface], flows: u32) -> Result<Self, Error> {
        let (buckets, seed) = (buckets::buckets(flows), RandomState::new().hash_one(flows));
        let mut loader = EbpfLoader::new();
        loader.override_global(names::BUCKETS, &buckets, true);
        loader.override_global(names::HASH_SEED, &seed, true);
        for map in names::FLOWS {
            loader.map_max_entries(map, buckets);
        }
        let mut ebpf = loader.load(OBJECT).map_err(|error| refused("load the probe", error))?;
        for interface in interfaces {
            hook(&mut ebpf, interface)?;
        }
        let ring = take_map(&mut ebpf, names::RECORDS)?;
        let ring = RingBuf::try_from(ring).map_err(|error| refused("open the ring buffer", error))?;
        let counters = take_map(&mut ebpf, names::COUNTERS)?;
        let counters = PerCpuArray::try_from(counters).map_err(|e| refused("open the counters", e))?;
        // SAFETY: the ring owns its descriptor, gives the same one at every call and is only dropped
        // with this `AsyncFd`.
        let ring = unsafe { AsyncFd::register_with_interest(ring, Interest::READABLE) }
            .map_err(|error| Error::System { what: "wait for the ring buffer", source: error.into() })?;
        let [v4, v6] = names::FLOWS.map(|name| take_flows(&mut ebpf, name));
        let flows = KernelFlows::new(v4?, v6?);
        let decoded = Vec::with_capacity(AT_A_TIME);
        Ok(Self { ring, counters, flows, decoded, undecodable: 0, _ebpf: ebpf })
    }

    /// Waits until the kernel says that there are records.
    ///
    /// # Errors
    /// When the reactor is gone.
    pub async fn readable(&self) -> io::Result<()> {
        self.ring.readable().await?.clear_ready();
        Ok(())
    }

    /// Takes records until the ring is empty, `most` are taken or `take`, which gets some at a time, gives false. Gives how
    /// many.
    pub fn drain(&mut self, most: usize, mut take: impl FnMut(&[Record]) -> bool) -> usize {
        let ring = self.ring.get_mut();
        let mut taken = 0;
        loop {
            let (before, end) = (taken, most.min(taken + AT_A_TIME));
            self.decoded.clear();
            while taken < end
                && let Some(item) = ring.next()
            {
                taken += 1;
                match Record::decode(&item) {
                    Ok(record) => self.decoded.push(record),
                    Err(_) => self.undecodable += 1,
                }
            }
            if taken == before || !take(&self.decoded) {
                return taken;
            }
        }
    }

    /// Hands to `take` what every flow has sent that may have spoken since the last time.
    ///
    /// # Errors
    /// When the kernel does not give it.
    pub fn sweep(&mut self, take: impl FnMut(&FlowVolumes)) -> Result<(), Error> {
        self.flows.sweep(take).map_err(|error| refused("read the flow states", error))
    }

    /// Records that were no records of this version.
    #[must_use]
    pub const fn undecodable(&self) -> u64 {
        self.undecodable
    }

    /// The probe's counters, of all processors together.
    ///
    /// # Errors
    /// When the kernel does not give them.
    pub fn counters(&self) -> Result<Counters, Error> {
        let cells = self.counters.get(&0, 0).map_err(|error| refused("read the counters", error))?;
        let mut sum = Counters::default();
        cells.iter().for_each(|cells| sum.add(cells));
        Ok(sum)
    }
}

/// Both hooks of an interface; one on loopback, which shows each packet twice.
fn hook(ebpf: &mut Ebpf, interface: &Interface) -> Result<(), Error> {
    let directions: &[Direction] =
        if interface.loopback { &[Direction::Local] } else { &[Direction::Ingress, Direction::Egress] };
    let link = interface.link_layer()?;
    let shown = interface.name.escape_debug();
    for &direction in directions {
        let hook = match direction {
            Direction::Ingress => TcAttachType::Ingress,
            Direction::Egress | Direction::Local | Direction::Unknown => TcAttachType::Egress,
        };
        let name = names::program(link, direction).expect("loopback has a link header");
        let program = program(ebpf, name)?;
        // Explicitly TCX, or the library would fall back to netlink on an old kernel, and leave traces;
        // and first, because a program ahead that does not pass packets on would blind us.
        let order = TcAttachOptions::TcxOrder(LinkOrder::first());
        program
            .attach_with_options(&interface.name, hook, order)
            .map_err(|error| no_tcx().unwrap_or_else(|| refused(&format!("attach to {shown}"), error)))?;
    }
    Ok(())
}

/// A program, loaded into the kernel when it is first asked for.
fn program<'a>(ebpf: &'a mut Ebpf, name: &str) -> Result<&'a mut SchedClassifier, Error> {
    let program = ebpf.program_mut(name).ok_or_else(|| missing(name))?;
    let program: &mut SchedClassifier = program.try_into().map_err(|e| refused("use the probe", e))?;
    if program.fd().is_err() {
        program.load().map_err(|error| refused("load the probe", error))?;
    }
    Ok(program)
}

fn take_map(ebpf: &mut Ebpf, name: &str) -> Result<Map, Error> {
    ebpf.take_map(name).ok_or_else(|| missing(name))
}

fn take_flows(ebpf: &mut Ebpf, name: &str) -> Result<MapData, Error> {
    match take_map(ebpf, name)? {
        Map::Array(map) => Ok(map),
        _ => Err(refused("use the probe", io::Error::other(format!("its `{name}` is no array")))),
    }
}

fn missing(name: &str) -> Error {
    refused("use the probe", io::Error::other(format!("the built object has no `{name}`")))
}

fn refused(what: &str, source: impl StdError + Send + Sync + 'static) -> Error {
    let what = what.to_owned();
    // The verifier says EACCES; EPERM is about who asks.
    if code_behind(&source) == Some(libc::EPERM) {
        return Error::Forbidden { what };
    }
    Error::Kernel { what, source: Box::new(source) }
}

/// What the kernel said, behind what the libraries say.
fn code_behind(error: &(dyn StdError + 'static)) -> Option<i32> {
    let own = error.downcast_ref::<io::Error>().and_then(io::Error::raw_os_error);
    own.or_else(|| code_behind(error.source()?))
}

/// Was it the kernel's age?
fn no_tcx() -> Option<Error> {
    let release = nix::sys::utsname::uname().ok()?.release().to_string_lossy().into_owned();
    let mut numbers = release.split(['.', '-']).map_while(|part| part.parse::<u32>().ok());
    let version = (numbers.next()?, numbers.next()?);
    (version < (6, 6)).then_some(Error::NoTcx { release })
}
