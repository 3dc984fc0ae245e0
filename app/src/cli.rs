//! The command line: options, their help, and hints for habits of other tools.

use std::ffi::OsString;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use clap::builder::StyledStr;
use clap::error::{ContextKind, ContextValue, ErrorKind};
use clap::{ArgAction, Args, Parser, Subcommand};

use crate::output::log_file::Rotation;
use crate::output::metrics::OwnerLabel;
use crate::output::target::Witness;
use crate::source::kernel::AttachWanted;
use crate::source::namespace::NetworkNamespace;
use crate::source::owner::OwnerSource;
use crate::tui::capabilities::{ColorChoice, ThemeChoice};
use crate::tui::columns::named;
use crate::tui::columns::peers::COLUMNS;
use tcptop_core::units::{Share, Time};
use tcptop_core::{Cidr, EstatsTable, Filter, FilterError, Group, RowOrder, Slow, Sort};

/// With the commit, where there is one.
const VERSION: &str = env!("TCPTOP_VERSION");
const LONG_VERSION: &str = concat!(env!("TCPTOP_VERSION"), "\nkernel object sha256 ", env!("TCPTOP_OBJECT"));

const AFTER_HELP: &str = "\
Examples:
  sudo tcptop                                  all interfaces that carry traffic
  sudo tcptop eth0 'veth*'                     some of them
  sudo tcptop eth0 --filter 'port:443 p99>50ms'
  sudo tcptop eth0 --json | jq 'select(.outcome == \"refused\")'
  sudo tcptop eth0 --report --duration 30s     a report for a ticket
  ssh host sudo tcpdump -U -w - tcp | tcptop replay -

Output: the screen on a terminal, text lines otherwise; messages go to standard error.
Exit codes: 0 done, 1 failure, 2 usage, 3 privilege, 4 kernel or interface.";

/// Headings of the options in the help.
pub(crate) const INPUT: &str = "Input";
pub(crate) const OUTPUT: &str = "Output";
pub(crate) const FILTER_AND_SORT: &str = "Filter and sort";
const THRESHOLDS: &str = "Verdict thresholds";
const SCREEN: &str = "Screen";
pub(crate) const METRICS: &str = "Metrics";
pub(crate) const LIMITS: &str = "Limits";

/// Which of my TCP peers is slow to connect, unanswered, refusing or losing packets?
///
/// Watches TCP handshakes on network interfaces through TCX hooks in the kernel. It is passive: it reads packets and
/// changes nothing. It needs root, or the capabilities CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON.
///
/// Times have a unit: ns, us, ms, s, m, h or d, as in 50ms, 1.5s or 1m30s. Shares are percentages: 10%, 0.5%.
#[derive(Clone, Debug, Parser)]
#[command(name = "tcptop", version = VERSION, long_version = LONG_VERSION, after_help = AFTER_HELP, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// Another input than interfaces.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// What is watched, without a subcommand.
    #[command(flatten)]
    pub watch: Watch,
}

/// What is watched on interfaces, and how.
#[derive(Clone, Debug, Args)]
pub struct Watch {
    /// Interfaces to watch [default: all that carry traffic, each path at one point]
    ///
    /// Names, further names and indexes, patterns such as 'veth*', any for all that can be read, and !NAME or !PATTERN for what is
    /// left out. What appears later is watched, too, where it is not a name that decides. A connection that passes several of them
    /// is one, and counts where it was seen first.
    #[arg(value_name = "INTERFACE", help_heading = INPUT)]
    pub interfaces: Vec<String>,

    /// Watch in another network namespace: one that ip netns has named, or that of a process
    #[arg(long, value_name = "NAME|PID", help_heading = INPUT)]
    #[arg(conflicts_with_all = ["container", "pod"])]
    pub netns: Option<String>,

    /// Watch in the network namespace of a container, by its name or the first digits of its identifier
    #[arg(long, value_name = "NAME|ID", conflicts_with = "pod", help_heading = INPUT)]
    pub container: Option<String>,

    /// Watch in the network namespace of a pod
    #[arg(long, value_name = "NAMESPACE/NAME", value_parser = NetworkNamespace::pod, help_heading = INPUT)]
    pub pod: Option<NetworkNamespace>,

    /// List the interfaces, with the reason for each that is not watched, and stop
    #[arg(long = "interfaces", value_name = "list", hide_possible_values = true, help_heading = INPUT)]
    pub list: Option<ListInterfaces>,

    /// More addresses of this host; can be repeated
    ///
    /// An address or a block, such as 10.0.0.5 or 2001:db8::/32, that neither an interface nor a local route has: of a
    /// transparent proxy.
    /// Connections of which neither end is this host have the role forwarded.
    #[arg(long, value_name = "CIDR", help_heading = INPUT)]
    pub local: Vec<Cidr>,

