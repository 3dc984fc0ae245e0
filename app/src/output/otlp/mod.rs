//! Events and metrics for an OpenTelemetry collector: OTLP over HTTP, as protobuf.
//!
//! The main task makes log records and hands them to a thread, which sends them and, at an interval, all metrics. A collector
//! that is slow or away costs records, which are counted; it never delays a live run.

mod client;
mod logs;
mod metrics;

use std::fmt;
use std::io::{self, ErrorKind};
use std::mem;
use std::str::FromStr;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use opentelemetry_proto::tonic::collector::logs::v1::ExportLogsServiceRequest;
use opentelemetry_proto::tonic::collector::metrics::v1::ExportMetricsServiceRequest;
use opentelemetry_proto::tonic::common::v1::{AnyValue, InstrumentationScope, KeyValue, any_value};
use opentelemetry_proto::tonic::logs::v1::{LogRecord, ResourceLogs, ScopeLogs};
use opentelemetry_proto::tonic::metrics::v1::{ResourceMetrics, ScopeMetrics};
use opentelemetry_proto::tonic::resource::v1::Resource;
use prometheus_client::registry::Registry;
use prost::Message;
use tokio::runtime::{self, Runtime};
use tokio::sync::oneshot;
use tokio::time::timeout;

use super::RenderContext;
use super::line_writer::{FAREWELL, WhenFull};
use crate::error::Error;
use client::{Client, Failure};
use tcptop_core::{Engine, Filter, ReaderConfig, ReaderId};

/// The most records in one request.
const BATCH: usize = 512;
/// The longest time that a record waits for others.
const DELAY: Duration = Duration::from_secs(1);
/// The most requests that wait for the collector. Records beyond them are dropped and counted.
const WAITING: usize = 64;
/// How long to wait before a request is sent again that the collector may accept later.
const PAUSES: [Duration; 4] =
    [Duration::from_millis(500), Duration::from_secs(1), Duration::from_secs(2), Duration::from_secs(4)];

/// Where a collector receives, and how often metrics are sent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plan {
    /// The collector.
    pub endpoint: Endpoint,
    /// How often metrics are sent.
    pub interval: Duration,
}

/// A collector, as `http://HOST:PORT` and perhaps a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Endpoint {
    authority: String,
    path: String,
}

impl FromStr for Endpoint {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let wrong = || "must be a URL such as http://127.0.0.1:4318".to_owned();
        let url: hyper::Uri = text.parse().map_err(|_| wrong())?;
        if url.scheme_str() != Some("http") || url.query().is_some() {
            return Err(wrong());
        }
        let authority =
            url.authority().filter(|authority| !authority.as_str().contains('@')).ok_or_else(wrong)?;
        let port = authority.port_u16().unwrap_or(4_318);
        let path = url.path().trim_end_matches('/').to_owned();
        Ok(Self { authority: format!("{}:{port}", authority.host()), path })
    }
}

impl fmt::Display for Endpoint {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "http://{}{}", self.authority, self.path)
    }
}

/// The main task's side.
#[derive(Debug)]
pub struct Otlp {
    endpoint: Endpoint,
    reader: ReaderId,
    batches: SyncSender<Vec<LogRecord>>,
    batch: Vec<LogRecord>,
    /// When the first record of the batch was made.
    began: Instant,
    when_full: WhenFull,
    state: Arc<State>,
    done: oneshot::Receiver<()>,
}

/// What the thread tells.
#[derive(Debug, Default)]
struct State {
    lost: AtomicU64,
    trouble: Mutex<Option<String>>,
}

