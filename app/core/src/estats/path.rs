//! `tcpEStatsPathTable`.

use super::extremes::Extreme;
use super::{EstatsValue, Missing, Variable};
use crate::socket::InfoField;

pub(super) static VARIABLES: [Variable; 26] = [
    Variable::exact("RetranThresh", "segments", "tcpi_reordering", |facts| {
        facts.number(InfoField::Reordering)
    }),
    Variable::missing("NonRecovDAEpisodes", "episodes", Missing::Events),
    Variable::missing("SumOctetsReordered", "octets", Missing::Segments),
    Variable::missing("NonRecovDA", "acknowledgments", Missing::Segments),
    Variable::missing("SampleRTT", "milliseconds", Missing::Events),
    Variable::exact("RTTVar", "milliseconds", "tcpi_rttvar / 1000", |facts| {
        facts.milliseconds(InfoField::Rttvar)
    }),
    Variable::missing("MaxRTT", "milliseconds", Missing::Events),
    Variable::approximate(
        "MinRTT",
        "milliseconds",
        "tcpi_min_rtt / 1000: the shortest of the last net.ipv4.tcp_min_rtt_wlen seconds",
        |facts| facts.milliseconds(InfoField::MinRtt),
    ),
    Variable::missing("SumRTT", "milliseconds", Missing::Events),
    Variable::missing("HCSumRTT", "milliseconds", Missing::Events),
    Variable::missing("CountRTT", "samples", Missing::Events),
    Variable::approximate("MaxRTO", "milliseconds", "the largest CurRTO of all lists", |facts| {
        facts.extreme_milliseconds(Extreme::MaxRto)
    }),
    Variable::approximate("MinRTO", "milliseconds", "the smallest CurRTO of all lists", |facts| {
        facts.extreme_milliseconds(Extreme::MinRto)
    }),
    Variable::missing("IpTtl", "hops", Missing::Segments),
    Variable::missing("IpTosIn", "", Missing::Segments),
    Variable::exact("IpTosOut", "", "INET_DIAG_TOS; of IPv6 INET_DIAG_TCLASS", |facts| {
        let socket = facts.socket;
        let is_v4 = std::net::Ipv6Addr::from(socket.local.address).to_ipv4_mapped().is_some();
        let octet = if is_v4 { socket.tos } else { socket.traffic_class };
        octet.map(|octet| EstatsValue::Number(octet.into()))
    }),
    Variable::missing("PreCongSumCwnd", "octets", Missing::Events),
    Variable::missing("PreCongSumRTT", "milliseconds", Missing::Events),
    Variable::missing("PostCongSumRTT", "milliseconds", Missing::Events),
    Variable::missing("PostCongCountRTT", "samples", Missing::Events),
    Variable::missing("ECNsignals", "events", Missing::Events),
    Variable::missing("DupAckEpisodes", "episodes", Missing::Segments),
    Variable::exact("RcvRTT", "microseconds", "tcpi_rcv_rtt", |facts| facts.number(InfoField::RcvRtt)),
    Variable::missing("DupAcksOut", "acknowledgments", Missing::Segments),
    Variable::exact("CERcvd", "segments", "tcpi_received_ce (Linux 6.18)", |facts| {
        facts.number(InfoField::ReceivedCe)
    }),
    Variable::missing("ECESent", "segments", Missing::Segments),
];
