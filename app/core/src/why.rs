//! Why a peer has its verdict, as far as a source says so: the packets, an ICMP error, the kernel. Never a guess.

use core::fmt;

use probe_common::ResetReason;

use crate::drops::PortDrops;
use crate::flow::{FailureCause, IcmpReason, Outcome, ResetSign, RetransmitCause, Role};
use crate::stats::{Counts, Verdict};

/// What is behind a verdict, in a word or two.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Why {
    /// An ICMP error says so.
    Icmp(IcmpReason),
    /// The accept queue of this host's listener was full while an attempt waited.
    QueueFull,
    /// This host dropped SYNs to the port, of this peer or of others, as its kernel says.
    DroppedHere,
    /// This host had no socket for SYNs to the port, as its kernel says.
    NothingListens,
    /// SYNs reach this host, and it sends no SYN-ACK.
    SilentHere,
    /// This host answers with a SYN-ACK, and no ACK comes back.
    NoAck,
    /// Segments of full size do not get through, although smaller ones do.
    LargeSegments,
    /// Only SYNs and SYN-ACKs are retransmitted, and no data.
    SynsOnly,
    /// Why connects fail on this host, as their sockets or routes say.
    Failure(FailureCause),
    /// The kernel of this host says why it sends the RSTs.
    Reset(ResetReason),
    /// The RSTs have another time to live than all else that the peer sent: a box in between may send them.
    OtherTtl,
    /// Why at least half of them were retransmitted, as the sending sockets say.
    Retransmits(RetransmitCause),
}

impl Why {
    /// Those that have no reason of another kind within.
    const PLAIN: [Self; 8] = [
        Self::QueueFull,
        Self::DroppedHere,
        Self::NothingListens,
        Self::SilentHere,
        Self::NoAck,
        Self::LargeSegments,
        Self::SynsOnly,
        Self::OtherTtl,
    ];

    /// Every one of them, with every reason of ICMP, of a failure, of a RST and of a retransmit.
    pub(crate) fn all() -> impl Iterator<Item = Self> {
        let icmp = IcmpReason::ALL.into_iter().map(Self::Icmp);
        let failures = FailureCause::ALL.into_iter().map(Self::Failure);
        let resets = ResetReason::ALL.into_iter().map(Self::Reset);
        let retransmits = RetransmitCause::ALL.into_iter().map(Self::Retransmits);
        Self::PLAIN.into_iter().chain(icmp).chain(failures).chain(resets).chain(retransmits)
    }

    /// Its name for people.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::Icmp(reason) => reason.name(),
            Self::QueueFull => "own queue full",
            Self::DroppedHere => "dropped here",
            Self::NothingListens => "nothing listens",
            Self::SilentHere => "not answered here",
            Self::NoAck => "no ACK",
            Self::LargeSegments => "large segments",
            Self::SynsOnly => "SYNs only",
            Self::Failure(cause) => cause.name(),
            Self::Reset(reason) => reason.name(),
            Self::OtherTtl => "middlebox?",
            Self::Retransmits(cause) => cause.name(),
        }
    }

    /// Its name for programs: JSON values.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Icmp(reason) => reason.label(),
            Self::QueueFull => "own_queue_full",
            Self::DroppedHere => "dropped_here",
            Self::NothingListens => "nothing_listens",
            Self::SilentHere => "not_answered_here",
            Self::NoAck => "no_ack",
            Self::LargeSegments => "large_segments",
            Self::SynsOnly => "syns_only",
            Self::Failure(cause) => cause.label(),
            Self::Reset(reason) => reason.label(),
            Self::OtherTtl => "other_ttl",
            Self::Retransmits(cause) => cause.label(),
        }
    }

    /// Whether it is what was typed: its name, or a part of it, in lower case.
    pub(crate) fn is_called(self, text: &str) -> bool {
        self.name().to_lowercase().contains(text) || self.label() == text
    }
}

