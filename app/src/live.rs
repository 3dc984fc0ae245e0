//! A live run: records from the kernel, the passing of time, signals and keys, in one task.

mod address_watch;
mod chosen;
mod holders;
mod masters;
mod retransmits;
mod sockets;

use std::io;
use std::slice;
use std::time::Duration;

use nix::sys::utsname::uname;
use tokio::time::{Instant, MissedTickBehavior, interval, sleep};

use crate::clock::{Anchor, monotonic_ns};
use crate::config::{Config, Interfaces};
use crate::confine::Confinement;
use crate::error::Error;
use crate::output::RenderContext;
use crate::output::line_writer::WhenFull;
use crate::output::metrics::{self, Bound};
use crate::output::outputs::{self, Opened};
use crate::output::target::{Plan, Target};
use crate::session::{self, End, Session};
use crate::source::host_counters;
use crate::source::interface::{self, Interface};
use crate::source::kernel::{KernelSource, Settings, Since, What};
use crate::source::namespace::NetworkNamespace;
use crate::source::netlink::LinkChanges;
use crate::source::owner::{OwnerSource, Owners};
use crate::source::privilege;
use crate::source::selection::Selection;
use crate::stop::{Asked, Stop};
use address_watch::AddressWatch;
use chosen::{Chosen, Progress, announce, raise_descriptor_limit};
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
/// So many interfaces are attached to between two looks at the ring.
const AT_ONCE: usize = 1;
/// No fewer batches than the ring buffer holds.
const RING_BATCHES: usize = 32;

/// Watches until told to stop.
///
/// # Errors
/// When the interfaces, the privileges, the kernel or the output are not what is needed.
pub fn run(config: &Config, wanted: &Interfaces) -> Result<(), Error> {
    privilege::check()?;
    let opened = outputs::open(&config.outputs)?;
    // Metrics are served where tcptop was started, whatever it watches.
    let address = config.metrics.as_ref().and_then(|plan| plan.address);
    let bound = address.map(metrics::bind).transpose()?;
    if wanted.namespace.is_some() && config.connects() {
        let what = "another network namespace cannot be watched while events are sent: what is sent would leave from there";
        return Err(Error::Usage(what.to_owned()));
    }
    // Before there are threads, which would stay where they are.
    wanted.namespace.as_ref().map_or(Ok(()), NetworkNamespace::enter)?;
    let selection = Selection::new(&wanted.names);
    let present = interface::all()?;
    let interfaces: Vec<Interface> = selection.watched(&present)?.into_iter().cloned().collect();
    raise_descriptor_limit();
    let runtime = session::event_loop()?;
    runtime.block_on(async {
        let mut stop = Stop::new()?;
        let flows = u32::try_from(config.engine.max_flows).unwrap_or(u32::MAX);
        let settings = Settings {
            flows,
            decap: wanted.decap,
            attach: wanted.attach,
            causes: config.causes,
            owners: config.owners == OwnerSource::Kernel,
            failures: config.failures,
            retransmits: config.retransmits,
            states: false,
        };
        let chosen = Chosen { interfaces, selection };
        let mut live = Live::new(config, KernelSource::load(&settings)?, opened, &chosen, wanted)?;
        live.serve(bound)?;
        stop.within(config.duration);
        if config.hangup_reopens {
            stop.reopen_on_hangup();
        }
        let end = live.watch(&mut stop).await;
        live.end(end).await
    })
}

/// What is given up once all is open and attached.
fn confinement(config: &Config) -> Confinement {
    let is_log = |plan: &Plan| matches!(plan.target, Target::Log(..));
    Confinement {
        is_live: true,
        names_processes: config.owners != OwnerSource::None,
        has_screen: config.screen.is_some(),
        // A connect that fails on this host is tried again with a socket of its own, to learn why.
        connects: config.connects() || config.failures,
        opens_files: config.outputs.iter().any(is_log),
    }
}

