//! A histogram of the selected row's round-trip or setup times, on a logarithmic scale.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::style;
use crate::output::format::{count, duration};
use tcptop_core::{Bar, Latency, Percentiles, Selection};

/// Eighths of a column.
const EIGHTHS: [char; 8] = [' ', '▏', '▎', '▍', '▌', '▋', '▊', '▉'];
/// Widths of the label before a bar, and of the count and the percentiles behind it.
const LABEL: usize = 6;
const COUNT: usize = 5;
const MARKS: usize = 7;

/// The title. The bars count from the start, because a window of ten seconds rarely has enough samples.
pub(super) fn title(selection: &Selection, latency: Latency) -> String {
    let samples = selection.total.latency(latency).map_or(0, |percentiles| percentiles.samples);
    format!("{} since start, n={}", latency.name(), count(samples))
}

/// Draws the bars. Those from `slow_ns` on have the colour of slow peers.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    selection: &Selection,
    latency: Latency,
    slow_ns: Option<u64>,
) {
    let Some(percentiles) = selection.total.latency(latency) else {
        frame.render_widget(Span::styled("no completed handshake", style::faint()), area);
        return;
    };
    let bars = merged(selection.bars(latency), usize::from(area.height));
    let most = bars.iter().map(|bar| bar.count).max().unwrap_or(1).max(1);
    let room = usize::from(area.width).saturating_sub(LABEL + COUNT + MARKS + 3);
    let lines = bars.iter().enumerate().map(|(index, bar)| {
        let end_ns = bars.get(index + 1).map_or(u64::MAX, |next| next.from_ns);
        let marks = marks(&percentiles, bar.from_ns, end_ns, index == 0);
        Line::from(vec![
            Span::raw(format!("{:>LABEL$} ", scale(bar.from_ns))),
            Span::styled(
                format!("{:<room$}", filled(bar.count, most, room)),
                style::latency(bar.from_ns, slow_ns),
            ),
            Span::raw(format!(" {:>COUNT$} ", if bar.count == 0 { String::new() } else { count(bar.count) })),
            Span::styled(marks, style::strong()),
        ])
    });
    frame.render_widget(Paragraph::new(lines.collect::<Vec<_>>()), area);
}

/// The start of a range, without a fraction where it is a round number.
pub(super) fn scale(ns: u64) -> String {
    let text = duration(ns);
    let Some(unit) = text.find(char::is_alphabetic) else { return text };
    let (number, unit) = text.split_at(unit);
    let number =
        if number.contains('.') { number.trim_end_matches('0').trim_end_matches('.') } else { number };
    format!("{number}{unit}")
}

/// Merges adjacent bars until they fit.
fn merged(bars: &[Bar], rows: usize) -> Vec<Bar> {
    let together = bars.len().div_ceil(rows.max(1)).max(1);
    let sum = |part: &[Bar]| Bar { from_ns: part[0].from_ns, count: part.iter().map(|bar| bar.count).sum() };
    bars.chunks(together).map(sum).collect()
}

fn filled(count: u64, most: u64, room: usize) -> String {
    let eighths = usize::try_from(u128::from(count) * room as u128 * 8 / u128::from(most)).unwrap_or(0);
    // Any count but 0 is visible.
    let eighths = if count > 0 { eighths.max(1) } else { 0 };
    let mut bar = "█".repeat(eighths / 8);
    if eighths % 8 > 0 {
        bar.push(EIGHTHS[eighths % 8]);
    }
    bar
}

/// The percentiles within a range. The first range includes those below it.
fn marks(all: &Percentiles, from_ns: u64, end_ns: u64, first: bool) -> String {
    let named = [(50, all.p50_ns), (90, all.p90_ns), (99, all.p99_ns)];
    let within = named.into_iter().filter(|(_, ns)| (first || *ns >= from_ns) && *ns < end_ns);
    percentiles(within.map(|(name, _)| name))
}

/// `p50`, or the first and last of several: `p50-99`.
pub(super) fn percentiles(within: impl Iterator<Item = u64>) -> String {
    let within: Vec<u64> = within.collect();
    match within[..] {
        [] => String::new(),
        [only] => format!("p{only}"),
        [lowest, .., highest] => format!("p{lowest}-{highest}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_as_long_as_they_should_be() {
        assert_eq!(filled(8, 8, 4), "████");
        assert_eq!(filled(3, 8, 4), "█▌");
        assert_eq!(filled(1, 1_000_000, 4), "▏");
        assert_eq!(filled(0, 8, 4), "");
    }

    #[test]
    fn round_numbers_have_no_fraction() {
        assert_eq!(
            [1_000_000, 1_200_000, 10_000_000, 150_000_000].map(scale),
            ["1ms", "1.2ms", "10ms", "150ms"]
        );
        assert_eq!([1_050_000, 999].map(scale), ["1.05ms", "999ns"]);
    }

    #[test]
    fn percentiles_are_marked_where_they_fall() {
        let rtt = Percentiles { p50_ns: 10, p90_ns: 20, p99_ns: 21, max_ns: 22, samples: 3 };
        assert_eq!([marks(&rtt, 12, 15, true), marks(&rtt, 15, 30, false)], ["p50", "p90-99"]);
        assert_eq!([marks(&rtt, 8, 30, false), marks(&rtt, 30, 40, false)], ["p50-99", ""]);
    }

    #[test]
    fn neighbours_are_taken_together() {
        let bars: Vec<Bar> = (0..7).map(|from_ns| Bar { from_ns, count: 1 }).collect();
        let merged = merged(&bars, 4);
        assert_eq!(merged.iter().map(|bar| bar.count).collect::<Vec<_>>(), [2, 2, 2, 1]);
    }
}
