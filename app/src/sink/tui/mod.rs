//! The screen: a thread of its own, so that a slow terminal never stalls the probe's reader.
//!
//! Pictures come in through a channel that keeps the newest only; wishes go out through another. What a
//! key does is decided in [`model`], what is drawn in [`view`]; both are pure.

pub mod guard;
pub mod keys;
pub mod model;
pub mod terminal;
pub mod view;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossterm::event::{self, Event};
use tokio::sync::{mpsc, watch};

use self::model::{Effect, Model};
use self::terminal::{Hangup, Screenful};
use super::Scene;
use crate::snapshot::{Interest, Query, Snapshot};

/// How long the thread waits for a key before it looks for a new picture.
const GLANCE: Duration = Duration::from_millis(100);
/// How long the terminal may take to be restored when tcptop ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// What the person at the screen asks of the rest of the program.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Other rows are wanted.
    Look(Box<Interest>),
    /// Another window, in nanoseconds.
    Window(u64),
    /// Counters begin anew.
    Reset,
    /// The end.
    Quit,
}

/// What is to be shown.
#[derive(Clone, Debug)]
struct Feed {
    scene: Arc<Scene>,
    snapshot: Option<Arc<Snapshot>>,
    notice: Option<String>,
}

/// The screen, seen from the rest of the program.
#[derive(Debug)]
pub struct Screen {
    feed: watch::Sender<Feed>,
    commands: mpsc::UnboundedReceiver<Command>,
    thread: JoinHandle<io::Result<()>>,
}

impl Screen {
    /// Takes the terminal over, and shows first what `query` asks for.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(scene: Arc<Scene>, query: Query) -> io::Result<Self> {
        let (feed, shown) = watch::channel(Feed { scene, snapshot: None, notice: None });
        let (wishes, commands) = mpsc::unbounded_channel();
        let screenful = Screenful::enter()?;
        let thread = thread::Builder::new()
            .name("screen".to_owned())
            .spawn(move || Loop { shown, wishes, screenful, model: Model::new(query) }.run())?;
        Ok(Self { feed, commands, thread })
    }

    /// Shows this picture from now on.
    pub fn show(&self, snapshot: Snapshot) {
        self.feed.send_modify(|feed| feed.snapshot = Some(Arc::new(snapshot)));
    }

    /// Shows everything in this scene from now on.
    pub fn change_scene(&self, scene: Arc<Scene>) {
        self.feed.send_modify(|feed| feed.scene = scene);
    }

    /// Shows this message from now on.
    pub fn notice(&self, message: &str) {
        self.feed.send_modify(|feed| feed.notice = Some(message.to_owned()));
    }

    /// The next wish; `None` when the screen is gone.
    pub async fn command(&mut self) -> Option<Command> {
        self.commands.recv().await
    }

    /// Gives the terminal back.
    ///
    /// # Errors
    /// When the terminal failed while it was in use.
    pub fn close(self) -> io::Result<()> {
        // Without a feed the thread ends.
        drop(self.feed);
        let patience = Instant::now() + FAREWELL;
        while !self.thread.is_finished() && Instant::now() < patience {
            thread::sleep(Duration::from_millis(5));
        }
        if !self.thread.is_finished() {
            return Err(io::Error::new(
                io::ErrorKind::TimedOut,
                "the terminal does not take what is written",
            ));
        }
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the screen's thread panicked")))
    }
}

struct Loop {
    shown: watch::Receiver<Feed>,
    wishes: mpsc::UnboundedSender<Command>,
    screenful: Screenful,
    model: Model,
}

impl Loop {
    fn run(mut self) -> io::Result<()> {
        let hangup = Hangup::watch()?;
        self.tell(Command::Look(Box::new(self.model.interest())));
        loop {
            let feed = self.shown.borrow_and_update().clone();
            self.model.notice = feed.notice;
            if let Some(snapshot) = feed.snapshot {
                self.model.refresh(snapshot);
            }
            let model = &mut self.model;
            self.screenful.draw(|frame| view::draw(frame, model, &feed.scene))?;
            // A closed feed means that the program ends.
            while !self.shown.has_changed().unwrap_or(true) {
                if hangup.wait_for_key(GLANCE)? && !self.take_keys()? {
                    return Ok(());
                }
            }
            if self.shown.has_changed().is_err() {
                return Ok(());
            }
        }
    }

    /// Takes what was typed and draws what it led to. Gives false at the end.
    fn take_keys(&mut self) -> io::Result<bool> {
        while event::poll(Duration::ZERO)? {
            let Event::Key(key) = event::read()? else { continue };
            let Some(action) = keys::action(&key) else { continue };
            match self.model.update(action) {
                Effect::None => {}
                Effect::Redraw => self.screenful.repaint()?,
                Effect::Tell(command) => self.tell(command),
            }
            if self.model.leaving {
                self.tell(Command::Quit);
                return Ok(false);
            }
        }
        let (model, scene) = (&mut self.model, Arc::clone(&self.shown.borrow().scene));
        self.screenful.draw(|frame| view::draw(frame, model, &scene))?;
        Ok(true)
    }

    fn tell(&self, command: Command) {
        // Nobody listens when the program ends: then it does not matter.
        let _ = self.wishes.send(command);
    }
}
