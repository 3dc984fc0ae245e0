//! The place of a row: numbers that compare as the rows are to be sorted.

use super::Figures;
use crate::flow::{Flow, Leg, Outcome};
use crate::query::{FlowOrder, RowOrder, Sort};
use crate::stats::{Percentiles, Verdict};

/// The place of a row of the first table. Equal ones are sorted by their keys.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct RowRank {
    /// What is not known comes last, in both directions.
    is_unknown: bool,
    by: [u64; 4],
}

/// The place of a flow. No two are equal.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct FlowRank {
    is_unknown: bool,
    by: [u64; 3],
    /// The newest first.
    newest: u64,
}

impl RowRank {
    pub(super) fn of(figures: &Figures, verdict: Option<(Verdict, u64)>, sort: Sort<RowOrder>) -> Self {
        let counts = &figures.counts;
        let rtt = |of: fn(&Percentiles) -> u64| figures.rtt.as_ref().map(|rtt| most_first(of(rtt)));
        let setup = |of: fn(&Percentiles) -> u64| figures.setup.as_ref().map(|setup| most_first(of(setup)));
        let first = match sort.by {
            RowOrder::Problem => return Self::by_problem(figures, verdict, sort.reversed),
            RowOrder::Peer => return Self::default(),
            RowOrder::New => Some(most_first(counts.opened)),
            RowOrder::P50 => rtt(|rtt| rtt.p50_ns),
            RowOrder::P90 => rtt(|rtt| rtt.p90_ns),
            RowOrder::P99 => rtt(|rtt| rtt.p99_ns),
            RowOrder::Max => rtt(|rtt| rtt.max_ns),
            RowOrder::SetupP50 => setup(|setup| setup.p50_ns),
            RowOrder::SetupP90 => setup(|setup| setup.p90_ns),
            RowOrder::SetupP99 => setup(|setup| setup.p99_ns),
            RowOrder::SetupMax => setup(|setup| setup.max_ns),
            RowOrder::Unanswered => Some(most_first(counts.unanswered())),
            RowOrder::Failed => Some(most_first(counts.of(Outcome::FailedLocally))),
            RowOrder::Unreachable => Some(most_first(counts.of(Outcome::Unreachable))),
            RowOrder::Refused => Some(most_first(counts.of(Outcome::Refused))),
            RowOrder::Aborted => Some(most_first(counts.aborted)),
            // Of positive numbers the bits compare as the numbers do.
            RowOrder::Retransmits => counts.retransmit_share().map(|share| most_first(share.to_bits())),
            RowOrder::Since => verdict.map(|(_, since_ns)| since_ns),
        };
        let busy = most_first(counts.opened);
        Self { is_unknown: first.is_none(), by: [turned(first.unwrap_or(0), sort.reversed), busy, 0, 0] }
    }

    /// What is wrong, how much of it, how slow, how busy.
    fn by_problem(figures: &Figures, verdict: Option<(Verdict, u64)>, reversed: bool) -> Self {
        let counts = &figures.counts;
        let p99_ns = figures.rtt.map_or(0, |rtt| rtt.p99_ns);
        let verdict = verdict.map(|(verdict, _)| verdict);
        let how_much = match verdict {
            Some(Verdict::Unanswered) => counts.unanswered(),
            Some(Verdict::Failed) => counts.of(Outcome::FailedLocally),
            Some(Verdict::Unreachable) => counts.of(Outcome::Unreachable),
            Some(Verdict::Refused) => counts.of(Outcome::Refused),
            Some(Verdict::Aborted) => counts.aborted,
            Some(Verdict::Slow) => p99_ns,
            Some(Verdict::SlowSetup) => counts.slow_setups,
            Some(Verdict::Loss) => counts.retransmits(),
            None => counts.opened,
        };
        let what = verdict.map_or(u64::from(u8::MAX), |verdict| verdict as u64);
        let by = [what, most_first(how_much), most_first(p99_ns), most_first(counts.opened)];
        Self { is_unknown: false, by: by.map(|part| turned(part, reversed)) }
    }
}

impl FlowRank {
    pub(super) fn of(flow: &Flow, sort: Sort<FlowOrder>, now_ns: u64) -> Self {
        let newest = most_first(flow.id());
        let of = |first: Option<u64>| (first.is_none(), [first.unwrap_or(0), 0, 0]);
        let (is_unknown, by) = match sort.by {
            FlowOrder::Age => of(Some(newest)),
            FlowOrder::Problem => {
                let retransmits = flow.retransmits();
                (false, [trouble(flow.outcome_at(now_ns), retransmits), most_first(retransmits), 0])
            }
            FlowOrder::Peer => {
                let service = flow.peer().service;
                let address = u128::from_be_bytes(service.address);
                let half = |bits: u128| u64::try_from(bits & u128::from(u64::MAX)).unwrap_or(u64::MAX);
                (false, [half(address >> 64), half(address), service.port.into()])
            }
            FlowOrder::Port => of(Some(flow.port().into())),
            FlowOrder::Outcome => of(Some(trouble(flow.outcome_at(now_ns), 0))),
            FlowOrder::Rtt => of(flow.rtt().and_then(Leg::exact).map(most_first)),
            FlowOrder::Setup => of(flow.setup_ns().map(most_first)),
            FlowOrder::Tries => of(flow.tries().map(|tries| most_first(tries.into()))),
            FlowOrder::Srtt => of(flow.srtt_ns().map(most_first)),
            FlowOrder::Retransmits => of(Some(most_first(flow.retransmits()))),
        };
        Self { is_unknown, by: by.map(|part| turned(part, sort.reversed)), newest }
    }
}

/// What failed first; of what did not, what has retransmits.
const fn trouble(outcome: Outcome, retransmits: u64) -> u64 {
    let trouble = match outcome {
        Outcome::Unanswered => 0,
        Outcome::HalfOpen => 1,
        Outcome::Challenged => 5,
        Outcome::Unreachable | Outcome::FailedLocally => 2,
        Outcome::Refused => 3,
        Outcome::Reset => 4,
        Outcome::Pending => 6,
        Outcome::Established => 7,
        Outcome::Unknown => 8,
        Outcome::Closed => 9,
    };
    if trouble > 5 && retransmits > 0 { 5 } else { trouble }
}

const fn most_first(number: u64) -> u64 {
    !number
}

const fn turned(part: u64, reversed: bool) -> u64 {
    if reversed { !part } else { part }
}