    /// Look for TCP within PPPoE, MPLS and tunnels
    ///
    /// IP in IP, GRE, ERSPAN, VXLAN, GENEVE and GTP-U are looked into, one tunnel deep. It costs time for each packet that is
    /// not TCP.
    #[arg(long, value_name = "on|off", default_value = "off", default_missing_value = "on", num_args = 0..=1,
          require_equals = true, action = ArgAction::Set, value_parser = on_or_off, help_heading = INPUT)]
    pub decap: bool,

    /// How to attach to interfaces
    ///
    /// TCX is used where the kernel has it (Linux 6.6), filters of the clsact discipline otherwise. If tcptop is killed, inert
    /// filters of the latter stay until its next start.
    #[arg(long, value_name = "auto|tcx|clsact", default_value = "auto", hide_possible_values = true,
          help_heading = INPUT)]
    pub attach: AttachWanted,

    /// Say which process each connection belongs to
    ///
    /// The kernel then says of each TCP socket on this host who opens and closes it. What it cannot say is reported at the start.
    /// proc only looks into /proc once a second, which costs connections nothing, and knows nothing of short ones.
    #[arg(long, value_name = "on|proc|off", default_value = "on", default_missing_value = "on", num_args = 0..=1,
          require_equals = true, action = ArgAction::Set, help_heading = INPUT)]
    pub owners: OwnerSource,

    /// Count the TCP segments that this host itself drops, by the kernel's reason (Linux 6.11 or later)
    #[arg(long, value_name = "on|off", default_value = "on", default_missing_value = "on", num_args = 0..=1,
          require_equals = true, action = ArgAction::Set, value_parser = on_or_off, help_heading = INPUT)]
    pub drops: bool,

    /// Say why this host retransmits
    ///
    /// The socket that sends a segment again is asked at its own interface: timeout, slow start, fast retransmit or tail loss probe.
    /// It costs nothing for data in order.
    #[arg(long, value_name = "on|off", default_value = "on", default_missing_value = "on", num_args = 0..=1,
          require_equals = true, action = ArgAction::Set, value_parser = on_or_off, help_heading = INPUT)]
    pub causes: bool,

    /// Say why this host sends RSTs, by the kernel's reason (Linux 6.10 or later)
    ///
    /// Nothing listens, closed with unread data, keepalive timeout and others. It costs nothing but for a RST.
    #[arg(long, value_name = "on|off", default_value = "on", default_missing_value = "on", num_args = 0..=1,
          require_equals = true, action = ArgAction::Set, value_parser = on_or_off, help_heading = INPUT)]
    pub resets: bool,

    /// How often to ask the kernel what it knows of its TCP sockets, at least 250ms, or off
    ///
    /// It knows the round-trip times of connections that were open before, and how many connections wait for each listener.
    #[arg(long, value_name = "TIME|off", default_value = "1s", value_parser = every, help_heading = INPUT)]
    pub sockets: Every,

    /// Show only what belongs to these processes: short for --filter 'pid:PID,...'; can be repeated
    #[arg(short, long = "pid", value_name = "PID", value_delimiter = ',', help_heading = FILTER_AND_SORT)]
    pub pids: Vec<u32>,

    /// Serve metrics for Prometheus on this address, as http://ADDR:PORT/metrics
    ///
    /// They cover all traffic that is watched, whatever the filter and the screen show. Beside /metrics there is /healthz. Whoever
    /// reaches the port can read them: 127.0.0.1:2112 is for this host alone.
    #[arg(long, value_name = "ADDR:PORT", help_heading = METRICS)]
    pub listen: Option<SocketAddr>,

    /// How many service ports have metrics of their own; the others share the label other
    #[arg(long, value_name = "N", default_value_t = 50, help_heading = METRICS,
          value_parser = clap::value_parser!(u16))]
    pub metric_ports: u16,

    /// More labels for metrics: whose connections they are, of unit, container, namespace and pod, with commas between
    ///
    /// As many workloads as ports have metrics of their own; the others share the label other.
    #[arg(long, value_name = "NAMES", value_parser = metric_labels, default_value = "", hide_default_value = true,
          help_heading = METRICS)]
    pub metric_labels: MetricLabels,

    /// Also count attempts, retransmits and round-trip times by peer, of N peers at the same time at most
    ///
    /// Their address is a label. The others share the label other; a peer's metrics end when it was idle for an hour.
    #[arg(long, value_name = "N", help_heading = METRICS)]
    pub peer_metrics: Option<u16>,

    /// Also tell what is known of each connection, of N connections at the same time at most
    ///
    /// tcp_retransmissions_total, and what the kernel says of the socket (see --sockets), have the addresses and ports of both ends as
    /// labels. A connection's series end with it; that of retransmits also ten minutes after the last.
    #[arg(long, value_name = "N", num_args = 0..=1, require_equals = true, default_missing_value = "1000")]
    #[arg(help_heading = METRICS)]
    pub per_flow_metrics: Option<u16>,

    /// How the figures are shown.
    #[command(flatten)]
    pub show: Show,

    /// Stop after this time
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = LIMITS)]
    pub duration: Option<Duration>,
}

