//! Sends requests to a collector over one connection, which is made again when it ends.

use std::time::Duration;

use http_body_util::{BodyExt, Full};
use hyper::body::Bytes;
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{CONTENT_TYPE, HOST};
use hyper::{Request, StatusCode};
use hyper_util::rt::TokioIo;
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::Endpoint;

/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(5);

/// Why a request was not accepted.
#[derive(Debug)]
pub(super) enum Failure {
    /// It may be later.
    Now(String),
    /// It will not be.
    Never(String),
}

/// A connection to a collector, if there is one.
#[derive(Debug)]
pub(super) struct Client {
    endpoint: Endpoint,
    connection: Option<SendRequest<Full<Bytes>>>,
}

impl Client {
    pub(super) const fn new(endpoint: Endpoint) -> Self {
        Self { endpoint, connection: None }
    }

    /// Sends a request and waits for the answer.
    pub(super) async fn post(&mut self, path: &str, body: &[u8]) -> Result<(), Failure> {
        let answered = timeout(PATIENCE, self.ask(path, body)).await;
        let status = match answered {
            Ok(Ok(status)) => status,
            failed => {
                self.connection = None;
                let why = failed.map_or_else(
                    |_| "it does not answer".to_owned(),
                    |failed| match failed {
                        Ok(status) => status.to_string(),
                        Err(error) => error,
                    },
                );
                return Err(Failure::Now(why));
            }
        };
        match status {
            status if status.is_success() => Ok(()),
            // Those that the protocol says to try again.
            StatusCode::TOO_MANY_REQUESTS
            | StatusCode::BAD_GATEWAY
            | StatusCode::SERVICE_UNAVAILABLE
            | StatusCode::GATEWAY_TIMEOUT => Err(Failure::Now(format!("it answers {status}"))),
            status => Err(Failure::Never(format!("it answers {status}"))),
        }
    }

    async fn ask(&mut self, path: &str, body: &[u8]) -> Result<StatusCode, String> {
        if self.connection.as_ref().is_none_or(SendRequest::is_closed) {
            self.connection = Some(self.connect().await?);
        }
        let Some(connection) = &mut self.connection else { return Err("no connection".to_owned()) };
        let request = Request::post(format!("{}{path}", self.endpoint.path))
            .header(HOST, &self.endpoint.authority)
            .header(CONTENT_TYPE, "application/x-protobuf")
            .body(Full::new(Bytes::copy_from_slice(body)))
            .map_err(|error| error.to_string())?;
        connection.ready().await.map_err(|error| error.to_string())?;
        let response = connection.send_request(request).await.map_err(|error| error.to_string())?;
        let status = response.status();
        // What it says is not needed; without it the connection cannot be used again.
        response.into_body().collect().await.map_err(|error| error.to_string())?;
        Ok(status)
    }

    async fn connect(&self) -> Result<SendRequest<Full<Bytes>>, String> {
        let stream = TcpStream::connect(&self.endpoint.authority).await.map_err(|error| error.to_string())?;
        let (sender, connection) =
            http1::handshake(TokioIo::new(stream)).await.map_err(|error| error.to_string())?;
        // Its failures are those of the requests.
        tokio::spawn(async move { connection.await.ok() });
        Ok(sender)
    }
}
