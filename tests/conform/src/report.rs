//! The printed report.

use std::path::Path;

use super::compare::Ledger;
use super::reason::REASONS;
use super::repeats::Score;

/// How many disagreements of a scene are printed.
const SPELLED_OUT: usize = 20;

/// The result of one scene, or of all.
#[derive(Default)]
pub(super) struct Outcome {
    pub(super) packets: u64,
    pub(super) flows: u64,
    pub(super) ledger: Ledger,
    pub(super) score: Score,
    /// What the scene had to show and did not.
    pub(super) shortfalls: Vec<String>,
}

impl Outcome {
    pub(super) fn is_good(&self) -> bool {
        self.ledger.disagreements.is_empty() && self.shortfalls.is_empty()
    }

    /// The sum of two.
    pub(super) fn and(mut self, other: &Self) -> Self {
        self.packets += other.packets;
        self.flows += other.flows;
        self.ledger.add(&other.ledger);
        self.score.add(other.score);
        self.shortfalls.extend_from_slice(&other.shortfalls);
        self
    }
}

pub(super) fn head() -> String {
    row("SCENE", &["PACKETS", "FLOWS", "FIGURES", "AGREED", "BY REASON", "DISAGREED"].map(str::to_owned))
}

pub(super) fn line(name: &str, outcome: &Outcome) -> String {
    let Outcome { packets, flows, ledger, .. } = outcome;
    let by_reason: u64 = ledger.differing.values().sum();
    let disagreed = ledger.disagreements.len() as u64;
    let counts = [*packets, *flows, ledger.figures, ledger.agreed, by_reason, disagreed];
    row(name, &counts.map(|count| count.to_string()))
}

/// Says why a scene failed, and where its capture is.
pub(super) fn trouble(outcome: &Outcome, capture: &Path) -> String {
    let disagreements = &outcome.ledger.disagreements;
    let mut text = String::new();
    for words in disagreements.iter().take(SPELLED_OUT).chain(&outcome.shortfalls) {
        text += &format!("  {words}\n");
    }
    if disagreements.len() > SPELLED_OUT {
        text += &format!("  and {} more\n", disagreements.len() - SPELLED_OUT);
    }
    text + &format!("  the capture is {}\n", capture.display())
}

/// Precision and recall of retransmits, for each scene that has any and in total.
pub(super) fn scores(by_scene: impl Iterator<Item = (&'static str, Score)>, total: Score) -> String {
    let heads = ["BOTH", "TCPTOP", "TSHARK", "PRECISION", "RECALL"].map(str::to_owned);
    let mut text = row("RETRANSMITS BY BOTH, BY ONE ALONE", &heads) + "\n";
    let with_any = by_scene.filter(|(_, score)| *score != Score::default());
    for (name, score) in with_any.chain([("all", total)]) {
        let counts = [score.both, score.ours_alone, score.theirs_alone].map(|count| count.to_string());
        let shares = [score.precision(), score.recall()].map(|share| format!("{share:.4}"));
        text += &(row(name, &[&counts[..], &shares].concat()) + "\n");
    }
    let [ours, theirs] = total.right().map(|share| share * 100.0);
    text + &format!(
        "Packets that fill holes, judged by their senders' TSval and IP ID: {}, tcptop right in {ours:.2}%, tshark in \
         {theirs:.2}%\n",
        total.judged
    )
}

/// Every reason with the number of its differences, including 0.
pub(super) fn reasons(ledger: &Ledger) -> String {
    let mut text = String::from("Differences by design:\n");
    for (reason, name, why) in REASONS {
        let count = ledger.differing.get(&reason).copied().unwrap_or_default();
        text += &format!("{count:>7}  {name}: {why}\n");
    }
    text
}

fn row(name: &str, cells: &[String]) -> String {
    cells.iter().fold(format!("{name:<34}"), |line, cell| format!("{line} {cell:>9}"))
}
