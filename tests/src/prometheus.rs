//! A real Prometheus that scrapes tcptop inside a namespace.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};
use std::thread::sleep;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use nix::sys::signal::Signal;
use serde_json::Value;

use crate::namespace::Namespace;
use crate::tcptop::end_with_parent;

/// Where it listens, inside its namespace.
const ADDRESS: ([u8; 4], u16) = ([127, 0, 0, 1], 9_090);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How often a query is asked again.
const PAUSE: Duration = Duration::from_millis(250);

/// Whether Debian's Prometheus is here; says so if not.
///
/// # Panics
/// When it is not, in CI.
#[must_use]
pub fn is_installed() -> bool {
    match Command::new("prometheus").arg("--version").stdout(Stdio::null()).stderr(Stdio::null()).status() {
        Ok(status) if status.success() => true,
        _ if std::env::var_os("CI").is_none() => {
            println!("skipped: no prometheus here");
            false
        }
        failed => panic!("prometheus, which .ci/run installs: {failed:?}"),
    }
}

/// A Prometheus on the loopback of a namespace. It ends when this is dropped, and its data is gone.
#[derive(Debug)]
pub struct Prometheus {
    child: Child,
    namespace: Namespace,
    folder: PathBuf,
}

/// One series of an answer.
#[derive(Clone, Debug, PartialEq)]
pub struct Sample {
    /// Its labels, as an object.
    pub labels: Value,
    /// Times in seconds since 1970, and values. Of an instant query only one.
    pub points: Vec<(f64, f64)>,
}

impl Sample {
    /// A label; empty if there is none.
    #[must_use]
    pub fn label(&self, name: &str) -> &str {
        self.labels[name].as_str().unwrap_or_default()
    }

    /// The latest value.
    #[must_use]
    pub fn value(&self) -> f64 {
        self.points.last().map_or(f64::NAN, |(_, value)| *value)
    }
}

impl Prometheus {
    /// Starts it with this configuration, with rules in a file `alerts.yml` beside it, and with features such as
    /// `native-histograms`. Returns when it is ready.
    ///
    /// # Errors
    /// When it cannot be started, or ends; with what it said.
    pub fn start(namespace: &Namespace, configuration: &str, rules: &str, features: &[&str]) -> Result<Self> {
        static NUMBER: AtomicU64 = AtomicU64::new(0);
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let folder = std::env::temp_dir().join(format!("tcptop-prometheus-{}-{number}", std::process::id()));
        fs::create_dir(&folder).context("cannot make a folder for prometheus")?;
        fs::write(folder.join("prometheus.yml"), configuration)?;
        fs::write(folder.join("alerts.yml"), rules)?;
        let log = fs::File::create(folder.join("log"))?;
        let mut command = Command::new("prometheus");
        command.arg(format!("--config.file={}", folder.join("prometheus.yml").display()));
        command.arg(format!("--storage.tsdb.path={}", folder.join("data").display()));
        command.arg(format!("--web.listen-address={}", SocketAddr::from(ADDRESS)));
        if !features.is_empty() {
            command.arg(format!("--enable-feature={}", features.join(",")));
        }
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
        namespace.enter_command(&mut command);
        end_with_parent(&mut command, Signal::SIGKILL);
        let child = command.spawn().context("cannot start prometheus")?;
        let mut prometheus = Self { child, namespace: namespace.clone(), folder };
        prometheus.wait_ready()?;
        Ok(prometheus)
    }

    fn wait_ready(&mut self) -> Result<()> {
        let deadline = Instant::now() + PATIENCE;
        while !self.get("/-/ready").is_ok_and(|answer| answer.starts_with("HTTP/1.0 200")) {
            if Instant::now() > deadline || self.child.try_wait()?.is_some() {
                let said = fs::read_to_string(self.folder.join("log")).unwrap_or_default();
                bail!("prometheus is not ready: {said}");
            }
            sleep(PAUSE);
        }
        Ok(())
    }

