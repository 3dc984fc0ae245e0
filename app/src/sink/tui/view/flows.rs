//! The flows of the selected peer, newest first.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::Paragraph;

use super::columns::{self, Column};
use super::style;
use crate::flow::{FlowReport, Leg};
use crate::sink::format::{UNKNOWN, age, maybe_duration};
use crate::sink::tui::model::{Model, Pane};
use crate::snapshot::{Selection, Snapshot};

/// The longest word, and a space before it.
const LEAST_OUTCOME: usize = 12;
const MARGIN: usize = 2;

const COLUMNS: [Column<FlowReport>; 6] = [
    Column { title: "PORT", width: 5, priority: 0, cell: |flow, _| flow.port().to_string() },
    Column { title: " OUTCOME", width: 0, priority: 0, cell: |flow, _| format!(" {}", flow.outcome.name()) },
    Column { title: "RTT", width: 6, priority: 0, cell: |flow, _| rtt(flow) },
    Column { title: "SETUP", width: 6, priority: 2, cell: |flow, _| maybe_duration(flow.setup_ns) },
    Column { title: "TRIES", width: 5, priority: 3, cell: |flow, _| tries(flow) },
    Column {
        title: "AGE",
        width: 6,
        priority: 1,
        cell: |flow, now_ns| age(now_ns.saturating_sub(flow.first_ns)),
    },
];

/// Bounds are too long for the column: the upper one, marked.
fn rtt(flow: &FlowReport) -> String {
    match flow.rtt() {
        Some(Leg::Exact(ns)) => maybe_duration(Some(ns)),
        Some(Leg::Between { max_ns, .. }) => format!("<{}", maybe_duration(Some(max_ns))),
        None => UNKNOWN.to_owned(),
    }
}

fn tries(flow: &FlowReport) -> String {
    flow.tries.map_or_else(|| UNKNOWN.to_owned(), |tries| tries.to_string())
}

/// Draws titles and as many rows as fit, the selected one among them.
pub(super) fn draw(
    frame: &mut Frame<'_>,
    area: Rect,
    snapshot: &Snapshot,
    detail: &Selection,
    model: &Model,
) {
    let width = usize::from(area.width).saturating_sub(MARGIN);
    let (columns, flexible) = columns::fit(&COLUMNS, width, LEAST_OUTCOME);
    let titles = columns::line(&columns, flexible, |column| column.title.to_owned());
    let mut lines = vec![Line::styled(format!(" {titles}"), style::strong())];

    let shown = usize::from(area.height).saturating_sub(1);
    let selected = (model.pane == Pane::Flows).then_some(model.flow_row);
    let first = columns::scroll(selected.unwrap_or(0), detail.flows.len(), shown);
    for (number, flow) in detail.flows.iter().enumerate().skip(first).take(shown) {
        let mark = if selected == Some(number) { '▸' } else { ' ' };
        let cells = columns::line(&columns, flexible, |column| (column.cell)(flow, snapshot.taken_ns));
        let mut look = style::outcome(flow.outcome);
        if selected == Some(number) {
            look = look.patch(style::strong());
        }
        lines.push(Line::styled(format!("{mark}{cells}"), look));
    }
    let hidden = detail.flow_count.saturating_sub(detail.flows.len());
    if hidden > 0 && lines.len() <= shown {
        lines.push(Line::styled(format!("  and {hidden} more"), style::faint()));
    }
    frame.render_widget(Paragraph::new(lines), area);
}
