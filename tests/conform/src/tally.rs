//! Counts what a scene has shown, so that it fails if it did not show what it is for.

use std::collections::BTreeMap;

use lab::Counters;

use super::attempt::Attempt;
use super::bench;
use super::tshark::{Capture, FIN, Verdict};

/// The longest Ethernet frame with an MTU of 1,500 bytes.
const LONGEST_FRAME: u32 = 1_514;

/// Something that a scene can show, by tshark's packets and the wire's counters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Seen {
    Flows,
    Ipv4,
    Ipv6,
    NearOpens,
    FarOpens,
    Timestamps,
    NoTimestamps,
    /// Connections that began before the handshake of the one before was over.
    Overlapping,
    PortsReused,
    Established,
    Refused,
    Unanswered,
    HalfOpen,
    Pending,
    ResetInHandshake,
    RetransmittedSyn,
    RetransmittedSynAck,
    /// Handshakes completed by data or a FIN, without a pure ACK.
    UnseenAck,
    Closed,
    Reset,
    TruncatedHeaders,
    /// Packets that are longer than the MTU.
    LongPackets,
    /// Packets that are truncated in the capture.
    TruncatedPackets,
    /// Verdicts of tshark on single packets.
    Retransmission,
    Fast,
    Spurious,
    OutOfOrder,
    KeepAlive,
    ZeroWindow,
    /// Retransmits: FINs without data, and by host.
    RetransmittedFin,
    RetransmitByNear,
    RetransmitByFar,
    /// What the wire did at random.
    Lost,
    Duplicated,
    Reordered,
}

/// Counts how often each was seen.
pub(super) fn tally(capture: &Capture, attempts: &[Attempt<'_>]) -> BTreeMap<Seen, u64> {
    let mut seen = BTreeMap::new();
    let mut count = |what, times: usize| *seen.entry(what).or_default() += times as u64;
    let mut over_ns = 0;
    for attempt in attempts {
        for (what, is_so) in traits(attempt) {
            count(what, usize::from(is_so));
        }
        count(Seen::Overlapping, usize::from(attempt.syns[0].time_ns < over_ns));
        count(Seen::PortsReused, usize::from(attempt.follows));
        over_ns = attempt.decision().map_or(over_ns, |frame| frame.time_ns.max(over_ns));
    }
    let frames = || capture.streams.iter().flat_map(|stream| &stream.frames);
    count(Seen::LongPackets, frames().filter(|frame| frame.len > LONGEST_FRAME).count());
    count(Seen::TruncatedPackets, frames().filter(|frame| frame.captured < frame.len).count());
    for frame in frames() {
        count(Seen::ZeroWindow, usize::from(frame.has_zero_window));
        let Some(verdict) = frame.verdict else { continue };
        count(named(verdict), 1);
        if verdict.is_retransmit() {
            let by_near = bench::is_near(frame.source.ip());
            count(if by_near { Seen::RetransmitByNear } else { Seen::RetransmitByFar }, 1);
            count(Seen::RetransmittedFin, usize::from(frame.has(FIN) && frame.payload == 0));
        }
    }
    seen
}

fn named(verdict: Verdict) -> Seen {
    match verdict {
        Verdict::Spurious => Seen::Spurious,
        Verdict::Fast => Seen::Fast,
        Verdict::Retransmission => Seen::Retransmission,
        Verdict::OutOfOrder => Seen::OutOfOrder,
        Verdict::KeepAlive => Seen::KeepAlive,
    }
}

/// Adds the wire's counters.
pub(super) fn add_wire(seen: &mut BTreeMap<Seen, u64>, wire: &[Counters]) {
    for way in wire {
        for (what, times) in
            [(Seen::Lost, way.lost), (Seen::Duplicated, way.duplicated), (Seen::Reordered, way.reordered)]
        {
            *seen.entry(what).or_default() += times;
        }
    }
}

fn traits(attempt: &Attempt<'_>) -> [(Seen, bool); 19] {
    let outcome = attempt.outcome();
    let near = bench::is_near(attempt.opener.ip());
    let timestamps = attempt.syns[0].timestamps.is_some();
    let ending = attempt.ending().map(|ending| ending.outcome);
    let unseen = attempt.completion.is_some_and(|ack| ack.payload > 0 || ack.has(FIN));
    [
        (Seen::Flows, true),
        (Seen::Ipv4, attempt.opener.is_ipv4()),
        (Seen::Ipv6, attempt.opener.is_ipv6()),
        (Seen::NearOpens, near),
        (Seen::FarOpens, !near),
        (Seen::Timestamps, timestamps),
        (Seen::NoTimestamps, !timestamps),
        (Seen::Established, outcome == "established"),
        (Seen::Refused, outcome == "refused"),
        (Seen::Unanswered, outcome == "unanswered"),
        (Seen::HalfOpen, outcome == "half_open"),
        (Seen::Pending, outcome == "pending"),
        (Seen::ResetInHandshake, outcome == "reset"),
        (Seen::RetransmittedSyn, attempt.syns.len() > 1),
        (Seen::RetransmittedSynAck, attempt.syn_acks.len() > 1),
        (Seen::UnseenAck, unseen),
        (Seen::Closed, ending == Some("closed")),
        (Seen::Reset, ending == Some("reset")),
        (Seen::TruncatedHeaders, attempt.cut() > 0),
    ]
}