struct Live<'a> {
    source: KernelSource,
    links: LinkChanges,
    progress: Progress,
    context: RenderContext,
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
        (mut source, mut lacking): (KernelSource, Vec<String>),
        opened: Vec<Opened>,
        chosen: &Chosen,
        wanted: &Interfaces,
    ) -> Result<Self, Error> {
        // Before the interfaces are listed again: what changes from now on is noticed.
        let links = LinkChanges::subscribe()
            .map_err(|source| Error::System { what: "watch the interfaces", source })?;
        let mut addresses = AddressWatch::new(&wanted.locals)?;
        // Before the first SYN is seen: every one has an owner then.
        let owners = Owners::new();
        lacking.extend(also_lacking(config, &mut source, &owners));
        let (retransmits, untold) = Retransmits::new(config.retransmits, &mut source);
        lacking.extend(untold);
        let (since, failed) = chosen.attach_first(&mut source)?;
        // Before there are other threads. What a record says comes from outside.
        lacking.extend(confinement(config).enter());
        // What the kernel counts is held against what is seen from now on.
        let counters = host_counters::read();
        let context = RenderContext::new(source.names(), source.method(), Anchor::now());
        let host = config.host.clone().or_else(host);
        let context = RenderContext { host, not_known: lacking, ..context };
        let masters = masters::notices(chosen.asked_for(), &context);
        masters.iter().chain(&failed).for_each(|notice| say(notice));
        announce(config, chosen, &context);
        source.behind_others().for_each(|name| {
            let name = name.escape_debug();
            say(&format!("{name} has filters ahead of tcptop's: what they end is not seen"));
        });
        context.not_known.iter().for_each(|reason| say(reason));
        // Not now: what has passed since the first interface was attached to is counted, too.
        let began_ns = since.iter().map(|since| since.time_ns).min().unwrap_or_else(monotonic_ns);
        let mut session = Session::start(config, opened, context.clone(), began_ns, WhenFull::Drop)?;
        since.into_iter().for_each(|since| watched(&mut session, since));
        if session.has_screen() {
            masters.iter().for_each(|notice| session.notice(notice));
        }
        addresses.set_ids(source.ids());
        let holders = Holders::new(config.owners);
        let sockets = Sockets::new(config.sockets);
        let (progress, refreshed) = (Progress::new(chosen), 0);
        let mut live = Self {
            source,
            links,
            progress,
            context,
            session,
            refreshed,
            addresses,
            owners,
            holders,
            sockets,
            retransmits,
        };
        live.check_interfaces(true, 0);
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
                changed = self.links.readable() => {
                    if let Err(source) = changed {
                        return End::Failed(Error::System { what: "watch the interfaces", source });
                    }
                    self.progress.has_news = true;
                }
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
            let taken = match self.turn(&mut due) {
                Ok(taken) => taken,
                Err(end) => return end,
            };
            if taken > 0 {
                alert_until = Instant::now() + ALERT;
            }
            rest = match taken {
                taken if taken >= BATCH => Duration::ZERO,
                _ if self.progress.is_attaching || self.progress.is_preparing && taken == 0 => Duration::ZERO,
                _ if Instant::now() < alert_until => BUSY,
                _ => self.until_timeout().clamp(BUSY, IDLE),
            };
        }
    }

    /// Handles what is in the ring, and what it and the passing of time lead to. Returns how many records there were.
    fn turn(&mut self, due: &mut Option<Instant>) -> Result<usize, End> {
        let now_ns = monotonic_ns();
        let taken = self.drain()?;
        // After the records of those that are gone.
        if core::mem::take(&mut self.progress.has_news) || self.progress.is_attaching {
            self.check_interfaces(false, AT_ONCE);
        } else if self.progress.is_preparing && taken == 0 {
            self.progress.is_preparing = self.source.prepare();
        }
        self.pass_time((taken < BATCH).then_some(now_ns), due)?;
        self.session.deliver()?;
        if self.session.is_counted_out() { Err(End::Done) } else { Ok(taken) }
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
            self.check_interfaces(true, AT_ONCE);
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

    /// Attaches to interfaces that are new, `most` of them, that are back or were detached by others, and reports what has changed.
    fn check_interfaces(&mut self, look_closely: bool, most: usize) {
        let (changes, is_more) = self.source.check(&self.links.take(), look_closely, most);
        for change in &changes {
            if let Some(since) = change.since() {
                watched(&mut self.session, since);
            }
            // Those of the start were announced.
            if self.progress.has_started || !matches!(change.what, What::New(_)) {
                self.session.notice(&change.to_string());
            }
        }
        if !changes.is_empty() {
            self.addresses.set_ids(self.source.ids());
            self.context.interfaces = self.source.names();
            self.session.change_context(self.context.clone());
        }
        self.progress.is_attaching = is_more;
        self.progress.has_started |= !is_more;
    }

    /// Handles what is in the ring, and ends. While the ring is never empty, that is as much as it holds.
    async fn end(mut self, end: End) -> Result<(), Error> {
        for _ in 0..RING_BATCHES {
            if self.session.is_counted_out() || self.drain()? < BATCH {
                break;
            }
        }
        // Where the ring was never empty, they wait for records that nobody reads any more.
        self.retransmits.flush(&mut self.session);
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

/// Has the kernel name processes and count drops. Returns what it cannot say although it is wanted: a sentence for each.
fn also_lacking(config: &Config, source: &mut KernelSource, owners: &Owners) -> Vec<String> {
    let unowned = match config.owners {
        OwnerSource::Kernel => source.watch_owners(),
        OwnerSource::None | OwnerSource::Proc => Vec::new(),
    };
    let wrong = owners.lacking().filter(|_| config.owners != OwnerSource::None);
    let failures = if config.failures { source.watch_failures() } else { None };
    let drops = if config.drops { source.watch_drops() } else { None };
    let resets = if config.resets { source.watch_resets() } else { None };
    unowned.into_iter().chain(wrong).chain(failures).chain(drops).chain(resets).collect()
}

/// All packets of an interface are seen from now on.
fn watched(session: &mut Session<'_>, since: Since) {
    session.handle(Input::Watched { interface: since.interface, since_ns: since.time_ns });
}

/// Says something on standard error.
pub(crate) fn say(line: &str) {
    // Standard error may be closed; that is no reason to stop.
    let _ = io::Write::write_all(&mut io::stderr(), format!("{line}\n").as_bytes());
}
