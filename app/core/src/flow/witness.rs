//! Two witnesses of the retransmits of a flow: the wire, and the kernel itself.

use probe_common::Side;

use super::outcome::Party;
use super::{Flow, Role};

/// Segments that this host retransmitted in a connection, FINs aside.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RetransmitWitnesses {
    /// As they passed the interface.
    pub wire: u64,
    /// As the kernel itself says.
    pub kernel: u64,
}

impl RetransmitWitnesses {
    /// Whether the witnesses say something else.
    #[must_use]
    pub const fn differ(&self) -> bool {
        self.wire != self.kernel
    }
}

impl Flow {
    /// What both witnesses say. `None` unless the kernel is asked and the connection has ended, and where none of its sockets is of
    /// this host.
    #[must_use]
    pub fn retransmit_witnesses(&self) -> Option<RetransmitWitnesses> {
        let sides = self.notes.as_ref().filter(|notes| notes.is_settled)?.kernel;
        if !Party::ALL.into_iter().any(|end| self.is_sent_here(end)) {
            return None;
        }
        let kernel = self.sent_here(Party::ALL.map(|end| sides[self.side(end) as usize]));
        let repeated = |sent: u32| u64::from(sent.saturating_sub(1));
        let opener = if self.role == Role::Server { Party::Remote } else { Party::Local };
        let mut wire = self.volumes.map(|volume| volume.retransmits);
        for (by, count) in [(opener, repeated(self.tries)), (opener.other(), repeated(self.syn_acks))] {
            wire[by as usize] += count;
        }
        Some(RetransmitWitnesses { wire: self.sent_here(wire), kernel })
    }

    /// The kernel says that the socket at one end retransmitted so many segments, other than a FIN.
    pub(crate) fn note_kernel_retransmit(&mut self, side: Side, segments: u32) {
        self.notes.get_or_insert_default().kernel[side as usize] += u64::from(segments);
    }

    /// The connection has ended, and the kernel was asked.
    pub(crate) fn settle_witnesses(&mut self) {
        self.notes.get_or_insert_default().is_settled = true;
    }
}
