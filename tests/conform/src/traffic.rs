//! What the hosts of a scene do. Each function returns when all of its connections have ended.

pub(super) mod talk;

use std::io::{self, ErrorKind, Read, Write};
use std::net::{IpAddr, Shutdown, SocketAddr, TcpStream};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lab::{Mode, Namespace, Server, connect, far_v4, far_v6, near_v4, near_v6};

use super::bench::Bench;

/// Much longer than any connection takes that is meant to succeed.
const PATIENCE: Duration = Duration::from_secs(10);
/// A port with a server.
const OPEN_PORT: u16 = 80;
/// A port without a server.
const CLOSED_PORT: u16 = 9;
/// A port to which the scenes drop all SYNs.
pub(super) const SILENT_PORT: u16 = 81;
/// The second SYN is sent after 1 s, the third after 3 s.
const TWO_SYNS: Duration = Duration::from_millis(1_300);
/// An attempt that is given up before an answer can come.
const AT_ONCE: Duration = Duration::from_millis(1);
/// Long enough for a packet to arrive and to be answered.
const ANSWERED: Duration = Duration::from_millis(60);

/// One direction of connections in one address family.
struct Way<'b> {
    from: &'b Namespace,
    to: &'b Namespace,
    client: IpAddr,
    server: IpAddr,
}

impl Way<'_> {
    /// Connects from the port `local`, or from any if it is 0. Retries while the port's last connection waits for the
    /// ACK of its FIN.
    fn connect(&self, local: u16, port: u16, timeout: Duration) -> io::Result<TcpStream> {
        let (local, server) = (SocketAddr::new(self.client, local), SocketAddr::new(self.server, port));
        let start = Instant::now();
        loop {
            match connect(self.from, Some(local), server, timeout) {
                Err(error) if error.kind() == ErrorKind::AddrNotAvailable && start.elapsed() < PATIENCE => {
                    thread::sleep(AT_ONCE);
                }
                result => return result,
            }
        }
    }
}

fn ways(bench: &Bench) -> [Way<'_>; 4] {
    let (near, far) = (&bench.near, &bench.far);
    let way = |from, to, client, server| Way { from, to, client, server };
    [
        way(near, far, near_v4(1), far_v4(11)),
        way(near, far, near_v6(1), far_v6(11)),
        way(far, near, far_v4(11), near_v4(1)),
        way(far, near, far_v6(11), near_v6(1)),
    ]
}

/// Runs `lanes` clients each way in parallel, each with `turns` connections one after the other.
fn visits(
    bench: &Bench,
    mode: Mode,
    (lanes, turns): (usize, usize),
    visit: impl Fn(&Way<'_>) -> Result<()> + Sync,
) -> Result<()> {
    let ways = ways(bench);
    let serve = |way: &Way<'_>| Server::bind(way.to, SocketAddr::new(way.server, OPEN_PORT), mode);
    let _servers = ways.iter().map(serve).collect::<Result<Vec<_>>>()?;
    thread::scope(|scope| {
        let lane = |way| {
            let visit = &visit;
            scope.spawn(move || (0..turns).try_for_each(|_| visit(way)))
        };
        let lanes: Vec<_> = ways.iter().flat_map(|way| (0..lanes).map(move |_| lane(way))).collect();
        lanes
            .into_iter()
            .try_for_each(|lane| lane.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)))
    })?;
    // The servers must still be there for what the last clients have sent.
    thread::sleep(ANSWERED);
    Ok(())
}

/// Connects, sends `len` bytes, reads the echo and closes first.
fn exchange(way: &Way<'_>, len: usize) -> Result<()> {
    echo(&way.connect(0, OPEN_PORT, PATIENCE).context("cannot connect")?, len)
}

/// Sends `len` bytes and reads their echo.
fn echo(stream: &TcpStream, len: usize) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let mut writer = stream.try_clone()?;
    thread::scope(|scope| {
        let writing = scope.spawn(move || writer.write_all(&vec![b'x'; len]));
        let read = (&*stream).read_exact(&mut vec![0; len]);
        writing.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)).and(read)
    })
    .context("cannot exchange")?;
    Ok(())
}

/// Waits for the other end's FIN or RST.
fn drain(mut stream: TcpStream) -> Result<()> {
    stream.set_read_timeout(Some(PATIENCE))?;
    match stream.read_to_end(&mut Vec::new()) {
        Err(error) if error.kind() != ErrorKind::ConnectionReset => Err(error.into()),
        _ => Ok(()),
    }
}

/// Small exchanges; the client closes first.
pub(super) fn plain(bench: &Bench) -> Result<()> {
    visits(bench, Mode::Echo, (3, 4), |way| exchange(way, 100))
}

/// Many clients of one server at once.
pub(super) fn crowd(bench: &Bench) -> Result<()> {
    visits(bench, Mode::Echo, (12, 5), |way| exchange(way, 100))
}

/// More data than one packet holds.
pub(super) fn bulk(bench: &Bench) -> Result<()> {
    visits(bench, Mode::Echo, (1, 2), |way| exchange(way, 400_000))
}

/// Connections over a bad wire, which may fail.
pub(super) fn over_bad_wire(bench: &Bench) -> Result<()> {
    visits(bench, Mode::Echo, (5, 2), |way| {
        // A client whose first two SYNs are lost gives up.
        let Ok(mut stream) = way.connect(0, OPEN_PORT, TWO_SYNS * 2) else { return Ok(()) };
        stream.set_read_timeout(Some(Duration::from_secs(1)))?;
        let mut echo = [0; 3_000];
        let _ = stream.write_all(&echo).and_then(|()| stream.read_exact(&mut echo));
        Ok(())
    })
}