impl fmt::Display for Why {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// What a peer's verdict is explained by.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Signs<'a> {
    pub(crate) role: Role,
    /// Of the time that its row covers.
    pub(crate) counts: &'a Counts,
    /// What the latest ICMP error about its connections says.
    pub(crate) icmp: Option<IcmpReason>,
    /// Whether the accept queue of the listener was full while one of its attempts waited, in the time that its row covers.
    pub(crate) is_queue_full: bool,
    /// What is known of its refused and of its aborted connections, likewise.
    pub(crate) resets: [Option<ResetSign>; 2],
    /// Why the latest connect failed on this host, likewise.
    pub(crate) failure: Option<FailureCause>,
    /// Which SYNs to its port this host dropped, likewise.
    pub(crate) drops: PortDrops,
}

/// A verdict, and what is behind it if that is so.
type Rule = (Verdict, Why, fn(&Signs<'_>) -> bool);

/// Without the reasons of ICMP, which come first. The first that applies counts.
const RULES: [Rule; 9] = [
    (Verdict::Refused, Why::NothingListens, |signs| {
        signs.drops.has_no_socket || signs.resets[0] == Some(ResetSign::Said(ResetReason::NoSocket))
    }),
    (Verdict::Unanswered, Why::QueueFull, |signs| signs.is_queue_full),
    // A full queue drops SYNs and ACKs of handshakes, and nothing else.
    (Verdict::SlowSetup, Why::QueueFull, |signs| signs.is_queue_full && signs.counts.is_loss_of_handshakes()),
    (Verdict::Loss, Why::QueueFull, |signs| signs.is_queue_full && signs.counts.is_loss_of_handshakes()),
    (Verdict::Unanswered, Why::NoAck, |signs| is_inbound(signs) && signs.counts.is_mostly_half_open()),
    // Drops are counted by port alone: those of others explain nothing where this host sent a SYN-ACK.
    (Verdict::Unanswered, Why::DroppedHere, |signs| has_silent(signs) && signs.drops.is_dropped),
    (Verdict::Unanswered, Why::SilentHere, has_silent),
    (Verdict::Loss, Why::LargeSegments, |signs| signs.counts.stuck > 0),
    (Verdict::Loss, Why::SynsOnly, |signs| {
        signs.counts.repeated > 0 && signs.counts.retransmitted == 0 && signs.counts.sent > 0
    }),
];

impl Signs<'_> {
    /// What is behind a verdict; `None` where nothing says so.
    pub(crate) fn why(&self, verdict: Verdict) -> Option<Why> {
        if verdict == Verdict::Unreachable {
            return self.icmp.map(Why::Icmp);
        }
        if verdict == Verdict::Failed {
            return self.failure.map(Why::Failure);
        }
        let applies = |rule: &&Rule| rule.0 == verdict && (rule.2)(self);
        let ruled = RULES.iter().find(applies).map(|(_, why, _)| *why);
        let ruled = ruled.or_else(|| self.reset(verdict));
        ruled.or_else(|| self.main_cause().filter(|_| verdict == Verdict::Loss).map(Why::Retransmits))
    }
}

impl Signs<'_> {
    /// What is known of the RSTs that make up a verdict.
    fn reset(&self, verdict: Verdict) -> Option<Why> {
        let sign = match verdict {
            Verdict::Refused => self.resets[0],
            Verdict::Aborted => self.resets[1],
            _ => None,
        };
        sign.map(|sign| match sign {
            ResetSign::Said(reason) => Why::Reset(reason),
            ResetSign::OtherTtl => Why::OtherTtl,
        })
    }

    /// Why at least half of the segments were retransmitted.
    fn main_cause(&self) -> Option<RetransmitCause> {
        let causes = self.counts.retransmit_causes();
        causes.main().filter(|cause| causes.of(*cause) * 2 >= self.counts.retransmits())
    }
}

/// Whether this host is the one that has to answer the SYN.
const fn is_inbound(signs: &Signs<'_>) -> bool {
    matches!(signs.role, Role::Server | Role::Local)
}

