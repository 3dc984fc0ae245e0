//! Scenes with many retransmits, each for one cause.
//!
//! The wire is faster during the handshakes than later, like a path whose queues fill: a round trip under load is
//! longer than the initial one, which both tools use. It is less than twice as long; otherwise tail loss probes would
//! be sent before an answer could arrive (RFC 8985, 7.2).

use std::time::Duration;

use lab::{Direction, Kind, Match, Medium, Rule, near_v4, near_v6};

use super::super::bench::Bench;
use super::super::bench::Kind::Wire;
use super::super::reason::Reason;
use super::super::tally::Seen;
use super::super::traffic::talk::{Talk, idle, talk, unread};
use super::{Scene, scene};

/// One-way delay during the handshakes, and later.
const AT_FIRST: Duration = Duration::from_millis(10);
const LATER: Duration = Duration::from_millis(16);
/// Longer than Linux's minimum retransmission timeout (200 ms; RFC 6298 says 1 s).
const FAR_LATER: Duration = Duration::from_millis(180);
/// A SYN that is delayed by this arrives after the one that is sent a second later, and among the data that follows.
const OVERTAKEN_SYN: Duration = Duration::from_millis(1_150);
/// A segment that is delayed by this is overtaken by those sent with it, but not by the answer to them.
const HELD_BACK: Duration = Duration::from_millis(1);

/// Two segments each.
const SHORT: Talk = Talk { lanes: 20, turns: 15, len: 2_000 };
const MANY_SHORT: Talk = Talk { lanes: 60, ..SHORT };
/// Six segments each.
const LONGER: Talk = Talk { lanes: 8, turns: 10, len: 8_000 };
/// As much as the window allows.
const BULK: Talk = Talk { lanes: 2, turns: 1, len: 200_000 };
const THREE_FLIGHTS: Talk = Talk { lanes: 1, turns: 1, len: 60_000 };
/// Long enough for the senders to learn the round-trip time.
const FEW: Talk = Talk { lanes: 20, turns: 2, len: 2_000 };
const SIX_SEGMENTS: Talk = Talk { lanes: 2, turns: 1, len: 8_000 };
const BYTES: Talk = Talk { lanes: 4, turns: 2, len: 1 };

/// Scenes in which retransmits are seen where they are sent and where they arrive.
const AGAIN: [(Seen, u64); 2] = [(Seen::RetransmitByNear, 20), (Seen::RetransmitByFar, 20)];

pub(super) fn all() -> Vec<Scene> {
    [by_chance(), by_design()].concat()
}

fn calm(name: &'static str, traffic: fn(&Bench) -> anyhow::Result<()>, least: &[(Seen, u64)]) -> Scene {
    let mut scene = scene(name, traffic, least);
    scene.conditions.script.rules = vec![Rule::delay(Match::any(), AT_FIRST)];
    scene.later(Rule::delay(Match::any(), LATER))
}

fn by_chance() -> Vec<Scene> {
    let lost = |scene: Scene, share| scene.later(Rule::lose(Match::any(), share));
    let twice = |scene: Scene, share| scene.later(Rule::duplicate(Match::any(), share));
    let held_back = |scene: Scene, share| scene.later(Rule::reorder(Match::any(), share, HELD_BACK));
    let short = |name, least: &[(Seen, u64)]| calm(name, |bench| talk(bench, SHORT), least);
    let many = |name| calm(name, |bench| talk(bench, MANY_SHORT), &AGAIN);
    let longer =
        |name, least: &[(Seen, u64)]| calm(name, |bench| talk(bench, LONGER), &[&AGAIN[..], least].concat());
    let long_frames = longer("long frames, loss", &[(Seen::LongPackets, 200)]).over(Wire(Medium::LongFrames));
    vec![
        lost(many("messages, loss"), 0.05),
        lost(many("messages, loss, no SACK"), 0.05).without_sack(),
        lost(many("messages, loss, no timestamps"), 0.05).without_timestamps(),
        lost(longer("longer messages, loss", &[(Seen::Fast, 10)]), 0.04),
        lost(longer("longer messages, loss, no SACK", &[(Seen::Fast, 5)]), 0.04).without_sack(),
        lost(long_frames, 0.06),
        lost(calm("bulk, loss", |bench| talk(bench, BULK), &[(Seen::Fast, 3)]), 0.01),
        twice(short("messages, duplication", &[(Seen::Copies, 200)]), 0.15),
        held_back(short("messages, reordering", &[(Seen::OutOfOrder, 20)]), 0.05),
        held_back(twice(lost(short("messages, all of it", &AGAIN), 0.04), 0.05), 0.05),
    ]
}

