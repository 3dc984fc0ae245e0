//! What was meant by what was typed.

use std::ffi::OsString;
use std::hash::{BuildHasher, RandomState};
use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use crate::cli::{Cli, Command, DoctorArgs, RetransmitsArgs, Show, StatsArgs, Watch};
use crate::error::Error;
use crate::output::metrics;
use crate::output::target::{Format, Plan, ReportFormat, Target, Witness};
use crate::source::kernel::AttachWanted;
use crate::source::namespace::NetworkNamespace;
use crate::source::owner::OwnerSource;
use crate::tui::Setup;
use crate::tui::capabilities::Capabilities;
use tcptop_core::{Cidr, EngineConfig, Filter, Query, Thresholds};

/// Memory for the statistics of all peers together. With the flows (65,536 take some 30 MiB), the lines that
/// wait for a slow reader and the program itself this stays under 128 MiB.
const PEER_BYTES: usize = 40 << 20;

/// Where `tcptop serve` serves metrics if nothing else is said: for this host alone.
const SERVED: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 2_112);

/// Where records come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Interfaces.
    Interfaces(Interfaces),
    /// A capture.
    Replay(Replay),
    /// The kernel's list of sockets, and nothing else.
    Sockets(StatsArgs),
    /// What the kernel says of its retransmits, and nothing else.
    Retransmits(RetransmitsArgs),
    /// The list of interfaces, and what becomes of each when these are named.
    List(Vec<String>, Option<NetworkNamespace>),
    /// Nothing: it is tried what works.
    Doctor(DoctorArgs),
    /// Nothing: what is in force is printed.
    Nothing,
}

/// Interfaces, and how to watch them.
#[derive(Clone, Debug)]
pub struct Interfaces {
    /// What was named, as in [`Selection`](crate::source::selection::Selection).
    pub names: Vec<String>,
    /// Addresses of this host that no interface has.
    pub locals: Vec<Cidr>,
    /// Look into tunnels and the like.
    pub decap: bool,
    /// How to attach to them.
    pub attach: AttachWanted,
    /// The network namespace that they are in, if it is another one.
    pub namespace: Option<NetworkNamespace>,
}

/// A capture, and how to read it.
#[derive(Clone, Debug)]
pub struct Replay {
    /// Its path, or `-` for standard input.
    pub path: String,
    /// Addresses of the host that it was captured on.
    pub locals: Vec<Cidr>,
    /// How many times faster than captured to go on; at once without.
    pub speed: Option<f64>,
    /// Look into tunnels and the like.
    pub decap: bool,
}

/// What to do.
#[derive(Clone, Debug)]
pub struct Config {
    /// How the screen is, if there is one.
    pub screen: Option<Setup>,
    /// What is written, beside the screen or without one.
    pub outputs: Vec<Plan>,
    /// When to stop.
    pub duration: Option<Duration>,
    /// What the engine may hold, and how it judges.
    pub engine: EngineConfig,
    /// Who is asked for processes.
    pub owners: OwnerSource,
    /// Whether it is counted what the host itself drops.
    pub drops: bool,
    /// Whether it is asked why segments are retransmitted.
    pub causes: bool,
    /// Whether the kernel itself is asked for retransmits.
    pub retransmits: bool,
    /// Whether the kernel says why this host sends RSTs.
    pub resets: bool,
    /// Whether connects are told that fail before any SYN passes.
    pub failures: bool,
    /// How often the kernel is asked for its sockets; `None` for never.
    pub sockets: Option<Duration>,
    /// Where metrics are served, if they are.
    pub metrics: Option<metrics::Plan>,
    /// Where events and metrics are sent, if they are.
    #[cfg(feature = "otlp")]
    pub otlp: Option<crate::output::otlp::Plan>,
    /// Whether SIGHUP opens files again instead of ending the run.
    pub hangup_reopens: bool,
    /// The name of this host, where a person says it.
    pub host: Option<String>,
    /// What is shown first, and all that is shown where nobody can change it.
    pub query: Query,
}

