//! A live run: records from the kernel, the passing of time, signals and keys, in one task.

mod address_watch;
mod holders;
mod masters;
mod retransmits;
mod sockets;

use std::io;
use std::slice;
use std::time::Duration;

use caps::Capability;
use nix::sys::utsname::uname;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::clock::{Anchor, monotonic_ns};
use crate::config::{Config, Interfaces};
use crate::confine;
use crate::error::Error;
use crate::output::RenderContext;
use crate::output::line_writer::WhenFull;
use crate::output::metrics::{self, Bound};
use crate::output::outputs::{self, Opened};
use crate::output::target::Target;
use crate::session::{self, End, Session};
use crate::source::host_counters;
use crate::source::interface::{self, Interface};
use crate::source::kernel::{KernelSource, Settings, Since};
use crate::source::owner::{OwnerSource, Owners};
use crate::source::privilege;
use crate::stop::{Asked, Stop};
use address_watch::AddressWatch;
use holders::Holders;
use probe_common::Record;
use retransmits::Retransmits;
use sockets::Sockets;
use tcptop_core::{HostCounters, Input, OwnerAction};

/// Records that are handled before anything else is: few enough that the events they cause are still in the processor's caches
/// when they are written.
const BATCH: usize = 1_024;
/// While records come, the ring is read this often: the probe does not wake the reader for each one.
const BUSY: Duration = Duration::from_millis(20);
/// For this long after the last record more are expected. Longer than the 200 ms in which the probe wakes the reader once, so
/// that no record waits for [`IDLE`].
const ALERT: Duration = Duration::from_millis(400);
/// When none come, the ring is read this often, in case a wake-up was missed.
const IDLE: Duration = Duration::from_millis(250);
/// How often the screen gets a new snapshot.
const REFRESH: Duration = Duration::from_millis(250);
/// With one in so many refreshes, once a second, interfaces and flow volumes are checked.
const INTERFACE_CHECK: u64 = 4;
/// How late figures may be while the ring is never empty.
const LATE: Duration = Duration::from_secs(1);
/// No fewer batches than the ring buffer holds.
const RING_BATCHES: usize = 32;

/// Watches until told to stop.
///
/// # Errors
/// When the interfaces, the privileges, the kernel or the output are not what is needed.
pub fn run(config: &Config, wanted: &Interfaces) -> Result<(), Error> {
    let interfaces = interface::choose(&wanted.names)?;
    for interface in &interfaces {
        interface.link_layer()?;
    }
    privilege::check()?;
    let opened = outputs::open(&config.outputs)?;
    let address = config.metrics.as_ref().and_then(|plan| plan.address);
    let bound = address.map(metrics::bind).transpose()?;
    // Before there are threads.
    confine::watching(&more_capabilities(config))?;
    let runtime = session::event_loop()?;
    runtime.block_on(async {
        let mut stop = Stop::new()?;
        let flows = u32::try_from(config.engine.max_flows).unwrap_or(u32::MAX);
        let settings = Settings {
            flows,
            decap: wanted.decap,
            attach: wanted.attach,
            causes: config.causes,
            retransmits: config.retransmits,
            states: false,
        };
        let mut live = Live::new(config, KernelSource::load(&settings)?, opened, &interfaces, wanted)?;
        live.serve(bound)?;
        stop.within(config.duration);
        if config.hangup_reopens {
            stop.reopen_on_hangup();
        }
        let end = live.watch(&mut stop).await;
        live.end(end).await
    })
}

/// What is needed beside what watching takes: to write files wherever they are.
fn more_capabilities(config: &Config) -> Vec<Capability> {
    let has_files = config.outputs.iter().any(|plan| plan.target != Target::Stdout);
    has_files.then_some(Capability::CAP_DAC_OVERRIDE).into_iter().collect()
}

struct Live<'a> {
    source: KernelSource,
    session: Session<'a>,
    refreshed: u64,
    addresses: AddressWatch,
    owners: Owners,
    holders: Holders,
    sockets: Sockets,
    retransmits: Retransmits,
}

