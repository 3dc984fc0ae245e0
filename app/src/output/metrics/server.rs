//! Serves the metrics over HTTP, in a thread of its own: no scrape delays a record.

use std::convert::Infallible;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use http_body_util::Full;
use hyper::body::{Bytes, Incoming};
use hyper::header::{ACCEPT, ALLOW, CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Method, Request, Response, StatusCode};
use hyper_util::rt::{TokioIo, TokioTimer};
use prometheus_client::encoding::{prometheus_text, text};
use prometheus_client::registry::Registry;
use tokio::net::TcpStream;
use tokio::runtime;
use tokio::sync::Semaphore;
use tokio::time::{sleep, timeout};

use crate::error::Error;

/// The most connections at the same time; further ones wait.
const CONNECTIONS: usize = 16;
/// A request must be complete within this time.
const REQUEST: Duration = Duration::from_secs(5);
/// A connection is closed after this time, whatever it does: whoever scrapes opens another.
const CONNECTION: Duration = Duration::from_secs(60);
/// The largest request head, in bytes: the least that hyper allows.
const HEAD: usize = 8_192;
/// After an error of accept, such as too many open files.
const PAUSE: Duration = Duration::from_millis(100);

const OPEN_METRICS: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// A port that is listened on, but not served yet.
#[derive(Debug)]
pub struct Bound(TcpListener);

/// Listens. Before the run starts: a port that is in use is to be known then.
///
/// # Errors
/// When the address cannot be listened on.
pub fn bind(address: SocketAddr) -> Result<Bound, Error> {
    let listen = || {
        let listener = TcpListener::bind(address)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    listen().map(Bound).map_err(|source| Error::Listen { address, source })
}

impl Bound {
    /// The address, with the port that the system chose where port 0 was asked for.
    #[must_use]
    pub fn address(&self) -> Option<SocketAddr> {
        self.0.local_addr().ok()
    }

    /// Serves until the process ends.
    ///
    /// # Errors
    /// When the system gives no thread.
    pub fn serve(self, registry: Arc<Registry>) -> Result<(), Error> {
        let runtime = runtime::Builder::new_current_thread().enable_all().build();
        let runtime =
            runtime.map_err(|source| Error::System { what: "start the event loop of metrics", source })?;
        let serve = move || runtime.block_on(accept(self.0, registry));
        let thread = thread::Builder::new().name("metrics".to_owned()).spawn(serve);
        thread.map(drop).map_err(|source| Error::System { what: "start the metrics thread", source })
    }
}

async fn accept(listener: TcpListener, registry: Arc<Registry>) {
    // The listener does not block, and the runtime lives: nothing else can fail here.
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let room = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok(permit) = Arc::clone(&room).acquire_owned().await else { return };
        match listener.accept().await {
            Ok((stream, _)) => {
                let registry = Arc::clone(&registry);
                tokio::spawn(async move {
                    serve(stream, registry).await;
                    drop(permit);
                });
            }
            Err(_) => sleep(PAUSE).await,
        }
    }
}

async fn serve(stream: TcpStream, registry: Arc<Registry>) {
    let answer = service_fn(move |request| {
        let response = respond(&request, &registry);
        async move { Ok::<_, Infallible>(response) }
    });
    let mut http = http1::Builder::new();
    http.timer(TokioTimer::new()).header_read_timeout(REQUEST).max_buf_size(HEAD);
    // Whoever is too slow or sends nonsense is disconnected; nobody else is to know.
    let _ = timeout(CONNECTION, http.serve_connection(TokioIo::new(stream), answer)).await;
}

fn respond(request: &Request<Incoming>, registry: &Registry) -> Response<Full<Bytes>> {
    if request.method() != Method::GET && request.method() != Method::HEAD {
        let mut response = plain(StatusCode::METHOD_NOT_ALLOWED, "GET only\n");
        response.headers_mut().insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
        return response;
    }
    match request.uri().path() {
        "/metrics" => metrics(wants_open_metrics(request), registry),
        "/healthz" => plain(StatusCode::OK, "ok\n"),
        _ => plain(StatusCode::NOT_FOUND, "try /metrics or /healthz\n"),
    }
}

/// Whether the client names OpenMetrics as something that it accepts. Prometheus does, and names it first.
fn wants_open_metrics(request: &Request<Incoming>) -> bool {
    let accepted = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
    accepted.flat_map(|value| value.split(',')).any(|part| {
        part.split(';')
            .next()
            .is_some_and(|kind| kind.trim().eq_ignore_ascii_case("application/openmetrics-text"))
    })
}

fn metrics(open_metrics: bool, registry: &Registry) -> Response<Full<Bytes>> {
    let mut body = String::new();
    let (encoded, kind) = if open_metrics {
        (text::encode(&mut body, registry), OPEN_METRICS)
    } else {
        (prometheus_text::encode(&mut body, registry), prometheus_text::CONTENT_TYPE)
    };
    if encoded.is_err() {
        return plain(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be encoded\n");
    }
    response(StatusCode::OK, kind, body.into())
}

fn plain(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    response(status, "text/plain; charset=utf-8", text.into())
}

fn response(status: StatusCode, kind: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static(kind));
    response
}
