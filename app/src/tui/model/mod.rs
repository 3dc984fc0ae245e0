//! The state of the screen, and what each action does to it. Pure.

mod action;
mod prompt;
mod selected_row;
mod update;

use std::sync::Arc;

use probe_common::Endpoint;
use ratatui::layout::Size;

pub use action::{Action, Edit, Effect, Page, Place, View};
pub use prompt::Prompt;
pub use selected_row::SelectedRow;

use super::command::Command;
use super::event_rows::{EventKey, EventRow, Folded, fold};
use super::layout::ScreenLayout;
use super::resolver::{Address, HostNames};
use tcptop_core::{Flow, Latency, Query, Row, RowKey, Snapshot, SnapshotRequest, Span};

/// Rows of a table that are requested: more than any terminal shows, few enough to be copied four times a second.
const ROWS: usize = 500;
/// Entries of the event log that are requested, of which rows are folded: all that are kept, and on the first screen, which
/// shows a few rows, fewer.
const LOG_ENTRIES: usize = 4_096;
const FIRST_SCREEN_ENTRIES: usize = 500;
/// Windows that can be chosen, in seconds.
const WINDOWS_S: [u64; 7] = [5, 10, 30, 60, 300, 900, 3_600];
/// How long the status line tells what a key did, in nanoseconds.
const STATUS_NS: u64 = 5_000_000_000;
/// More lines than any page has.
const MAX_PAGE_LINES: usize = 1_000;

/// The table of the first screen that the arrow keys move in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// The first table.
    #[default]
    Rows,
    /// The flows of its selected row.
    Flows,
}

/// A page over the view, and how far it is scrolled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Overlay {
    /// What it shows.
    pub page: Page,
    /// The first line that is shown, or the selected line of a list.
    pub line: usize,
}

/// How the screen is left.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// The terminal is as it was before.
    Clean,
    /// The last frame is printed, so that it stays in the scrollback.
    KeepingScreen,
}

/// An order of rows that is held.
#[derive(Clone, Debug, Default)]
struct HeldOrder {
    rows: Vec<RowKey>,
    flows: Vec<u64>,
}

/// The state of the screen.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The snapshot that is shown.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The newest snapshot, while the display is frozen.
    newest: Option<Arc<Snapshot>>,
    /// Whether the display is frozen.
    pub frozen: bool,
    /// Filter, order and grouping.
    pub query: Query,
    /// The filter prompt, while it is open.
    pub prompt: Option<Prompt>,
    /// The columns of the first table, by name; `None` for all.
    pub columns: Option<Vec<&'static str>>,
    /// What the screen shows.
    pub view: View,
    /// The latency that histograms show.
    pub latency: Latency,
    /// The focused table of the first screen.
    pub pane: Pane,
    /// The pages over the view, the uppermost last.
    pub overlays: Vec<Overlay>,
    /// The flow whose details are shown, as it was last known.
    pub detailed_flow: Option<Flow>,
    rows: SelectedRow<RowKey>,
    flows: SelectedRow<u64>,
    events: SelectedRow<EventKey>,
    folded_events: Vec<Folded>,
    held: Option<HeldOrder>,
    /// Host names.
    pub names: HostNames,
    /// The SSH connection that the screen is used over: this host's end, and the other end.
    pub own_session: Option<[Endpoint; 2]>,
    /// The window that was chosen last, in seconds.
    window_s: Option<u64>,
    /// A message from the rest of the program.
    pub notice: Option<String>,
    /// What the last key did, and when, in nanoseconds of the snapshot's clock.
    status: Option<(String, u64)>,
    /// The size of the terminal.
    pub size: Size,
    /// Set when the screen is to be left.
    pub leaving: Option<Leaving>,
}

impl Model {
    /// The first state, with this filter, order and grouping.
    #[must_use]
    pub fn new(query: Query) -> Self {
        Self { query, size: Size { width: 80, height: 24 }, ..Self::default() }
    }

    /// What the screen shows now and needs to know.
    #[must_use]
    pub fn request(&self) -> SnapshotRequest {
        let layout = ScreenLayout::of(self.size);
        let shows_row_details = self.overlays.iter().any(|overlay| overlay.page == Page::Row);
        let on_first_screen = self.view == View::Peers;
        SnapshotRequest {
            evidence: false,
            span: Span::Window,
            query: self.query.clone(),
            rows: ROWS,
            selected: self.rows.id(),
            selected_flows: if on_first_screen { ROWS } else { 0 },
            flows: if self.view == View::Flows { ROWS } else { 0 },
            flow: self.overlays.iter().rev().find_map(|overlay| match overlay.page {
                Page::Flow(name) => Some(name),
                Page::Help(_) | Page::Row | Page::Order => None,
            }),
            log: match self.view {
                View::Events => LOG_ENTRIES,
                View::Peers if layout.events => FIRST_SCREEN_ENTRIES,
                View::Peers | View::Flows | View::Latency => 0,
            },
            timeline: shows_row_details || self.view == View::Latency || (on_first_screen && layout.timeline),
        }
    }

