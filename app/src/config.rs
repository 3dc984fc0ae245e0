//! What was meant by what was typed.

use std::ffi::OsString;
use std::time::Duration;

use crate::cli::{Cli, Command};
use crate::tui::Setup;
use crate::tui::capabilities::Capabilities;
use tcptop_core::snapshot::Query;
use tcptop_core::table::stats::StatsConfig;
use tcptop_core::table::{Cidr, Limits, Thresholds};

/// Memory for the statistics of all peers together. With the flows (65,536 take some 30 MiB), the lines that
/// wait for a slow reader and the program itself this stays under 128 MiB.
const PEER_BYTES: usize = 40 << 20;

/// Where events and figures go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Output {
    /// The terminal, full screen.
    Screen,
    /// A line per handshake.
    Text,
    /// JSON objects.
    Json,
    /// Nowhere, until the end.
    Quiet,
}

/// What is left at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Ending {
    /// A few lines.
    Summary,
    /// A report.
    Report,
}

/// Where records come from.
#[derive(Clone, Debug)]
pub enum Source {
    /// Interfaces of these names; none means that of the default route.
    Interfaces(Vec<String>),
    /// A capture.
    Replay(Replay),
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
    /// Where events and figures go.
    pub output: Output,
    /// What is left at the end.
    pub ending: Ending,
    /// When to stop.
    pub duration: Option<Duration>,
    /// What the table may hold.
    pub limits: Limits,
    /// What is shown first, and all that is shown where nobody can change it.
    pub query: Query,
    /// How the screen is to be.
    pub screen: Setup,
}

impl Config {
    /// The meaning of the arguments, when standard output can or cannot show a screen, and with these
    /// environment variables.
    #[must_use]
    pub fn new(cli: &Cli, can_show_screen: bool, variable: impl Fn(&str) -> Option<OsString>) -> Self {
        let show = cli.command.as_ref().map_or(&cli.show, |Command::Replay(replay)| &replay.show);
        let output = match (show.json, show.text, show.report) {
            (true, _, _) => Output::Json,
            (false, true, _) => Output::Text,
            (false, false, true) => Output::Quiet,
            (false, false, false) if can_show_screen => Output::Screen,
            (false, false, false) => Output::Text,
        };
        Self {
            output,
            ending: if show.report { Ending::Report } else { Ending::Summary },
            duration: cli.duration,
            limits: Limits {
                flows: usize::try_from(show.max_flows).unwrap_or(usize::MAX),
                handshakes: show.count,
                stats: StatsConfig {
                    window_ns: nanoseconds(show.window),
                    thresholds: Thresholds {
                        unanswered: show.unanswered,
                        refused: show.refused,
                        slow: show.slow,
                        loss: show.loss,
                    },
                    peer_bytes: PEER_BYTES,
                },
            },
            query: Query {
                filter: show.filter.clone().unwrap_or_default(),
                group: show.group,
                sort: show.sort,
                ..Query::default()
            },
            screen: Setup {
                capabilities: Capabilities::new(show.color, show.theme, show.ascii, variable),
                columns: show.columns.clone(),
                mouse: show.mouse,
            },
        }
    }
}

impl Source {
    /// The meaning of the arguments.
    #[must_use]
    pub fn new(cli: &Cli) -> Self {
        match &cli.command {
            None => Self::Interfaces(cli.interfaces.clone()),
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

    fn output(arguments: &[&str], screen: bool) -> (Output, Ending) {
        let cli = Cli::parse_from([&["tcptop"], arguments].concat());
        let config = Config::new(&cli, screen, |_| None);
        (config.output, config.ending)
    }

    #[test]
    fn the_screen_needs_a_terminal_and_nothing_else_asked_for() {
        assert_eq!(output(&[], true), (Output::Screen, Ending::Summary));
        assert_eq!(output(&[], false), (Output::Text, Ending::Summary));
        assert_eq!(output(&["--text"], true), (Output::Text, Ending::Summary));
        assert_eq!(output(&["--json"], true), (Output::Json, Ending::Summary));
        assert_eq!(output(&["--report"], true), (Output::Quiet, Ending::Report));
        assert_eq!(output(&["replay", "x.pcap", "--json"], true), (Output::Json, Ending::Summary));
        assert_eq!(output(&["--report", "--text"], false), (Output::Text, Ending::Report));
    }
}
