//! From a model to a frame. Pure: the same model gives the same frame.

mod columns;
mod flows;
mod help;
mod histogram;
mod peers;
mod style;
mod vitals;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::{Line, Span};
use ratatui::widgets::Paragraph;

use super::keys::BINDINGS;
use super::model::{Model, Pane};
use crate::sink::Scene;
use crate::snapshot::{Selection, Snapshot};

/// Below this the tables make no sense.
const SMALLEST: (u16, u16) = (40, 8);
/// From this height on there is room for the selected peer's flows.
const WITH_FLOWS: u16 = 14;
/// From this width on there is room for the histogram beside them.
const WITH_HISTOGRAM: u16 = 76;
/// Width of the flows where the histogram stands beside them.
const FLOWS_WIDTH: u16 = 47;

/// Draws everything.
pub fn draw(frame: &mut Frame<'_>, model: &Model, scene: &Scene) {
    let area = frame.area();
    if area.width < SMALLEST.0 || area.height < SMALLEST.1 {
        let (columns, rows) = SMALLEST;
        frame.render_widget(format!("tcptop needs {columns}x{rows}; q quits"), area);
        return;
    }
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Length(2), Constraint::Fill(1), Constraint::Length(1)]).areas(area);
    match &model.snapshot {
        Some(snapshot) => {
            vitals::draw(frame, top, snapshot, model, scene);
            body(frame, middle, snapshot, model);
        }
        None => frame.render_widget(format!("tcptop {}: starting", scene.all_interfaces()), top),
    }
    if model.help {
        help::draw(frame, middle, model.help_offset);
    }
    footer(frame, bottom, model);
}

fn body(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, model: &Model) {
    if snapshot.rows.is_empty() {
        let lines = [
            "",
            "Waiting for connections to be opened.",
            "",
            "Handshakes of connections that were open before cannot be timed.",
        ];
        frame.render_widget(Paragraph::new(lines.map(Line::from).to_vec()).centered(), area);
        return;
    }
    let Some(detail) = snapshot.selection.as_ref().filter(|_| area.height + 3 >= WITH_FLOWS) else {
        peers::draw(frame, area, snapshot, model);
        return;
    };
    let lower = lower_height(area.height, snapshot.rows.len());
    let [upper, rule, lower] =
        Layout::vertical([Constraint::Fill(1), Constraint::Length(1), Constraint::Length(lower)]).areas(area);
    peers::draw(frame, upper, snapshot, model);
    if area.width < WITH_HISTOGRAM {
        frame.render_widget(ruled(rule.width, &flows_title(detail), None), rule);
        flows::draw(frame, lower, snapshot, detail, model);
        return;
    }
    let [left, gap, right] =
        Layout::horizontal([Constraint::Length(FLOWS_WIDTH), Constraint::Length(2), Constraint::Fill(1)])
            .areas(lower);
    let title = histogram::title(detail);
    frame.render_widget(ruled(rule.width, &flows_title(detail), Some((FLOWS_WIDTH, &title))), rule);
    frame.render_widget(Paragraph::new(vec![Line::from("│"); gap.height.into()]), gap);
    flows::draw(frame, left, snapshot, detail, model);
    histogram::draw(frame, right, detail);
}

/// Height of the lower part: a bit less than half, and what the peers leave over on a tall screen.
fn lower_height(height: u16, peers: usize) -> u16 {
    let left_over = height.saturating_sub(u16::try_from(peers).unwrap_or(u16::MAX).saturating_add(3));
    (height * 9 / 20).clamp(5, 18).max(left_over.min(height * 11 / 20))
}

fn flows_title(detail: &Selection) -> String {
    format!("flows of {}", detail.row.key)
}

/// A rule with titles in it: `── title ────┬── title ────`.
fn ruled(width: u16, left: &str, right: Option<(u16, &str)>) -> String {
    let width = usize::from(width);
    let (split, right) = right.map_or((width, None), |(split, right)| (usize::from(split), Some(right)));
    let mut rule = columns::shorten(&format!("── {left} "), split);
    pad(&mut rule, split);
    if let Some(right) = right {
        rule.push_str(&columns::shorten(&format!("┬── {right} "), width.saturating_sub(split)));
        pad(&mut rule, width);
    }
    rule
}

fn pad(rule: &mut String, width: usize) {
    let missing = width.saturating_sub(rule.chars().count());
    rule.push_str(&"─".repeat(missing));
}

fn footer(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    let other = match model.pane {
        Pane::Peers => "flows",
        Pane::Flows => "peers",
    };
    let mut line = Line::default();
    for binding in BINDINGS {
        let Some((key, word)) = binding.footer else { continue };
        let word = if word == "peers/flows" { other } else { word };
        if line.width() + key.chars().count() + word.len() + 1 > area.width.into() {
            break;
        }
        line.push_span(Span::styled(key, style::strong()));
        line.push_span(Span::raw(format!(" {word}  ")));
    }
    frame.render_widget(line, area);
}
