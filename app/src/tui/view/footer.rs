//! The last line: the keys that work here, what the last key did, or the filter that is being typed.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Position, Rect};
use ratatui::text::{Line, Span};

use super::style;
use crate::tui::columns::shorten;
use crate::tui::keys::BINDINGS;
use crate::tui::model::{Model, Place, Prompt};
use tcptop_core::Filter;

/// What can be typed, where nothing is wrong with it.
const GRAMMAR: &str = "peer:10.0.0.0/8 port:443 p99>50ms outcome:unanswered !role:server words";
const PROMPT: &str = "filter: ";

/// How many lines it takes at this width.
pub(super) fn height(model: &Model, width: u16) -> u16 {
    let Some(prompt) = &model.prompt else { return 1 };
    2 + u16::try_from(below(prompt, &model.query.filter, width).len()).unwrap_or(1)
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
    let [text_area, rest] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let room = usize::from(area.width).saturating_sub(PROMPT.len() + 1);
    let hidden = hidden(prompt, area.width);
    let shown: String = prompt.text().chars().skip(hidden).take(room).collect();
    let text = Line::from(vec![Span::styled(PROMPT, style::strong()), Span::raw(shown)]);
    frame.render_widget(text, text_area);
    let column = u16::try_from(PROMPT.len() + prompt.column().saturating_sub(hidden)).unwrap_or(u16::MAX);
    frame.set_cursor_position(Position::new(area.x.saturating_add(column), text_area.y));
    for (line, row) in below(prompt, filter, area.width).into_iter().zip(rest.rows()) {
        frame.render_widget(line, row);
    }
}

/// A long text moves to the left by so many characters, so that the cursor stays in sight.
fn hidden(prompt: &Prompt, width: u16) -> usize {
    prompt.column().saturating_sub(usize::from(width).saturating_sub(PROMPT.len() + 1))
}

/// What stands below the text: what can be typed, or what is wrong with it.
fn below(prompt: &Prompt, filter: &Filter, width: u16) -> Vec<Line<'static>> {
    let (Some((from, length)), Some(error)) = (prompt.wrong(), &prompt.error) else {
        return vec![Line::styled(
            format!("{:width$}{}", "", hint(filter), width = PROMPT.len()),
            style::faint(),
        )];
    };
    let from = PROMPT.len() + from.saturating_sub(hidden(prompt, width));
    let lines = wrong(from, length, &error.to_string(), width.into());
    lines.into_iter().map(|line| Line::styled(line, style::alarm())).collect()
}

/// What can be typed, or what those terms do that do not restrict the first table.
fn hint(filter: &Filter) -> String {
    let terms: Vec<String> = filter.flow_terms().collect();
    if terms.is_empty() { GRAMMAR.to_owned() } else { format!("{} chooses flows only", terms.join(" ")) }
}

/// Carets below what makes no sense, and the reason where there is room: behind them, before them, or below.
fn wrong(from: usize, length: usize, reason: &str, width: usize) -> Vec<String> {
    let carets = "^".repeat(length.min(width.saturating_sub(from)));
    let reason_length = reason.chars().count();
    if from + carets.len() + 1 + reason_length <= width {
        vec![format!("{:from$}{carets} {reason}", "")]
    } else if reason_length < from {
        vec![format!("{:>from$}{carets}", format!("{reason} "))]
    } else {
        vec![format!("{:from$}{carets}", ""), shorten(reason, width)]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reason_stands_where_there_is_room() {
        let lines = |from, width| wrong(from, 2, "no such word", width);
        assert_eq!(lines(3, 40), ["   ^^ no such word"]);
        assert_eq!(lines(20, 24), ["       no such word ^^"]);
        assert_eq!(lines(5, 15), ["     ^^", "no such word"]);
        assert_eq!(lines(5, 9), ["     ^^", "no s…word"]);
    }
}
