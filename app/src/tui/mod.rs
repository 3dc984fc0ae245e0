//! The screen: a thread of its own, so that a slow terminal never stalls the probe's reader.
//!
//! Snapshots come in through a channel that keeps the newest only; wishes go out through another. What a
//! key does is decided in [`model`], what is drawn in [`view`]; both are pure.

pub mod capabilities;
pub mod columns;
pub mod guard;
mod job_control;
pub mod keys;
pub mod layout;
mod main_loop;
pub mod model;
mod own_session;
pub mod resolver;
pub mod terminal;
pub mod view;

use std::io;
use std::sync::Arc;
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use crossterm::style::force_color_output;
use tokio::sync::{mpsc, watch};

use self::capabilities::Look;
use self::job_control::{Job, Jobs};
use self::main_loop::MainLoop;
use self::model::Model;
use self::terminal::TerminalSession;
use crate::output::RenderContext;
use tcptop_core::{Snapshot, SnapshotRequest};

/// How long the terminal may take to be restored when tcptop ends.
const FAREWELL: Duration = Duration::from_secs(2);

/// How the screen is to be.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What the terminal can show.
    pub look: Look,
    /// The columns of the first table, by name; all without.
    pub columns: Option<Vec<&'static str>>,
    /// Is the mouse wanted? People select text with it.
    pub mouse: bool,
}

/// What the person at the screen asks of the rest of the program.
#[derive(Clone, Debug, PartialEq)]
pub enum Command {
    /// Other rows are wanted.
    Look(Box<SnapshotRequest>),
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
    context: Arc<RenderContext>,
    snapshot: Option<Arc<Snapshot>>,
    notice: Option<String>,
    /// How often the process was told to stop, and to go on.
    stops: u64,
    resumes: u64,
}

/// The screen, seen from the rest of the program.
#[derive(Debug)]
pub struct Screen {
    feed: watch::Sender<Feed>,
    commands: mpsc::UnboundedReceiver<Command>,
    jobs: Jobs,
    thread: JoinHandle<io::Result<()>>,
}

impl Screen {
    /// Takes the terminal over, and begins with this model.
    ///
    /// # Errors
    /// When it cannot be used.
    pub fn open(context: Arc<RenderContext>, setup: &Setup, mut model: Model) -> io::Result<Self> {
        let (feed, shown) =
            watch::channel(Feed { context, snapshot: None, notice: None, stops: 0, resumes: 0 });
        let (wishes, commands) = mpsc::unbounded_channel();
        let jobs = Jobs::listen()?;
        model.columns.clone_from(&setup.columns);
        model.own_session = own_session::find();
        // The library would take NO_COLOR's word before `--color always`.
        force_color_output(setup.look.colour);
        let screenful = TerminalSession::enter(setup.mouse)?;
        let main_loop = MainLoop::new(shown, wishes, screenful, model, setup.look);
        let thread = thread::Builder::new().name("screen".to_owned()).spawn(move || main_loop.run())?;
        Ok(Self { feed, commands, jobs, thread })
    }

    /// Shows this snapshot from now on.
    pub fn show(&self, snapshot: Snapshot) {
        self.feed.send_modify(|feed| feed.snapshot = Some(Arc::new(snapshot)));
    }

    /// Shows everything in this context from now on.
    pub fn change_context(&self, context: Arc<RenderContext>) {
        self.feed.send_modify(|feed| feed.context = context);
    }

    /// Shows this message from now on.
    pub fn notice(&self, message: &str) {
        self.feed.send_modify(|feed| feed.notice = Some(message.to_owned()));
    }

    /// The next wish; `None` when the screen is gone.
    pub async fn command(&mut self) -> Option<Command> {
        loop {
            tokio::select! {
                command = self.commands.recv() => return command,
                job = self.jobs.next() => self.feed.send_modify(|feed| match job {
                    Job::Stop => feed.stops += 1,
                    Job::Resume => feed.resumes += 1,
                }),
            }
        }
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
