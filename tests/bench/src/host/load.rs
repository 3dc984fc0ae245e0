//! The load of the watched host.
//!
//! One thread has both ends of every connection, and a veth pair delivers packets on the sending processor. So all
//! work, the kernel's included, is done on one processor without waiting.

use std::io::{Read, Write};
use std::iter::Cycle;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::ops::RangeInclusive;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use lab::link::FAR_HOSTS;
use lab::{Cable, NEAR, Place, far_v4};

/// How long the load stays on one pair: short, because the speed of a busy machine changes.
const PIECE: Duration = Duration::from_millis(50);
/// The pause in between. tcptop reads its records within 20 ms, so it does not do that at the expense of the other
/// pair; and threads with real-time priority that never sleep are throttled (`kernel.sched_rt_runtime_us`).
const PAUSE: Duration = Duration::from_millis(25);
/// Segments in flight: fewer than the receive buffer holds.
const BURST: usize = 64;
/// Much longer than any step takes: nothing is lost here.
const PATIENCE: Duration = Duration::from_secs(10);

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Load {
    /// One connection with segments of one byte, in bursts in both directions.
    Segments,
    /// Connections that are opened and closed, one after the other.
    Connections,
}

/// What a load did on one pair.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Run {
    /// Packets of the near interface or connections, while measured.
    pub(super) units: u64,
    /// How long that took, in seconds.
    pub(super) s: f64,
    /// The same including the warm-up.
    pub(super) all_units: u64,
    /// All connections.
    pub(super) connections: u64,
    /// All writes, of one byte each.
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

    /// The unit of the rate.
    pub(super) const fn rate(self) -> &'static str {
        match self {
            Self::Segments => "packets/s",
            Self::Connections => "connections/s",
        }
    }

    /// Runs on both pairs in turns, `time` on each in total.
    pub(super) fn run(self, cables: [&Cable; 2], place: &Place, time: Duration) -> Result<[Run; 2]> {
        cables[0].near.run(|| {
            // Threads that this one starts inherit its place.
            place.take().context("cannot go where the load is to be")?;
            for cable in cables {
                settle(cable)?;
            }
            let [first, second] = cables.map(|cable| Lane::open(self, cable));
            let mut lanes = [first?, second?];
            // Warm-up: windows open, caches fill.
            for lane in &mut lanes {
                lane.piece(PIECE)?;
                (lane.run.units, lane.run.s) = (0, 0.0);
            }
            let pieces = u32::try_from(time.as_nanos().div_ceil(PIECE.as_nanos()))?.max(2);
            for number in 0..pieces {
                // The order alternates, so that a drift affects both alike.
                let order = if number % 2 == 0 { [0, 1] } else { [1, 0] };
                for lane in order {
                    lanes[lane].piece(time / pieces)?;
                }
            }
            Ok(lanes.map(|lane| lane.run))
        })
    }
}

/// The kernel sends as soon as the load does: no pacing (BBR), and no window that shrinks in a pause.
fn settle(cable: &Cable) -> Result<()> {
    for host in [&cable.near, &cable.far] {
        host.set_sysctl("net/ipv4/tcp_congestion_control", "reno")?;
        host.set_sysctl("net/ipv4/tcp_slow_start_after_idle", "0")?;
    }
    Ok(())
}

/// The load on one pair.
struct Lane<'c> {
    cable: &'c Cable,
    listener: TcpListener,
    /// The far addresses: between two addresses, the ephemeral ports limit the connections per minute.
    hosts: Cycle<RangeInclusive<u8>>,
    /// The connection for all segments.
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

    /// Runs for a while, and counts.
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

    /// Connects; must run in the near namespace.
    fn connect(&mut self) -> Result<[TcpStream; 2]> {
        let host = self.hosts.next().context("a cycle has no end")?;
        let remote = SocketAddr::new(far_v4(host), self.listener.local_addr()?.port());
        let here = TcpStream::connect(remote).context("cannot connect")?;
        let (there, _) = self.listener.accept().context("cannot accept")?;
        self.run.connections += 1;
        Ok([here, there])
    }

    /// Packets that the near interface sent and received.
    fn packets(&self) -> Result<u64> {
        Ok(self.cable.near.packets(NEAR)?.iter().sum())
    }
}

fn there_and_back([here, there]: &mut [TcpStream; 2]) -> Result<()> {
    burst(here, there)?;
    burst(there, here)
}

/// One byte per segment: Nagle's algorithm is off and the window is open.
fn burst(from: &mut TcpStream, to: &mut TcpStream) -> Result<()> {
    const STALLED: &str = "the connection stands still";
    for _ in 0..BURST {
        from.write_all(&[0x5a]).context(STALLED)?;
    }
    to.read_exact(&mut [0; BURST]).context(STALLED)
}

/// Repeats for this time; returns how often, and how long it took in seconds.
fn repeat(time: Duration, mut turn: impl FnMut() -> Result<()>) -> Result<(u64, f64)> {
    let begin = Instant::now();
    let mut turns = 0;
    while begin.elapsed() < time {
        turn()?;
        turns += 1;
    }
    Ok((turns, begin.elapsed().as_secs_f64()))
}
