//! Filters of the clsact discipline, on kernels without TCX. A filter outlives the process, so what is attached is a stub: it
//! goes on with the classifier in a map that only this process holds open, and which the kernel empties with it. The next run
//! removes what is left.

use std::hash::{BuildHasher, RandomState};
use std::io;
use std::os::fd::AsFd;
use std::os::linux::net::SocketAddrExt;
use std::os::unix::net::{SocketAddr, UnixDatagram};

use aya::programs::SchedClassifier;
use nix::libc;
use probe_common::Direction;

use super::{AttachMethod, Attachment};
use crate::error::Error;
use crate::source::interface::{self, Interface};
use crate::source::kernel::load::Programs;
use crate::source::traffic_control::{Chain, Filter, add_clsact, remove_clsact};

/// The filters of this process.
pub(in crate::source::kernel) struct Clsact {
    mark: Mark,
    _held: UnixDatagram,
}

/// What the names of filters say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Mark {
    /// Which process made the filter.
    token: u64,
}

/// The first word of every name.
const PROGRAM: &str = "tcptop";
/// The last one when a tcptop has made the discipline.
const MADE: &str = "made";
const FOUND: &str = "found";

impl Mark {
    fn name(self, is_made: bool) -> String {
        format!("{PROGRAM} {:016x} {}", self.token, if is_made { MADE } else { FOUND })
    }

    /// The mark in the name of a filter, and whether a tcptop has made the discipline.
    fn of(filter: &Filter) -> Option<(Self, bool)> {
        let mut words = filter.name.as_deref()?.split(' ');
        let (PROGRAM, token, how, None) = (words.next()?, words.next()?, words.next()?, words.next()) else {
            return None;
        };
        Some((Self { token: u64::from_str_radix(token, 16).ok()? }, how == MADE))
    }

    /// Takes the name of the process, for as long as what this gives lives: an abstract socket of the network namespace, which
    /// is the filters', too. So whoever sees a filter can tell whether its process lives, without any privilege.
    fn hold(self) -> io::Result<UnixDatagram> {
        let address = SocketAddr::from_abstract_name(format!("{PROGRAM}/clsact/{:016x}", self.token))?;
        UnixDatagram::bind_addr(&address)
    }

    fn is_left(self) -> bool {
        self.hold().is_ok()
    }
}

impl Clsact {
    /// Removes what runs left that were killed, and gets ready to attach.
    ///
    /// # Errors
    /// When the system refuses.
    pub(in crate::source::kernel) fn new() -> Result<Self, Error> {
        remove_leftovers();
        let mark = Mark { token: RandomState::new().hash_one(std::process::id()) };
        let held = mark.hold().map_err(|source| Error::System { what: "mark the filters", source })?;
        Ok(Self { mark, _held: held })
    }
}

/// Removes the filters of runs that were killed, and the disciplines that they had made. What others made stays, and what
/// cannot be removed stays inert.
pub(in crate::source::kernel) fn remove_leftovers() {
    for interface in interface::all().unwrap_or_default() {
        let mut is_made = false;
        for chain in Chain::both(interface.index) {
            for filter in chain.filters().unwrap_or_default() {
                if let Some((mark, made)) = Mark::of(&filter)
                    && mark.is_left()
                    && chain.remove(&filter).is_ok()
                {
                    is_made |= made;
                }
            }
        }
        if is_made {
            remove_if_empty(interface.index);
        }
    }
}

/// How many filters there are of runs that were killed.
pub(in crate::source::kernel) fn leftovers() -> usize {
    let of = |interface: Interface| {
        let chains = Chain::both(interface.index).into_iter();
        let filters = chains.flat_map(|chain| chain.filters().unwrap_or_default());
        filters.filter_map(|filter| Mark::of(&filter)).filter(|(mark, _)| mark.is_left()).count()
    };
    interface::all().unwrap_or_default().into_iter().map(of).sum()
}

