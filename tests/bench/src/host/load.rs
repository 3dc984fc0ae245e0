//! What the host is busy with while it is watched.
//!
//! One thread at a time has both ends of every connection, and a veth pair hands packets over on the processor that
//! sends them: all work, the kernel's too, is done on one processor, and nobody waits for anybody.

use std::io::{Read, Write};
use std::iter::Cycle;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::link::FAR_HOSTS;
use lab::{Cable, NEAR, Place, far_v4};

/// So long the load stays on one cable: not longer than a machine in use stays as fast as it is.
const PIECE: Duration = Duration::from_millis(50);
/// So long it rests in between. tcptop takes what is there for it within 20 ms, and so does not do it at the expense of
/// the other cable; and threads of a real-time priority that never rest are held up (`kernel.sched_rt_runtime_us`).
const PAUSE: Duration = Duration::from_millis(25);
/// Segments that are under way at once: fewer than the kernel's receive buffer holds.
const BURST: usize = 64;
/// Nothing here is lost or waits; a load that stands still this long never goes on.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// A connection on which one byte is sent at a time, in bursts there and back.
    Segments,
    /// Connections that are opened and closed, one after the other.
    Connections,
}

/// What a load did on one cable.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Run {
    /// While it was measured: packets that the near interface sent and received, or connections.
    pub(super) units: u64,
    /// How long that took.
    pub(super) s: f64,
    /// The same as `units` in all, the warm-up included.
    pub(super) all_units: u64,
    /// Connections in all.
    pub(super) connections: u64,
    /// Writes in all, of a byte each.
    pub(super) writes: u64,
}

impl Load {
    pub(super) const ALL: [Self; 2] = [Self::Segments, Self::Connections];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Segments => "small packets",
            Self::Connections => "connections",
        }
    }

    /// What is counted, in a second.
    pub(super) const fn rate(self) -> &'static str {
        match self {
            Self::Segments => "packets/s",
            Self::Connections => "connections/s",
        }
    }

    /// Runs on both cables by turns, on each for `time` altogether.
    pub(super) fn run(self, cables: [&Cable; 2], place: &Place, time: Duration) -> Result<[Run; 2]> {
        cables[0].near.run(|| {
            // The threads that this one starts have its place.
            place.take().context("cannot go where the load is to be")?;
            for cable in cables {
                settle(cable)?;
            }
            let [first, second] = cables.map(|cable| Lane::open(self, cable));
            let mut lanes = [first?, second?];
            // Windows open, caches fill.
            for lane in &mut lanes {
                lane.piece(PIECE)?;
                (lane.run.units, lane.run.s) = (0, 0.0);
            }
            let pieces = u32::try_from(time.as_nanos().div_ceil(PIECE.as_nanos()))?.max(2);
            for number in 0..pieces {
                // There and back again: what changes steadily changes both alike.
                let order = if number % 2 == 0 { [0, 1] } else { [1, 0] };
                for lane in order {
                    lanes[lane].piece(time / pieces)?;
                }
            }
            Ok(lanes.map(|lane| lane.run))
        })
    }
}

/// Nothing is sent but when the load sends it: no pacing (BBR), and no window that closes in a pause.
fn settle(cable: &Cable) -> Result<()> {
    for host in [&cable.near, &cable.far] {
        host.set_sysctl("net/ipv4/tcp_congestion_control", "reno")?;
        host.set_sysctl("net/ipv4/tcp_slow_start_after_idle", "0")?;
    }
    Ok(())
}

/// A load's way over one cable.
struct Lane<'c> {
    cable: &'c Cable,
    listener: TcpListener,
    /// From one address to another there are only as many connections a minute as there are ephemeral ports.
    hosts: Cycle<RangeInclusive<u8>>,
    /// The connection that all segments are sent on.
    lasting: Option<[TcpStream; 2]>,
    run: Run,
}

impl<'c> Lane<'c> {
    fn open(load: Load, cable: &'c Cable) -> Result<Self> {
        let any = SocketAddr::from((Ipv4Addr::UNSPECIFIED, 0));
        let listener = cable.far.run(|| TcpListener::bind(any)).context("cannot listen")?;
        let hosts = FAR_HOSTS.cycle();
        let mut lane = Self { cable, listener, hosts, lasting: None, run: Run::default() };
        if load == Load::Segments {
            let ends = cable.near.run(|| lane.connect())?;
            for end in &ends {
                end.set_nodelay(true)?;
                end.set_read_timeout(Some(PATIENCE))?;
            }
            lane.lasting = Some(ends);
        }
        Ok(lane)
    }

    /// Goes on for a while, and counts.
    fn piece(&mut self, time: Duration) -> Result<()> {
        thread::sleep(PAUSE);
        let (units, s) = match self.lasting.take() {
            Some(mut ends) => {
                let before = self.packets()?;
                let (bursts, s) = repeat(time, || there_and_back(&mut ends))?;
                self.lasting = Some(ends);
                self.run.writes += bursts * 2 * BURST as u64;
                (self.packets()? - before, s)
            }
            None => {
                let near = &self.cable.near;
                let (made, s) = near.run(|| repeat(time, || self.connect().map(drop)))?;
                (made, s)
            }
        };
        self.run.units += units;
        self.run.all_units += units;
        self.run.s += s;
        Ok(())
    }

    /// Connects; in the near namespace only.
    fn connect(&mut self) -> Result<[TcpStream; 2]> {
        let host = self.hosts.next().context("a cycle has no end")?;
        let remote = SocketAddr::new(far_v4(host), self.listener.local_addr()?.port());
        let here = TcpStream::connect(remote).context("cannot connect")?;
        let (there, _) = self.listener.accept().context("cannot accept")?;
        self.run.connections += 1;
        Ok([here, there])
    }

    /// What the near interface sent and received.
    fn packets(&self) -> Result<u64> {
        Ok(self.cable.near.packets(NEAR)?.iter().sum())
    }
}

fn there_and_back([here, there]: &mut [TcpStream; 2]) -> Result<()> {
    burst(here, there)?;
    burst(there, here)
}

/// One byte a segment: neither end waits until it has more to send, and the window is open.
fn burst(from: &mut TcpStream, to: &mut TcpStream) -> Result<()> {
    const STALLED: &str = "the connection stands still";
    for _ in 0..BURST {
        from.write_all(&[0x5a]).context(STALLED)?;
    }
    to.read_exact(&mut [0; BURST]).context(STALLED)
}

/// How often in this time, and how long that took in seconds.
fn repeat(time: Duration, mut turn: impl FnMut() -> Result<()>) -> Result<(u64, f64)> {
    let begin = Instant::now();
    let mut turns = 0;
    while begin.elapsed() < time {
        turn()?;
        turns += 1;
    }
    Ok((turns, begin.elapsed().as_secs_f64()))
}
