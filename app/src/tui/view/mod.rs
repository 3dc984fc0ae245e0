//! From a model to a frame. Pure: the same model gives the same frame.

mod details;
mod empty;
mod events;
mod flows;
mod footer;
mod header;
mod heat;
mod help;
mod histogram;
mod latency;
mod order;
mod overview;
mod page;
mod rows;
mod rule;
mod style;
mod table;
mod timeline;

use ratatui::Frame;
use ratatui::layout::{Constraint, Layout, Rect};

use super::columns::{self, CellContext};
use super::layout::{ScreenLayout, MIN_SIZE};
use super::model::{Overlay, Model, Page, Place, View};
use crate::output::RenderContext;
use tcptop_core::snapshot::{Selection, Snapshot};
use tcptop_core::table::Thresholds;

/// Draws everything. Gives how many lines of the uppermost page there is no room for.
pub fn draw(frame: &mut Frame<'_>, model: &Model, render: &RenderContext) -> usize {
    let area = frame.area();
    if !ScreenLayout::of(area.as_size()).enough {
        frame.render_widget(format!("tcptop needs {}x{}; q quits", MIN_SIZE.width, MIN_SIZE.height), area);
        return 0;
    }
    let foot = footer::height(model, area.width);
    let [top, middle, bottom] =
        Layout::vertical([Constraint::Length(2), Constraint::Fill(1), Constraint::Length(foot)]).areas(area);
    footer::draw(frame, bottom, model);
    let Some(snapshot) = &model.snapshot else {
        frame.render_widget(format!("tcptop {}: starting", render.all_interfaces()), top);
        return levels(frame, middle, model, None);
    };
    let shown = ViewContext { snapshot, model, context: context(model, snapshot, render) };
    header::draw(frame, top, &shown);
    body(frame, middle, &shown);
    levels(frame, middle, model, Some(&shown))
}

/// The selected row, flow or event as a line of text, to be pasted somewhere.
#[must_use]
pub fn row_as_text(model: &Model, render: &RenderContext) -> Option<String> {
    let snapshot = model.snapshot.as_ref()?;
    let context = context(model, snapshot, render);
    if let Some(Overlay { page: Page::Flow(_), .. }) = model.overlays.last() {
        return model.read.as_ref().map(|flow| columns::flows::as_text(flow, &context));
    }
    match model.view {
        View::Peers if model.sorts_flows() => flow_as_text(model, &context),
        View::Flows => flow_as_text(model, &context),
        View::Peers | View::Latency => {
            model.rows().get(model.selected_row()).map(|row| columns::rows::as_text(row, &context))
        }
        View::Events => {
            model.events().get(model.selected_event()).map(|event| columns::events::as_text(event, &context))
        }
    }
}

fn flow_as_text(model: &Model, context: &CellContext<'_>) -> Option<String> {
    model.flows().get(model.selected_flow()).map(|flow| columns::flows::as_text(flow, context))
}

fn context<'a>(model: &'a Model, snapshot: &Snapshot, context: &'a RenderContext) -> CellContext<'a> {
    CellContext { now_ns: snapshot.taken_ns, context, names: &model.names, own_session: model.own_session }
}

/// What the views draw.
#[derive(Clone, Copy, Debug)]
struct ViewContext<'a> {
    snapshot: &'a Snapshot,
    model: &'a Model,
    context: CellContext<'a>,
}

impl ViewContext<'_> {
    /// Does this belong to the selected row? While the display is held another one can be selected, of which nothing
    /// is known but its line.
    fn is_held(&self, selection: &Selection) -> bool {
        let rows = self.model.rows();
        let selected = rows.get(self.model.selected_row());
        !self.model.frozen || selected.is_none_or(|row| row.key == selection.row.key)
    }
}

fn body(frame: &mut Frame<'_>, area: Rect, shown: &ViewContext<'_>) {
    if shown.snapshot.peer_count == 0 && shown.model.view != View::Events {
        return empty::nothing_yet(frame, area, &shown.context);
    }
    match shown.model.view {
        View::Peers => overview::draw(frame, area, shown),
        View::Flows => flows::draw_all(frame, area, shown),
        View::Latency => latency::draw(frame, area, shown),
        View::Events => events::draw(frame, area, shown),
    }
}

/// Draws what lies over the view. Gives how many of its lines there is no room for.
fn levels(frame: &mut Frame<'_>, area: Rect, model: &Model, shown: Option<&ViewContext<'_>>) -> usize {
    let Some(level) = model.overlays.last() else { return 0 };
    let text = match (level.page, shown) {
        (Page::Order, _) => {
            order::draw(frame, area, model, level.line);
            return usize::MAX;
        }
        (Page::Help(place), _) => {
            let thresholds = shown.map_or_else(Thresholds::default, |shown| shown.snapshot.thresholds);
            help::lines(place, &thresholds)
        }
        (Page::Row, Some(shown)) => details::row(shown).lines(),
        (Page::Flow(_), Some(shown)) => details::flow(shown).lines(),
        (Page::Row | Page::Flow(_), None) => return 0,
    };
    page::draw(frame, area, text, level.line)
}

/// The word for a place, above its help.
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
