//! What is known of one flow: in the table as it changes, in events and snapshots as it was at one moment.

use std::sync::Arc;

use probe_common::encapsulation::Encapsulation;
use probe_common::{Direction, Endpoint, ResetReason, Side};

use super::cause::{RetransmitCause, RetransmitCauses};
use super::icmp::{IcmpError, IcmpNotes, PathMtu};
use super::key::{FlowTuple, PeerKey};
use super::leg::{Leg, MaybeLeg};
use super::outcome::{Outcome, Party, Role};
use super::oversized::Oversized;
use super::reset::{Reset, ResetSign};
use super::sighting::Sightings;
use super::traffic::Traffic;
use crate::locals::Locals;
use crate::owner::{KernelSocket, Owner, Process, Sockets};
use crate::socket::{AcceptQueue, TcpInfo};

/// Without a SYN-ACK for this long a handshake counts as unanswered, without the ACK as half-open. Linux retransmits its
/// first SYN after 1 s (RFC 6298, 2.1).
pub(super) const SILENCE_NS: u64 = 1_000_000_000;
/// A RST of the responder within this time after the handshake, before it sent any data, aborts the connection. What closes
/// at once does so within one round trip of the request; a second is more than nearly every round trip, and less than the idle
/// timeouts of servers.
pub(crate) const ABORT_NS: u64 = 1_000_000_000;
/// A time that is not known.
pub(super) const NEVER: u64 = u64::MAX;

/// Identifies a flow: its tuple, whose ports may be reused, and its number.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct FlowName {
    pub(crate) tuple: FlowTuple,
    /// Number of the flow.
    pub id: u64,
}

/// One TCP connection attempt and what follows it. Times are nanoseconds of the monotonic clock.
///
/// Many are in no cache when they are needed, so that times which may be unknown take 8 bytes.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Flow {
    pub(crate) id: u64,
    pub(super) tuple: FlowTuple,
    pub(super) first_ns: u64,
    pub(super) changed_ns: u64,
    pub(super) answered_ns: u64,
    pub(super) setup_ns: u64,
    /// How long the connection lasted, once it is closed or reset; of an attempt that was given up, when that was.
    pub(super) end_ns: u64,
    /// From the SYN that was answered to its answer: a SYN-ACK, or the RST that refuses it.
    pub(super) answer_leg: MaybeLeg,
    pub(super) client_leg: MaybeLeg,
    pub(super) volumes: [Traffic; 2],
    /// SYNs and SYN-ACKs that were seen; 0 for none.
    pub(super) tries: u32,
    pub(super) syn_acks: u32,
    /// The opener's initial sequence number, of a SYN or of what acknowledges one.
    pub(super) isn: u32,
    pub(super) server_isn: Option<u32>,
    /// Of a flow in the table `Pending` as long as its handshake is open: time makes more of it.
    pub(super) outcome: Outcome,
    /// What this host is to it; taken from the ports where [`is_opener_seen`](Self::is_opener_seen) is not set.
    pub(super) role: Role,
    pub(super) is_opener_seen: bool,
    pub(super) closed_by: Option<Party>,
    pub(super) encapsulation: Encapsulation,
    /// Which of the tuple's ends is this host's.
    pub(super) is_low_local: bool,
    /// Whether the segment that waits for an answer was retransmitted: the SYN, or the SYN-ACK once there is one.
    pub(super) is_repeated: bool,
    /// Whether an ACK of another connection answered the SYN.
    pub(super) is_challenged: bool,
    /// Whether an ICMP error says that the segment which waits for an answer was not delivered.
    pub(super) is_unreachable: bool,
    /// Whether the responder reset it soon after it had accepted it.
    pub(super) is_aborted: bool,
    /// SYN-ACKs that were retransmitted although the ACK was seen.
    pub(super) not_accepted: u8,
    /// SYNs that were retransmitted because of a timeout, as their sender says; 255 stands for more, too.
    pub(super) syn_timeouts: u8,
    /// The time to live of the latest segment of each end, the local one first; 0 for none. RSTs do not count.
    pub(super) ttls: [u8; 2],
    /// The RST that ended it.
    pub(super) reset: Option<Reset>,
    /// What is known of the sockets at its ends. Apart, because many flows have none, and shared, because flows are copied.
    pub(crate) sockets: Option<Arc<Sockets>>,
    /// What few flows have, and so apart.
    pub(super) notes: Option<Box<Notes>>,
}

