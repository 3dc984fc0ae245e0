//! The list of orders.

use ratatui::Frame;
use ratatui::layout::Rect;
use ratatui::text::Line;
use ratatui::widgets::{Block, Clear, List, ListState};

use super::style;
use crate::tui::model::Model;
use tcptop_core::{FlowOrder, RowOrder};

/// Fits the longest name and the title.
const WIDTH: u16 = 24;

/// Draws the list over the upper right of the area, with `line` selected.
pub(super) fn draw(frame: &mut Frame<'_>, area: Rect, model: &Model, line: usize) {
    let flows = FlowOrder::ALL.map(FlowOrder::name);
    let rows = RowOrder::ALL.map(RowOrder::name);
    let (names, title) =
        if model.sorts_flows() { (&flows[..], " sort flows by ") } else { (&rows[..], " sort rows by ") };
    let height = u16::try_from(names.len() + 2).unwrap_or(u16::MAX).min(area.height);
    let x = area.right().saturating_sub(WIDTH.min(area.width));
    let area = Rect { x, width: WIDTH.min(area.width), height, ..area };
    let list = List::new(names.iter().map(|name| Line::from(*name)))
        .block(Block::bordered().title(title))
        .highlight_symbol("▸ ")
        .highlight_style(style::strong());
    frame.render_widget(Clear, area);
    frame.render_stateful_widget(list, area, &mut ListState::default().with_selected(Some(line)));
}
