//! Connections that stay open while the wire changes under them.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::panic::resume_unwind;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result};
use lab::{Mode, Server};
use nix::sys::socket::{setsockopt, sockopt};

use super::super::bench::Bench;
use super::{OPEN_PORT, PATIENCE, Way, echo, ways};

/// Linux's minimum interval of keep-alives, in seconds.
const KEEP_ALIVE_S: u32 = 1;
/// Long enough for two keep-alives.
const IDLE: Duration = Duration::from_millis(2_300);
/// Smaller than an echo.
const SMALL_BUFFERS: &str = "4096 16384 16384";
/// Long enough for three window probes, 200, 400 and 800 ms apart.
const NOT_READING: Duration = Duration::from_millis(1_600);

/// Connections that send messages, each after the echo of the one before.
#[derive(Clone, Copy)]
pub(crate) struct Talk {
    /// Connections per direction and family.
    pub(crate) lanes: usize,
    /// Messages per connection.
    pub(crate) turns: usize,
    /// Bytes of a message.
    pub(crate) len: usize,
}

/// Opens all connections, changes the wire, and exchanges messages.
pub(crate) fn talk(bench: &Bench, Talk { lanes, turns, len }: Talk) -> Result<()> {
    once_open(bench, lanes, |stream| (0..turns).try_for_each(|_| echo(stream, len)))
}

/// Connections that are idle for a while.
pub(crate) fn idle(bench: &Bench) -> Result<()> {
    once_open(bench, 8, |stream| {
        setsockopt(stream, sockopt::KeepAlive, &true)?;
        setsockopt(stream, sockopt::TcpKeepIdle, &KEEP_ALIVE_S)?;
        setsockopt(stream, sockopt::TcpKeepInterval, &KEEP_ALIVE_S)?;
        echo(stream, 100)?;
        thread::sleep(IDLE);
        echo(stream, 100)
    })
}

/// Clients that send and do not read, until neither end can send any more.
pub(crate) fn unread(bench: &Bench) -> Result<()> {
    for host in [&bench.near, &bench.far] {
        host.set_sysctl("net/ipv4/tcp_rmem", SMALL_BUFFERS)?;
        host.set_sysctl("net/ipv4/tcp_wmem", SMALL_BUFFERS)?;
    }
    once_open(bench, 2, |stream| {
        let mut writer = stream.try_clone()?;
        let message = vec![b'x'; 150_000];
        thread::scope(|scope| {
            let writing = scope.spawn(|| writer.write_all(&message));
            thread::sleep(NOT_READING);
            stream.set_read_timeout(Some(PATIENCE))?;
            let read = (&*stream).read_exact(&mut vec![0; message.len()]);
            Ok(writing.join().unwrap_or_else(|panic| resume_unwind(panic)).and(read)?)
        })
    })
}

/// Opens `lanes` connections each way to echo servers, one after the other, and changes the wire. Then all act at the
/// same time.
fn once_open(bench: &Bench, lanes: usize, act: impl Fn(&TcpStream) -> Result<()> + Sync) -> Result<()> {
    let ways = ways(bench);
    let serve = |way: &Way<'_>| Server::bind(way.to, SocketAddr::new(way.server, OPEN_PORT), Mode::Echo);
    let _servers = ways.iter().map(serve).collect::<Result<Vec<_>>>()?;
    let open = |way: &Way<'_>| {
        (0..lanes).map(|_| way.connect(0, OPEN_PORT, PATIENCE)).collect::<Result<Vec<_>, _>>()
    };
    let streams =
        all_at_once(&ways, open).into_iter().collect::<Result<Vec<_>, _>>().context("cannot connect")?;
    bench.change();
    all_at_once(&streams.into_iter().flatten().collect::<Vec<_>>(), act).into_iter().collect()
}

/// Runs a task for each, on a thread of its own.
fn all_at_once<T: Sync, R: Send>(all: &[T], act: impl Fn(&T) -> R + Sync) -> Vec<R> {
    thread::scope(|scope| {
        let act = &act;
        let acting: Vec<_> = all.iter().map(|one| scope.spawn(move || act(one))).collect();
        acting.into_iter().map(|one| one.join().unwrap_or_else(|panic| resume_unwind(panic))).collect()
    })
}
