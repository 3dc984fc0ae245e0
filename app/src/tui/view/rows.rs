//! The first table: peers, or what several have in common.

use ratatui::Frame;
use ratatui::layout::Rect;

use super::table::Grid;
use super::{ViewContext, style};
use crate::tui::columns::Column;
use crate::tui::columns::rows::{LEAST_NAME, LONGEST_NAME, letter, title, wanted};
use crate::tui::model::Pane;
use tcptop_core::snapshot::{Row, RowOrder};

/// Draws titles and rows.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, shown: &ViewContext<'_>) {
    let ViewContext { snapshot, model, context } = shown;
    let columns = wanted(model.columns.as_deref(), snapshot.query.group, context.render.interfaces.len());
    let rows = model.rows();
    let all = snapshot.matching == snapshot.row_count && rows.len() < usize::from(area.height);
    let title = title(snapshot.query.group).to_owned();
    let counted = if snapshot.matching == snapshot.row_count {
        format!("{title} ({})", snapshot.row_count)
    } else {
        format!("{title} ({} of {})", snapshot.matching, snapshot.row_count)
    };
    let grid = Grid {
        columns: &columns,
        flexible: (LEAST_NAME, LONGEST_NAME),
        title: if all { &title } else { &counted },
        order: Some(model.query.sort.by),
        letter: |row, _| letter(row),
        look: |row| style::verdict(row.verdict),
        explains_verdict: Column::<Row, RowOrder>::explains_verdict,
        selected: Some(model.selected_row()),
        is_active: model.pane == Pane::Rows,
    };
    grid.draw(frame, area, &rows, context);
}
