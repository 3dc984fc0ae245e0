//! `tcpEStatsPathTable`.

use super::extremes::Extreme;
use probe_common::sums::Sum;

use super::{APPROXIMATE, DERIVED, EXACT, EstatsValue, Missing, OF_SEGMENTS, Variable};
use crate::socket::{InfoField, SocketSums};

/// So many microseconds are as many milliseconds as 32 bits hold.
const MS_OF_32_BITS: u64 = (1 << 32) * 1_000;

pub(super) static VARIABLES: [Variable; 26] = [
    Variable::exact("RetranThresh", "segments", "tcpi_reordering", |facts| {
        facts.number(InfoField::Reordering)
    }),
    Variable::counted(
        "NonRecovDAEpisodes",
        "episodes",
        DERIVED,
        "disorder_episodes: Disorder that ended without Recovery",
        |_, sums| sums.sum(Sum::Disorders).map(EstatsValue::Number),
    ),
    Variable::counted(
        "SumOctetsReordered",
        "octets",
        APPROXIMATE,
        "disorder_octets: how far acknowledgments moved in those episodes",
        |_, sums| sums.sum(Sum::DisorderOctets).map(EstatsValue::Number),
    ),
    Variable::counted(
        "NonRecovDA",
        "acknowledgments",
        OF_SEGMENTS,
        "disorder_acks: duplicate ones of those episodes",
        |_, sums| sums.of_segments(Sum::DupAcksDisorder).map(EstatsValue::Number),
    ),
    Variable::counted(
        "SampleRTT",
        "milliseconds",
        EXACT,
        "rtt_last / 1000 where rtt_count is not 0: the latest of all round trips, one sample each (Linux 6.10)",
        |_, sums| sums.measured(Sum::RttLast).map(|us| EstatsValue::Milliseconds { us }),
    ),
    Variable::exact("RTTVar", "milliseconds", "tcpi_rttvar / 1000", |facts| {
        facts.milliseconds(InfoField::Rttvar)
    }),
    Variable::counted(
        "MaxRTT",
        "milliseconds",
        EXACT,
        "rtt_max / 1000 where rtt_count is not 0: the longest of all round trips, one sample each (Linux 6.10)",
        |_, sums| sums.measured(Sum::RttMax).map(|us| EstatsValue::Milliseconds { us }),
    ),
    Variable::approximate(
        "MinRTT",
        "milliseconds",
        "tcpi_min_rtt / 1000: the shortest of the last net.ipv4.tcp_min_rtt_wlen seconds",
        |facts| facts.milliseconds(InfoField::MinRtt),
    ),
    Variable::counted("SumRTT", "milliseconds", EXACT, "as HCSumRTT, its lower 32 bits", |_, sums| {
        sums.measured(Sum::RttSum).map(|us| EstatsValue::Milliseconds { us: us % MS_OF_32_BITS })
    }),
    Variable::counted(
        "HCSumRTT",
        "milliseconds",
        EXACT,
        "rtt_sum / 1000 where rtt_count is not 0: the sum of all round trips, one sample each (Linux 6.10)",
        |_, sums| sums.measured(Sum::RttSum).map(|us| EstatsValue::Milliseconds { us }),
    ),
    Variable::counted("CountRTT", "samples", EXACT, "rtt_count: round trips (Linux 6.10)", |_, sums| {
        sums.measured(Sum::RttCount).map(EstatsValue::Number)
    }),
    Variable::approximate("MaxRTO", "milliseconds", "the largest CurRTO of all lists", |facts| {
        facts.extreme_milliseconds(Extreme::MaxRto)
    }),
    Variable::approximate("MinRTO", "milliseconds", "the smallest CurRTO of all lists", |facts| {
        facts.extreme_milliseconds(Extreme::MinRto)
    }),
    Variable::counted(
        "IpTtl",
        "hops",
        OF_SEGMENTS,
        "ttl_last, of the latest segment that came in while the connection was established",
        |_, sums| sums.of_segments(Sum::Ttl).map(EstatsValue::Number),
    ),
    Variable::counted("IpTosIn", "", OF_SEGMENTS, "tos_last, likewise", |_, sums| {
        sums.of_segments(Sum::Tos).map(EstatsValue::Number)
    }),
    Variable::exact("IpTosOut", "", "INET_DIAG_TOS; of IPv6 INET_DIAG_TCLASS", |facts| {
        let socket = facts.socket;
        let is_v4 = std::net::Ipv6Addr::from(socket.local.address).to_ipv4_mapped().is_some();
        let octet = if is_v4 { socket.tos } else { socket.traffic_class };
        octet.map(|octet| EstatsValue::Number(octet.into()))
    }),
    Variable::counted(
        "PreCongSumCwnd",
        "octets",
        DERIVED,
        "pre_cwnd: windows before the signals",
        |_, sums| sums.sum(Sum::PreCwnd).map(EstatsValue::Number),
    ),
    Variable::counted(
        "PreCongSumRTT",
        "milliseconds",
        DERIVED,
        "pre_rtt / 1000: the latest times before the signals",
        |_, sums| sums.sum(Sum::PreRtt).map(|us| EstatsValue::Milliseconds { us }),
    ),
    Variable::counted(
        "PostCongSumRTT",
        "milliseconds",
        DERIVED,
        "post_rtt / 1000: the first times after the signals",
        |_, sums| sums.sum(Sum::PostRtt).map(|us| EstatsValue::Milliseconds { us }),
    ),
    Variable::counted("PostCongCountRTT", "samples", DERIVED, "post_count", |_, sums| {
        sums.sum(Sum::PostCount).map(EstatsValue::Number)
    }),
    Variable::counted(
        "ECNsignals",
        "events",
        DERIVED,
        "ecn_entries: entries into CWR where ECN was negotiated",
        |_, sums| sums.sum(Sum::EcnSignals).map(EstatsValue::Number),
    ),
    Variable::missing("DupAckEpisodes", "episodes", Missing::Segments),
    Variable::exact("RcvRTT", "microseconds", "tcpi_rcv_rtt", |facts| facts.number(InfoField::RcvRtt)),
    Variable::missing("DupAcksOut", "acknowledgments", Missing::Segments),
    Variable::exact("CERcvd", "segments", "tcpi_received_ce (Linux 6.18)", |facts| {
        facts.number(InfoField::ReceivedCe)
    }),
    Variable::missing("ECESent", "segments", Missing::Segments),
];

impl SocketSums {
    /// A sum of round-trip times, if any was measured: before Linux 6.10 the kernel does not say them.
    fn measured(&self, sum: Sum) -> Option<u64> {
        self.sum(sum).filter(|_| self.sum(Sum::RttCount) != Some(0))
    }
}
