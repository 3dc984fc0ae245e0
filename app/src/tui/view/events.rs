//! The event log.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::style::Style;

use super::table::{Grid, scroll};
use super::{ViewContext, empty, rule, style};
use crate::tui::columns::events::{verdict, wanted};
use crate::tui::columns::{LEAST_PEER, LONGEST_PEER};
use crate::tui::event_rows::{EventKey, EventRow};
use crate::tui::model::View;

/// Draws a title and as many events as fit.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, view: &ViewContext<'_>) {
    let ViewContext { snapshot, model, cells } = view;
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let matching = snapshot.log.as_ref().map_or(0, |log| log.matching);
    let title = if matching == 0 {
        "events".to_owned()
    } else {
        format!("events: {matching}, verdict changes first")
    };
    frame.render_widget(rule::titled(head.width, &title), head);
    // The snapshot was taken before this view was opened.
    let Some(log) = &snapshot.log else { return empty::not_requested(frame, body, model) };
    if log.rows.is_empty() {
        return empty::no_events(frame, body, snapshot, model);
    }
    let is_active = model.view == View::Events;
    let selected = if is_active { model.selected_event() } else { 0 };
    let fitting = usize::from(body.height).saturating_sub(1);
    let first = scroll(selected, model.events().len(), fitting);
    let rows: Vec<EventRow> = (first..first + fitting).map_while(|row| model.event(row)).collect();
    let grid = Grid {
        columns: &wanted(cells.render.interfaces.len()),
        flexible: (LEAST_PEER, LONGEST_PEER),
        title: "PEER",
        order: None,
        letters: |event, _| [letter(event), ' '],
        style: |event| style(event),
        explains_verdict: |_, _| false,
        selected: is_active.then(|| selected - first),
        is_active: is_active && model.is_view_focused(),
    };
    grid.draw(frame, body, &rows.iter().collect::<Vec<_>>(), cells);
}

fn letter(event: &EventRow) -> char {
    match event.folded.key {
        EventKey::Missed(_) => '!',
        EventKey::Verdict(_)
        | EventKey::Failed(..)
        | EventKey::Reset(_)
        | EventKey::Aborted(_)
        | EventKey::Retransmit(..) => verdict(&event.latest.what).map_or(' ', |verdict| verdict.letter()),
    }
}

fn style(event: &EventRow) -> Style {
    match event.folded.key {
        EventKey::Missed(_) => style::alarm(),
        EventKey::Verdict(_)
        | EventKey::Failed(..)
        | EventKey::Reset(_)
        | EventKey::Aborted(_)
        | EventKey::Retransmit(..) => style::verdict(verdict(&event.latest.what)),
    }
}
