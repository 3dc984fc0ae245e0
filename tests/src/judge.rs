//! What becomes of each frame: the script, with its chance and its counts. Pure: no clock, no interface.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::time::Duration;

use fastrand::Rng;

use crate::frame::TcpFrame;
use crate::script::{Direction, Effect, Kind, Match, Occurrence, Rule, Script};

/// Flows whose occurrences are counted. When more are under way, counting starts anew for all: a lab that runs
/// for days stays small, and no test opens that many flows under such a rule.
const FLOW_LIMIT: usize = 1 << 18;

/// What becomes of one frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Verdict {
    Pass { delay: Duration, twice: bool, held_back: bool },
    Dropped,
    Lost,
}

/// A script being followed.
#[derive(Debug)]
pub(crate) struct Judge {
    rules: Vec<LiveRule>,
    /// Empty while no rule counts occurrences.
    flows: Flows,
}

type Flows = HashMap<[SocketAddr; 2], Flow>;

#[derive(Debug)]
struct LiveRule {
    rule: Rule,
    to_far: Rng,
    to_near: Rng,
}

#[derive(Debug, Default)]
struct Flow {
    isn: Option<u32>,
    /// For each rule, how many frames fitted all but its occurrence.
    seen: Vec<u64>,
}

impl Judge {
    pub(crate) fn new(script: Script) -> Self {
        let mut seed = Rng::with_seed(script.seed);
        let live = |rule| LiveRule { rule, to_far: seed.fork(), to_near: seed.fork() };
        Self { rules: script.rules.into_iter().map(live).collect(), flows: HashMap::new() }
    }

    pub(crate) fn judge(&mut self, direction: Direction, frame: &TcpFrame) -> Verdict {
        let mut flow = counted_flow(&self.rules, &mut self.flows, frame);
        let mut delay = Duration::ZERO;
        let (mut twice, mut held_back) = (false, false);
        for (place, live) in self.rules.iter_mut().enumerate() {
            if !fits(&live.rule.matching, direction, frame) {
                continue;
            }
            let counted = match &mut flow {
                Some(flow) => occurs(live.rule.matching.occurrence, &mut flow.seen[place]),
                None => true,
            };
            if !counted {
                continue;
            }
            let chance = match direction {
                Direction::ToFar => &mut live.to_far,
                Direction::ToNear => &mut live.to_near,
            };
            match live.rule.effect {
                Effect::Delay(each_way) => delay += each_way,
                Effect::Drop => return Verdict::Dropped,
                Effect::Lose(probability) if chance.f64() < probability => return Verdict::Lost,
                Effect::Lose(_) => {}
                Effect::Duplicate(probability) => twice |= chance.f64() < probability,
                Effect::Reorder { probability, extra } if chance.f64() < probability => {
                    held_back = true;
                    delay += extra;
                }
                Effect::Reorder { .. } => {}
            }
        }
        Verdict::Pass { delay, twice, held_back }
    }
}

/// The counts of the frame's flow; `None` when no rule counts.
fn counted_flow<'f>(rules: &[LiveRule], flows: &'f mut Flows, frame: &TcpFrame) -> Option<&'f mut Flow> {
    rules.iter().find(|live| live.rule.matching.occurrence != Occurrence::Every)?;
    if flows.len() >= FLOW_LIMIT {
        flows.clear();
    }
    let flow = flows.entry(frame.ends()).or_default();
    if frame.kind == Kind::Syn && flow.isn != Some(frame.seq) {
        *flow = Flow { isn: Some(frame.seq), seen: Vec::new() };
    }
    flow.seen.resize(rules.len(), 0);
    Some(flow)
}

/// Does the frame fit all but the occurrence?
fn fits(matching: &Match, direction: Direction, frame: &TcpFrame) -> bool {
    matching.direction.is_none_or(|wanted| wanted == direction)
        && matching.kind.is_none_or(|wanted| wanted == frame.kind)
        && matching.address.is_none_or(|address| frame.concerns_address(address))
        && matching.longer_than.is_none_or(|bytes| frame.ip_len > bytes)
        && matching.port.is_none_or(|port| frame.concerns_port(port))
}

/// Counts one more, and answers whether it is meant.
fn occurs(occurrence: Occurrence, seen: &mut u64) -> bool {
    *seen += 1;
    match occurrence {
        Occurrence::Every => true,
        Occurrence::First(count) => *seen <= count,
        Occurrence::Nth(number) => *seen == number,
    }
}

#[cfg(test)]
mod tests {
    use super::{Judge, Verdict};
    use crate::frame::TcpFrame;
    use crate::script::{Direction, Kind, Match, Rule, Script};
    use std::net::SocketAddr;
    use std::time::Duration;

    const TAIL: Duration = Duration::from_millis(180);

    fn frame(kind: Kind, source: &str, destination: &str, seq: u32) -> TcpFrame {
        let [source, destination] = [source, destination].map(|text| text.parse::<SocketAddr>().unwrap());
        TcpFrame { source, destination, kind, seq, ip_len: 40 }
    }

    fn pass(delay: Duration) -> Verdict {
        Verdict::Pass { delay, twice: false, held_back: false }
    }

