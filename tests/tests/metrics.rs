//! The metrics: what is scraped is what happened, in a form that Prometheus accepts, and no client can hurt the run.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use lab::{Mode, Namespace, Server, Tcptop, connect_many};

/// Much longer than any step takes; a test that waits this long fails.
const PATIENCE: Duration = Duration::from_secs(30);
const CONNECTIONS: usize = 200;
const OPEN_METRICS: &str = "Accept: application/openmetrics-text;version=1.0.0,text/plain;q=0.5\r\n";

/// tcptop on a loopback of its own with a server at port 80, and the address of its metrics.
struct Stage {
    namespace: Namespace,
    server: Server,
    tcptop: Tcptop,
    metrics: SocketAddr,
}

impl Stage {
    fn new(options: &[&str]) -> Self {
        let namespace = Namespace::new().expect("a namespace");
        let address = SocketAddr::from(([127, 0, 0, 1], 80));
        let server = Server::bind(&namespace, address, Mode::CloseAtOnce).expect("a server");
        let arguments = ["lo", "--json", "--listen", "127.0.0.1:0"].iter().chain(options);
        let tcptop = Tcptop::spawn(&namespace, arguments).expect("it starts");
        let line = tcptop.wait_stderr(PATIENCE, |line| line.starts_with("metrics: ")).expect("it listens");
        let metrics = line.text.trim_start_matches("metrics: http://").trim_end_matches("/metrics");
        let metrics = metrics.parse().expect("an address");
        Self { namespace, server, tcptop, metrics }
    }

    fn serve(&self, port: u16, mode: Mode) -> Server {
        Server::bind(&self.namespace, SocketAddr::from(([127, 0, 0, 1], port)), mode).expect("a server")
    }

    fn open(&self, address: SocketAddr) -> TcpStream {
        self.namespace.run(|| TcpStream::connect(address)).expect("it accepts")
    }

    fn connect(&self) -> TcpStream {
        let stream = self.namespace.run(|| TcpStream::connect(self.metrics)).expect("it accepts");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream
    }

    /// The answer to a request, head and body.
    fn ask(&self, request: &str) -> String {
        let mut stream = self.connect();
        stream.write_all(request.as_bytes()).expect("it takes it");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("text");
        answer
    }

    fn scrape(&self, header: &str) -> String {
        let answer =
            self.ask(&format!("GET /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\n{header}\r\n"));
        assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
        answer.split_once("\r\n\r\n").expect("a body").1.to_owned()
    }

    /// Scrapes until a series has at least this value.
    fn wait(&self, series: &str, value: f64) -> String {
        let deadline = Instant::now() + PATIENCE;
        loop {
            let text = self.scrape("");
            if found(&text, series).is_some_and(|found| found >= value) {
                return text;
            }
            assert!(Instant::now() < deadline, "{series} is not {value}: {text}");
            sleep(Duration::from_millis(50));
        }
    }
}

/// The sum of all series with this name and these labels, whatever other labels they have.
fn found(text: &str, series: &str) -> Option<f64> {
    let (name, labels) = series.split_once('{').unwrap_or((series, ""));
    let labels: Vec<&str> = labels.trim_end_matches('}').split(',').collect();
    let values = text.lines().filter_map(|line| {
        let rest = line.strip_prefix(name).filter(|rest| rest.starts_with(['{', ' ']))?;
        let value = rest.rsplit_once(' ')?.1.parse::<f64>().ok()?;
        labels.iter().all(|label| rest.contains(label)).then_some(value)
    });
    values.reduce(|sum, value| sum + value)
}