impl<'a> Live<'a> {
    fn new(
        config: &'a Config,
        (mut source, lacking): (KernelSource, Vec<String>),
        opened: Vec<Opened>,
        interfaces: &[Interface],
        wanted: &Interfaces,
    ) -> Result<Self, Error> {
        let mut addresses = AddressWatch::new(&wanted.locals)?;
        // Before the first SYN is seen: every one has an owner then.
        let owners = Owners::new();
        let unowned = match config.owners {
            OwnerSource::Kernel => source.watch_owners(),
            OwnerSource::None | OwnerSource::Proc => Vec::new(),
        };
        let wrong = owners.lacking().filter(|_| config.owners != OwnerSource::None);
        let lacking = lacking.into_iter().chain(unowned).chain(wrong);
        let lacking = lacking.chain(if config.drops { source.watch_drops() } else { None });
        let (retransmits, untold) = Retransmits::new(config.retransmits, &mut source);
        let lacking = lacking.chain(untold);
        let lacking = lacking.chain(if config.resets { source.watch_resets() } else { None });
        let since = interfaces.iter().map(|interface| source.watch(interface));
        let since = since.collect::<Result<Vec<_>, _>>()?;
        // What the kernel counts is held against what is seen from now on.
        let counters = host_counters::read();
        let names = interfaces.iter().map(|i| (i.index, i.name.escape_debug().to_string())).collect();
        let context = RenderContext::new(names, source.method(), Anchor::now());
        let not_known: Vec<String> = lacking.collect();
        let host = config.host.clone().or_else(host);
        let context = RenderContext { host, not_known, ..context };
        let masters = masters::notices(interfaces, &context);
        masters.iter().for_each(|notice| say(notice));
        announce(config, interfaces, &context, wanted.names.is_empty());
        source.behind_others().for_each(|name| {
            let name = name.escape_debug();
            say(&format!("{name} has filters ahead of tcptop's: what they end is not seen"));
        });
        context.not_known.iter().for_each(|reason| say(reason));
        let mut session = Session::start(config, opened, context, monotonic_ns(), WhenFull::Drop)?;
        since.into_iter().for_each(|since| watched(&mut session, since));
        if session.has_screen() {
            masters.iter().for_each(|notice| session.notice(notice));
        }
        addresses.set_ids(source.ids());
        let holders = Holders::new(config.owners);
        let sockets = Sockets::new(config.sockets);
        let mut live =
            Self { source, session, refreshed: 0, addresses, owners, holders, sockets, retransmits };
        live.check_interfaces();
        live.count_host(&counters);
        Ok(live)
    }

    /// Serves metrics from now on.
    fn serve(&mut self, bound: Option<Bound>) -> Result<(), Error> {
        if let Some(address) = bound.as_ref().and_then(Bound::address) {
            say(&format!("metrics: http://{address}/metrics"));
        }
        self.session.serve(bound)
    }

    async fn watch(&mut self, stop: &mut Stop) -> End {
        let mut refresh = interval(REFRESH);
        refresh.set_missed_tick_behavior(MissedTickBehavior::Delay);
        let mut rest = IDLE;
        let mut alert_until = Instant::now();
        let mut due: Option<Instant> = None;
        loop {
            tokio::select! {
                ready = self.source.readable() => {
                    if let Err(source) = ready {
                        return End::Failed(Error::System { what: "wait for the ring buffer", source });
                    }
                }
                () = sleep(rest) => {}
                _ = refresh.tick() => due = due.or_else(|| Some(Instant::now())),
                command = self.session.command() => {
                    if !self.session.obey(command, monotonic_ns()) {
                        return End::Done;
                    }
                }
                asked = stop.asked() => match asked {
                    Asked::Stop => return End::Done,
                    Asked::Reopen => self.session.reopen(),
                },
            }
            let now_ns = monotonic_ns();
            let taken = match self.drain() {
                Ok(taken) => taken,
                Err(error) => return error.into(),
            };
            if let Err(error) = self.pass_time((taken < BATCH).then_some(now_ns), &mut due) {
                return error.into();
            }
            if let Err(end) = self.session.deliver() {
                return end;
            }
            if self.session.is_counted_out() {
                return End::Done;
            }
            if taken > 0 {
                alert_until = Instant::now() + ALERT;
            }
            rest = match taken {
                taken if taken >= BATCH => Duration::ZERO,
                _ if Instant::now() < alert_until => BUSY,
                _ => self.until_timeout().clamp(BUSY, IDLE),
            };
        }
    }

    /// Lets time pass, for the refresh that is due or for the engine: up to `drained_ns`, when the ring was empty. What its
    /// records report comes first, so while it is never empty, time passes only up to the latest record. What was missed up to
    /// `drained_ns` is counted already: [`drain`](Self::drain) reads it.
    fn pass_time(&mut self, drained_ns: Option<u64>, due: &mut Option<Instant>) -> Result<(), Error> {
        if due.is_some_and(|since| drained_ns.is_some() || since.elapsed() > LATE) {
            *due = None;
            return self.refresh(drained_ns.unwrap_or_else(|| self.session.latest_ns()));
        }
        let timeout_ns = self.session.timeout_ns();
        if let Some(now_ns) = drained_ns.filter(|now_ns| timeout_ns.is_some_and(|due_ns| due_ns <= *now_ns)) {
            self.session.handle(Input::Time { now_ns });
        }
        Ok(())
    }

    /// How long until the engine needs to know the time.
    fn until_timeout(&self) -> Duration {
        let timeout_ns = self.session.timeout_ns().unwrap_or(u64::MAX);
        Duration::from_nanos(timeout_ns.saturating_sub(monotonic_ns()))
    }

