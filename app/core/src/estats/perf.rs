//! `tcpEStatsPerfTable`.

use super::extremes::Extreme;
use super::{EstatsValue, Missing, Variable};
use crate::socket::InfoField;

pub(super) static VARIABLES: [Variable; 34] = [
    Variable::exact("SegsOut", "segments", "tcpi_segs_out", |facts| facts.number(InfoField::SegsOut)),
    Variable::exact("DataSegsOut", "segments", "tcpi_data_segs_out", |facts| {
        facts.number(InfoField::DataSegsOut)
    }),
    Variable::exact("DataOctetsOut", "octets", "tcpi_bytes_sent, its lower 32 bits", |facts| {
        facts.wrapped(InfoField::BytesSent)
    }),
    Variable::exact("HCDataOctetsOut", "octets", "tcpi_bytes_sent", |facts| {
        facts.number(InfoField::BytesSent)
    }),
    Variable::exact("SegsRetrans", "segments", "tcpi_total_retrans", |facts| {
        facts.number(InfoField::TotalRetrans)
    }),
    Variable::exact("OctetsRetrans", "octets", "tcpi_bytes_retrans, its lower 32 bits", |facts| {
        facts.wrapped(InfoField::BytesRetrans)
    }),
    Variable::exact("SegsIn", "segments", "tcpi_segs_in", |facts| facts.number(InfoField::SegsIn)),
    Variable::exact("DataSegsIn", "segments", "tcpi_data_segs_in", |facts| {
        facts.number(InfoField::DataSegsIn)
    }),
    Variable::approximate(
        "DataOctetsIn",
        "octets",
        "as ThruOctetsReceived: a lower bound, because octets that came twice count here",
        |facts| facts.octets_received().map(|octets| EstatsValue::Number(super::low_half(octets))),
    ),
    Variable::approximate(
        "HCDataOctetsIn",
        "octets",
        "as HCThruOctetsReceived: a lower bound, because octets that came twice count here",
        |facts| facts.octets_received().map(EstatsValue::Number),
    ),
    Variable::missing("ElapsedSecs", "seconds", Missing::Events),
    Variable::missing("ElapsedMicroSecs", "microseconds", Missing::Events),
    Variable::missing("StartTimeStamp", "", Missing::Events),
    Variable::exact("CurMSS", "octets", "tcpi_snd_mss", |facts| facts.number(InfoField::SndMss)),
    Variable::derived(
        "PipeSize",
        "octets",
        "(tcpi_unacked + tcpi_retrans - tcpi_sacked - tcpi_lost) * tcpi_snd_mss",
        |facts| facts.pipe().map(EstatsValue::Number),
    ),
    Variable::approximate("MaxPipeSize", "octets", "the largest PipeSize of all lists", |facts| {
        facts.extreme(Extreme::MaxPipe)
    }),
    Variable::exact("SmoothedRTT", "milliseconds", "tcpi_rtt / 1000", |facts| {
        facts.milliseconds(InfoField::Rtt)
    }),
    Variable::exact("CurRTO", "milliseconds", "tcpi_rto / 1000", |facts| facts.milliseconds(InfoField::Rto)),
    Variable::missing("CongSignals", "events", Missing::Events),
    Variable::derived("CurCwnd", "octets", "tcpi_snd_cwnd * tcpi_snd_mss", |facts| {
        facts.in_bytes(InfoField::SndCwnd).map(EstatsValue::Number)
    }),
    Variable::derived(
        "CurSsthresh",
        "octets",
        "tcpi_snd_ssthresh * tcpi_snd_mss; null while it was never set",
        |facts| facts.in_bytes(InfoField::SndSsthresh).map(EstatsValue::Number),
    ),
    Variable::exact("Timeouts", "events", "tcpi_total_rto_recoveries (Linux 6.7)", |facts| {
        facts.number(InfoField::TotalRtoRecoveries)
    }),
    Variable::exact("CurRwinSent", "octets", "tcpi_rcv_wnd (Linux 6.2)", |facts| {
        facts.number(InfoField::RcvWnd)
    }),
    Variable::approximate("MaxRwinSent", "octets", "the largest CurRwinSent of all lists", |facts| {
        facts.extreme(Extreme::MaxRwinSent)
    }),
    Variable::missing("ZeroRwinSent", "acknowledgments", Missing::Segments),
    Variable::exact("CurRwinRcvd", "octets", "tcpi_snd_wnd", |facts| facts.number(InfoField::SndWnd)),
    Variable::approximate("MaxRwinRcvd", "octets", "the largest CurRwinRcvd of all lists", |facts| {
        facts.extreme(Extreme::MaxRwinRcvd)
    }),
    Variable::missing("ZeroRwinRcvd", "acknowledgments", Missing::Segments),
    Variable::missing("SndLimTransRwin", "transitions", Missing::Events),
    Variable::missing("SndLimTransCwnd", "transitions", Missing::Events),
    Variable::missing("SndLimTransSnd", "transitions", Missing::Events),
    Variable::exact("SndLimTimeRwin", "milliseconds", "tcpi_rwnd_limited / 1000", |facts| {
        facts.milliseconds(InfoField::RwndLimited)
    }),
    Variable::derived(
        "SndLimTimeCwnd",
        "milliseconds",
        "(tcpi_busy_time - tcpi_rwnd_limited - tcpi_sndbuf_limited) / 1000; pacing counts here, too",
        |facts| {
            let [busy, rwnd, sndbuf] =
                [InfoField::BusyTime, InfoField::RwndLimited, InfoField::SndbufLimited]
                    .map(|field| facts.get(field));
            Some(EstatsValue::Milliseconds { us: busy?.saturating_sub(rwnd? + sndbuf?) })
        },
    ),
    Variable::missing("SndLimTimeSnd", "milliseconds", Missing::Events),
];