#[test]
fn what_is_scraped_is_what_happened() {
    if !lab::require_root() {
        return;
    }
    let stage = Stage::new(&[]);
    let made = connect_many(&stage.namespace, stage.server.address(), CONNECTIONS, PATIENCE).unwrap();
    assert_eq!(made, CONNECTIONS);
    // The scrapes are connections on loopback, too, to a port of their own.
    let count = f64::from(u32::try_from(CONNECTIONS).unwrap());
    let established =
        r#"tcptop_handshakes_total{interface="lo",role="local",outcome="established",port="80"}"#;
    let text = stage.wait(established, count);
    assert_eq!(found(&text, established), Some(count), "{text}");
    for leg in ["server", "client", "setup"] {
        let observed = format!(r#"tcptop_handshake_duration_seconds_count{{leg="{leg}",port="80"}}"#);
        assert_eq!(found(&text, &observed), Some(count), "{observed} in {text}");
    }
    // They wait for the next second.
    let segments = stage.wait("tcptop_segments_total", 2.0 * count);
    assert_eq!(found(&segments, "tcptop_segments_retransmitted_total"), Some(0.0), "{segments}");
    assert_eq!(found(&segments, r#"tcptop_missed_total{what="record"}"#), Some(0.0), "{segments}");
    assert!(stage.scrape(OPEN_METRICS).ends_with("# EOF\n"));
}

#[test]
fn what_is_scraped_is_well_formed() {
    if !lab::require_root() {
        return;
    }
    let stage = Stage::new(&["--per-flow-metrics"]);
    connect_many(&stage.namespace, stage.server.address(), 20, PATIENCE).unwrap();
    let text = stage.wait(r#"tcptop_closes_total{port="80"}"#, 20.0);
    check(&text);
}

/// That Prometheus' own tool finds nothing wrong.
fn check(text: &str) {
    let mut promtool = match Command::new("promtool")
        .args(["check", "metrics"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
    {
        Ok(promtool) => promtool,
        Err(error) if std::env::var_os("CI").is_none() => {
            println!("skipped: no promtool here ({error})");
            return;
        }
        Err(error) => panic!("promtool, which .ci/run installs: {error}"),
    };
    promtool.stdin.take().expect("piped").write_all(text.as_bytes()).expect("it reads");
    let output = promtool.wait_with_output().expect("it ends");
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.is_empty(), "{said}\n{text}");
}

#[test]
fn odd_clients_hurt_nobody() {
    if !lab::require_root() {
        return;
    }
    let stage = Stage::new(&[]);
    // As many as are served at once, but one, and none of them ever asks for anything.
    let silent: Vec<TcpStream> = (0..15).map(|_| stage.connect()).collect();
    let mut endless = stage.connect();
    let _ = endless.write_all(&[b'x'; 65_536]);
    for (request, status) in [
        ("POST /metrics HTTP/1.1\r\nHost: x\r\nConnection: close\r\nContent-Length: 0\r\n\r\n", "405"),
        ("GET /etc/passwd HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "404"),
        ("GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n", "200"),
        ("\r\n\r\nnonsense\r\n\r\n", "400"),
    ] {
        let answer = stage.ask(request);
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{request:?}: {answer}");
    }
    let pipelined = "GET /healthz HTTP/1.1\r\nHost: x\r\n\r\n".repeat(50);
    let last = "GET /healthz HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n";
    assert_eq!(stage.ask(&(pipelined + last)).matches("200 OK").count(), 51);
    drop(silent);
    assert_eq!(connect_many(&stage.namespace, stage.server.address(), 20, PATIENCE).unwrap(), 20);
    stage.wait(r#"tcptop_handshakes_total{outcome="established",port="80"}"#, 20.0);
    assert!(!stage.tcptop.stop(PATIENCE).expect("it ends well").is_empty());
}

/// Each of these labels is bounded: what has no series of its own is counted.
#[test]
fn labels_are_bounded_and_what_is_folded_is_counted() {
    if !lab::require_root() {
        return;
    }
    let options = ["--metric-ports=2", "--peer-metrics=1", "--per-flow-metrics=3", "--sockets=250ms"];
    let stage = Stage::new(&[&options[..], &["--metric-labels=unit,container,namespace,pod"]].concat());
    let servers: Vec<Server> = (81..=84).map(|port| stage.serve(port, Mode::HoldOpen)).collect();
    let held: Vec<TcpStream> = servers.iter().map(|server| stage.open(server.address())).collect();
    let text = stage.wait(r#"tcptop_folded_attempts_total{label="port"}"#, 2.0);
    assert!(found(&text, r#"tcptop_folded_attempts_total{label="peer"}"#) >= Some(3.0), "{text}");
    let established = |port| format!(r#"tcptop_handshakes_total{{port="{port}",outcome="established"}}"#);
    assert_eq!(found(&text, &established("81")), Some(1.0), "{text}");
    assert!(found(&text, r#"tcptop_handshakes_total{port="other"}"#).is_some(), "{text}");
    for label in ["unit", "container", "namespace", "pod"] {
        let labelled = text.lines().filter(|line| line.starts_with("tcptop_handshakes_total{"));
        assert!(
            labelled.clone().count() > 0
                && labelled.clone().all(|line| line.contains(&format!(",{label}=\""))),
            "{text}"
        );
    }
    assert_eq!(
        found(&text, r#"tcptop_peer_handshakes_total{peer="127.0.0.1",port="81"}"#),
        Some(1.0),
        "{text}"
    );
    let text = stage.wait("tcptop_folded_connections", 4.0);
    // Three sockets, and all that the kernel says of each.
    assert_eq!(text.lines().filter(|line| line.starts_with("tcptop_flow_rto_seconds{")).count(), 3, "{text}");
    let facts: BTreeSet<&str> =
        text.lines().filter_map(|line| line.strip_prefix("# TYPE tcptop_flow_")).collect();
    assert_eq!(facts.len(), 31, "{facts:?}");
    for series in [
        "tcptop_flow_congestion_control_info{algorithm=",
        "tcptop_flow_rtt_seconds{",
        "tcptop_flow_sent_bytes_total{",
    ] {
        assert!(text.contains(series), "{series} in {text}");
    }
    assert!(found(&text, r#"tcptop_listen_backlog_limit{port="81"}"#) > Some(0.0), "{text}");
    assert!(found(&text, r#"tcptop_connections{state="established"}"#) >= Some(8.0), "{text}");
    check(&text);
    drop(held);
}

/// One after another, as fast as they come: each counter of each is as large as before or larger, and no record is missed.
#[test]
fn scrapes_without_end_delay_nothing_and_counters_never_go_back() {
    if !lab::require_root() {
        return;
    }
    let stage = Stage::new(&[]);
    let is_over = AtomicBool::new(false);
    let scrapes = std::thread::scope(|scope| {
        let scraper = scope.spawn(|| {
            let (mut before, mut scrapes) = (BTreeMap::new(), 0);
            while !is_over.load(Ordering::Relaxed) {
                let text = stage.scrape("");
                for line in text.lines().filter(|line| !line.starts_with('#') && line.contains("_total")) {
                    let (series, value) = line.rsplit_once(' ').expect("a value");
                    let value: f64 = value.parse().expect("a number");
                    let last = before.insert(series.to_owned(), value).unwrap_or(0.0);
                    assert!(value >= last, "{series}: {value} after {last}");
                }
                scrapes += 1;
            }
            scrapes
        });
        for _ in 0..20 {
            connect_many(&stage.namespace, stage.server.address(), CONNECTIONS, PATIENCE).unwrap();
        }
        is_over.store(true, Ordering::Relaxed);
        scraper.join().expect("counters only grow")
    });
    assert!(scrapes > 10, "{scrapes}");
    let all = f64::from(u32::try_from(20 * CONNECTIONS).unwrap());
    stage.wait(r#"tcptop_handshakes_total{outcome="established",port="80"}"#, all);
    // What was missed waits for the next second, as these do.
    let text = stage.wait("tcptop_segments_total", all);
    assert_eq!(found(&text, r#"tcptop_missed_total{what="record"}"#), Some(0.0), "{text}");
}

#[test]
fn an_address_in_use_is_said_before_the_run() {
    if !lab::require_root() {
        return;
    }
    let stage = Stage::new(&[]);
    let second = Tcptop::spawn(&stage.namespace, ["lo", "--listen", &stage.metrics.to_string()]).unwrap();
    let output = second.wait(PATIENCE).expect("it ends");
    assert_eq!(output.status.code(), Some(1), "{}", output.stderr);
    assert!(
        output.stderr.contains("cannot listen on 127.0.0.1:") && output.stderr.contains("in use"),
        "{}",
        output.stderr
    );
}
