//! The one task that owns the table: records from the source, time, and the sinks.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::time::{Instant, Interval, MissedTickBehavior, interval, sleep, sleep_until};

use crate::clock::{Anchor, monotonic_ns};
use crate::config::{Config, Ending, Output};
use crate::error::Error;
use crate::flow::FlowTable;
use crate::sink::outlet::Outlet;
use crate::sink::tui::Command;
use crate::sink::writer::Stopped;
use crate::sink::{Scene, report};
use crate::snapshot::{Intake, Interest, Snapshot, Span};
use crate::source::interface::{self, Interface};
use crate::source::kernel::KernelSource;
use crate::source::privilege;

/// Records that are taken before the loop looks around.
const BATCH: usize = 8_192;
/// While records come, the ring is looked at this often: the probe does not wake us for each one.
const BUSY: Duration = Duration::from_millis(20);
/// They may come for this long after the last one. Longer than the 200 ms in which the probe wakes us
/// once, so that either it wakes us or we look.
const ALERT: Duration = Duration::from_millis(400);
/// When none come, the ring is looked at this often all the same, should a wake-up have been missed.
const IDLE: Duration = Duration::from_millis(250);
/// How often figures are made new.
const REFRESH: Duration = Duration::from_millis(250);
/// Peers in a report, and in the choice of the worst.
const REPORT_PEERS: usize = 1_000;

/// Why the run ends.
#[derive(Debug)]
enum End {
    /// Asked for by a signal, a key, the time limit or the count.
    Done,
    /// Nobody reads the output any more.
    ReaderGone,
    /// What was watched is gone, or the output fails: the figures so far are given all the same.
    Failed(Error),
}

/// Watches until told to stop.
///
/// # Errors
/// When the interfaces, the privileges, the kernel or the output are not what is needed.
pub fn run(config: &Config) -> Result<(), Error> {
    let interfaces = interface::choose(&config.interfaces)?;
    for interface in &interfaces {
        interface.link_layer()?;
    }
    privilege::check()?;
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|source| Error::System { what: "start the event loop", source })?;
    runtime.block_on(async {
        let mut triggers = Triggers::new()?;
        let mut pipeline = Pipeline::new(config, interfaces)?;
        triggers.deadline = config.duration.map(|duration| Instant::now() + duration);
        let end = pipeline.watch(&mut triggers).await;
        pipeline.end(end)
    })
}

/// What interrupts the wait for records.
struct Triggers {
    refresh: Interval,
    deadline: Option<Instant>,
    signals: [Signal; 3],
}

impl Triggers {
    fn new() -> Result<Self, Error> {
        let listen =
            |kind| signal(kind).map_err(|source| Error::System { what: "listen to signals", source });
        let mut refresh = interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        Ok(Self {
            refresh,
            deadline: None,
            signals: [
                listen(SignalKind::interrupt())?,
                listen(SignalKind::terminate())?,
                listen(SignalKind::hangup())?,
            ],
        })
    }

    async fn stop(signals: &mut [Signal; 3], deadline: Option<Instant>) {
        let [interrupt, terminate, hangup] = signals;
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
            _ = hangup.recv() => {}
            () = sleep_until(deadline.unwrap_or_else(Instant::now)), if deadline.is_some() => {}
        }
    }
}

struct Pipeline<'a> {
    config: &'a Config,
    interfaces: Vec<Interface>,
    source: KernelSource,
    table: FlowTable,
    intake: Intake,
    interest: Interest,
    scene: Arc<Scene>,
    outlet: Outlet,
}

impl<'a> Pipeline<'a> {
    fn new(config: &'a Config, interfaces: Vec<Interface>) -> Result<Self, Error> {
        let source = KernelSource::attach(&interfaces, config.kernel_flows)?;
        let names = interfaces.iter().map(|i| (i.index, i.name.escape_debug().to_string())).collect();
        let scene = Arc::new(Scene::new(names, Anchor::now()));
        announce(config, &interfaces, &scene);
        Ok(Self {
            config,
            interfaces,
            source,
            table: FlowTable::new(&config.limits),
            intake: Intake { started_ns: monotonic_ns(), ..Intake::default() },
            interest: Interest { span: Span::Window, peer_rows: 0, peer: None, flow_rows: 0 },
            outlet: Outlet::open(config.output, &scene)?,
            scene,
        })
    }

