//! What was sent again: what tcptop calls a retransmit and what tshark does, packet by packet.

use std::collections::{HashMap, VecDeque};

use super::compare::{Ledger, stories};
use super::ours::{Resent, Run};
use super::past::Past;
use super::reason::Reason;
use super::story::Story;
use super::tshark::{ACK, Capture, FIN, Frame, SYN, Verdict};

/// A hole that is filled this soon was no loss where the round-trip time is not known (hard case `reordering`).
const UNKNOWN_RTT_US: u64 = 3_000;
/// What tshark takes for the first round trip where it has not seen one.
const TSHARK_UNKNOWN_RTT_NS: u64 = 3_000_000;
/// As many holes tcptop remembers in each direction.
const HOLES: usize = 3;
/// tcptop measures holes and round trips in whole microseconds.
const GRAIN_US: u64 = 1;

/// How many packets are retransmits to both, and to one of them alone.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Score {
    pub(super) both: u64,
    pub(super) ours_alone: u64,
    pub(super) theirs_alone: u64,
}

impl Score {
    /// The share of those that tcptop tells which tshark tells, too.
    pub(super) fn precision(&self) -> f64 {
        share(self.both, self.both + self.ours_alone)
    }

    /// The share of those that tshark tells which tcptop tells, too.
    pub(super) fn recall(&self) -> f64 {
        share(self.both, self.both + self.theirs_alone)
    }

    pub(super) fn add(&mut self, other: Self) {
        self.both += other.both;
        self.ours_alone += other.ours_alone;
        self.theirs_alone += other.theirs_alone;
    }

    fn count(&mut self, ours: bool, theirs: bool) {
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
    let mut told: HashMap<_, VecDeque<&Resent>> = HashMap::new();
    for one in &run.resent {
        told.entry((one.time_ns, one.sender, one.receiver, one.seq)).or_default().push_back(one);
    }
    for story in &stories(capture) {
        for frame in &story.stream.frames {
            let key = (frame.time_ns, frame.source, frame.destination, frame.seq);
            let ours = told.get_mut(&key).and_then(VecDeque::pop_front);
            let theirs = frame.verdict.is_some_and(Verdict::is_retransmit);
            score.count(ours.is_some(), theirs);
            verdicts(ledger, story, frame, ours);
            if let Some(ours) = ours {
                details(ledger, story, frame, ours);
            }
        }
    }
    for one in told.into_values().flatten() {
        ledger.disagrees("a retransmit without a packet", one, &"none");
    }
    score
}

fn verdicts(ledger: &mut Ledger, story: &Story<'_>, frame: &Frame, ours: Option<&Resent>) {
    let theirs = frame.verdict;
    if ours.is_some() == theirs.is_some_and(Verdict::is_retransmit) {
        // What neither has anything to say of is no figure.
        if theirs.is_some() {
            ledger.agrees();
        }
    } else if let Some(reason) = why(story, frame, ours.is_some()) {
        ledger.differs(reason);
    } else {
        ledger.disagrees(&name(story, frame), &ours.map(|ours| &ours.kind), &theirs);
    }
}

fn name(story: &Story<'_>, frame: &Frame) -> String {
    format!("{}, packet {}", story.name(), frame.number)
}

/// Why the two differ in what this packet is, if it is what the definition of each gives.
fn why(story: &Story<'_>, frame: &Frame, ours: bool) -> Option<Reason> {
    let past = Past::of(story.stream, frame);
    let patience_us = patience_us(story, &past, frame);
    let (hole, since_newest_ns) = (past.hole(), past.since_newest_ns()?);
    let age_us = hole.map(|hole| hole.age_ns / 1_000);
    // For tshark it is out of order when it comes within the first round trip of the newest, and lies before that.
    let comes_soon = since_newest_ns < story.stream.initial_rtt_ns().unwrap_or(TSHARK_UNKNOWN_RTT_NS);
    let is_late = age_us.is_none_or(|age_us| age_us + GRAIN_US >= patience_us);
    let Some(verdict) = frame.verdict else {
        return (is_late && past.has_syn_among_data()).then_some(Reason::SynAmongData);
    };
    match verdict {
        Verdict::OutOfOrder if ours && comes_soon => match hole {
            None => Some(Reason::RepeatsSoon),
            Some(_) if is_late => Some(Reason::OldHole),
            Some(hole) => (hole.opened_since >= HOLES).then_some(Reason::ForgottenHole),
        },
        Verdict::KeepAlive if ours => {
            let is_byte = frame.payload == 1 && past.ends_with_newest();
            (is_byte && hole.is_some() && is_late).then_some(Reason::LostByte)
        }
        verdict @ (Verdict::Fast | Verdict::Retransmission) if !ours => {
            let by_tshark = verdict == Verdict::Fast || past.ends_with_newest() || !comes_soon;
            (by_tshark && age_us? <= patience_us + GRAIN_US).then_some(Reason::Overtaken)
        }
        _ => None,
    }
}

/// Within which time a hole must be filled for tcptop to take it for reordering: a round trip, and no more than 3 ms
/// where an ACK alone has overtaken what fills it.
fn patience_us(story: &Story<'_>, past: &Past<'_>, frame: &Frame) -> u64 {
    let completion = story.completion.filter(|ack| ack.number < frame.number);
    let round_trip = completion.and_then(|ack| {
        let answers = story.syn_acks_before(Some(ack));
        let [answer] = answers[..] else { return None };
        let syn = story.syns_before(Some(answer)).last().copied()?;
        (ack.lacks(FIN)).then(|| (ack.time_ns / 1_000).saturating_sub(syn.time_ns / 1_000))
    });
    let most_us = if past.ends_with_newest() { UNKNOWN_RTT_US } else { u64::MAX };
    round_trip.filter(|&us| us > 0).unwrap_or(UNKNOWN_RTT_US).min(most_us)
}

/// What tcptop says of a retransmit beside that it is one.
fn details(ledger: &mut Ledger, story: &Story<'_>, frame: &Frame, ours: &Resent) {
    let what = |what: &str| format!("{}: {what}", name(story, frame));
    let kind = match () {
        () if frame.is_syn_ack() => "syn_ack",
        () if frame.has(SYN) => "syn",
        () if frame.has(FIN) => "fin",
        () => "data",
    };
    ledger.same(&what("kind"), Some(ours.kind.as_str()), Some(kind));
    ledger.same(&what("length"), Some(ours.len), Some(frame.payload.into()));
    let past = Past::of(story.stream, frame);
    if frame.has(SYN) {
        let since_ns = past.since_last_ns(frame.flags & (SYN | ACK));
        return ledger.same(&what("after"), ours.after_ns, since_ns);
    }
    let hole = past.hole();
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
