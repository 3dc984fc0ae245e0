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
use prometheus_client::encoding::{prometheus_protobuf, prometheus_text, text};
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

const PROTOBUF: &str =
    "application/vnd.google.protobuf; proto=io.prometheus.client.MetricFamily; encoding=delimited";
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
        "/metrics" => metrics(Format::accepted(request), registry),
        "/healthz" => plain(StatusCode::OK, "ok\n"),
        _ => plain(StatusCode::NOT_FOUND, "try /metrics or /healthz\n"),
    }
}

/// How metrics are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Format {
    /// Prometheus text 0.0.4, for everybody.
    Text,
    OpenMetrics,
    /// With native histograms.
    Protobuf,
}

impl Format {
    /// What the client likes best of what there is; of equals the one that says most.
    fn accepted(request: &Request<Incoming>) -> Self {
        let accepted = request.headers().get_all(ACCEPT).iter().filter_map(|value| value.to_str().ok());
        Self::best(accepted.flat_map(|value| value.split(',')))
    }

    fn best<'a>(ranges: impl Iterator<Item = &'a str>) -> Self {
        let mut best = (0, Self::Text);
        for range in ranges {
            let Some((quality, format)) = Self::of(range) else { continue };
            if quality > best.0 || quality == best.0 && format as u8 > best.1 as u8 {
                best = (quality, format);
            }
        }
        best.1
    }

    /// One range of `Accept` (RFC 9110): its quality in thousandths, and the format that it names.
    fn of(range: &str) -> Option<(u32, Self)> {
        let mut parts = range.split(';').map(str::trim);
        let kind = parts.next()?;
        let mut quality = 1_000;
        let (mut proto, mut encoding) = (None, None);
        for (name, value) in parts.filter_map(|part| part.split_once('=')) {
            match name.trim().to_ascii_lowercase().as_str() {
                "q" => quality = thousandths(value.trim())?,
                "proto" => proto = Some(value.trim()),
                "encoding" => encoding = Some(value.trim()),
                _ => {}
            }
        }
        let is_protobuf = proto == Some("io.prometheus.client.MetricFamily") && encoding == Some("delimited");
        let format = match kind.to_ascii_lowercase().as_str() {
            "application/vnd.google.protobuf" if is_protobuf => Self::Protobuf,
            "application/openmetrics-text" => Self::OpenMetrics,
            "text/plain" | "text/*" | "*/*" => Self::Text,
            _ => return None,
        };
        (quality > 0).then_some((quality, format))
    }
}

/// `0.75` as 750. At most three digits follow the point.
fn thousandths(quality: &str) -> Option<u32> {
    let (whole, parts) = quality.split_once('.').unwrap_or((quality, ""));
    let is_number =
        matches!(whole, "0" | "1") && parts.len() <= 3 && parts.bytes().all(|digit| digit.is_ascii_digit());
    let thousandths = format!("{whole}{parts:0<3}").parse::<u32>().ok().filter(|_| is_number);
    thousandths.filter(|thousandths| *thousandths <= 1_000)
}

fn metrics(format: Format, registry: &Registry) -> Response<Full<Bytes>> {
    let mut text = String::new();
    let (body, kind) = match format {
        Format::Protobuf => (prometheus_protobuf::encode_to_vec(registry).ok(), PROTOBUF),
        Format::OpenMetrics => {
            (text::encode(&mut text, registry).ok().map(|()| text.into_bytes()), OPEN_METRICS)
        }
        Format::Text => {
            let encoded = prometheus_text::encode(&mut text, registry).ok();
            (encoded.map(|()| text.into_bytes()), prometheus_text::CONTENT_TYPE)
        }
    };
    match body {
        Some(body) => response(StatusCode::OK, kind, body.into()),
        None => plain(StatusCode::INTERNAL_SERVER_ERROR, "metrics cannot be encoded\n"),
    }
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_client_gets_what_it_likes_best() {
        let best = |accept: &str| Format::best(accept.split(','));
        let protobuf =
            "application/vnd.google.protobuf;proto=io.prometheus.client.MetricFamily;encoding=delimited";
        // Prometheus 2.42 with and without native histograms, 2.55, a browser, curl.
        let of_242 = "application/openmetrics-text;version=1.0.0,application/openmetrics-text;version=0.0.1;q=0.75,\
            text/plain;version=0.0.4;q=0.5,*/*;q=0.1";
        assert_eq!(best(of_242), Format::OpenMetrics);
        assert_eq!(best(&format!("{protobuf},{of_242}")), Format::Protobuf);
        assert_eq!(
            best(&format!("{protobuf};q=0.6,application/openmetrics-text;q=0.7")),
            Format::OpenMetrics
        );
        assert_eq!(best("text/html,application/xhtml+xml,*/*;q=0.8"), Format::Text);
        assert_eq!(best("*/*"), Format::Text);
        assert_eq!(best(""), Format::Text);
        assert_eq!(best("application/vnd.google.protobuf"), Format::Text, "of another message");
        assert_eq!(best(&format!("{protobuf};q=0")), Format::Text);
        for nonsense in ["q=2", "q=nan", "q=0.1234", "q=", "q=-1"] {
            assert_eq!(best(&format!("application/openmetrics-text;{nonsense}")), Format::Text, "{nonsense}");
        }
    }
}
