//! Why this host sends a RST, as its kernel says.

/// Why the kernel sends a RST: its reasons (`enum sk_rst_reason`, Linux 6.10), those together that mean the same to people.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum ResetReason {
    /// No socket is there for the segment that it answers: nothing listens, or the connection is gone.
    NoSocket = 1,
    /// The application closed the socket before it had read all that had come.
    ClosedUnread = 2,
    /// Data came after the application had closed the socket.
    DataAfterClose = 3,
    /// The socket was made to abort: closed without lingering (`SO_LINGER` of 0), disconnected, or killed (`ss -K`).
    Aborted = 4,
    /// It was closed, and the other end took too long to close its side (`TCP_LINGER2`).
    Linger = 5,
    /// Memory for sockets is short, or too many have no process any more.
    Memory = 6,
    /// The other end no longer answers keepalives.
    KeepaliveTimeout = 7,
    /// The application had closed the socket, of which nothing but a reminder is left (TIME-WAIT), and a segment came.
    AfterClose = 8,
    /// The segment that it answers acknowledges what was never sent, or too long ago.
    Acknowledgement = 9,
    /// The segment that it answers has flags, or a timestamp, that cannot be.
    Segment = 10,
    /// Any other reason, such as those of MPTCP.
    Other = 11,
}

impl ResetReason {
    /// Every reason, at the place of its number less one.
    pub const ALL: [Self; 11] = [
        Self::NoSocket,
        Self::ClosedUnread,
        Self::DataAfterClose,
        Self::Aborted,
        Self::Linger,
        Self::Memory,
        Self::KeepaliveTimeout,
        Self::AfterClose,
        Self::Acknowledgement,
        Self::Segment,
        Self::Other,
    ];

    /// The kernel's names (`include/net/rstreason.h`), without what all begin with. The kernel numbers them anew now and then.
    const KERNEL: [(&'static str, Self); 15] = [
        ("NO_SOCKET", Self::NoSocket),
        ("TCP_ABORT_ON_CLOSE", Self::ClosedUnread),
        ("TCP_ABORT_ON_DATA", Self::DataAfterClose),
        ("TCP_STATE", Self::Aborted),
        ("TCP_DISCONNECT_WITH_DATA", Self::Aborted),
        ("TCP_ABORT_ON_LINGER", Self::Linger),
        ("TCP_ABORT_ON_MEMORY", Self::Memory),
        ("TCP_KEEPALIVE_TIMEOUT", Self::KeepaliveTimeout),
        ("TCP_TIMEWAIT_SOCKET", Self::AfterClose),
        ("TCP_INVALID_ACK_SEQUENCE", Self::Acknowledgement),
        ("TCP_TOO_OLD_ACK", Self::Acknowledgement),
        ("TCP_OLD_ACK", Self::Acknowledgement),
        ("TCP_ACK_UNSENT_DATA", Self::Acknowledgement),
        ("TCP_FLAGS", Self::Segment),
        ("TCP_RFC7323_PAWS", Self::Segment),
    ];
    /// What the names of the kernel begin with.
    const PREFIX: &'static str = "SK_RST_REASON_";

    /// The reason with this name in the kernel; `None` where the kernel does not say one.
    #[must_use]
    pub fn of_kernel(name: &str) -> Option<Self> {
        let name = name.strip_prefix(Self::PREFIX).unwrap_or(name);
        if name == "NOT_SPECIFIED" || name == "MAX" {
            return None;
        }
        let known = Self::KERNEL.iter().find(|(known, _)| *known == name);
        Some(match known {
            Some((_, reason)) => *reason,
            None if name == "INVALID_SYN" => Self::Segment,
            None => Self::Other,
        })
    }

    /// The reason with this number; `None` for 0 and for all that have none.
    #[inline(always)]
    #[must_use]
    pub const fn of_number(number: u8) -> Option<Self> {
        match number {
            1..=11 => Some(Self::ALL[number as usize - 1]),
            _ => None,
        }
    }

    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoSocket => "no socket",
            Self::ClosedUnread => "closed with unread data",
            Self::DataAfterClose => "data after close",
            Self::Aborted => "aborted by its process",
            Self::Linger => "not closed by the peer",
            Self::Memory => "out of memory",
            Self::KeepaliveTimeout => "keepalive timeout",
            Self::AfterClose => "segment after close",
            Self::Acknowledgement => "wrong acknowledgement",
            Self::Segment => "wrong segment",
            Self::Other => "other reason",
        }
    }

    /// Its name for programs: JSON values and labels of metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoSocket => "no_socket",
            Self::ClosedUnread => "closed_with_unread_data",
            Self::DataAfterClose => "data_after_close",
            Self::Aborted => "aborted_by_its_process",
            Self::Linger => "not_closed_by_the_peer",
            Self::Memory => "out_of_memory",
            Self::KeepaliveTimeout => "keepalive_timeout",
            Self::AfterClose => "segment_after_close",
            Self::Acknowledgement => "wrong_acknowledgement",
            Self::Segment => "wrong_segment",
            Self::Other => "other_reason",
        }
    }
}

