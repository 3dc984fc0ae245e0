//! The connection of a socket of which no segment was seen: as filters test it.

use std::sync::Arc;

use super::cause::RetransmitCause;
use super::flow::Opened;
use super::{EndpointHasher, Flow, FlowTuple, Outcome, Party, Role};
use crate::owner::{Owner, Sockets};
use crate::socket::{Socket, SocketState};

impl Flow {
    /// The connection of a socket of this host, as the kernel describes it at `now_ns`. What only segments tell is unknown.
    #[must_use]
    pub fn of_socket(socket: &Socket, role: Role, now_ns: u64) -> Self {
        // It is never looked up.
        let tuple = FlowTuple::new(&EndpointHasher::new(0), socket.interface, socket.local, socket.remote);
        let mut flow = Self::new(tuple, Opened::seen(role), socket.local, now_ns);
        flow.outcome = match socket.state {
            SocketState::SynSent | SocketState::SynRecv => Outcome::Pending,
            SocketState::Established
            | SocketState::CloseWait
            | SocketState::FinWait1
            | SocketState::FinWait2 => Outcome::Established,
            SocketState::TimeWait | SocketState::Close | SocketState::LastAck | SocketState::Closing => {
                Outcome::Closed
            }
            SocketState::Listen => Outcome::Unknown,
        };
        let mut sockets = Sockets::default();
        sockets.note_kernel(flow.side(Party::Local), socket, now_ns);
        flow.sockets = Some(sockets.into());
        flow
    }
    /// The same of a socket that retransmits so many segments, with the process that it belongs to and the cause, as far as they are
    /// known.
    #[must_use]
    pub fn of_sender(
        socket: &Socket,
        role: Role,
        owner: Option<&Owner>,
        (cause, segments): (Option<RetransmitCause>, u32),
        now_ns: u64,
    ) -> Self {
        let mut flow = Self::of_socket(socket, role, now_ns);
        let side = flow.side(Party::Local);
        if let Some((owner, sockets)) = owner.zip(flow.sockets.as_mut()) {
            Arc::make_mut(sockets).set_owner(side, owner.clone());
        }
        flow.volumes[0].retransmits = segments.into();
        if let Some(cause) = cause {
            flow.notes.get_or_insert_default().retransmits[0].causes[cause as usize] = segments.into();
        }
        flow
    }
}
