//! What the kernel knows of TCP sockets: of connections, also of those that were open before, and of listeners.

mod congestion;
mod listeners;
mod rtts;
mod sums;
mod tcp_info;
mod unclaimed;

use probe_common::Endpoint;

pub use congestion::{Algorithm, CongestionControl, CongestionDetails};
pub(crate) use listeners::Listeners;
pub use listeners::{AcceptQueue, listening_end};
pub(crate) use rtts::PeerRtts;
pub use rtts::SocketRtts;
pub use sums::SocketSums;
pub use tcp_info::{InfoField, InfoLayout, InfoUnit, TcpInfo};
pub(crate) use unclaimed::Unclaimed;

/// A TCP socket as the kernel describes it: an input.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Socket {
    /// Its cookie; 0 if it has none.
    pub cookie: u64,
    /// Its own end. Addresses of IPv4 are mapped; of a listener on all addresses all bytes are 0, or the mapped 0.0.0.0.
    pub local: Endpoint,
    /// The other end.
    pub remote: Endpoint,
    /// The interface that it is bound to; 0 for none.
    pub interface: u32,
    /// Its state.
    pub state: SocketState,
    /// The timer that it waits for.
    pub timer: Option<Timer>,
    /// Bytes received that the application has not read; of a listener, connections that it has not accepted.
    pub receive_queue: u32,
    /// Bytes of the application that were not acknowledged; of a listener, how many connections may wait for it (`listen(2)`):
    /// one more than these are taken.
    pub send_queue: u32,
    /// The user that made it.
    pub user: u32,
    /// Its inode; 0 if no process holds it.
    pub inode: u32,
    /// The control group (v2) of the process that made it.
    pub cgroup: Option<u64>,
    /// What the kernel knows of the connection; `None` for listeners, and where the state keeps no more than a timer.
    pub info: Option<TcpInfo>,
    /// Its congestion control.
    pub congestion: Option<CongestionControl>,
    /// Its memory.
    pub memory: Option<SocketMemory>,
    /// The type of service of what it sends (IPv4).
    pub tos: Option<u8>,
    /// The traffic class of what it sends (IPv6).
    pub traffic_class: Option<u8>,
    /// Which directions the application has shut down: 1 receiving, 2 sending, 3 both.
    pub shutdown: Option<u8>,
    /// Whether a listener on IPv6 takes no IPv4.
    pub is_v6_only: Option<bool>,
    /// Its mark (`SO_MARK`).
    pub mark: Option<u32>,
    /// Its options, as bits in the order of `struct inet_diag_sockopt`.
    pub options: Option<SocketOptions>,
}

/// The state of a socket (RFC 9293).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(u8)]
pub enum SocketState {
    /// Open.
    Established = 1,
    /// A SYN was sent.
    SynSent = 2,
    /// A SYN was answered; also `NEW_SYN_RECV` of Linux.
    SynRecv = 3,
    /// A FIN was sent.
    FinWait1 = 4,
    /// It was acknowledged.
    FinWait2 = 5,
    /// Both ends have closed; late segments are waited for.
    TimeWait = 6,
    /// Not connected.
    Close = 7,
    /// The peer has closed.
    CloseWait = 8,
    /// So has this host since.
    LastAck = 9,
    /// It listens.
    Listen = 10,
    /// Both ends have closed at once.
    Closing = 11,
}

impl SocketState {
    /// Every state, in the order of the kernel's numbers.
    pub const ALL: [Self; 11] = [
        Self::Established,
        Self::SynSent,
        Self::SynRecv,
        Self::FinWait1,
        Self::FinWait2,
        Self::TimeWait,
        Self::Close,
        Self::CloseWait,
        Self::LastAck,
        Self::Listen,
        Self::Closing,
    ];
    /// `TCP_NEW_SYN_RECV`.
    const NEW_SYN_RECV: u8 = 12;

    /// The state with this number (`include/net/tcp_states.h`).
    #[must_use]
    pub fn of(number: u8) -> Option<Self> {
        if number == Self::NEW_SYN_RECV {
            return Some(Self::SynRecv);
        }
        Self::ALL.into_iter().find(|state| *state as u8 == number)
    }

    /// The bit of the state in a mask of states.
    #[must_use]
    pub const fn bit(self) -> u32 {
        1 << self as u8
    }

    /// Its name for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Established => "established",
            Self::SynSent => "syn_sent",
            Self::SynRecv => "syn_recv",
            Self::FinWait1 => "fin_wait_1",
            Self::FinWait2 => "fin_wait_2",
            Self::TimeWait => "time_wait",
            Self::Close => "close",
            Self::CloseWait => "close_wait",
            Self::LastAck => "last_ack",
            Self::Listen => "listen",
            Self::Closing => "closing",
        }
    }
}

