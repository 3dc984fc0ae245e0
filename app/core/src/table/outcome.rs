//! The words for who opened a connection, and for what has become of it.

/// Who opened the connection, as seen from this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Role {
    /// This host: its SYN left.
    Client,
    /// The peer: its SYN came in.
    Server,
    /// Both ends are this host.
    Local,
    /// Seen from elsewhere: a capture that does not tell which end is this host.
    Observer,
}

impl Role {
    /// Every role.
    pub const ALL: [Self; 4] = [Self::Client, Self::Server, Self::Local, Self::Observer];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Client => "client",
            Self::Server => "server",
            Self::Local => "local",
            Self::Observer => "observer",
        }
    }
}

/// What has become of a connection attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// Too early to say.
    Pending,
    /// The handshake was completed.
    Established,
    /// A RST answered the SYN.
    Refused,
    /// The SYN was repeated, or is older than a second, without an answer.
    Unanswered,
    /// A SYN-ACK was seen, but no ACK.
    HalfOpen,
    /// A RST ended it.
    Reset,
    /// Both ends sent a FIN, or its ports were used again.
    Closed,
    /// The handshake was not seen, or one answer alone of it.
    Unknown,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: [Self; 8] = [
        Self::Pending,
        Self::Established,
        Self::Refused,
        Self::Unanswered,
        Self::HalfOpen,
        Self::Reset,
        Self::Closed,
        Self::Unknown,
    ];

    /// The word for it.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Pending => "pending",
            Self::Established => "established",
            Self::Refused => "refused",
            Self::Unanswered => "unanswered",
            Self::HalfOpen => "half-open",
            Self::Reset => "reset",
            Self::Closed => "closed",
            Self::Unknown => "unknown",
        }
    }

    /// The word for programs: JSON values and labels of metrics. Filters take it, too.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::HalfOpen => "half_open",
            Self::Pending
            | Self::Established
            | Self::Refused
            | Self::Unanswered
            | Self::Reset
            | Self::Closed
            | Self::Unknown => self.name(),
        }
    }
}
