//! Compares retransmits: what tcptop and tshark call one, packet by packet.

use std::collections::{HashMap, VecDeque};

use super::attempt::Attempt;
use super::compare::{Ledger, attempts};
use super::earlier::Earlier;
use super::ours::{Retransmit, Run};
use super::reason::Reason;
use super::tshark::{ACK, Capture, FIN, Frame, SYN, Verdict};

/// A hole that is filled within this time is reordering if the round-trip time is not known (hard case `reordering`).
const UNKNOWN_RTT_US: u64 = 3_000;
/// The initial round-trip time that tshark assumes if it has not seen one.
const TSHARK_UNKNOWN_RTT_NS: u64 = 3_000_000;
/// How many holes tcptop remembers in each direction.
const HOLES: usize = 6;
/// tcptop measures holes and round trips in whole microseconds.
const GRAIN_US: u64 = 1;

/// How many packets both call retransmits, and how many only one of them does.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Score {
    pub(super) both: u64,
    pub(super) ours_alone: u64,
    pub(super) theirs_alone: u64,
    /// Packets that fill holes and whose senders' own counters say whether they were sent again.
    pub(super) judged: u64,
    /// Those of them that tcptop calls what the counters say.
    pub(super) ours_right: u64,
    /// Those of them that tshark calls what the counters say.
    pub(super) theirs_right: u64,
}

impl Score {
    /// The share of tcptop's retransmits that tshark reports as well.
    pub(super) fn precision(&self) -> f64 {
        share(self.both, self.both + self.ours_alone)
    }

    /// The share of tshark's retransmits that tcptop reports as well.
    pub(super) fn recall(&self) -> f64 {
        share(self.both, self.both + self.theirs_alone)
    }

    /// The shares of judged packets in which tcptop and tshark are right.
    pub(super) fn right(&self) -> [f64; 2] {
        [self.ours_right, self.theirs_right].map(|right| share(right, self.judged))
    }

    pub(super) fn add(&mut self, other: Self) {
        self.both += other.both;
        self.ours_alone += other.ours_alone;
        self.theirs_alone += other.theirs_alone;
        self.judged += other.judged;
        self.ours_right += other.ours_right;
        self.theirs_right += other.theirs_right;
    }

    fn count(&mut self, ours: bool, theirs: bool, is_sent_later: Option<bool>) {
        if let Some(is_sent_later) = is_sent_later {
            self.judged += 1;
            self.ours_right += u64::from(ours == is_sent_later);
            self.theirs_right += u64::from(theirs == is_sent_later);
        }
        // Where the counters say that tcptop is right, tshark is no measure for it.
        if is_sent_later == Some(ours) && ours != theirs {
            return;
        }
        self.both += u64::from(ours && theirs);
        self.ours_alone += u64::from(ours && !theirs);
        self.theirs_alone += u64::from(!ours && theirs);
    }
}

#[allow(clippy::cast_precision_loss, reason = "packets of a capture are far fewer than 2^53")]
fn share(part: u64, all: u64) -> f64 {
    if all == 0 { 1.0 } else { part as f64 / all as f64 }
}

/// Compares every packet of a capture.
pub(super) fn compare(ledger: &mut Ledger, capture: &Capture, run: &Run) -> Score {
    let mut score = Score::default();
    let mut reported: HashMap<_, VecDeque<&Retransmit>> = HashMap::new();
    for one in &run.retransmits {
        reported.entry((one.time_ns, one.sender, one.receiver, one.seq)).or_default().push_back(one);
    }
    for attempt in &attempts(capture) {
        for frame in &attempt.stream.frames {
            let key = (frame.time_ns, frame.source, frame.destination, frame.seq);
            let ours = reported.get_mut(&key).and_then(VecDeque::pop_front);
            let theirs = frame.verdict.is_some_and(Verdict::is_retransmit);
            if frame.is_copy && ours.is_none() {
                // It was sent once.
                if theirs {
                    ledger.differs(Reason::Copy);
                }
                continue;
            }
            let is_in_order = ours.is_none() && frame.verdict.is_none();
            let is_sent_later =
                if is_in_order { None } else { Earlier::of(attempt.stream, frame).is_sent_later() };
            score.count(ours.is_some(), theirs, is_sent_later);
            verdicts(ledger, attempt, frame, ours);
            if let Some(ours) = ours {
                details(ledger, attempt, frame, ours);
            }
        }
    }
    for one in reported.into_values().flatten() {
        ledger.disagrees("a retransmit without a packet", one, &"none");
    }
    score
}

fn verdicts(ledger: &mut Ledger, attempt: &Attempt<'_>, frame: &Frame, ours: Option<&Retransmit>) {
    let theirs = frame.verdict;
    if ours.is_some() == theirs.is_some_and(Verdict::is_retransmit) {
        // A packet without any verdict is no figure.
        if theirs.is_some() {
            ledger.agrees();
        }
    } else if let Some(reason) = why(attempt, frame, ours.is_some()) {
        ledger.differs(reason);
    } else {
        ledger.disagrees(&name(attempt, frame), &ours.map(|ours| &ours.kind), &theirs);
    }
}