impl Otlp {
    /// Reads the engine from now on and sends what passes the filter, and what is registered as metrics.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn start(
        plan: &Plan,
        engine: &mut Engine,
        filter: &Filter,
        registry: Arc<Registry>,
        context: &RenderContext,
        when_full: WhenFull,
    ) -> Result<Self, Error> {
        let system = |source| Error::System { what: "start the OTLP thread", source };
        let (batches, waiting) = sync_channel(WAITING);
        let (end, done) = oneshot::channel();
        let state = Arc::<State>::default();
        let mut exporter = Exporter {
            client: Client::new(plan.endpoint.clone()),
            runtime: runtime::Builder::new_current_thread().enable_all().build().map_err(system)?,
            registry,
            resource: resource(context),
            started_ns: now_ns(),
            state: Arc::clone(&state),
            is_in_trouble: false,
        };
        let interval = plan.interval;
        thread::Builder::new()
            .name("otlp".to_owned())
            .spawn(move || {
                exporter.run(&waiting, interval);
                // Nobody waits when the process is about to end.
                let _ = end.send(());
            })
            .map_err(system)?;
        let reader = engine.add_reader(ReaderConfig { events: Some(filter.clone()), log: false });
        let (endpoint, batch, began) = (plan.endpoint.clone(), Vec::new(), Instant::now());
        Ok(Self { endpoint, reader, batches, batch, began, when_full, state, done })
    }

    /// Takes the events since the last time, and hands on what is due.
    pub fn deliver(&mut self, engine: &mut Engine, context: &RenderContext) {
        for event in engine.poll_events(self.reader) {
            if self.batch.is_empty() {
                self.began = Instant::now();
            }
            self.batch.push(logs::record(event, context));
            if self.batch.len() >= BATCH {
                send(&self.batches, mem::take(&mut self.batch), self.when_full, &self.state);
            }
        }
        if !self.batch.is_empty() && self.began.elapsed() >= DELAY {
            send(&self.batches, mem::take(&mut self.batch), self.when_full, &self.state);
        }
    }

    /// Records that no collector has accepted.
    #[must_use]
    pub fn lost(&self) -> u64 {
        self.state.lost.load(Ordering::Relaxed)
    }

    /// Why records are lost, when that begins.
    #[must_use]
    pub fn trouble(&self) -> Option<String> {
        let trouble = self.state.trouble.lock().unwrap_or_else(PoisonError::into_inner).take()?;
        Some(format!("{}: {trouble}; events that it does not accept are counted as missed", self.endpoint))
    }

    /// Sends the last records and metrics. In a live run that takes [`FAREWELL`] at most.
    ///
    /// # Errors
    /// When something was not accepted.
    pub async fn finish(self) -> Result<(), Error> {
        let Self { endpoint, batches, batch, when_full, state, done, .. } = self;
        if !batch.is_empty() {
            send(&batches, batch, when_full, &state);
        }
        // Without a sender the thread ends.
        drop(batches);
        let is_done = match when_full {
            WhenFull::Drop => timeout(FAREWELL, done).await.is_ok(),
            WhenFull::Wait => done.await.is_ok(),
        };
        let failed = |source| Err(Error::Output { target: endpoint.to_string(), source });
        match state.lost.load(Ordering::Relaxed) {
            _ if !is_done => {
                failed(io::Error::new(ErrorKind::TimedOut, "the last events were not accepted in time"))
            }
            0 => Ok(()),
            lost => failed(io::Error::other(format!("{lost} events were not accepted"))),
        }
    }
}

fn send(batches: &SyncSender<Vec<LogRecord>>, batch: Vec<LogRecord>, when_full: WhenFull, state: &State) {
    let refused = match when_full {
        // The thread gives up on what is not accepted, so this ends.
        WhenFull::Wait => batches.send(batch).err().map(|error| error.0),
        WhenFull::Drop => batches.try_send(batch).err().map(|error| match error {
            TrySendError::Full(batch) | TrySendError::Disconnected(batch) => batch,
        }),
    };
    if let Some(batch) = refused {
        state.lose(batch.len(), "it does not keep up".to_owned());
    }
}

impl State {
    fn lose(&self, records: usize, why: String) {
        self.lost.fetch_add(records as u64, Ordering::Relaxed);
        self.trouble.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(why);
    }
}

/// The thread's side.
struct Exporter {
    client: Client,
    runtime: Runtime,
    registry: Arc<Registry>,
    resource: Resource,
    started_ns: u64,
    state: Arc<State>,
    /// What is wrong was said already.
    is_in_trouble: bool,
}

