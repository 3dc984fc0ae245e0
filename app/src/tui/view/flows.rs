//! Tables of flows: those of the selected row, and those of all.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};

use super::table::Grid;
use super::{ViewContext, empty, rule, style};
use crate::tui::columns::flows::{LEAST_PEER, LONGEST_PEER, has_peers, wanted};
use crate::tui::columns::{Column, CellContext};
use crate::tui::model::Pane;
use tcptop_core::snapshot::{FlowOrder, Selection};
use tcptop_core::table::{FlowReport, Outcome};

/// What stands above the flows of the selected row: whose, and how many.
pub(super) fn title(selection: &Selection, context: &CellContext<'_>) -> String {
    let name = context.row(&selection.row.key);
    let (matching, count) = (selection.matching, selection.flow_count);
    if matching == count {
        format!("flows of {name}")
    } else {
        format!("flows of {name}: {matching} of {count}")
    }
}

/// Draws those of the selected row.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, shown: &ViewContext<'_>, selection: &Selection) {
    let columns = wanted(has_peers(selection.row.key.group()), 1);
    table(frame, area, shown, &columns, shown.model.pane == Pane::Flows);
}

/// Draws those of all.
pub(super) fn draw_all(frame: &mut Frame<'_>, area: Rect, shown: &ViewContext<'_>) {
    let ViewContext { snapshot, model, context } = shown;
    let [head, body] = Layout::vertical([Constraint::Length(1), Constraint::Fill(1)]).areas(area);
    let title = match &snapshot.flows {
        // The snapshot was taken before this view was opened.
        None => "flows".to_owned(),
        Some(flows) if flows.searched < 1.0 => {
            format!(
                "flows: {} of {}, {:.0} % searched",
                flows.matching,
                snapshot.flow_count,
                flows.searched * 100.0
            )
        }
        Some(flows) if flows.matching < snapshot.flow_count => {
            format!("flows: {} of {}", flows.matching, snapshot.flow_count)
        }
        Some(_) => format!("flows: {}", snapshot.flow_count),
    };
    frame.render_widget(rule::ruled(head.width, &title), head);
    match &snapshot.flows {
        None if model.frozen => return empty::not_there_yet(frame, body, model),
        Some(flows) if flows.rows.is_empty() => return empty::nothing_matches(frame, body, "flow"),
        None | Some(_) => {}
    }
    table(frame, body, shown, &wanted(true, context.render.interfaces.len()), true);
}

fn table(
    frame: &mut Frame<'_>,
    area: Rect,
    shown: &ViewContext<'_>,
    columns: &[&'static Column<FlowReport, FlowOrder>],
    is_active: bool,
) {
    let ViewContext { model, context, .. } = shown;
    let grid = Grid {
        columns,
        flexible: (LEAST_PEER, LONGEST_PEER),
        title: "PEER",
        order: Some(model.query.flow_sort.by),
        letter: |flow, context| if context.is_own_session(&flow.local, &flow.remote) { '@' } else { ' ' },
        look: |flow| style::outcome(flow.outcome),
        explains_verdict: |column, flow| column.name == "outcome" && is_failure(flow.outcome),
        selected: is_active.then(|| model.selected_flow()),
        is_active,
    };
    grid.draw(frame, area, &model.flows(), context);
}

const fn is_failure(outcome: Outcome) -> bool {
    match outcome {
        Outcome::Unanswered | Outcome::HalfOpen | Outcome::Refused | Outcome::Reset => true,
        Outcome::Pending | Outcome::Established | Outcome::Closed | Outcome::Unknown => false,
    }
}