    #[test]
    fn an_empty_script_does_nothing() {
        let mut judge = Judge::new(Script::default());
        let syn = frame(Kind::Syn, "10.9.0.1:40000", "10.9.0.11:80", 1);
        assert_eq!(judge.judge(Direction::ToFar, &syn), pass(Duration::ZERO));
    }

    #[test]
    fn the_first_syn_of_each_flow_and_of_a_reused_tuple() {
        let mut judge = Judge::new(Script::default().with(Rule::drop(Match::syn().first(1))));
        let mut judge_syn = |port: u16, seq| {
            let syn = frame(Kind::Syn, &format!("10.9.0.1:{port}"), "10.9.0.11:80", seq);
            judge.judge(Direction::ToFar, &syn)
        };
        assert_eq!(judge_syn(40000, 7), Verdict::Dropped);
        assert_eq!(judge_syn(40000, 7), pass(Duration::ZERO), "the retry");
        assert_eq!(judge_syn(40001, 7), Verdict::Dropped, "another flow");
        assert_eq!(judge_syn(40000, 8), Verdict::Dropped, "the tuple again, as a new flow");
    }

    #[test]
    fn every_syn_ack_from_a_port() {
        let mut judge = Judge::new(Script::default().with(Rule::drop(Match::syn_ack().port(81))));
        let closed = frame(Kind::SynAck, "10.9.0.11:81", "10.9.0.1:40000", 1);
        let open = frame(Kind::SynAck, "10.9.0.11:80", "10.9.0.1:40000", 1);
        for _ in 0..3 {
            assert_eq!(judge.judge(Direction::ToNear, &closed), Verdict::Dropped);
            assert_eq!(judge.judge(Direction::ToNear, &open), pass(Duration::ZERO));
        }
    }

    #[test]
    fn the_second_data_segment_one_way() {
        let second = Match::kind(Kind::Data).direction(Direction::ToFar).nth(2);
        let mut judge = Judge::new(Script::default().with(Rule::drop(second)));
        let data = frame(Kind::Data, "10.9.0.1:40000", "10.9.0.11:80", 1);
        let answer = frame(Kind::Data, "10.9.0.11:80", "10.9.0.1:40000", 1);
        assert_eq!(judge.judge(Direction::ToFar, &data), pass(Duration::ZERO));
        assert_eq!(judge.judge(Direction::ToNear, &answer), pass(Duration::ZERO));
        assert_eq!(judge.judge(Direction::ToFar, &data), Verdict::Dropped);
        assert_eq!(judge.judge(Direction::ToFar, &data), pass(Duration::ZERO));
    }

    #[test]
    fn delays_add_up_for_an_address_either_way() {
        let slow: std::net::IpAddr = "10.9.0.14".parse().unwrap();
        let base = Duration::from_millis(20);
        let script = Script::default().delay(base).with(Rule::delay(Match::any().address(slow), TAIL));
        let mut judge = Judge::new(script);
        let to = frame(Kind::Syn, "10.9.0.1:40000", "10.9.0.14:80", 1);
        let from = frame(Kind::SynAck, "10.9.0.14:80", "10.9.0.1:40000", 1);
        let other = frame(Kind::Syn, "10.9.0.1:40000", "10.9.0.13:80", 1);
        assert_eq!(judge.judge(Direction::ToFar, &to), pass(base + TAIL));
        assert_eq!(judge.judge(Direction::ToNear, &from), pass(base + TAIL));
        assert_eq!(judge.judge(Direction::ToFar, &other), pass(base));
    }

    /// Which of 1,000 data segments are lost, with as many answers in between as `answers` says.
    fn lost(seed: u64, answers: usize) -> Vec<usize> {
        let mut judge = Judge::new(Script::seeded(seed).with(Rule::lose(Match::any(), 0.05)));
        let data = frame(Kind::Data, "10.9.0.1:40000", "10.9.0.11:80", 1);
        let answer = frame(Kind::Ack, "10.9.0.11:80", "10.9.0.1:40000", 1);
        (0..1000)
            .filter(|_| {
                for _ in 0..answers {
                    judge.judge(Direction::ToNear, &answer);
                }
                judge.judge(Direction::ToFar, &data) == Verdict::Lost
            })
            .collect()
    }

    #[test]
    fn the_seed_picks_what_is_lost_and_the_other_direction_does_not() {
        assert_eq!(lost(1, 0), lost(1, 3));
        assert_ne!(lost(1, 0), lost(2, 0));
        let count = lost(1, 0).len();
        assert!((25..=85).contains(&count), "{count} of 1,000 at 5%");
    }

    #[test]
    fn duplicates_and_holds_back() {
        let script = Script::default().with(Rule::duplicate(Match::any(), 1.0)).with(Rule::reorder(
            Match::any(),
            1.0,
            TAIL,
        ));
        let data = frame(Kind::Data, "10.9.0.1:40000", "10.9.0.11:80", 1);
        let verdict = Judge::new(script).judge(Direction::ToFar, &data);
        assert_eq!(verdict, Verdict::Pass { delay: TAIL, twice: true, held_back: true });
    }
}
