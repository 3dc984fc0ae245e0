//! Compares the times of the same packets by tcptop in the kernel and by tcpdump.
//!
//! The two look at different places: inbound packets get tcpdump's timestamp before they reach the hook, outbound ones
//! after it. A leg over the wire is therefore longer live, and one that this host answers shorter, by the time between
//! the two places.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::path::Path;
use std::thread;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{Link, Mode, NEAR, Script, Server, Tcptop, connect, far_v4, far_v6, near_v4, near_v6};

use super::LOCAL;
use super::capture::{Capture, Plan};
use super::ours::{self, Flow, Leg};

const CONNECTIONS: usize = 1_000;
/// Time between connections, so that their packets do not queue behind each other.
const PERIOD: Duration = Duration::from_millis(3);
const PATIENCE: Duration = Duration::from_secs(10);
/// Limit of the median difference, in nanoseconds.
const MEDIAN_NS: u64 = 20_000;
/// Limit of the 99th percentile, in nanoseconds.
const P99_NS: u64 = 200_000;

/// A leg as measured live and in the capture, in nanoseconds.
type Pair = (u64, u64);

pub(super) fn run(folder: &Path) -> Result<()> {
    let file = folder.join("live.pcap");
    let link = Link::new(Script::default())?;
    let tcptop = Tcptop::spawn(&link.near, [NEAR, "--json"])?;
    tcptop.wait_ready(PATIENCE)?;
    let plan = Plan { interface: NEAR, snap: 128, nanoseconds: true };
    let capture = Capture::start(&link.near, plan, &file)?;
    connections(&link)?;
    tcptop.wait_objects("close", CONNECTIONS, PATIENCE)?;
    capture.stop()?;
    let live = ours::gather(tcptop.stop(PATIENCE)?)?;
    ensure!(live.summary.lost == 0, "tcptop lost {} live", live.summary.lost);
    let captured = ours::replay(&file, &LOCAL)?;
    for run in [&live, &captured] {
        ensure!(run.flows.len() == CONNECTIONS, "{} of {CONNECTIONS} handshakes", run.flows.len());
    }
    judge(&pairs(&live.flows, &captured.flows)?)
}

/// Opens connections one after the other, a quarter in each direction and family.
fn connections(link: &Link) -> Result<()> {
    let (near, far) = (&link.near, &link.far);
    let ways = [
        (near, near_v4(1), far, far_v4(11)),
        (near, near_v6(1), far, far_v6(11)),
        (far, far_v4(11), near, near_v4(1)),
        (far, far_v6(11), near, near_v6(1)),
    ];
    let serve = |(from, client, to, host)| {
        let server = Server::bind(to, SocketAddr::new(host, 80), Mode::HoldOpen)?;
        Ok((from, SocketAddr::new(client, 0), server))
    };
    let servers = ways.into_iter().map(serve).collect::<Result<Vec<_>>>()?;
    for (from, client, server) in servers.iter().cycle().take(CONNECTIONS) {
        drop(connect(from, Some(*client), server.address(), PATIENCE).context("cannot connect")?);
        thread::sleep(PERIOD);
    }
    Ok(())
}

/// For each handshake, the leg over the wire and the one that this host answers.
fn pairs(live: &[Flow], captured: &[Flow]) -> Result<Vec<[Pair; 2]>> {
    let ends = |flow: &Flow| (flow.local, flow.remote);
    let by_ends: HashMap<_, _> = captured.iter().map(|flow| (ends(flow), flow)).collect();
    let pair = |flow: &Flow| {
        let other = by_ends.get(&ends(flow)).with_context(|| format!("not in the capture: {flow:?}"))?;
        ensure!(flow.role == other.role, "{} live, {} in the capture: {flow:?}", flow.role, other.role);
        let exact = |leg: Option<Leg>| leg.and_then(Leg::exact).with_context(|| format!("no leg: {flow:?}"));
        let server = (exact(flow.server_leg)?, exact(other.server_leg)?);
        let client = (exact(flow.client_leg)?, exact(other.client_leg)?);
        Ok(if flow.role == "client" { [server, client] } else { [client, server] })
    };
    live.iter().map(pair).collect()
}

fn judge(pairs: &[[Pair; 2]]) -> Result<()> {
    println!("live against capture: {} handshakes, {} legs", pairs.len(), pairs.len() * 2);
    for (name, leg) in [("across the wire", 0), ("answered here", 1)] {
        let (median, p99) = quantiles(pairs.iter().map(|pair| pair[leg]));
        let longer = pairs.iter().filter(|pair| pair[leg].0 > pair[leg].1).count();
        println!("  {name}: median {}, 99th percentile {}, {longer} longer live", us(median), us(p99));
    }
    let (median, p99) = quantiles(pairs.iter().flatten().copied());
    let limits = (us(MEDIAN_NS), us(P99_NS));
    println!(
        "  all: median {} (limit {}), 99th percentile {} (limit {})",
        us(median),
        limits.0,
        us(p99),
        limits.1
    );
    ensure!(median <= MEDIAN_NS && p99 <= P99_NS, "the times are further apart than the limits");
    Ok(())
}

/// Median and 99th percentile of the differences, in nanoseconds.
fn quantiles(pairs: impl Iterator<Item = Pair>) -> (u64, u64) {
    let mut differences: Vec<u64> = pairs.map(|(live, captured)| live.abs_diff(captured)).collect();
    differences.sort_unstable();
    let at = |percent: usize| {
        let rank = (differences.len() * percent).div_ceil(100).saturating_sub(1);
        differences.get(rank).copied().unwrap_or(u64::MAX)
    };
    (at(50), at(99))
}

fn us(ns: u64) -> String {
    format!("{}.{} µs", ns / 1_000, ns % 1_000 / 100)
}

#[cfg(test)]
mod tests {
    use super::quantiles;

    #[test]
    fn quantiles_are_ranks_of_differences() {
        let pairs = (1..=100).map(|number| if number % 2 == 0 { (number, 0) } else { (0, number) });
        assert_eq!(quantiles(pairs), (50, 99));
        assert_eq!(quantiles([(7, 10)].into_iter()), (3, 3));
        assert_eq!(quantiles([].into_iter()), (u64::MAX, u64::MAX), "nothing is not good");
    }
}
