//! What is installed for a fleet: a real Prometheus scrapes tcptop, and each query of the dashboard gives data.

use std::net::SocketAddr;
use std::path::Path;
use std::process::{Command, Output};
use std::time::Duration;

use lab::prometheus::{self, Prometheus, packaged, scraping};
use lab::{
    ClientPlan, Clients, Direction, Link, Match, Mode, Rule, Script, Server, Tcptop, connect, connect_many,
    far_v4,
};
use serde_json::Value;

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(60);
/// One way over the wire, in milliseconds.
const DELAY_MS: u64 = 20;
const CONNECTIONS: usize = 40;

/// Hosts on a wire: one server closes at once, one sends back, one port refuses, one address does not answer.
struct Bench {
    link: Link,
    web: Server,
    _echo: Server,
    _tcptop: Tcptop,
    metrics: SocketAddr,
}

const ECHO: u16 = 7;

impl Bench {
    fn new() -> Self {
        let script = Script::seeded(7)
            .delay(Duration::from_millis(DELAY_MS))
            .with(Rule::drop(Match::any().address(far_v4(12))))
            // Every connection to the echo loses one segment.
            .with(Rule::drop(Match::any().port(ECHO).direction(Direction::ToFar).longer_than(500).nth(1)));
        let link = Link::new(script).expect("a wire");
        let serve = |port, mode| Server::bind(&link.far, (far_v4(11), port).into(), mode).expect("a server");
        let (web, echo) = (serve(80, Mode::CloseAtOnce), serve(ECHO, Mode::Echo));
        let arguments = ["serve", "near0", "--listen=127.0.0.1:0", "--host=near"];
        let tcptop = Tcptop::spawn(&link.near, arguments).expect("it starts");
        let line = tcptop.wait_stderr(PATIENCE, |line| line.starts_with("metrics: ")).expect("it listens");
        let metrics = line.text.trim_start_matches("metrics: http://").trim_end_matches("/metrics").parse();
        Self { link, web, _echo: echo, _tcptop: tcptop, metrics: metrics.expect("an address") }
    }

    fn prometheus(&self, features: &[&str]) -> Prometheus {
        let rules = packaged("prometheus/alerts.yml");
        Prometheus::start(&self.link.near, &scraping(self.metrics), &rules, features).expect("it starts")
    }
}

