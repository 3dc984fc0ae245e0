//! `cargo xtask demo`: tcptop at work on a network of its own, with something to find.
//!
//! Two network namespaces, a wire between them that delays and loses, real servers and clients at both ends.
//! Descriptors hold all of it, so nothing is left however this ends.

use std::env;
use std::ffi::OsString;
use std::io::{self, IsTerminal};
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode, ExitStatus};
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, bail};
use clap::Parser;
use lab::{Link, NEAR, Signal};
use nix::sys::signal::kill;
use nix::unistd::Pid;
use tokio::process::Child;
use tokio::signal::unix::{Signal as Told, SignalKind, signal};

use traffic::Traffic;

mod peers;
mod traffic;

/// How long the list of peers stands before the screen covers it.
const READING_TIME: Duration = Duration::from_secs(3);
/// Without a terminal there is nobody to press `q`.
const UNATTENDED: &str = "10s";
/// How long tcptop may take to end when it was told to.
const FAREWELL: Duration = Duration::from_secs(5);

/// Show tcptop at work on a network of its own, as root
#[derive(Parser)]
#[command(name = "demo", bin_name = "cargo xtask demo")]
struct Args {
    /// Stop after this time, such as 30s; without a terminal 10s are the default
    #[arg(long, value_name = "TIME")]
    duration: Option<String>,

    /// Another seed loses other packets
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Further arguments for tcptop
    #[arg(last = true, value_name = "TCPTOP")]
    tcptop: Vec<OsString>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    lab::program::run(|| show(&args))
}

fn show(args: &Args) -> Result<()> {
    let tcptop = lab::tcptop::binary()?;
    let watched = io::stdout().is_terminal() && !is_dumb(env::var_os("TERM"));
    let arguments = tcptop_arguments(args, watched);
    let link = Link::new(peers::script(args.seed)).context("cannot make the demo's network")?;

    eprint!("{}", peers::legend());
    if watched && !names_output(&args.tcptop) {
        eprintln!("The screen opens in {} s; q leaves it.", READING_TIME.as_secs());
        thread::sleep(READING_TIME);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let traffic = Traffic::start(&link)?;
    let status = runtime.block_on(attend(&link, &tcptop, &arguments));
    // A problem of the traffic may be the cause of what went wrong with tcptop.
    traffic.end()?;
    match status? {
        Ended { status, .. } if status.success() => Ok(()),
        // It was told to before it could listen.
        Ended { status, told: true } if status.signal().is_some() => Ok(()),
        Ended { status, .. } => bail!("tcptop ended with {status}"),
    }
}

/// tcptop's arguments: what the user says about output and time goes before the demo's own idea of it.
fn tcptop_arguments(args: &Args, watched: bool) -> Vec<OsString> {
    let mut words: Vec<OsString> = vec![NEAR.into()];
    if !watched && !names_output(&args.tcptop) {
        words.extend(["--text", "--report"].map(Into::into));
    }
    let unattended = !watched && !names(&args.tcptop, &["--duration", "--count"]);
    if let Some(duration) = args.duration.as_deref().or(unattended.then_some(UNATTENDED)) {
        words.extend(["--duration".into(), duration.into()]);
    }
    words.extend(args.tcptop.iter().cloned());
    words
}

fn names_output(arguments: &[OsString]) -> bool {
    names(arguments, &["--text", "--json", "--report"])
}

fn names(arguments: &[OsString], options: &[&str]) -> bool {
    let option = |argument: &OsString| argument.to_string_lossy().split('=').next().map(str::to_owned);
    arguments.iter().filter_map(option).any(|option| options.contains(&option.as_str()))
}

/// As tcptop sees it: such a terminal shows lines, not a screen.
fn is_dumb(term: Option<OsString>) -> bool {
    term.is_none_or(|term| term.is_empty() || term == "dumb")
}

/// How tcptop ended.
struct Ended {
    status: ExitStatus,
    /// This process was told to end, and told tcptop.
    told: bool,
}

/// Runs tcptop in the near namespace, on this terminal, until it ends. Who tells this process to end means
/// both: tcptop ends first and gives the terminal back.
async fn attend(link: &Link, tcptop: &Path, arguments: &[OsString]) -> Result<Ended> {
    let listen = |kind| signal(kind).context("cannot listen to signals");
    let mut signals =
        [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?];
    let mut child = spawn(link, tcptop, arguments)?;
    let failed = "cannot wait for tcptop";
    tokio::select! {
        status = child.wait() => return Ok(Ended { status: status.context(failed)?, told: false }),
        () = any(&mut signals) => {}
    }
    if let Some(id) = child.id() {
        // It fails only if tcptop ended this moment.
        let _ = kill(Pid::from_raw(i32::try_from(id)?), Signal::SIGTERM);
    }
    let status = match tokio::time::timeout(FAREWELL, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            child.start_kill().context("cannot end tcptop")?;
            child.wait().await
        }
    };
    Ok(Ended { status: status.context(failed)?, told: true })
}

fn spawn(link: &Link, tcptop: &Path, arguments: &[OsString]) -> Result<Child> {
    let mut command = Command::new(tcptop);
    command.args(arguments);
    link.near.enter_command(&mut command);
    // Not SIGKILL: it has a terminal to give back.
    lab::end_with_parent(&mut command, Signal::SIGTERM);
    let mut command = tokio::process::Command::from(command);
    command.spawn().with_context(|| format!("cannot start {}", tcptop.display()))
}

async fn any([interrupt, terminate, hangup]: &mut [Told; 3]) {
    tokio::select! {
        _ = interrupt.recv() => {}
        _ = terminate.recv() => {}
        _ = hangup.recv() => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parse(words: &[&str]) -> Args {
        Args::try_parse_from([&["demo"], words].concat()).unwrap_or_else(|error| panic!("{error}"))
    }

    fn tcptop(words: &[&str], watched: bool) -> String {
        tcptop_arguments(&parse(words), watched).join(" ".as_ref()).into_string().unwrap()
    }

    #[test]
    fn a_terminal_gets_the_screen_and_anything_else_a_report() {
        assert_eq!(tcptop(&[], true), "near0");
        assert_eq!(tcptop(&[], false), "near0 --text --report --duration 10s");
        assert_eq!(tcptop(&["--duration", "3s"], true), "near0 --duration 3s");
        assert_eq!(tcptop(&["--duration", "3s"], false), "near0 --text --report --duration 3s");
    }

    #[test]
    fn what_is_asked_of_tcptop_goes_first() {
        assert_eq!(tcptop(&["--", "--json"], false), "near0 --duration 10s --json");
        assert_eq!(tcptop(&["--", "--duration=2s"], false), "near0 --text --report --duration=2s");
        assert_eq!(tcptop(&["--", "--json", "--count", "5"], false), "near0 --json --count 5");
        assert_eq!(tcptop(&["--", "--slow", "5ms"], true), "near0 --slow 5ms");
    }

    #[test]
    fn a_dumb_terminal_shows_no_screen() {
        assert!(is_dumb(None) && is_dumb(Some("".into())) && is_dumb(Some("dumb".into())));
        assert!(!is_dumb(Some("xterm".into())));
    }
}
