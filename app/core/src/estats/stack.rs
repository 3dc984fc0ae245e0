//! `tcpEStatsStackTable`.

use super::extremes::Extreme;
use super::{EstatsValue, Missing, Variable};
use crate::socket::{InfoField, SocketState};

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
    Variable::missing("MSSRcvd", "octets", Missing::Segments),
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
    Variable::missing("Nagle", "", Missing::Events),
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
    Variable::missing("DupAcksIn", "acknowledgments", Missing::Segments),
    Variable::missing("SpuriousFrDetected", "events", Missing::Events),
    Variable::missing("SpuriousRtoDetected", "events", Missing::Events),
    Variable::missing("SoftErrors", "segments", Missing::Events),
    Variable::missing("SoftErrorReason", "", Missing::Events),
    Variable::missing("SlowStart", "increases", Missing::Events),
    Variable::missing("CongAvoid", "increases", Missing::Events),
    Variable::missing("OtherReductions", "reductions", Missing::Events),
    Variable::missing("CongOverCount", "events", Missing::Events),
    Variable::missing("FastRetran", "events", Missing::Events),
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
    Variable::missing("AbruptTimeouts", "events", Missing::Events),
    Variable::missing("SACKsRcvd", "acknowledgments", Missing::Segments),
    Variable::missing("SACKBlocksRcvd", "blocks", Missing::Segments),
    Variable::missing("SendStall", "events", Missing::Events),
    Variable::exact("DSACKDups", "segments", "tcpi_dsack_dups", |facts| facts.number(InfoField::DsackDups)),
    Variable::approximate("MaxMSS", "octets", "the largest CurMSS of all lists", |facts| {
        facts.extreme(Extreme::MaxMss)
    }),
    Variable::approximate("MinMSS", "octets", "the smallest CurMSS of all lists", |facts| {
        facts.extreme(Extreme::MinMss)
    }),
    Variable::missing("SndInitial", "", Missing::Segments),
    Variable::missing("RecInitial", "", Missing::Segments),
    Variable::derived(
        "CurRetxQueue",
        "octets",
        "idiag_wqueue - tcpi_notsent_bytes, less 1 for a SYN or FIN that was sent",
        |facts| facts.unacknowledged().map(EstatsValue::Number),
    ),
    Variable::approximate("MaxRetxQueue", "octets", "the largest CurRetxQueue of all lists", |facts| {
        facts.extreme(Extreme::MaxRetxQueue)
    }),
    Variable::missing("CurReasmQueue", "octets", Missing::Segments),
    Variable::missing("MaxReasmQueue", "octets", Missing::Segments),
];
