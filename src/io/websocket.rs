//! A WebSocket to the service.
#![expect(clippy::disallowed_methods, reason = "the shell waits")]

use std::future::poll_fn;
use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::Duration;

use bytes::Bytes;
use futures_util::{Sink, SinkExt, Stream as _, StreamExt};
use http_body_util::Full;
use hyper::header::{CONNECTION, HOST, HeaderName, HeaderValue, RETRY_AFTER, UPGRADE};
use hyper::{HeaderMap, Request};
use tokio::time::timeout;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::handshake::client::generate_key;
use tokio_tungstenite::tungstenite::handshake::derive_accept_key;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Message, Utf8Bytes};

use super::http::{Reply, exchange};
use super::transport::Stream;
use crate::asr::endpoint::Endpoint;
use crate::asr::failure::{Failure, Step};
use crate::asr::message::ServiceError;

/// An open WebSocket.
#[derive(Debug)]
pub struct WebSocket {
    stream: WebSocketStream<Stream>,
    unflushed: bool,
}

/// What happens on a WebSocket.
#[derive(Debug)]
pub enum Event {
    /// A text message.
    Text(Utf8Bytes),
    /// The peer gave a sign of life; pings are answered before this is told.
    Heard,
    /// The peer's side has taken everything that was queued.
    Flushed,
    /// The connection is over.
    Ended(Failure),
}

impl WebSocket {
    /// Upgrades a connection.
    ///
    /// # Errors
    /// [`Failure::Refused`] with what the service said, or why there was no answer.
    pub async fn upgrade(
        stream: Stream,
        to: &Endpoint,
        headers: HeaderMap,
        limit: Duration,
    ) -> Result<Self, Failure> {
        let unanswered = |detail: String| Failure::Unreachable {
            address: format!("{}:{}", to.host(), to.port()),
            step: Step::Request,
            detail,
        };
        let key = generate_key();
        let request = request(to, &key, headers).map_err(|error| unanswered(error.to_string()))?;
        let reply = match timeout(limit, exchange(stream, request)).await {
            Ok(Ok(reply)) => reply,
            Ok(Err(error)) => return Err(unanswered(chain(&error))),
            Err(_) => return Err(unanswered("timed out".into())),
        };
        match reply {
            Reply::Switched {
                headers,
                stream,
                ahead,
            } => {
                let accepted = headers
                    .get("sec-websocket-accept")
                    .map(HeaderValue::as_bytes);
                if accepted != Some(derive_accept_key(key.as_bytes()).as_bytes()) {
                    return Err(unanswered("the answer is not to our upgrade".into()));
                }
                Ok(Self::on(stream, ahead.into()).await)
            }
            Reply::Answered {
                status,
                headers,
                body,
            } => Err(Failure::Refused {
                status: status.as_u16(),
                error: refusal(&body),
                retry_after: retry_after(&headers),
            }),
        }
    }

    async fn on(stream: Stream, ahead: Vec<u8>) -> Self {
        let config = WebSocketConfig::default()
            .read_buffer_size(READ_BUFFER)
            .write_buffer_size(WRITE_BUFFER)
            .max_write_buffer_size(MAX_WRITE_BUFFER)
            .max_message_size(Some(MAX_MESSAGE))
            .max_frame_size(Some(MAX_MESSAGE));
        let config = Some(config);
        Self {
            stream: WebSocketStream::from_partially_read(stream, ahead, Role::Client, config).await,
            unflushed: false,
        }
    }

    /// Queues a message; [`next`](Self::next) writes it.
    ///
    /// # Errors
    /// When the connection is over, or more is queued than it may hold.
    pub fn queue(&mut self, message: Message) -> Result<(), Failure> {
        self.unflushed = true;
        let queued = Pin::new(&mut self.stream).start_send(message);
        queued.map_err(|error| Failure::Broken(error.to_string()))
    }

    /// Writes what is queued, reads, answers pings, and tells the next thing that happens. It may
    /// be dropped while it waits: nothing is lost.
    pub async fn next(&mut self) -> Event {
        poll_fn(|context| self.poll_next(context)).await
    }

