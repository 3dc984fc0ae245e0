//! Every output of a run, each with its own place in the engine's events and its own figures.

use std::io::Write;
use std::sync::Arc;

use super::line_writer::{LineWriter, Lines, Stopped, WhenFull};
use super::log_file::LogState;
use super::target::{Plan, Target};
use super::{Output, RenderContext};
use crate::error::Error;
use tcptop_core::Query;
use tcptop_core::{Engine, Input, ReaderConfig, ReaderId};

/// A target that could be opened, and what is written to it.
pub struct Opened {
    plan: Plan,
    target: Box<dyn Write + Send>,
    log: Option<Arc<LogState>>,
}

/// All targets of a run, and what is written to them.
#[derive(Debug, Default)]
pub struct Outputs(Vec<Destination>);

/// A target that can no longer be written to.
#[derive(Debug)]
pub struct Gone {
    /// Which one.
    pub target: Target,
    /// Why.
    pub why: Stopped,
}

/// A target and what is written to it.
#[derive(Debug)]
struct Destination {
    target: Target,
    writer: LineWriter,
    /// Of a file that is added to.
    log: Option<Arc<LogState>>,
    outputs: Vec<(Box<dyn Output>, ReaderId)>,
    lines: Lines,
}

/// Opens every target, before the run starts: a file that cannot be created is to be known then.
///
/// # Errors
/// When one cannot be opened.
pub fn open(plans: &[Plan]) -> Result<Vec<Opened>, Error> {
    let open = |plan: &Plan| match plan.target.open() {
        Ok((target, log)) => Ok(Opened { plan: plan.clone(), target, log }),
        Err(source) => Err(Error::Output { target: plan.target.to_string(), source }),
    };
    plans.iter().map(open).collect()
}

impl Outputs {
    /// Starts to read the engine for each output. Events are those that match the query's filter.
    ///
    /// # Errors
    /// When the system gives no threads.
    pub fn start(
        opened: Vec<Opened>,
        engine: &mut Engine,
        query: &Query,
        when_full: WhenFull,
    ) -> Result<Self, Error> {
        let start = |Opened { plan, target, log }: Opened| {
            let writer = LineWriter::new(target, when_full)
                .map_err(|source| Error::System { what: "start an output thread", source })?;
            let outputs = plan.formats.iter().map(|format| {
                let output = format.output();
                let events = output.takes_events().then(|| query.filter.clone());
                (output, engine.add_reader(ReaderConfig { events, log: false }))
            });
            let outputs = outputs.collect();
            Ok(Destination { target: plan.target, writer, log, outputs, lines: Lines::default() })
        };
        Ok(Self(opened.into_iter().map(start).collect::<Result<_, Error>>()?))
    }

    /// Whether nothing is written any more.
    #[must_use]
    pub const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes the events since the last time. Returns the targets that can no longer be written to; they are left out
    /// from now on.
    #[must_use]
    pub fn deliver(&mut self, engine: &mut Engine, context: &RenderContext) -> Vec<Gone> {
        let delivered = |destination: &mut Destination| {
            let written = destination.deliver(engine, context);
            written.err().map(|why| Gone { target: destination.target.clone(), why })
        };
        let gone: Vec<Gone> = self.0.iter_mut().filter_map(delivered).collect();
        if !gone.is_empty() {
            self.0.retain(|destination| gone.iter().all(|gone| gone.target != destination.target));
        }
        gone
    }

    /// Opens the files that are added to again: they were renamed.
    pub fn reopen(&mut self) {
        for destination in &mut self.0 {
            let Some(log) = &destination.log else { continue };
            log.reopen();
            // A thread that has ended says so when it is given lines.
            let _ = destination.writer.wake();
        }
    }

    /// Why lines are not written, of those files where that has begun since the last time.
    pub fn troubles(&self) -> impl Iterator<Item = Error> + '_ {
        self.0.iter().filter_map(|destination| {
            let source = destination.log.as_ref()?.trouble()?;
            Some(Error::Output { target: destination.target.to_string(), source })
        })
    }

    /// Waits until every reader has caught up, where lines wait for readers.
    pub fn room(&self) -> impl Future<Output = ()> + use<> {
        let rooms: Vec<_> = self.0.iter().map(|destination| destination.writer.room()).collect();
        async move {
            for room in rooms {
                room.await;
            }
        }
    }

    /// Writes what each output writes last, and returns once all is written. Returns the targets where that failed.
    pub async fn close(
        self,
        engine: &mut Engine,
        query: &Query,
        context: &RenderContext,
        now_ns: u64,
    ) -> Vec<Gone> {
        // All at once: each may take its time.
        let close = |destination: Destination| {
            let target = destination.target.clone();
            (target, tokio::spawn(destination.close(engine, query, context, now_ns)))
        };
        let closing: Vec<_> = self.0.into_iter().map(close).collect();
        let mut gone = Vec::new();
        for (target, closed) in closing {
            // A task that panicked has said so.
            if let Ok(Err(why)) = closed.await {
                gone.push(Gone { target, why });
            }
        }
        gone
    }
}

impl Destination {
    fn deliver(&mut self, engine: &mut Engine, context: &RenderContext) -> Result<(), Stopped> {
        for (output, reader) in self.outputs.iter_mut().filter(|(output, _)| output.takes_events()) {
            engine.poll_events(*reader).for_each(|event| output.event(event, context, &mut self.lines));
        }
        self.writer.write(&mut self.lines)
    }

    /// The last lines are made at once; writing them takes what it takes.
    fn close(
        mut self,
        engine: &mut Engine,
        query: &Query,
        context: &RenderContext,
        now_ns: u64,
    ) -> impl Future<Output = Result<(), Stopped>> + Send + use<> {
        for (output, reader) in &mut self.outputs {
            let Some(request) = output.closing_request(query) else { continue };
            let lost = self.log.as_ref().map_or(0, |log| log.lost());
            engine.handle(Input::Unwritten { reader: *reader, lines: self.writer.dropped() + lost });
            let snapshot = engine.snapshot(*reader, &request, now_ns);
            output.close(&snapshot, context, &mut self.lines);
        }
        let Self { writer, lines, .. } = self;
        writer.finish(lines)
    }
}
