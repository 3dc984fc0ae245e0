//! What each action does to the model.

use super::{Edit, Effect, HeldOrder, MAX_PAGE_LINES, Model, Overlay, Page, Pane, Prompt, SelectedRow, View};
use crate::tui::columns;
use crate::tui::command::Command;
use tcptop_core::units::Time;
use tcptop_core::{Filter, FlowOrder, PeerKey, Query, RowOrder, Sort};

impl Model {
    pub(super) fn help(&mut self) {
        match self.overlays.last().map(|overlay| overlay.page) {
            Some(Page::Help(_)) => drop(self.overlays.pop()),
            Some(Page::Row | Page::Flow(_) | Page::Order) | None => self.open(Page::Help(self.place()), 0),
        }
    }

    fn open(&mut self, page: Page, line: usize) {
        self.overlays.push(Overlay { page, line });
    }

    pub(super) fn show(&mut self, view: View) {
        self.overlays.clear();
        self.view = view;
        self.pane = Pane::Rows;
        self.flows = SelectedRow::default();
    }

    /// Closes one level: the prompt, the uppermost page, the view, and last the filter.
    pub(super) fn back(&mut self) {
        if self.prompt.take().is_some() {
            self.query.filter = Filter::default();
        } else if self.overlays.pop().is_none() {
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
        match (self.overlays.last().copied(), self.view, self.pane) {
            (Some(Overlay { page: Page::Order, line }), ..) => {
                self.overlays.pop();
                self.sort_by(line);
            }
            (Some(Overlay { page: Page::Help(_) | Page::Row | Page::Flow(_), .. }), ..) => {}
            (None, View::Peers, Pane::Rows) | (None, View::Latency, _) => {
                if self.snapshot.as_ref().is_some_and(|snapshot| !snapshot.rows.is_empty()) {
                    self.open(Page::Row, 0);
                }
            }
            (None, View::Peers, Pane::Flows) | (None, View::Flows, _) => {
                self.detailed_flow = self.flows().get(self.selected_flow()).map(|flow| (*flow).clone());
                self.open_flow();
            }
            (None, View::Events, _) => {
                let event = self.event(self.selected_event());
                let peer = event.as_ref().and_then(|event| event.folded.key.peer());
                let flow = event.as_ref().and_then(|event| columns::events::flow(&event.latest.what));
                self.detailed_flow = flow.cloned();
                match peer.filter(|_| self.detailed_flow.is_none()) {
                    Some(peer) => self.open_row_of(&peer),
                    None => self.open_flow(),
                }
            }
        }
    }

    fn open_row_of(&mut self, peer: &PeerKey) {
        let Some(key) = self.query.group.row(peer) else {
            return self.set_status("group by peer to see the row of this one");
        };
        if !self.row_keys().contains(&key) {
            return self.set_status("no such row: hidden by the filter, or no longer tracked");
        }
        self.rows.select(key);
        self.open(Page::Row, 0);
    }

    fn open_flow(&mut self) {
        match &self.detailed_flow {
            Some(flow) => self.open(Page::Flow(flow.name()), 0),
            None => self.set_status("no details: this concerns no single flow"),
        }
    }

    pub(super) fn step(&mut self, to: impl Fn(usize) -> usize) {
        let last = match self.overlays.last().map(|overlay| overlay.page) {
            Some(Page::Order) => self.order_count() - 1,
            Some(Page::Help(_) | Page::Row | Page::Flow(_)) | None => MAX_PAGE_LINES,
        };
        if let Some(overlay) = self.overlays.last_mut() {
            // The view knows how long a page is, and limits this by `limit_scroll`.
            overlay.line = to(overlay.line).min(last);
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
                let keys = self.event_keys();
                self.events.step(&keys, to);
            }
        }
    }

    pub(super) fn freeze(&mut self) {
        self.frozen = !self.frozen && self.snapshot.is_some();
        if let Some(newest) = self.newest.take().filter(|_| !self.frozen) {
            self.refresh(newest);
        }
    }

    pub(super) fn hold(&mut self) {
        self.held = match self.held.take() {
            Some(_) => None,
            None => Some(HeldOrder { rows: self.row_keys(), flows: self.flow_ids() }),
        };
    }

    /// Releases a held order, which would hide the one that was just chosen.
    fn release_order(&mut self) {
        self.held = None;
    }

    pub(super) fn window(&mut self, choose: impl Fn(u64) -> Option<u64>) -> Effect {
        let shown = || self.snapshot.as_ref().map_or(10, |snapshot| snapshot.window_ns / 1_000_000_000);
        let Some(chosen) = choose(self.window_s.unwrap_or_else(shown)) else { return Effect::None };
        self.window_s = Some(chosen);
        let window_ns = chosen * 1_000_000_000;
        self.set_status(&format!("window {}", Time(window_ns)));
        Effect::Send(Command::Window(window_ns))
    }

    /// How many orders can be chosen here.
    fn order_count(&self) -> usize {
        if self.sorts_flows() { FlowOrder::ALL.len() } else { RowOrder::ALL.len() }
    }

    /// The position of the current one.
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
        self.release_order();
        if self.sorts_flows() {
            self.query.flow_sort = Sort { by: FlowOrder::ALL[index], reversed: false };
        } else {
            self.query.sort = Sort { by: RowOrder::ALL[index], reversed: false };
        }
    }

    pub(super) fn reverse(&mut self) {
        self.release_order();
        let reversed = if self.sorts_flows() {
            &mut self.query.flow_sort.reversed
        } else {
            &mut self.query.sort.reversed
        };
        *reversed = !*reversed;
    }

    pub(super) fn group(&mut self) {
        self.release_order();
        self.query.group = self.query.group.next();
        self.rows = SelectedRow::default();
        self.flows = SelectedRow::default();
    }

    pub(super) fn edit(&mut self, edit: Edit) {
        let Some(prompt) = &mut self.prompt else { return };
        prompt.edit(edit);
        self.query.filter = prompt.parse_unfinished();
    }

    /// Closes the prompt, unless its text is wrong.
    fn keep_filter(&mut self) {
        if let Some(filter) = self.prompt.as_mut().and_then(Prompt::parse) {
            self.query.filter = filter;
            self.prompt = None;
        }
    }
}