impl Watch {
    /// The network namespace that is watched, if it is another one.
    #[must_use]
    pub fn target(&self) -> Option<NetworkNamespace> {
        let of = |name: &Option<String>, target: fn(String) -> NetworkNamespace| name.clone().map(target);
        of(&self.netns, NetworkNamespace::Namespace)
            .or_else(|| of(&self.container, NetworkNamespace::Container))
            .or_else(|| self.pod.clone())
    }
}

/// What is to be done with interfaces instead of watching them.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub enum ListInterfaces {
    /// They are listed.
    List,
}

/// Another input than interfaces.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Watch without a screen, and serve metrics on 127.0.0.1:2112 unless --listen says otherwise: for a service
    ///
    /// Nothing is written unless it is asked for: --output=FILE for objects, which SIGHUP opens again, or --json for a pipe.
    Serve(Box<Watch>),
    /// Read a capture (pcap or pcapng, also gzip) instead of an interface; needs no privileges
    Replay(Box<ReplayArgs>),
    /// Write what the kernel knows of each TCP socket, as the variables of RFC 4898; needs no privileges
    Stats(StatsArgs),
    /// Try what tcptop needs here, and say what works, what does not, and what helps
    Doctor(DoctorArgs),
    /// Print which options are in force, and from which configuration file; that is a configuration file itself
    Config,
    /// Show each segment that the kernel retransmits, on any interface and in any network namespace
    Retransmits(RetransmitsArgs),
}

/// Arguments of `retransmits`.
#[derive(Clone, Debug, Args)]
pub struct RetransmitsArgs {
    /// Write JSON objects instead of text, one a line
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,

    /// Say which process each connection belongs to
    ///
    /// The kernel then says of each TCP socket on this host who opens and closes it. proc only looks into /proc, which costs connections
    /// nothing, and knows nothing of short ones.
    #[arg(long, value_name = "on|proc|off", default_value = "on", default_missing_value = "on", num_args = 0..=1,
          require_equals = true, action = ArgAction::Set, help_heading = INPUT)]
    pub owners: OwnerSource,

    /// Show only what belongs to these processes: short for --filter 'pid:PID,...'; can be repeated
    #[arg(short, long = "pid", value_name = "PID", value_delimiter = ',', help_heading = FILTER_AND_SORT)]
    pub pids: Vec<u32>,

    /// Show only what matches, such as 'peer:10.0.0.0/8 port:443 cause:timeout'
    ///
    /// As for interfaces, but with these terms only: peer, port, local, lport, role, outcome, cause, proc, pid, container, unit, and
    /// words. The role is server where a socket listens on the local port, else client. The totals at the end are of all.
    #[arg(long, value_name = "EXPR", value_parser = filter, help_heading = FILTER_AND_SORT)]
    pub filter: Option<Filter>,

    /// Stop after N retransmits that match
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    #[arg(help_heading = LIMITS)]
    pub count: Option<u64>,

    /// Stop after this time
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = LIMITS)]
    pub duration: Option<Duration>,
}

/// Arguments of `doctor`.
#[derive(Clone, Debug, Args)]
pub struct DoctorArgs {
    /// Interfaces to look at, as for tcptop itself [default: all that carry traffic]
    #[arg(value_name = "INTERFACE", help_heading = INPUT)]
    pub interfaces: Vec<String>,

    /// Remove the inert filters that runs have left which were killed
    #[arg(long, help_heading = INPUT)]
    pub clean: bool,

    /// Write a JSON object instead of text
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,
}

/// Arguments of `stats`.
#[derive(Clone, Debug, Args)]
pub struct StatsArgs {
    /// Write JSON objects instead of text, one a line
    #[arg(long, help_heading = OUTPUT)]
    pub json: bool,

    /// Tables of RFC 4898 to write, with commas between
    ///
    /// connect, perf, path, stack, app, tune, listener. docs/rfc4898.md lists their variables.
    #[arg(long, value_name = "NAMES", value_parser = crate::stats::tables)]
    #[arg(default_value = "connect,perf,path,stack,app,tune,listener", help_heading = OUTPUT)]
    pub tables: Tables,

