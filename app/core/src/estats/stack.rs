//! `tcpEStatsStackTable`.

use super::extremes::Extreme;
use probe_common::sums::{Fact, Sum};

use super::{APPROXIMATE, DERIVED, EXACT, EstatsValue, Facts, Missing, OF_SEGMENTS, Variable, low_half};
use crate::socket::{InfoField, SocketState, SocketSums};

/// Bits of `tcpi_options`.
const TIMESTAMPS: u64 = 1;
const SACK: u64 = 2;
const WINDOW_SCALE: u64 = 4;
const ECN: u64 = 8;

pub(super) static VARIABLES: [Variable; 41] = [
    Variable::approximate(
        "ActiveOpen",
        "",
        "true unless a socket listens on the local port: one that has gone since is not known",
        |facts| facts.is_active.map(EstatsValue::Truth),
    ),
    Variable::derived("MSSSent", "octets", "tcpi_advmss", |facts| facts.number(InfoField::Advmss)),
    Variable::counted(
        "MSSRcvd",
        "octets",
        DERIVED,
        "mss_clamp: what the peer takes, or TCP_MAXSEG where that is less; null before it said it",
        |facts, sums| sums.peers_limit(facts).map(EstatsValue::Number),
    ),
    Variable::exact("WinScaleSent", "", "tcpi_rcv_wscale where tcpi_options & 4, else null", |facts| {
        facts.negotiated(WINDOW_SCALE).and_then(|_| facts.number(InfoField::RcvWscale))
    }),
    Variable::exact("WinScaleRcvd", "", "tcpi_snd_wscale where tcpi_options & 4, else null", |facts| {
        facts.negotiated(WINDOW_SCALE).and_then(|_| facts.number(InfoField::SndWscale))
    }),
    Variable::exact("TimeStamps", "", "tcpi_options & 1; null where it is not in use", |facts| {
        facts.negotiated(TIMESTAMPS)
    }),
    Variable::exact("ECN", "", "tcpi_options & 8; null where it is not in use", |facts| {
        facts.negotiated(ECN)
    }),
    Variable::exact("WillSendSACK", "", "tcpi_options & 2; null where it is not in use", |facts| {
        facts.negotiated(SACK)
    }),
    Variable::exact("WillUseSACK", "", "tcpi_options & 2; null where it is not in use", |facts| {
        facts.negotiated(SACK)
    }),
    Variable::exact("State", "", "idiag_state", |facts| {
        Some(EstatsValue::Word(match facts.socket.state {
            SocketState::Established => "established",
            SocketState::SynSent => "synSent",
            SocketState::SynRecv => "synReceived",
            SocketState::FinWait1 => "finWait1",
            SocketState::FinWait2 => "finWait2",
            SocketState::TimeWait => "timeWait",
            SocketState::Close => "closed",
            SocketState::CloseWait => "closeWait",
            SocketState::LastAck => "lastAck",
            SocketState::Listen => "listen",
            SocketState::Closing => "closing",
        }))
    }),
    Variable::counted("Nagle", "", EXACT, "whether bit 0 of nonagle is 0", |_, sums| {
        Some(EstatsValue::Truth(sums.fact(Fact::Nonagle) & 1 == 0))
    }),
    Variable::approximate(
        "MaxSsCwnd",
        "octets",
        "the largest CurCwnd of all lists below the slow start threshold",
        |facts| facts.extreme(Extreme::MaxSsCwnd),
    ),
    Variable::approximate(
        "MaxCaCwnd",
        "octets",
        "the largest CurCwnd of all lists from the slow start threshold on",
        |facts| facts.extreme(Extreme::MaxCaCwnd),
    ),
    Variable::approximate("MaxSsthresh", "octets", "the largest CurSsthresh of all lists", |facts| {
        facts.extreme(Extreme::MaxSsthresh)
    }),
    Variable::approximate("MinSsthresh", "octets", "the smallest CurSsthresh of all lists", |facts| {
        facts.extreme(Extreme::MinSsthresh)
    }),
    Variable::exact(
        "InRecovery",
        "",
        "tcpi_ca_state: Open and CWR dataContiguous, Disorder dataUnordered, Recovery and Loss dataRecovery",
        |facts| {
            Some(EstatsValue::Word(match facts.get(InfoField::CaState)? {
                0 | 2 => "dataContiguous",
                1 => "dataUnordered",
                3 | 4 => "dataRecovery",
                _ => return None,
            }))
        },
    ),
    Variable::counted(
        "DupAcksIn",
        "acknowledgments",
        OF_SEGMENTS,
        "dup_acks, while the connection is established",
        |_, sums| sums.of_segments(Sum::DupAcks).map(EstatsValue::Number),
    ),
    Variable::counted(
        "SpuriousFrDetected",
        "events",
        APPROXIMATE,
        "undone_recoveries: the reduction was taken back",
        |_, sums| sums.sum(Sum::UndoneRecoveries).map(EstatsValue::Number),
    ),
    Variable::counted(
        "SpuriousRtoDetected",
        "events",
        APPROXIMATE,
        "undone_losses: the reduction was taken back",
        |_, sums| sums.sum(Sum::UndoneLosses).map(EstatsValue::Number),
    ),
    Variable::missing("SoftErrors", "segments", Missing::Events),
    Variable::missing("SoftErrorReason", "", Missing::Events),
    Variable::counted(
        "SlowStart",
        "increases",
        APPROXIMATE,
        "grown_slow_start: round trips in which the window grew below the threshold",
        |_, sums| sums.sum(Sum::SlowStarts).map(EstatsValue::Number),
    ),
    Variable::counted(
        "CongAvoid",
        "increases",
        APPROXIMATE,
        "grown_avoidance: round trips in which the window grew from the threshold on",
        |_, sums| sums.sum(Sum::Avoidances).map(EstatsValue::Number),
    ),
    Variable::counted(
        "OtherReductions",
        "reductions",
        APPROXIMATE,
        "shrunk_quietly: round trips in which the window shrank without a signal",
        |_, sums| sums.sum(Sum::Reductions).map(EstatsValue::Number),
    ),
    Variable::counted(
        "CongOverCount",
        "events",
        APPROXIMATE,
        "undone_all: the reduction was taken back",
        |_, sums| sums.sum(Sum::Undone).map(EstatsValue::Number),
    ),
    Variable::counted("FastRetran", "events", EXACT, "recovery_entries: entries into Recovery", |_, sums| {
        sums.sum(Sum::Recoveries).map(EstatsValue::Number)
    }),
    Variable::derived(
        "SubsequentTimeouts",
        "events",
        "tcpi_total_rto - tcpi_total_rto_recoveries (Linux 6.7)",
        |facts| {
            let [all, first] =
                [InfoField::TotalRto, InfoField::TotalRtoRecoveries].map(|field| facts.get(field));
            all?.checked_sub(first?).map(EstatsValue::Number)
        },
    ),
    Variable::exact("CurTimeoutCount", "timeouts", "tcpi_retransmits", |facts| {
        facts.number(InfoField::Retransmits)
    }),
    Variable::counted(
        "AbruptTimeouts",
        "events",
        DERIVED,
        "timeouts_abrupt: timeouts while the congestion state is Open",
        |_, sums| sums.sum(Sum::TimeoutsAbrupt).map(EstatsValue::Number),
    ),
    Variable::counted(
        "SACKsRcvd",
        "acknowledgments",
        OF_SEGMENTS,
        "sack_segments, while the connection is established",
        |_, sums| sums.of_segments(Sum::Sacks).map(EstatsValue::Number),
    ),
    Variable::counted(
        "SACKBlocksRcvd",
        "blocks",
        OF_SEGMENTS,
        "sack_blocks, while the connection is established",
        |_, sums| sums.of_segments(Sum::SackBlocks).map(EstatsValue::Number),
    ),
    Variable::counted(
        "SendStall",
        "events",
        APPROXIMATE,
        "stall_entries: entries into CWR without ECN, as where the local queue is full",
        |_, sums| sums.sum(Sum::Stalls).map(EstatsValue::Number),
    ),
    Variable::exact("DSACKDups", "segments", "tcpi_dsack_dups", |facts| facts.number(InfoField::DsackDups)),
    Variable::approximate("MaxMSS", "octets", "the largest CurMSS of all lists", |facts| {
        facts.extreme(Extreme::MaxMss)
    }),
    Variable::approximate("MinMSS", "octets", "the smallest CurMSS of all lists", |facts| {
        facts.extreme(Extreme::MinMss)
    }),
    Variable::counted(
        "SndInitial",
        "",
        DERIVED,
        "snd_una - bytes_acked where this host opened the connection (opened_by), else one less",
        |facts, sums| sums.first_sent(facts.is_active).map(EstatsValue::Number),
    ),
    Variable::counted(
        "RecInitial",
        "",
        DERIVED,
        "rcv_nxt - bytes_received - 1; null before the peer has answered",
        |_, sums| sums.first_received().map(EstatsValue::Number),
    ),
    Variable::derived(
        "CurRetxQueue",
        "octets",
        "idiag_wqueue - tcpi_notsent_bytes, less 1 for a SYN or FIN that was sent",
        |facts| facts.unacknowledged().map(EstatsValue::Number),
    ),
    Variable::approximate("MaxRetxQueue", "octets", "the largest CurRetxQueue of all lists", |facts| {
        facts.extreme(Extreme::MaxRetxQueue)
    }),
    Variable::counted(
        "CurReasmQueue",
        "octets",
        APPROXIMATE,
        "reassembly_octets: an upper bound, because holes are in it",
        |_, sums| Some(EstatsValue::Number(sums.fact(Fact::Reassembly))),
    ),
    Variable::counted(
        "MaxReasmQueue",
        "octets",
        APPROXIMATE,
        "the largest CurReasmQueue of all lists",
        |facts, _| facts.extreme(Extreme::MaxReasm),
    ),
];

impl SocketSums {
    /// The largest segment that the peer takes: before its SYN there is a default of the kernel's.
    pub(super) fn peers_limit(&self, facts: &Facts<'_>) -> Option<u64> {
        Some(self.fact(Fact::MssClamp)).filter(|_| facts.socket.state != SocketState::SynSent)
    }

    /// The number of the SYN that was sent. Of a connection that this host opened it is acknowledged, and counts.
    fn first_sent(&self, is_active: Option<bool>) -> Option<u64> {
        let opened = self.sum(Sum::Opened).filter(|opened| *opened != 0).map(|opened| opened == 1);
        let is_active = opened.or(is_active)?;
        let data = self.fact(Fact::BytesAcked) + u64::from(!is_active);
        Some(low_half(self.fact(Fact::SndUna).wrapping_sub(data)))
    }

    /// The number of the SYN that was received.
    fn first_received(&self) -> Option<u64> {
        let has_answer = self.fact(Fact::RcvNxt) != 0;
        let data = self.fact(Fact::BytesReceived) + 1;
        has_answer.then(|| low_half(self.fact(Fact::RcvNxt).wrapping_sub(data)))
    }
}
