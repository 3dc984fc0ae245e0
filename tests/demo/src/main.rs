//! `cargo xtask demo`: runs tcptop on a network of its own, with problems to find.
//!
//! Two network namespaces, a wire between them that delays and loses packets, and real servers and clients at both
//! ends. Only descriptors hold the namespaces, so nothing is left behind however this ends.

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
use tokio::signal::unix::{Signal as SignalStream, SignalKind, signal};

use traffic::Traffic;

mod peers;
mod traffic;

/// How long the list of peers is shown before the screen covers it.
const READING_TIME: Duration = Duration::from_secs(3);
/// Duration without a terminal, where nobody can press `q`.
const UNATTENDED: &str = "10s";
/// How long tcptop may take to end when asked to.
const FAREWELL: Duration = Duration::from_secs(5);

/// Run tcptop on a network of its own, with problems to find, as root
#[derive(Parser)]
#[command(name = "demo", bin_name = "cargo xtask demo")]
struct Args {
    /// Stop after this time, such as 30s [default without a terminal: 10s]
    #[arg(long, value_name = "TIME")]
    duration: Option<String>,

    /// Seed for the packets that are lost
    #[arg(long, value_name = "N", default_value_t = 1)]
    seed: u64,

    /// Be the process of the watched host that belongs to the peer with this number
    #[arg(long, value_name = "N", hide = true)]
    peer: Option<usize>,

    /// Further arguments for tcptop
    #[arg(last = true, value_name = "TCPTOP")]
    tcptop: Vec<OsString>,
}

fn main() -> ExitCode {
    let args = Args::parse();
    lab::program::run(|| args.peer.map_or_else(|| show(&args), traffic::work))
}

fn show(args: &Args) -> Result<()> {
    let tcptop = lab::tcptop::binary()?;
    let watched = io::stdout().is_terminal() && !is_dumb(env::var_os("TERM"));
    let arguments = tcptop_arguments(args, watched);
    let link = Link::new(peers::script(args.seed)).context("cannot make the demo's network")?;
    peers::add_routes(&link)?;

    eprint!("{}", peers::legend());
    if watched && !names_output(&args.tcptop) {
        eprintln!("The screen opens in {} s; q leaves it.", READING_TIME.as_secs());
        thread::sleep(READING_TIME);
    }
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let traffic = Traffic::start(&link)?;
    let status = runtime.block_on(attend(&link, &tcptop, &arguments));
    // First, because a failure of the traffic may be why tcptop failed.
    traffic.end()?;
    match status? {
        Ended { status, .. } if status.success() => Ok(()),
        // It was asked to end before it handled signals.
        Ended { status, asked: true } if status.signal().is_some() => Ok(()),
        Ended { status, .. } => bail!("tcptop ended with {status}"),
    }
}

/// tcptop's arguments: the user's choice of output and duration overrides the demo's defaults.
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

/// As tcptop decides it: such a terminal gets lines instead of the screen.
fn is_dumb(term: Option<OsString>) -> bool {
    term.is_none_or(|term| term.is_empty() || term == "dumb")
}

/// How tcptop ended.
struct Ended {
    status: ExitStatus,
    /// This process was asked to end, and asked tcptop.
    asked: bool,
}

/// Runs tcptop in the near namespace, on this terminal, until it ends. A signal that asks this process to end is passed
/// on: tcptop ends first and restores the terminal.
async fn attend(link: &Link, tcptop: &Path, arguments: &[OsString]) -> Result<Ended> {
    let listen = |kind| signal(kind).context("cannot listen to signals");
    let mut signals =
        [listen(SignalKind::interrupt())?, listen(SignalKind::terminate())?, listen(SignalKind::hangup())?];
    let mut child = spawn(link, tcptop, arguments)?;
    let failed = "cannot wait for tcptop";
    tokio::select! {
        status = child.wait() => return Ok(Ended { status: status.context(failed)?, asked: false }),
        () = any(&mut signals) => {}
    }
    if let Some(id) = child.id() {
        // Fails only if tcptop has just ended.
        let _ = kill(Pid::from_raw(i32::try_from(id)?), Signal::SIGTERM);
    }
    let status = match tokio::time::timeout(FAREWELL, child.wait()).await {
        Ok(status) => status,
        Err(_) => {
            child.start_kill().context("cannot end tcptop")?;
            child.wait().await
        }
    };
    Ok(Ended { status: status.context(failed)?, asked: true })
}

fn spawn(link: &Link, tcptop: &Path, arguments: &[OsString]) -> Result<Child> {
    let mut command = Command::new(tcptop);
    command.args(arguments);
    link.near.enter_command(&mut command);
    // Not SIGKILL: tcptop has to restore the terminal.
    lab::end_with_parent(&mut command, Signal::SIGTERM);
    let mut command = tokio::process::Command::from(command);
    command.spawn().with_context(|| format!("cannot start {}", tcptop.display()))
}

async fn any([interrupt, terminate, hangup]: &mut [SignalStream; 3]) {
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
