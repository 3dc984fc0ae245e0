//! What the kernel counts for the whole host: its network namespace, not one connection.

use std::sync::Arc;

/// One of the kernel's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HostCounter {
    /// Segments that were retransmitted: SYNs, SYN-ACKs, data and FINs.
    RetransSegs,
    /// Those of them that are SYNs and SYN-ACKs.
    SynRetrans,
    /// Retransmission timers that ran out.
    Timeouts,
    /// Tail loss probes (RFC 8985).
    LossProbes,
    /// Segments that were retransmitted because later ones had arrived.
    FastRetrans,
    /// Connections that found the accept queue of their listener full.
    ListenOverflows,
    /// Connections that a listener dropped for any reason, these included.
    ListenDrops,
    /// SYN cookies that were sent because a queue of SYNs was full.
    CookiesSent,
    /// Valid cookies that came back.
    CookiesReceived,
    /// Cookies that were not valid.
    CookiesFailed,
    /// Queues of SYNs that were full, and cookies were sent.
    SynQueueFullCookies,
    /// SYNs that were dropped because their queue was full, and cookies are off.
    SynQueueFullDrops,
    /// Segments that were dropped because a socket's backlog was full.
    BacklogDrops,
    /// Segments that were dropped because a socket's receive buffer was full.
    ReceiveQueueDrops,
    /// Connections that were given up for lack of memory.
    MemoryAborts,
    /// Connections that conntrack could not insert.
    ConntrackInsertFailed,
    /// Packets that it dropped.
    ConntrackDrops,
    /// Entries that it evicted for new ones, because its table was full.
    ConntrackEarlyDrops,
}

impl HostCounter {
    /// Every counter, at the place of its number.
    pub const ALL: [Self; 18] = [
        Self::RetransSegs,
        Self::SynRetrans,
        Self::Timeouts,
        Self::LossProbes,
        Self::FastRetrans,
        Self::ListenOverflows,
        Self::ListenDrops,
        Self::CookiesSent,
        Self::CookiesReceived,
        Self::CookiesFailed,
        Self::SynQueueFullCookies,
        Self::SynQueueFullDrops,
        Self::BacklogDrops,
        Self::ReceiveQueueDrops,
        Self::MemoryAborts,
        Self::ConntrackInsertFailed,
        Self::ConntrackDrops,
        Self::ConntrackEarlyDrops,
    ];

    /// The group it is in, and its name there: as in `/proc/net/snmp`, `/proc/net/netstat` and `/proc/net/stat/nf_conntrack`.
    #[must_use]
    pub const fn kernel_name(self) -> (&'static str, &'static str) {
        match self {
            Self::RetransSegs => ("Tcp", "RetransSegs"),
            Self::SynRetrans => ("TcpExt", "TCPSynRetrans"),
            Self::Timeouts => ("TcpExt", "TCPTimeouts"),
            Self::LossProbes => ("TcpExt", "TCPLossProbes"),
            Self::FastRetrans => ("TcpExt", "TCPFastRetrans"),
            Self::ListenOverflows => ("TcpExt", "ListenOverflows"),
            Self::ListenDrops => ("TcpExt", "ListenDrops"),
            Self::CookiesSent => ("TcpExt", "SyncookiesSent"),
            Self::CookiesReceived => ("TcpExt", "SyncookiesRecv"),
            Self::CookiesFailed => ("TcpExt", "SyncookiesFailed"),
            Self::SynQueueFullCookies => ("TcpExt", "TCPReqQFullDoCookies"),
            Self::SynQueueFullDrops => ("TcpExt", "TCPReqQFullDrop"),
            Self::BacklogDrops => ("TcpExt", "TCPBacklogDrop"),
            Self::ReceiveQueueDrops => ("TcpExt", "TCPRcvQDrop"),
            Self::MemoryAborts => ("TcpExt", "TCPAbortOnMemory"),
            Self::ConntrackInsertFailed => (CONNTRACK, "insert_failed"),
            Self::ConntrackDrops => (CONNTRACK, "drop"),
            Self::ConntrackEarlyDrops => (CONNTRACK, "early_drop"),
        }
    }

    /// What one of them is, where it is a sign of trouble that no single connection shows; more of them with an `s`.
    #[must_use]
    pub const fn trouble(self) -> Option<&'static str> {
        match self {
            Self::ListenOverflows => Some("accept queue overflow"),
            Self::ListenDrops => Some("listen drop"),
            Self::CookiesSent => Some("SYN cookie"),
            Self::CookiesFailed => Some("invalid SYN cookie"),
            Self::SynQueueFullDrops => Some("SYN queue drop"),
            Self::BacklogDrops => Some("backlog drop"),
            Self::ReceiveQueueDrops => Some("receive buffer drop"),
            Self::MemoryAborts => Some("abort for lack of memory"),
            Self::ConntrackInsertFailed => Some("conntrack insert failure"),
            Self::ConntrackDrops => Some("conntrack drop"),
            Self::ConntrackEarlyDrops => Some("conntrack eviction"),
            Self::RetransSegs
            | Self::SynRetrans
            | Self::Timeouts
            | Self::LossProbes
            | Self::FastRetrans
            | Self::CookiesReceived
            | Self::SynQueueFullCookies => None,
        }
    }
}

