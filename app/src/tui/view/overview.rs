//! The first screen: the rows, and below them what is known of the selected one.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::latency::slow_from;
use super::{ViewContext, empty, events, flows, histogram, peers, rule, timeline};
use crate::tui::layout::ScreenLayout;
use tcptop_core::Selection;

/// Width of the flows beside the histogram.
const FLOWS_WIDTH: u16 = 52;
/// Their share on a wide screen, where they have more columns.
const FLOWS_SHARE: (u16, u16) = (3, 5);

/// Draws all parts that fit.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, view: &ViewContext<'_>) {
    let ViewContext { snapshot, model, cells } = view;
    if snapshot.rows.is_empty() {
        return empty::no_match(frame, area, "row");
    }
    let layout = ScreenLayout::of(model.size);
    let Some(selection) = snapshot.selection.as_ref().filter(|_| layout.flows) else {
        return peers::draw(frame, area, view);
    };
    let timeline_height = if layout.timeline { timeline::STRIP_HEIGHT + 1 } else { 0 };
    let events_height = if layout.events { (area.height / 5).clamp(5, 14) } else { 0 };
    let rest = area.height.saturating_sub(timeline_height + events_height);
    // What is free on a tall screen belongs to the rows.
    let [upper, lower, middle, bottom] = Layout::vertical([
        Constraint::Fill(1),
        Constraint::Length((rest * 9 / 20).clamp(5, 18) + 1),
        Constraint::Length(timeline_height),
        Constraint::Length(events_height),
    ])
    .areas(area);
    peers::draw(frame, upper, view);
    draw_selection(frame, lower, view, selection);
    if layout.timeline {
        let name = cells.row(&selection.row.key);
        timeline::strip(frame, middle, selection.timeline.as_ref(), model.latency, &name);
    }
    if layout.events {
        events::draw(frame, bottom, view);
    }
}

/// The selected row's flows, and beside them its histogram if it fits.
fn draw_selection(frame: &mut Frame<'_>, area: Rect, view: &ViewContext<'_>, selection: &Selection) {
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    if !view.is_of_selected_row(selection) {
        frame.render_widget(rule::titled(head.width, "flows"), head);
        return empty::not_selected(frame, body);
    }
    let title = flows::title(selection, &view.cells);
    if !ScreenLayout::of(view.model.size).histogram {
        frame.render_widget(rule::titled(head.width, &title), head);
        return flows::draw(frame, body, view, selection);
    }
    let latency = view.model.latency;
    let (part, whole) = FLOWS_SHARE;
    let width = (area.width * part / whole).max(FLOWS_WIDTH);
    let sizes = [width - 1, 1, 2].map(Constraint::Length).into_iter().chain([Constraint::Fill(1)]);
    let [left, _, gap, right] = Layout::horizontal(sizes).areas(body);
    frame.render_widget(rule::split(head.width, &title, width, &histogram::title(selection, latency)), head);
    frame.render_widget(Paragraph::new(vec![Line::from("│"); gap.height.into()]), gap);
    flows::draw(frame, left, view, selection);
    histogram::draw(frame, right, selection, latency, slow_from(view.snapshot, selection, latency));
}
