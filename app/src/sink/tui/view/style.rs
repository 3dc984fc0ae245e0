//! Colours and emphasis: the 16 that every terminal knows, nothing painted behind text, and never a
//! meaning that only a colour carries.

use ratatui::style::{Color, Modifier, Style};

use crate::flow::{Outcome, Verdict};

/// Titles and keys.
pub(super) fn strong() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// What matters less.
pub(super) fn faint() -> Style {
    Style::new().fg(Color::DarkGray)
}

/// What is missing from the figures.
pub(super) fn alarm() -> Style {
    Style::new().fg(Color::Red).add_modifier(Modifier::BOLD)
}

/// A row with this verdict.
pub(super) fn verdict(verdict: Option<Verdict>) -> Style {
    match verdict {
        Some(Verdict::NoAnswer) => Style::new().fg(Color::Red),
        Some(Verdict::Refuses) => Style::new().fg(Color::Magenta),
        Some(Verdict::Slow) => Style::new().fg(Color::Yellow),
        Some(Verdict::Loses) => Style::new().fg(Color::Cyan),
        None => Style::new(),
    }
}

/// A flow with this outcome.
pub(super) fn outcome(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Unanswered | Outcome::HalfOpen => verdict(Some(Verdict::NoAnswer)),
        Outcome::Refused | Outcome::Reset => verdict(Some(Verdict::Refuses)),
        Outcome::Closed | Outcome::Unknown => faint(),
        Outcome::Pending | Outcome::Established => Style::new(),
    }
}