    /// What an expression is now.
    ///
    /// # Errors
    /// When it is none, or Prometheus does not answer.
    pub fn query(&self, expression: &str) -> Result<Vec<Sample>> {
        let answer = self.api(&format!("/api/v1/query?query={}", escaped(expression)))?;
        Ok(samples(&answer["data"]["result"], "value"))
    }

    /// What an expression was between two times (seconds since 1970), each `step_s`.
    ///
    /// # Errors
    /// As [`query`](Self::query).
    pub fn query_range(&self, expression: &str, from_s: f64, to_s: f64, step_s: f64) -> Result<Vec<Sample>> {
        let times = format!("start={from_s:.3}&end={to_s:.3}&step={step_s}");
        let answer = self.api(&format!("/api/v1/query_range?query={}&{times}", escaped(expression)))?;
        Ok(samples(&answer["data"]["result"], "values"))
    }

    /// Asks again and again until an expression is as wanted.
    ///
    /// # Errors
    /// When it is not within `patience`; with what it is then.
    pub fn wait(
        &self,
        expression: &str,
        patience: Duration,
        wanted: impl Fn(&[Sample]) -> bool,
    ) -> Result<Vec<Sample>> {
        let deadline = Instant::now() + patience;
        loop {
            let samples = self.query(expression)?;
            if wanted(&samples) {
                return Ok(samples);
            }
            if Instant::now() > deadline {
                bail!("{expression} is not as wanted after {patience:?}: {samples:?}");
            }
            sleep(PAUSE);
        }
    }

    fn api(&self, path: &str) -> Result<Value> {
        let answer = self.get(path)?;
        let (head, body) = answer.split_once("\r\n\r\n").context("an answer without a body")?;
        let value: Value = serde_json::from_str(body).with_context(|| format!("{head}\n{body}"))?;
        if value["status"] != "success" {
            bail!("prometheus says: {body}");
        }
        Ok(value)
    }

    /// The answer to a request, head and body. HTTP/1.0, so that it is in one piece.
    fn get(&self, path: &str) -> Result<String> {
        self.namespace.run(|| {
            let mut stream = TcpStream::connect(SocketAddr::from(ADDRESS))?;
            stream.set_read_timeout(Some(PATIENCE))?;
            stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: prometheus\r\n\r\n").as_bytes())?;
            let mut answer = String::new();
            stream.read_to_string(&mut answer)?;
            Ok(answer)
        })
    }
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        // Both fail only for a process that was reaped.
        let _ = self.child.kill();
        let _ = self.child.wait();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

/// A file of `packaging/`.
///
/// # Panics
/// When there is none.
#[must_use]
pub fn packaged(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../packaging").join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A configuration that scrapes one address each second.
#[must_use]
pub fn scraping(target: SocketAddr) -> String {
    format!(
        "global: {{scrape_interval: 1s, scrape_timeout: 1s, evaluation_interval: 1s}}\n\
         rule_files: [alerts.yml]\n\
         scrape_configs: [{{job_name: tcptop, static_configs: [{{targets: ['{target}']}}]}}]\n"
    )
}

fn samples(result: &Value, points: &str) -> Vec<Sample> {
    let point = |point: &Value| Some((point[0].as_f64()?, point[1].as_str()?.parse().ok()?));
    let sample = |sample: &Value| {
        let of = &sample[points];
        let all: Vec<&Value> = if points == "value" { vec![of] } else { of.as_array()?.iter().collect() };
        Some(Sample { labels: sample["metric"].clone(), points: all.into_iter().filter_map(point).collect() })
    };
    result.as_array().into_iter().flatten().filter_map(sample).collect()
}

/// For a URL (RFC 3986).
fn escaped(text: &str) -> String {
    text.bytes().fold(String::new(), |url, byte| match byte {
        b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'-' | b'.' | b'_' | b'~' => {
            url + &char::from(byte).to_string()
        }
        _ => url + &format!("%{byte:02X}"),
    })
}