/// A timer of a socket.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Timer {
    /// What it is for.
    pub kind: TimerKind,
    /// In how many milliseconds it expires.
    pub expires_ms: u32,
    /// How often it has expired: retransmits or probes in a row.
    pub count: u8,
}

/// What a socket waits for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TimerKind {
    /// To retransmit, or to send a tail loss probe.
    Retransmit,
    /// To look whether the peer is still there, or to end a connection that is half closed.
    KeepAlive,
    /// The end of `TIME-WAIT`.
    TimeWait,
    /// To probe a window of 0.
    WindowProbe,
}

impl TimerKind {
    /// Every kind.
    pub const ALL: [Self; 4] = [Self::Retransmit, Self::KeepAlive, Self::TimeWait, Self::WindowProbe];

    /// The kind with this number (`idiag_timer`); `None` for no timer.
    #[must_use]
    pub const fn of(number: u8) -> Option<Self> {
        match number {
            1 => Some(Self::Retransmit),
            2 => Some(Self::KeepAlive),
            3 => Some(Self::TimeWait),
            4 => Some(Self::WindowProbe),
            _ => None,
        }
    }

    /// Its name for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Retransmit => "retransmit",
            Self::KeepAlive => "keep_alive",
            Self::TimeWait => "time_wait",
            Self::WindowProbe => "window_probe",
        }
    }
}

/// The memory of a socket, in bytes (`INET_DIAG_SKMEMINFO`; `INET_DIAG_MEMINFO` has four of the same figures).
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct SocketMemory {
    /// Taken by received segments.
    pub receive_alloc: u32,
    /// Limit of these.
    pub receive_buffer: u32,
    /// Taken by segments that were handed to the interface and not sent yet.
    pub send_alloc: u32,
    /// Limit of the send queue.
    pub send_buffer: u32,
    /// Reserved for what comes.
    pub forward_alloc: u32,
    /// Taken by the send queue.
    pub send_queued: u32,
    /// Taken by options.
    pub option_memory: u32,
    /// Taken by segments that wait because the application uses the socket at this moment.
    pub backlog: u32,
    /// Packets, not bytes, that were dropped at the socket.
    pub drops: u32,
}

/// Options of a socket (`struct inet_diag_sockopt`).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions(pub u16);

impl SocketOptions {
    /// The names of all options, in the order of their bits.
    pub const NAMES: [&'static str; 11] = [
        "recverr",
        "is_icsk",
        "freebind",
        "hdrincl",
        "mc_loop",
        "transparent",
        "mc_all",
        "nodefrag",
        "bind_address_no_port",
        "recverr_rfc4884",
        "defer_connect",
    ];

    /// The names of those that are set.
    pub fn names(self) -> impl Iterator<Item = &'static str> {
        (0..).zip(Self::NAMES).filter(move |(bit, _)| self.0 >> bit & 1 == 1).map(|(_, name)| name)
    }
}

impl Socket {
    /// A socket of which nothing else is known.
    #[must_use]
    pub const fn new(cookie: u64, local: Endpoint, remote: Endpoint, state: SocketState) -> Self {
        Self {
            cookie,
            local,
            remote,
            interface: 0,
            state,
            timer: None,
            receive_queue: 0,
            send_queue: 0,
            user: 0,
            inode: 0,
            cgroup: None,
            info: None,
            congestion: None,
            memory: None,
            tos: None,
            traffic_class: None,
            shutdown: None,
            is_v6_only: None,
            mark: None,
            options: None,
        }
    }

    /// Whether it listens.
    #[must_use]
    pub fn listens(&self) -> bool {
        self.state == SocketState::Listen
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_have_the_numbers_of_the_kernel() {
        for state in SocketState::ALL {
            assert_eq!(SocketState::of(state as u8), Some(state));
        }
        assert_eq!(SocketState::of(12), Some(SocketState::SynRecv));
        assert_eq!([0, 13, 255].map(SocketState::of), [None; 3]);
        let all = SocketState::ALL.iter().fold(0, |all, state| all | state.bit());
        assert_eq!(all, 0xffe);
    }

    #[test]
    fn options_are_named_by_their_bits() {
        let names = |bits| SocketOptions(bits).names().collect::<Vec<_>>();
        assert_eq!(names(0b10), ["is_icsk"]);
        assert_eq!(names(0x401), ["recverr", "defer_connect"]);
        assert_eq!(names(u16::MAX).len(), SocketOptions::NAMES.len());
    }
}