/// The group of conntrack, as its file is called.
const CONNTRACK: &str = "nf_conntrack";
const COUNTERS: usize = HostCounter::ALL.len();
const LISTEN_DROPS: usize = HostCounter::ListenDrops as usize;

/// How full the table of tracked connections is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Conntrack {
    /// Entries in it.
    pub entries: u64,
    /// How many there may be.
    pub max: u64,
}

impl Conntrack {
    /// Whether it has no room, or hardly any: less than a twentieth.
    #[must_use]
    pub const fn is_full(&self) -> bool {
        self.max > 0 && self.max.saturating_sub(self.entries) < self.max.div_ceil(20)
    }
}

/// The kernel's counters, at one moment.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HostCounters {
    counts: [Option<u64>; COUNTERS],
    /// `None` where connections are not tracked.
    pub conntrack: Option<Conntrack>,
}

impl HostCounters {
    /// One of them; `None` where the kernel does not say.
    #[must_use]
    pub const fn of(&self, counter: HostCounter) -> Option<u64> {
        self.counts[counter as usize]
    }

    /// Drops of listeners that are no overflows.
    fn other_listen_drops(&self) -> Option<u64> {
        let overflows = self.of(HostCounter::ListenOverflows).unwrap_or(0);
        Some(self.of(HostCounter::ListenDrops)?.saturating_sub(overflows))
    }

    /// Sets one of them.
    pub const fn set(&mut self, counter: HostCounter, count: u64) {
        self.counts[counter as usize] = Some(count);
    }
}

/// Two counts of the same.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CrossCheck {
    /// The kernel's.
    pub kernel: u64,
    /// That of the segments that were seen.
    pub seen: u64,
}

/// What the kernel counted for the whole host.
#[derive(Clone, Debug, PartialEq)]
pub struct Host {
    counts: [Option<u64>; COUNTERS],
    grown_ns: [u64; COUNTERS],
    /// How full the table of tracked connections is now.
    pub conntrack: Option<Conntrack>,
    /// Names of interfaces that are up and not watched.
    pub unwatched: Arc<[String]>,
    /// Retransmits that this host sent, since the start of the run; `None` where the kernel does not say, or where not all
    /// records were handled.
    pub retransmits: Option<CrossCheck>,
    /// Those of SYNs and SYN-ACKs.
    pub syn_retransmits: Option<CrossCheck>,
}

impl Host {
    /// How much a counter has grown since counts began; `None` where the kernel does not say.
    #[must_use]
    pub const fn of(&self, counter: HostCounter) -> Option<u64> {
        self.counts[counter as usize]
    }

    /// The signs of trouble that there were since counts began, how many of each, and when the latest was noticed, in
    /// nanoseconds of the monotonic clock.
    pub fn troubles(&self) -> impl Iterator<Item = (HostCounter, u64, u64)> {
        HostCounter::ALL
            .into_iter()
            .filter(|counter| counter.trouble().is_some())
            .filter_map(|counter| Some((counter, self.of(counter)?, self.grown_ns[counter as usize])))
            // A drop of a listener is an overflow, but for the rest.
            .map(|(counter, count, last_ns)| match counter {
                HostCounter::ListenDrops => (
                    counter,
                    count.saturating_sub(self.of(HostCounter::ListenOverflows).unwrap_or(0)),
                    last_ns,
                ),
                _ => (counter, count, last_ns),
            })
            .filter(|(_, count, _)| *count > 0)
    }
}

/// Retransmits that were sent by sockets of this host, as they were seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct OwnRetransmits {
    /// All of them.
    pub(crate) all: u64,
    /// SYNs and SYN-ACKs.
    pub(crate) syns: u64,
}

/// The counters of a run.
#[derive(Clone, Debug)]
pub(crate) struct HostRun {
    first: HostCounters,
    latest: HostCounters,
    grown_ns: [u64; COUNTERS],
    unwatched: Arc<[String]>,
}

impl HostRun {
    /// A run that begins with these.
    pub(crate) fn new(first: &HostCounters, unwatched: &[String]) -> Self {
        Self { first: *first, latest: *first, grown_ns: [0; COUNTERS], unwatched: unwatched.into() }
    }