/// Filters of others, by their names.
pub(super) fn others_at(interface: &Interface) -> Vec<String> {
    let of = |chain: Chain| {
        let filters = chain.filters().unwrap_or_default().into_iter();
        let others = filters.filter(|filter| filter.is_one() && Mark::of(filter).is_none());
        let way = if chain.direction == Direction::Ingress { "in" } else { "out" };
        let name = |filter: &Filter| filter.name.clone().unwrap_or_else(|| "filter".to_owned());
        others
            .map(move |filter| format!("{} (clsact {way})", name(&filter).escape_debug()))
            .collect::<Vec<_>>()
    };
    Chain::both(interface.index).into_iter().flat_map(of).collect()
}

fn remove_if_empty(interface: u32) {
    let is_empty = |chain: Chain| chain.filters().is_ok_and(|filters| filters.is_empty());
    if Chain::both(interface).into_iter().all(is_empty) {
        // Where that fails, an empty discipline stays.
        let _ = remove_clsact(interface);
    }
}

impl AttachMethod for Clsact {
    fn name(&self) -> &'static str {
        "clsact"
    }

    fn attach(
        &self,
        programs: &mut Programs,
        name: &str,
        interface: &Interface,
        direction: Direction,
    ) -> Result<Box<dyn Attachment>, Error> {
        let stub = programs.stub(name)?;
        let chain = Chain { interface: interface.index, direction };
        self.add(stub, chain).map(|attached| Box::new(attached) as Box<dyn Attachment>).map_err(|error| {
            if error.raw_os_error() == Some(libc::ENODEV) {
                return Error::InterfaceGone(interface.name.clone());
            }
            Error::kernel(&format!("attach to {}", interface.name.escape_debug()), error)
        })
    }
}

impl Clsact {
    fn add(&self, stub: &SchedClassifier, chain: Chain) -> io::Result<ClsactFilter> {
        let program = stub.fd().map_err(io::Error::other)?;
        let is_added = add_clsact(chain.interface)?;
        // The last tcptop that leaves removes what the first one has made.
        let is_made = is_added || is_made_by_tcptop(chain.interface)?;
        let attached = ClsactFilter { chain, name: self.mark.name(is_made), is_made };
        // From here on, dropping it cleans up.
        let mut refused = io::Error::from_raw_os_error(libc::EEXIST);
        for priority in 1..=PRIORITIES {
            match chain.add(priority, program.as_fd(), &attached.name) {
                Ok(()) => return Ok(attached),
                // Another kind of filter has this priority.
                Err(error) if matches!(error.raw_os_error(), Some(libc::EINVAL | libc::EEXIST)) => {
                    refused = error
                }
                Err(error) => return Err(error),
            }
        }
        Err(refused)
    }
}

/// So many priorities are tried, the first one first.
const PRIORITIES: u16 = 16;

fn is_made_by_tcptop(interface: u32) -> io::Result<bool> {
    for chain in Chain::both(interface) {
        if chain.filters()?.iter().filter_map(Mark::of).any(|(_, is_made)| is_made) {
            return Ok(true);
        }
    }
    Ok(false)
}

/// A filter of this process.
struct ClsactFilter {
    chain: Chain,
    /// No other filter of the chain has it.
    name: String,
    /// Whether a tcptop has made the discipline.
    is_made: bool,
}

impl ClsactFilter {
    fn is_own(&self, filter: &Filter) -> bool {
        filter.name.as_ref() == Some(&self.name)
    }
}

impl Attachment for ClsactFilter {
    fn is_attached(&self) -> bool {
        // A kernel that does not say is believed to have left it where it is.
        self.chain.filters().map_or(true, |filters| filters.iter().any(|filter| self.is_own(filter)))
    }

    fn is_behind_others(&self) -> bool {
        let filters = self.chain.filters().unwrap_or_default();
        let ahead = filters.iter().take_while(|filter| !self.is_own(filter));
        ahead.filter(|filter| filter.is_one()).any(|filter| Mark::of(filter).is_none())
    }
}

impl Drop for ClsactFilter {
    fn drop(&mut self) {
        for filter in self.chain.filters().unwrap_or_default() {
            if self.is_own(&filter) {
                // Whoever removed it first has done our work.
                let _ = self.chain.remove(&filter);
            }
        }
        if self.is_made {
            remove_if_empty(self.chain.interface);
        }
    }
}
