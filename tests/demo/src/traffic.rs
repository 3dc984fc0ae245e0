//! The connections of the demo.

use std::env;
use std::ffi::CString;
use std::io::{BufRead, BufReader};
use std::net::TcpListener;
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use lab::{ClientPlan, Clients, Link, Mode, Namespace, Server, Signal};
use nix::sys::prctl;
use nix::sys::socket::{self, Backlog};

use super::peers::{self, Behaviour, Peer};

/// Delay before the first client, so that tcptop is attached by then.
const HEAD_START: Duration = Duration::from_millis(500);
/// Timeout of a connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// Timeout of an attempt that is never answered: the kernel retransmits its SYN once, after 1 s.
const SHORT_PATIENCE: Duration = Duration::from_millis(1_500);
/// Timeout of a connection that is stuck: some retransmits fit in.
const STUCK_PATIENCE: Duration = Duration::from_secs(3);

/// Servers and clients: those of the watched host in processes of their own, one for each peer, the others on threads.
pub(super) struct Traffic {
    thread: JoinHandle<Result<()>>,
    stop: Sender<()>,
    processes: Vec<Process>,
}

impl Traffic {
    /// Starts the servers, and the clients a little later.
    pub(super) fn start(link: &Link) -> Result<Self> {
        let far = link.far.clone();
        let listening = peers::all().into_iter().filter(|peer| !peer.comes_here && peer.listens());
        let servers = listening.map(|peer| Server::bind(&far, peer.server(), mode(&peer)));
        let servers: Vec<Server> = servers.collect::<Result<_>>()?;
        let numbered = peers::all().into_iter().enumerate().filter(|(_, peer)| peer.has_process());
        let processes = numbered.map(|(number, peer)| Process::start(&link.near, number, peer.process));
        let processes = processes.collect::<Result<_>>()?;
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let _servers = servers;
            keep_coming(starts(|peer| peer.comes_here), &far, &stopped)
        });
        Ok(Self { thread, stop, processes })
    }

    /// Ends all connections, threads and processes.
    pub(super) fn end(self) -> Result<()> {
        drop(self.stop);
        let ended = self.processes.into_iter().try_for_each(Process::end);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))?;
        ended
    }
}

/// Starts clients when it is time to, and keeps them until `stopped` has no sender.
fn keep_coming(starts: Vec<Start>, from: &Namespace, stopped: &Receiver<()>) -> Result<()> {
    let mut clients = Vec::new();
    let first = Instant::now() + HEAD_START;
    for Start { after, peer, plan } in starts {
        let wait = (first + after).saturating_duration_since(Instant::now());
        if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
            return Ok(());
        }
        clients.push(
            Clients::with(from, plan).with_context(|| format!("cannot start a client of {}", peer.name))?,
        );
    }
    // Returns when the sender is dropped.
    let _ = stopped.recv();
    Ok(())
}

/// A process of the watched host: this program again, with another name.
struct Process {
    child: Child,
    name: &'static str,
}

impl Process {
    /// Starts the one that belongs to the peer with this number, and waits until it is ready.
    fn start(near: &Namespace, number: usize, name: &'static str) -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.args(["--peer", &number.to_string()]).stdin(Stdio::null()).stdout(Stdio::piped());
        near.enter_command(&mut command);
        lab::end_with_parent(&mut command, Signal::SIGKILL);
        let child = command.spawn().with_context(|| format!("cannot start {name}"))?;
        let mut process = Self { child, name };
        let mut line = String::new();
        process.child.stdout.take().map(|said| BufReader::new(said).read_line(&mut line)).transpose()?;
        if line.is_empty() {
            process.end()?;
            bail!("{name} is not ready");
        }
        Ok(process)
    }

    fn end(mut self) -> Result<()> {
        if let Some(status) = self.child.try_wait()? {
            bail!("{} ended with {status}", self.name);
        }
        self.child.kill()?;
        self.child.wait().map(drop).context("cannot wait for it")
    }
}