/// What only flows have to which something happened on their way.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Notes {
    /// What ICMP errors said.
    pub(super) icmp: IcmpNotes,
    /// Segments of full size that were retransmitted.
    pub(super) oversized: Oversized,
    /// The queue of its listener, where that was full.
    pub(super) accept_queue: Option<AcceptQueue>,
    /// What is known of the retransmits of this host, and of those of the other end.
    pub(super) retransmits: [RetransmitNotes; 2],
    /// What further interfaces have shown.
    pub(super) sightings: Sightings,
    /// Segments that the kernel says it retransmitted, FINs aside, by the ends of the tuple; and whether no more are to come.
    pub(super) kernel: [u64; 2],
    pub(super) is_settled: bool,
}

/// What the socket of one end says of its retransmits of data.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct RetransmitNotes {
    /// How many have which cause.
    pub(super) causes: [u64; RetransmitCause::COUNT],
    /// Segments that had arrived twice when it said so last, since its connection began.
    pub(super) dsacks: Option<u32>,
    /// Retransmits that are taken for them.
    pub(super) spurious: u64,
}

/// Whether `source` is this host's end, given the direction of what it sends. Where both ends are, or neither is, clients have
/// the higher ports.
pub(super) fn is_local(direction: Direction, [source, destination]: [Endpoint; 2]) -> bool {
    match direction {
        Direction::Ingress => false,
        Direction::Egress => true,
        Direction::Local | Direction::Unknown => source.port >= destination.port,
    }
}

/// What this host is to a flow, and how that is known.
#[derive(Clone, Copy, Debug)]
pub(super) struct Opened {
    pub(super) role: Role,
    /// Whether the handshake says so.
    pub(super) is_opener_seen: bool,
}

impl Opened {
    /// As the handshake says.
    pub(super) const fn seen(role: Role) -> Self {
        Self { role, is_opener_seen: true }
    }

    /// As the ports say: the lower one is taken for the service, because clients get theirs from the upper half (RFC 6335, 6).
    /// `direction` is that of what the first of the ends sends.
    pub(super) fn guessed(direction: Direction, ends: [Endpoint; 2], locals: &Locals) -> Self {
        let [source, destination] = ends.map(|end| end.port);
        let role = match direction {
            Direction::Local => Role::Local,
            Direction::Unknown => locals.role_between(),
            Direction::Ingress if source > destination => Role::Server,
            Direction::Egress if source < destination => Role::Server,
            Direction::Ingress | Direction::Egress => Role::Client,
        };
        Self { role, is_opener_seen: false }
    }
}

impl Flow {
    /// A flow of which nothing but its ends is known, and who opened it where the handshake is seen.
    pub(super) fn new(tuple: FlowTuple, opened: Opened, local: Endpoint, first_ns: u64) -> Self {
        let Opened { role, is_opener_seen } = opened;
        Self {
            id: 0,
            tuple,
            first_ns,
            changed_ns: first_ns,
            answered_ns: NEVER,
            setup_ns: NEVER,
            end_ns: NEVER,
            answer_leg: MaybeLeg::UNKNOWN,
            client_leg: MaybeLeg::UNKNOWN,
            volumes: [Traffic::default(); 2],
            tries: 0,
            syn_acks: 0,
            isn: 0,
            server_isn: None,
            outcome: if is_opener_seen { Outcome::Pending } else { Outcome::Unknown },
            role,
            is_opener_seen,
            closed_by: None,
            encapsulation: Encapsulation::None,
            is_low_local: tuple.ends()[0] == local,
            is_repeated: false,
            is_challenged: false,
            is_unreachable: false,
            is_aborted: false,
            not_accepted: 0,
            syn_timeouts: 0,
            ttls: [0; 2],
            reset: None,
            notes: None,
            sockets: None,
        }
    }

