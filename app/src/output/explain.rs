//! Why a row has its verdict, in a few sentences of what is known, and what to try next. The rules are one table: details,
//! reports and JSON say the same words.

use std::net::Ipv6Addr;

use super::RenderContext;
use super::format::{causes, counted, duration, icmp_error, stuck_in};
use super::host::listed;
use super::text::leg;
use tcptop_core::{
    AcceptQueue, Dropped, Outcome, PeerKey, ResetReason, Role, Row, RowEvidence, RowKey, Snapshot, Verdict,
    Why,
};

/// What explains the verdict on a row.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Explanation {
    /// What is known, and what that means.
    pub sentences: Vec<String>,
    /// Commands to try next, or what else to look at.
    pub next: Vec<String>,
}

/// Explains the verdict on a row of this snapshot; `None` where there is none.
#[must_use]
pub fn explain(row: &Row, snapshot: &Snapshot, context: &RenderContext) -> Option<Explanation> {
    let verdict = row.verdict?;
    if row.is_recovering() {
        // Figures of the window are no longer those that it was given for.
        return Some(Explanation { sentences: vec![NO_LONGER.to_owned()], next: Vec::new() });
    }
    let none = RowEvidence::default();
    let known = snapshot.evidence.get(&row.key);
    let queue = snapshot.sockets.get(&row.key).and_then(|sockets| sockets.accept_queue);
    let (evidence, is_known) = (known.unwrap_or(&none), known.is_some());
    let facts = Facts { row, evidence, is_known, queue, side: Side::of(&row.key), snapshot, context };
    let applies = |rule: &&Rule| rule.verdict == verdict && (rule.applies)(&facts);
    let (sentences, next) =
        RULES.iter().filter(applies).fold((Vec::new(), Vec::new()), |(mut sentences, next), rule| {
            sentences.push((rule.says)(&facts));
            // The first that has any: it is about the most certain of what is known.
            (sentences, if next.is_empty() { (rule.next)(&facts) } else { next })
        });
    Some(Explanation { sentences, next })
}

/// Of a verdict that is held after what it was given for has ended.
const NO_LONGER: &str = "This is no longer so, and is shown until a whole window is without it.";

/// What rules are about.
struct Facts<'a> {
    row: &'a Row,
    evidence: &'a RowEvidence,
    /// Whether the evidence is of this row.
    is_known: bool,
    /// The accept queue of this host's listener, if that was full.
    queue: Option<AcceptQueue>,
    side: Side,
    snapshot: &'a Snapshot,
    context: &'a RenderContext,
}

/// Which end opens the connections.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Side {
    Outbound,
    Inbound,
    /// Both ends are this host.
    Within,
    /// Neither end is this host.
    Passing,
    /// This host or another: rows of several kinds of peers.
    Mixed,
}

