//! The screen's thread: takes snapshots and keys, asks the model, draws what the view makes of it.

use std::io;
use std::sync::Arc;
use std::time::{Duration, Instant};

use crossterm::event::{self, Event, MouseEventKind};
use tokio::sync::{mpsc, watch};

use super::capabilities::Look;
use super::model::{Action, Effect, Leaving, Model};
use super::resolver::Resolver;
use super::terminal::{Hangup, TerminalSession};
use super::{Command, Feed, job_control, keys, terminal, view};
use tcptop_core::SnapshotRequest;

/// How long the thread waits for a key before it looks for a new snapshot.
const GLANCE: Duration = Duration::from_millis(100);
/// Other rows are asked for this often at the most, however fast keys repeat.
const PATIENCE: Duration = Duration::from_millis(80);
/// Rows that a turn of the mouse's wheel moves by.
const WHEEL: isize = 3;

pub(super) struct MainLoop {
    shown: watch::Receiver<Feed>,
    wishes: mpsc::UnboundedSender<Command>,
    screenful: TerminalSession,
    model: Model,
    look: Look,
    /// What was asked for last, and when.
    asked: Option<(SnapshotRequest, Instant)>,
    resolver: Option<Resolver>,
    /// Stops and resumes that were obeyed.
    obeyed: (u64, u64),
}

impl MainLoop {
    pub(super) const fn new(
        shown: watch::Receiver<Feed>,
        wishes: mpsc::UnboundedSender<Command>,
        screenful: TerminalSession,
        model: Model,
        look: Look,
    ) -> Self {
        Self { shown, wishes, screenful, model, look, asked: None, resolver: None, obeyed: (0, 0) }
    }

    /// Runs until the person quits or nobody feeds it any more.
    pub(super) fn run(mut self) -> io::Result<()> {
        let hangup = Hangup::watch()?;
        let goes_on = self.take_keys(&hangup)?;
        terminal::ask_for_sizes_alone()?;
        if !goes_on {
            self.tell(Command::Quit);
            return self.leave();
        }
        loop {
            self.take_feed()?;
            self.draw()?;
            // A closed feed means that the program ends.
            while !self.shown.has_changed().unwrap_or(true) {
                self.ask();
                let is_typed = hangup.wait_for_key(GLANCE)?;
                let has_names = self.learn_names();
                if is_typed && !self.take_keys(&hangup)? {
                    self.tell(Command::Quit);
                    return self.leave();
                }
                if is_typed || has_names || self.screenful.is_resized()? {
                    self.draw()?;
                }
            }
            if self.shown.has_changed().is_err() {
                return self.leave();
            }
        }
    }

    fn take_feed(&mut self) -> io::Result<()> {
        let feed = self.shown.borrow_and_update().clone();
        self.model.notice = feed.notice;
        if let Some(snapshot) = feed.snapshot {
            self.model.refresh(snapshot);
        }
        let (stops, resumes) = std::mem::replace(&mut self.obeyed, (feed.stops, feed.resumes));
        if feed.stops > stops {
            self.screenful.lend(job_control::stop_this)?;
        } else if feed.resumes > resumes {
            self.screenful.resume()?;
        }
        Ok(())
    }

    fn draw(&mut self) -> io::Result<()> {
        self.model.size = self.screenful.size()?;
        let (model, look) = (&self.model, self.look);
        let context = Arc::clone(&self.shown.borrow().context);
        let mut out_of_sight = 0;
        self.screenful.draw(|frame| {
            out_of_sight = view::draw(frame, model, &context);
            look.reduce(frame.buffer_mut());
        })?;
        self.model.limit(out_of_sight);
        Ok(())
    }

    /// Takes what was typed. Gives false when that is to quit.
    fn take_keys(&mut self, hangup: &Hangup) -> io::Result<bool> {
        // Keys that were read ahead are not seen by whoever watches the terminal. But it may have hung up meanwhile.
        while event::poll(Duration::ZERO)? {
            let event = event::read()?;
            hangup.wait_for_key(Duration::ZERO)?;
            let action = match event {
                Event::Key(key) => keys::action(&key, self.model.place()),
                Event::Mouse(mouse) => wheel(mouse.kind),
                Event::FocusGained | Event::FocusLost | Event::Paste(_) | Event::Resize(..) => None,
            };
            let Some(action) = action else { continue };
            let effect = self.model.update(action);
            self.obey(effect)?;
            if self.model.leaving.is_some() {
                return Ok(false);
            }
        }
        Ok(true)
    }

    fn obey(&mut self, effect: Effect) -> io::Result<()> {
        match effect {
            Effect::None => Ok(()),
            Effect::Redraw => self.screenful.repaint(),
            Effect::Pause => job_control::stop_all(),
            Effect::Tell(command) => {
                self.tell(command);
                Ok(())
            }
            Effect::Copy => {
                let context = Arc::clone(&self.shown.borrow().context);
                let Some(text) = view::row_as_text(&self.model, &context) else { return Ok(()) };
                self.model.say("the row was sent to the clipboard, if the terminal has one");
                self.screenful.copy(&text)
            }
        }
    }

    /// Asks for what is to be seen now, when that is not what was asked for last.
    fn ask(&mut self) {
        let request = self.model.request();
        let is_due =
            self.asked.as_ref().is_none_or(|(asked, when)| *asked != request && when.elapsed() >= PATIENCE);
        if is_due {
            self.tell(Command::Look(Box::new(request.clone())));
            self.asked = Some((request, Instant::now()));
        }
    }

    /// Takes names that were found, and asks for more. Gives whether any came.
    fn learn_names(&mut self) -> bool {
        let wanted = self.model.nameless();
        if self.resolver.is_none() && !wanted.is_empty() {
            // Without a thread there are no names: addresses say as much.
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

    /// Gives the terminal back, with the last screen on it if that was asked for.
    fn leave(self) -> io::Result<()> {
        let kept =
            (self.model.leaving == Some(Leaving::KeepingScreen)).then(|| self.screenful.last().clone());
        drop(self.screenful);
        kept.map_or(Ok(()), |screen| terminal::print(&screen))
    }

    fn tell(&self, command: Command) {
        // Nobody listens when the program ends: then it does not matter.
        let _ = self.wishes.send(command);
    }
}

fn wheel(kind: MouseEventKind) -> Option<Action> {
    match kind {
        MouseEventKind::ScrollUp => Some(Action::Move(-WHEEL)),
        MouseEventKind::ScrollDown => Some(Action::Move(WHEEL)),
        MouseEventKind::Down(_)
        | MouseEventKind::Up(_)
        | MouseEventKind::Drag(_)
        | MouseEventKind::Moved
        | MouseEventKind::ScrollLeft
        | MouseEventKind::ScrollRight => None,
    }
}
