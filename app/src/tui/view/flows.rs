//! Tables of flows: those of the selected row, and all flows.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};

use super::table::Grid;
use super::{ViewContext, empty, rule, style};
use crate::tui::columns::flows::{has_peers, wanted};
use crate::tui::columns::{CellContext, Column};
use crate::tui::columns::{LEAST_PEER, LONGEST_PEER};
use crate::tui::model::Pane;
use tcptop_core::{Flow, FlowOrder, Flows, Outcome, Selection};

/// The title of the selected row's flows.
pub(super) fn title(selection: &Selection, cells: &CellContext<'_>) -> String {
    let name = cells.row(&selection.row.key);
    let (matching, count) = (selection.matching, selection.flow_count);
    if matching == count {
        format!("flows of {name}")
    } else {
        format!("flows of {name}: {matching} of {count}")
    }
}

/// Draws the selected row's flows.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, view: &ViewContext<'_>, selection: &Selection) {
    let columns = wanted(has_peers(selection.row.key.group()), 1, view.snapshot);
    table(frame, area, view, &columns, view.model.pane == Pane::Flows);
}

/// Draws all flows.
pub(super) fn draw_all(frame: &mut Frame<'_>, area: Rect, view: &ViewContext<'_>) {
    let ViewContext { snapshot, model, cells } = view;
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let title = match &snapshot.flows {
        // The snapshot was taken before this view was opened.
        None => "flows".to_owned(),
        Some(flows) => all_flows(flows, snapshot.flow_count),
    };
    frame.render_widget(rule::titled(head.width, &title), head);
    match &snapshot.flows {
        None if model.frozen => return empty::not_requested(frame, body, model),
        Some(flows) if flows.rows.is_empty() => return empty::no_match(frame, body, "flow"),
        None | Some(_) => {}
    }
    table(frame, body, view, &wanted(true, cells.render.interfaces.len(), snapshot), true);
}

fn all_flows(flows: &Flows, count: usize) -> String {
    let matching = flows.matching;
    if flows.searched < 1.0 {
        format!("flows: {matching} of {count}, {:.0} % searched", flows.searched * 100.0)
    } else if matching < count {
        format!("flows: {matching} of {count}")
    } else {
        format!("flows: {count}")
    }
}

fn table(
    frame: &mut Frame<'_>,
    area: Rect,
    view: &ViewContext<'_>,
    columns: &[&'static Column<Flow, FlowOrder>],
    is_active: bool,
) {
    let ViewContext { model, cells, .. } = view;
    let grid = Grid {
        columns,
        flexible: (LEAST_PEER, LONGEST_PEER),
        title: "PEER",
        order: Some(model.query.flow_sort.by),
        letters: |flow, cells| {
            [if cells.is_own_session(&flow.local(), &flow.remote()) { '@' } else { ' ' }, ' ']
        },
        style: |flow| style::outcome(flow.outcome()),
        explains_verdict: |column, flow| column.name == "outcome" && is_failure(flow.outcome()),
        selected: is_active.then(|| model.selected_flow()),
        is_active: is_active && model.is_view_focused(),
    };
    grid.draw(frame, area, &model.flows(), cells);
}

const fn is_failure(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Unanswered
        | Outcome::Unreachable
        | Outcome::FailedLocally
        | Outcome::HalfOpen
        | Outcome::Refused
        | Outcome::Reset
        | Outcome::Challenged => true,
        Outcome::Pending | Outcome::Established | Outcome::Closed | Outcome::Unknown => false,
    }
}