impl Config {
    /// The meaning of the arguments, when standard output can or cannot show a screen, and with these environment
    /// variables. `command` is the command line as reports show it.
    ///
    /// # Errors
    /// When outputs do not go together.
    pub fn new(
        cli: &Cli,
        can_show_screen: bool,
        command: &str,
        variable: impl Fn(&str) -> Option<OsString>,
    ) -> Result<Self, Error> {
        let watch = cli.watch();
        let show = match &cli.command {
            Some(Command::Replay(replay)) => &replay.show,
            Some(
                Command::Stats(_)
                | Command::Retransmits(_)
                | Command::Serve(_)
                | Command::Config
                | Command::Doctor(_),
            )
            | None => &watch.show,
        };
        let is_capture = matches!(cli.command, Some(Command::Replay(_)));
        if is_capture && show.retransmits.is_some_and(Witness::asks_kernel) {
            return Err(Error::Usage("a capture has no kernel that says what it retransmits".to_owned()));
        }
        let is_service = matches!(cli.command, Some(Command::Serve(_)));
        let (has_screen, outputs) = outputs(show, can_show_screen, is_service, command)?;
        let listen = watch.listen.or_else(|| is_service.then_some(SERVED));
        Ok(Self {
            screen: has_screen.then(|| Setup {
                capabilities: Capabilities::new(show.color, show.theme, show.ascii, variable),
                columns: show.columns.clone(),
                mouse: show.mouse,
            }),
            outputs,
            duration: watch.duration,
            engine: engine(show),
            owners: watch.owners,
            drops: watch.drops,
            causes: watch.causes,
            retransmits: show.retransmits.is_some_and(Witness::asks_kernel),
            resets: watch.resets,
            failures: watch.failures,
            sockets: watch.sockets.0,
            metrics: metrics_plan(watch, listen, show.sends_metrics())?,
            #[cfg(feature = "otlp")]
            otlp: otlp_plan(show),
            hangup_reopens: is_service || (!has_screen && show.output.is_some()),
            host: show.host.clone(),
            query: Query {
                filter: show.filter.clone().unwrap_or_default().and(Filter::of_processes(&watch.pids)),
                group: show.group,
                sort: show.sort,
                ..Query::default()
            },
        })
    }

    /// Whether it is looked again and again which processes hold sockets: on the screen, and for what is filtered by process.
    /// Elsewhere who listens, opens and closes is enough.
    #[must_use]
    pub fn needs_holders(&self) -> bool {
        self.owners != OwnerSource::None && (self.screen.is_some() || self.query.filter.asks_owner())
    }

    /// Whether it opens connections later, to hand things on.
    #[must_use]
    pub const fn connects(&self) -> bool {
        #[cfg(feature = "otlp")]
        return self.otlp.is_some();
        #[cfg(not(feature = "otlp"))]
        false
    }

    /// Whether figures that the kernel keeps are wanted before the end: on the screen, in metrics, and for the verdicts
    /// that events are filtered by.
    #[must_use]
    pub fn needs_volumes(&self) -> bool {
        self.screen.is_some() || self.metrics.is_some() || self.query.filter.asks_verdict()
    }
}

/// Where events and metrics are sent, if they are.
#[cfg(feature = "otlp")]
fn otlp_plan(show: &Show) -> Option<crate::output::otlp::Plan> {
    let interval = show.otlp_interval;
    show.otlp.clone().map(|endpoint| crate::output::otlp::Plan { endpoint, interval })
}

/// What the engine may hold, and how it judges.
fn engine(show: &Show) -> EngineConfig {
    EngineConfig {
        max_flows: usize::try_from(show.max_flows).unwrap_or(usize::MAX),
        max_handshakes: show.count,
        window_ns: nanoseconds(show.window),
        thresholds: thresholds(show),
        peer_bytes: PEER_BYTES,
        seed: RandomState::new().hash_one(()),
    }
}