    /// Number of the flow, in the order of appearance.
    #[must_use]
    pub const fn id(&self) -> u64 {
        self.id
    }

    /// What it can be found by.
    #[must_use]
    pub const fn name(&self) -> FlowName {
        FlowName { tuple: self.tuple, id: self.id }
    }

    /// Index of the interface.
    #[must_use]
    pub const fn interface(&self) -> u32 {
        self.tuple.interface()
    }

    /// What carried the first of its packets that was seen.
    #[must_use]
    pub const fn encapsulation(&self) -> Encapsulation {
        self.encapsulation
    }

    /// Who opened it, if that was seen.
    #[must_use]
    pub const fn role(&self) -> Option<Role> {
        if self.is_opener_seen { Some(self.role) } else { None }
    }

    /// This host's end; the opener's where both ends are this host, or neither is known to be.
    #[must_use]
    pub const fn local(&self) -> Endpoint {
        let [low, high] = self.tuple.ends();
        if self.is_low_local { low } else { high }
    }

    /// The other end.
    #[must_use]
    pub const fn remote(&self) -> Endpoint {
        let [low, high] = self.tuple.ends();
        if self.is_low_local { high } else { low }
    }

    /// Whether this end is a socket of this host.
    pub(crate) fn is_sent_here(&self, by: Party) -> bool {
        match self.role {
            Role::Client | Role::Server => by == Party::Local,
            Role::Local => true,
            Role::Forwarded | Role::Observer => false,
        }
    }

    /// How many of these, of the local and of the remote end, sockets of this host sent.
    pub(crate) fn sent_here(&self, [local, remote]: [u64; 2]) -> u64 {
        let of = |by: Party, count: u64| if self.is_sent_here(by) { count } else { 0 };
        of(Party::Local, local) + of(Party::Remote, remote)
    }

    /// The peer it belongs to.
    #[must_use]
    pub const fn peer(&self) -> PeerKey {
        PeerKey::of(self.interface(), self.role, &self.local(), &self.remote())
    }

    /// The port that distinguishes it from the peer's other connections: the client's.
    #[must_use]
    pub const fn port(&self) -> u16 {
        let (local, remote) = (self.local().port, self.remote().port);
        match self.role {
            Role::Server => remote,
            Role::Client | Role::Local | Role::Forwarded | Role::Observer => local,
        }
    }

    /// What has become of it.
    #[must_use]
    pub const fn outcome(&self) -> Outcome {
        self.outcome
    }

    /// What has become of it at `now_ns`, if nothing more is seen until then.
    #[must_use]
    pub(crate) const fn outcome_at(&self, now_ns: u64) -> Outcome {
        let waits_since_ns = if self.syn_acks > 0 { self.answered_ns } else { self.first_ns };
        let is_silent = self.is_repeated || now_ns >= waits_since_ns.saturating_add(SILENCE_NS);
        match self.outcome {
            Outcome::Pending if self.is_unreachable => Outcome::Unreachable,
            Outcome::Pending if self.is_challenged && self.syn_acks == 0 => Outcome::Challenged,
            Outcome::Pending if is_silent && self.syn_acks == 0 => Outcome::Unanswered,
            Outcome::Pending if is_silent && !self.is_one_sided() => Outcome::HalfOpen,
            outcome => outcome,
        }
    }

    /// Whether nothing was seen but one SYN-ACK: an ACK may take another path. A SYN-ACK that is retransmitted says that no
    /// ACK arrived.
    pub(super) const fn is_one_sided(&self) -> bool {
        self.tries == 0 && self.syn_acks == 1
    }

