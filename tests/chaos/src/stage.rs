//! The wire, who is at its ends, and what goes wrong.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use lab::{ClientPlan, Clients, Link, Match, Mode, NEAR, Namespace, Rule, Script, Server, Tcptop, far_v4};

/// How long tcptop may take to start.
const START: Duration = Duration::from_secs(30);
/// What the wire loses, each way, and how long it takes: 100 ms there and back.
const LOSS: f64 = 0.05;
const DELAY: Duration = Duration::from_millis(50);
/// Nothing comes back from here.
const SILENT: u8 = 12;

/// Two hosts: requests go from the near one to servers at the far one.
pub(super) struct Stage {
    link: Link,
    seed: u64,
    web: Server,
    echo: Server,
}

impl Stage {
    pub(super) fn new(seed: u64) -> Result<Self> {
        let link = Link::new(healthy(seed)).context("cannot make the network")?;
        let serve = |port, mode| Server::bind(&link.far, (far_v4(11), port).into(), mode);
        let (web, echo) = (serve(80, Mode::CloseAtOnce)?, serve(7, Mode::Echo)?);
        Ok(Self { link, seed, web, echo })
    }

    pub(super) fn near(&self) -> &Namespace {
        &self.link.near
    }

    /// Starts tcptop. Returns it with the address of its metrics.
    pub(super) fn watch(&self) -> Result<(Tcptop, SocketAddr)> {
        let tcptop = Tcptop::spawn(&self.link.near, ["serve", NEAR, "--listen=127.0.0.1:0"])?;
        let line = tcptop.wait_stderr(START, |line| line.starts_with("metrics: "))?;
        let address = line.text.trim_start_matches("metrics: http://").trim_end_matches("/metrics");
        let address = address.parse().with_context(|| line.text.clone())?;
        Ok((tcptop, address))
    }

    /// Requests of several kinds, until they are dropped.
    pub(super) fn requests(&self) -> Result<Vec<Clients>> {
        let (web, echo) = (self.web.address(), self.echo.address());
        let plan = |remote, ms, exchange| {
            let period = Duration::from_millis(ms);
            ClientPlan { exchange, timeout: Duration::from_secs(60), ..ClientPlan::new(remote, period) }
        };
        let plans = [
            plan(web, 40, 0),
            plan(web, 70, 0),
            plan(echo, 100, 500),
            plan(echo, 150, 5_000),
            plan(echo, 400, 60_000),
        ];
        plans.into_iter().map(|plan| Ok(Clients::with(&self.link.near, plan)?)).collect()
    }

    /// From now on the wire loses and delays.
    pub(super) fn lose(&self) {
        let script = healthy(self.seed).delay(DELAY).with(Rule::lose(Match::any(), LOSS));
        self.link.wire.set_script(script);
    }

    /// It no longer does.
    pub(super) fn heal(&self) {
        self.link.wire.set_script(healthy(self.seed));
    }

    /// Somebody connects to a peer that does not answer.
    pub(super) fn silence(&self) -> Result<Vec<Clients>> {
        self.fail((far_v4(SILENT), 80).into())
    }

    /// Somebody connects to a port where nothing listens.
    pub(super) fn refusal(&self) -> Result<Vec<Clients>> {
        self.fail((far_v4(11), 81).into())
    }

    /// Several, because each waits for its attempt.
    fn fail(&self, remote: SocketAddr) -> Result<Vec<Clients>> {
        let period = Duration::from_millis(250);
        let plan = ClientPlan { timeout: Duration::from_millis(500), ..ClientPlan::new(remote, period) };
        (0..8).map(|_| Ok(Clients::with(&self.link.near, plan)?)).collect()
    }

    /// That the servers serve.
    pub(super) fn check(&self) -> Result<()> {
        ensure!(self.web.accepted() > 0 && self.echo.accepted() > 0, "nobody came to a server");
        Ok(())
    }
}

fn healthy(seed: u64) -> Script {
    Script::seeded(seed).with(Rule::drop(Match::any().address(far_v4(SILENT))))
}
