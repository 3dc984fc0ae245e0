//! Colours and emphasis. Four colours, which the theme maps to those of the terminal; nothing is painted behind text, and
//! no meaning has a colour only.

use ratatui::style::{Color, Modifier, Style};

use tcptop_core::{Outcome, Verdict};

/// Titles, keys, and the selected row.
pub(super) const fn strong() -> Style {
    Style::new().add_modifier(Modifier::BOLD)
}

/// The title of the sort column.
pub(super) const fn underlined() -> Style {
    Style::new().add_modifier(Modifier::UNDERLINED)
}

/// Less important text. Dim instead of dark grey, which some palettes give the colour of the background.
pub(super) const fn faint() -> Style {
    Style::new().add_modifier(Modifier::DIM)
}

/// Missed records, errors.
pub(super) const fn alarm() -> Style {
    Style::new().fg(Color::Red).add_modifier(Modifier::BOLD)
}

/// A row with this verdict.
pub(super) const fn verdict(verdict: Option<Verdict>) -> Style {
    match verdict {
        Some(Verdict::Unanswered | Verdict::Failed | Verdict::Unreachable) => Style::new().fg(Color::Red),
        Some(Verdict::Refused | Verdict::Aborted) => Style::new().fg(Color::Magenta),
        Some(Verdict::Slow | Verdict::SlowSetup) => Style::new().fg(Color::Yellow),
        Some(Verdict::Loss) => Style::new().fg(Color::Cyan),
        None => Style::new(),
    }
}

/// Latencies from `from_ns` on, of which those from `slow_ns` on are slow.
pub(super) fn latency(from_ns: u64, slow_ns: Option<u64>) -> Style {
    verdict(slow_ns.filter(|slow_ns| from_ns >= *slow_ns).map(|_| Verdict::Slow))
}

/// A flow with this outcome.
pub(super) const fn outcome(outcome: Outcome) -> Style {
    match outcome {
        Outcome::Unanswered | Outcome::HalfOpen | Outcome::Challenged => verdict(Some(Verdict::Unanswered)),
        Outcome::Unreachable => verdict(Some(Verdict::Unreachable)),
        Outcome::FailedLocally => verdict(Some(Verdict::Failed)),
        Outcome::Refused | Outcome::Reset => verdict(Some(Verdict::Refused)),
        Outcome::Closed | Outcome::Unknown => faint(),
        Outcome::Pending | Outcome::Established => Style::new(),
    }
}
