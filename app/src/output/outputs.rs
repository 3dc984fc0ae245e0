//! Where events and snapshots go in this run.

use std::io;
use std::sync::Arc;

use super::writer::{LineWriter, Stopped, WhenFull};
use super::{RenderContext, json, text};
use crate::config::{Config, Output};
use crate::error::Error;
use crate::tui::model::Model;
use crate::tui::{Command, Screen};
use tcptop_core::snapshot::Snapshot;
use tcptop_core::table::Event;

/// The one sink of a run.
#[derive(Debug)]
pub enum Outputs {
    /// The terminal.
    Screen(Screen),
    /// A line per handshake.
    Text(LineWriter),
    /// JSON objects.
    Json(LineWriter),
    /// Nothing before the end.
    Quiet(LineWriter),
}

impl Outputs {
    /// Opens the terminal or standard output.
    ///
    /// # Errors
    /// When the terminal cannot be used.
    pub fn open(config: &Config, context: &Arc<RenderContext>, when_full: WhenFull) -> Result<Self, Error> {
        let lines = || {
            LineWriter::new(io::stdout(), when_full)
                .map_err(|source| Error::System { what: "start the output thread", source })
        };
        let screen = || {
            let model = Model::new(config.query.clone());
            Screen::open(Arc::clone(context), &config.screen, model).map_err(Error::Terminal)
        };
        Ok(match config.output {
            Output::Screen => Self::Screen(screen()?),
            Output::Text => Self::Text(lines()?),
            Output::Json => Self::Json(lines()?),
            Output::Quiet => Self::Quiet(lines()?),
        })
    }

    /// Takes what was decided.
    ///
    /// # Errors
    /// When it can no longer be written.
    pub fn events<'e>(
        &mut self,
        events: impl Iterator<Item = &'e Event>,
        context: &RenderContext,
    ) -> Result<(), Stopped> {
        let text = |event: &Event| match event {
            Event::Handshake(flow) => Some(text::handshake(flow, context)),
            Event::Close(_) | Event::Retransmit(_) => None,
        };
        let json = |event: &Event| json::line(&json::event(event, context));
        match self {
            Self::Text(lines) => lines.lines(events.filter_map(text).collect()),
            Self::Json(lines) => lines.lines(events.map(json).collect()),
            Self::Screen(_) | Self::Quiet(_) => Ok(()),
        }
    }

    /// Takes a new snapshot.
    pub fn show(&self, snapshot: Snapshot) {
        if let Self::Screen(screen) = self {
            screen.show(snapshot);
        }
    }

    /// Shows everything in another context from now on. Those who write lines are given it with each.
    pub fn change_context(&self, context: &Arc<RenderContext>) {
        if let Self::Screen(screen) = self {
            screen.change_context(Arc::clone(context));
        }
    }

    /// Says something to people while the run goes on.
    pub fn notice(&self, message: &str) {
        match self {
            Self::Screen(screen) => screen.notice(message),
            // Standard error may be closed; that is no reason to stop.
            Self::Text(_) | Self::Json(_) | Self::Quiet(_) => {
                let _ = io::Write::write_all(&mut io::stderr(), format!("tcptop: {message}\n").as_bytes());
            }
        }
    }

    /// The next wish of the person at the screen; `None` when the screen is gone. Without a screen, never.
    pub async fn command(&mut self) -> Option<Command> {
        match self {
            Self::Screen(screen) => screen.command().await,
            Self::Text(_) | Self::Json(_) | Self::Quiet(_) => std::future::pending().await,
        }
    }

    /// Waits until the reader has caught up, where lines wait for it.
    pub fn room(&self) -> impl Future<Output = ()> + use<> {
        let room = match self {
            Self::Screen(_) => None,
            Self::Text(lines) | Self::Json(lines) | Self::Quiet(lines) => Some(lines.room()),
        };
        async move {
            if let Some(room) = room {
                room.await;
            }
        }
    }

    /// Lines that a slow reader did not take.
    #[must_use]
    pub const fn unwritten(&self) -> u64 {
        match self {
            Self::Screen(_) => 0,
            Self::Text(lines) | Self::Json(lines) | Self::Quiet(lines) => lines.unwritten(),
        }
    }

    /// Gives the closing words and closes.
    ///
    /// # Errors
    /// When something could not be written, or the screen failed.
    pub async fn close(
        self,
        snapshot: &Snapshot,
        closing: &str,
        context: &RenderContext,
    ) -> Result<(), Stopped> {
        match self {
            Self::Screen(screen) => {
                screen.close().map_err(Stopped::Failed)?;
                LineWriter::new(io::stdout(), WhenFull::Count)
                    .map_err(Stopped::Failed)?
                    .finish(closing.to_owned())
                    .await
            }
            Self::Json(lines) => {
                let objects: Vec<String> =
                    json::closing(snapshot, context).map(|object| json::line(&object)).collect();
                lines.finish(objects.join("\n")).await
            }
            Self::Text(lines) | Self::Quiet(lines) => lines.finish(closing.to_owned()).await,
        }
    }
}