/// One sentence: of which verdict, when it holds, its words, and what to try.
struct Rule {
    verdict: Verdict,
    applies: fn(&Facts<'_>) -> bool,
    says: fn(&Facts<'_>) -> String,
    next: fn(&Facts<'_>) -> Vec<String>,
}

/// All rules. Of a verdict all that apply are said, in this order: what is known first, then what it means.
const RULES: [Rule; 32] = [
    Rule {
        verdict: Verdict::Unanswered,
        applies: |facts| facts.queue.is_some(),
        says: full_queue,
        next: |facts| vec![listeners(&facts.row.key, "here")],
    },
    Rule {
        verdict: Verdict::Unanswered,
        applies: |facts| facts.is_silent_here() && !facts.drops(false).is_empty(),
        says: |facts| {
            format!("This host itself drops SYNs to the port: {}.", facts.counted_drops(&facts.drops(false)))
        },
        next: |facts| vec![listeners(&facts.row.key, "here"), "nft list ruleset".to_owned()],
    },
    Rule {
        verdict: Verdict::Unanswered,
        applies: |facts| facts.has_some_established(),
        says: |facts| {
            format!(
                "{} of {} attempts are unanswered, {} were established: loss or overload rather than a firewall.",
                facts.row.figures.counts.unanswered(),
                facts.row.figures.counts.attempts(),
                facts.count(Outcome::Established),
            )
        },
        next: nothing,
    },
    Rule {
        verdict: Verdict::Unanswered,
        applies: |facts| {
            !facts.is_served_here()
                && !facts.has_some_established()
                && facts.count(Outcome::Unanswered) > 0
                && facts.answered() > 0
        },
        says: |facts| {
            format!(
                "{} of {} attempts are unanswered, and {} got an answer, although none was established: loss, overload, \
                 or a limit on answers.",
                facts.count(Outcome::Unanswered),
                facts.row.figures.counts.attempts(),
                facts.answered(),
            )
        },
        next: |facts| path(&facts.row.key),
    },
    Rule {
        verdict: Verdict::Unanswered,
        applies: |facts| facts.is_silent() && facts.side == Side::Outbound,
        says: |facts| {
            format!(
                "SYNs leave {}, and nothing comes back{}: neither a SYN-ACK nor a RST{}.",
                facts.interface(),
                facts.since(),
                facts.no_icmp(),
            )
        },
        next: |facts| path(&facts.row.key),
    },
    Rule {
        verdict: Verdict::Unanswered,
        applies: |facts| facts.is_silent() && matches!(facts.side, Side::Passing | Side::Mixed),
        says: |facts| format!("Neither a SYN-ACK nor a RST comes back{}{}.", facts.since(), facts.no_icmp()),
        next: |facts| path(&facts.row.key),
    },
    Rule {
        verdict: Verdict::Unanswered,
        applies: |facts| facts.evidence.icmp.is_some(),
        says: |facts| facts.latest_icmp(),
        next: |facts| if facts.is_served_here() { Vec::new() } else { path(&facts.row.key) },
    },
    Rule {
        verdict: Verdict::Unanswered,
        applies: |facts| facts.side != Side::Inbound && !facts.evidence.answering_ports.is_empty(),
        says: |facts| {
            format!(
                "{} of the same address: a firewall that drops port {}, or a service that accepts no more.",
                facts.answering(),
                facts.port(),
            )
        },
        next: nothing,
    },
    Rule {
        verdict: Verdict::Unanswered,
        applies: |facts| {
            !facts.is_served_here() && facts.answers_nothing() && facts.evidence.answering_ports.is_empty()
        },
        says: |facts| {
            let host = if facts.side == Side::Mixed { "A host" } else { "The host" };
            format!("{host} is down, or a firewall or the way back drops packets.")
        },
        next: |facts| path(&facts.row.key),
    },
    Rule {
        verdict: Verdict::Unanswered,
        applies: |facts| facts.side == Side::Outbound && facts.is_mostly_half_open(),
        says: |_| {
            "The SYN-ACK reaches this host, but no ACK leaves: a firewall or the reverse path filter of this host drops \
             the SYN-ACK or the ACK."
                .to_owned()
        },
        next: |_| vec!["nft list ruleset".to_owned(), "nstat -az TcpExtIPReversePathFilter".to_owned()],
    },
    Rule {
        verdict: Verdict::Unanswered,
        applies: |facts| matches!(facts.side, Side::Passing | Side::Mixed) && facts.is_mostly_half_open(),
        says: |_| {
            "A SYN-ACK answers, but no ACK follows: the SYN-ACK or the ACK is lost or takes another way, or the SYNs have \
             forged addresses."
                .to_owned()
        },
        next: |facts| path(&facts.row.key),
    },
    Rule {
        verdict: Verdict::Unanswered,
        applies: |facts| facts.is_served_here() && facts.is_mostly_half_open(),
        says: |_| {
            "This host answered with a SYN-ACK, but no ACK came back: the SYN-ACK or the ACK is lost on the way, or the \
             SYNs have forged addresses."
                .to_owned()
        },
        next: |facts| vec![listeners(&facts.row.key, "here")],
    },
    Rule {
        verdict: Verdict::Unanswered,
        applies: |facts| facts.is_silent_here() && facts.queue.is_none() && facts.drops(false).is_empty(),
        says: |_| {
            "This host got the SYN and did not answer: a local firewall drops it, or the accept queue is full.".to_owned()
        },
        next: |facts| {
            vec![
                listeners(&facts.row.key, "here"),
                "nstat -az TcpExtListenOverflows TcpExtListenDrops".to_owned(),
            ]
        },
    },
    Rule {
        verdict: Verdict::Unreachable,
        applies: |facts| facts.evidence.icmp.is_some(),
        says: |facts| facts.latest_icmp(),
        next: nothing,
    },
    Rule {
        verdict: Verdict::Unreachable,
        applies: |facts| facts.side == Side::Inbound,
        says: |_| "A firewall of this host rejects, or the way back is broken.".to_owned(),
        next: |facts| vec![listeners(&facts.row.key, "here")],
    },
    Rule {
        verdict: Verdict::Unreachable,
        applies: |facts| facts.side != Side::Inbound && facts.is_prohibited(),
        says: |_| "A firewall or a router rejects the SYN on purpose.".to_owned(),
        next: |facts| path(&facts.row.key),
    },
    Rule {
        verdict: Verdict::Unreachable,
        applies: |facts| facts.side != Side::Inbound && !facts.is_prohibited(),
        says: |facts| {
            let what = if facts.side == Side::Mixed { "the SYN or the SYN-ACK" } else { "the SYN" };
            format!("A router cannot deliver {what}, or a firewall rejects it.")
        },
        next: |facts| path(&facts.row.key),
    },
    Rule {
        verdict: Verdict::Refused,
        applies: |facts| facts.is_served_here(),
        says: |facts| match &facts.drops(true)[..] {
            [] => format!("This host refuses{}: {}.", facts.refusals(), facts.refusing()),
            drops => {
                format!(
                    "This host refuses{}: nothing listens on the port ({}).",
                    facts.refusals(),
                    facts.counted_drops(drops)
                )
            }
        },
        next: |facts| vec![listeners(&facts.row.key, "here")],
    },
    Rule {
        verdict: Verdict::Refused,
        applies: |facts| matches!(facts.side, Side::Outbound | Side::Passing),
        says: |facts| {
            format!(
                "A RST answers the SYN{}: the host is up, but nothing listens on the port, or a firewall rejects.",
                facts.refusals()
            )
        },
        next: |facts| vec![listeners(&facts.row.key, "on the peer")],
    },
    Rule {
        verdict: Verdict::Refused,
        applies: |facts| facts.side == Side::Mixed,
        says: |facts| {
            format!(
                "A RST answers the SYN{}: nothing listens on the port, or a firewall rejects.",
                facts.refusals()
            )
        },
        next: |facts| vec![listeners(&facts.row.key, "on the host that refuses")],
    },
    Rule {
        verdict: Verdict::Refused,
        applies: |facts| !facts.evidence.answering_ports.is_empty(),
        says: |facts| format!("{} of the same address.", facts.answering()),
        next: nothing,
    },
    Rule {
        verdict: Verdict::Aborted,
        applies: |facts| facts.is_served_here() && facts.reset_reason().is_some(),
        says: |facts| {
            let because = facts.reset_reason().map(because).unwrap_or_default();
            format!("This host accepts the connections and resets them: {because}, as its kernel says.")
        },
        next: |facts| vec![format!("here: ss -tnp 'sport = :{}'", facts.port())],
    },
    Rule {
        verdict: Verdict::Aborted,
        applies: |facts| facts.is_served_here() && facts.reset_reason().is_none(),
        says: |_| {
            "This host accepts the connections and resets them before it sends data: the application closes them with \
             the request unread, or a proxy here does not reach its backend."
                .to_owned()
        },
        next: |facts| {
            vec![
                listeners(&facts.row.key, "here"),
                "nstat -az TcpExtTCPAbortOnClose TcpExtTCPAbortOnData".to_owned(),
            ]
        },
    },
    Rule {
        verdict: Verdict::Aborted,
        applies: |facts| !facts.is_served_here(),
        says: |facts| {
            let who = if facts.side == Side::Mixed { "One end" } else { "The peer" };
            format!(
                "{who} accepts the connections and resets them before it sends data: a proxy or load balancer whose \
                 backend is down, an application that closes with the request unread, or a firewall in between."
            )
        },
        next: |facts| {
            let host = if facts.side == Side::Mixed { "host that resets" } else { "peer" };
            vec![listeners(&facts.row.key, &format!("on the {host} and its backends"))]
        },
    },
    Rule {
        verdict: Verdict::Aborted,
        applies: |facts| facts.row.why == Some(Why::OtherTtl),
        says: |_| {
            "The RST has another TTL than the peer's other segments: does a box in between send it?"
                .to_owned()
        },
        next: |facts| path(&facts.row.key),
    },
    Rule { verdict: Verdict::Slow, applies: |_| true, says: slow, next: |facts| path(&facts.row.key) },
    Rule {
        verdict: Verdict::SlowSetup,
        applies: |facts| facts.queue.is_some() && facts.row.figures.counts.is_loss_of_handshakes(),
        says: full_queue,
        next: |facts| vec![listeners(&facts.row.key, "here")],
    },
    Rule {
        verdict: Verdict::SlowSetup,
        applies: |_| true,
        says: slow_setup,
        next: |facts| facts.with_interface(),
    },
    Rule {
        verdict: Verdict::Loss,
        applies: |facts| facts.queue.is_some() && facts.row.figures.counts.is_loss_of_handshakes(),
        says: full_queue,
        next: |facts| vec![listeners(&facts.row.key, "here")],
    },
    Rule { verdict: Verdict::Loss, applies: |_| true, says: loss, next: |facts| facts.with_interface() },
    Rule {
        verdict: Verdict::Loss,
        applies: |facts| facts.row.figures.counts.arrived() > 0,
        says: |facts| {
            format!("{} of them are no loss: those segments had arrived.", facts.row.figures.counts.arrived())
        },
        next: nothing,
    },
    Rule {
        verdict: Verdict::Loss,
        applies: |facts| facts.row.figures.counts.stuck > 0,
        says: |facts| capitalized(&stuck_in(facts.row.figures.counts.stuck)),
        next: nothing,
    },
];

/// How many rules there are.
pub const RULE_COUNT: usize = RULES.len();

const fn nothing(_: &Facts<'_>) -> Vec<String> {
    Vec::new()
}

impl Side {
    const fn of(key: &RowKey) -> Self {
        match key {
            RowKey::Peer(PeerKey { role, .. }) | RowKey::Service { role, .. } | RowKey::Role { role, .. } => {
                match role {
                    Role::Server => Self::Inbound,
                    Role::Client => Self::Outbound,
                    Role::Local => Self::Within,
                    Role::Forwarded | Role::Observer => Self::Passing,
                }
            }
            RowKey::Host { .. }
            | RowKey::Subnet { .. }
            | RowKey::Interface(_)
            | RowKey::Process { .. }
            | RowKey::Container { .. } => Self::Mixed,
        }
    }
}

impl Facts<'_> {
    fn count(&self, outcome: Outcome) -> u64 {
        self.row.figures.counts.of(outcome)
    }

    fn has_some_established(&self) -> bool {
        self.count(Outcome::Established) > 0
    }

    /// Whether nothing answers an attempt, in the time that the row covers.
    fn is_silent(&self) -> bool {
        let counts = &self.row.figures.counts;
        let silent = counts.of(Outcome::Unanswered) + counts.of(Outcome::Pending);
        counts.of(Outcome::Unanswered) > 0 && silent == counts.attempts()
    }

    /// Attempts that got an answer without being established.
    fn answered(&self) -> u64 {
        use Outcome::{Challenged, Closed, HalfOpen, Refused, Reset};
        [Refused, Reset, Challenged, HalfOpen, Closed].map(|outcome| self.count(outcome)).iter().sum()
    }

    /// Whether attempts fail for want of an answer, and nothing that is seen comes from the host that has to answer.
    fn answers_nothing(&self) -> bool {
        let is_own_error = |key: &RowKey| {
            let RowKey::Peer(peer) = key else { return false };
            self.evidence.icmp.is_some_and(|error| error.sender == peer.service.address)
        };
        self.count(Outcome::Unanswered) > 0
            && self.answered() == 0
            && !self.has_some_established()
            && !is_own_error(&self.row.key)
    }

    /// Whether this host is the one that has to answer.
    const fn is_served_here(&self) -> bool {
        matches!(self.side, Side::Inbound | Side::Within)
    }

    /// Whether SYNs reach this host, most of those that fail without a SYN-ACK.
    fn is_silent_here(&self) -> bool {
        self.is_served_here() && self.count(Outcome::Unanswered) > 0 && !self.is_mostly_half_open()
    }

    fn is_mostly_half_open(&self) -> bool {
        self.row.figures.counts.is_mostly_half_open()
    }

    fn is_prohibited(&self) -> bool {
        self.evidence.icmp.is_some_and(|error| error.reason.is_policy())
    }

    /// The SYNs to its port that this host dropped in the time that the row covers, of whichever peer: because nothing listens, or
    /// for other reasons.
    fn drops(&self, has_no_socket: bool) -> Vec<&Dropped> {
        let RowKey::Peer(PeerKey { service, .. }) = self.row.key else { return Vec::new() };
        let is_of_port = |dropped: &&Dropped| {
            dropped.is_syn
                && dropped.port == Some(service.port)
                && dropped.is_without_socket() == has_no_socket
        };
        self.snapshot.growing_drops.iter().filter(|_| self.is_served_here()).filter(is_of_port).collect()
    }

    /// `38 SYNs to port 443 (NETFILTER_DROP) of all peers since 14:02:31`
    fn counted_drops(&self, drops: &[&Dropped]) -> String {
        format!("{} of all peers since {}", listed(drops), self.context.clock_time(self.snapshot.counted_ns))
    }

    fn interface(&self) -> String {
        self.context.interface(self.row.key.interface())
    }

    fn port(&self) -> String {
        match self.row.key {
            RowKey::Peer(peer) => peer.service.port.to_string(),
            _ => "of the service".to_owned(),
        }
    }

    /// ` since 14:02:31`
    fn since(&self) -> String {
        let since = self.row.since_ns.map(|since_ns| format!(" since {}", self.context.clock_time(since_ns)));
        since.unwrap_or_default()
    }

    fn no_icmp(&self) -> &'static str {
        // Of several peers, and of a row that was not requested, nobody has looked.
        if self.is_known && self.evidence.icmp.is_none() { ", and no ICMP error" } else { "" }
    }

    fn latest_icmp(&self) -> String {
        let Some(error) = &self.evidence.icmp else { return String::new() };
        let at = self.context.clock_time(error.last_ns);
        format!("The latest ICMP error, at {at}: {}.", icmp_error(error))
    }

    /// `Port 22 and 443 answer`
    fn answering(&self) -> String {
        let ports: Vec<String> = self.evidence.answering_ports.iter().map(ToString::to_string).collect();
        match &ports[..] {
            [only] => format!("Port {only} answers"),
            ports => format!("Ports {} answer", ports.join(", ")),
        }
    }

    /// Why this host sends the RSTs, as its kernel says.
    const fn reset_reason(&self) -> Option<ResetReason> {
        match self.row.why {
            Some(Why::Reset(reason)) => Some(reason),
            _ => None,
        }
    }

    /// Why this host refuses.
    fn refusing(&self) -> String {
        match (self.row.why, self.reset_reason()) {
            (Some(Why::NothingListens), _) => "nothing listens on the port, as its kernel says".to_owned(),
            (_, Some(reason)) => format!("{}, as its kernel says", because(reason)),
            _ => "nothing listens on the port, or a local firewall rejects".to_owned(),
        }
    }

    /// ` after 398µs`
    fn refusals(&self) -> String {
        self.row.figures.refusals.map(|refusals| format!(" after {}", leg(refusals))).unwrap_or_default()
    }

    fn with_interface(&self) -> Vec<String> {
        let mut commands = path(&self.row.key);
        // The interface of a capture may be that of another host, or a file.
        if self.context.is_live() {
            commands.push(format!("ip -s link show dev {}", self.interface()));
        }
        commands
    }
}

/// Why this host sends RSTs, as part of a sentence.
const fn because(reason: ResetReason) -> &'static str {
    match reason {
        ResetReason::NoSocket => "there is no socket for them any more",
        ResetReason::ClosedUnread => "the application closes them before it has read all that has come",
        ResetReason::DataAfterClose => "data comes after the application has closed them",
        ResetReason::Aborted => {
            "the application aborts them (SO_LINGER of 0), or somebody kills them (ss -K)"
        }
        ResetReason::Linger => "the peer does not close its side in time (TCP_LINGER2, tcp_fin_timeout)",
        ResetReason::Memory => "memory for sockets is short (tcp_mem, tcp_max_orphans)",
        ResetReason::KeepaliveTimeout => "the peer no longer answers keepalives",
        ResetReason::AfterClose => "segments come after the application has closed them",
        ResetReason::Acknowledgement => "the peer acknowledges what was never sent, or too long ago",
        ResetReason::Segment => "flags or timestamps of the peer's segments cannot be",
        ResetReason::Other => "for a reason that has no name here",
    }
}