    /// The counters as they are at `now_ns`. A sum over processors that change meanwhile may be less than the one before.
    pub(crate) fn update(&mut self, counters: &HostCounters, unwatched: &[String], now_ns: u64) {
        let (other_drops, other_drops_ns) = (self.latest.other_listen_drops(), self.grown_ns[LISTEN_DROPS]);
        for ((latest, count), grown_ns) in
            self.latest.counts.iter_mut().zip(counters.counts).zip(&mut self.grown_ns)
        {
            if count > *latest {
                (*latest, *grown_ns) = (count, now_ns);
            }
        }
        if self.latest.other_listen_drops() <= other_drops {
            // Those that were added are overflows.
            self.grown_ns[LISTEN_DROPS] = other_drops_ns;
        }
        self.latest.conntrack = counters.conntrack;
        if *self.unwatched != *unwatched {
            self.unwatched = unwatched.into();
        }
    }

    /// The latest.
    pub(crate) const fn latest(&self) -> &HostCounters {
        &self.latest
    }

    /// What was counted since `baseline`, or since the start.
    /// `own` is what was seen meanwhile, if all was handled.
    pub(crate) fn since(&self, baseline: Option<&HostCounters>, own: Option<OwnRetransmits>) -> Host {
        let since = |from: &HostCounters, counter: HostCounter| {
            Some(self.latest.of(counter)?.saturating_sub(from.of(counter)?))
        };
        let check = |counter: HostCounter, seen: fn(OwnRetransmits) -> u64| {
            Some(CrossCheck { kernel: since(&self.first, counter)?, seen: seen(own?) })
        };
        Host {
            counts: HostCounter::ALL.map(|counter| since(baseline.unwrap_or(&self.first), counter)),
            grown_ns: self.grown_ns,
            conntrack: self.latest.conntrack,
            unwatched: Arc::clone(&self.unwatched),
            retransmits: check(HostCounter::RetransSegs, |own| own.all),
            syn_retransmits: check(HostCounter::SynRetrans, |own| own.syns),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counters(counts: &[(HostCounter, u64)]) -> HostCounters {
        let mut counters = HostCounters::default();
        counts.iter().for_each(|&(counter, count)| counters.set(counter, count));
        counters
    }

    #[test]
    fn every_counter_has_a_place_and_a_name_of_its_own() {
        let mut names: Vec<_> = HostCounter::ALL.map(HostCounter::kernel_name).to_vec();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), COUNTERS);
        for (place, counter) in HostCounter::ALL.into_iter().enumerate() {
            assert_eq!(counter as usize, place);
        }
    }

    #[test]
    fn counts_are_what_was_added_since_and_never_negative() {
        use HostCounter::{CookiesSent, ListenDrops, ListenOverflows, RetransSegs};
        let first = counters(&[(RetransSegs, 100), (ListenOverflows, 7), (ListenDrops, 9)]);
        let mut run = HostRun::new(&first, &[]);
        let later =
            counters(&[(RetransSegs, 99), (ListenOverflows, 10), (ListenDrops, 14), (CookiesSent, 3)]);
        run.update(&later, &["lo".to_owned()], 50);
        let host = run.since(None, Some(OwnRetransmits { all: 2, syns: 0 }));
        assert_eq!((host.of(RetransSegs), host.of(ListenOverflows)), (Some(0), Some(3)));
        assert_eq!(host.of(CookiesSent), None, "it was not known at first");
        assert_eq!(
            host.troubles().collect::<Vec<_>>(),
            [(ListenOverflows, 3, 50), (ListenDrops, 2, 50)],
            "three of the five drops are overflows"
        );
        assert_eq!(host.retransmits, Some(CrossCheck { kernel: 0, seen: 2 }));
        assert_eq!(host.syn_retransmits, None);
        run.update(&counters(&[(ListenOverflows, 12), (ListenDrops, 16)]), &[], 55);
        assert_eq!(
            run.since(None, None).troubles().collect::<Vec<_>>(),
            [(ListenOverflows, 5, 55), (ListenDrops, 2, 50)],
            "an overflow is not the latest of the others"
        );
        let baseline = *run.latest();
        run.update(&counters(&[(RetransSegs, 104), (ListenOverflows, 12), (ListenDrops, 16)]), &[], 60);
        let host = run.since(Some(&baseline), Some(OwnRetransmits::default()));
        assert_eq!((host.of(RetransSegs), host.troubles().count()), (Some(4), 0));
        assert_eq!(host.retransmits, Some(CrossCheck { kernel: 4, seen: 0 }), "of the whole run");
        assert_eq!(run.since(None, None).retransmits, None);
        assert!(host.unwatched.is_empty());
    }

    #[test]
    fn a_table_is_full_with_less_than_a_twentieth_of_room() {
        let is_full = |entries, max| Conntrack { entries, max }.is_full();
        assert!(!is_full(95, 100) && is_full(96, 100) && is_full(120, 100) && is_full(3, 3));
        assert!(!is_full(0, 0) && !is_full(0, 100));
    }
}