    /// Show only what matches, such as 'peer:10.0.0.0/8 port:443 srtt>50ms'
    ///
    /// As for interfaces, but with these terms only: peer, port, local, lport, role, outcome, srtt, min_rtt, and words. The role is
    /// server where a socket listens on the local port, else client.
    #[arg(long, value_name = "EXPR", value_parser = filter, help_heading = FILTER_AND_SORT)]
    pub filter: Option<Filter>,

    /// Write again and again, this long after the last time [default: once]
    ///
    /// The largest and smallest values (MaxRTO, MinMSS and others) are those of all times; the first time has none.
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = LIMITS)]
    pub interval: Option<Duration>,

    /// Name of this host in objects [default: the hostname]
    #[arg(long, value_name = "NAME", value_parser = host_name, help_heading = OUTPUT)]
    pub host: Option<String>,

    /// Stop after this long [default with it: every second]
    #[arg(long, value_name = "TIME", value_parser = duration, help_heading = LIMITS)]
    pub duration: Option<Duration>,
}

/// Tables, in their order.
pub type Tables = Vec<EstatsTable>;

/// Arguments of `replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// The capture, or - for standard input, as in: ssh host tcpdump -U -w - tcp | tcptop replay -
    #[arg(value_name = "FILE", help_heading = INPUT)]
    pub file: String,

    /// Addresses of the captured host, to tell clients from servers; can be repeated
    ///
    /// An address or a block, such as 10.0.0.5 or 2001:db8::/32. Connections of which neither end is local have the role
    /// observer, and their RTT is the sum of both legs.
    #[arg(long, value_name = "CIDR", help_heading = INPUT)]
    pub local: Vec<Cidr>,

    /// Replay at the speed of the capture (1) or N times faster [default: as fast as possible]
    #[arg(long, value_name = "N", value_parser = speed, help_heading = INPUT)]
    pub speed: Option<f64>,

    /// Look for TCP within PPPoE, MPLS and tunnels
    ///
    /// IP in IP, GRE, ERSPAN, VXLAN, GENEVE and GTP-U are looked into, one tunnel deep. What is passed over is counted by what
    /// it is.
    #[arg(long, value_name = "on|off", default_value = "on", default_missing_value = "on", num_args = 0..=1,
          require_equals = true, action = ArgAction::Set, value_parser = on_or_off, help_heading = INPUT)]
    pub decap: bool,

    /// How the figures are shown.
    #[command(flatten)]
    pub show: Show,
}

/// How the figures are shown, for every input.
#[derive(Clone, Debug, Args)]
pub struct Show {
    /// Print a line per handshake instead of the screen, or write it to FILE beside the screen
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    #[arg(help_heading = OUTPUT)]
    pub text: Option<PathBuf>,

    /// Print a text line per retransmitted segment as well; kernel and both also ask the kernel itself
    ///
    /// wire: as segments pass the interfaces, of both ends. kernel: as the kernel says of this host's. both: as they pass, and where
    /// the kernel says something else, by connection and in total. With --json, objects have what both say.
    #[arg(long, value_name = "wire|kernel|both", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "wire", help_heading = OUTPUT)]
    pub retransmits: Option<Witness>,

    /// Print JSON, one object per line (handshake, retransmit, close, peer, summary), or write it to FILE
    ///
    /// `handshake` when the outcome of a handshake is decided, `retransmit` for each retransmitted segment, `close` when a
    /// connection ends; at the end a `peer` for each peer, and one `summary`. docs/json.md describes the keys.
    #[arg(long, value_name = "FILE", num_args = 0..=1, require_equals = true, default_missing_value = "-")]
    #[arg(help_heading = OUTPUT)]
    pub json: Option<PathBuf>,

    /// Add the same JSON to FILE, which is opened again on SIGHUP
    ///
    /// FILE must not be a symbolic link, and one tcptop at a time writes it. A line is written whole or, when the disk is full, not at
    /// all, and then counted as missed. SIGHUP does not end the run then, unless its terminal is gone.
    #[arg(long, value_name = "FILE", help_heading = OUTPUT)]
    pub output: Option<PathBuf>,

    /// Begin another file before --output exceeds SIZE bytes (such as 100M), and keep N older ones: FILE.1 to FILE.N
    #[arg(long, value_name = "SIZE,N", requires = "output", value_parser = rotation, help_heading = OUTPUT)]
    pub rotate: Option<Rotation>,

