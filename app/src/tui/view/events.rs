//! What went wrong, newest first.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;

use super::table::Grid;
use super::{ViewContext, empty, rule, style};
use crate::tui::columns::events::{LEAST_PEER, LONGEST_PEER, verdict, wanted};
use crate::tui::model::View;
use tcptop_core::snapshot::{LogEntry, What};

/// Draws a rule and as many events as fit.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, shown: &ViewContext<'_>) {
    let ViewContext { snapshot, model, context } = shown;
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let matching = snapshot.log.as_ref().map_or(0, |log| log.matching);
    let title = if matching == 0 { "events".to_owned() } else { format!("events: {matching}, newest first") };
    frame.render_widget(rule::ruled(head.width, &title), head);
    // The snapshot was taken before this view was opened.
    let Some(log) = &snapshot.log else { return empty::not_there_yet(frame, body, model) };
    if log.rows.is_empty() {
        return empty::nothing_wrong(frame, body, snapshot, model);
    }
    let is_active = model.view == View::Events;
    let grid = Grid {
        columns: &wanted(context.render.interfaces.len()),
        flexible: (LEAST_PEER, LONGEST_PEER),
        title: "PEER",
        order: None,
        letter: |event, _| letter(event),
        look: |event| look(event),
        explains_verdict: |_, _| false,
        selected: is_active.then(|| model.selected_event()),
        is_active,
    };
    grid.draw(frame, body, &model.events().iter().collect::<Vec<_>>(), context);
}

fn letter(event: &LogEntry) -> char {
    match &event.what {
        What::Lost { .. } => '!',
        What::Failed(_) | What::Reset(_) | What::RetransmitKind { .. } | What::Verdict { .. } => {
            verdict(&event.what).map_or(' ', |verdict| verdict.letter())
        }
    }
}

fn look(event: &LogEntry) -> Style {
    match &event.what {
        What::Lost { .. } => style::alarm(),
        What::Failed(_) | What::Reset(_) | What::RetransmitKind { .. } | What::Verdict { .. } => {
            style::verdict(verdict(&event.what))
        }
    }
}