/// Whether SYNs reach this host, most of those that fail without a SYN-ACK.
fn has_silent(signs: &Signs<'_>) -> bool {
    is_inbound(signs) && signs.counts.of(Outcome::Unanswered) > 0 && !signs.counts.is_mostly_half_open()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::stats::Number;

    fn counts(numbers: &[(Number, u64)]) -> Counts {
        let mut counts = Counts::default();
        numbers.iter().for_each(|&(number, count)| counts.add(number, count));
        counts
    }

    fn why(verdict: Verdict, role: Role, numbers: &[(Number, u64)]) -> Option<Why> {
        let drops = PortDrops::default();
        Signs {
            role,
            counts: &counts(numbers),
            icmp: None,
            is_queue_full: false,
            resets: [None; 2],
            failure: None,
            drops,
        }
        .why(verdict)
    }

    #[test]
    fn each_rule_applies_to_what_it_says_and_to_nothing_else() {
        let unanswered = Number::Attempts(Outcome::Unanswered);
        let half_open = Number::Attempts(Outcome::HalfOpen);
        for (verdict, role, numbers, expected) in [
            (Verdict::Unanswered, Role::Server, &[(half_open, 2), (unanswered, 2)][..], Some(Why::NoAck)),
            (Verdict::Unanswered, Role::Server, &[(half_open, 1), (unanswered, 2)], Some(Why::SilentHere)),
            (Verdict::Unanswered, Role::Local, &[(unanswered, 1)], Some(Why::SilentHere)),
            (Verdict::Unanswered, Role::Client, &[(unanswered, 5)], None),
            (Verdict::Unanswered, Role::Forwarded, &[(half_open, 5)], None),
            (Verdict::Unanswered, Role::Server, &[], None),
            (
                Verdict::Loss,
                Role::Client,
                &[(Number::Retransmitted, 5), (Number::Stuck, 1)],
                Some(Why::LargeSegments),
            ),
            (Verdict::Loss, Role::Client, &[(Number::Repeated, 5), (Number::Sent, 9)], Some(Why::SynsOnly)),
            (Verdict::Loss, Role::Client, &[(Number::Repeated, 5)], None),
            (
                Verdict::Loss,
                Role::Client,
                &[(Number::Repeated, 5), (Number::Sent, 9), (Number::Retransmitted, 1)],
                None,
            ),
            (Verdict::Slow, Role::Client, &[(unanswered, 5), (Number::Stuck, 1)], None),
            (Verdict::Refused, Role::Server, &[(Number::Attempts(Outcome::Refused), 5)], None),
        ] {
            assert_eq!(why(verdict, role, numbers), expected, "{verdict:?} {role:?} {numbers:?}");
        }
    }

    #[test]
    fn unreachable_is_explained_by_the_error_alone() {
        let counts = counts(&[(Number::Stuck, 1)]);
        let signs = |icmp| Signs {
            role: Role::Client,
            counts: &counts,
            icmp,
            is_queue_full: false,
            resets: [None; 2],
            failure: None,
            drops: PortDrops::default(),
        };
        let prohibited = signs(Some(IcmpReason::Prohibited));
        assert_eq!(prohibited.why(Verdict::Unreachable), Some(Why::Icmp(IcmpReason::Prohibited)));
        assert_eq!(prohibited.why(Verdict::Unanswered), None, "another verdict is not");
        assert_eq!(signs(None).why(Verdict::Unreachable), None);
    }

    #[test]
    fn the_cause_of_at_least_half_of_the_retransmits_explains_loss() {
        let caused = |retransmits, timeouts| {
            let timeout = Number::Caused(RetransmitCause::Timeout);
            let numbers = [(Number::Sent, 90), (Number::Retransmitted, retransmits), (timeout, timeouts)];
            (why(Verdict::Loss, Role::Client, &numbers), why(Verdict::Slow, Role::Client, &numbers))
        };
        assert_eq!(caused(10, 5), (Some(Why::Retransmits(RetransmitCause::Timeout)), None));
        assert_eq!(caused(10, 4), (None, None));
        assert_eq!(caused(10, 0), (None, None));
    }

    #[test]
    fn a_full_queue_explains_what_waits_for_it() {
        let drops = PortDrops::default();
        let why = |is_queue_full, repeated, retransmitted, verdict| {
            let numbers = [
                (Number::Attempts(Outcome::Unanswered), 3),
                (Number::Sent, 90),
                (Number::Repeated, repeated),
                (Number::Retransmitted, retransmitted),
            ];
            Signs {
                role: Role::Server,
                counts: &counts(&numbers),
                icmp: None,
                is_queue_full,
                resets: [None; 2],
                failure: None,
                drops,
            }
            .why(verdict)
        };
        for verdict in [Verdict::Unanswered, Verdict::SlowSetup, Verdict::Loss] {
            assert_eq!(why(true, 5, 5, verdict), Some(Why::QueueFull));
        }
        for verdict in [Verdict::SlowSetup, Verdict::Loss] {
            assert_eq!(why(true, 5, 6, verdict), None, "one attempt does not explain lost data");
            assert_eq!(why(true, 0, 0, verdict), None);
        }
        assert_eq!(why(true, 5, 5, Verdict::Refused), None);
        assert_eq!(why(false, 5, 5, Verdict::Unanswered), Some(Why::SilentHere));
    }

    #[test]
    fn what_is_dropped_here_explains_what_it_answers() {
        let explained = |outcome, is_dropped, has_no_socket, verdict| {
            let drops = PortDrops { is_dropped, has_no_socket };
            let counts = counts(&[(Number::Attempts(outcome), 3)]);
            Signs {
                role: Role::Server,
                counts: &counts,
                icmp: None,
                is_queue_full: false,
                resets: [None; 2],
                failure: None,
                drops,
            }
            .why(verdict)
        };
        let why = |is_dropped, has_no_socket, verdict| {
            explained(Outcome::Unanswered, is_dropped, has_no_socket, verdict)
        };
        let half_open = explained(Outcome::HalfOpen, true, false, Verdict::Unanswered);
        assert_eq!(half_open, Some(Why::NoAck), "others are dropped; this one got a SYN-ACK");
        let recovered = explained(Outcome::Established, true, false, Verdict::Unanswered);
        assert_eq!(recovered, None, "its window has none that fails");
        assert_eq!(why(true, false, Verdict::Unanswered), Some(Why::DroppedHere));
        assert_eq!(why(false, true, Verdict::Unanswered), Some(Why::SilentHere));
        assert_eq!(why(false, true, Verdict::Refused), Some(Why::NothingListens));
        assert_eq!(why(true, false, Verdict::Refused), None);
    }

    #[test]
    fn what_is_known_of_resets_explains_the_verdict_that_they_make_up() {
        let why = |refused, aborted, verdict| {
            let (counts, drops) = (Counts::default(), PortDrops::default());
            let resets = [refused, aborted];
            Signs {
                role: Role::Server,
                counts: &counts,
                icmp: None,
                is_queue_full: false,
                resets,
                failure: None,
                drops,
            }
            .why(verdict)
        };
        let [unread, no_socket] =
            [ResetReason::ClosedUnread, ResetReason::NoSocket].map(|reason| Some(ResetSign::Said(reason)));
        assert_eq!(why(no_socket, unread, Verdict::Refused), Some(Why::NothingListens));
        assert_eq!(why(no_socket, unread, Verdict::Aborted), Some(Why::Reset(ResetReason::ClosedUnread)));
        assert_eq!(why(unread, None, Verdict::Refused), Some(Why::Reset(ResetReason::ClosedUnread)));
        assert_eq!(why(None, Some(ResetSign::OtherTtl), Verdict::Aborted), Some(Why::OtherTtl));
        assert_eq!(why(no_socket, None, Verdict::Aborted), None);
        assert_eq!(why(no_socket, unread, Verdict::Slow), None);
    }

    #[test]
    fn each_is_found_by_its_names() {
        for why in Why::all() {
            assert!(why.is_called(why.label()) && why.is_called(&why.name().to_lowercase()), "{why:?}");
            assert_eq!(why.to_string(), why.name());
        }
        assert!(Why::SilentHere.is_called("answered") && !Why::SilentHere.is_called("silent"));
    }
}
