//! The connections of the demo.

use std::sync::mpsc::{self, RecvTimeoutError, Sender};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::{ClientPlan, Clients, Link, Mode, Namespace, Server};

use super::peers::{self, Behaviour, Peer};

/// Bytes that a client sends and gets back.
const EXCHANGE: usize = 200;
/// Delay before the first client, so that tcptop is attached by then.
const HEAD_START: Duration = Duration::from_millis(500);
/// Timeout of a connection.
const PATIENCE: Duration = Duration::from_secs(10);
/// Timeout of an attempt that is never answered: the kernel retransmits its SYN once, after 1 s.
const SHORT_PATIENCE: Duration = Duration::from_millis(1_500);

/// Servers and clients, on threads of their own.
pub(super) struct Traffic {
    thread: JoinHandle<Result<()>>,
    stop: Sender<()>,
}

impl Traffic {
    /// Starts the servers, and the clients a little later.
    pub(super) fn start(link: &Link) -> Result<Self> {
        let (near, far) = (link.near.clone(), link.far.clone());
        let servers = serve(&near, &far)?;
        let (stop, stopped) = mpsc::channel();
        let thread = thread::spawn(move || {
            let _servers = servers;
            let mut clients = Vec::new();
            let first = Instant::now() + HEAD_START;
            for Start { after, peer, plan } in starts() {
                let wait = (first + after).saturating_duration_since(Instant::now());
                if stopped.recv_timeout(wait) != Err(RecvTimeoutError::Timeout) {
                    return Ok(());
                }
                let from = if peer.comes_here { &far } else { &near };
                clients.push(Clients::with(from, plan).context("cannot start a client")?);
            }
            // Returns when the sender is dropped.
            let _ = stopped.recv();
            Ok(())
        });
        Ok(Self { thread, stop })
    }

    /// Ends all connections and threads.
    pub(super) fn end(self) -> Result<()> {
        drop(self.stop);
        self.thread.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
    }
}

fn serve(near: &Namespace, far: &Namespace) -> Result<Vec<Server>> {
    let listening = peers::all().into_iter().filter(Peer::listens);
    listening
        .map(|peer| {
            let host = if peer.comes_here { near } else { far };
            Server::bind(host, peer.server(), Mode::Echo)
        })
        .collect()
}

/// A client to start.
struct Start {
    after: Duration,
    peer: Peer,
    plan: ClientPlan,
}

/// All clients in order of their start. Those of one peer are spread over its period.
fn starts() -> Vec<Start> {
    let clients = |peer: Peer| {
        let start = move |number| Start {
            after: Duration::from_secs(1) * number / peer.per_s,
            peer,
            plan: plan(&peer),
        };
        (0..peer.clients).map(start)
    };
    let mut starts: Vec<Start> = peers::all().into_iter().flat_map(clients).collect();
    starts.sort_by_key(|start| start.after);
    starts
}

fn plan(peer: &Peer) -> ClientPlan {
    ClientPlan {
        remote: peer.server(),
        local: peer.comes_here.then(|| (peer.name.ip(), 0).into()),
        period: Duration::from_secs(1) * peer.clients / peer.per_s,
        timeout: if peer.behaviour == Behaviour::Unanswering { SHORT_PATIENCE } else { PATIENCE },
        exchange: EXCHANGE,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_clients_of_a_peer_keep_its_rate_together_and_take_turns() {
        for peer in peers::all() {
            let starts: Vec<Start> =
                starts().into_iter().filter(|start| start.peer.name == peer.name).collect();
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
            starts().into_iter().filter(|s| s.peer.behaviour == Behaviour::Unanswering)
        {
            assert!(plan.timeout > Duration::from_secs(1), "the kernel's first retry is seen");
            assert!(plan.timeout * peer.clients > plan.period);
        }
    }
}