    /// Name of this host in objects and reports [default: the hostname]
    #[arg(long, value_name = "NAME", value_parser = host_name, help_heading = OUTPUT)]
    pub host: Option<String>,

    /// Send events and metrics to an OpenTelemetry collector, such as http://127.0.0.1:4318 (OTLP over HTTP, protobuf)
    #[cfg(feature = "otlp")]
    #[arg(long, value_name = "URL", help_heading = OUTPUT)]
    pub otlp: Option<crate::output::otlp::Endpoint>,

    /// How often metrics are sent to the collector
    #[cfg(feature = "otlp")]
    #[arg(long, value_name = "TIME", default_value = "15s", value_parser = duration, help_heading = OUTPUT)]
    pub otlp_interval: Duration,

    /// Print a report at the end, for a ticket, and nothing before it unless --text is given; or write it to FILE
    ///
    /// FORMAT is text, markdown or json. The extension of FILE says its format: .md for Markdown, .json for JSON, text
    /// otherwise. A file that is called like a format needs a path: ./json.
    #[arg(long, value_name = "FORMAT|FILE", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "text", help_heading = OUTPUT)]
    pub report: Option<OsString>,

    /// Show only what matches, such as 'peer:10.0.0.0/8 port:443 p99>50ms !role:server'
    ///
    /// All terms must match; ! negates a term, and of several values with commas between them one is enough. Keys: peer,
    /// port, iface, role, outcome, cause, verdict, why, local, lport, proc, pid, container, unit. Figures, with > >= < <= =: p50, p90,
    /// p99, max, rtt, srtt, min_rtt, setup, setup_p50, setup_p90, setup_p99, setup_max, age, new, unanswered, unreachable, refused,
    /// aborted, retr, retransmits, tries. Other words match text. docs/usage.md describes each.
    #[arg(long, value_name = "EXPR", value_parser = filter, help_heading = FILTER_AND_SORT)]
    pub filter: Option<Filter>,

    /// Sort peers by this column; -COLUMN reverses the order
    ///
    /// problem, peer, new, p50, p90, p99, max, setup_p50, setup_p90, setup_p99, setup_max, unanswered, unreachable,
    /// refused, aborted, retr or since. problem is by verdict, worst first.
    #[arg(long, value_name = "COLUMN", default_value = "problem", allow_hyphen_values = true)]
    #[arg(help_heading = FILTER_AND_SORT)]
    pub sort: Sort<RowOrder>,

    /// Group peers by: peer, host, service, subnet, role, interface, process, container
    ///
    /// subnet is the /24 of an IPv4 address and the /64 of an IPv6 address. A peer whose connections belong to several
    /// processes is in a row of such peers.
    #[arg(long, value_name = "WHAT", default_value = "peer", help_heading = FILTER_AND_SORT)]
    pub group: Group,

    /// Length of the sliding window that figures and verdicts cover, 1s to 1h
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = window)]
    #[arg(help_heading = THRESHOLDS)]
    pub window: Duration,

    /// S, slow: from this 90th percentile of the RTT on, or N times the peer's own median
    ///
    /// 3x, for one, is three times the median since the start. It applies to peers with 20 handshakes or more, and never
    /// below 1 ms.
    #[arg(long, value_name = "TIME|Nx", default_value = "100ms", help_heading = THRESHOLDS)]
    pub slow: Slow,

    /// N, unanswered: from this share of the window's attempts on
    #[arg(long, value_name = "SHARE", default_value = "10%", help_heading = THRESHOLDS)]
    pub unanswered: Share,

    /// U, unreachable: from this share of the window's attempts on that ICMP errors answer
    #[arg(long, value_name = "SHARE", default_value = "10%", help_heading = THRESHOLDS)]
    pub unreachable: Share,

    /// R, refused: from this share of the window's attempts on
    #[arg(long, value_name = "SHARE", default_value = "10%", help_heading = THRESHOLDS)]
    pub refused: Share,

    /// A, aborted: from this share of the window's attempts on
    ///
    /// A connection is aborted when the end that accepted it resets it within a second, before it sent any data.
    #[arg(long, value_name = "SHARE", default_value = "10%", help_heading = THRESHOLDS)]
    pub aborted: Share,

    /// W, slow setup: from this setup time of 1% of the window's handshakes on
    ///
    /// The setup time is what the application waits: from the first SYN to the ACK, repeated SYNs included.
    #[arg(long, value_name = "TIME", default_value = "500ms", help_heading = THRESHOLDS)]
    pub slow_setup: Time,

    /// L, loss: from this retransmitted share of the window's segments on
    #[arg(long, value_name = "SHARE", default_value = "1%", help_heading = THRESHOLDS)]
    pub loss: Share,

    /// The smallest sample: no verdict with fewer attempts, RTTs or, for W and L, slow handshakes and retransmits
    #[arg(long, value_name = "N", default_value_t = 3, help_heading = THRESHOLDS,
          value_parser = clap::value_parser!(u64).range(1..))]
    pub min_attempts: u64,

    /// Columns of the first table and their order, such as peer,p99,unanswered
    ///
    /// The help on the screen (key ?) and docs/columns.md list all.
    #[arg(long, value_name = "NAMES", value_parser = columns, help_heading = SCREEN)]
    pub columns: Option<Columns>,

    /// When to use colours
    #[arg(long, value_name = "WHEN", default_value = "auto", help_heading = SCREEN)]
    pub color: ColorChoice,

    /// Background to choose colours for
    #[arg(long, value_name = "BACKGROUND", default_value = "auto", help_heading = SCREEN)]
    pub theme: ThemeChoice,

    /// Use only ASCII; the default where the locale is not UTF-8
    #[arg(long, help_heading = SCREEN)]
    pub ascii: bool,

    /// Move the selection with the mouse wheel; selecting text then needs Shift
    #[arg(long, help_heading = SCREEN)]
    pub mouse: bool,

    /// Stop after N decided handshakes
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    #[arg(help_heading = LIMITS)]
    pub count: Option<u64>,

    /// Connections that are tracked at the same time, 1 to 4194304
    ///
    /// Each takes about 500 bytes here and 400 in the kernel. Beyond the limit the oldest closed ones are evicted first.
    #[arg(long, value_name = "N", default_value_t = 65_536,
          value_parser = clap::value_parser!(u32).range(1..=4_194_304), help_heading = LIMITS)]
    pub max_flows: u32,
}