fn full_queue(facts: &Facts<'_>) -> String {
    let queue = facts.queue.map(|queue| format!(" ({queue})")).unwrap_or_default();
    format!(
        "The accept queue of this host's listener was full{queue} while an attempt waited: the application accepts too \
         slowly, or its limit is too low."
    )
}

fn slow(facts: &Facts<'_>) -> String {
    let what = match facts.side {
        Side::Inbound => "The ACK",
        // The kernel of the peer sends it, not the application.
        Side::Outbound | Side::Within => "The SYN-ACK",
        Side::Passing | Side::Mixed => "The SYN-ACK or the ACK",
    };
    let Some(rtt) = facts.row.figures.rtt else { return format!("{what} takes long.") };
    match facts.evidence.fastest_ns {
        Some(ns) if ns < rtt.p50_ns / 2 => format!(
            "{what} takes long, but took only {} before: a queue, a changed route or a busy host, not distance.",
            duration(ns)
        ),
        // Half as much again is more than a step of the scale that latencies are counted in.
        _ if rtt.p99_ns < rtt.p50_ns.saturating_mul(3) / 2 => {
            format!("{what} takes long in all handshakes alike: distance or a detour rather than congestion.")
        }
        _ => format!("{what} takes long in some handshakes: congestion on the way, or a busy host."),
    }
}

