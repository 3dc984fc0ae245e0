//! Who opened a connection, which end did something, and what has become of the attempt.

/// Who opened the connection, as seen from this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub enum Role {
    /// This host: its SYN was sent.
    Client,
    /// The peer: its SYN was received.
    Server,
    /// Both ends are this host.
    Local,
    /// Neither end is this host: the connection is that of a container or a virtual machine, or is routed or bridged through.
    Forwarded,
    /// A capture that does not say which end is this host.
    Observer,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 5] = [Self::Client, Self::Server, Self::Local, Self::Forwarded, Self::Observer];

    /// Its name in filters and in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Local => "local",
            Self::Forwarded => "forwarded",
            Self::Observer => "observer",
        }
    }
}

/// One end of a connection. Where both ends are this host, or neither is known to be, `Local` is the opener.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Party {
    /// This host.
    Local,
    /// The peer.
    Remote,
}

impl Party {
    /// Both ends.
    pub const ALL: [Self; 2] = [Self::Local, Self::Remote];

    /// The other end.
    #[must_use]
    pub(crate) const fn other(self) -> Self {
        match self {
            Self::Local => Self::Remote,
            Self::Remote => Self::Local,
        }
    }

    /// Its name in every output.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Local => "local",
            Self::Remote => "remote",
        }
    }
}

/// What has become of a connection attempt: of its handshake first, then of the connection.
///
/// Handshakes are counted by it (see [`Counts`](crate::Counts)): a new way for a handshake to end is a new variant before
/// `Pending`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The handshake was completed.
    Established,
    /// A RST answered the SYN.
    Refused,
    /// An ICMP error says that the SYN or the SYN-ACK was not delivered, and nothing shows that another one was.
    Unreachable,
    /// It failed on this host, before any SYN had passed an interface: there is no route, no port, no neighbour, or a firewall of
    /// this host drops its SYNs.
    FailedLocally,
    /// The SYN was retransmitted, or is older than a second, without an answer.
    Unanswered,
    /// A SYN-ACK was seen, but no ACK.
    HalfOpen,
    /// A RST ended it.
    Reset,
    /// An ACK answered the SYN, with the numbers of another connection on these ports, which the other end still has or has
    /// in TIME-WAIT: a challenge ACK (RFC 5961, 4.2).
    Challenged,
    /// The handshake was not seen, or nothing of it but one SYN-ACK, or records of it were missed.
    Unknown,
    /// Too early to say.
    Pending,
    /// Both ends sent a FIN, or its ports were reused.
    Closed,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 11] = [
        Self::Pending,
        Self::Established,
        Self::Refused,
        Self::Unreachable,
        Self::FailedLocally,
        Self::Unanswered,
        Self::HalfOpen,
        Self::Reset,
        Self::Closed,
        Self::Challenged,
        Self::Unknown,
    ];
    /// Every outcome that a handshake can end with: those before `Pending`.
    pub const DECIDED: [Self; Self::Pending as usize] = [
        Self::Established,
        Self::Refused,
        Self::Unreachable,
        Self::FailedLocally,
        Self::Unanswered,
        Self::HalfOpen,
        Self::Reset,
        Self::Challenged,
        Self::Unknown,
    ];

    /// How many outcomes an attempt can have: those that it ends with, and `Pending`.
    pub(crate) const OF_ATTEMPTS: usize = Self::Pending as usize + 1;

    /// The outcome of attempts with this number.
    pub(crate) const fn of_attempt(number: usize) -> Self {
        if number < Self::DECIDED.len() { Self::DECIDED[number] } else { Self::Pending }
    }

    /// Its name for people. Filters accept it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Established => "established",
            Self::Refused => "refused",
            Self::Unreachable => "unreachable",
            Self::FailedLocally => "failed-locally",
            Self::Unanswered => "unanswered",
            Self::HalfOpen => "half-open",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Challenged => "challenged",
            Self::Unknown => "unknown",
        }
    }

    /// Its name for programs: JSON values and labels of metrics. Filters accept it, too.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::HalfOpen => "half_open",
            Self::FailedLocally => "failed_locally",
            Self::Pending
            | Self::Established
            | Self::Refused
            | Self::Unreachable
            | Self::Unanswered
            | Self::Reset
            | Self::Closed
            | Self::Challenged
            | Self::Unknown => self.name(),
        }
    }

    /// Whether a handshake can end with it.
    #[must_use]
    pub const fn is_decided(self) -> bool {
        (self as usize) < Self::DECIDED.len()
    }

    /// Whether the attempt failed: a connection was wanted and there is none.
    #[must_use]
    pub const fn is_failure(self) -> bool {
        match self {
            Self::Refused
            | Self::Unreachable
            | Self::FailedLocally
            | Self::Unanswered
            | Self::HalfOpen
            | Self::Reset
            | Self::Challenged => true,
            Self::Established | Self::Unknown | Self::Pending | Self::Closed => false,
        }
    }
}
