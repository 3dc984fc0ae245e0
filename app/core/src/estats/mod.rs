//! The variables of RFC 4898 (TCP-ESTATS-MIB), with the RFC's names and units: one table says of each how it is had, or why not.
//!
//! What is here comes from the kernel's list of sockets, and where events are collected from these. A formula is code; the words
//! beside it say the same for people, and the documents are made from them.

mod app;
mod extremes;
mod listener;
mod path;
mod perf;
mod stack;
mod tune;

use crate::socket::{InfoField, Socket, SocketState, SocketSums, TcpInfo};
use probe_common::sums::Sum;

use extremes::Extreme;
pub use extremes::Extremes;

/// A table of the RFC.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EstatsTable {
    /// `tcpEStatsConnectIdTable`.
    ConnectId,
    /// `tcpEStatsPerfTable`.
    Perf,
    /// `tcpEStatsPathTable`.
    Path,
    /// `tcpEStatsStackTable`.
    Stack,
    /// `tcpEStatsAppTable`.
    App,
    /// `tcpEStatsTuneTable`.
    Tune,
    /// `tcpEStatsListenerTable`.
    Listener,
}

/// A variable of the RFC.
#[derive(Debug)]
pub struct Variable {
    /// Its name behind that of its table: `SegsOut` of `tcpEStatsPerfSegsOut`.
    pub name: &'static str,
    /// Its unit.
    pub unit: &'static str,
    /// How it is had.
    pub source: Source,
}

/// How a variable is had.
#[derive(Debug)]
pub enum Source {
    /// The kernel's list of sockets says it.
    Listed {
        /// How good it is.
        quality: Quality,
        /// The formula in words.
        how: &'static str,
        /// The formula. `None` where the kernel does not say what it takes.
        value: fn(&Facts<'_>) -> Option<EstatsValue>,
    },
    /// It is known where events are collected.
    Counted {
        /// Which ones.
        needs: Needs,
        /// How good it is.
        quality: Quality,
        /// The formula in words.
        how: &'static str,
        /// The formula. `None` where it is not known.
        value: fn(&Facts<'_>, &SocketSums) -> Option<EstatsValue>,
    },
    /// Neither.
    Missing(Missing),
}

/// What has to be collected for a variable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Needs {
    /// Events that are rare: round trips, timeouts, signals of congestion; and a look into the socket.
    Sums,
    /// These, and every segment that comes in.
    Segments,
}

/// How good a value is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quality {
    /// What the kernel counts is what the RFC defines.
    Exact,
    /// It follows from exact values.
    Derived,
    /// It is near, or a bound.
    Approximate,
}

/// Why a variable cannot be had from the kernel's list of sockets.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Missing {
    /// Something that happens to the socket must be seen when it happens.
    Events,
    /// Every segment that is sent, or those of a listener, must be seen.
    Segments,
    /// No interface of Linux says it.
    Interface,
}

/// A value.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EstatsValue {
    /// A number of what the unit says.
    Number(u64),
    /// Microseconds, of a variable whose unit is milliseconds.
    Milliseconds {
        /// How many microseconds.
        us: u64,
    },
    /// Yes or no.
    Truth(bool),
    /// One of the words that the RFC lists.
    Word(&'static str),
    /// A moment: so many nanoseconds before the list.
    Ago {
        /// How long ago.
        ns: u64,
    },
}

/// What variables are made of.
#[derive(Clone, Copy, Debug)]
pub struct Facts<'a> {
    /// The socket.
    pub socket: &'a Socket,
    /// The extremes of earlier lists and this one, if there were any.
    pub extremes: Option<&'a Extremes>,
    /// Whether this host opened the connection, as far as that is known.
    pub is_active: Option<bool>,
    /// Of a listener: its connections in `ESTABLISHED` that were accepted, and those in `SYN-RECEIVED`, where that is known.
    pub accepted: Option<[u64; 2]>,
    /// What events tell, if they are collected.
    pub sums: Option<&'a SocketSums>,
    /// When the socket was listed, in nanoseconds of the monotonic clock; 0 if nobody asks.
    pub now_ns: u64,
}

impl EstatsTable {
    /// Every table, in the RFC's order.
    pub const ALL: [Self; 7] =
        [Self::ConnectId, Self::Perf, Self::Path, Self::Stack, Self::App, Self::Tune, Self::Listener];

