//! What the person at the screen has chosen, and what each action makes of it. Pure.

mod action;
mod change;
mod mark;
mod prompt;

use std::sync::Arc;

use probe_common::Endpoint;
use ratatui::layout::Size;

pub use action::{Action, Edit, Effect, Page, Place, View};
pub use mark::Mark;
pub use prompt::Prompt;

use super::Command;
use super::columns;
use super::layout::Room;
use super::resolver::{Address, Names};
use tcptop_core::{Flow, LogEntry, Query, Row, RowKey, Snapshot, SnapshotRequest, Span};

/// Rows of a table that are asked for: more than any terminal shows, few enough to be copied often.
const ROWS: usize = 500;
/// Rows of the log on the first screen.
const LOG_ROWS: usize = 30;
/// Windows that can be chosen, in seconds.
const WINDOWS_S: [u64; 5] = [5, 10, 30, 60, 300];
/// How long it is said what a key did.
const NEWS_NS: u64 = 5_000_000_000;
/// No page is longer.
const LONGEST_PAGE: usize = 1_000;

/// Which table of the first screen the arrows move in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// The first one.
    #[default]
    Rows,
    /// The flows of its selected row.
    Flows,
}

/// Something over the view, and how far down it was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Level {
    /// What.
    pub page: Page,
    /// First line that is shown, or the line that is chosen.
    pub line: usize,
}

/// How the person leaves.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Leaving {
    /// With the screen as it was before.
    Clean,
    /// With the last screen in the scrollback.
    KeepingScreen,
}

/// The order of rows that is held.
#[derive(Clone, Debug, Default)]
struct Held {
    rows: Vec<RowKey>,
    flows: Vec<u64>,
}

/// The state of the screen.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The snapshot that is shown.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The newest snapshot, when the one that is shown is held.
    held_back: Option<Arc<Snapshot>>,
    /// Is the display held?
    pub frozen: bool,
    /// What is asked for.
    pub query: Query,
    /// The filter that is being typed.
    pub prompt: Option<Prompt>,
    /// The columns that were asked for, by name; all without.
    pub columns: Option<Vec<&'static str>>,
    /// What fills the screen.
    pub view: View,
    /// Which table of the first screen the arrows move in.
    pub pane: Pane,
    /// What lies over the view, the uppermost last.
    pub levels: Vec<Level>,
    /// The flow that is read about, as it was known last.
    pub read: Option<Flow>,
    rows: Mark<RowKey>,
    flows: Mark<u64>,
    events: Mark<u64>,
    held: Option<Held>,
    /// Names of hosts.
    pub names: Names,
    /// The connection that carries the screen: this host's end and the other.
    pub own_session: Option<[Endpoint; 2]>,
    /// The window that was asked for last, in seconds.
    window_s: Option<u64>,
    /// A message from the rest of the program.
    pub notice: Option<String>,
    /// What the last key did, where that cannot be seen otherwise; and when, in nanoseconds of the snapshot.
    said: Option<(String, u64)>,
    /// The terminal's.
    pub size: Size,
    /// Is it time to leave?
    pub leaving: Option<Leaving>,
}

impl Model {
    /// A screen that shows first what `query` asks for.
    #[must_use]
    pub fn new(query: Query) -> Self {
        Self { query, size: Size { width: 80, height: 24 }, ..Self::default() }
    }

    /// What this screen wants to see.
    #[must_use]
    pub fn request(&self) -> SnapshotRequest {
        let room = Room::of(self.size);
        let reads_row = self.levels.iter().any(|level| level.page == Page::Row);
        let on_first_screen = self.view == View::Peers;
        SnapshotRequest {
            span: Span::Window,
            query: self.query.clone(),
            rows: ROWS,
            selected: self.rows.chosen(),
            selected_flows: if on_first_screen { ROWS } else { 0 },
            flows: if self.view == View::Flows { ROWS } else { 0 },
            flow: self.levels.iter().rev().find_map(|level| match level.page {
                Page::Flow(name) => Some(name),
                Page::Help(_) | Page::Row | Page::Order => None,
            }),
            log: match self.view {
                View::Events => ROWS,
                View::Peers if room.log => LOG_ROWS,
                View::Peers | View::Flows | View::Latency => 0,
            },
            timeline: reads_row || self.view == View::Latency || (on_first_screen && room.past),
        }
    }

    /// Takes a new snapshot.
    pub fn refresh(&mut self, snapshot: Arc<Snapshot>) {
        if self.frozen {
            self.held_back = Some(snapshot);
            return;
        }
        self.snapshot = Some(snapshot);
        self.settle();
    }

    /// Finds again in the new snapshot what was selected in the one before.
    fn settle(&mut self) {
        let (rows, flows, events) = (self.row_keys(), self.flow_ids(), self.event_ids());
        self.rows.settle(&rows);
        self.flows.settle(&flows);
        self.events.settle(&events);
        if let Some(flow) = self.snapshot.as_ref().and_then(|snapshot| snapshot.flow.clone()) {
            self.read = Some(flow);
        }
    }

    /// For how long the display has been held, in nanoseconds.
    #[must_use]
    pub fn frozen_for_ns(&self) -> Option<u64> {
        let shown = self.snapshot.as_ref().filter(|_| self.frozen)?;
        let newest = self.held_back.as_ref().unwrap_or(shown);
        Some(newest.taken_ns.saturating_sub(shown.taken_ns))
    }

