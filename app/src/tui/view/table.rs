//! A table with titles and a selected row.

use ratatui::Frame;
use ratatui::layout::{Constraint, Rect};
use ratatui::style::Style;
use ratatui::text::Line;
use ratatui::widgets::{Row as Cells, Table};

use super::style;
use crate::tui::columns::{self, CellContext, Column, Side};

/// Width of the margin: a letter, and another one or the mark of the selected row. A space follows.
const MARGIN: u16 = 2;

/// How a table is drawn.
pub(super) struct Grid<'a, Row: 'static, Order: 'static> {
    /// The columns, whether they fit or not.
    pub columns: &'a [&'static Column<Row, Order>],
    /// Smallest and largest width of the flexible one.
    pub flexible: (u16, u16),
    /// The title of the flexible one.
    pub title: &'a str,
    /// The current order.
    pub order: Option<Order>,
    /// The letter in the margin, and one beside it where the row is not marked.
    pub letters: fn(&Row, &CellContext<'_>) -> [char; 2],
    /// The style of a row.
    pub style: fn(&Row) -> Style,
    /// Returns whether a column shows the reason for the row's verdict.
    pub explains_verdict: fn(&Column<Row, Order>, &Row) -> bool,
    /// The selected row.
    pub selected: Option<usize>,
    /// Whether the keys apply to this table: only then the selected row has a mark, so that there is one on the screen.
    pub is_active: bool,
}

impl<Row: 'static, Order: Copy + PartialEq + 'static> Grid<'_, Row, Order> {
    /// Draws titles and as many rows as fit, the selected one among them.
    pub(super) fn draw(&self, frame: &mut Frame<'_>, area: Rect, rows: &[&Row], context: &CellContext<'_>) {
        let (least, greatest) = self.flexible;
        let room = area.width.saturating_sub(MARGIN + 1);
        let (columns, left) = columns::fit(self.columns, room, least);
        let widths: Vec<u16> = columns
            .iter()
            .map(|column| if column.width == 0 { left.min(greatest) } else { column.width })
            .collect();
        let shown = usize::from(area.height).saturating_sub(1);
        let first = scroll(self.selected.unwrap_or(0), rows.len(), shown);
        let cells = rows.iter().enumerate().skip(first).take(shown).map(|(number, row)| {
            let is_selected = self.selected == Some(number);
            let [letter, beside] = (self.letters)(row, context);
            let beside = if is_selected && self.is_active { '▸' } else { beside };
            let margin = Line::from(format!("{letter}{beside}"));
            let cells =
                columns.iter().zip(&widths).map(|(column, width)| self.cell(column, *width, row, context));
            let style = (self.style)(row);
            let style = if is_selected { style.patch(style::strong()) } else { style };
            Cells::new([margin].into_iter().chain(cells)).style(style)
        });
        let titles = columns.iter().zip(&widths).map(|(column, width)| self.head(column, *width));
        let header = Cells::new([Line::default()].into_iter().chain(titles)).style(style::strong());
        let constraints = [MARGIN].into_iter().chain(widths.iter().copied()).map(Constraint::Length);
        let table = Table::new(cells, constraints).header(header).column_spacing(1);
        frame.render_widget(table, area);
    }

    fn cell(
        &self,
        column: &Column<Row, Order>,
        width: u16,
        row: &Row,
        context: &CellContext<'_>,
    ) -> Line<'static> {
        let text = columns::shorten(&(column.value)(row, context).text(), width.into());
        let style = if (self.explains_verdict)(column, row) { style::strong() } else { Style::new() };
        aligned(text, column.side).style(style)
    }

    /// The sort column is underlined.
    fn head(&self, column: &Column<Row, Order>, width: u16) -> Line<'static> {
        let title = if column.width == 0 { self.title } else { column.title };
        let is_sorted = self.order.is_some() && column.order == self.order;
        let style = if is_sorted { style::underlined() } else { Style::new() };
        let text = ratatui::text::Span::styled(columns::shorten(title, width.into()), style);
        match column.side {
            Side::Left => Line::from(text),
            Side::Right => Line::from(text).right_aligned(),
        }
    }
}

fn aligned(text: String, side: Side) -> Line<'static> {
    match side {
        Side::Left => Line::from(text),
        Side::Right => Line::from(text).right_aligned(),
    }
}

/// The first row that is shown, so that `selected` of `rows` is among the `shown` ones.
pub(super) fn scroll(selected: usize, rows: usize, shown: usize) -> usize {
    selected.saturating_sub(shown / 2).min(rows.saturating_sub(shown))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_selected_row_is_shown() {
        assert_eq!(scroll(0, 100, 10), 0);
        assert_eq!(scroll(50, 100, 10), 45);
        assert_eq!(scroll(99, 100, 10), 90);
        assert_eq!(scroll(3, 5, 10), 0);
    }
}
