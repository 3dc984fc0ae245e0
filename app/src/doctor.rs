//! `tcptop doctor`: what works here and what does not. Everything is tried, as far as it leaves no trace: nothing is guessed from
//! the version of the kernel.

use std::fs;
use std::io::{self, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::time::{Duration, Instant};

use nix::sys::resource::{RLIM_INFINITY, Resource, getrlimit};
use serde::Serialize;

use crate::cli::DoctorArgs;
use crate::error::Error;
use crate::session;
use crate::source::interface::{self, Interface};
use crate::source::kernel::{self, AttachWanted, KernelSource, Settings};
use crate::source::selection::Selection;
use crate::source::sock_diag::{ALL_STATES, SockDiag};
use crate::source::{owner::Owners, privilege};

/// A record of a connection over loopback comes within this time, or it does not come.
const PATIENCE: Duration = Duration::from_secs(2);

/// Whether something works.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
enum State {
    /// It does.
    Works,
    /// It is only said.
    Info,
    /// tcptop does without it, and knows less.
    Limited,
    /// Nothing can be watched.
    Fails,
}

impl State {
    const fn name(self) -> &'static str {
        match self {
            Self::Works => "works",
            Self::Info => "-",
            Self::Limited => "limited",
            Self::Fails => "fails",
        }
    }
}

/// One line.
#[derive(Clone, Debug, Serialize)]
struct Finding {
    /// What was tried.
    check: String,
    /// Whether it works.
    state: State,
    /// What was found.
    detail: String,
    /// What to do about it, if anything helps.
    fix: Option<String>,
}

/// Everything that was found.
#[derive(Debug, Default, Serialize)]
struct Findings {
    /// Whether all works.
    works: bool,
    findings: Vec<Finding>,
}

impl Findings {
    fn add(&mut self, check: &str, state: State, detail: impl Into<String>, fix: Option<&str>) {
        let (check, detail, fix) = (check.to_owned(), detail.into(), fix.map(str::to_owned));
        self.findings.push(Finding { check, state, detail, fix });
    }
}

/// Tries everything, and writes what works. Returns whether all does.
///
/// # Errors
/// When an interface that is named is not there, or standard output fails.
pub fn run(arguments: &DoctorArgs) -> Result<bool, Error> {
    let mut findings = Findings::default();
    findings.add("kernel", State::Info, kernel::release(), None);
    capabilities(&mut findings);
    surroundings(&mut findings);
    session::event_loop()?.block_on(async { probe(&mut findings).await });
    sockets(&mut findings);
    interfaces(&mut findings, &arguments.interfaces)?;
    leftovers(&mut findings, arguments.clean);
    findings.works = !findings.findings.iter().any(|one| matches!(one.state, State::Limited | State::Fails));
    let text = if arguments.json {
        serde_json::to_string(&findings).map(|line| line + "\n").map_err(io::Error::other)
    } else {
        Ok(table(&findings))
    };
    match text.and_then(|text| io::stdout().write_all(text.as_bytes())) {
        Err(source) if source.kind() != io::ErrorKind::BrokenPipe => {
            Err(Error::Output { target: "standard output".to_owned(), source })
        }
        _ => Ok(findings.works),
    }
}

fn table(findings: &Findings) -> String {
    let width = findings.findings.iter().map(|one| one.check.chars().count()).max().unwrap_or(0);
    let lines = findings.findings.iter().map(|Finding { check, state, detail, fix }| {
        let fix = fix.as_ref().map(|fix| format!("{:width$}           try: {fix}\n", "")).unwrap_or_default();
        let detail = detail.lines().next().unwrap_or_default();
        format!("{check:width$}  {:7}  {detail}\n{fix}", state.name())
    });
    lines.collect()
}

/// What the process may do.
fn capabilities(findings: &mut Findings) {
    match privilege::check() {
        Ok(()) => findings.add("capabilities", State::Works, "enough to load and to attach the probe", None),
        Err(error) => {
            let text = error.to_string();
            let (first, binary) = (text.lines().next().unwrap_or_default(), std::env::current_exe());
            let binary = binary.map_or_else(|_| "tcptop".to_owned(), |path| path.display().to_string());
            let fix = format!("sudo tcptop, or: sudo setcap cap_bpf,cap_net_admin,cap_perfmon+ep {binary}");
            findings.add("capabilities", State::Fails, first, Some(&fix));
        }
    }
}

/// What decides on other lines, and is only said.
fn surroundings(findings: &mut Findings) {
    let lockdown = fs::read_to_string("/sys/kernel/security/lockdown").unwrap_or_default();
    let chosen = lockdown.split_once('[').and_then(|(_, rest)| rest.split_once(']')).map(|(mode, _)| mode);
    match chosen {
        Some("confidentiality") => findings.add(
            "lockdown",
            State::Limited,
            "confidentiality: the kernel lets no program read its structures",
            Some("boot with lockdown=integrity, or without"),
        ),
        mode => findings.add("lockdown", State::Info, mode.unwrap_or("the kernel does not say"), None),
    }
    let memlock = match getrlimit(Resource::RLIMIT_MEMLOCK) {
        Ok((_, hard)) if hard == RLIM_INFINITY => "no limit".to_owned(),
        Ok((_, hard)) => format!("{} KiB; kernels since 5.11 count BPF memory by control group", hard >> 10),
        Err(error) => error.to_string(),
    };
    findings.add("memlock", State::Info, memlock, None);
    let has_types = fs::File::open("/sys/kernel/btf/vmlinux").is_ok();
    let (state, detail) = if has_types {
        (State::Works, "the kernel describes its types")
    } else {
        (State::Fails, "there is no readable /sys/kernel/btf/vmlinux")
    };
    findings.add("BTF", state, detail, (!has_types).then_some("a kernel with CONFIG_DEBUG_INFO_BTF=y"));
}