fn by_design() -> Vec<Scene> {
    // A rule for the n-th data segments or FINs of each connection, each way.
    let both = |scene: Scene, rule: fn(Match) -> Rule, matching: Match, numbers: &[u64]| {
        let ways = [Direction::ToFar, Direction::ToNear];
        let all = ways.into_iter().flat_map(|way| numbers.iter().map(move |number| (way, *number)));
        all.fold(scene, |scene, (way, number)| scene.later(rule(matching.direction(way).nth(number))))
    };
    let (data, fins) = (Match::kind(Kind::Data), Match::kind(Kind::Fin));
    let few = |name, least: &[(Seen, u64)]| calm(name, |bench| talk(bench, FEW), least);
    // One connection each: tshark is wrong here, and more would dominate the total.
    let one_each = |name| Scene {
        least: vec![(Seen::Established, 4)],
        ..calm(name, |bench| talk(bench, THREE_FLIGHTS), &[])
    };
    // IPv6 has no IP ID: without timestamps only the time is left.
    let of_one_v6 = data.address(near_v6(1));
    let (of_one, hold_back) = (data.address(near_v4(1)), |matching| Rule::reorder(matching, 1.0, HELD_BACK));
    let mut jump = few("delay jumps", &[(Seen::Spurious, 50)]);
    jump.conditions.later.rules = vec![Rule::delay(Match::any(), FAR_LATER)];
    vec![
        jump,
        both(few("tails lost", &[(Seen::Retransmission, 50)]), Rule::drop, data, &[2, 5]),
        both(few("first FIN lost", &[(Seen::RetransmittedFin, 40)]), Rule::drop, fins, &[1]),
        both(one_each("two lost at once"), Rule::drop, of_one, &[20, 22])
            .reasons(&[Reason::EarlyRetransmit, Reason::SentLater]),
        both(
            one_each("two lost at once, no counters").without_timestamps(),
            Rule::drop,
            of_one_v6,
            &[20, 22],
        )
        .reasons(&[Reason::OldHole]),
        both(one_each("one overtaken").without_sack(), hold_back, of_one, &[2])
            .reasons(&[Reason::SentEarlier]),
        both(
            one_each("one overtaken, no counters").without_sack().without_timestamps(),
            hold_back,
            of_one_v6,
            &[2],
        )
        .reasons(&[Reason::Overtaken]),
        both(one_each("many overtaken"), hold_back, of_one, &[2, 4, 6, 8, 10]),
        both(one_each("many lost at once"), Rule::drop, of_one, &[12, 14, 16, 18, 20, 22, 24, 26])
            .reasons(&[Reason::ForgottenHole]),
        single_bytes(),
        late_syns(),
        Scene { never: &[Seen::Retransmission], ..calm("keep-alives", idle, &[(Seen::KeepAlive, 32)]) },
        calm("windows closed", unread, &[(Seen::ZeroWindow, 20), (Seen::KeepAlive, 10)]),
    ]
}

/// Segments of one byte are lost, and so are their first retransmits: outbound in one family, inbound in the other.
/// There, a retransmit from the other end is answered by an ACK that reveals the loss.
fn single_bytes() -> Scene {
    let scene = calm("single bytes lost", |bench| talk(bench, BYTES), &[(Seen::KeepAlive, 4)]);
    let lost = [(Direction::ToFar, near_v6(1)), (Direction::ToNear, near_v4(1))];
    let lost = lost.map(|(way, near)| Match::kind(Kind::Data).direction(way).address(near));
    let twice = lost.into_iter().flat_map(|matching| [1, 2].map(|number| matching.nth(number)));
    twice.fold(scene, |scene, matching| scene.later(Rule::drop(matching))).reasons(&[Reason::LostByte])
}

/// The first SYNs of the far host arrive after their retransmits. Data is lost as well: its second segment is also the
/// sixth of those that remain.
fn late_syns() -> Scene {
    let from_far = |kind| Match::kind(kind).direction(Direction::ToNear);
    let mut scene = calm("late SYNs", |bench| talk(bench, SIX_SEGMENTS), &[(Seen::RetransmitByFar, 4)]);
    scene.conditions.script.rules.insert(0, Rule::reorder(from_far(Kind::Syn).nth(1), 1.0, OVERTAKEN_SYN));
    let lost = [2, 6].map(|number| Rule::drop(from_far(Kind::Data).nth(number)));
    scene.conditions.later.rules.splice(0..0, lost);
    scene.reasons(&[Reason::SynAmongData, Reason::LateSyn])
}
