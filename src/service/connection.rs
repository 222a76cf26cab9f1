//! Pumps one WebSocket: messages to the session machine, its answers back, its jobs to the engine.
#![expect(
    clippy::disallowed_methods,
    reason = "the shell of the service: clocks and waiting"
)]

mod injection;

use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant};

use futures_util::{SinkExt, StreamExt};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use tokio::sync::watch;
use tokio::time::{sleep, sleep_until, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::protocol::{CloseFrame, Role, WebSocketConfig};
use tokio_tungstenite::tungstenite::{Error, Message};
use tracing::debug;

use super::engine::{Job, JobId, Outcome};
use super::fault::At;
use super::server::{Shared, asked_to_stop};
use super::session::{Output, SessionServer};
use crate::asr::message::{ClientMessage, EndReason, ServerMessage};
use injection::{End, Injection};

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
    match connection.pump(stopped.clone()).await {
        Ok(Some(end)) => injection::end(&mut connection.socket, end, stopped).await,
        Ok(None) => {}
        Err(error) => debug!(%error, "connection ended"),
    }
}

type Socket = WebSocketStream<TokioIo<Upgraded>>;
type Recognising = Pin<Box<dyn Future<Output = Outcome> + Send>>;

struct Connection {
    socket: Socket,
    server: SessionServer,
    shared: Arc<Shared>,
    recognising: Option<(JobId, Recognising)>,
    injection: Injection,
    counts_session: bool,
}

impl Connection {
    fn new(socket: Socket, shared: Arc<Shared>) -> Self {
        let ordinal = shared.counters.connections.opened();
        let name = format!("{}-{ordinal}", shared.name);
        let (rules, seats) = (Arc::clone(&shared.rules), shared.seats.clone());
        let server = SessionServer::new(name, rules, seats, Instant::now());
        let injection = Injection::default();
        Self {
            socket,
            server,
            shared,
            recognising: None,
            injection,
            counts_session: false,
        }
    }

    /// One input, then every output, until either side closes; the end that a fault wants, if one
    /// does.
    async fn pump(&mut self, stopped: watch::Receiver<bool>) -> Result<Option<End>, Error> {
        let mut stop = std::pin::pin!(asked_to_stop(stopped));
        let mut stopping = false;
        while !self.perform().await? {
            if stopping && !self.server.is_open() {
                self.close(CloseCode::Away, "service stops").await?;
                break;
            }
            let deadline = self.server.poll_timeout().unwrap_or_else(Instant::now);
            tokio::select! {
                message = self.socket.next() => match message {
                    Some(message) => if let Some(end) = self.handle_message(message?).await {
                        return Ok(Some(end));
                    },
                    None => break,
                },
                (id, outcome) = outcome(&mut self.recognising) => {
                    self.server.handle_recognised(id, outcome, Instant::now());
                }
                () = sleep_until(deadline.into()), if !self.injection.is_silent() => {
                    self.server.handle_timeout(Instant::now());
                }
                () = &mut stop, if !stopping => stopping = true,
            }
        }
        Ok(None)
    }

    /// Pings are answered by the WebSocket itself, at the next read.
    async fn handle_message(&mut self, message: Message) -> Option<End> {
        let counters = &self.shared.counters;
        match message {
            Message::Text(text) => {
                counters.messages_in.add(1);
                self.handle_text(&text).await
            }
            Message::Binary(fragment) => {
                counters.messages_in.add(1);
                counters.audio_bytes.add(fragment.len() as u64);
                self.handle_audio(&fragment).await
            }
            Message::Ping(_) => {
                counters.pings.add(1);
                None
            }
            Message::Pong(_) | Message::Close(_) | Message::Frame(_) => None,
        }
    }

    async fn handle_text(&mut self, text: &str) -> Option<End> {
        let at = match ClientMessage::parse(text) {
            Ok(ClientMessage::Start { .. }) => {
                let ordinal = self.shared.counters.starts.add(1) + 1;
                self.injection.arm(self.shared.faults.of_session(ordinal));
                Some(At::Start)
            }
            Ok(ClientMessage::End { .. }) => Some(At::End),
            Err(_) => None,
        };
        let due = at
            .map(|at| self.injection.due(|when| when == at))
            .unwrap_or_default();
        let end = self.inject(due).await;
        if !self.injection.takes_message() {
            self.server.handle_text(text, Instant::now());
        }
        end
    }

    async fn handle_audio(&mut self, fragment: &[u8]) -> Option<End> {
        if self.injection.is_silent() {
            return None;
        }
        self.injection.read(fragment.len()).await;
        self.server.handle_audio(fragment, Instant::now());
        let heard = self.server.heard() as u64;
        let due = self
            .injection
            .due(|when| matches!(when, At::Byte(byte) if byte <= heard));
        self.inject(due).await
    }

    /// Performs every output; whether the connection is closed.
    async fn perform(&mut self) -> Result<bool, Error> {
        while let Some(output) = self.server.poll_output() {
            match output {
                Output::Send(message) => self.send(&message).await?,
                Output::Recognise(job) => self.recognise(job),
                Output::Abandon => self.recognising = None,
                Output::Close(reason) => {
                    self.close(CloseCode::Error, reason).await?;
                    return Ok(true);
                }
            }
        }
        self.count_session();
        Ok(false)
    }

    fn recognise(&mut self, job: Job) {
        let (shared, id) = (Arc::clone(&self.shared), job.id);
        let delay = self.injection.answer_delay().filter(|_| !job.interim);
        let recognising = Box::pin(async move {
            if let Some(delay) = delay {
                sleep(delay).await;
            }
            shared.engine.recognise(job).await
        });
        self.recognising = Some((id, recognising));
    }

    async fn send(&mut self, message: &ServerMessage) -> Result<(), Error> {
        if self.injection.is_silent() {
            return Ok(());
        }
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
        in_time(close(&mut self.socket, code, reason)).await
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

async fn close(socket: &mut Socket, code: CloseCode, reason: &'static str) -> Result<(), Error> {
    socket
        .close(Some(CloseFrame {
            code,
            reason: reason.into(),
        }))
        .await?;
    while let Some(message) = socket.next().await {
        message?;
    }
    Ok(())
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

/// Larger than any legal fragment, so that a whole file in one message is refused with the
/// service's words.
const LARGEST_MESSAGE: usize = 16 * 1024 * 1024;

const WRITE_TIMEOUT: Duration = Duration::from_secs(10);
