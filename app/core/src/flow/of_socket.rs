//! The connection of a socket of which no segment was seen: as filters test it.

use super::flow::Opened;
use super::{EndpointHasher, Flow, FlowTuple, Outcome, Role};
use crate::owner::Sockets;
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
        sockets.note_kernel(flow.side(super::Party::Local), socket, now_ns);
        flow.sockets = Some(sockets.into());
        flow
    }
}
