//! What can be typed.

use std::time::Duration;

use clap::Parser;

const AFTER_HELP: &str = "\
Output: the screen on a terminal, text lines otherwise; messages go to standard error.
Exit codes: 0 done, 1 failure, 2 usage, 3 privilege, 4 kernel or interface.";

/// Which of my TCP peers is slow to connect, silent, refusing or losing packets?
///
/// Watches TCP handshakes on network interfaces, passively, through TCX hooks in the kernel. Needs root,
/// or the capabilities CAP_BPF, CAP_NET_ADMIN and CAP_PERFMON.
#[derive(Clone, Debug, Parser)]
#[command(name = "tcptop", version, after_help = AFTER_HELP, max_term_width = 100)]
pub struct Cli {
    /// Interfaces to watch; without one, that of the default route
    #[arg(value_name = "INTERFACE")]
    pub interfaces: Vec<String>,

    /// Print a line per handshake instead of the screen
    #[arg(long, conflicts_with = "json")]
    pub text: bool,

    /// Print JSON, one object a line: `handshake`, `close`, and one last `summary`
    #[arg(long, conflicts_with = "report")]
    pub json: bool,

    /// Print a report at the end, to be pasted into a ticket; nothing before it without --text
    #[arg(long)]
    pub report: bool,

    /// Stop after this time, such as 30s or 5m
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub duration: Option<Duration>,

    /// Stop after this many handshakes were decided
    #[arg(long, value_name = "N", value_parser = clap::value_parser!(u64).range(1..))]
    pub count: Option<u64>,

    /// Length of the sliding window, 1s to 1h
    #[arg(long, value_name = "TIME", default_value = "10s", value_parser = window)]
    pub window: Duration,

    /// Call a peer slow when a tenth of its handshakes take this long
    #[arg(long, value_name = "TIME", default_value = "100ms", value_parser = duration)]
    pub slow: Duration,

    /// Remember this many connections at the same time
    #[arg(long, value_name = "N", default_value_t = 65_536,
          value_parser = clap::value_parser!(u32).range(1..=4_194_304))]
    pub max_flows: u32,
}

fn duration(text: &str) -> Result<Duration, String> {
    let duration = humantime::parse_duration(text).map_err(|error| format!("{error}, such as 30s or 5m"))?;
    if duration.is_zero() { Err("must be longer than nothing".to_owned()) } else { Ok(duration) }
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
    fn times_need_a_unit() {
        assert_eq!(duration("30s"), Ok(Duration::from_secs(30)));
        assert_eq!(window("500ms"), Err("must be 1s to 1h".to_owned()));
        assert!(duration("30").unwrap_err().contains("such as 30s"));
        assert!(duration("0s").is_err());
    }
}
