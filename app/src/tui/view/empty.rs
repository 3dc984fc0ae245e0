//! What stands where there is nothing to show: what is waited for, and what cannot be known.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Paragraph, Wrap};

use super::style;
use crate::tui::columns::CellContext;
use crate::tui::model::Model;
use tcptop_core::snapshot::Snapshot;

/// No connection was seen so far.
pub(super) fn nothing_yet(frame: &mut Frame<'_>, area: Rect, context: &CellContext<'_>) {
    let waiting = format!("Waiting for connections to be opened on {}.", context.render.all_interfaces());
    words(
        frame,
        area,
        &[
            &waiting,
            "",
            "Handshakes of connections that were open before cannot be timed.",
            "What they send from now on is counted, and they appear once they send.",
        ],
    );
}

/// The filter lets nothing pass.
pub(super) fn nothing_matches(frame: &mut Frame<'_>, area: Rect, what: &str) {
    words(frame, area, &[&format!("No {what} matches the filter."), "", "Esc forgets it, / changes it."]);
}

/// Nothing failed, or nothing of it matches.
pub(super) fn nothing_wrong(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, model: &Model) {
    if !model.query.filter.is_empty() {
        return nothing_matches(frame, area, "event");
    }
    let handshakes = format!("Nothing went wrong so far, in {} handshakes.", snapshot.told);
    words(
        frame,
        area,
        &[&handshakes, "", "What fails, is reset or sent again appears here, and verdicts that change."],
    );
}

/// The snapshot was taken before anybody wanted to see this: the next one has it, unless the display is held.
pub(super) fn not_there_yet(frame: &mut Frame<'_>, area: Rect, model: &Model) {
    if model.frozen {
        let text = "Not held: another view was open when the display was frozen. Space goes on.";
        frame.render_widget(Paragraph::new(text).style(style::faint()).wrap(Wrap { trim: true }), area);
    }
}

/// The table was drawn before its rows came, or belongs to another row.
pub(super) fn not_held(frame: &mut Frame<'_>, area: Rect) {
    let text = "Not held: another row was selected when the display was frozen. Space goes on.";
    frame.render_widget(Paragraph::new(text).style(style::faint()).wrap(Wrap { trim: true }), area);
}

fn words(frame: &mut Frame<'_>, area: Rect, lines: &[&str]) {
    let lines: Vec<Line<'_>> = [""].iter().chain(lines).map(|line| Line::from(*line)).collect();
    frame.render_widget(Paragraph::new(lines).centered().wrap(Wrap { trim: true }), area);
}