/// Many clients with one connection each: most wait a second for a retransmitted SYN or SYN-ACK.
pub(super) fn once_each(bench: &Bench) -> Result<()> {
    visits(bench, Mode::Echo, (4, 1), |way| exchange(way, 100))
}

/// Clients that send at once, close at once, or stay silent.
pub(super) fn silent_clients(bench: &Bench) -> Result<()> {
    visits(bench, Mode::HoldOpen, (2, 1), |way| {
        let mut speaking = way.connect(0, OPEN_PORT, PATIENCE)?;
        let waiting = way.connect(0, OPEN_PORT, PATIENCE)?;
        drop(way.connect(0, OPEN_PORT, PATIENCE)?);
        speaking.write_all(b"hello")?;
        // The server retransmits its SYN-ACK after 1 s.
        thread::sleep(TWO_SYNS);
        drop((speaking, waiting));
        Ok(())
    })
}

/// Clients whose ACK the wire drops; the last ones connect just before the end.
pub(super) fn half_open(bench: &Bench) -> Result<()> {
    let servers = [near_v4(1), near_v6(1)].map(|host| SocketAddr::new(host, OPEN_PORT));
    let _servers = servers
        .map(|address| Server::bind(&bench.near, address, Mode::HoldOpen))
        .into_iter()
        .collect::<Result<Vec<_>>>()?;
    let open = || servers.map(|address| connect(&bench.far, None, address, PATIENCE));
    let _held = open();
    thread::sleep(TWO_SYNS);
    let _fresh = open();
    Ok(())
}

/// Ports where nobody listens.
pub(super) fn refused(bench: &Bench) -> Result<()> {
    for way in ways(bench) {
        for _ in 0..3 {
            refuse(&way, 0)?;
        }
    }
    Ok(())
}

fn refuse(way: &Way<'_>, local: u16) -> Result<()> {
    let result = way.connect(local, CLOSED_PORT, PATIENCE);
    let refused = result.is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
    ensure!(refused, "port {CLOSED_PORT} of {} does not refuse", way.server);
    Ok(())
}

/// Attempts whose SYNs are dropped; clients give up after two SYNs, or at once.
pub(super) fn silent(bench: &Bench) -> Result<()> {
    let ways = ways(bench);
    thread::scope(|scope| {
        for way in &ways {
            scope.spawn(|| ignored(way, 0, TWO_SYNS));
            scope.spawn(|| ignored(way, 0, TWO_SYNS * 3));
        }
    });
    ways.iter().for_each(|way| ignored(way, 0, AT_ONCE));
    Ok(())
}

/// An attempt that is expected to fail; if it does not, the scene misses its minimum.
fn ignored(way: &Way<'_>, local: u16, timeout: Duration) {
    drop(way.connect(local, SILENT_PORT, timeout));
}

/// Connects to a server that resets, and waits for the RST. On a busy machine it may arrive before `connect` returns.
fn be_reset(way: &Way<'_>, local: u16) -> Result<()> {
    match way.connect(local, OPEN_PORT, PATIENCE) {
        Err(error) if error.kind() == ErrorKind::ConnectionReset => Ok(()),
        result => drain(result?),
    }
}

/// Connections that the server resets, and attempts that are gone when the SYN-ACK arrives.
pub(super) fn reset(bench: &Bench) -> Result<()> {
    visits(bench, Mode::ResetAtOnce, (2, 3), |way| {
        be_reset(way, 0)?;
        drop(way.connect(0, OPEN_PORT, AT_ONCE));
        thread::sleep(ANSWERED);
        Ok(())
    })
}

/// Connections that the client closes first, the server closes first, or both close at once.
pub(super) fn closed(bench: &Bench) -> Result<()> {
    visits(bench, Mode::CloseAtOnce, (1, 3), |way| {
        drain(way.connect(0, OPEN_PORT, PATIENCE)?)?;
        let both = way.connect(0, OPEN_PORT, PATIENCE)?;
        both.shutdown(Shutdown::Write)?;
        drain(both)
    })?;
    visits(bench, Mode::HoldOpen, (1, 3), |way| {
        let client = way.connect(0, OPEN_PORT, PATIENCE)?;
        client.shutdown(Shutdown::Write)?;
        drain(client)
    })
}

/// Connections of every kind that reuse the ports of the one before.
pub(super) fn reused(bench: &Bench) -> Result<()> {
    visits(bench, Mode::ResetAtOnce, (1, 3), |way| be_reset(way, 40_001))?;
    visits(bench, Mode::CloseAtOnce, (1, 3), |way| drain(way.connect(40_002, OPEN_PORT, PATIENCE)?))?;
    for way in ways(bench) {
        for _ in 0..3 {
            refuse(&way, 40_003)?;
            ignored(&way, 40_004, AT_ONCE);
        }
    }
    Ok(())
}

/// Connections that the client resets. The server's answers are still on their way when the next one on the same ports
/// begins.
pub(super) fn aborted(bench: &Bench) -> Result<()> {
    visits(bench, Mode::Echo, (1, 3), |way| {
        let mut stream = way.connect(40_001, OPEN_PORT, PATIENCE)?;
        stream.write_all(&[b'x'; 3_000])?;
        Ok(lab::reset(stream)?)
    })
}

/// A mix of scenes that need no long wait.
pub(super) fn mixed(bench: &Bench) -> Result<()> {
    plain(bench)?;
    refused(bench)?;
    reset(bench)
}