    /// Receives a new snapshot.
    pub fn refresh(&mut self, snapshot: Arc<Snapshot>) {
        if self.frozen {
            self.newest = Some(snapshot);
            return;
        }
        self.folded_events = snapshot.log.as_ref().map(|log| fold(&log.rows)).unwrap_or_default();
        self.snapshot = Some(snapshot);
        self.follow_selection();
    }

    /// Finds in the new snapshot what was selected in the previous one.
    fn follow_selection(&mut self) {
        let (rows, flows, events) = (self.row_keys(), self.flow_ids(), self.event_keys());
        self.rows.follow(&rows);
        self.flows.follow(&flows);
        self.events.follow(&events);
        if let Some(flow) = self.snapshot.as_ref().and_then(|snapshot| snapshot.flow.clone()) {
            self.detailed_flow = Some(flow);
        }
    }

    /// For how long the display has been frozen, in nanoseconds.
    #[must_use]
    pub fn frozen_for_ns(&self) -> Option<u64> {
        let shown = self.snapshot.as_ref().filter(|_| self.frozen)?;
        let newest = self.newest.as_ref().unwrap_or(shown);
        Some(newest.taken_ns.saturating_sub(shown.taken_ns))
    }

    /// Shows in the last line what a key did, for five seconds.
    pub fn set_status(&mut self, text: &str) {
        self.status = Some((text.to_owned(), self.now_ns()));
    }

    /// What the last key did, if that was within the last five seconds.
    #[must_use]
    pub fn status(&self) -> Option<&str> {
        let (text, when_ns) = self.status.as_ref()?;
        (self.now_ns().saturating_sub(*when_ns) < STATUS_NS).then_some(text)
    }

    /// The time of the newest snapshot.
    fn now_ns(&self) -> u64 {
        let newest = self.newest.as_ref().or(self.snapshot.as_ref());
        newest.map_or(0, |snapshot| snapshot.taken_ns)
    }

    /// Returns whether the order of the rows is held.
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// The rows of the first table, as they are shown.
    #[must_use]
    pub fn rows(&self) -> Vec<&Row> {
        let rows = self.snapshot.as_ref().map_or(&[][..], |snapshot| &snapshot.rows);
        let keys: Vec<RowKey> = rows.iter().map(|row| row.key).collect();
        let held = self.held.as_ref().map(|held| &held.rows[..]);
        selected_row::held_order(&keys, held).into_iter().map(|index| &rows[index]).collect()
    }

    /// The flows of this view, as they are shown.
    #[must_use]
    pub fn flows(&self) -> Vec<&Flow> {
        let flows = self.snapshot.as_ref().and_then(|snapshot| match self.view {
            View::Flows => snapshot.flows.as_ref().map(|flows| &flows.rows),
            View::Peers | View::Latency | View::Events => {
                snapshot.selection.as_ref().map(|selection| &selection.flows)
            }
        });
        let flows = flows.map_or(&[][..], |flows| flows);
        let ids: Vec<u64> = flows.iter().map(|flow| flow.id()).collect();
        let held = self.held.as_ref().map(|held| &held.flows[..]);
        selected_row::held_order(&ids, held).into_iter().map(|index| &flows[index]).collect()
    }

    /// The rows of the event log.
    #[must_use]
    pub fn events(&self) -> &[Folded] {
        &self.folded_events
    }

    /// One of them, with its latest entry.
    #[must_use]
    pub fn event(&self, row: usize) -> Option<EventRow> {
        let folded = *self.folded_events.get(row)?;
        let log = self.snapshot.as_ref()?.log.as_ref()?;
        log.rows.get(folded.latest).map(|latest| EventRow { folded, latest: latest.clone() })
    }

    /// The position of the selected row.
    #[must_use]
    pub fn selected_row(&self) -> usize {
        self.rows.row(&self.row_keys())
    }

    /// The position of the selected flow.
    #[must_use]
    pub fn selected_flow(&self) -> usize {
        self.flows.row(&self.flow_ids())
    }

    /// The position of the selected event.
    #[must_use]
    pub fn selected_event(&self) -> usize {
        self.events.row(&self.event_keys())
    }

    fn row_keys(&self) -> Vec<RowKey> {
        self.rows().iter().map(|row| row.key).collect()
    }

