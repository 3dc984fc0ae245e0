//! What is shown where there is nothing to show, and why.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Wrap};

use super::style;
use crate::output::summary::passed_over;
use crate::tui::columns::CellContext;
use crate::tui::model::Model;
use tcptop_core::Snapshot;

/// No connection was seen so far. What there was instead says whether the right packets are looked at.
pub(super) fn no_connections(
    frame: &mut Frame<'_>,
    area: Rect,
    snapshot: &Snapshot,
    cells: &CellContext<'_>,
) {
    let waiting = format!("Waiting for connections to be opened on {}.", cells.render.all_interfaces());
    let mut text = vec![
        &waiting[..],
        "",
        "Connections that were open before tcptop started have no handshake to time.",
        "They appear as soon as they send data, and their retransmits are counted.",
    ];
    let passed_over = passed_over(snapshot);
    if !passed_over.is_empty() {
        text.push("");
        text.extend(passed_over.iter().map(String::as_str));
    }
    draw(frame, area, &text);
}

/// The filter matches nothing.
pub(super) fn no_match(frame: &mut Frame<'_>, area: Rect, what: &str) {
    draw(frame, area, &[&format!("No {what} matches the filter."), "", "Esc clears it, / edits it."]);
}

/// The event log is empty, or the filter matches none of its entries.
pub(super) fn no_events(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, model: &Model) {
    if !model.query.filter.is_empty() {
        return no_match(frame, area, "event");
    }
    let handshakes = format!("No events in {} handshakes.", snapshot.reported);
    draw(
        frame,
        area,
        &[&handshakes, "", "Verdict changes, failed handshakes, resets and retransmits are listed here."],
    );
}

/// The snapshot was taken before this view was opened. The next one has its contents, unless the display is frozen.
pub(super) fn not_requested(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    if model.frozen {
        not_available(frame, area, "another view was open");
    }
}

/// The display was frozen with another row selected.
pub(super) fn not_selected(frame: &mut Frame<'_>, area: Rect) {
    not_available(frame, area, "another row was selected");
}

fn not_available(frame: &mut Frame<'_>, area: Rect, why: &str) {
    let text = format!("Not available: {why} when the display was frozen. Space continues.");
    frame.render_widget(Paragraph::new(text).style(style::faint()).wrap(Wrap { trim: true }), area);
}

fn draw(frame: &mut Frame<'_>, area: Rect, lines: &[&str]) {
    let lines: Vec<Line<'_>> = [""].iter().chain(lines).map(|line| Line::from(*line)).collect();
    frame.render_widget(Paragraph::new(lines).centered().wrap(Wrap { trim: true }), area);
}
