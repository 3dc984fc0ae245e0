//! The latency view: a heat map of the selected row's last five minutes, and percentiles and failures below it.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;

use super::{ViewContext, empty, heat_map, rule, style, timeline};
use tcptop_core::{Latency, Selection, Snapshot};

/// The smallest useful heat map.
const LEAST_MAP: u16 = 3;

/// Draws the view.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, view: &ViewContext<'_>) {
    let ViewContext { snapshot, cells, model } = view;
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let Some(selection) = &snapshot.selection else {
        return empty::no_match(frame, body, "row");
    };
    let name = cells.row(&selection.row.key);
    let latency = match model.latency {
        Latency::Rtt => "RTT",
        Latency::Setup => "setup time",
    };
    let title = format!("{latency} of {name}, last {} min", timeline::minutes());
    frame.render_widget(rule::titled(head.width, &title), head);
    if !view.is_of_selected_row(selection) {
        return empty::not_selected(frame, body);
    }
    // The snapshot was taken before this view was opened.
    let Some(past) = &selection.timeline else { return };
    let series = u16::try_from(timeline::ALL.len()).unwrap_or(u16::MAX);
    let lines = series.min(body.height.saturating_sub(LEAST_MAP + 1).max(3));
    let sizes = [Constraint::Fill(1), Constraint::Length(1), Constraint::Length(lines)];
    let [map, axis, below] = Layout::vertical(sizes).areas(body);
    let slow_ns = slow_from(snapshot, selection, model.latency);
    heat_map::draw(frame, map, past, model.latency, slow_ns);
    draw_axis(frame, axis);
    timeline::draw(frame, below, past, model.latency, &timeline::ALL);
}

/// The latency from which on the row is slow, in nanoseconds.
pub(super) fn slow_from(snapshot: &Snapshot, selection: &Selection, latency: Latency) -> Option<u64> {
    match latency {
        Latency::Rtt => snapshot.thresholds.slow.from_ns(selection.total.rtt.map(|rtt| rtt.p50_ns)),
        Latency::Setup => Some(snapshot.thresholds.slow_setup_ns),
    }
}

/// Draws `-5m … now` below the slots.
fn draw_axis(frame: &mut Frame<'_>, area: Rect) {
    let [_, bars, _] = timeline::columns(area);
    let minute = bars.width / timeline::minutes();
    for ago in 1..=timeline::minutes() {
        let left = bars.width.saturating_sub(minute * ago);
        let label = Rect { x: bars.x + left, width: minute.min(bars.width), ..bars };
        frame.render_widget(Line::styled(format!("-{ago}m"), style::faint()), label);
    }
    let now = Rect { x: bars.right().saturating_sub(3), width: bars.width.min(3), ..bars };
    frame.render_widget(Line::styled("now", style::faint()), now);
}