impl Show {
    /// Whether metrics are sent to a collector.
    pub(crate) const fn sends_metrics(&self) -> bool {
        #[cfg(feature = "otlp")]
        return self.otlp.is_some();
        #[cfg(not(feature = "otlp"))]
        return false;
    }
}

/// How often something is done; `None` for never.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Every(pub Option<Duration>);

/// Labels of metrics that say whose connections they are, in their order.
pub type MetricLabels = Vec<OwnerLabel>;

/// Names of columns, in their order.
pub type Columns = Vec<&'static str>;

/// Options of bcc's tcptop, tcpdump and the like, and what does the same here. `{}` is the value that was given.
const HABITS: [(&[&str], &str, &str); 9] = [
    (&["-i", "--interface"], "eth0", "interfaces are named without an option: tcptop {}"),
    (&["-P", "--port"], "443", "filter by port: tcptop --filter 'port:{}'"),
    (&["-C", "--noclear"], "", "for lines that do not overwrite each other: tcptop --text"),
    (&["-S", "-v", "-q"], "", "for one line per handshake: tcptop --text"),
    (&["-n"], "", "names are looked up only on the screen, with the key n"),
    (&["-c"], "10", "stop after a number of handshakes: tcptop --count {}"),
    (&["-r"], "file.pcap", "read a capture: tcptop replay {}"),
    (&["-f"], "", "filter: tcptop --filter 'peer:10.0.0.0/8 port:443'"),
    (&["-w"], "", "tcptop writes no captures; print JSON instead: tcptop --json"),
];

impl Cli {
    /// What is watched, and how: with or without a subcommand.
    #[must_use]
    pub const fn watch(&self) -> &Watch {
        match &self.command {
            Some(Command::Serve(watch)) => watch,
            Some(
                Command::Replay(_)
                | Command::Stats(_)
                | Command::Doctor(_)
                | Command::Retransmits(_)
                | Command::Config,
            )
            | None => &self.watch,
        }
    }

    /// Parses the command line. Errors have a hint where another tool's option was given.
    ///
    /// # Errors
    /// Those of clap, help and version included.
    pub fn parse_with_hints(arguments: impl IntoIterator<Item = OsString>) -> Result<Self, clap::Error> {
        let arguments: Vec<OsString> = arguments.into_iter().collect();
        Self::try_parse_from(&arguments).map_err(|mut error| {
            if let Some(hint) = habit(&error, &arguments) {
                error.insert(ContextKind::Suggested, ContextValue::StyledStrs(vec![StyledStr::from(hint)]));
            }
            error
        })
    }
}

