//! The screen's thread: receives snapshots and keys, updates the model, draws frames.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, MouseEventKind};
use tokio::sync::{mpsc, watch};

use super::capabilities::Capabilities;
use super::command::Command;
use super::model::{Action, Effect, Leaving, Model};
use super::resolver::Resolver;
use super::terminal::{KeyPoll, TerminalSession};
use super::{job_control, keys, terminal, view};
use crate::output::RenderContext;
use tcptop_core::{Snapshot, SnapshotRequest};

/// How long to wait for a key before looking for a new snapshot.
const POLL: Duration = Duration::from_millis(100);
/// The shortest time between two requests, however fast keys repeat.
const REQUEST_INTERVAL: Duration = Duration::from_millis(80);
/// Rows per turn of the mouse wheel.
const WHEEL_ROWS: isize = 3;

/// What the rest of the program sends to the screen.
#[derive(Clone, Debug)]
pub(super) struct Feed {
    pub(super) context: Arc<RenderContext>,
    pub(super) snapshot: Option<Arc<Snapshot>>,
    pub(super) notice: Option<String>,
    /// How many SIGTSTP and SIGCONT arrived.
    pub(super) stops: u64,
    pub(super) resumes: u64,
}

pub(super) struct MainLoop {
    feed: watch::Receiver<Feed>,
    commands: mpsc::UnboundedSender<Command>,
    session: TerminalSession,
    model: Model,
    capabilities: Capabilities,
    /// The last request, and when it was sent.
    requested: Option<(SnapshotRequest, Instant)>,
    resolver: Option<Resolver>,
    /// How many stops and resumes were handled.
    handled: (u64, u64),
}

impl MainLoop {
    pub(super) const fn new(
        feed: watch::Receiver<Feed>,
        commands: mpsc::UnboundedSender<Command>,
        session: TerminalSession,
        model: Model,
        capabilities: Capabilities,
    ) -> Self {
        Self {
            feed,
            commands,
            session,
            model,
            capabilities,
            requested: None,
            resolver: None,
            handled: (0, 0),
        }
    }

    /// Runs until the person quits or the feed is closed.
    pub(super) fn run(mut self) -> io::Result<()> {
        let keys = KeyPoll::open()?;
        let goes_on = self.handle_keys(&keys)?;
        terminal::ignore_resize_signals()?;
        if !goes_on {
            self.send(Command::Quit);
            return self.leave();
        }
        loop {
            self.receive()?;
            self.draw()?;
            // The feed is closed when the program ends.
            while !self.feed.has_changed().unwrap_or(true) {
                self.request();
                let has_key = keys.wait(POLL)?;
                let has_names = self.resolve_names();
                if has_key && !self.handle_keys(&keys)? {
                    self.send(Command::Quit);
                    return self.leave();
                }
                if has_key || has_names || self.session.is_resized()? {
                    self.draw()?;
                }
            }
            if self.feed.has_changed().is_err() {
                return self.leave();
            }
        }
    }

    fn receive(&mut self) -> io::Result<()> {
        let feed = self.feed.borrow_and_update().clone();
        self.model.notice = feed.notice;
        if let Some(snapshot) = feed.snapshot {
            self.model.refresh(snapshot);
        }
        let (stops, resumes) = std::mem::replace(&mut self.handled, (feed.stops, feed.resumes));
        if feed.stops > stops {
            self.session.lend(job_control::stop_process)?;
        } else if feed.resumes > resumes {
            self.session.resume()?;
        }
        Ok(())
    }

    fn draw(&mut self) -> io::Result<()> {
        self.model.size = self.session.size()?;
        let (model, capabilities) = (&self.model, self.capabilities);
        let context = Arc::clone(&self.feed.borrow().context);
        let mut hidden_lines = 0;
        self.session.draw(|frame| {
            hidden_lines = view::draw(frame, model, &context);
            capabilities.reduce(frame.buffer_mut());
        })?;
        self.model.limit_scroll(hidden_lines);
        Ok(())
    }

    /// Handles all keys that were typed. Returns false when one of them quits.
    fn handle_keys(&mut self, keys: &KeyPoll) -> io::Result<bool> {
        // crossterm reads ahead, and what it has read poll(2) no longer sees. A hang-up must be noticed between two keys.
        while event::poll(Duration::ZERO)? {
            let event = event::read()?;
            keys.wait(Duration::ZERO)?;
            let action = match event {
                Event::Key(key) => keys::action(&key, self.model.place()),
                Event::Mouse(mouse) => wheel(mouse.kind),
                Event::FocusGained | Event::FocusLost | Event::Paste(_) | Event::Resize(..) => None,
            };
            let Some(action) = action else { continue };
            let effect = self.model.update(action);
            self.carry_out(effect)?;
            if self.model.leaving.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn carry_out(&mut self, effect: Effect) -> io::Result<()> {
        match effect {
            Effect::None => Ok(()),
            Effect::Redraw => self.session.repaint(),
            Effect::Pause => job_control::stop_process_group(),
            Effect::Send(command) => {
                self.send(command);
                Ok(())
            }
            Effect::Copy => {
                let context = Arc::clone(&self.feed.borrow().context);
                let Some(text) = view::row_as_text(&self.model, &context) else { return Ok(()) };
                self.model.set_status("row sent to the clipboard, if the terminal has one (OSC 52)");
                self.session.copy(&text)
            }
        }
    }

    /// Requests what the model shows, if that is not what was requested last.
    fn request(&mut self) {
        let request = self.model.request();
        let is_due = self
            .requested
            .as_ref()
            .is_none_or(|(last, when)| *last != request && when.elapsed() >= REQUEST_INTERVAL);
        if is_due {
            self.send(Command::Request(Box::new(request.clone())));
            self.requested = Some((request, Instant::now()));
        }
    }

    /// Takes names that were found, and queues look-ups. Returns whether any names arrived.
    fn resolve_names(&mut self) -> bool {
        let wanted = self.model.unresolved();
        if self.resolver.is_none() && !wanted.is_empty() {
            // Without a thread addresses are shown.
            self.resolver = Resolver::start().ok();
        }
        let Some(resolver) = &self.resolver else { return false };
        for address in wanted {
            if !resolver.ask(address) {
                break;
            }
            self.model.names.ask(address);
        }
        let mut any = false;
        for (address, name) in resolver.answers() {
            self.model.names.learn(address, name);
            any = true;
        }
        any
    }

    /// Restores the terminal, and prints the last frame if that was asked for.
    fn leave(self) -> io::Result<()> {
        let kept =
            (self.model.leaving == Some(Leaving::KeepingScreen)).then(|| self.session.last_frame().clone());
        drop(self.session);
        kept.map_or(Ok(()), |frame| terminal::print(&frame))
    }

    fn send(&self, command: Command) {
        // Fails only when the program is ending.
        let _ = self.commands.send(command);
    }
}

fn wheel(kind: MouseEventKind) -> Option<Action> {
    match kind {
        MouseEventKind::ScrollUp => Some(Action::Move(-WHEEL_ROWS)),
        MouseEventKind::ScrollDown => Some(Action::Move(WHEEL_ROWS)),
        MouseEventKind::Down(_)
        | MouseEventKind::Up(_)
        | MouseEventKind::Drag(_)
        | MouseEventKind::Moved
        | MouseEventKind::ScrollLeft
        | MouseEventKind::ScrollRight => None,
    }
}
