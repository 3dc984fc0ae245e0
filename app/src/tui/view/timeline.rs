//! The last five minutes as small bars.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Sparkline;

use super::{rule, style};
use crate::output::format::{UNKNOWN, age, count, duration};
use tcptop_core::{Latency, Moment, Timeline, Verdict};

/// Lines of the strip on the first screen, without its rule.
pub(super) const STRIP_HEIGHT: u16 = 3;
/// Width of the label before the bars, and of the maximum behind them.
pub(super) const LABEL: u16 = 8;
pub(super) const MOST: u16 = 12;
/// Heights of a bar within one line, which it never fills: it would touch the line above.
const STEPS: u64 = 7;
const LINE: u64 = 8;

/// A series of figures over time.
#[derive(Clone, Copy)]
pub(super) struct Series {
    name: &'static str,
    value: fn(&Moment, Latency) -> Option<u64>,
    text: fn(Option<u64>) -> String,
    /// The verdict it contributes to, whose colour it has.
    verdict: Option<Verdict>,
}

const fn latency(name: &'static str, value: fn(&Moment, Latency) -> Option<u64>) -> Series {
    // Latencies are kept as steps of a logarithmic scale: only an upper bound is known.
    let text = |most: Option<u64>| most.map_or_else(|| UNKNOWN.to_owned(), |ns| format!("<{}", duration(ns)));
    Series { name, value, text, verdict: None }
}

const fn number(
    name: &'static str,
    verdict: Option<Verdict>,
    value: fn(&Moment, Latency) -> Option<u64>,
) -> Series {
    Series { name, value, text: |most| most.map_or_else(|| UNKNOWN.to_owned(), count), verdict }
}

const P99: Series = latency("p99", |moment, latency| Some(moment.latency(latency)?.p99_ns));
const UNANSWERED: Series = number("unans", Some(Verdict::Unanswered), |moment, _| Some(moment.unanswered));
const RETRANSMITS: Series = number("retr", Some(Verdict::Loss), |moment, _| Some(moment.retransmits));

/// The series of the first screen.
const STRIP: [Series; STRIP_HEIGHT as usize] = [P99, UNANSWERED, RETRANSMITS];

/// The series of the latency view.
pub(super) const ALL: [Series; 9] = [
    latency("p50", |moment, latency| Some(moment.latency(latency)?.p50_ns)),
    latency("p90", |moment, latency| Some(moment.latency(latency)?.p90_ns)),
    P99,
    number("waits", Some(Verdict::SlowSetup), |moment, _| Some(moment.slow_setups)),
    number("opened", None, |moment, _| Some(moment.opened)),
    UNANSWERED,
    number("unrch", Some(Verdict::Unreachable), |moment, _| Some(moment.unreachable)),
    number("refused", Some(Verdict::Refused), |moment, _| Some(moment.refused)),
    RETRANSMITS,
];

/// Draws a title and the series of the first screen.
pub(super) fn strip(
    frame: &mut Frame<'_>,
    area: Rect,
    past: Option<&Timeline>,
    latency: Latency,
    name: &str,
) {
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let setup = if latency == Latency::Setup { ", p99 of the setup time" } else { "" };
    let title = format!("last {} min of {name}, {} a bar{setup}", minutes(), age(Timeline::SLOT_NS));
    frame.render_widget(rule::titled(head.width, &title), head);
    if let Some(past) = past {
        draw(frame, body, past, latency, &STRIP);
    }
}

/// Draws a line for each series, with the present at the right.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, past: &Timeline, latency: Latency, all: &[Series]) {
    for (series, line) in all.iter().zip(area.rows()) {
        let [label, bars, most] = columns(line);
        let values: Vec<Option<u64>> =
            past.moments.iter().map(|moment| (series.value)(moment, latency)).collect();
        let greatest = values.iter().flatten().copied().max();
        frame.render_widget(Line::styled(series.name, style::strong()), label);
        frame.render_widget(Line::from(format!(" max {:<7}", (series.text)(greatest))), most);
        let bars_shown = stretched(&values, bars.width).into_iter().map(|value| height(value, greatest));
        let sparkline = Sparkline::default().max(LINE).data(bars_shown.collect::<Vec<_>>());
        frame.render_widget(sparkline.style(style::verdict(series.verdict)), bars);
    }
}

/// Label, bars and maximum of a line. All slots have the same width.
pub(super) fn columns(line: Rect) -> [Rect; 3] {
    let bars = slot_width(line.width) * slots();
    let sizes = [Constraint::Length(LABEL), Constraint::Length(bars), Constraint::Length(MOST)];
    Layout::horizontal(sizes).areas(line)
}

/// How many columns a slot takes, at least 1.
pub(super) fn slot_width(width: u16) -> u16 {
    (width.saturating_sub(LABEL + MOST) / slots()).max(1)
}

/// The number of slots.
pub(super) fn slots() -> u16 {
    u16::try_from(Timeline::SLOTS).unwrap_or(u16::MAX)
}

/// The time that they cover, in minutes.
pub(super) fn minutes() -> u16 {
    u16::try_from(Timeline::SLOTS * Timeline::SLOT_NS / 60_000_000_000).unwrap_or(u16::MAX)
}

/// The values as columns, the newest at the right, each as wide as fits.
pub(super) fn stretched<T: Clone>(values: &[Option<T>], width: u16) -> Vec<Option<T>> {
    let each = usize::from((width / slots()).max(1));
    let room = usize::from(width) / each;
    let newest = &values[values.len().saturating_sub(room)..];
    let missing = usize::from(width).saturating_sub(newest.len() * each);
    let shown = newest.iter().flat_map(|value| std::iter::repeat_n(value.clone(), each));
    std::iter::repeat_n(None, missing).chain(shown).collect()
}

/// The height of a bar, at least 1 for any value but 0.
fn height(value: Option<u64>, most: Option<u64>) -> Option<u64> {
    let most = u128::from(most?.max(1));
    u64::try_from((u128::from(value?) * u128::from(STEPS)).div_ceil(most)).ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn now_is_at_the_right() {
        let values = [Some(1), None, Some(3)];
        let shown = stretched(&values, 120);
        assert_eq!(shown.len(), 120);
        assert_eq!(shown[114..], [Some(1), Some(1), None, None, Some(3), Some(3)]);
        assert!(shown[..114].iter().all(Option::is_none));
        assert_eq!(stretched(&values, 2), [None, Some(3)]);
    }

    #[test]
    fn what_is_there_is_seen() {
        assert_eq!(height(Some(1), Some(1_000_000)), Some(1));
        assert_eq!(height(Some(1_000_000), Some(1_000_000)), Some(STEPS));
        assert_eq!((height(Some(0), Some(7)), height(None, Some(7))), (Some(0), None));
    }
}
