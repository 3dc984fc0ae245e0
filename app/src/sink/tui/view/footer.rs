//! The last line: the keys that work here, what the last key did, or the filter that is being typed.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::text::{Line, Span};

use super::style;
use crate::sink::tui::keys::BINDINGS;
use crate::sink::tui::model::{Model, Place, Prompt};
use crate::snapshot::Filter;

/// What can be typed, where nothing is wrong with it.
const GRAMMAR: &str = "peer:10.0.0.0/8 port:443 p99>50ms outcome:unanswered !role:server words";
const PROMPT: &str = "filter: ";

/// How many lines it takes.
pub(super) fn height(model: &Model) -> u16 {
    if model.prompt.is_some() { 3 } else { 1 }
}

/// Draws it.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let [above, keys_area] = Layout::vertical([Constraint::Fill(1), Constraint::Length(1)]).areas(area);
    match &model.prompt {
        Some(prompt) => draw_prompt(frame, above, prompt, &model.query.filter),
        None => {
            if let Some(said) = model.said() {
                return frame.render_widget(Line::styled(said, style::strong()), keys_area);
            }
        }
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

/// The text with the cursor in it, and below it what is wrong and where.
fn draw_prompt(frame: &mut Frame<'_>, area: Rect, prompt: &Prompt, filter: &Filter) {
    let [text_area, word_area] = Layout::vertical([Constraint::Length(1); 2]).areas(area);
    let room = usize::from(area.width).saturating_sub(PROMPT.len() + 1);
    // A long text moves to the left, so that the cursor stays in sight.
    let hidden = prompt.column().saturating_sub(room);
    let shown: String = prompt.text().chars().skip(hidden).take(room).collect();
    let text = Line::from(vec![Span::styled(PROMPT, style::strong()), Span::raw(shown)]);
    frame.render_widget(text, text_area);
    let column = |of: usize| u16::try_from(PROMPT.len() + of.saturating_sub(hidden)).unwrap_or(u16::MAX);
    frame.set_cursor_position(Position::new(area.x.saturating_add(column(prompt.column())), text_area.y));
    let below = match (prompt.wrong(), &prompt.error) {
        (Some((from, length)), Some(error)) => {
            wrong(column(from).into(), length, &error.to_string(), area.width.into())
        }
        _ => Line::styled(format!("{:width$}{}", "", hint(filter), width = PROMPT.len()), style::faint()),
    };
    frame.render_widget(below, word_area);
}

/// What can be typed, or what those terms do that do not restrict the first table.
fn hint(filter: &Filter) -> String {
    let terms: Vec<String> = filter.flow_terms().collect();
    if terms.is_empty() { GRAMMAR.to_owned() } else { format!("{} chooses flows only", terms.join(" ")) }
}

/// Carets below what makes no sense, and the reason behind them, or before where there is no room behind.
fn wrong(from: usize, length: usize, reason: &str, width: usize) -> Line<'static> {
    let carets = "^".repeat(length.min(width.saturating_sub(from)));
    let behind = format!("{:from$}{carets} {reason}", "");
    let before = format!("{:>width$}{carets}", format!("{reason} "), width = from);
    let fits_before = reason.chars().count() < from;
    let text = if behind.chars().count() > width && fits_before { before } else { behind };
    Line::styled(text, style::alarm())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_stands_where_there_is_room() {
        let text = |from, width| wrong(from, 2, "no such word", width).to_string();
        assert_eq!(text(3, 40), "   ^^ no such word");
        assert_eq!(text(20, 24), "       no such word ^^");
    }
}
