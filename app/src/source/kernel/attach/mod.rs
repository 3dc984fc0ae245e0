//! Attaches programs to the hooks of an interface.

mod clsact;
mod tcx;

use probe_common::Direction;
use probe_ebpf::names;

use super::load::Programs;
use crate::error::Error;
use crate::source::interface::Interface;

pub(super) use self::clsact::{Clsact, leftovers, remove_leftovers};
pub(super) use self::tcx::Tcx;

/// A way to attach a program to an interface.
pub(super) trait AttachMethod {
    /// Its name, as people know it.
    fn name(&self) -> &'static str;

    /// Attaches the program of this name, ahead of all others, where packets pass in this direction.
    ///
    /// # Errors
    /// When the kernel refuses, or the interface is gone.
    fn attach(
        &self,
        programs: &mut Programs,
        name: &str,
        interface: &Interface,
        direction: Direction,
    ) -> Result<Box<dyn Attachment>, Error>;
}

/// A program that is attached. Dropping it detaches the program. When this process ends, in whatever way, no packet passes it
/// any more.
pub(super) trait Attachment {
    /// Whether the program still is attached: whoever may attach programs may detach ours, too.
    fn is_attached(&self) -> bool;

    /// Whether packets pass programs of others first, which may end their way.
    fn is_behind_others(&self) -> bool {
        false
    }
}

/// Which way to attach is wanted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum AttachWanted {
    /// TCX where the kernel has it, clsact otherwise.
    #[default]
    Auto,
    /// Only TCX (Linux 6.6).
    Tcx,
    /// Only filters of the clsact discipline.
    Clsact,
}

impl AttachWanted {
    /// Whether it is TCX, on a kernel that has it or not.
    pub(super) const fn is_tcx(self, has_tcx: bool) -> bool {
        match self {
            Self::Auto => has_tcx,
            Self::Tcx => true,
            Self::Clsact => false,
        }
    }
}

/// The programs of others where the packets of an interface pass, by their names.
pub(super) fn others_at(interface: &Interface) -> Vec<String> {
    tcx::others_at(interface).into_iter().chain(clsact::others_at(interface)).collect()
}

/// Attaches what sees all packets of an interface: programs for both directions, or the one for loopback, which shows
/// every packet twice. All of them are loaded first, which takes long; attached they are one right after the other.
///
/// # Errors
/// When the interface carries no packets that can be read, or the kernel refuses. Then nothing stays attached.
pub(super) fn attach(
    method: &dyn AttachMethod,
    programs: &mut Programs,
    interface: &Interface,
) -> Result<Vec<Box<dyn Attachment>>, Error> {
    let link = interface.link_layer()?;
    let directions: &[Direction] =
        if interface.loopback { &[Direction::Local] } else { &[Direction::Ingress, Direction::Egress] };
    let name = |direction| names::program(link, direction).expect("loopback has a link header");
    for direction in directions {
        programs.program(name(*direction))?;
    }
    let attach = |direction: &Direction| method.attach(programs, name(*direction), interface, *direction);
    directions.iter().map(attach).collect()
}
