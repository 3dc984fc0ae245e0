//! The first screen: rows worst first, and below them what is known of the selected one.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::latency::slow_from;
use super::{ViewContext, empty, events, flows, histogram, rows, rule, timeline};
use crate::tui::layout::ScreenLayout;
use tcptop_core::snapshot::Selection;

/// Width of the flows where the histogram stands beside them.
const FLOWS_WIDTH: u16 = 52;
/// On a wide screen the flows take this share, for they have more columns.
const FLOWS_SHARE: (u16, u16) = (3, 5);

/// Draws all parts that there is room for.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, shown: &ViewContext<'_>) {
    let ViewContext { snapshot, context, .. } = shown;
    if snapshot.rows.is_empty() {
        return empty::nothing_matches(frame, area, "row");
    }
    let room = ScreenLayout::of(shown.model.size);
    let Some(selection) = snapshot.selection.as_ref().filter(|_| room.flows) else {
        return rows::draw(frame, area, shown);
    };
    let past_height = if room.past { timeline::STRIP_HEIGHT + 1 } else { 0 };
    let log_height = if room.log { (area.height / 5).clamp(5, 14) } else { 0 };
    let rest = area.height.saturating_sub(past_height + log_height);
    let lower_height = lower_height(rest, snapshot.rows.len());
    let [upper, lower, past_area, log] = Layout::vertical([
        Constraint::Fill(1),
        Constraint::Length(lower_height + 1),
        Constraint::Length(past_height),
        Constraint::Length(log_height),
    ])
    .areas(area);
    rows::draw(frame, upper, shown);
    below(frame, lower, shown, selection);
    if room.past {
        timeline::strip(frame, past_area, selection.past.as_ref(), &context.row(&selection.row.key));
    }
    if room.log {
        events::draw(frame, log, shown);
    }
}

/// The selected row's flows, beside its histogram where there is room for that.
fn below(frame: &mut Frame<'_>, area: Rect, shown: &ViewContext<'_>, selection: &Selection) {
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    if !shown.is_held(selection) {
        frame.render_widget(rule::ruled(head.width, "flows"), head);
        return empty::not_held(frame, body);
    }
    let title = flows::title(selection, &shown.context);
    if !ScreenLayout::of(shown.model.size).histogram {
        frame.render_widget(rule::ruled(head.width, &title), head);
        return flows::draw(frame, body, shown, selection);
    }
    let (part, whole) = FLOWS_SHARE;
    let width = (area.width * part / whole).max(FLOWS_WIDTH);
    let sizes = [width - 1, 1, 2].map(Constraint::Length).into_iter().chain([Constraint::Fill(1)]);
    let [left, _, gap, right] = Layout::horizontal(sizes).areas(body);
    frame.render_widget(rule::split(head.width, &title, width, &histogram::title(selection)), head);
    frame.render_widget(Paragraph::new(vec![Line::from("│"); gap.height.into()]), gap);
    flows::draw(frame, left, shown, selection);
    histogram::draw(frame, right, selection, slow_from(shown.snapshot, selection));
}

/// A bit less than half, and what the rows leave over on a tall screen.
fn lower_height(height: u16, rows: usize) -> u16 {
    let left_over = height.saturating_sub(u16::try_from(rows).unwrap_or(u16::MAX).saturating_add(3));
    (height * 9 / 20).clamp(5, 18).max(left_over.min(height * 11 / 20))
}