/// When a verdict applies.
const fn thresholds(show: &Show) -> Thresholds {
    Thresholds {
        unanswered: show.unanswered,
        failed: show.failed,
        unreachable: show.unreachable,
        refused: show.refused,
        aborted: show.aborted,
        slow: show.slow,
        slow_setup_ns: show.slow_setup.0,
        loss: show.loss,
        min_attempts: show.min_attempts,
    }
}

/// Which metrics there are, if any are served at this address or sent.
fn metrics_plan(
    watch: &Watch,
    listen: Option<SocketAddr>,
    are_sent: bool,
) -> Result<Option<metrics::Plan>, Error> {
    let asks =
        watch.per_flow_metrics.is_some() || watch.peer_metrics.is_some() || !watch.metric_labels.is_empty();
    if listen.is_none() && !are_sent && asks {
        return Err(Error::Usage(
            "there are no metrics without --listen; add it, or see tcptop serve".to_owned(),
        ));
    }
    Ok((listen.is_some() || are_sent).then(|| metrics::Plan {
        address: listen,
        ports: watch.metric_ports.into(),
        connections: watch.per_flow_metrics.map(usize::from),
        peers: watch.peer_metrics.map(usize::from),
        labels: watch.metric_labels.clone(),
    }))
}

/// Whether there is a screen, and what is written. A service has none, and writes only what it is asked for.
fn outputs(
    show: &Show,
    can_show_screen: bool,
    is_service: bool,
    command: &str,
) -> Result<(bool, Vec<Plan>), Error> {
    let text =
        show.text.as_ref().map(|path| (Target::of(path), Format::Text { retransmits: show.retransmits }));
    let json = show.json.as_ref().map(|path| (Target::of(path), Format::Json));
    let report = show.report.as_ref().map(|text| {
        let (format, target) = ReportFormat::of(text);
        (target, Format::Report { format, command: command.to_owned() })
    });
    let log = show.output.as_ref().map(|path| (Target::Log(path.clone(), show.rotate), Format::Json));
    let mut plans: Vec<Plan> = Vec::new();
    for (target, format) in [text, json, log, report].into_iter().flatten() {
        match plans.iter_mut().find(|plan| plan.target == target) {
            Some(plan) => plan.formats.push(format),
            None => plans.push(Plan { target, formats: vec![format] }),
        }
    }
    let is_shared =
        |plan: &&Plan| plans.iter().filter(|other| plan.target.is_same_file(&other.target)).count() > 1;
    if let Some(plan) = plans.iter().find(is_shared) {
        return Err(Error::Usage(format!(
            "{} cannot be written in two ways; name another file",
            plan.target
        )));
    }
    if let Some(plan) = plans.iter().find(|plan| plan.formats.len() > 1 && !plan.is_readable()) {
        return Err(Error::Usage(format!(
            "JSON cannot be mixed with other output on {}; --json=FILE writes it to a file",
            plan.target
        )));
    }
    let is_free = plans.iter().all(|plan| plan.target != Target::Stdout);
    let has_screen = is_free && can_show_screen && !is_service;
    if is_free && !has_screen && !is_service {
        let lines = plans.is_empty().then_some(Format::Text { retransmits: show.retransmits });
        plans.push(Plan { target: Target::Stdout, formats: lines.into_iter().collect() });
    }
    plans.iter_mut().for_each(Plan::end);
    let has_lines = plans.iter().any(|plan| matches!(plan.formats[..], [Format::Text { .. }, ..]));
    if show.retransmits == Some(Witness::Wire) && !has_lines {
        return Err(Error::Usage("--retransmits is for text lines; add --text".to_owned()));
    }
    Ok((has_screen, plans))
}