    /// Says what a key did, for a while.
    pub fn say(&mut self, text: &str) {
        self.said = Some((text.to_owned(), self.now_ns()));
    }

    /// What the last key did, as long as it is news.
    #[must_use]
    pub fn said(&self) -> Option<&str> {
        let (text, when_ns) = self.said.as_ref()?;
        (self.now_ns().saturating_sub(*when_ns) < NEWS_NS).then_some(text)
    }

    /// The time of the newest snapshot.
    fn now_ns(&self) -> u64 {
        let newest = self.held_back.as_ref().or(self.snapshot.as_ref());
        newest.map_or(0, |snapshot| snapshot.taken_ns)
    }

    /// Is the order of the rows held?
    #[must_use]
    pub const fn is_held(&self) -> bool {
        self.held.is_some()
    }

    /// The rows of the first table, in the order in which they are shown.
    #[must_use]
    pub fn rows(&self) -> Vec<&Row> {
        let rows = self.snapshot.as_ref().map_or(&[][..], |snapshot| &snapshot.rows);
        let keys: Vec<RowKey> = rows.iter().map(|row| row.key).collect();
        let held = self.held.as_ref().map(|held| &held.rows[..]);
        mark::arranged(&keys, held).into_iter().map(|index| &rows[index]).collect()
    }

    /// The flows that this view shows, in the order in which they are shown.
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
        mark::arranged(&ids, held).into_iter().map(|index| &flows[index]).collect()
    }

    /// What went wrong, the newest first.
    #[must_use]
    pub fn events(&self) -> &[LogEntry] {
        let log = self.snapshot.as_ref().and_then(|snapshot| snapshot.log.as_ref());
        log.map_or(&[], |log| &log.rows)
    }

    /// Where the selected row stands.
    #[must_use]
    pub fn selected_row(&self) -> usize {
        self.rows.row(&self.row_keys())
    }

    /// Where the selected flow stands.
    #[must_use]
    pub fn selected_flow(&self) -> usize {
        self.flows.row(&self.flow_ids())
    }

    /// Where the selected event stands.
    #[must_use]
    pub fn selected_event(&self) -> usize {
        self.events.row(&self.event_ids())
    }

    fn row_keys(&self) -> Vec<RowKey> {
        self.rows().iter().map(|row| row.key).collect()
    }

    fn flow_ids(&self) -> Vec<u64> {
        self.flows().iter().map(|flow| flow.id()).collect()
    }

    fn event_ids(&self) -> Vec<u64> {
        self.events().iter().map(|event| event.id).collect()
    }

    /// Where keys go now.
    #[must_use]
    pub fn place(&self) -> Place {
        if self.prompt.is_some() {
            return Place::Prompt;
        }
        match self.levels.last().map(|level| level.page) {
            Some(Page::Help(_)) => Place::Help,
            Some(Page::Row | Page::Flow(_)) => Place::Details,
            Some(Page::Order) => Place::Order,
            None => self.place_below(),
        }
    }

    /// Where they go when nothing lies over the view.
    fn place_below(&self) -> Place {
        match (self.view, self.pane) {
            (View::Peers, Pane::Rows) => Place::Rows,
            (View::Peers, Pane::Flows) => Place::FlowPane,
            (View::Flows, _) => Place::Flows,
            (View::Latency, _) => Place::Latency,
            (View::Events, _) => Place::Events,
        }
    }

    /// Is the order that can be chosen here that of flows?
    #[must_use]
    pub fn sorts_flows(&self) -> bool {
        matches!(self.place_below(), Place::FlowPane | Place::Flows)
    }

    /// Addresses on the screen whose names are wanted and were never asked for.
    #[must_use]
    pub fn nameless(&self) -> Vec<Address> {
        if !self.names.on {
            return Vec::new();
        }
        let rows = self.rows().into_iter().filter_map(|row| columns::rows::address(&row.key));
        let flows = self.flows().into_iter().map(|flow| flow.remote().address);
        let events = self.events().iter().filter_map(|event| columns::events::peer(&event.what));
        let all = rows.chain(flows).chain(events.map(|peer| peer.service.address));
        let mut new: Vec<Address> = all.filter(|address| self.names.is_new(address)).collect();
        new.dedup();
        new
    }

    /// The uppermost page is so many lines longer than what is shown of it.
    pub fn limit(&mut self, lines: usize) {
        if let Some(level) = self.levels.last_mut() {
            level.line = level.line.min(lines);
        }
    }

    /// Lets an action happen.
    pub fn update(&mut self, action: Action) -> Effect {
        self.said = None;
        match action {
            Action::Quit => self.leaving = Some(Leaving::Clean),
            Action::QuitAndKeep => self.leaving = Some(Leaving::KeepingScreen),
            Action::Help => self.help(),
            Action::Back => self.back(),
            Action::Enter => self.enter(),
            Action::Show(view) => self.show(view),
            Action::NextView => self.show(self.view.next()),
            Action::PreviousView => self.show(self.view.previous()),
            Action::ToFlows if Room::of(self.size).flows => self.pane = Pane::Flows,
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
            Action::Names => self.names.on = !self.names.on,
            Action::Copy => return Effect::Copy,
            Action::Redraw => return Effect::Redraw,
            Action::Pause => return Effect::Pause,
            Action::Reset => {
                self.say("counting from now on");
                return Effect::Tell(Command::Reset);
            }
            Action::Filter => self.prompt = Some(Prompt::with(self.query.filter.to_string())),
            Action::Edit(edit) => self.edit(edit),
        }
        Effect::None
    }
}