    /// SYN-ACKs that were retransmitted although the ACK had passed here: whoever sends them does not accept the connection
    /// (the accept queue is full, or data is waited for). 255 stands for more, too.
    #[must_use]
    pub const fn not_accepted(&self) -> u8 {
        self.not_accepted
    }

    /// The latest ICMP error about it, beside those that say how large its packets may be. Of one that was established it is
    /// no more than a note: connections outlast errors (RFC 1122, 4.2.3.9).
    #[must_use]
    pub fn icmp_error(&self) -> Option<&IcmpError> {
        self.notes.as_ref()?.icmp.error.as_ref()
    }

    /// How large its packets may be on their way, where a router said so.
    #[must_use]
    pub fn path_mtu(&self) -> Option<PathMtu> {
        self.notes.as_ref()?.icmp.path_mtu
    }

    /// From the SYN or SYN-ACK to the ICMP error that says that it was not delivered.
    #[must_use]
    pub fn unreachable_after(&self) -> Option<Leg> {
        self.icmp_error().filter(|_| self.outcome == Outcome::Unreachable)?.delay
    }

    /// The size of segments, in bytes of payload, that do not get through although smaller ones do, and no router says why: the
    /// MTU of the path may be smaller than its ends know.
    #[must_use]
    pub fn stuck_bytes(&self) -> Option<u32> {
        self.notes.as_ref().filter(|_| self.path_mtu().is_none())?.oversized.stuck_bytes()
    }

    /// The queue of this host's listener, if it was full while the attempt waited: Linux then drops the SYN, or the ACK of the
    /// handshake.
    #[must_use]
    pub fn accept_queue(&self) -> Option<AcceptQueue> {
        self.notes.as_ref()?.accept_queue
    }

    pub(crate) fn note_accept_queue(&mut self, queue: AcceptQueue) {
        self.notes.get_or_insert_default().accept_queue = Some(queue);
    }

    /// The end that others connect to, if it is this host's and the handshake says so.
    pub(crate) fn responder_here(&self) -> Option<Endpoint> {
        match self.role()? {
            Role::Server => Some(self.local()),
            Role::Local => Some(self.remote()),
            Role::Client | Role::Forwarded | Role::Observer => None,
        }
    }

    /// What the kernel knows of the socket at this end, if it is of the watched network namespace and was listed.
    #[must_use]
    pub fn kernel_socket(&self, end: Party) -> Option<&KernelSocket> {
        self.sockets.as_ref()?.kernel(self.side(end))
    }

    /// Its smoothed round-trip time, as the kernel measures it, in nanoseconds.
    #[must_use]
    pub fn srtt_ns(&self) -> Option<u64> {
        self.tcp_info()?.srtt_ns()
    }

    /// The shortest round-trip time of the last minutes, as the kernel measures it, in nanoseconds.
    #[must_use]
    pub fn min_rtt_ns(&self) -> Option<u64> {
        self.tcp_info()?.min_rtt_ns()
    }

    /// What the kernel knows of the connection at this host's end.
    fn tcp_info(&self) -> Option<&TcpInfo> {
        self.kernel_socket(Party::Local)?.socket.info.as_ref()
    }

    /// The process at this end, if it is known.
    #[must_use]
    pub fn owner(&self, end: Party) -> Option<&Owner> {
        self.sockets.as_ref()?.owner(self.side(end))
    }

    /// The processes at both ends that are known, this host's first.
    pub fn processes(&self) -> impl Iterator<Item = &Process> {
        Party::ALL.into_iter().filter_map(|end| self.owner(end)).map(|owner| &*owner.process)
    }

    /// Which end of the tuple this is.
    pub(crate) const fn side(&self, end: Party) -> Side {
        match (end, self.is_low_local) {
            (Party::Local, true) | (Party::Remote, false) => Side::Low,
            (Party::Local, false) | (Party::Remote, true) => Side::High,
        }
    }