    fn flow_ids(&self) -> Vec<u64> {
        self.flows().iter().map(|flow| flow.id()).collect()
    }

    fn event_keys(&self) -> Vec<EventKey> {
        self.folded_events.iter().map(|event| event.key).collect()
    }

    /// What the keys apply to now.
    #[must_use]
    pub fn place(&self) -> Place {
        if self.prompt.is_some() {
            return Place::Prompt;
        }
        match self.overlays.last().map(|overlay| overlay.page) {
            Some(Page::Help(_)) => Place::Help,
            Some(Page::Row | Page::Flow(_)) => Place::Details,
            Some(Page::Order) => Place::Order,
            None => self.place_below(),
        }
    }

    /// What they apply to when nothing is shown over the view.
    fn place_below(&self) -> Place {
        match (self.view, self.pane) {
            (View::Peers, Pane::Rows) => Place::Rows,
            (View::Peers, Pane::Flows) => Place::FlowPane,
            (View::Flows, _) => Place::Flows,
            (View::Latency, _) => Place::Latency,
            (View::Events, _) => Place::Events,
        }
    }

    /// Returns whether the keys apply to a table: no page is open over it, and no prompt.
    #[must_use]
    pub const fn is_view_focused(&self) -> bool {
        self.prompt.is_none() && self.overlays.is_empty()
    }

    /// Returns whether the order that can be chosen here is that of flows.
    #[must_use]
    pub fn sorts_flows(&self) -> bool {
        matches!(self.place_below(), Place::FlowPane | Place::Flows)
    }

    /// Addresses on the screen that have to be looked up.
    #[must_use]
    pub fn unresolved(&self) -> Vec<Address> {
        if !self.names.on {
            return Vec::new();
        }
        let rows = self.rows().into_iter().filter_map(|row| super::columns::peers::address(&row.key));
        let flows = self.flows().into_iter().map(|flow| flow.remote().address);
        let events = self.events().iter().filter_map(|event| event.key.peer());
        let all = rows.chain(flows).chain(events.map(|peer| peer.service.address));
        let mut new: Vec<Address> = all.filter(|address| self.names.is_new(address)).collect();
        new.dedup();
        new
    }

    /// Limits how far the uppermost page is scrolled to the number of its lines that do not fit.
    pub fn limit_scroll(&mut self, lines: usize) {
        if let Some(overlay) = self.overlays.last_mut() {
            overlay.line = overlay.line.min(lines);
        }
    }

    /// Carries out an action.
    pub fn update(&mut self, action: Action) -> Effect {
        self.status = None;
        match action {
            Action::Quit => self.leaving = Some(Leaving::Clean),
            Action::QuitAndKeep => self.leaving = Some(Leaving::KeepingScreen),
            Action::Help => self.help(),
            Action::Back => self.back(),
            Action::Enter => self.enter(),
            Action::Show(view) => self.show(view),
            Action::NextView => self.show(self.view.next()),
            Action::PreviousView => self.show(self.view.previous()),
            Action::ToFlows if ScreenLayout::of(self.size).flows => self.pane = Pane::Flows,
            Action::ToFlows => self.show(View::Flows),
            Action::ToRows => self.pane = Pane::Rows,
            Action::Move(rows) => self.step(|row| row.saturating_add_signed(rows)),
            Action::Page(pages) => {
                let page = isize::try_from(self.size.height / 2).unwrap_or(1).max(1);
                self.step(|row| row.saturating_add_signed(pages * page));
            }
            Action::First => self.step(|_| 0),
            Action::Last => self.step(|_| usize::MAX),
            Action::Freeze => self.freeze(),
            Action::Hold => self.hold(),
            Action::WiderWindow => return self.window(|now| WINDOWS_S.into_iter().find(|s| *s > now)),
            Action::NarrowerWindow => {
                return self.window(|now| WINDOWS_S.into_iter().rev().find(|s| *s < now));
            }
            Action::ChooseOrder => self.choose_order(),
            Action::NextOrder => self.sort(1),
            Action::PreviousOrder => self.sort(-1),
            Action::Reverse => self.reverse(),
            Action::Group => self.group(),
            Action::OtherLatency => self.latency = self.latency.other(),
            Action::HostNames => self.names.on = !self.names.on,
            Action::Copy => return Effect::Copy,
            Action::Redraw => return Effect::Redraw,
            Action::Pause => return Effect::Pause,
            Action::Reset => {
                self.set_status("counting from now on");
                return Effect::Send(Command::Reset);
            }
            Action::Filter => self.prompt = Some(Prompt::with(self.query.filter.to_string())),
            Action::Edit(edit) => self.edit(edit),
        }
        Effect::None
    }
}
