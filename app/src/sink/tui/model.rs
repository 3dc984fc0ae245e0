//! What the person at the screen has chosen, and what each action makes of it. Pure.

use std::sync::Arc;

use super::Command;
use crate::snapshot::{Interest, Query, RowKey, Snapshot, Span};

/// Rows of peers that are asked for: more than any terminal shows, few enough to be copied often.
const PEER_ROWS: usize = 500;
/// The same for flows.
const FLOW_ROWS: usize = 500;
/// Windows that can be chosen, in seconds.
const WINDOWS_S: [u64; 5] = [5, 10, 30, 60, 300];

/// Something a key does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Action {
    /// Leave.
    Quit,
    /// Show or hide the help.
    Help,
    /// Move the selection by so many rows.
    Move(isize),
    /// To the first row.
    First,
    /// To the last row.
    Last,
    /// To the other table.
    NextPane,
    /// Hold the display, or let it go on.
    Freeze,
    /// A longer window.
    WiderWindow,
    /// A shorter window.
    NarrowerWindow,
    /// One level back.
    Back,
    /// Draw everything anew.
    Redraw,
}

/// The table that the arrows move in.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Pane {
    /// The peers.
    #[default]
    Peers,
    /// The flows of the selected peer.
    Flows,
}

/// What an action asks of the outside.
#[derive(Clone, Debug, PartialEq)]
pub enum Effect {
    /// Nothing.
    None,
    /// Draw everything anew.
    Redraw,
    /// Tell the rest of the program.
    Tell(Command),
}

/// The state of the screen.
#[derive(Clone, Debug, Default)]
pub struct Model {
    /// The picture that is shown.
    pub snapshot: Option<Arc<Snapshot>>,
    /// The newest picture, when the one that is shown is held.
    held_back: Option<Arc<Snapshot>>,
    /// Is the display held?
    pub frozen: bool,
    /// Is the help shown?
    pub help: bool,
    /// The table that the arrows move in.
    pub pane: Pane,
    /// The selected peer. Before the first move it is the worst, whoever that is.
    selected: Option<RowKey>,
    /// Which rows, in which order.
    query: Query,
    /// First row of the help that is shown.
    pub help_offset: usize,
    /// The selected row of the flows.
    pub flow_row: usize,
    /// A message from the rest of the program.
    pub notice: Option<String>,
    /// Is it time to leave?
    pub leaving: bool,
}

impl Model {
    /// A screen that shows first what `query` asks for.
    #[must_use]
    pub fn new(query: Query) -> Self {
        Self { query, ..Self::default() }
    }

    /// What this screen wants to see.
    #[must_use]
    pub fn interest(&self) -> Interest {
        Interest {
            query: self.query.clone(),
            rows: PEER_ROWS,
            selected: self.selected,
            selected_flows: FLOW_ROWS,
            ..Interest::totals(Span::Window)
        }
    }

    /// Takes a new picture.
    pub fn refresh(&mut self, snapshot: Arc<Snapshot>) {
        if self.frozen {
            self.held_back = Some(snapshot);
        } else {
            self.snapshot = Some(snapshot);
        }
    }

    /// For how long the display has been held, in nanoseconds.
    #[must_use]
    pub fn frozen_for_ns(&self) -> Option<u64> {
        let shown = self.snapshot.as_ref().filter(|_| self.frozen)?;
        let newest = self.held_back.as_ref().unwrap_or(shown);
        Some(newest.taken_ns.saturating_sub(shown.taken_ns))
    }

    /// The row of the selected peer: the worst one's when nothing was selected or it is gone.
    #[must_use]
    pub fn peer_row(&self) -> usize {
        let rows = self.snapshot.as_ref().map_or(&[][..], |snapshot| &snapshot.rows);
        rows.iter().position(|row| Some(row.key) == self.selected).unwrap_or(0)
    }

    /// Lets an action happen.
    pub fn update(&mut self, action: Action) -> Effect {
        match action {
            Action::Quit => self.leaving = true,
            Action::Help => {
                self.help = !self.help;
                self.help_offset = 0;
            }
            Action::Move(rows) => return self.step(|row| row.saturating_add_signed(rows)),
            Action::First => return self.step(|_| 0),
            Action::Last => return self.step(|_| usize::MAX),
            Action::NextPane => {
                self.pane = match self.pane {
                    Pane::Peers => Pane::Flows,
                    Pane::Flows => Pane::Peers,
                };
                self.flow_row = 0;
            }
            Action::Freeze => self.freeze(),
            Action::WiderWindow => return self.window(|now_s| WINDOWS_S.into_iter().find(|s| *s > now_s)),
            Action::NarrowerWindow => {
                return self.window(|now_s| WINDOWS_S.into_iter().rev().find(|s| *s < now_s));
            }
            Action::Back => self.back(),
            Action::Redraw => return Effect::Redraw,
        }
        Effect::None
    }

    fn step(&mut self, to: impl Fn(usize) -> usize) -> Effect {
        if self.help {
            // The view knows how long the help is and cuts this.
            self.help_offset = to(self.help_offset).min(1_000);
            return Effect::None;
        }
        let Some(snapshot) = &self.snapshot else { return Effect::None };
        match self.pane {
            Pane::Peers => {
                let last = snapshot.rows.len().saturating_sub(1);
                let row = to(self.peer_row()).min(last);
                self.selected = snapshot.rows.get(row).map(|row| row.key);
                Effect::Tell(Command::Look(Box::new(self.interest())))
            }
            Pane::Flows => {
                let rows = snapshot.selection.as_ref().map_or(0, |detail| detail.flows.len());
                self.flow_row = to(self.flow_row).min(rows.saturating_sub(1));
                Effect::None
            }
        }
    }

    fn freeze(&mut self) {
        self.frozen = !self.frozen && self.snapshot.is_some();
        if !self.frozen {
            self.snapshot = self.held_back.take().or_else(|| self.snapshot.take());
        }
    }

    fn window(&self, choose: impl Fn(u64) -> Option<u64>) -> Effect {
        let now_s = self.snapshot.as_ref().map_or(10, |snapshot| snapshot.window_ns / 1_000_000_000);
        choose(now_s).map_or(Effect::None, |s| Effect::Tell(Command::Window(s * 1_000_000_000)))
    }

    fn back(&mut self) {
        if self.help {
            self.help = false;
        } else {
            self.pane = Pane::Peers;
        }
    }
}