    /// Its name within `tcpEStats...Table`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::ConnectId => "Connect",
            Self::Perf => "Perf",
            Self::Path => "Path",
            Self::Stack => "Stack",
            Self::App => "App",
            Self::Tune => "Tune",
            Self::Listener => "Listener",
        }
    }

    /// Its variables, in the RFC's order.
    #[must_use]
    pub fn variables(self) -> &'static [Variable] {
        match self {
            Self::ConnectId => &CONNECT_ID,
            Self::Perf => &perf::VARIABLES,
            Self::Path => &path::VARIABLES,
            Self::Stack => &stack::VARIABLES,
            Self::App => &app::VARIABLES,
            Self::Tune => &tune::VARIABLES,
            Self::Listener => &listener::VARIABLES,
        }
    }

    /// Whether a socket has variables in it: listeners have those of their own table.
    #[must_use]
    pub fn is_of(self, socket: &Socket) -> bool {
        (self == Self::Listener) == socket.listens() || self == Self::ConnectId
    }
}

static CONNECT_ID: [Variable; 1] =
    [Variable::exact("ConnectIndex", "", "cookie of the socket, its lower 32 bits", |facts| {
        Some(EstatsValue::Number(low_half(facts.socket.cookie))).filter(|_| facts.socket.cookie != 0)
    })];

type Formula = fn(&Facts<'_>) -> Option<EstatsValue>;
type Counting = fn(&Facts<'_>, &SocketSums) -> Option<EstatsValue>;

/// What events tell exactly, and so on.
const EXACT: (Needs, Quality) = (Needs::Sums, Quality::Exact);
const DERIVED: (Needs, Quality) = (Needs::Sums, Quality::Derived);
const APPROXIMATE: (Needs, Quality) = (Needs::Sums, Quality::Approximate);
/// What segments tell: only those that come in while the connection is established are counted.
const OF_SEGMENTS: (Needs, Quality) = (Needs::Segments, Quality::Approximate);

impl Variable {
    const fn exact(name: &'static str, unit: &'static str, how: &'static str, value: Formula) -> Self {
        Self { name, unit, source: Source::Listed { quality: Quality::Exact, how, value } }
    }

    const fn derived(name: &'static str, unit: &'static str, how: &'static str, value: Formula) -> Self {
        Self { name, unit, source: Source::Listed { quality: Quality::Derived, how, value } }
    }

    const fn approximate(name: &'static str, unit: &'static str, how: &'static str, value: Formula) -> Self {
        Self { name, unit, source: Source::Listed { quality: Quality::Approximate, how, value } }
    }

    const fn counted(
        name: &'static str,
        unit: &'static str,
        (needs, quality): (Needs, Quality),
        how: &'static str,
        value: Counting,
    ) -> Self {
        Self { name, unit, source: Source::Counted { needs, quality, how, value } }
    }

    const fn missing(name: &'static str, unit: &'static str, why: Missing) -> Self {
        Self { name, unit, source: Source::Missing(why) }
    }

    /// Its value for a socket; `None` if it is not known.
    #[must_use]
    pub fn value(&self, facts: &Facts<'_>) -> Option<EstatsValue> {
        match self.source {
            Source::Listed { value, .. } => value(facts),
            Source::Counted { value, .. } => value(facts, facts.sums?),
            Source::Missing(_) => None,
        }
    }

    /// How good it is; `None` if it cannot be had.
    #[must_use]
    pub const fn quality(&self) -> Option<Quality> {
        match self.source {
            Source::Listed { quality, .. } | Source::Counted { quality, .. } => Some(quality),
            Source::Missing(_) => None,
        }
    }

    /// The formula in words; `None` if it cannot be had.
    #[must_use]
    pub const fn how(&self) -> Option<&'static str> {
        match self.source {
            Source::Listed { how, .. } | Source::Counted { how, .. } => Some(how),
            Source::Missing(_) => None,
        }
    }

    /// What has to be collected for it; `None` if nothing.
    #[must_use]
    pub const fn needs(&self) -> Option<Needs> {
        match self.source {
            Source::Counted { needs, .. } => Some(needs),
            Source::Listed { .. } | Source::Missing(_) => None,
        }
    }
}

impl Needs {
    /// Every one, the cheapest first.
    pub const ALL: [Self; 2] = [Self::Sums, Self::Segments];

    /// Its name for programs: the value of `--events`.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Sums => "sums",
            Self::Segments => "segments",
        }
    }
}

impl Quality {
    /// Every quality, the best first.
    pub const ALL: [Self; 3] = [Self::Exact, Self::Derived, Self::Approximate];

    /// Its name for programs.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Exact => "exact",
            Self::Derived => "derived",
            Self::Approximate => "approximate",
        }
    }
}

impl Missing {
    /// The reason as a sentence.
    #[must_use]
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Events => "needs events of the socket, which tcptop does not collect",
            Self::Segments => {
                "needs segments that tcptop does not count for it: those sent, or those of a listener"
            }
            Self::Interface => "no interface of Linux says it",
        }
    }
}

