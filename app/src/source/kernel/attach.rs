//! Attaches programs to the hooks of an interface.

use std::io;

use aya::programs::links::LinkOrder;
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::{MultiProgLink, SchedClassifier, TcAttachType};
use probe_common::Direction;
use probe_ebpf::names;

use super::load::Programs;
use super::sys;
use crate::error::Error;
use crate::source::interface::Interface;

/// A way to attach a program to an interface.
pub(super) trait AttachMethod {
    /// Its name, as people know it.
    fn name(&self) -> &'static str;

    /// Attaches a program, ahead of all others, where packets pass in this direction. It must be loaded.
    ///
    /// # Errors
    /// When the kernel refuses, or the interface is gone.
    fn attach(
        &self,
        program: &mut SchedClassifier,
        interface: &Interface,
        direction: Direction,
    ) -> Result<Box<dyn Attachment>, Error>;
}

/// A program that is attached. Dropping it detaches the program, and so does the kernel when this process ends, in whatever
/// way.
pub(super) trait Attachment {
    /// Whether the program still is attached: whoever may attach programs may detach ours, too.
    fn is_attached(&self) -> bool;
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
    let attach =
        |direction: &Direction| method.attach(programs.program(name(*direction))?, interface, *direction);
    directions.iter().map(attach).collect()
}

/// TCX links (Linux 6.6).
pub(super) struct Tcx;

impl AttachMethod for Tcx {
    fn name(&self) -> &'static str {
        "tcx"
    }

    fn attach(
        &self,
        program: &mut SchedClassifier,
        interface: &Interface,
        direction: Direction,
    ) -> Result<Box<dyn Attachment>, Error> {
        let failed = |error| Error::kernel(&format!("attach to {}", interface.name.escape_debug()), error);
        let hook = match direction {
            Direction::Ingress => TcAttachType::Ingress,
            Direction::Egress | Direction::Local | Direction::Unknown => TcAttachType::Egress,
        };
        // Explicitly TCX, or the library would fall back to netlink on an old kernel, and leave traces; and first, because
        // a program ahead that does not pass packets on would blind us.
        let order = TcAttachOptions::TcxOrder(LinkOrder::first());
        let link = program.attach_with_options(&interface.name, hook, order);
        let link = link.and_then(|id| program.take_link(id)).map_err(failed)?;
        let link = TcxLink { link, interface: interface.index };
        // It was attached by name, which may have passed to another interface meanwhile.
        if link.is_attached() {
            Ok(Box::new(link))
        } else {
            Err(Error::InterfaceGone(interface.name.clone()))
        }
    }
}

struct TcxLink {
    link: SchedClassifierLink,
    interface: u32,
}

impl Attachment for TcxLink {
    fn is_attached(&self) -> bool {
        let attached = self.link.fd().map_err(io::Error::other).and_then(sys::tcx_interface);
        // A kernel that does not say is believed to have left it where it is.
        attached.map_or(true, |interface| interface == self.interface)
    }
}
