//! How many round-trip times were how long, and when: darker is more.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::histogram::{marks, scale};
use super::{past, style};
use crate::sink::format::count;
use crate::snapshot::{Bar, Past, Percentiles};

/// From few to many.
const SHADES: [char; 4] = ['░', '▒', '▓', '█'];

/// Fewer than so many are not many.
const FULL: u64 = 15;

/// Latencies that share a line of the map, and how many there were in each slot.
struct Band {
    from_ns: u64,
    counts: Vec<Option<u64>>,
}

/// Draws the longest latencies at the top.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, past: &Past, rtt: Option<&Percentiles>) {
    let bands = bands(past, usize::from(area.height));
    let most = bands.iter().flat_map(|band| band.counts.iter().flatten()).copied().max().unwrap_or(0);
    let last = bands.len().saturating_sub(1);
    let lines = area.rows().skip(usize::from(area.height).saturating_sub(bands.len()));
    for ((index, band), line) in bands.iter().enumerate().rev().zip(lines) {
        let [label, cells, total] = past::columns(line);
        let end_ns = if index == last { u64::MAX } else { bands[index + 1].from_ns };
        let shown = past::stretched(&band.counts, cells.width);
        let text: String = shown.iter().map(|count| shade(count.unwrap_or(0), most)).collect();
        let sum: u64 = band.counts.iter().flatten().sum();
        let marked = rtt.map(|rtt| marks(rtt, band.from_ns, end_ns, index == 0)).unwrap_or_default();
        frame.render_widget(format!("{:>6}", scale(band.from_ns)), label);
        frame.render_widget(Line::from(text), cells);
        let sum = Span::raw(format!("{:>5} ", if sum == 0 { String::new() } else { count(sum) }));
        frame.render_widget(Line::from(vec![sum, Span::styled(marked, style::strong())]), total);
    }
    if bands.is_empty() {
        frame.render_widget(Span::styled("no handshake was completed in this time", style::faint()), area);
    }
}

/// As many bands as there are lines at the most, from the shortest latency to the longest.
fn bands(past: &Past, lines: usize) -> Vec<Band> {
    let mut steps: Vec<u64> =
        past.moments.iter().flat_map(|moment| &moment.bars).map(|bar| bar.from_ns).collect();
    steps.sort_unstable();
    steps.dedup();
    let together = steps.len().div_ceil(lines.max(1)).max(1);
    let within = |bars: &[Bar], part: &[u64]| -> u64 {
        bars.iter().filter(|bar| part.contains(&bar.from_ns)).map(|bar| bar.count).sum()
    };
    let band = |part: &[u64]| Band {
        from_ns: part[0],
        counts: past.moments.iter().map(|moment| Some(within(&moment.bars, part))).collect(),
    };
    steps.chunks(together).map(band).collect()
}

/// On a logarithmic scale: one must be seen beside a thousand.
fn shade(count: u64, most: u64) -> char {
    if count == 0 {
        return ' ';
    }
    let steps = SHADES.len();
    let of = |count: u64| usize::try_from(count.saturating_add(1).ilog2()).unwrap_or(0);
    let index = of(count) * steps / (of(most.max(FULL)) + 1);
    SHADES[index.min(steps - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::snapshot::Moment;

    #[test]
    fn one_is_seen_beside_many() {
        assert_eq!([0, 1, 10, 100, 1_000].map(|count| shade(count, 1_000)), [' ', '░', '▒', '▓', '█']);
        assert_eq!(shade(1, 1), '░');
    }

    #[test]
    fn neighbours_share_a_line_where_there_are_too_many() {
        let bars = |steps: &[u64]| steps.iter().map(|&from_ns| Bar { from_ns, count: 1 }).collect();
        let moments = vec![
            Moment { bars: bars(&[10, 12, 15]), ..Moment::default() },
            Moment { bars: bars(&[18]), ..Moment::default() },
        ];
        let bands = bands(&Past { moments }, 2);
        assert_eq!(bands.iter().map(|band| band.from_ns).collect::<Vec<_>>(), [10, 15]);
        assert_eq!([&bands[0].counts, &bands[1].counts], [&[Some(2), Some(0)], &[Some(1), Some(1)]]);
    }
}