/// The command line as reports show it: what a shell would take, with control characters escaped.
#[must_use]
pub fn command_line(arguments: impl IntoIterator<Item = OsString>) -> String {
    let plain = |letter: char| letter.is_alphanumeric() || "-_=./:,%+@".contains(letter);
    let quoted = |word: &str| {
        if !word.is_empty() && word.chars().all(plain) {
            word.to_owned()
        } else {
            let escaped: String = word.replace('\'', "'\\''").chars().map(shown).collect();
            format!("'{escaped}'")
        }
    };
    let mut words = arguments.into_iter().map(|word| word.to_string_lossy().into_owned());
    let program = words.next().and_then(|path| Some(path.rsplit('/').next()?.to_owned()));
    program.into_iter().chain(words).map(|word| quoted(&word)).collect::<Vec<_>>().join(" ")
}

fn shown(letter: char) -> String {
    if letter.is_control() { letter.escape_default().to_string() } else { letter.to_string() }
}

impl Source {
    /// The meaning of the arguments.
    #[must_use]
    pub fn new(cli: &Cli) -> Self {
        match &cli.command {
            Some(Command::Stats(stats)) => Self::Sockets(stats.clone()),
            Some(Command::Retransmits(retransmits)) => Self::Retransmits(retransmits.clone()),
            Some(Command::Config) => Self::Nothing,
            Some(Command::Doctor(doctor)) => Self::Doctor(doctor.clone()),
            None if cli.watch.list.is_some() => Self::List(cli.watch.interfaces.clone(), cli.watch.target()),
            None | Some(Command::Serve(_)) => {
                let watch = cli.watch();
                Self::Interfaces(Interfaces {
                    names: watch.interfaces.clone(),
                    locals: watch.local.clone(),
                    decap: watch.decap,
                    attach: watch.attach,
                    namespace: watch.target(),
                })
            }
            Some(Command::Replay(replay)) => Self::Replay(Replay {
                path: replay.file.clone(),
                locals: replay.local.clone(),
                speed: replay.speed,
                decap: replay.decap,
            }),
        }
    }
}

