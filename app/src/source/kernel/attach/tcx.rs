//! TCX links (Linux 6.6): the kernel detaches them when the process ends.

use std::io;

use aya::programs::links::LinkOrder;
use aya::programs::tc::{SchedClassifierLink, TcAttachOptions};
use aya::programs::{MultiProgLink, SchedClassifier, TcAttachType};
use probe_common::Direction;

use super::{AttachMethod, Attachment};
use crate::error::Error;
use crate::source::interface::Interface;
use crate::source::kernel::load::Programs;
use crate::source::kernel::sys;

/// TCX links (Linux 6.6).
pub(in crate::source::kernel) struct Tcx;

impl AttachMethod for Tcx {
    fn name(&self) -> &'static str {
        "tcx"
    }

    fn attach(
        &self,
        programs: &mut Programs,
        name: &str,
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
        let program = programs.program(name)?;
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

/// Programs that are attached here by TCX, by their names; none on a kernel without.
pub(super) fn others_at(interface: &Interface) -> Vec<String> {
    let at = |hook, way: &str| {
        let programs = SchedClassifier::query_tcx(&interface.name, hook).map(|(_, programs)| programs);
        let named = programs.unwrap_or_default().into_iter().map(|program| {
            let name = program.name_as_str().unwrap_or_default().escape_debug().to_string();
            format!("{name} (TCX {way}, program {})", program.id())
        });
        named.collect::<Vec<_>>()
    };
    [at(TcAttachType::Ingress, "in"), at(TcAttachType::Egress, "out")].concat()
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
