//! What the actions do to the model.

use super::{Edit, Effect, Held, LONGEST_PAGE, Level, Model, Page, Pane, Prompt, View, mark};
use crate::tui::{Command, columns};
use tcptop_core::{Filter, FlowOrder, PeerKey, Query, RowOrder, Sort};

impl Model {
    pub(super) fn help(&mut self) {
        match self.levels.last().map(|level| level.page) {
            Some(Page::Help(_)) => drop(self.levels.pop()),
            Some(Page::Row | Page::Flow(_) | Page::Order) | None => self.open(Page::Help(self.place()), 0),
        }
    }

    fn open(&mut self, page: Page, line: usize) {
        self.levels.push(Level { page, line });
    }

    pub(super) fn show(&mut self, view: View) {
        self.levels.clear();
        self.view = view;
        self.pane = Pane::Rows;
        self.flows = mark::Mark::default();
    }

    /// One level: what is typed, what lies over the view, the view itself, and at last the filter.
    pub(super) fn back(&mut self) {
        if self.prompt.take().is_some() {
            self.query.filter = Filter::default();
        } else if self.levels.pop().is_none() {
            match (self.view, self.pane) {
                (View::Peers, Pane::Rows) => self.query.filter = Filter::default(),
                (View::Peers, Pane::Flows) => self.pane = Pane::Rows,
                (View::Flows | View::Latency | View::Events, _) => self.show(View::Peers),
            }
        }
    }

    pub(super) fn enter(&mut self) {
        if self.prompt.is_some() {
            return self.keep_filter();
        }
        match (self.levels.last().copied(), self.view, self.pane) {
            (Some(Level { page: Page::Order, line }), ..) => {
                self.levels.pop();
                self.sort_by(line);
            }
            (Some(Level { page: Page::Help(_) | Page::Row | Page::Flow(_), .. }), ..) => {}
            (None, View::Peers, Pane::Rows) | (None, View::Latency, _) => {
                if self.snapshot.as_ref().is_some_and(|snapshot| !snapshot.rows.is_empty()) {
                    self.open(Page::Row, 0);
                }
            }
            (None, View::Peers, Pane::Flows) | (None, View::Flows, _) => {
                self.read = self.flows().get(self.selected_flow()).map(|flow| (*flow).clone());
                self.open_flow();
            }
            (None, View::Events, _) => {
                let what = self.events().get(self.selected_event()).map(|event| event.what.clone());
                let peer = what.as_ref().and_then(columns::events::peer);
                self.read = what.as_ref().and_then(columns::events::flow).cloned();
                match peer.filter(|_| self.read.is_none()) {
                    Some(peer) => self.open_row_of(&peer),
                    None => self.open_flow(),
                }
            }
        }
    }

    fn open_row_of(&mut self, peer: &PeerKey) {
        let key = self.query.group.row(peer);
        if !self.row_keys().contains(&key) {
            return self.say("its row is not there: the filter leaves it out, or it was forgotten");
        }
        self.rows.choose(key);
        self.open(Page::Row, 0);
    }

    fn open_flow(&mut self) {
        match &self.read {
            Some(flow) => self.open(Page::Flow(flow.name()), 0),
            None => self.say("it happened to no single flow"),
        }
    }

    pub(super) fn step(&mut self, to: impl Fn(usize) -> usize) {
        let longest = match self.levels.last().map(|level| level.page) {
            Some(Page::Order) => self.order_count() - 1,
            Some(Page::Help(_) | Page::Row | Page::Flow(_)) | None => LONGEST_PAGE,
        };
        if let Some(level) = self.levels.last_mut() {
            // How long a page is the view knows, and says by `limit`.
            level.line = to(level.line).min(longest);
            return;
        }
        match (self.view, self.pane) {
            (View::Peers, Pane::Rows) | (View::Latency, _) => {
                let keys = self.row_keys();
                self.rows.step(&keys, to);
            }
            (View::Peers, Pane::Flows) | (View::Flows, _) => {
                let ids = self.flow_ids();
                self.flows.step(&ids, to);
            }
            (View::Events, _) => {
                let ids = self.event_ids();
                self.events.step(&ids, to);
            }
        }
    }

    pub(super) fn freeze(&mut self) {
        self.frozen = !self.frozen && self.snapshot.is_some();
        if let Some(newest) = self.held_back.take().filter(|_| !self.frozen) {
            self.refresh(newest);
        }
    }

    pub(super) fn hold(&mut self) {
        self.held = match self.held.take() {
            Some(_) => None,
            None => Some(Held { rows: self.row_keys(), flows: self.flow_ids() }),
        };
    }

    /// A held order would hide the one that was just chosen.
    fn let_go(&mut self) {
        self.held = None;
    }

    pub(super) fn window(&mut self, choose: impl Fn(u64) -> Option<u64>) -> Effect {
        let shown = || self.snapshot.as_ref().map_or(10, |snapshot| snapshot.window_ns / 1_000_000_000);
        let Some(chosen) = choose(self.window_s.unwrap_or_else(shown)) else { return Effect::None };
        self.window_s = Some(chosen);
        self.say(&format!("window of {chosen}s, which fills from now on"));
        Effect::Tell(Command::Window(chosen * 1_000_000_000))
    }

    /// How many orders there are to choose from.
    fn order_count(&self) -> usize {
        if self.sorts_flows() { FlowOrder::ALL.len() } else { RowOrder::ALL.len() }
    }

    /// Which of them is in use.
    fn order(&self) -> usize {
        let Query { sort, flow_sort, .. } = &self.query;
        let found = if self.sorts_flows() {
            FlowOrder::ALL.iter().position(|order| *order == flow_sort.by)
        } else {
            RowOrder::ALL.iter().position(|order| *order == sort.by)
        };
        found.unwrap_or(0)
    }

    pub(super) fn choose_order(&mut self) {
        self.open(Page::Order, self.order());
    }

    pub(super) fn sort(&mut self, columns: isize) {
        let count = self.order_count();
        let after = (self.order() + count).saturating_add_signed(columns) % count;
        self.sort_by(after);
    }

    fn sort_by(&mut self, index: usize) {
        self.let_go();
        if self.sorts_flows() {
            self.query.flow_sort = Sort { by: FlowOrder::ALL[index], reversed: false };
        } else {
            self.query.sort = Sort { by: RowOrder::ALL[index], reversed: false };
        }
    }

    pub(super) fn reverse(&mut self) {
        self.let_go();
        let reversed = if self.sorts_flows() {
            &mut self.query.flow_sort.reversed
        } else {
            &mut self.query.sort.reversed
        };
        *reversed = !*reversed;
    }

    pub(super) fn group(&mut self) {
        self.let_go();
        self.query.group = self.query.group.next();
        self.rows = mark::Mark::default();
        self.flows = mark::Mark::default();
    }

    pub(super) fn edit(&mut self, edit: Edit) {
        let Some(prompt) = &mut self.prompt else { return };
        prompt.edit(edit);
        // One that makes no sense leaves the last good one in force.
        if let Some(filter) = prompt.typed() {
            self.query.filter = filter;
        }
    }

    /// The prompt stays open as long as what stands in it makes no sense.
    fn keep_filter(&mut self) {
        if let Some(filter) = self.prompt.as_mut().and_then(Prompt::parse) {
            self.query.filter = filter;
            self.prompt = None;
        }
    }
}