impl Exporter {
    fn run(&mut self, batches: &Receiver<Vec<LogRecord>>, interval: Duration) {
        let mut next = Instant::now() + interval;
        loop {
            let received = batches.recv_timeout(next.saturating_duration_since(Instant::now()));
            let is_over = matches!(received, Err(RecvTimeoutError::Disconnected));
            if let Ok(batch) = received {
                self.logs(batch);
            }
            if is_over || Instant::now() >= next {
                self.metrics();
                next = Instant::now() + interval;
            }
            if is_over {
                return;
            }
        }
    }

    fn logs(&mut self, log_records: Vec<LogRecord>) {
        let records = log_records.len();
        let scope_logs = ScopeLogs { scope: Some(scope()), log_records, ..ScopeLogs::default() };
        let resource = Some(self.resource.clone());
        let resource_logs =
            ResourceLogs { resource, scope_logs: vec![scope_logs], ..ResourceLogs::default() };
        let request = ExportLogsServiceRequest { resource_logs: vec![resource_logs] };
        self.post("/v1/logs", &request.encode_to_vec(), records);
    }

    /// Metrics are sums since the start: what one request does not bring, the next one does.
    fn metrics(&mut self) {
        let metrics = metrics::all(&self.registry, self.started_ns, now_ns());
        let scope_metrics = ScopeMetrics { scope: Some(scope()), metrics, ..ScopeMetrics::default() };
        let resource = Some(self.resource.clone());
        let resource_metrics =
            ResourceMetrics { resource, scope_metrics: vec![scope_metrics], ..ResourceMetrics::default() };
        let request = ExportMetricsServiceRequest { resource_metrics: vec![resource_metrics] };
        self.post("/v1/metrics", &request.encode_to_vec(), 0);
    }

    /// Sends a request until it is accepted or will not be.
    fn post(&mut self, path: &str, body: &[u8], records: usize) {
        let mut pauses = PAUSES.iter();
        let why = loop {
            match self.runtime.block_on(self.client.post(path, body)) {
                Ok(()) => {
                    self.is_in_trouble = false;
                    return;
                }
                Err(Failure::Never(why)) => break why,
                Err(Failure::Now(why)) => match pauses.next() {
                    Some(pause) => thread::sleep(*pause),
                    None => break why,
                },
            }
        };
        self.state.lost.fetch_add(records as u64, Ordering::Relaxed);
        if !mem::replace(&mut self.is_in_trouble, true) {
            self.state.lose(0, why);
        }
    }
}

/// What is told of this run, by the names of the semantic conventions.
fn resource(context: &RenderContext) -> Resource {
    let mut attributes = vec![
        text("service.name", "tcptop"),
        text("service.version", env!("CARGO_PKG_VERSION")),
        text("service.instance.id", &context.run),
    ];
    attributes.extend(context.host.as_deref().map(|host| text("host.name", host)));
    Resource { attributes, ..Resource::default() }
}

fn scope() -> InstrumentationScope {
    let (name, version) = ("tcptop".to_owned(), env!("CARGO_PKG_VERSION").to_owned());
    InstrumentationScope { name, version, ..InstrumentationScope::default() }
}

fn text(key: &str, value: &str) -> KeyValue {
    pair(key, any_value::Value::StringValue(value.to_owned()))
}

fn pair(key: &str, value: any_value::Value) -> KeyValue {
    KeyValue { key: key.to_owned(), value: Some(AnyValue { value: Some(value) }), ..KeyValue::default() }
}

fn now_ns() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    u64::try_from(since.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_collector_is_a_plain_http_url() {
        let shown = |text: &str| text.parse::<Endpoint>().map(|endpoint| endpoint.to_string());
        assert_eq!(shown("http://127.0.0.1:4318").as_deref(), Ok("http://127.0.0.1:4318"));
        assert_eq!(shown("http://collector/otlp/").as_deref(), Ok("http://collector:4318/otlp"));
        assert_eq!(shown("http://[::1]:80").as_deref(), Ok("http://[::1]:80"));
        for wrong in ["", "collector:4318", "https://x", "http://", "http://user@x", "http://x/?y"] {
            assert!(shown(wrong).is_err(), "{wrong}");
        }
    }
}