fn slow_setup(facts: &Facts<'_>) -> String {
    let counts = &facts.row.figures.counts;
    let waited = format!("{} took long to set up", counted(counts.slow_setups, "connection"));
    match counts.repeated {
        0 => format!("{waited}, although nothing was repeated: the way is long, or one end answers late."),
        repeated => format!(
            "{waited}; {} in the same time: the first one costs a second, the next two.",
            counted(repeated, "SYN or SYN-ACK retransmit")
        ),
    }
}

fn loss(facts: &Facts<'_>) -> String {
    let counts = &facts.row.figures.counts;
    let direction = match counts.retransmitted {
        0 => "Only SYNs and SYN-ACKs are retransmitted".to_owned(),
        _ => "Segments are retransmitted".to_owned(),
    };
    let by = match facts.side {
        Side::Outbound | Side::Inbound => format!(
            ": {} by this host, {} by the peer",
            counts.sent_retransmits(),
            counts.received_retransmits
        ),
        Side::Within | Side::Passing | Side::Mixed => String::new(),
    };
    let causes = causes(&counts.retransmit_causes()).map(|causes| format!(" ({causes})")).unwrap_or_default();
    format!("{direction}{by}{causes}. A sender retransmits when its segments or the ACKs for them are lost.")
}

/// Commands that follow the path to a peer.
fn path(key: &RowKey) -> Vec<String> {
    match key {
        RowKey::Peer(peer) if !peer.is_inbound() => {
            let address = Ipv6Addr::from(peer.service.address).to_canonical();
            vec![format!("mtr -T -P {} {address}", peer.service.port)]
        }
        RowKey::Peer(peer) => vec![format!("mtr {}", Ipv6Addr::from(peer.service.address).to_canonical())],
        RowKey::Host { address, .. } => vec![format!("mtr {}", Ipv6Addr::from(*address).to_canonical())],
        RowKey::Service { .. }
        | RowKey::Subnet { .. }
        | RowKey::Role { .. }
        | RowKey::Interface(_)
        | RowKey::Process { .. }
        | RowKey::Container { .. } => {
            vec!["see the details of one of the peers (b changes the grouping)".to_owned()]
        }
    }
}

fn listeners(key: &RowKey, place: &str) -> String {
    let port = match key {
        RowKey::Peer(peer) => Some(peer.service.port),
        RowKey::Service { port, .. } => Some(*port),
        RowKey::Host { .. }
        | RowKey::Subnet { .. }
        | RowKey::Role { .. }
        | RowKey::Interface(_)
        | RowKey::Process { .. }
        | RowKey::Container { .. } => None,
    };
    match port {
        Some(port) => format!("{place}: ss -ltn 'sport = :{port}'"),
        None => format!("{place}: ss -ltn"),
    }
}

fn capitalized(text: &str) -> String {
    let mut letters = text.chars();
    letters.next().map(|first| first.to_uppercase().chain(letters).collect()).unwrap_or_default()
}
