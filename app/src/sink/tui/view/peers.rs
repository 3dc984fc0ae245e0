//! The peers, worst first.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;

use super::columns::{self, Column};
use super::style;
use crate::sink::format::{UNKNOWN, age, maybe_duration, percent, rate};
use crate::sink::tui::model::{Model, Pane};
use crate::snapshot::{Row, Snapshot};

/// An IPv4 address with a port takes 21 columns at the most.
const LEAST_PEER: usize = 21;
/// An IPv6 address with a port: more room would only tear names and figures apart.
const LONGEST_PEER: usize = 47;
/// The verdict's letter and the mark of the selected row.
const MARGIN: usize = 3;

const COLUMNS: [Column<Row>; 9] = [
    Column { title: "PEER", width: 0, priority: 0, cell: |row, _| row.key.to_string() },
    Column { title: "NEW/s", width: 5, priority: 3, cell: |row, _| rate(row.new_per_s) },
    Column {
        title: "P50",
        width: 6,
        priority: 2,
        cell: |row, _| maybe_duration(row.figures.rtt.map(|rtt| rtt.p50_ns)),
    },
    Column {
        title: "P90",
        width: 6,
        priority: 5,
        cell: |row, _| maybe_duration(row.figures.rtt.map(|rtt| rtt.p90_ns)),
    },
    Column {
        title: "P99",
        width: 6,
        priority: 1,
        cell: |row, _| maybe_duration(row.figures.rtt.map(|rtt| rtt.p99_ns)),
    },
    Column {
        title: "UNANS",
        width: 5,
        priority: 0,
        cell: |row, _| row.figures.outcomes.silent().to_string(),
    },
    Column {
        title: "REFUSED",
        width: 7,
        priority: 0,
        cell: |row, _| row.figures.outcomes.refused.to_string(),
    },
    Column {
        title: "RETR%",
        width: 5,
        priority: 6,
        cell: |row, _| percent(row.figures.outcomes.retransmit_share()),
    },
    Column { title: "SINCE", width: 6, priority: 4, cell: since },
];

fn since(row: &Row, now_ns: u64) -> String {
    row.since_ns.map_or_else(|| UNKNOWN.to_owned(), |since_ns| age(now_ns.saturating_sub(since_ns)))
}

/// Draws titles and as many rows as fit, the selected one among them.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, snapshot: &Snapshot, model: &Model) {
    let width = usize::from(area.width).saturating_sub(MARGIN);
    let (columns, flexible) = columns::fit(&COLUMNS, width, LEAST_PEER);
    let flexible = flexible.min(LONGEST_PEER);
    let titles = columns::line(&columns, flexible, |column| column.title.to_owned());
    let mut lines = vec![Line::styled(format!("   {titles}"), style::strong())];

    let shown = usize::from(area.height).saturating_sub(1);
    let selected = model.peer_row();
    let first = columns::scroll(selected, snapshot.rows.len(), shown);
    for (number, row) in snapshot.rows.iter().enumerate().skip(first).take(shown) {
        let letter = row.verdict.map_or(' ', |verdict| verdict.letter());
        let mark = if number == selected { '▸' } else { ' ' };
        let cells = columns::line(&columns, flexible, |column| (column.cell)(row, snapshot.taken_ns));
        let mut look = style::verdict(row.verdict);
        if number == selected && model.pane == Pane::Peers {
            look = look.patch(style::strong());
        }
        lines.push(Line::styled(format!("{letter}{mark} {cells}"), look));
    }
    frame.render_widget(ratatui::widgets::Paragraph::new(lines), area);
}
