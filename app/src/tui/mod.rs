//! The screen. It runs in a thread of its own, so that a slow terminal never stalls the reading of records.
//!
//! Snapshots arrive through a channel that keeps only the newest one; commands leave through another. [`model`] decides
//! what a key does, [`view`] what is drawn; both are pure.

pub mod capabilities;
pub mod columns;
mod command;
pub mod event_rows;
mod job_control;
pub mod keys;
pub mod layout;
mod main_loop;
pub mod model;
mod own_session;
pub mod resolver;
mod restore;
pub mod terminal;
pub mod terminal_guard;
pub mod view;

pub use command::Command;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossterm::style::force_color_output;
use tokio::sync::{mpsc, watch};

use self::capabilities::Capabilities;
use self::job_control::{JobSignal, JobSignals};
use self::main_loop::{Feed, MainLoop};
use self::model::Model;
use self::terminal::TerminalSession;
use crate::output::RenderContext;
use tcptop_core::Snapshot;

/// How long the terminal may take to be restored when tcptop ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// What the command line says about the screen.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What the terminal can show.
    pub capabilities: Capabilities,
    /// The columns of the first table, by name; `None` for all.
    pub columns: Option<Vec<&'static str>>,
    /// Whether mouse events are wanted. Selecting text then needs Shift.
    pub mouse: bool,
}

/// The handle of the screen's thread.
#[derive(Debug)]
pub struct Screen {
    feed: watch::Sender<Feed>,
    commands: mpsc::UnboundedReceiver<Command>,
    job_signals: JobSignals,
    thread: JoinHandle<io::Result<()>>,
}

impl Screen {
    /// Sets the terminal up and starts the thread, with `model` as the first state.
    ///
    /// # Errors
    /// When the terminal cannot be used.
    pub fn open(context: Arc<RenderContext>, setup: &Setup, mut model: Model) -> io::Result<Self> {
        let (feed, feed_receiver) =
            watch::channel(Feed { context, snapshot: None, notice: None, stops: 0, resumes: 0 });
        let (command_sender, commands) = mpsc::unbounded_channel();
        let job_signals = JobSignals::listen()?;
        model.columns.clone_from(&setup.columns);
        model.own_session = own_session::find();
        // Otherwise crossterm obeys NO_COLOR even where --color=always is given.
        force_color_output(setup.capabilities.colour);
        let session = TerminalSession::enter(setup.mouse)?;
        let main_loop = MainLoop::new(feed_receiver, command_sender, session, model, setup.capabilities);
        let thread = thread::Builder::new().name("screen".to_owned()).spawn(move || main_loop.run())?;
        Ok(Self { feed, commands, job_signals, thread })
    }

    /// Shows this snapshot from now on.
    pub fn show(&self, snapshot: Snapshot) {
        self.feed.send_modify(|feed| feed.snapshot = Some(Arc::new(snapshot)));
    }

    /// Uses this context from now on.
    pub fn change_context(&self, context: Arc<RenderContext>) {
        self.feed.send_modify(|feed| feed.context = context);
    }

    /// Shows this message in the header from now on.
    pub fn notice(&self, message: &str) {
        self.feed.send_modify(|feed| feed.notice = Some(message.to_owned()));
    }

    /// The next command; `None` when the thread has ended.
    pub async fn command(&mut self) -> Option<Command> {
        loop {
            tokio::select! {
                command = self.commands.recv() => return command,
                signal = self.job_signals.next() => self.feed.send_modify(|feed| match signal {
                    JobSignal::Stop => feed.stops += 1,
                    JobSignal::Continue => feed.resumes += 1,
                }),
            }
        }
    }

    /// Ends the thread, which restores the terminal.
    ///
    /// # Errors
    /// When the terminal failed while it was in use, or cannot be restored within two seconds.
    pub fn close(self) -> io::Result<()> {
        // Without a feed the thread ends.
        drop(self.feed);
        let deadline = Instant::now() + CLOSE_TIMEOUT;
        while !self.thread.is_finished() && Instant::now() < deadline {
            thread::sleep(Duration::from_millis(5));
        }
        if !self.thread.is_finished() {
            return Err(io::Error::new(io::ErrorKind::TimedOut, "the terminal does not accept output"));
        }
        self.thread.join().unwrap_or_else(|_| Err(io::Error::other("the screen's thread panicked")))
    }
}
