//! What the kernel itself says of the retransmits of flows: a second witness beside the wire.

use probe_common::retransmit::{KernelRetransmit, What};

use super::FlowTable;
use crate::flow::{Event, Flow, Role, SentAgain};
use crate::socket::{Socket, SocketState};

/// What the kernel said since the start, of sockets of the network namespace whose interfaces are watched; and what the wire did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct KernelWitness {
    /// Segments that these sockets retransmitted as they passed the interfaces.
    pub wire: u64,
    /// Segments that the kernel says it retransmitted.
    pub segments: u64,
    /// Those of them that belong to a connection that was seen.
    pub of_connections: u64,
    /// Connections that have ended and of which both witnesses say something else.
    pub differing: u64,
    /// Retransmits of any network namespace that were missed.
    pub missed: u64,
}

impl FlowTable {
    /// What both witnesses say of all; `None` where the kernel is not asked.
    pub(crate) fn witness(&self) -> Option<KernelWitness> {
        Some(KernelWitness { wire: self.own_retransmits.all, ..self.witness? })
    }

    /// Learns what the kernel retransmitted. So many retransmits were missed since the start.
    pub(crate) fn handle_kernel_retransmits(&mut self, records: &[KernelRetransmit], missed: u64) {
        let mut witness = self.witness.unwrap_or_default();
        witness.missed = missed;
        let mut found = Vec::new();
        for record in records {
            witness.segments += u64::from(record.segments);
            // A SYN-ACK is sent before its connection has a socket.
            let cookie = record.cookie.unwrap_or_default();
            self.flows_of_socket(cookie, [record.local, record.remote], true, &mut found);
            witness.of_connections += if found.is_empty() { 0 } else { u64::from(record.segments) };
            let mut seen = None;
            for (slot, side) in found.drain(..) {
                let Some(tracked) = self.flows.get_mut(slot) else { continue };
                if record.what != What::Fin {
                    tracked.flow.note_kernel_retransmit(side, record.segments);
                }
                seen.get_or_insert_with(|| tracked.flow.clone());
            }
            let flow = seen.unwrap_or_else(|| unseen(record));
            self.events.push(Event::KernelRetransmit(Box::new(SentAgain { flow, record: *record })));
        }
        self.witness = Some(witness);
    }

    /// Holds the witnesses of a connection that has ended against each other.
    pub(super) fn compare_witnesses(&mut self, slot: u32) {
        let Some((witness, tracked)) = self.witness.as_mut().zip(self.flows.get_mut(slot)) else { return };
        tracked.flow.settle_witnesses();
        let differs = tracked.flow.retransmit_witnesses().is_some_and(|both| both.differ());
        witness.differing += u64::from(differs);
    }
}

/// The connection of a retransmit that passes no interface that is watched, or was never seen before.
fn unseen(record: &KernelRetransmit) -> Flow {
    let state = SocketState::of(record.state).unwrap_or(SocketState::Close);
    let socket = Socket::new(record.cookie.unwrap_or_default(), record.local, record.remote, state);
    let role = if record.what == What::SynAck { Role::Server } else { Role::Client };
    Flow::of_sender(&socket, role, None, (record.transmission.cause(), record.segments), record.time_ns)
}