/// What does here what the unknown option does elsewhere.
fn habit(error: &clap::Error, arguments: &[OsString]) -> Option<String> {
    if error.kind() != ErrorKind::UnknownArgument {
        return None;
    }
    let Some(ContextValue::String(option)) = error.get(ContextKind::InvalidArg) else { return None };
    let (_, example, hint) = HABITS.iter().find(|(options, ..)| options.contains(&option.as_str()))?;
    let mut given = arguments.iter().map(|argument| argument.to_string_lossy());
    // As `-i eth0`, `-ieth0` or `--interface=eth0`.
    let value = given.by_ref().find_map(|argument| argument.strip_prefix(option).map(str::to_owned))?;
    let value = match value.trim_start_matches('=') {
        "" => given.next().map(String::from).filter(|value| !value.starts_with('-')),
        value => Some(value.to_owned()),
    };
    let value = value.map_or((*example).to_owned(), |value| value.escape_debug().to_string());
    Some(hint.replace("{}", &value))
}

fn columns(text: &str) -> Result<Columns, String> {
    named(&COLUMNS, text)
}

fn filter(text: &str) -> Result<Filter, String> {
    text.parse().map_err(|error: FilterError| format!("\n{}", error.shown_in(text)))
}

fn on_or_off(text: &str) -> Result<bool, String> {
    match text {
        "on" => Ok(true),
        "off" => Ok(false),
        _ => Err("must be on or off".to_owned()),
    }
}

/// A size with a unit of 1,000, and a number of files.
fn rotation(text: &str) -> Result<Rotation, String> {
    let wrong = || "must be a size and a number of files, such as 100M,5".to_owned();
    let (size, files) = text.split_once(',').ok_or_else(wrong)?;
    let digits = size.trim_end_matches(|letter: char| !letter.is_ascii_digit());
    let unit = match &size[digits.len()..] {
        "" => 1,
        "k" | "K" => 1_000,
        "M" => 1_000_000,
        "G" => 1_000_000_000,
        _ => return Err("the unit of a size is k, M or G".to_owned()),
    };
    let bytes = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit)).ok_or_else(wrong)?;
    let files = files.trim().parse::<u16>().map_err(|_| wrong())?;
    match (bytes, files) {
        (0..10_000, _) => Err("a file must have 10k at least".to_owned()),
        (_, 1..=1_000) => Ok(Rotation { bytes, files }),
        _ => Err("1 to 1000 older files can be kept".to_owned()),
    }
}

fn host_name(text: &str) -> Result<String, String> {
    let is_name = (1..=253).contains(&text.len()) && text.chars().all(|letter| !letter.is_control());
    let shown = || text.escape_debug().to_string();
    if is_name { Ok(shown()) } else { Err("must be 1 to 253 bytes without control characters".to_owned()) }
}

fn metric_labels(text: &str) -> Result<MetricLabels, String> {
    let mut labels: MetricLabels = Vec::new();
    for name in text.split(',').map(str::trim).filter(|name| !name.is_empty()) {
        let known = OwnerLabel::ALL.into_iter().find(|label| label.name() == name);
        let label = known
            .ok_or_else(|| format!("labels are {}", OwnerLabel::ALL.map(OwnerLabel::name).join(", ")))?;
        if !labels.contains(&label) {
            labels.push(label);
        }
    }
    Ok(labels)
}

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse::<f64>().ok().filter(|speed| (0.001..=1_000_000.0).contains(speed));
    speed.ok_or_else(|| "must be a number from 0.001 to 1000000".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let Time(ns) = text.parse()?;
    if ns == 0 { Err("must be longer than 0".to_owned()) } else { Ok(Duration::from_nanos(ns)) }
}

fn every(text: &str) -> Result<Every, String> {
    if text == "off" {
        return Ok(Every(None));
    }
    let interval = duration(text).map_err(|error| format!("must be off or a time: {error}"))?;
    if interval < Duration::from_millis(250) {
        return Err("must be 250ms or more, or off".to_owned());
    }
    Ok(Every(Some(interval)))
}

