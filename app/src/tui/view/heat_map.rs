//! A heat map of round-trip or setup times over time: darker means more.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};

use super::histogram::{percentiles, scale};
use super::{style, timeline};
use crate::output::format::count;
use tcptop_core::scale::{STEPS, begin_ns, step};
use tcptop_core::{Bar, Latency, Timeline};

/// From few to many.
const SHADES: [char; 4] = ['░', '▒', '▓', '█'];

/// Most lines that a band takes.
const TALLEST: usize = 4;
/// The full shade stands for at least so many.
const FULL: u64 = 15;

/// A range of latencies, and how many there were in each slot.
struct Band {
    from_ns: u64,
    counts: Vec<Option<u64>>,
}

impl Band {
    fn sum(&self) -> u64 {
        self.counts.iter().flatten().sum()
    }
}

/// Draws the map, with the longest latencies at the top. Those from `slow_ns` on have the colour of slow peers.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    past: &Timeline,
    latency: Latency,
    slow_ns: Option<u64>,
) {
    let bands = bands(past, latency, usize::from(area.height));
    let marks = marks(&bands);
    let most = bands.iter().flat_map(|band| band.counts.iter().flatten()).copied().max().unwrap_or(0);
    // On a tall screen each band takes several lines.
    let tall = (usize::from(area.height) / bands.len().max(1)).clamp(1, TALLEST);
    let lines: Vec<Rect> = area.rows().rev().collect();
    for ((band, mark), lines) in bands.iter().zip(marks).zip(lines.chunks(tall)) {
        let [label, cells, total] = timeline::columns(lines[0]);
        let shown = timeline::stretched(&band.counts, cells.width);
        let text: String = shown.iter().map(|count| shade(count.unwrap_or(0), most)).collect();
        for line in lines {
            let row = Rect { y: line.y, ..cells };
            frame.render_widget(Line::styled(text.as_str(), style::latency(band.from_ns, slow_ns)), row);
        }
        let sum = band.sum();
        frame.render_widget(format!("{:>6}", scale(band.from_ns)), label);
        let sum = Span::raw(format!("{:>5} ", if sum == 0 { String::new() } else { count(sum) }));
        frame.render_widget(Line::from(vec![sum, Span::styled(mark, style::strong())]), total);
    }
    if bands.is_empty() {
        frame.render_widget(Span::styled("no completed handshake in this time", style::faint()), area);
    }
}

/// At most `lines` bands, from the shortest latency to the longest without gaps.
fn bands(past: &Timeline, latency: Latency, lines: usize) -> Vec<Band> {
    let all = || past.moments.iter().flat_map(|moment| moment.bars(latency)).map(|bar| bar.from_ns);
    let (Some(shortest), Some(longest)) = (all().min(), all().max()) else { return Vec::new() };
    let steps: Vec<u64> = scale_from(shortest).take_while(|&from_ns| from_ns <= longest).collect();
    let together = steps.len().div_ceil(lines.max(1)).max(1);
    let within = |bars: &[Bar], part: &[u64]| -> u64 {
        bars.iter().filter(|bar| part.contains(&bar.from_ns)).map(|bar| bar.count).sum()
    };
    let band = |part: &[u64]| Band {
        from_ns: part[0],
        counts: past.moments.iter().map(|moment| Some(within(moment.bars(latency), part))).collect(),
    };
    steps.chunks(together).map(band).collect()
}

/// Where bars begin; each is two steps wide.
fn scale_from(shortest_ns: u64) -> impl Iterator<Item = u64> {
    (usize::from(step(shortest_ns))..STEPS).step_by(2).map(begin_ns)
}

/// The percentiles within each band.
fn marks(bands: &[Band]) -> Vec<String> {
    let samples: u64 = bands.iter().map(Band::sum).sum();
    let mut before = 0;
    let mark = |band: &Band| {
        let until = before + band.sum();
        let is_here = |hundredths: u64| {
            let rank = (samples * hundredths).div_ceil(100);
            before < rank && rank <= until
        };
        let within = percentiles([50, 90, 99].into_iter().filter(|p| is_here(*p)));
        before = until;
        within
    };
    bands.iter().map(mark).collect()
}

/// The shade on a logarithmic scale, so that 1 is visible beside 1,000.
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
    use tcptop_core::Moment;

    #[test]
    fn one_is_seen_beside_many() {
        assert_eq!([0, 1, 10, 100, 1_000].map(|count| shade(count, 1_000)), [' ', '░', '▒', '▓', '█']);
        assert_eq!(shade(1, 1), '░');
    }

    #[test]
    fn neighbours_share_a_line_where_there_are_too_many() {
        let bars = |steps: &[u64]| steps.iter().map(|&from_ns| Bar { from_ns, count: 1 }).collect();
        let moments = vec![
            Moment { bars: bars(&[10_000, 12_000]), ..Moment::default() },
            Moment { bars: bars(&[18_000]), ..Moment::default() },
        ];
        let past = Timeline { moments };
        let shown =
            |lines| bands(&past, Latency::Rtt, lines).iter().map(|band| band.from_ns).collect::<Vec<_>>();
        assert_eq!(shown(9), [10_000, 12_000, 15_000, 18_000], "none is left out");
        assert_eq!(shown(2), [10_000, 15_000]);
        assert_eq!(bands(&past, Latency::Rtt, 2)[0].counts, [Some(2), Some(0)]);
        assert_eq!(bands(&past, Latency::Rtt, 2)[1].counts, [Some(0), Some(1)]);
        assert_eq!(marks(&bands(&past, Latency::Rtt, 2)), ["p50", "p90-99"]);
    }
}
