//! What the connections of a scene were, so that none passes without having had what it is for.

use std::collections::BTreeMap;

use lab::Counters;

use super::bench;
use super::story::Story;
use super::tshark::{Capture, FIN, Verdict};

/// The longest packet of an Ethernet of the usual MTU, in bytes.
const LONGEST_FRAME: u32 = 1_514;

/// Something that a scene can have, by the packets that tshark lists and by the wire's own counts.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Seen {
    Flows,
    Ipv4,
    Ipv6,
    NearOpens,
    FarOpens,
    Timestamps,
    NoTimestamps,
    /// It began before the handshake of the one before was over.
    Overlapping,
    PortsReused,
    Established,
    Refused,
    Unanswered,
    HalfOpen,
    Pending,
    ResetInHandshake,
    RepeatedSyn,
    RepeatedSynAck,
    /// Data or a FIN stood in for the ACK.
    UnseenAck,
    Closed,
    Reset,
    CutHeaders,
    /// Packets that are longer than the MTU.
    LongPackets,
    /// Packets that are captured in part.
    CutPackets,
    /// What tshark says of single packets.
    Retransmission,
    Fast,
    Spurious,
    OutOfOrder,
    KeepAlive,
    ZeroWindow,
    /// Of retransmits, FINs without data, and those of either host.
    RepeatedFin,
    AgainByNear,
    AgainByFar,
    /// What the wire did by chance.
    Lost,
    Duplicated,
    Reordered,
}

/// How often each was seen.
pub(super) fn tally(capture: &Capture, stories: &[Story<'_>]) -> BTreeMap<Seen, u64> {
    let mut seen = BTreeMap::new();
    let mut count = |what, times: usize| *seen.entry(what).or_default() += times as u64;
    let mut over_ns = 0;
    for story in stories {
        for (what, is_so) in traits(story) {
            count(what, usize::from(is_so));
        }
        count(Seen::Overlapping, usize::from(story.syns[0].time_ns < over_ns));
        count(Seen::PortsReused, usize::from(story.follows));
        over_ns = story.decision().map_or(over_ns, |frame| frame.time_ns.max(over_ns));
    }
    let frames = || capture.streams.iter().flat_map(|stream| &stream.frames);
    count(Seen::LongPackets, frames().filter(|frame| frame.len > LONGEST_FRAME).count());
    count(Seen::CutPackets, frames().filter(|frame| frame.captured < frame.len).count());
    for frame in frames() {
        count(Seen::ZeroWindow, usize::from(frame.has_zero_window));
        let Some(verdict) = frame.verdict else { continue };
        count(named(verdict), 1);
        if verdict.is_retransmit() {
            let by_near = bench::is_near(frame.source.ip());
            count(if by_near { Seen::AgainByNear } else { Seen::AgainByFar }, 1);
            count(Seen::RepeatedFin, usize::from(frame.has(FIN) && frame.payload == 0));
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

/// Adds what the wire did.
pub(super) fn add_wire(seen: &mut BTreeMap<Seen, u64>, wire: &[Counters]) {
    for way in wire {
        for (what, times) in
            [(Seen::Lost, way.lost), (Seen::Duplicated, way.duplicated), (Seen::Reordered, way.reordered)]
        {
            *seen.entry(what).or_default() += times;
        }
    }
}

fn traits(story: &Story<'_>) -> [(Seen, bool); 19] {
    let outcome = story.outcome();
    let near = bench::is_near(story.opener.ip());
    let timestamps = story.syns[0].timestamps.is_some();
    let ending = story.ending().map(|ending| ending.outcome);
    let unseen = story.completion.is_some_and(|ack| ack.payload > 0 || ack.has(FIN));
    [
        (Seen::Flows, true),
        (Seen::Ipv4, story.opener.is_ipv4()),
        (Seen::Ipv6, story.opener.is_ipv6()),
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
        (Seen::RepeatedSyn, story.syns.len() > 1),
        (Seen::RepeatedSynAck, story.syn_acks.len() > 1),
        (Seen::UnseenAck, unseen),
        (Seen::Closed, ending == Some("closed")),
        (Seen::Reset, ending == Some("reset")),
        (Seen::CutHeaders, story.cut() > 0),
    ]
}