fn window(text: &str) -> Result<Duration, String> {
    let window = duration(text)?;
    let allowed = Duration::from_secs(1)..=Duration::from_secs(3_600);
    if allowed.contains(&window) { Ok(window) } else { Err("must be 1s to 1h".to_owned()) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_consistent() {
        Cli::command().debug_assert();
    }

    fn hint(arguments: &[&str]) -> String {
        let arguments = ["tcptop"].iter().chain(arguments).map(OsString::from);
        let error = Cli::parse_with_hints(arguments).unwrap_err();
        assert_eq!(error.exit_code(), 2);
        error.to_string()
    }

    #[test]
    fn habits_of_other_tools_get_the_right_form() {
        for (arguments, expected) in [
            (&["-i", "eth0"][..], "tcptop eth0"),
            (&["-ieth0"], "tcptop eth0"),
            (&["--interface=wg0"], "tcptop wg0"),
            (&["-i"], "tcptop eth0"),
            (&["-i", "--text"], "tcptop eth0"),
            (&["-i", "a\u{1b}b"], "tcptop a\\u{1b}b"),
            (&["-P", "5432"], "tcptop --filter 'port:5432'"),
            (&["-C", "1"], "tcptop --text"),
            (&["eth0", "-c", "5"], "tcptop --count 5"),
            (&["-nr", "x.pcap"], "the key n"),
            (&["-r", "x.pcap"], "tcptop replay x.pcap"),
        ] {
            let said = hint(arguments);
            assert!(said.contains("tip: ") && said.contains(expected), "{arguments:?}: {said}");
        }
        assert!(!hint(&["--no-such-option"]).contains("tcptop eth0"));
    }

    #[test]
    fn every_option_is_in_a_group() {
        let subcommand = |name| Cli::command().find_subcommand(name).unwrap().clone();
        for command in [Cli::command(), subcommand("replay"), subcommand("serve")] {
            for argument in command.get_arguments() {
                let groups = [INPUT, OUTPUT, FILTER_AND_SORT, THRESHOLDS, SCREEN, METRICS, LIMITS];
                let heading = argument.get_help_heading();
                assert!(heading.is_some_and(|heading| groups.contains(&heading)), "{}", argument.get_id());
            }
        }
    }

    #[test]
    fn the_long_help_names_all_that_can_be_typed() {
        let long_help = |name: &str| {
            let command = Cli::command();
            let argument = command.get_arguments().find(|argument| argument.get_id() == name).unwrap();
            argument.get_long_help().unwrap().to_string()
        };
        let mut names = 0;
        for wrong in ["x:y", "x>1"] {
            let expected = wrong.parse::<Filter>().unwrap_err().expected;
            let listed = expected.split_once('(').unwrap().1.split_once(')').unwrap().0;
            for name in listed.split(", ") {
                assert!(long_help("filter").split(&[' ', ',', '.', ':']).any(|word| word == name), "{name}");
                names += 1;
            }
        }
        assert!(names > 20);
        for order in RowOrder::ALL {
            assert!(long_help("sort").contains(order.name()), "{}", order.name());
        }
    }

    #[test]
    fn the_help_fits_a_terminal() {
        for command in [Cli::command(), Cli::command().find_subcommand("replay").unwrap().clone()] {
            let mut command = command.term_width(80);
            for help in [command.render_help(), command.render_long_help()] {
                let help = help.to_string();
                assert!(help.lines().all(|line| line.chars().count() <= 80), "{help}");
            }
        }
    }

    #[test]
    fn a_rotation_is_a_size_and_a_number() {
        assert_eq!(rotation("100M,5"), Ok(Rotation { bytes: 100_000_000, files: 5 }));
        assert_eq!(rotation("10000,1"), Ok(Rotation { bytes: 10_000, files: 1 }));
        assert_eq!(rotation("2G,1000"), Ok(Rotation { bytes: 2_000_000_000, files: 1_000 }));
        for wrong in
            ["", "100M", "M,1", "9k,1", "1T,1", "100M,0", "100M,1001", "99999999999999999999,1", "-1M,5"]
        {
            assert!(rotation(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn labels_are_those_of_owners_once_each() {
        assert_eq!(metric_labels("pod,unit,pod"), Ok(vec![OwnerLabel::Pod, OwnerLabel::Unit]));
        assert_eq!(metric_labels(""), Ok(vec![]));
        assert!(metric_labels("pid").unwrap_err().contains("unit, container, namespace, pod"));
    }

    #[test]
    fn a_name_of_a_host_reaches_no_terminal_raw() {
        assert_eq!(host_name("web-3"), Ok("web-3".to_owned()));
        assert!(
            host_name("").is_err() && host_name("a\u{1b}b").is_err() && host_name(&"x".repeat(254)).is_err()
        );
    }

    #[test]
    fn a_speed_is_a_number_in_reason() {
        assert_eq!(speed("2.5"), Ok(2.5));
        assert!(speed("0").is_err() && speed("inf").is_err() && speed("nan").is_err() && speed("x").is_err());
    }

    #[test]
    fn times_need_a_unit() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(window("500ms"), Err("must be 1s to 1h".to_owned()));
        assert!(duration("30").unwrap_err().contains("such as 50ms or 1m30s"));
        assert!(duration("0s").is_err());
        assert_eq!(every("off"), Ok(Every(None)));
        assert_eq!(every("1500ms"), Ok(Every(Some(Duration::from_millis(1_500)))));
        assert!(every("249ms").is_err() && every("on").is_err());
    }
}
