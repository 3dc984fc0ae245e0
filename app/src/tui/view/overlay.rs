//! A page of text over a view, which can be longer than the screen.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::{Line, Span};
use ratatui::widgets::{Clear, Paragraph};
use textwrap::{Options, WordSeparator, WordSplitter, WrapAlgorithm};

use super::style;

/// Where a wrapped line continues: below the text that follows its label.
const INDENT: &str = "                ";
/// The same on a narrow screen.
const NARROW_INDENT: &str = "    ";

/// Draws the text over the area, from `line` on. Returns how many lines do not fit.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, text: Vec<Line<'static>>, line: usize) -> usize {
    let lines: Vec<Line<'_>> = text.into_iter().flat_map(|line| wrapped(line, area.width.into())).collect();
    let hidden = lines.len().saturating_sub(usize::from(area.height));
    let visible: Vec<Line<'_>> = lines.into_iter().skip(line.min(hidden)).collect();
    frame.render_widget(Clear, area);
    frame.render_widget(Paragraph::new(visible), area);
    let below = hidden.saturating_sub(line);
    if below > 0 {
        let more = Line::styled(format!(" {below} more ↓"), style::faint());
        let width = u16::try_from(more.width()).unwrap_or(u16::MAX).min(area.width);
        let corner = Rect { x: area.right() - width, y: area.bottom().saturating_sub(1), width, height: 1 };
        frame.render_widget(more, corner.intersection(area));
    }
    hidden
}

/// Wraps a line that is too long, with the rest indented.
fn wrapped(line: Line<'static>, width: usize) -> Vec<Line<'static>> {
    if line.width() <= width {
        return vec![line];
    }
    let text: String = line.spans.iter().map(|span| span.content.as_ref()).collect();
    let indent = if width > 3 * INDENT.len() { INDENT } else { NARROW_INDENT };
    let lines = wrap(&text, width, indent);
    lines.into_iter().map(|text| Line::from(Span::styled(text, line.style))).collect()
}

/// Wraps text at blanks, and words that are longer than a line within. Each line is as long as possible: balanced lines
/// (textwrap's other algorithm) would move whenever a figure changes.
pub(super) fn wrap(text: &str, width: usize, indent: &str) -> Vec<String> {
    let options = Options::new(width.max(1))
        .subsequent_indent(indent)
        .word_separator(WordSeparator::AsciiSpace)
        .word_splitter(WordSplitter::NoHyphenation)
        .wrap_algorithm(WrapAlgorithm::FirstFit);
    textwrap::wrap(text, options).into_iter().map(std::borrow::Cow::into_owned).collect()
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
