//! Connects that fail on this host, before any SYN has passed.

use probe_common::{FailureRecord, FailureStage};

/// Why a connect failed before any SYN had passed, by what its application was told, or its route says.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FailureCause {
    /// There is no route to that end (`ENETUNREACH`).
    NoRoute,
    /// The route is an `unreachable` one (`EHOSTUNREACH`).
    RouteUnreachable,
    /// The route is a `prohibit` one (`EACCES`).
    RouteProhibited,
    /// The route is a `blackhole` one (`EINVAL`).
    RouteBlackhole,
    /// Every local port is in use towards that end (`EADDRNOTAVAIL`).
    NoPort,
    /// The neighbour that the route leads over does not resolve, or a firewall of this host says that the host is unreachable
    /// (`EHOSTUNREACH`).
    HostUnreachable,
    /// A firewall of this host rejects (`ECONNREFUSED`).
    Rejected,
    /// Something on this host forbids it (`EPERM`, `EACCES`).
    Forbidden,
    /// The socket sent SYNs, and none passed an interface until it or its application gave up: a firewall or a queue of this host
    /// drops them.
    NotSent,
    /// The kernel had not begun to connect, and there is a route now.
    NotBegun,
    /// Any other error.
    Other,
}

/// Error numbers (`errno(3)`) of Linux, the same on all architectures but MIPS, PA-RISC, SPARC and Alpha.
mod errno {
    pub(super) const EPERM: u16 = 1;
    pub(super) const EACCES: u16 = 13;
    pub(super) const EINVAL: u16 = 22;
    pub(super) const EADDRNOTAVAIL: u16 = 99;
    pub(super) const ENETUNREACH: u16 = 101;
    pub(super) const ETIMEDOUT: u16 = 110;
    pub(super) const ECONNREFUSED: u16 = 111;
    pub(super) const EHOSTUNREACH: u16 = 113;
}

impl FailureCause {
    /// Every cause.
    pub const ALL: [Self; 11] = [
        Self::NoRoute,
        Self::RouteUnreachable,
        Self::RouteProhibited,
        Self::RouteBlackhole,
        Self::NoPort,
        Self::HostUnreachable,
        Self::Rejected,
        Self::Forbidden,
        Self::NotSent,
        Self::NotBegun,
        Self::Other,
    ];

    /// What a record says.
    pub(super) const fn of(stage: FailureStage, number: Option<u16>) -> Self {
        use errno::{
            EACCES, EADDRNOTAVAIL, ECONNREFUSED, EHOSTUNREACH, EINVAL, ENETUNREACH, EPERM, ETIMEDOUT,
        };
        match (stage, number) {
            (_, Some(ENETUNREACH)) => Self::NoRoute,
            (_, Some(EADDRNOTAVAIL)) => Self::NoPort,
            (FailureStage::Route, None) => Self::NotBegun,
            (FailureStage::Route, Some(EHOSTUNREACH)) => Self::RouteUnreachable,
            (FailureStage::Route, Some(EACCES)) => Self::RouteProhibited,
            (FailureStage::Route, Some(EINVAL)) => Self::RouteBlackhole,
            (FailureStage::Sending, Some(EHOSTUNREACH)) => Self::HostUnreachable,
            (FailureStage::Sending, Some(ECONNREFUSED)) => Self::Rejected,
            (_, Some(EPERM | EACCES)) => Self::Forbidden,
            (FailureStage::Sending, Some(ETIMEDOUT) | None) => Self::NotSent,
            _ => Self::Other,
        }
    }

    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::NoRoute => "no route",
            Self::RouteUnreachable => "unreachable route",
            Self::RouteProhibited => "prohibited route",
            Self::RouteBlackhole => "blackhole route",
            Self::NoPort => "no free port",
            Self::HostUnreachable => "no neighbour",
            Self::Rejected => "rejected here",
            Self::Forbidden => "forbidden here",
            Self::NotSent => "SYN not sent",
            Self::NotBegun => "connect failed",
            Self::Other => "other error",
        }
    }

    /// Its name for programs: JSON values.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::NoRoute => "no_route",
            Self::RouteUnreachable => "unreachable_route",
            Self::RouteProhibited => "prohibited_route",
            Self::RouteBlackhole => "blackhole_route",
            Self::NoPort => "no_free_port",
            Self::HostUnreachable => "no_neighbour",
            Self::Rejected => "rejected_here",
            Self::Forbidden => "forbidden_here",
            Self::NotSent => "syn_not_sent",
            Self::NotBegun => "connect_failed",
            Self::Other => "other_error",
        }
    }
}

/// A connect that failed before any SYN had passed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LocalFailure {
    /// Why.
    pub cause: FailureCause,
    /// What the application was told (`errno`), as the socket or the route to that end says; `None` where neither does.
    pub errno: Option<u16>,
}

impl LocalFailure {
    pub(super) const fn of(record: &FailureRecord) -> Self {
        Self { cause: FailureCause::of(record.stage, record.errno), errno: record.errno }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn causes_follow_from_how_far_it_came_and_what_was_told() {
        let route = |number| FailureCause::of(FailureStage::Route, number);
        let sending = |number| FailureCause::of(FailureStage::Sending, number);
        for (number, at_route, when_sending) in [
            (Some(101), FailureCause::NoRoute, FailureCause::NoRoute),
            (Some(113), FailureCause::RouteUnreachable, FailureCause::HostUnreachable),
            (Some(13), FailureCause::RouteProhibited, FailureCause::Forbidden),
            (Some(22), FailureCause::RouteBlackhole, FailureCause::Other),
            (Some(1), FailureCause::Forbidden, FailureCause::Forbidden),
            (Some(110), FailureCause::Other, FailureCause::NotSent),
            (Some(111), FailureCause::Other, FailureCause::Rejected),
            (None, FailureCause::NotBegun, FailureCause::NotSent),
        ] {
            assert_eq!((route(number), sending(number)), (at_route, when_sending), "{number:?}");
        }
        assert_eq!(sending(Some(99)), FailureCause::NoPort);
    }
}
