//! The first table: peers, or groups of peers.

use ratatui::Frame;
use ratatui::layout::Rect;

use super::table::Grid;
use super::{ViewContext, style};
use crate::tui::columns::Column;
use crate::tui::columns::peers::{LEAST_NAME, LONGEST_NAME, letters, title, wanted};
use crate::tui::model::Pane;
use tcptop_core::{Row, RowOrder};

/// Draws titles and as many rows as fit.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, view: &ViewContext<'_>) {
    let ViewContext { snapshot, model, cells } = view;
    let interfaces = cells.render.interfaces.len();
    let order = model.query.sort.by;
    let columns = wanted(model.columns.as_deref(), snapshot.query.group, interfaces, order);
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
        flexible: (LEAST_NAME, LONGEST_NAME),
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
