//! What the kernel knows of a connection's socket, in words.

use super::Fact;
use crate::output::format::{UNKNOWN, age, bytes, counted, duration, maybe_duration};
use tcptop_core::{InfoField, KernelSocket, Socket, TcpInfo, TimerKind};

/// Of the connection with this socket, as it is at `now_ns`.
pub(super) fn facts(known: &KernelSocket, now_ns: u64) -> Vec<Fact> {
    let KernelSocket { socket, at_ns } = known;
    let past_ns = now_ns.saturating_sub(*at_ns);
    let when = if past_ns < 2_000_000_000 { String::new() } else { format!(", {} ago", age(past_ns)) };
    let mut facts = vec![("kernel", format!("{}{when}: {}", socket.state.name(), queues(socket)))];
    if let Some(info) = &socket.info {
        facts.extend([("", round_trips(info)), ("", congestion(socket, info)), ("", sent(info))]);
    }
    facts
}

fn queues(socket: &Socket) -> String {
    let [unread, unacknowledged] = [socket.receive_queue, socket.send_queue].map(|queue| bytes(queue.into()));
    let timer = socket.timer.map(|timer| {
        let what = match timer.kind {
            TimerKind::Retransmit => "retransmit",
            TimerKind::KeepAlive => "keep-alive",
            TimerKind::TimeWait => "end of TIME-WAIT",
            TimerKind::WindowProbe => "window probe",
        };
        let past = if timer.count > 0 { format!(" after {}", timer.count) } else { String::new() };
        format!(", {what} in {}{past}", duration(u64::from(timer.expires_ms) * 1_000_000))
    });
    format!("{unread} not read, {unacknowledged} not acknowledged{}", timer.unwrap_or_default())
}

fn round_trips(info: &TcpInfo) -> String {
    let time = |field| maybe_duration(info.get(field).map(|us| us * 1_000));
    format!(
        "srtt {} (variation {}), min rtt {}, rto {}",
        time(InfoField::Rtt),
        time(InfoField::Rttvar),
        time(InfoField::MinRtt),
        time(InfoField::Rto)
    )
}

fn congestion(socket: &Socket, info: &TcpInfo) -> String {
    let count = |field| info.get(field).map_or_else(|| UNKNOWN.to_owned(), |count: u64| count.to_string());
    let state = match info.get(InfoField::CaState) {
        Some(0) => "open",
        Some(1) => "disorder",
        Some(2) => "CWR",
        Some(3) => "recovery",
        Some(4) => "loss",
        Some(_) | None => UNKNOWN,
    };
    let algorithm = socket.congestion.as_ref().map_or(UNKNOWN, |congestion| congestion.algorithm.name());
    format!(
        "{algorithm} {state}: cwnd {}, ssthresh {}, mss {}, {} in flight, {} taken for lost",
        count(InfoField::SndCwnd),
        count(InfoField::SndSsthresh),
        count(InfoField::SndMss),
        count(InfoField::Unacked),
        count(InfoField::Lost)
    )
}

fn sent(info: &TcpInfo) -> String {
    let amount = |field| info.get(field).map_or_else(|| UNKNOWN.to_owned(), bytes);
    let retransmits = info.get(InfoField::TotalRetrans);
    let retransmits =
        retransmits.map_or_else(|| UNKNOWN.to_owned(), |segments| counted(segments, "retransmit"));
    let rate = info.get(InfoField::DeliveryRate);
    let rate = rate.map(|rate| format!(", delivered at {}/s lately", bytes(rate))).unwrap_or_default();
    format!(
        "sent {} ({retransmits}), {} acknowledged, {} received since it was opened{rate}",
        amount(InfoField::BytesSent),
        amount(InfoField::BytesAcked),
        amount(InfoField::BytesReceived)
    )
}