    /// Reads before it writes: what the peer said last counts, even when it takes no more.
    fn poll_next(&mut self, context: &mut Context<'_>) -> Poll<Event> {
        if let Poll::Ready(read) = Pin::new(&mut self.stream).poll_next(context) {
            return Poll::Ready(match read {
                Some(Ok(message)) => event(message),
                Some(Err(error)) => Event::Ended(Failure::Broken(error.to_string())),
                None => Event::Ended(closed(None)),
            });
        }
        if self.unflushed
            && let Poll::Ready(flushed) = Pin::new(&mut self.stream).poll_flush(context)
        {
            self.unflushed = false;
            return Poll::Ready(match flushed {
                Ok(()) => Event::Flushed,
                Err(error) => Event::Ended(Failure::Broken(error.to_string())),
            });
        }
        Poll::Pending
    }

    /// Closes in agreement with the peer, within `limit`.
    pub async fn close(mut self, limit: Duration) {
        let frame = CloseFrame {
            code: CloseCode::Normal,
            reason: Utf8Bytes::default(),
        };
        let closing = async {
            if self.stream.send(Message::Close(Some(frame))).await.is_ok() {
                while let Some(Ok(_)) = self.stream.next().await {}
            }
        };
        if timeout(limit, closing).await.is_err() {
            tracing::debug!("the peer did not answer the close");
        }
    }
}

fn event(message: Message) -> Event {
    match message {
        Message::Text(text) => Event::Text(text),
        Message::Close(frame) => Event::Ended(closed(frame)),
        Message::Ping(_) | Message::Pong(_) | Message::Binary(_) | Message::Frame(_) => {
            Event::Heard
        }
    }
}

fn closed(frame: Option<CloseFrame>) -> Failure {
    let code = frame.as_ref().map(|frame| frame.code.into());
    let reason = frame.map(|frame| frame.reason.to_string());
    Failure::Closed {
        code,
        reason: reason.unwrap_or_default(),
    }
}

fn request(
    to: &Endpoint,
    key: &str,
    mut headers: HeaderMap,
) -> Result<Request<Full<Bytes>>, hyper::http::Error> {
    let mut request = Request::get(to.path())
        .header(HOST, to.authority())
        .header(CONNECTION, "Upgrade")
        .header(UPGRADE, "websocket")
        .header("sec-websocket-version", "13")
        .header("sec-websocket-key", key)
        .body(Full::default())?;
    // Exactly one `Host` may reach the gateway; two are answered with 401.
    headers.remove(HOST);
    request.headers_mut().extend(headers);
    Ok(request)
}

/// The body of a refusal: the gateway's or the service's JSON, or the start of whatever it is.
fn refusal(body: &[u8]) -> ServiceError {
    serde_json::from_slice(body).unwrap_or_else(|_| ServiceError {
        error_msg: String::from_utf8_lossy(body).chars().take(200).collect(),
        ..ServiceError::default()
    })
}

/// `Retry-After` in seconds (RFC 9110 §10.2.3); its date form is passed over.
fn retry_after(headers: &HeaderMap) -> Option<Duration> {
    let seconds = headers
        .get(RETRY_AFTER)?
        .to_str()
        .ok()?
        .trim()
        .parse()
        .ok()?;
    Some(Duration::from_secs(seconds))
}

/// An error and its causes on one line.
fn chain(error: &dyn std::error::Error) -> String {
    let causes = std::iter::successors(error.source(), |cause| cause.source());
    causes.fold(error.to_string(), |text, cause| format!("{text}: {cause}"))
}

/// Answers are short.
const READ_BUFFER: usize = 4 << 10;

/// Holds one batch of a session: messages are written when the batch is flushed.
const WRITE_BUFFER: usize = 64 << 10;

/// Bounds what a peer that does not read can cost. A session never comes near it.
const MAX_WRITE_BUFFER: usize = 256 << 10;

/// A minute of words with timings takes a tenth of this.
const MAX_MESSAGE: usize = 1 << 20;

/// A header that names a token.
pub const X_AUTH_TOKEN: HeaderName = HeaderName::from_static("x-auth-token");