impl<'a> Facts<'a> {
    /// Those of a connection.
    #[must_use]
    pub const fn of(socket: &'a Socket) -> Self {
        Self { socket, extremes: None, is_active: None, accepted: None, sums: None, now_ns: 0 }
    }

    fn info(&self) -> Option<&'a TcpInfo> {
        self.socket.info.as_ref()
    }

    fn get(&self, field: InfoField) -> Option<u64> {
        self.info()?.get(field)
    }

    fn number(&self, field: InfoField) -> Option<EstatsValue> {
        self.get(field).map(EstatsValue::Number)
    }

    /// A count that the RFC keeps in 32 bits.
    fn wrapped(&self, field: InfoField) -> Option<EstatsValue> {
        Some(EstatsValue::Number(low_half(self.get(field)?)))
    }

    /// Milliseconds, of a field in microseconds.
    fn milliseconds(&self, field: InfoField) -> Option<EstatsValue> {
        self.get(field).map(|us| EstatsValue::Milliseconds { us })
    }

    /// Bytes, of a field in segments.
    fn in_bytes(&self, field: InfoField) -> Option<u64> {
        Some(self.get(field)? * self.get(InfoField::SndMss)?)
    }

    fn extreme(&self, extreme: Extreme) -> Option<EstatsValue> {
        self.extremes?.get(extreme).map(EstatsValue::Number)
    }

    /// The same of one that is kept in microseconds.
    fn extreme_milliseconds(&self, extreme: Extreme) -> Option<EstatsValue> {
        self.extremes?.get(extreme).map(|us| EstatsValue::Milliseconds { us })
    }

    /// Bytes in flight, as the sender estimates them.
    fn pipe(&self) -> Option<u64> {
        let [out, sacked, lost, retransmitted] =
            [InfoField::Unacked, InfoField::Sacked, InfoField::Lost, InfoField::Retrans]
                .map(|field| self.get(field));
        let segments = (out? + retransmitted?).saturating_sub(sacked? + lost?);
        Some(segments * self.get(InfoField::SndMss)?)
    }

    /// Bytes sent and not acknowledged: the send queue without what was never sent, and without a SYN or FIN that was sent.
    fn unacknowledged(&self) -> Option<u64> {
        let unsent = self.get(InfoField::NotsentBytes)?;
        let has_flag = match self.socket.state {
            SocketState::SynSent => true,
            // After a simultaneous open the queue has the SYN, after a SYN with data (RFC 7413) it has not.
            SocketState::SynRecv => return None,
            SocketState::FinWait1 | SocketState::LastAck | SocketState::Closing => unsent == 0,
            _ => false,
        };
        u64::from(self.socket.send_queue).checked_sub(unsent)?.checked_sub(u64::from(has_flag))
    }

    /// Bytes that the application has not read. The peer's FIN is in the queue, too, until it is read.
    fn unread(&self) -> u64 {
        u64::from(self.socket.receive_queue).saturating_sub(u64::from(self.has_peers_fin()))
    }

    /// Whether the peer's FIN was received.
    const fn has_peers_fin(&self) -> bool {
        matches!(self.socket.state, SocketState::CloseWait | SocketState::LastAck | SocketState::Closing)
    }

    /// From the beginning to the latest segment, in microseconds: with the kernel's grain of a millisecond.
    fn elapsed_us(&self, sums: &SocketSums) -> Option<u64> {
        let started_ns = sums.sum(Sum::Started).filter(|started_ns| *started_ns != 0)?;
        let latest = [InfoField::LastDataSent, InfoField::LastDataRecv, InfoField::LastAckRecv];
        let quiet_ms = latest.into_iter().filter_map(|field| self.get(field)).min()?;
        let age_us = self.now_ns.checked_sub(started_ns)? / 1_000;
        Some(age_us.saturating_sub(quiet_ms * 1_000))
    }

    /// Whether an option is in use: the bits of `tcpi_options`.
    fn negotiated(&self, bit: u64) -> Option<EstatsValue> {
        let is_known =
            !matches!(self.socket.state, SocketState::SynSent | SocketState::SynRecv | SocketState::Close);
        let options = self.get(InfoField::Options).filter(|_| is_known)?;
        // Who of the two did not want it is not known.
        (options & bit != 0).then_some(EstatsValue::Word("enabled"))
    }
}

/// What 32 bits hold of a number.
const fn low_half(number: u64) -> u64 {
    number & u32::MAX as u64
}

#[cfg(test)]
mod tests;