    /// Handles records of the ring, up to one batch and up to the count of handshakes that was asked for. Returns how many.
    fn drain(&mut self) -> Result<usize, Error> {
        // What was missed before decides what the records mean.
        self.count()?;
        self.retransmits.read()?;
        let Self { source, session, addresses, owners, holders, retransmits, .. } = self;
        // Also where there are no records: what is learned of flow states needs it.
        addresses.refresh(session);
        let taken = source.drain(BATCH, |records| {
            addresses.refresh(session);
            for record in records {
                if let Record::Owner(owner) = record {
                    holders.has_listener |= owner.action == OwnerAction::Listen;
                    session.handle(Input::Owner(&owners.name(owner)));
                }
            }
            retransmits.handle_with(records, session)
        });
        if taken < BATCH {
            retransmits.flush(session);
        }
        Ok(taken)
    }

    /// Lets time pass, reads counters, and gives the screen a new snapshot.
    fn refresh(&mut self, now_ns: u64) -> Result<(), Error> {
        // What was missed decides what the passing of time means.
        self.count()?;
        self.session.handle(Input::Time { now_ns });
        self.refreshed += 1;
        let is_second = self.refreshed.is_multiple_of(INTERFACE_CHECK);
        if is_second {
            self.check_interfaces();
            self.count_host(&host_counters::read());
            self.count_drops(now_ns)?;
            self.session.handle(Input::PassedOver(&self.source.passed_over()?));
            // It takes 16 ms, so it waits for the end where nobody reads volumes before.
            if self.session.needs_volumes() {
                self.sweep(now_ns)?;
            }
            self.session.refresh_metrics(now_ns);
        }
        // After the sweep, which makes connections known that were open before.
        if self.holders.are_due(is_second, &self.source, &self.session) {
            let lacking = self.holders.list(&mut self.source, &mut self.owners, &mut self.session, now_ns)?;
            lacking.iter().for_each(|reason| self.session.notice(reason));
        }
        // Likewise.
        let lacking = self.sockets.list_if_due(&mut self.session, now_ns);
        lacking.iter().for_each(|reason| self.session.notice(reason));
        self.session.show(now_ns);
        Ok(())
    }

    /// Hands on what flows have sent since the last sweep.
    fn sweep(&mut self, now_ns: u64) -> Result<(), Error> {
        let session = &mut self.session;
        self.source.sweep(|flow| {
            session.handle(Input::Volumes { flows: slice::from_ref(flow), now_ns });
        })
    }

    fn count(&mut self) -> Result<(), Error> {
        let counters = self.source.counters()?;
        self.session.handle(Input::Counters { counters: &counters, now_ns: monotonic_ns() });
        self.session.handle(Input::Undecodable(self.source.undecodable()));
        Ok(())
    }

    /// Hands on what the kernel counts for the whole host.
    fn count_host(&mut self, counters: &HostCounters) {
        let unwatched = self.source.unwatched();
        self.session.handle(Input::Host { counters, unwatched, now_ns: monotonic_ns() });
    }

    /// Hands on what the host itself has dropped, where that is known.
    fn count_drops(&mut self, now_ns: u64) -> Result<(), Error> {
        if let Some(drops) = self.source.drops()? {
            self.session.handle(Input::Drops { drops: &drops, now_ns });
        }
        Ok(())
    }

    /// Attaches to interfaces that are back or were detached by others, and reports what has changed.
    fn check_interfaces(&mut self) {
        for change in self.source.check() {
            if let Some(since) = change.since() {
                watched(&mut self.session, since);
                self.addresses.set_ids(self.source.ids());
            }
            self.session.notice(&change.to_string());
        }
    }

    /// Handles what is in the ring, and ends. While the ring is never empty, that is as much as it holds.
    async fn end(mut self, end: End) -> Result<(), Error> {
        for _ in 0..RING_BATCHES {
            if self.session.is_counted_out() || self.drain()? < BATCH {
                break;
            }
        }
        let now_ns = monotonic_ns();
        self.sweep(now_ns)?;
        self.count_host(&host_counters::read());
        self.count_drops(now_ns)?;
        self.count()?;
        self.session.handle(Input::PassedOver(&self.source.passed_over()?));
        self.session.end(end, now_ns).await
    }
}

/// The host's name, as `uname -n` prints it.
pub(crate) fn host() -> Option<String> {
    let name = uname().ok()?.nodename().to_string_lossy().escape_debug().to_string();
    (!name.is_empty() && name != "(none)").then_some(name)
}

/// All packets of an interface are seen from now on.
fn watched(session: &mut Session<'_>, since: Since) {
    session.handle(Input::Watched { interface: since.interface, since_ns: since.time_ns });
}

/// Says on standard error what is watched.
fn announce(config: &Config, interfaces: &[Interface], context: &RenderContext, by_default: bool) {
    for interface in interfaces.iter().filter(|interface| !interface.up) {
        say(&format!("{} is down: nothing will be seen before it is up", context.interface(interface.index)));
    }
    let why = if by_default { ", which has the default route" } else { "" };
    let how = if config.screen.is_some() { "" } else { "; Ctrl-C stops" };
    say(&format!("watching {} ({}){why}{how}", context.all_interfaces(), context.source));
}

/// Says something on standard error.
pub(crate) fn say(line: &str) {
    // Standard error may be closed; that is no reason to stop.
    let _ = io::Write::write_all(&mut io::stderr(), format!("{line}\n").as_bytes());
}
