//! Where tcptop and tshark differ on purpose. Each is counted; a difference without a reason fails.

/// Why two figures are not the same. Who gives one has checked its condition on the packets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Reason {
    RepeatedSyn,
    RepeatedSynAck,
    RstIsNoAck,
    UnseenAck,
    LateSyn,
    StaleSegment,
    CutHeaders,
    RepeatsSoon,
    OldHole,
    Overtaken,
    ForgottenHole,
    LostByte,
    SynAmongData,
}

/// Each with its name and what is behind it.
#[rustfmt::skip]
pub(super) const REASONS: [(Reason, &str, &str); 13] = [
    (Reason::RepeatedSyn, "repeated SYN",
        "tshark counts from the latest SYN before the ACK, whichever was answered; tcptop from the \
         one that was, and gives bounds where nothing tells"),
    (Reason::RepeatedSynAck, "repeated SYN-ACK",
        "the SYN-ACK was repeated: tshark counts the wait for that; tcptop leaves it out where the \
         ACK's echo names the last one, and gives bounds where nothing tells"),
    (Reason::RstIsNoAck, "RST is no ACK",
        "a RST has the ACK flag, which ends the handshake for tshark; tcptop gives no RTT, and the \
         time to a refusal apart"),
    (Reason::UnseenAck, "unseen ACK",
        "the ACK was not seen, and a later segment shows that there was one: tshark takes its time, \
         tcptop none"),
    (Reason::LateSyn, "late SYN",
        "a SYN came again after the outcome was told, and is not in what was told"),
    (Reason::StaleSegment, "stale segment",
        "a late segment of the connection before on the same ports ends the handshake for tshark; its \
         numbers do not fit, so that tcptop passes it over"),
    (Reason::CutHeaders, "cut headers",
        "the capture ends within the TCP options: tshark gives no RTT; tcptop needs no more than \
         flags and numbers"),
    (Reason::RepeatsSoon, "repeats soon",
        "all its numbers have passed, so that tcptop calls it a retransmit; tshark calls it out of \
         order, for it comes within the first round trip of the newest segment"),
    (Reason::OldHole, "old hole",
        "it fills a hole that is older than a round trip, so that tcptop calls it a retransmit; \
         tshark calls it out of order, for it comes within the first round trip of the newest segment"),
    (Reason::Overtaken, "overtaken",
        "it fills a hole that is younger than a round trip, so that it was overtaken for tcptop; \
         tshark calls it a retransmission, for two ACKs asked for it or it ends with the newest \
         number"),
    (Reason::ForgottenHole, "forgotten hole",
        "it fills a hole that tcptop has forgotten, which remembers the latest three in each \
         direction: a retransmit, of which nothing tells after which time"),
    (Reason::LostByte, "lost byte",
        "one byte just below the newest number is a keep-alive for tshark; tcptop calls it a \
         retransmit where that byte had not passed, as an ACK had shown"),
    (Reason::SynAmongData, "SYN among data",
        "a late SYN of the connection passed after its data, from which tshark counts on as if none \
         had: what follows is new to it; tcptop calls it a retransmit"),
];

impl Reason {
    pub(super) fn name(self) -> &'static str {
        REASONS[self as usize].1
    }
}
