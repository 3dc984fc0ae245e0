//! The last lines: the keys that apply here, what the last key did, or the filter prompt.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::{overlay, style};
use crate::tui::keys::BINDINGS;
use crate::tui::model::{Model, Place, Prompt};
use tcptop_core::Filter;

/// Examples of terms, shown while nothing is wrong.
const EXAMPLES: &str = "peer:10.0.0.0/8 port:443 p99>50ms outcome:unanswered !role:server words";
const PROMPT: &str = "filter: ";

/// How many lines the footer takes at this width.
pub(super) fn height(model: &Model, width: u16) -> u16 {
    let Some(prompt) = &model.prompt else { return 1 };
    2 + u16::try_from(below(prompt, &model.query.filter, width).len()).unwrap_or(1)
}

/// Draws the footer.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let [above, keys_area] = Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]).areas(area);
    match (&model.prompt, model.status()) {
        (Some(prompt), _) => draw_prompt(frame, above, prompt, &model.query.filter),
        (None, Some(status)) => {
            return frame.render_widget(Line::styled(status, style::strong()), keys_area);
        }
        (None, None) => {}
    }
    frame.render_widget(keys(model.place(), keys_area.width.into()), keys_area);
}

fn keys(place: Place, width: usize) -> Line<'static> {
    let mut line = Line::default();
    for binding in BINDINGS.iter().filter(|binding| binding.places.contains(&place)) {
        let Some((key, word)) = binding.footer else { continue };
        let length = key.chars().count() + 1 + word.chars().count();
        if line.width() + length > width {
            continue;
        }
        line.push_span(Span::styled(key, style::strong()));
        line.push_span(Span::raw(format!(" {word}  ")));
    }
    line
}

/// The text with the cursor in it, and below it what is wrong.
fn draw_prompt(frame: &mut Frame<'_>, area: Rect, prompt: &Prompt, filter: &Filter) {
    let [line, rest] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let sizes = [Constraint::Length(columns(PROMPT)), Constraint::Fill(1)];
    let [label, text] = Layout::horizontal(sizes).areas(line);
    let scroll = scroll(prompt, area.width);
    frame.render_widget(Span::styled(PROMPT, style::strong()), label);
    frame.render_widget(Paragraph::new(prompt.text()).scroll((0, scroll)), text);
    let column = text.x.saturating_add(columns(prompt.before_cursor()).saturating_sub(scroll));
    frame.set_cursor_position(Position::new(column, line.y));
    for (line, row) in below(prompt, filter, area.width).into_iter().zip(rest.rows()) {
        frame.render_widget(line, row);
    }
}

/// How many columns of a long text are hidden at the left, so that the cursor stays visible.
fn scroll(prompt: &Prompt, width: u16) -> u16 {
    let visible = width.saturating_sub(columns(PROMPT) + 1);
    columns(prompt.before_cursor()).saturating_sub(visible)
}

/// How many columns of the terminal a text takes.
fn columns(text: &str) -> u16 {
    u16::try_from(Span::raw(text).width()).unwrap_or(u16::MAX)
}

/// The lines below the text: examples, or what is wrong and where.
fn below(prompt: &Prompt, filter: &Filter, width: u16) -> Vec<Line<'static>> {
    let (Some([before, wrong]), Some(error)) = (prompt.wrong(), &prompt.error) else {
        let hint = format!("{:indent$}{}", "", hint(filter), indent = PROMPT.len());
        return vec![Line::styled(hint, style::faint())];
    };
    let from = (columns(PROMPT) + columns(before)).saturating_sub(scroll(prompt, width));
    let lines = marked(from.into(), usize::from(columns(wrong)).max(1), &error.to_string(), width.into());
    lines.into_iter().map(|line| Line::styled(line, style::alarm())).collect()
}

/// Examples, or which terms do not apply to the first table.
fn hint(filter: &Filter) -> String {
    let terms: Vec<String> = filter.flow_terms().collect();
    if terms.is_empty() { EXAMPLES.to_owned() } else { format!("{} chooses flows only", terms.join(" ")) }
}

/// Carets below what is wrong, and the reason where it fits: behind them, before them, or below.
fn marked(from: usize, length: usize, reason: &str, width: usize) -> Vec<String> {
    let carets = "^".repeat(length.min(width.saturating_sub(from)));
    let reason_length = reason.chars().count();
    if from + carets.len() + 1 + reason_length <= width {
        vec![format!("{:from$}{carets} {reason}", "")]
    } else if reason_length < from {
        vec![format!("{:>from$}{carets}", format!("{reason} "))]
    } else {
        [format!("{:from$}{carets}", "")].into_iter().chain(overlay::wrap(reason, width, "")).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_stands_where_there_is_room() {
        let lines = |from, width| marked(from, 2, "no such word", width);
        assert_eq!(lines(3, 40), ["   ^^ no such word"]);
        assert_eq!(lines(20, 24), ["       no such word ^^"]);
        assert_eq!(lines(5, 15), ["     ^^", "no such word"]);
        assert_eq!(lines(5, 9), ["     ^^", "no such", "word"]);
    }
}
