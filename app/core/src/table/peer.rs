//! What is known of one peer.

use core::fmt;
use std::net::{IpAddr, Ipv6Addr};

use probe_common::Endpoint;

use super::distribution::{Distribution, Latencies};
use super::history::History;
use super::key::{Shown, endpoint_hash};
use super::outcome::Role;
use super::verdict::{Slow, Verdict};
use super::window::{Slot, Window};

/// The remote address and the service port, at one interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct PeerKey {
    /// Index of the interface.
    pub interface: u32,
    /// Remote address and service port: the remote port for a connection that this host opened, the
    /// local one for a connection that the peer opened.
    pub service: Endpoint,
    /// Does the peer connect to this host? One that is connected to and connects is two peers: their
    /// round-trip times are those of different legs.
    pub inbound: bool,
}

impl PeerKey {
    /// The peer of a connection. When nobody knows who opened it, the lower port is taken for the
    /// service: clients get theirs from the upper half (RFC 6335, 6).
    #[must_use]
    pub fn of(interface: u32, role: Option<Role>, local: &Endpoint, remote: &Endpoint) -> Self {
        let port = match role {
            Some(Role::Client | Role::Local | Role::Observer) => remote.port,
            Some(Role::Server) => local.port,
            None => remote.port.min(local.port),
        };
        let inbound = match role {
            Some(Role::Client | Role::Local | Role::Observer) => false,
            Some(Role::Server) => true,
            None => local.port < remote.port,
        };
        Self { interface, service: Endpoint { address: remote.address, port }, inbound }
    }

    /// A hash of all of it.
    #[must_use]
    pub fn fingerprint(&self) -> u64 {
        endpoint_hash(&self.service).wrapping_add(u64::from(self.interface) << 1 | u64::from(self.inbound))
    }
}

/// `10.20.3.14:5432` where this host connects to it, `10.20.3.14→:443` where it connects to port 443 of this host. An
/// IPv6 address has brackets: `[2001:db8::7]→:443`.
impl fmt::Display for PeerKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if !self.inbound {
            return write!(f, "{}", Shown(&self.service));
        }
        let Endpoint { address, port } = self.service;
        match Ipv6Addr::from(address).to_canonical() {
            IpAddr::V4(address) => write!(f, "{address}→:{port}"),
            IpAddr::V6(address) => write!(f, "[{address}]→:{port}"),
        }
    }
}

/// Something that happens to a connection and is counted.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum PeerEvent {
    /// A first SYN, or the first that was seen of a handshake.
    Opened,
    /// A SYN or SYN-ACK sent again.
    Repeated,
    /// The handshake was completed.
    Established,
    /// A RST answered the SYN.
    Refused,
    /// The opener gave up without an answer.
    Unanswered,
    /// The SYN-ACK was never acknowledged.
    HalfOpen,
    /// A RST ended the handshake after the SYN-ACK.
    Reset,
    /// One SYN-ACK was seen, and nothing of the opener: what became of it is not known.
    OneSided,
    /// A segment with data.
    Sent,
    /// A segment with data that had been sent before.
    Retransmitted,
}

const PEER_EVENTS: usize = PeerEvent::Retransmitted as usize + 1;

/// How often each [`PeerEvent`] was seen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts([u64; PEER_EVENTS]);

impl Counts {
    /// How often this one was.
    #[must_use]
    pub const fn of(&self, event: PeerEvent) -> u64 {
        self.0[event as usize]
    }

    fn add(&mut self, event: PeerEvent, count: u64) {
        self.0[event as usize] += count;
    }

    fn merge(&mut self, other: &Self) {
        self.0.iter_mut().zip(other.0).for_each(|(sum, count)| *sum += count);
    }
}

/// What happened within one slot of the window.
#[derive(Clone, Debug, Default)]
pub struct WindowSlot {
    counts: Counts,
    rtt: Distribution,
}

impl Slot for WindowSlot {
    fn clear(&mut self) {
        self.counts = Counts::default();
        self.rtt.clear();
    }
}

/// Counts and round-trip times, of a peer or of all, within the window and since the start.
#[derive(Clone, Debug, Default)]
pub struct Tally {
    window: Window<WindowSlot>,
    since_start: Counts,
    rtt_since_start: Distribution,
    history: History,
    /// Connection attempts that are unanswered and not given up.
    pub waiting: u64,
}

impl Tally {
    /// Counts something that happened so many times by `now_ns`, with window slots `slot_ns` long. Gives true when it takes
    /// another room on the heap from now on.
    pub fn count(&mut self, event: PeerEvent, count: u64, now_ns: u64, slot_ns: u64) -> bool {
        self.since_start.add(event, count);
        self.window.at(now_ns, slot_ns).counts.add(event, count);
        self.history.count(event, count, now_ns)
    }