#[test]
fn a_real_prometheus_has_what_happened() {
    if !lab::require_root() || !prometheus::is_installed() {
        return;
    }
    let bench = Bench::new();
    let prometheus = bench.prometheus(&[]);
    let made =
        connect_many(&bench.link.near, bench.web.address(), CONNECTIONS, PATIENCE).expect("they connect");
    assert_eq!(made, CONNECTIONS);
    let count = f64::from(u32::try_from(CONNECTIONS).unwrap());
    let web = r#"outcome="established",port="80",role="client",interface="near0""#;
    let is =
        |wanted: f64| move |samples: &[prometheus::Sample]| samples.iter().any(|one| one.value() == wanted);
    prometheus.wait(&format!("tcptop_handshakes_total{{{web}}}"), PATIENCE, is(count)).expect("all of them");
    // Both ways of the wire, and what the machine adds.
    let p99 = |buckets: &str| {
        format!(r#"histogram_quantile(0.99, sum by (le) ({buckets}{{leg="server",port="80"}}))"#)
    };
    let samples = prometheus.query(&p99("tcptop_handshake_duration_seconds_bucket")).expect("an answer");
    let at_least = f64::from(u32::try_from(2 * DELAY_MS).unwrap()) / 1e3;
    // The bucket that the delay is in begins at 25 ms.
    assert!(samples[0].value() > 0.025, "{samples:?}");
    let mean = r#"sum(tcptop_handshake_duration_seconds_sum{leg="server",port="80"}) / sum(tcptop_handshake_duration_seconds_count{leg="server",port="80"})"#;
    assert!(prometheus.query(mean).expect("an answer")[0].value() >= at_least);
    let retransmitted = r#"sum(tcptop_retransmits_total{direction="sent",kind="data",port="7"})"#;
    for number in 1..=3 {
        exchange(&bench);
        prometheus.wait(retransmitted, PATIENCE, is(f64::from(number))).expect("one for each connection");
    }
    assert_eq!(prometheus.query("up").expect("an answer")[0].value(), 1.0);
}

/// One segment with data is lost, and sent again.
fn exchange(bench: &Bench) {
    let remote = (far_v4(11), ECHO).into();
    let plan = ClientPlan { exchange: 1_000, ..ClientPlan::new(remote, Duration::from_secs(3_600)) };
    let clients = Clients::with(&bench.link.near, plan).expect("it starts");
    let deadline = std::time::Instant::now() + PATIENCE;
    while clients.tally().succeeded == 0 {
        assert!(std::time::Instant::now() < deadline, "{:?}", clients.tally());
        std::thread::sleep(Duration::from_millis(20));
    }
}

/// The bounds of a native histogram are a tenth apart: the 99th percentile is that of the wire to within that.
#[test]
fn native_histograms_are_taken() {
    if !lab::require_root() || !prometheus::is_installed() {
        return;
    }
    let bench = Bench::new();
    let prometheus = bench.prometheus(&["native-histograms"]);
    connect_many(&bench.link.near, bench.web.address(), CONNECTIONS, PATIENCE).expect("they connect");
    let legs = r#"sum(tcptop_handshake_duration_seconds{leg="server",port="80"})"#;
    let count = f64::from(u32::try_from(CONNECTIONS).unwrap());
    let all = |samples: &[prometheus::Sample]| samples.iter().any(|one| one.value() == count);
    prometheus.wait(&format!("histogram_count({legs})"), PATIENCE, all).expect("native ones");
    let median = prometheus.query(&format!("histogram_quantile(0.5, {legs})")).expect("an answer")[0].value();
    let wire = f64::from(u32::try_from(2 * DELAY_MS).unwrap()) / 1e3;
    assert!(median >= wire / 1.1, "{median}");
}

#[test]
fn each_query_of_the_dashboard_gives_data() {
    if !lab::require_root() || !prometheus::is_installed() {
        return;
    }
    let bench = Bench::new();
    let prometheus = bench.prometheus(&[]);
    let near = &bench.link.near;
    let every = |remote, exchange| {
        let plan = ClientPlan {
            exchange,
            timeout: Duration::from_secs(2),
            ..ClientPlan::new(remote, Duration::from_millis(200))
        };
        Clients::with(near, plan).expect("it starts")
    };
    let (web, echo) = (bench.web.address(), (far_v4(11), ECHO).into());
    let (refusing, silent) = ((far_v4(11), 81).into(), (far_v4(12), 80).into());
    let _traffic = [every(web, 0), every(echo, 1_000), every(refusing, 0), every(silent, 0)];
    // A listener here, and a SYN to a port of this host where nothing listens: the host drops it.
    let _listener = Server::bind(near, (lab::near_v4(1), 443).into(), Mode::HoldOpen).expect("a server");
    assert!(connect(&bench.link.far, None, (lab::near_v4(1), 444).into(), PATIENCE).is_err());
    let dashboard: Value = serde_json::from_str(&packaged("grafana/tcptop.json")).expect("JSON");
    let panels = dashboard["panels"].as_array().expect("panels");
    let mut queries = 0;
    for (panel, target) in panels.iter().flat_map(|panel| {
        panel["targets"].as_array().expect("targets").iter().map(move |target| (panel, target))
    }) {
        let query = target["expr"].as_str().expect("a query");
        let query =
            query.replace("$__rate_interval", "10s").replace("$__range", "5m").replace("$instance", ".*");
        let has_data =
            |samples: &[prometheus::Sample]| samples.iter().any(|sample| sample.value().is_finite());
        prometheus
            .wait(&query, PATIENCE, has_data)
            .unwrap_or_else(|error| panic!("{}: {error}", panel["title"]));
        queries += 1;
    }
    assert!(queries > 15, "{queries}");
}

fn promtool(words: &[&str]) -> Option<Output> {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/prometheus");
    match Command::new("promtool").args(words).current_dir(folder).output() {
        Ok(output) => Some(output),
        Err(error) if std::env::var_os("CI").is_none() => {
            println!("skipped: no promtool here ({error})");
            None
        }
        Err(error) => panic!("promtool, which .ci/run installs: {error}"),
    }
}

#[test]
fn configuration_and_rules_are_right() {
    for words in [
        &["check", "config", "scrape.yml"][..],
        &["check", "rules", "alerts.yml"],
        &["test", "rules", "alerts.test.yml"],
    ] {
        let Some(output) = promtool(words) else { return };
        let said = [output.stdout, output.stderr].concat();
        assert!(output.status.success(), "promtool {words:?}: {}", String::from_utf8_lossy(&said));
    }
}

/// As hardened as a unit can be that loads kernel programs. 10 is the exposure of one that does nothing.
#[test]
fn the_unit_is_hardened() {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging/systemd/tcptop.service");
    let output = Command::new("systemd-analyze")
        .args(["security", "--offline=true", "--threshold=20", "--no-pager"])
        .arg(unit)
        .output();
    match output {
        Ok(output) => assert!(
            output.status.success(),
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        ),
        Err(error) if std::env::var_os("CI").is_none() => println!("skipped: no systemd here ({error})"),
        Err(error) => panic!("systemd-analyze, which .ci/run installs: {error}"),
    }
}
