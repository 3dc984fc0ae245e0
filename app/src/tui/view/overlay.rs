//! Text that lies over a view and can be longer than the screen.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};

use super::style;

/// Where text that is continued on the next line begins: below what it says of the words before.
const INDENT: usize = 16;

/// Draws the text over the area, from a line on. Gives how many lines there is no room for.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, text: Vec<Line<'static>>, line: usize) -> usize {
    let lines: Vec<Line<'_>> = text.into_iter().flat_map(|line| wrapped(line, area.width.into())).collect();
    let out_of_sight = lines.len().saturating_sub(usize::from(area.height));
    let shown: Vec<Line<'_>> = lines.into_iter().skip(line.min(out_of_sight)).collect();
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(shown), area);
    let below = out_of_sight.saturating_sub(line);
    if below > 0 {
        let more = Line::styled(format!(" {below} more ↓"), style::faint());
        let width = u16::try_from(more.width()).unwrap_or(u16::MAX).min(area.width);
        let corner = Rect { x: area.right() - width, y: area.bottom().saturating_sub(1), width, height: 1 };
        frame.render_widget(more, corner.intersection(area));
    }
    out_of_sight
}

/// A line that is too long goes on below, indented.
fn wrapped(line: Line<'static>, width: usize) -> Vec<Line<'static>> {
    if line.width() <= width {
        return vec![line];
    }
    let text: String = line.spans.iter().map(|span| span.content.as_ref()).collect();
    let indent = if width > 3 * INDENT { INDENT } else { 4 };
    let mut lines = Vec::new();
    let mut rest = text.as_str();
    let mut before = 0;
    while !rest.is_empty() {
        let end = end_of_line(rest, width.saturating_sub(before).max(1));
        let (now, later) = rest.split_at(end);
        lines.push(Line::from(Span::styled(format!("{:before$}{}", "", now.trim_end()), line.style)));
        rest = later.trim_start();
        before = indent;
    }
    lines
}

/// Where to break: behind the last word that fits, or within one that is longer than the line.
fn end_of_line(text: &str, width: usize) -> usize {
    let Some((cut, _)) = text.char_indices().nth(width) else { return text.len() };
    let words = text[..cut].trim_start();
    let leading = cut - words.len();
    match words.rfind(' ') {
        Some(space) if !text[cut..].starts_with(' ') => leading + space,
        _ => cut,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn texts(text: &'static str, width: usize) -> Vec<String> {
        wrapped(Line::from(text), width).iter().map(ToString::to_string).collect()
    }

    #[test]
    fn long_lines_go_on_below() {
        assert_eq!(texts("  a: words", 10), ["  a: words"]);
        assert_eq!(texts("  a: some words that go on", 14), ["  a: some", "    words that", "    go on"]);
        assert_eq!(texts("abcdefghijkl", 8), ["abcdefgh", "    ijkl"]);
    }

    #[test]
    fn every_width_ends() {
        for width in 0..40 {
            assert!(!texts("  label: some words, andonewithoutanyend, and more", width).is_empty());
        }
    }
}