    /// Adds a round-trip time. Gives true when it takes another room on the heap from now on.
    pub fn record(&mut self, rtt_ns: u64, now_ns: u64, slot_ns: u64) -> bool {
        let since_start = self.rtt_since_start.record(rtt_ns);
        let window = self.window.at(now_ns, slot_ns).rtt.record(rtt_ns);
        self.history.record(rtt_ns, now_ns) || window || since_start
    }

    /// Counts within the window that ends at `now_ns`.
    #[must_use]
    pub fn counts(&self, now_ns: u64, slot_ns: u64) -> Counts {
        let mut sum = Counts::default();
        self.window.live(now_ns, slot_ns).for_each(|span| sum.merge(&span.counts));
        sum
    }

    /// Counts since the start.
    #[must_use]
    pub const fn counts_since_start(&self) -> &Counts {
        &self.since_start
    }

    /// The round-trip times within the window, slot by slot.
    pub fn rtts(&self, now_ns: u64, slot_ns: u64) -> impl Iterator<Item = &Distribution> {
        self.window.live(now_ns, slot_ns).map(|span| &span.rtt)
    }

    /// The round-trip times since the start.
    #[must_use]
    pub const fn rtts_since_start(&self) -> &Distribution {
        &self.rtt_since_start
    }

    /// What it takes on the heap, in bytes.
    #[must_use]
    pub fn heap_bytes(&self) -> usize {
        let spans: usize = self.window.all().map(|span| span.rtt.heap_bytes()).sum();
        spans + self.rtt_since_start.heap_bytes() + self.history.heap_bytes()
    }

    /// The last minutes.
    #[must_use]
    pub const fn history(&self) -> &History {
        &self.history
    }

    /// Begins to count anew. Who is waiting now and what the last minutes were is no count.
    pub fn reset(&mut self) {
        let history = core::mem::take(&mut self.history);
        *self = Self { waiting: self.waiting, history, ..Self::default() };
    }

    /// Forgets the window, because its slots get another length.
    pub fn reset_window(&mut self) {
        self.window = Window::default();
    }
}

/// A row of events that each followed within a window of the one before.
#[derive(Clone, Copy, Debug, Default)]
pub struct Streak {
    since_ns: u64,
    last_ns: u64,
}

impl Streak {
    /// One more event. `ongoing` holds the row together whatever the time.
    pub fn extend(&mut self, now_ns: u64, window_ns: u64, ongoing: bool) {
        if self.last_ns == 0 || (!ongoing && now_ns.saturating_sub(self.last_ns) > window_ns) {
            self.since_ns = now_ns;
        }
        self.last_ns = self.last_ns.max(now_ns);
    }

    /// When the row began.
    #[must_use]
    pub const fn since_ns(&self) -> u64 {
        self.since_ns
    }
}

/// One peer.
#[derive(Clone, Debug)]
pub struct Peer {
    /// Who it is.
    pub key: PeerKey,
    /// What happened.
    pub tally: Tally,
    /// When each kind of problem began, by [`Verdict`].
    pub streaks: [Streak; Verdict::ALL.len()],
    /// What is usual for it: its median round-trip time since the start, in nanoseconds. Known only where that decides
    /// what is slow.
    pub usual_ns: Option<u64>,
    /// With so many round-trip times it is worked out anew.
    usual_due: u64,
    /// When it was first heard of.
    pub first_ns: u64,
    /// When it was last heard of.
    pub last_ns: u64,
    /// Heap bytes that the budget was charged for.
    pub charged_bytes: usize,
}

impl Peer {
    /// A peer of which nothing is known yet.
    #[must_use]
    pub fn new(key: PeerKey, now_ns: u64) -> Self {
        Self {
            key,
            tally: Tally::default(),
            streaks: Default::default(),
            usual_ns: None,
            usual_due: Slow::SAMPLES,
            first_ns: now_ns,
            last_ns: now_ns,
            charged_bytes: 0,
        }
    }

    /// Begins to count anew. What is usual stays so until enough was counted.
    pub(super) fn reset(&mut self) {
        self.tally.reset();
        self.usual_due = Slow::SAMPLES;
    }

    /// Works out what is usual for it, now and then: with each eighth of samples more.
    pub(super) fn learn_usual(&mut self) {
        let samples = self.tally.rtts_since_start().len();
        if samples >= self.usual_due {
            let mut sum = Latencies::spanning();
            self.tally.rtts_since_start().merge_into(&mut sum);
            self.usual_ns = Some(sum.quantile_ns(0.5));
            self.usual_due = samples + samples / 8 + 1;
        }
    }
}
