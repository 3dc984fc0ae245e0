//! What can be typed.

use std::time::Duration;

use clap::{Args, Parser, Subcommand};

use crate::tui::capabilities::{ColorChoice, ThemeChoice};
use crate::tui::columns::named;
use crate::tui::columns::rows::COLUMNS;
use tcptop_core::snapshot::{Filter, FilterError, Group, RowOrder, Sort};
use tcptop_core::table::units::{Share, Time};
use tcptop_core::table::{Cidr, Slow};

const AFTER_HELP: &str = "\
Output: the screen on a terminal, text lines otherwise; messages go to standard error.
Exit codes: 0 done, 1 failure, 2 usage, 3 privilege, 4 kernel or interface.";

/// Which of my TCP peers is slow to connect, silent, refusing or losing packets?
///
/// Watches TCP handshakes on network interfaces, passively, through TCX hooks in the kernel. Needs root,
/// or the capabilities CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON.
#[derive(Clone, Debug, Parser)]
#[command(name = "tcptop", version, after_help = AFTER_HELP, max_term_width = 100)]
#[command(args_conflicts_with_subcommands = true)]
pub struct Cli {
    /// What to do instead of watching interfaces.
    #[command(subcommand)]
    pub command: Option<Command>,

    /// Interfaces to watch; without one, that of the default route
    #[arg(value_name = "INTERFACE")]
    pub interfaces: Vec<String>,

    /// Stop after this time, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,

    /// How to show it.
    #[command(flatten)]
    pub show: Show,
}

/// What to do instead of watching interfaces.
#[derive(Clone, Debug, Subcommand)]
pub enum Command {
    /// Read a capture (pcap or pcapng, also gzip) instead of an interface; needs no privileges
    Replay(ReplayArgs),
}

/// Arguments of `replay`.
#[derive(Clone, Debug, Args)]
pub struct ReplayArgs {
    /// The capture, or - for standard input, as in: ssh host tcpdump -U -w - tcp | tcptop replay -
    #[arg(value_name = "FILE")]
    pub file: String,

    /// Addresses of the host that it was captured on, to tell clients from servers; may be repeated
    #[arg(long, value_name = "CIDR")]
    pub local: Vec<Cidr>,

    /// Go on as fast as it was captured (1), or so many times faster, instead of at once
    #[arg(long, value_name = "N", value_parser = speed)]
    pub speed: Option<f64>,

    /// Look for TCP within PPPoE, MPLS, IP in IP, GRE, ERSPAN, VXLAN, GENEVE and GTP-U, one tunnel deep
    #[arg(long, value_name = "on|off", default_value = "on", default_missing_value = "on",
          num_args = 0..=1, require_equals = true, value_parser = on_or_off)]
    pub decap: bool,

    /// How to show it.
    #[command(flatten)]
    pub show: Show,
}

/// How to show what is seen, of an interface or of a capture.
#[derive(Clone, Debug, Args)]
pub struct Show {
    /// Print a line per handshake instead of the screen
    #[arg(long, conflicts_with = "json")]
    pub text: bool,

    /// Print JSON, one object a line: `handshake`, `close`, and one last `summary`
    #[arg(long, conflicts_with = "report")]
    pub json: bool,

    /// Print a report at the end, to be pasted into a ticket; nothing before it without --text
    #[arg(long)]
    pub report: bool,

    /// Show only what matches, such as 'peer:10.0.0.0/8 port:443 p99>50ms !role:server'
    #[arg(long, value_name = "EXPR", value_parser = filter)]
    pub filter: Option<Filter>,

    /// Sort the table of peers by this column, -COLUMN the other way round
    #[arg(long, value_name = "COLUMN", default_value = "problem", allow_hyphen_values = true)]
    pub sort: Sort<RowOrder>,

    /// Take peers together by: peer, host, service, subnet, role, interface
    #[arg(long, value_name = "WHAT", default_value = "peer")]
    pub group: Group,

    /// Columns of the screen's first table, such as peer,p99,unanswered: the first screen's help has them all
    #[arg(long, value_name = "NAMES", value_parser = columns)]
    pub columns: Option<Columns>,

    /// Colours on the screen: auto is none where `NO_COLOR` is set
    #[arg(long, value_name = "WHEN", default_value = "auto")]
    pub color: ColorChoice,

    /// Background that colours are chosen for
    #[arg(long, value_name = "GROUND", default_value = "auto")]
    pub theme: ThemeChoice,

    /// Draw the screen in ASCII, as where the locale is not UTF-8
    #[arg(long)]
    pub ascii: bool,

    /// Let the mouse's wheel move the selection; selecting text then needs Shift
    #[arg(long)]
    pub mouse: bool,

    /// Stop after this many handshakes were decided
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// Length of the sliding window, 1s to 1h
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = window)]
    pub window: Duration,

    /// Call a peer slow when a tenth of its handshakes take this long, or, as in 3x, so many times its own median
    #[arg(long, value_name = "TIME|N", default_value = "100ms")]
    pub slow: Slow,

    /// Say that a peer does not answer when this share of the attempts is not answered
    #[arg(long, value_name = "SHARE", default_value = "10%")]
    pub unanswered: Share,

    /// Say that a peer refuses when this share of the attempts is refused
    #[arg(long, value_name = "SHARE", default_value = "10%")]
    pub refused: Share,

    /// Say that segments are lost when this share of them is sent again
    #[arg(long, value_name = "SHARE", default_value = "1%")]
    pub loss: Share,

    /// Remember this many connections at the same time
    #[arg(long, value_name = "N", default_value_t = 65_536,
          value_parser = clap::value_parser!(u32).range(1..=4_194_304))]
    pub max_flows: u32,
}

/// Names of columns, in their order.
pub type Columns = Vec<&'static str>;

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

fn speed(text: &str) -> Result<f64, String> {
    let speed = text.parse::<f64>().ok().filter(|speed| (0.001..=1_000_000.0).contains(speed));
    speed.ok_or_else(|| "must be a number from 0.001 to 1000000".to_owned())
}

fn duration(text: &str) -> Result<Duration, String> {
    let Time(ns) = text.parse()?;
    if ns == 0 { Err("must be longer than 0".to_owned()) } else { Ok(Duration::from_nanos(ns)) }
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
    }
}