    /// Whether the responder accepted the connection and then reset it, within a second and before it sent any data. One whose
    /// opener had closed it without sending data is not aborted: such openers only look whether somebody listens.
    #[must_use]
    pub const fn is_aborted(&self) -> bool {
        self.is_aborted
    }

    /// The RST that ended it, if one did.
    #[must_use]
    pub const fn reset(&self) -> Option<Reset> {
        self.reset
    }

    /// Whether this host sent it.
    #[must_use]
    pub fn is_reset_here(&self) -> bool {
        self.reset.is_some_and(|reset| self.is_sent_here(reset.by))
    }

    /// The time to live, or hop limit, of the latest segment of this end that is no RST.
    #[must_use]
    pub fn ttl(&self, end: Party) -> Option<u8> {
        Some(self.ttls[end as usize]).filter(|&ttl| ttl > 0)
    }

    /// The time to live of the RST that ended it, and of the other segments of the end that it says it is from, where these
    /// differ and the end is not this host. A box in between may have sent it; or the path has changed, or the sender's
    /// kernel has another default than its socket.
    #[must_use]
    pub fn strange_reset_ttl(&self) -> Option<[u8; 2]> {
        let reset = self.reset.filter(|reset| !self.is_sent_here(reset.by))?;
        let [ttl, usual] = [reset.ttl?, self.ttl(reset.by)?];
        (ttl != usual).then_some([ttl, usual])
    }

    /// Learns why this host sent the RST that ended it. Returns whether that is news.
    pub(crate) fn learn_reset_reason(&mut self, reason: ResetReason) -> bool {
        let reset = self.reset.as_mut().filter(|reset| reset.reason.is_none());
        reset.map(|reset| reset.reason = Some(reason)).is_some()
    }

    /// What its RST says of why.
    pub(crate) fn reset_sign(&self) -> Option<ResetSign> {
        let said = self.reset?.reason.map(ResetSign::Said);
        said.or_else(|| self.strange_reset_ttl().map(|_| ResetSign::OtherTtl))
    }

    /// When the handshake was completed, if that was seen.
    pub(crate) fn completed_ns(&self) -> Option<u64> {
        self.setup_ns().map(|setup_ns| self.first_ns.saturating_add(setup_ns))
    }

    /// When its first segment was seen.
    #[must_use]
    pub const fn first_ns(&self) -> u64 {
        self.first_ns
    }

    /// When it changed last.
    #[must_use]
    pub const fn changed_ns(&self) -> u64 {
        self.changed_ns
    }

    /// How many SYNs were seen, if any; those of both ends when both open at once.
    #[must_use]
    pub const fn tries(&self) -> Option<u32> {
        if self.tries > 0 { Some(self.tries) } else { None }
    }

    /// How many SYN-ACKs were seen, if any.
    #[must_use]
    pub const fn syn_acks(&self) -> Option<u32> {
        if self.syn_acks > 0 { Some(self.syn_acks) } else { None }
    }

    /// Initial sequence number of the opener, if a SYN of it was seen.
    #[must_use]
    pub const fn client_isn(&self) -> Option<u32> {
        if self.tries > 0 { Some(self.isn) } else { None }
    }

    /// Initial sequence number of the other end, if it was seen and there is no doubt about it.
    #[must_use]
    pub const fn server_isn(&self) -> Option<u32> {
        self.server_isn
    }

    /// From the SYN that was answered to the SYN-ACK.
    #[must_use]
    pub fn server_leg(&self) -> Option<Leg> {
        self.answer_leg.get().filter(|_| self.outcome != Outcome::Refused)
    }

    /// From the SYN-ACK to the ACK.
    #[must_use]
    pub const fn client_leg(&self) -> Option<Leg> {
        self.client_leg.get()
    }

    /// From the SYN to the RST that refused it.
    #[must_use]
    pub fn refusal(&self) -> Option<Leg> {
        self.answer_leg.get().filter(|_| self.outcome == Outcome::Refused)
    }

