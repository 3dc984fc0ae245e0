//! Where tcptop and tshark differ by design. Each difference is counted; one without a reason fails the run.

/// Why two figures differ. The code that returns a reason has checked its condition on the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    RetransmittedSyn,
    RetransmittedSynAck,
    RstIsNoAck,
    UnseenAck,
    LateSyn,
    StaleSegment,
    TruncatedHeaders,
    EarlyRetransmit,
    OldHole,
    SentLater,
    SentEarlier,
    Overtaken,
    ForgottenHole,
    LostByte,
    SynAmongData,
    Copy,
}

/// Every reason with its name and an explanation.
#[rustfmt::skip]
pub(super) const REASONS: [(Reason, &str, &str); 16] = [
    (Reason::RetransmittedSyn, "retransmitted SYN",
        "tshark measures from the latest SYN before the ACK, whichever was answered; tcptop from the one \
         that was answered, or it reports bounds if that is not known"),
    (Reason::RetransmittedSynAck, "retransmitted SYN-ACK",
        "tshark's figure includes the wait for the retransmit of the SYN-ACK; tcptop leaves it out if the \
         ACK's timestamp echoes the last one, and reports bounds otherwise"),
    (Reason::RstIsNoAck, "RST is no ACK",
        "a RST with the ACK flag ends the handshake for tshark; tcptop reports no RTT, and the time to the \
         refusal separately"),
    (Reason::UnseenAck, "unseen ACK",
        "the ACK was not seen, and a later segment implies it: tshark takes the time of that segment, \
         tcptop none"),
    (Reason::LateSyn, "late SYN",
        "a SYN arrived after the outcome was reported, and is not counted"),
    (Reason::StaleSegment, "stale segment",
        "a late segment of an earlier connection on the same ports ends the handshake for tshark; tcptop \
         ignores it, because its numbers do not fit"),
    (Reason::TruncatedHeaders, "truncated headers",
        "the capture ends within the TCP options: tshark reports no RTT; tcptop only needs flags and \
         numbers"),
    (Reason::EarlyRetransmit, "early retransmit",
        "all of its numbers have passed before, so tcptop calls it a retransmit; tshark calls it out of \
         order, because it arrives within the initial round trip of the newest segment"),
    (Reason::OldHole, "old hole",
        "it fills a hole that is older than a round trip, so tcptop calls it a retransmit; tshark calls it \
         out of order, because it arrives within the initial round trip of the newest segment"),
    (Reason::SentLater, "sent later",
        "it fills a hole and was sent after the segment that opened it, by its sender's TSval or IP ID, so \
         tcptop calls it a retransmit; tshark calls it out of order, because it arrives soon"),
    (Reason::SentEarlier, "sent earlier",
        "it was sent before a segment that passed before it, by its sender's TSval or IP ID, so tcptop calls \
         it reordered; tshark calls it a retransmission by the time or the ACKs that it took"),
    (Reason::Overtaken, "overtaken",
        "it fills a hole that is younger than a round trip, so tcptop calls it reordered; tshark calls it a \
         retransmission, because two ACKs asked for it or it ends with the newest number"),
    (Reason::ForgottenHole, "forgotten hole",
        "it fills a hole that tcptop has forgotten, which remembers the latest six in each direction: a \
         retransmit without a time"),
    (Reason::LostByte, "lost byte",
        "tshark calls one byte just below the newest number a keep-alive; tcptop calls it a retransmit if \
         that byte had not passed, as an ACK had shown"),
    (Reason::SynAmongData, "SYN among data",
        "a late SYN of the connection passed after its data, and tshark restarts from it: what follows is \
         new data to tshark, and a retransmit to tcptop"),
    (Reason::Copy, "copy",
        "the same packet, duplicated on the way, by its IP ID or the gap: tshark calls it a retransmission, \
         tcptop does not count it"),
];

impl Reason {
    pub(super) fn name(self) -> &'static str {
        REASONS[self as usize].1
    }
}
