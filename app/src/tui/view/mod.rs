//! Draws the model. Pure: the same model gives the same frame.

mod details;
mod empty;
mod events;
mod flows;
mod footer;
mod header;
mod heat_map;
mod help;
mod histogram;
mod latency;
mod order;
mod overlay;
mod overview;
mod peers;
mod rule;
mod style;
mod table;
mod timeline;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};

use super::columns::{self, CellContext};
use super::layout::{MIN_SIZE, ScreenLayout};
use super::model::{Model, Overlay, Page, Place, View};
use crate::output::RenderContext;
use tcptop_core::{Selection, Snapshot, Thresholds};

/// Draws the whole screen. Returns how many lines of the uppermost page do not fit.
pub fn draw(frame: &mut Frame<'_>, model: &Model, render: &RenderContext) -> usize {
    let area = frame.area();
    if !ScreenLayout::of(area.as_size()).fits {
        frame.render_widget(format!("tcptop needs {}x{}; q quits", MIN_SIZE.width, MIN_SIZE.height), area);
        return 0;
    }
    let (head, foot) = (header::height(model, render), footer::height(model, area.width));
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Length(head), Constraint::Fill(1), Constraint::Length(foot)])
            .areas(area);
    footer::draw(frame, bottom, model);
    let Some(snapshot) = &model.snapshot else {
        frame.render_widget(format!("tcptop {}: starting", render.all_interfaces()), top);
        return draw_overlay(frame, middle, model, None);
    };
    let view = ViewContext { snapshot, model, cells: cells(model, snapshot, render) };
    header::draw(frame, top, &view);
    draw_view(frame, middle, &view);
    draw_overlay(frame, middle, model, Some(&view))
}

/// The selected row, flow or event as a line of text, to be pasted somewhere.
#[must_use]
pub fn row_as_text(model: &Model, render: &RenderContext) -> Option<String> {
    let snapshot = model.snapshot.as_ref()?;
    let cells = cells(model, snapshot, render);
    if let Some(Overlay { page: Page::Flow(_), .. }) = model.overlays.last() {
        return model.detailed_flow.as_ref().map(|flow| columns::flows::as_text(flow, &cells));
    }
    match model.view {
        View::Peers if model.sorts_flows() => flow_as_text(model, &cells),
        View::Flows => flow_as_text(model, &cells),
        View::Peers | View::Latency => {
            model.rows().get(model.selected_row()).map(|row| columns::peers::as_text(row, &cells))
        }
        View::Events => {
            model.event(model.selected_event()).map(|event| columns::events::as_text(&event, &cells))
        }
    }
}

fn flow_as_text(model: &Model, cells: &CellContext<'_>) -> Option<String> {
    model.flows().get(model.selected_flow()).map(|flow| columns::flows::as_text(flow, cells))
}

fn cells<'a>(model: &'a Model, snapshot: &'a Snapshot, render: &'a RenderContext) -> CellContext<'a> {
    let processes = &snapshot.owners.rows;
    CellContext {
        now_ns: snapshot.taken_ns,
        render,
        names: &model.names,
        processes,
        sockets: &snapshot.sockets,
        own_session: model.own_session,
    }
}

/// What the views draw from.
#[derive(Clone, Copy, Debug)]
struct ViewContext<'a> {
    snapshot: &'a Snapshot,
    model: &'a Model,
    cells: CellContext<'a>,
}

impl ViewContext<'_> {
    /// Returns whether `selection` belongs to the selected row. While the display is frozen another row can be selected,
    /// of which only its line is known.
    fn is_of_selected_row(&self, selection: &Selection) -> bool {
        let rows = self.model.rows();
        let selected = rows.get(self.model.selected_row());
        !self.model.frozen || selected.is_none_or(|row| row.key == selection.row.key)
    }
}

fn draw_view(frame: &mut Frame<'_>, area: Rect, view: &ViewContext<'_>) {
    if view.snapshot.peer_count == 0 && view.model.view != View::Events {
        return empty::no_connections(frame, area, view.snapshot, &view.cells);
    }
    match view.model.view {
        View::Peers => overview::draw(frame, area, view),
        View::Flows => flows::draw_all(frame, area, view),
        View::Latency => latency::draw(frame, area, view),
        View::Events => events::draw(frame, area, view),
    }
}

/// Draws the uppermost page. Returns how many of its lines do not fit.
fn draw_overlay(frame: &mut Frame<'_>, area: Rect, model: &Model, view: Option<&ViewContext<'_>>) -> usize {
    let Some(overlay) = model.overlays.last() else { return 0 };
    let text = match (overlay.page, view) {
        (Page::Order, _) => {
            order::draw(frame, area, model, overlay.line);
            return usize::MAX;
        }
        (Page::Help(place), _) => {
            let thresholds = view.map_or_else(Thresholds::default, |view| view.snapshot.thresholds);
            help::lines(place, &thresholds)
        }
        (Page::Row, Some(view)) => details::row(view).lines(),
        (Page::Flow(_), Some(view)) => details::flow(view).lines(),
        (Page::Row | Page::Flow(_), None) => return 0,
    };
    overlay::draw(frame, area, text, overlay.line)
}

/// The name of a place in the title of its help.
const fn place_name(place: Place) -> &'static str {
    match place {
        Place::Rows => "peers",
        Place::FlowPane => "flows of a peer",
        Place::Flows => "flows",
        Place::Latency => "latency",
        Place::Events => "events",
        Place::Details => "details",
        Place::Help => "help",
        Place::Order => "sort by",
        Place::Prompt => "filter",
    }
}
