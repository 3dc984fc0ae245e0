//! The selected row's latencies over the last minutes: a heat map, and percentiles and failures below it.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;

use super::{empty, heat, past, rule, style};
use crate::sink::format::age;
use crate::sink::tui::columns::Context;
use crate::sink::tui::model::Model;
use crate::snapshot::Snapshot;
use crate::snapshot::past::PAST_NS;

/// Below this height the heat map says nothing.
const LEAST_MAP: u16 = 3;

/// Draws both.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    snapshot: &Snapshot,
    model: &Model,
    context: &Context<'_>,
) {
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let Some(selection) = &snapshot.selection else {
        return empty::nothing_matches(frame, body, "row");
    };
    let name = context.row(&selection.row.key);
    let title = format!("round-trip times of {name}, last {}", age(PAST_NS));
    frame.render_widget(rule::ruled(head.width, &title), head);
    let is_other = model.rows().get(model.selected_row()).is_some_and(|row| row.key != selection.row.key);
    if model.frozen && is_other {
        return empty::not_held(frame, body);
    }
    // The picture was taken before this view was opened.
    let Some(past) = &selection.past else { return };
    let series = u16::try_from(past::ALL.len()).unwrap_or(u16::MAX);
    let lines = series.min(body.height.saturating_sub(LEAST_MAP + 1).max(3));
    let sizes = [Constraint::Fill(1), Constraint::Length(1), Constraint::Length(lines)];
    let [map, axis, below] = Layout::vertical(sizes).areas(body);
    heat::draw(frame, map, past, selection.total.rtt.as_ref());
    draw_axis(frame, axis);
    past::draw(frame, below, past, &past::ALL);
}

/// `-5m … now` below the slots.
fn draw_axis(frame: &mut Frame<'_>, area: Rect) {
    let [_, bars, _] = past::columns(area);
    let minutes = PAST_NS / 60_000_000_000;
    let minute = bars.width / u16::try_from(minutes).unwrap_or(1);
    for ago in 1..=minutes {
        let left = bars.width.saturating_sub(minute * u16::try_from(ago).unwrap_or(0));
        let label = Rect { x: bars.x + left, width: minute.min(bars.width), ..bars };
        frame.render_widget(Line::styled(format!("-{ago}m"), style::faint()), label);
    }
    let now = Rect { x: bars.right().saturating_sub(3), width: bars.width.min(3), ..bars };
    frame.render_widget(Line::styled("now", style::faint()), now);
}