    async fn watch(&mut self, triggers: &mut Triggers) -> End {
        let mut rest = IDLE;
        let mut alert_until = Instant::now();
        loop {
            tokio::select! {
                ready = self.source.readable() => {
                    if let Err(source) = ready {
                        return End::Failed(Error::System { what: "wait for the ring buffer", source });
                    }
                }
                () = sleep(rest) => {}
                _ = triggers.refresh.tick() => {
                    if let Err(error) = self.refresh() {
                        return End::Failed(error);
                    }
                }
                command = self.outlet.command() => match command {
                    Some(Command::Look(interest)) => self.interest = interest,
                    Some(Command::Window(window_ns)) => self.table.set_window(window_ns),
                    Some(Command::Quit) | None => return End::Done,
                },
                () = Triggers::stop(&mut triggers.signals, triggers.deadline) => return End::Done,
            }
            let taken = self.drain();
            match self.deliver() {
                Ok(()) => {}
                Err(Stopped::ReaderGone) => return End::ReaderGone,
                Err(Stopped::Failed(error)) => return End::Failed(Error::Output(error)),
            }
            if self.is_counted_out() {
                return End::Done;
            }
            if taken > 0 {
                alert_until = Instant::now() + ALERT;
            }
            rest = match taken {
                BATCH => Duration::ZERO,
                _ if Instant::now() < alert_until => BUSY,
                _ => IDLE,
            };
        }
    }

    /// Takes records out of the ring, but no more than one batch and not past the count.
    fn drain(&mut self) -> usize {
        let (table, count) = (&mut self.table, self.config.count);
        let taken = self.source.drain(BATCH, |record| {
            table.handle(record);
            count.is_none_or(|count| table.told() < count)
        });
        self.intake.records += taken as u64;
        taken
    }

    fn is_counted_out(&self) -> bool {
        self.config.count.is_some_and(|count| self.table.told() >= count)
    }

    fn deliver(&mut self) -> Result<(), Stopped> {
        let events = self.table.take_events();
        events.iter().try_for_each(|event| self.outlet.event(event, &self.scene))
    }

    /// Lets time pass in the table and gives the screen a new picture.
    fn refresh(&mut self) -> Result<(), Error> {
        let now_ns = monotonic_ns();
        self.table.expire(now_ns);
        self.check_interfaces()?;
        if self.config.output == Output::Screen {
            let snapshot = self.snapshot(now_ns, self.interest)?;
            self.outlet.show(snapshot);
        }
        Ok(())
    }

    fn snapshot(&mut self, now_ns: u64, interest: Interest) -> Result<Snapshot, Error> {
        self.intake.counters = self.source.counters()?;
        self.intake.undecodable = self.source.undecodable();
        self.intake.unwritten = self.outlet.unwritten();
        Ok(Snapshot::take(&self.table, &self.intake, &interest, now_ns))
    }

    /// Says which interfaces went away; an error when none is left. A new one of the same name has another
    /// index: it was never attached to.
    fn check_interfaces(&mut self) -> Result<(), Error> {
        let present = interface::all()?;
        let (left, gone): (Vec<_>, Vec<_>) =
            self.interfaces.drain(..).partition(|watched| present.iter().any(|i| i.index == watched.index));
        self.interfaces = left;
        let names: Vec<String> = gone.iter().map(|i| i.name.escape_debug().to_string()).collect();
        if names.is_empty() {
            return Ok(());
        }
        if self.interfaces.is_empty() {
            return Err(Error::InterfaceGone { names });
        }
        self.outlet.notice(&format!("the interface is gone: {}", names.join(", ")));
        Ok(())
    }

    /// Gives what is left to give.
    fn end(mut self, end: End) -> Result<(), Error> {
        if let End::ReaderGone = end {
            return Ok(());
        }
        while !self.is_counted_out() && self.drain() == BATCH {}
        let now_ns = monotonic_ns();
        if !self.is_counted_out() {
            self.table.expire(now_ns);
            self.table.finish(now_ns);
        }
        let delivered = self.deliver();
        let interest = Interest { span: Span::SinceStart, peer_rows: REPORT_PEERS, peer: None, flow_rows: 0 };
        let snapshot = self.snapshot(now_ns, interest)?;
        let closing = match self.config.ending {
            Ending::Summary => report::summary(&snapshot, &self.scene),
            Ending::Report => report::report(&snapshot, &self.scene),
        };
        let closed = delivered.and_then(|()| self.outlet.close(&snapshot, &closing, &self.scene));
        match (end, closed) {
            (End::Failed(error), _) => Err(error),
            (End::Done | End::ReaderGone, Err(Stopped::Failed(error))) => Err(Error::Output(error)),
            (End::Done | End::ReaderGone, Ok(()) | Err(Stopped::ReaderGone)) => Ok(()),
        }
    }
}

/// Messages for people, before anything else.
fn announce(config: &Config, interfaces: &[Interface], scene: &Scene) {
    let say = |line: String| {
        // Standard error may be closed; that is no reason to stop.
        let _ = io::Write::write_all(&mut io::stderr(), format!("{line}\n").as_bytes());
    };
    for interface in interfaces.iter().filter(|interface| !interface.up) {
        say(format!("{} is down: nothing will be seen before it is up", scene.interface(interface.index)));
    }
    let why = if config.interfaces.is_empty() { ", which has the default route" } else { "" };
    let how = if config.output == Output::Screen { "" } else { "; Ctrl-C stops" };
    say(format!("watching {} (tcx){why}{how}", scene.all_interfaces()));
}
