//! The first table: peers, or groups of peers.

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};
use ratatui::text::Line;

use super::table::Grid;
use super::{ViewContext, style};
use crate::output::format::{brief_rate, estimate};
use crate::tui::columns::Column;
use crate::tui::columns::peers::{letters, title, wanted};
use crate::tui::columns::{LEAST_PEER, LONGEST_PEER};
use crate::tui::model::Pane;
use tcptop_core::{Row, RowOrder, Strangers};

/// Draws titles and as many rows as fit.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, view: &ViewContext<'_>) {
    let ViewContext { snapshot, model, cells } = view;
    let strangers = strangers(&snapshot.strangers);
    let heights = [Constraint::Fill(1), Constraint::Length(strangers.is_some().into())];
    let [area, last] = area.layout(&Layout::vertical(heights));
    frame.render_widget(Line::styled(strangers.unwrap_or_default(), style::strong()), last);
    let interfaces = cells.render.interfaces.len();
    let order = model.query.sort.by;
    let columns = wanted(model.columns.as_deref(), snapshot, interfaces, order);
    let rows = model.rows();
    let is_all = snapshot.matching == snapshot.row_count;
    let name = title(snapshot.query.group);
    let title = if !is_all {
        format!("{name} ({} of {})", snapshot.matching, snapshot.row_count)
    } else if rows.len() < usize::from(area.height) {
        name.to_owned()
    } else {
        format!("{name} ({})", snapshot.row_count)
    };
    let grid = Grid {
        columns: &columns,
        flexible: (LEAST_PEER, LONGEST_PEER),
        title: &title,
        order: Some(model.query.sort.by),
        letters: |row, _| letters(row),
        style: |row| style::verdict(row.verdict),
        explains_verdict: Column::<Row, RowOrder>::explains_verdict,
        selected: Some(model.selected_row()),
        is_active: model.is_view_focused() && model.pane == Pane::Rows,
    };
    grid.draw(frame, area, &rows, cells);
}

/// What stands for addresses that are too many to have a row each, while they go on.
fn strangers(strangers: &Strangers) -> Option<String> {
    let Strangers { addresses, figures, new_per_s, .. } = strangers;
    let (addresses, per_s) = (estimate(*addresses), brief_rate(*new_per_s));
    let is_on = figures.counts.attempts() > 0;
    is_on.then(|| format!("   SYNs from {addresses} addresses, none completed, {per_s}/s"))
}