    /// The leg that crosses the network.
    #[must_use]
    pub fn rtt(&self) -> Option<Leg> {
        Some(match self.role()? {
            Role::Client | Role::Local => self.server_leg()?,
            Role::Server => self.client_leg()?,
            // From a point in between, both legs together are the whole way, once.
            Role::Forwarded | Role::Observer => self.server_leg()?.plus(self.client_leg()?),
        })
    }

    /// The leg that this host answers.
    #[must_use]
    pub fn turnaround(&self) -> Option<Leg> {
        self.server_leg().filter(|_| self.role() == Some(Role::Server))
    }

    /// Whether only bounds of one of its legs are known.
    #[must_use]
    pub fn is_ambiguous(&self) -> bool {
        let legs = [self.answer_leg.get(), self.client_leg.get(), self.unreachable_after()];
        legs.iter().flatten().any(|leg| leg.exact().is_none())
    }

    /// From the first SYN to the ACK, in nanoseconds.
    #[must_use]
    pub const fn setup_ns(&self) -> Option<u64> {
        known(self.setup_ns)
    }

    /// From the first SYN to the last FIN or the RST, in nanoseconds.
    #[must_use]
    pub const fn lifetime_ns(&self) -> Option<u64> {
        match self.outcome {
            Outcome::Closed | Outcome::Reset => known(self.end_ns),
            _ => None,
        }
    }

    /// When patience with it ended, and its outcome was counted; `None` if anything else decided it.
    pub(super) const fn given_up_ns(&self) -> Option<u64> {
        match self.outcome {
            Outcome::Closed | Outcome::Reset => None,
            _ => known(self.end_ns),
        }
    }

    /// Who sent the first FIN, or the RST. Not known when the ports were reused before either.
    #[must_use]
    pub const fn closed_by(&self) -> Option<Party> {
        self.closed_by
    }

    /// What this host sent, and what the other end sent, as far as it was seen.
    #[must_use]
    pub const fn volumes(&self) -> [Traffic; 2] {
        self.volumes
    }

    /// Retransmitted segments in both directions: SYNs, SYN-ACKs and data.
    #[must_use]
    pub const fn retransmits(&self) -> u64 {
        let handshake = self.tries.saturating_sub(1) as u64 + self.syn_acks.saturating_sub(1) as u64;
        handshake + self.volumes[0].retransmits + self.volumes[1].retransmits
    }

    /// The same by their causes, as far as the sockets of this host say them.
    #[must_use]
    pub fn retransmit_causes(&self) -> RetransmitCauses {
        let ends = self.notes.iter().flat_map(|notes| &notes.retransmits);
        let of = |cause| ends.clone().map(|end| end.causes[cause as usize]).sum::<u64>();
        let mut by_cause = RetransmitCause::ALL.map(of);
        by_cause[RetransmitCause::Timeout as usize] += u64::from(self.syn_timeouts);
        let spurious = ends.clone().map(|end| end.spurious).sum();
        RetransmitCauses::new(self.retransmits(), by_cause, spurious)
    }

    /// Segments in both directions that could have been retransmits: SYNs, SYN-ACKs and data.
    #[must_use]
    pub const fn segments(&self) -> u64 {
        self.tries as u64 + self.syn_acks as u64 + self.volumes[0].segments + self.volumes[1].segments
    }

    /// The share of [`segments`](Self::segments) that were retransmits, 0 to 1; `None` when there were none.
    #[must_use]
    #[allow(clippy::cast_precision_loss, reason = "a share is shown with three digits")]
    pub fn retransmit_share(&self) -> Option<f64> {
        let segments = self.segments();
        (segments > 0).then(|| self.retransmits() as f64 / segments as f64)
    }
}

const fn known(time_ns: u64) -> Option<u64> {
    if time_ns == NEVER { None } else { Some(time_ns) }
}