fn nanoseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    const TEXT: Format = Format::Text { retransmits: None };

    fn report(format: ReportFormat) -> Format {
        Format::Report { format, command: "tcptop".to_owned() }
    }

    fn config(arguments: &[&str], can_show_screen: bool) -> Result<Config, Error> {
        let cli = Cli::parse_from([&["tcptop"], arguments].concat());
        Config::new(&cli, can_show_screen, "tcptop", |_| None)
    }

    /// Whether there is a screen, and what goes where; standard output is `-`.
    fn outputs(arguments: &[&str], can_show_screen: bool) -> (bool, Vec<(String, Vec<Format>)>) {
        let config = config(arguments, can_show_screen).unwrap();
        let name = |target: Target| match target {
            Target::Stdout => "-".to_owned(),
            Target::File(path) | Target::Log(path, _) => path.display().to_string(),
        };
        let plans = config.outputs.into_iter().map(|plan| (name(plan.target), plan.formats));
        (config.screen.is_some(), plans.collect())
    }

    #[test]
    fn the_screen_needs_a_terminal_and_nothing_else_on_it() {
        let stdout = |formats: Vec<Format>| (false, vec![("-".to_owned(), formats)]);
        assert_eq!(outputs(&[], true), (true, vec![]));
        assert_eq!(outputs(&[], false), stdout(vec![TEXT, Format::Summary]));
        assert_eq!(outputs(&["--text"], true), stdout(vec![TEXT, Format::Summary]));
        assert_eq!(outputs(&["--json"], true), stdout(vec![Format::Json]));
        assert_eq!(outputs(&["--json=-"], true), stdout(vec![Format::Json]));
        assert_eq!(outputs(&["--report"], true), stdout(vec![report(ReportFormat::Text)]));
        assert_eq!(outputs(&["--report=markdown"], true), stdout(vec![report(ReportFormat::Markdown)]));
        assert_eq!(outputs(&["replay", "x.pcap", "--json"], true), stdout(vec![Format::Json]));
        assert_eq!(outputs(&["--report", "--text"], false), stdout(vec![TEXT, report(ReportFormat::Text)]));
    }

    #[test]
    fn files_are_written_beside_the_screen_or_without_one() {
        let file = |name: &str, formats: Vec<Format>| (name.to_owned(), formats);
        let files = vec![
            file("t", vec![TEXT, Format::Summary]),
            file("j", vec![Format::Json]),
            file("r.md", vec![report(ReportFormat::Markdown)]),
        ];
        let arguments = ["--json=j", "--text=t", "--report=r.md"];
        assert_eq!(outputs(&arguments, true), (true, files.clone()));
        // Nobody asked for lines on standard output.
        let summary = file("-", vec![Format::Summary]);
        assert_eq!(outputs(&arguments, false), (false, [files, vec![summary]].concat()));
        let both = vec![file("-", vec![TEXT, Format::Summary]), file("j", vec![Format::Json])];
        assert_eq!(outputs(&["--json=j", "--text"], true), (false, both));
    }

    #[test]
    fn a_service_has_no_screen_and_writes_what_it_is_asked_for() {
        assert_eq!(outputs(&["serve", "eth0"], true), (false, vec![]));
        let log = vec![("l".to_owned(), vec![Format::Json])];
        assert_eq!(outputs(&["serve", "--output=l", "--rotate=1M,2"], true), (false, log.clone()));
        assert_eq!(outputs(&["--output=l"], true), (true, log));
        assert_eq!(outputs(&["serve", "--json"], true), (false, vec![("-".to_owned(), vec![Format::Json])]));
        let of = |arguments: &[&str]| config(arguments, true).unwrap();
        let listens = |arguments: &[&str]| of(arguments).metrics?.address.map(|address| address.to_string());
        assert_eq!(listens(&["serve"]).as_deref(), Some("127.0.0.1:2112"));
        assert_eq!(listens(&["serve", "--listen=[::]:9"]).as_deref(), Some("[::]:9"));
        assert_eq!(listens(&["eth0"]), None);
        assert!(of(&["serve"]).hangup_reopens && of(&["--text", "--output=l"]).hangup_reopens);
        assert!(!of(&["--output=l"]).hangup_reopens, "the screen's terminal is gone");
        assert!(config(&["eth0", "--peer-metrics=5"], true).is_err());
        assert!(config(&["--json=l", "--output=l"], true).is_err(), "one file, two writers");
    }

    #[test]
    fn what_cannot_be_taken_apart_again_is_not_mixed() {
        for wrong in [
            &["--json", "--text"][..],
            &["--json", "--report"],
            &["--json=-", "--report=text"],
            &["--text", "--report=json"],
            &["--json=a", "--text=a"],
            &["--retransmits", "--json"],
        ] {
            assert!(matches!(config(wrong, false), Err(Error::Usage(_))), "{wrong:?}");
        }
        assert!(config(&["--retransmits"], true).is_err(), "the screen has no lines");
        assert!(config(&["--retransmits"], false).is_ok());
    }

    #[test]
    fn processes_are_one_more_term_of_the_filter() {
        let shown = |arguments: &[&str]| config(arguments, false).unwrap().query.filter.to_string();
        assert_eq!(shown(&["-p", "7"]), "pid:7");
        assert_eq!(shown(&["--pid=7,8", "-p9", "--filter", "port:443"]), "port:443 pid:7,8,9");
        assert_eq!(shown(&[]), "");
    }

    #[test]
    fn a_command_line_can_be_pasted() {
        let line = |words: &[&str]| command_line(words.iter().map(OsString::from));
        assert_eq!(line(&["/usr/bin/tcptop", "eth0", "--report"]), "tcptop eth0 --report");
        assert_eq!(line(&["tcptop", "--filter", "p99>50ms web"]), "tcptop --filter 'p99>50ms web'");
        assert_eq!(line(&["tcptop", "it's", "", "\x1b[0m"]), r"tcptop 'it'\''s' '' '\u{1b}[0m'");
    }
}
