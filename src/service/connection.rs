//! Pumps one WebSocket: messages to the session machine, its answers back, its jobs to the engine.
#![expect(
    clippy::disallowed_methods,
    reason = "the shell of the service: clocks and waiting"
)]

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tracing::debug;

use super::engine::{Job, JobId, Outcome};
use super::server::{Shared, asked_to_stop};
use super::session::{Output, SessionServer};
use crate::asr::message::{EndReason, ServerMessage};

/// Serves a WebSocket until its end.
pub(super) async fn run(
    stream: TokioIo<Upgraded>,
    shared: Arc<Shared>,
    stopped: watch::Receiver<bool>,
) {
    let config = WebSocketConfig::default()
        .read_buffer_size(READ_BUFFER)
        .max_message_size(Some(LARGEST_MESSAGE))
        .max_frame_size(Some(LARGEST_MESSAGE));
    let socket = WebSocketStream::from_raw_socket(stream, Role::Server, Some(config)).await;
    let mut connection = Connection::new(socket, shared);
    if let Err(error) = connection.pump(stopped).await {
        debug!(%error, "connection ended");
    }
}

type Recognising = Pin<Box<dyn Future<Output = Outcome> + Send>>;

struct Connection {
    socket: WebSocketStream<TokioIo<Upgraded>>,
    server: SessionServer,
    shared: Arc<Shared>,
    recognising: Option<(JobId, Recognising)>,
    counts_session: bool,
}

/// Whether the pump goes on.
#[derive(PartialEq, Eq)]
enum Flow {
    On,
    Closed,
}

impl Connection {
    fn new(socket: WebSocketStream<TokioIo<Upgraded>>, shared: Arc<Shared>) -> Self {
        let ordinal = shared.counters.connections.opened();
        let name = format!("{}-{ordinal}", shared.name);
        let (rules, seats) = (Arc::clone(&shared.rules), shared.seats.clone());
        let server = SessionServer::new(name, rules, seats, Instant::now());
        Self {
            socket,
            server,
            shared,
            recognising: None,
            counts_session: false,
        }
    }

    /// One input, then every output, until either side closes.
    async fn pump(&mut self, stopped: watch::Receiver<bool>) -> Result<(), Error> {
        let mut stop = std::pin::pin!(asked_to_stop(stopped));
        let mut stopping = false;
        while self.perform().await? == Flow::On {
            if stopping && !self.server.is_open() {
                return self.close(CloseCode::Away, "service stops").await;
            }
            let deadline = self.server.poll_timeout().unwrap_or_else(Instant::now);
            tokio::select! {
                message = self.socket.next() => match message {
                    Some(message) => self.handle_message(message?),
                    None => return Ok(()),
                },
                (id, outcome) = outcome(&mut self.recognising) => {
                    self.server.handle_recognised(id, outcome, Instant::now());
                }
                () = sleep_until(deadline.into()) => self.server.handle_timeout(Instant::now()),
                () = &mut stop, if !stopping => stopping = true,
            }
        }
        Ok(())
    }

    /// Pings are answered by the WebSocket itself, at the next read.
    fn handle_message(&mut self, message: Message) {
        let counters = &self.shared.counters;
        match message {
            Message::Text(text) => {
                counters.messages_in.add(1);
                self.server.handle_text(&text, Instant::now());
            }
            Message::Binary(fragment) => {
                counters.messages_in.add(1);
                counters.audio_bytes.add(fragment.len() as u64);
                self.server.handle_audio(&fragment, Instant::now());
            }
            Message::Ping(_) => {
                counters.pings.add(1);
            }
            Message::Pong(_) | Message::Close(_) | Message::Frame(_) => {}
        }
    }

    async fn perform(&mut self) -> Result<Flow, Error> {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Send(message) => self.send(&message).await?,
                Output::Recognise(job) => self.recognise(job),
                Output::Abandon => self.recognising = None,
                Output::Close(reason) => {
                    self.close(CloseCode::Error, reason).await?;
                    return Ok(Flow::Closed);
                }
            }
        }
        self.count_session();
        Ok(Flow::On)
    }

    fn recognise(&mut self, job: Job) {
        let shared = Arc::clone(&self.shared);
        let id = job.id;
        self.recognising = Some((
            id,
            Box::pin(async move { shared.engine.recognise(job).await }),
        ));
    }

    async fn send(&mut self, message: &ServerMessage) -> Result<(), Error> {
        let counters = &self.shared.counters;
        counters.messages_out.add(1);
        match message {
            ServerMessage::Error(error) | ServerMessage::FatalError(error) => {
                counters.errors.add(1);
                debug!(
                    code = error.error_code,
                    message = error.error_msg,
                    "sends an error"
                );
            }
            ServerMessage::End {
                reason: EndReason::Normal,
                ..
            } => {
                counters.completed.add(1);
            }
            ServerMessage::Start { .. }
            | ServerMessage::Event { .. }
            | ServerMessage::Result { .. }
            | ServerMessage::End { .. }
            | ServerMessage::Unknown { .. } => {}
        }
        let text = Message::text(message.to_json());
        in_time(self.socket.send(text)).await
    }

    /// Sends a close frame and waits a little for the peer's.
    async fn close(&mut self, code: CloseCode, reason: &'static str) -> Result<(), Error> {
        in_time(self.socket.close(Some(CloseFrame {
            code,
            reason: reason.into(),
        })))
        .await?;
        in_time(async {
            while let Some(message) = self.socket.next().await {
                message?;
            }
            Ok(())
        })
        .await
    }

    fn count_session(&mut self) {
        let sessions = &self.shared.counters.sessions;
        match (self.counts_session, self.server.is_open()) {
            (false, true) => {
                sessions.opened();
            }
            (true, false) => sessions.closed(),
            (true, true) | (false, false) => {}
        }
        self.counts_session = self.server.is_open();
    }
}

impl Drop for Connection {
    fn drop(&mut self) {
        self.shared.counters.connections.closed();
        if self.counts_session {
            self.shared.counters.sessions.closed();
        }
    }
}

/// The outcome of the job under way; never, when there is none.
async fn outcome(recognising: &mut Option<(JobId, Recognising)>) -> (JobId, Outcome) {
    let Some((id, future)) = recognising else {
        return std::future::pending().await;
    };
    let done = (*id, future.await);
    *recognising = None;
    done
}

/// A peer that does not read cannot hold the connection for ever.
async fn in_time(io: impl Future<Output = Result<(), Error>>) -> Result<(), Error> {
    timeout(WRITE_TIMEOUT, io)
        .await
        .unwrap_or(Err(Error::ConnectionClosed))
}

const READ_BUFFER: usize = 8 * 1024;

/// Larger than any legal fragment, so that a whole file in one message is refused with the service's words.
const LARGEST_MESSAGE: usize = 16 * 1024 * 1024;

const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