/// Numbers of the kernel's reasons that are told apart: the kernel has fewer.
pub const KERNEL_REASONS: usize = 64;

/// A field of a structure of the kernel that is read of the segment which a RST answers. The loader finds its place in the
/// kernel's BTF.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(usize)]
pub enum Place {
    /// `struct sk_buff`: its memory.
    Head = 0,
    /// Where its TCP header is, from the beginning of its memory.
    TransportHeader = 1,
}

impl Place {
    /// How many there are.
    pub const COUNT: usize = Self::ALL.len();
    /// Every place, at that of its number, with its structure and its name there.
    pub const ALL: [(Self, &'static str, &'static str); 2] =
        [(Self::Head, "sk_buff", "head"), (Self::TransportHeader, "sk_buff", "transport_header")];
}

/// The RST that a processor is about to send in answer to a segment: what the kernel says before it sends it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(C)]
pub struct Answer {
    /// The ports of the segment that is answered, as they stand in its header: source, destination.
    pub ports: [u16; 2],
    /// Its acknowledgement number, in network order, which a RST without ACK has for its sequence number.
    pub ack: u32,
    /// The number of a [`ResetReason`].
    pub reason: u32,
}

impl Answer {
    /// Whether this RST, by its own ports, its sequence number and its flags, is the answer.
    #[inline(always)]
    #[must_use]
    pub const fn is(&self, source_port: u16, destination_port: u16, seq: u32, has_ack: bool) -> bool {
        self.ports[0] == destination_port.to_be()
            && self.ports[1] == source_port.to_be()
            && (has_ack || self.ack == seq.to_be())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reasons_are_at_their_numbers() {
        for (place, reason) in ResetReason::ALL.into_iter().enumerate() {
            assert_eq!(reason as usize, place + 1);
            assert_eq!(ResetReason::of_number(reason as u8), Some(reason));
        }
        assert_eq!([0, 12, u8::MAX].map(ResetReason::of_number), [None; 3]);
        for (number, (place, ..)) in Place::ALL.into_iter().enumerate() {
            assert_eq!(place as usize, number);
        }
    }

    #[test]
    fn the_kernels_names_are_known_and_new_ones_are_other() {
        let of = ResetReason::of_kernel;
        assert_eq!(of("SK_RST_REASON_TCP_ABORT_ON_CLOSE"), Some(ResetReason::ClosedUnread));
        assert_eq!(of("SK_RST_REASON_INVALID_SYN"), Some(ResetReason::Segment));
        assert_eq!(of("SK_RST_REASON_MPTCP_RST_EWQ2BIG"), Some(ResetReason::Other));
        assert_eq!([of("SK_RST_REASON_NOT_SPECIFIED"), of("SK_RST_REASON_MAX")], [None; 2]);
    }

    #[test]
    fn only_the_rst_with_the_same_ports_and_number_is_the_answer() {
        let answer = Answer { ports: [50_000_u16.to_be(), 80_u16.to_be()], ack: 7_u32.to_be(), reason: 1 };
        assert!(answer.is(80, 50_000, 7, false) && answer.is(80, 50_000, 0, true));
        assert!(!answer.is(80, 50_000, 8, false) && !answer.is(50_000, 80, 7, false));
        assert!(!answer.is(80, 50_001, 7, false) && !answer.is(81, 50_000, 0, true));
    }
}