/// Loads and attaches the probe, and lets it see a connection.
async fn probe(findings: &mut Findings) {
    let attach = AttachWanted::Auto;
    let settings = Settings { flows: 1_024, decap: false, attach, causes: true, retransmits: false };
    let (mut source, lacking) = match KernelSource::load(&settings) {
        Ok(loaded) => loaded,
        Err(error) => return findings.add("probe", State::Fails, error.to_string(), None),
    };
    while source.prepare() {}
    match source.unprepared() {
        None => findings.add("programs", State::Works, "the kernel takes all of them", None),
        Some(error) => findings.add("programs", State::Fails, error.to_string(), None),
    }
    let method = source.method();
    let loopback = interface::all().unwrap_or_default().into_iter().find(|interface| interface.loopback);
    match loopback.map(|loopback| (source.watch(&loopback), loopback.up)) {
        None => findings.add(method, State::Limited, "there is no loopback to try it at", None),
        Some((Err(error), _)) => findings.add(method, State::Fails, error.to_string(), None),
        Some((Ok(_), up)) => {
            findings.add(method, State::Works, "attached to loopback, and detached again", None);
            ring(findings, &mut source, up).await;
        }
    }
    let causes = lacking.first().cloned();
    one(findings, "causes", "sockets say why they send segments again", causes);
    let owners = source
        .watch_owners()
        .into_iter()
        .chain(Owners::new().lacking())
        .reduce(|all, next| all + "; " + &next);
    one(findings, "processes", "the kernel says whose sockets are", owners);
    one(findings, "drops", "the kernel says what this host drops", source.watch_drops());
}

fn one(findings: &mut Findings, check: &str, works: &str, lacking: Option<String>) {
    match lacking {
        None => findings.add(check, State::Works, works, None),
        Some(reason) => {
            let is_cgroup = reason.contains("control group");
            let fix = is_cgroup.then_some("sudo mount -t cgroup2 none /sys/fs/cgroup");
            findings.add(check, State::Limited, reason, fix);
        }
    }
}

/// A connection over loopback comes through the ring buffer.
async fn ring(findings: &mut Findings, source: &mut KernelSource, is_up: bool) {
    if !is_up {
        return findings.add(
            "records",
            State::Limited,
            "loopback is down: not tried",
            Some("sudo ip link set lo up"),
        );
    }
    let connected = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .and_then(|listener| TcpStream::connect(listener.local_addr()?));
    if let Err(error) = connected {
        return findings.add(
            "records",
            State::Limited,
            format!("no connection over loopback: {error}"),
            None,
        );
    }
    let (begun, mut taken) = (Instant::now(), 0);
    while taken == 0 && begun.elapsed() < PATIENCE {
        tokio::time::sleep(Duration::from_millis(10)).await;
        taken = source.drain(usize::MAX, |_| true);
    }
    if taken > 0 {
        findings.add(
            "records",
            State::Works,
            "a connection over loopback came through the ring buffer",
            None,
        );
    } else {
        findings.add("records", State::Fails, "a connection over loopback made no record", None);
    }
}

/// The kernel's list of sockets.
fn sockets(findings: &mut Findings) {
    let mut count = 0;
    match SockDiag::default().dump(ALL_STATES, |sockets| count += sockets.len()) {
        Ok(()) => findings.add("sockets", State::Works, format!("the kernel lists {count}"), None),
        Err(error) => findings.add(
            "sockets",
            State::Limited,
            format!("the kernel does not list them: {error}"),
            Some("sudo modprobe tcp_diag"),
        ),
    }
}

/// Who else has programs where packets pass.
fn interfaces(findings: &mut Findings, names: &[String]) -> Result<(), Error> {
    let present = interface::all()?;
    for interface in Selection::new(names).watched(&present)? {
        let Interface { name, .. } = interface;
        let others = kernel::others_at(interface);
        let detail = match others.as_slice() {
            [] => "no other programs".to_owned(),
            others => format!("also there: {}; tcptop's go first where they can", others.join(", ")),
        };
        let name = format!("interface {}", name.escape_debug());
        findings.add(&name, State::Info, detail, None);
    }
    Ok(())
}

/// What killed runs have left, which is inert.
fn leftovers(findings: &mut Findings, clean: bool) {
    let before = kernel::leftovers();
    if clean && before > 0 {
        kernel::remove_leftovers();
    }
    let after = if clean { kernel::leftovers() } else { before };
    match (before, after) {
        (0, _) => findings.add("leftovers", State::Works, "none", None),
        (_, 0) => findings.add("leftovers", State::Works, format!("{before} inert filters removed"), None),
        _ => findings.add(
            "leftovers",
            State::Limited,
            format!("{after} inert filters of runs that were killed"),
            Some("sudo tcptop doctor --clean"),
        ),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_fails_has_the_command_that_helps_below_it() {
        let mut findings = Findings::default();
        findings.add("kernel", State::Info, "6.12.0", None);
        one(&mut findings, "processes", "", Some("there is no control group v2\nmore".to_owned()));
        let expected = "\
kernel     -        6.12.0
processes  limited  there is no control group v2
                    try: sudo mount -t cgroup2 none /sys/fs/cgroup
";
        assert_eq!(table(&findings), expected);
    }
}