fn name(attempt: &Attempt<'_>, frame: &Frame) -> String {
    format!("{}, packet {}", attempt.name(), frame.number)
}

/// Why the two differ about this packet, if each follows its own definition.
fn why(attempt: &Attempt<'_>, frame: &Frame, ours: bool) -> Option<Reason> {
    let earlier = Earlier::of(attempt.stream, frame);
    let patience_us = patience_us(attempt, &earlier, frame);
    let (hole, since_newest_ns) = (earlier.hole(), earlier.since_newest_ns()?);
    let age_us = hole.map(|hole| hole.age_ns / 1_000);
    // tshark calls a segment out of order if it arrives within the initial round trip after the newest, and is not the
    // newest.
    let comes_soon = since_newest_ns < attempt.stream.initial_rtt_ns().unwrap_or(TSHARK_UNKNOWN_RTT_NS);
    let is_late = age_us.is_none_or(|age_us| age_us + GRAIN_US >= patience_us);
    let Some(verdict) = frame.verdict else {
        return (is_late && earlier.has_syn_among_data()).then_some(Reason::SynAmongData);
    };
    match verdict {
        Verdict::OutOfOrder if ours && comes_soon => match hole {
            None => Some(Reason::EarlyRetransmit),
            Some(_) if earlier.is_sent_later() == Some(true) => Some(Reason::SentLater),
            Some(_) if is_late => Some(Reason::OldHole),
            Some(hole) => (hole.opened_since >= HOLES).then_some(Reason::ForgottenHole),
        },
        Verdict::KeepAlive if ours => {
            let is_byte = frame.payload == 1 && earlier.ends_with_newest();
            (is_byte && hole.is_some() && is_late).then_some(Reason::LostByte)
        }
        Verdict::Fast | Verdict::Retransmission | Verdict::Spurious if !ours && is_sent_earlier(&earlier) => {
            Some(Reason::SentEarlier)
        }
        verdict @ (Verdict::Fast | Verdict::Retransmission) if !ours => {
            let by_tshark = verdict == Verdict::Fast || earlier.ends_with_newest() || !comes_soon;
            (by_tshark && age_us? <= patience_us + GRAIN_US).then_some(Reason::Overtaken)
        }
        _ => None,
    }
}

/// Whether it was sent before the packet that opened the hole which it fills, or, where it fills none that tcptop remembers,
/// before any that passed.
fn is_sent_earlier(earlier: &Earlier<'_>) -> bool {
    let is_remembered = earlier.hole().is_some_and(|hole| hole.opened_since < HOLES);
    earlier.is_overtaken() && !(is_remembered && earlier.is_sent_later() == Some(true))
}

/// The time within which tcptop takes the filling of a hole for reordering: a round trip, but at most 3 ms if only an
/// ACK has overtaken the segment.
fn patience_us(attempt: &Attempt<'_>, earlier: &Earlier<'_>, frame: &Frame) -> u64 {
    let completion = attempt.completion.filter(|ack| ack.number < frame.number);
    let round_trip = completion.and_then(|ack| {
        let answers = attempt.syn_acks_before(Some(ack));
        let [answer] = answers[..] else { return None };
        let syn = attempt.syns_before(Some(answer)).last().copied()?;
        (ack.lacks(FIN)).then(|| (ack.time_ns / 1_000).saturating_sub(syn.time_ns / 1_000))
    });
    let most_us = if earlier.ends_with_newest() { UNKNOWN_RTT_US } else { u64::MAX };
    round_trip.filter(|&us| us > 0).unwrap_or(UNKNOWN_RTT_US).min(most_us)
}

/// Compares what else tcptop reports for a retransmit.
fn details(ledger: &mut Ledger, attempt: &Attempt<'_>, frame: &Frame, ours: &Retransmit) {
    let what = |what: &str| format!("{}: {what}", name(attempt, frame));
    let kind = match () {
        () if frame.is_syn_ack() => "syn_ack",
        () if frame.has(SYN) => "syn",
        () if frame.has(FIN) => "fin",
        () => "data",
    };
    ledger.same(&what("kind"), Some(ours.kind.as_str()), Some(kind));
    ledger.same(&what("length"), Some(ours.len), Some(frame.payload.into()));
    let earlier = Earlier::of(attempt.stream, frame);
    if frame.has(SYN) {
        let since_ns = earlier.since_last_ns(frame.flags & (SYN | ACK));
        return ledger.same(&what("after"), ours.after_ns, since_ns);
    }
    let hole = earlier.hole();
    match (ours.after_ns, hole.map(|hole| hole.age_ns)) {
        (Some(ours_ns), Some(theirs_ns)) if ours_ns.abs_diff(theirs_ns) <= GRAIN_US * 1_000 => {
            ledger.agrees()
        }
        (None, Some(_)) if hole.is_some_and(|hole| hole.opened_since >= HOLES) => {
            ledger.differs(Reason::ForgottenHole);
        }
        (ours_ns, theirs_ns) => ledger.same(&what("after"), ours_ns, theirs_ns),
    }
}
