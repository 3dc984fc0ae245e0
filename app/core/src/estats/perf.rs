//! `tcpEStatsPerfTable`.

use super::extremes::Extreme;
use probe_common::sums::Sum;

use super::{APPROXIMATE, DERIVED, EstatsValue, Missing, OF_SEGMENTS, Variable};
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
    Variable::counted(
        "ElapsedSecs",
        "seconds",
        DERIVED,
        "as ElapsedMicroSecs, in whole seconds",
        |facts, sums| Some(EstatsValue::Number(facts.elapsed_us(sums)? / 1_000_000)),
    ),
    Variable::counted(
        "ElapsedMicroSecs",
        "microseconds",
        DERIVED,
        "now - started_ns / 1000 - 1000 * min(tcpi_last_data_sent, tcpi_last_data_recv, tcpi_last_ack_recv)",
        |facts, sums| facts.elapsed_us(sums).map(EstatsValue::Number),
    ),
    Variable::counted(
        "StartTimeStamp",
        "",
        DERIVED,
        "started_ns: when it was begun, or accepted by the kernel; null for connections from before",
        |facts, sums| {
            let started_ns = sums.sum(Sum::Started).filter(|started_ns| *started_ns != 0)?;
            Some(EstatsValue::Ago { ns: facts.now_ns.checked_sub(started_ns)? })
        },
    ),
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
    Variable::counted(
        "CongSignals",
        "events",
        DERIVED,
        "cong_signals: entries into CWR, Recovery and Loss",
        |_, sums| sums.sum(Sum::Signals).map(EstatsValue::Number),
    ),
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
    Variable::counted(
        "ZeroRwinRcvd",
        "acknowledgments",
        OF_SEGMENTS,
        "zero_windows, while the connection is established",
        |_, sums| sums.of_segments(Sum::ZeroWindows).map(EstatsValue::Number),
    ),
    Variable::counted(
        "SndLimTransRwin",
        "transitions",
        APPROXIMATE,
        "limited_rwin: what limits the sender is looked at once a round trip",
        |_, sums| sums.sum(Sum::LimitedPeer).map(EstatsValue::Number),
    ),
    Variable::counted(
        "SndLimTransCwnd",
        "transitions",
        APPROXIMATE,
        "limited_cwnd: what limits the sender is looked at once a round trip; pacing counts here, too",
        |_, sums| sums.sum(Sum::LimitedCwnd).map(EstatsValue::Number),
    ),
    Variable::counted(
        "SndLimTransSnd",
        "transitions",
        APPROXIMATE,
        "limited_sender: what limits the sender is looked at once a round trip",
        |_, sums| sums.sum(Sum::LimitedSender).map(EstatsValue::Number),
    ),
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
    Variable::counted(
        "SndLimTimeSnd",
        "milliseconds",
        DERIVED,
        "as ElapsedMicroSecs, less (tcpi_busy_time - tcpi_sndbuf_limited), in milliseconds",
        |facts, sums| {
            let [busy, sndbuf] =
                [InfoField::BusyTime, InfoField::SndbufLimited].map(|field| facts.get(field));
            let busy_us = busy?.saturating_sub(sndbuf?);
            Some(EstatsValue::Milliseconds { us: facts.elapsed_us(sums)?.saturating_sub(busy_us) })
        },
    ),
];