/// What the process of the watched host does that belongs to the peer with this number: never returns if all is well.
pub(super) fn work(number: usize) -> Result<()> {
    let peer = peers::all().into_iter().nth(number).context("there is no such peer")?;
    prctl::set_name(&CString::new(peer.process)?)?;
    let here = Namespace::current()?;
    let _service = peer.comes_here.then(|| Service::start(&here, &peer)).transpose()?;
    println!("ready");
    let (_never, stopped) = mpsc::channel();
    let own = |other: &Peer| !peer.comes_here && other.name == peer.name;
    keep_coming(starts(own), &here, &stopped)
}

/// What a server of the other end does with the connections it accepts.
fn mode(peer: &Peer) -> Mode {
    if peer.behaviour == Behaviour::Resetting { Mode::ResetAtOnce } else { Mode::Echo }
}

/// What serves a peer on the watched host.
enum Service {
    Server {
        _server: Server,
    },
    /// Accepts nothing; its queue holds two connections, which is one more than the backlog.
    Idle {
        _listener: TcpListener,
    },
    /// Closes what it accepts with the request unread: the kernel resets it.
    Unread {
        _thread: JoinHandle<()>,
    },
}

impl Service {
    fn start(here: &Namespace, peer: &Peer) -> Result<Self> {
        let at = peer.server();
        Ok(match peer.behaviour {
            Behaviour::CallingFullQueue => {
                let listener = TcpListener::bind(at).with_context(|| format!("cannot listen at {at}"))?;
                socket::listen(&listener, Backlog::new(1)?)?;
                Self::Idle { _listener: listener }
            }
            Behaviour::CallingUnread => {
                let listener = TcpListener::bind(at).with_context(|| format!("cannot listen at {at}"))?;
                Self::Unread { _thread: thread::spawn(move || leave_unread(&listener)) }
            }
            _ => Self::Server { _server: Server::bind(here, at, Mode::Echo)? },
        })
    }
}

fn leave_unread(listener: &TcpListener) {
    for stream in listener.incoming().flatten() {
        // Waits for the request. It fails for a connection that is reset already.
        let _ = stream.peek(&mut [0]);
    }
}

/// A client to start.
struct Start {
    after: Duration,
    peer: Peer,
    plan: ClientPlan,
}

/// All clients of these peers in order of their start. Those of one peer are spread over its period.
fn starts(are_wanted: impl Fn(&Peer) -> bool) -> Vec<Start> {
    let clients = |peer: Peer| {
        let start = move |number| Start {
            after: Duration::from_secs(1) * number / peer.per_s,
            peer,
            plan: plan(&peer),
        };
        (0..peer.clients).map(start)
    };
    let mut starts: Vec<Start> = peers::all().into_iter().filter(are_wanted).flat_map(clients).collect();
    starts.sort_by_key(|start| start.after);
    starts
}

fn plan(peer: &Peer) -> ClientPlan {
    ClientPlan {
        remote: peer.server(),
        local: peer.comes_here.then(|| (peer.name.ip(), 0).into()),
        period: Duration::from_secs(1) * peer.clients / peer.per_s,
        timeout: match peer.behaviour {
            Behaviour::Unanswering | Behaviour::CallingFullQueue => SHORT_PATIENCE,
            Behaviour::LosingLargeSegments => STUCK_PATIENCE,
            _ => PATIENCE,
        },
        exchange: peer.exchange,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_of_a_peer_keep_its_rate_together_and_take_turns() {
        for peer in peers::all() {
            let starts: Vec<Start> =
                starts(|_| true).into_iter().filter(|start| start.peer.name == peer.name).collect();
            assert_eq!(starts.len(), peer.clients as usize);
            let per_s: f64 = starts.iter().map(|start| start.plan.period.as_secs_f64().recip()).sum();
            assert!((per_s - f64::from(peer.per_s)).abs() < 0.01, "{}: {per_s}", peer.name);
            assert!(starts.windows(2).all(|two| two[0].after < two[1].after), "{}", peer.name);
            assert!(starts.iter().all(|start| start.after < start.plan.period), "{}", peer.name);
        }
    }

    #[test]
    fn attempts_without_answer_overlap_and_are_repeated() {
        for Start { peer, plan, .. } in
            starts(|_| true).into_iter().filter(|s| s.peer.behaviour == Behaviour::Unanswering)
        {
            assert!(plan.timeout > Duration::from_secs(1), "the kernel's first retry is seen");
            assert!(plan.timeout * peer.clients > plan.period);
        }
    }
}
