//! Faults of the open session, as they happen on its connection.
#![expect(
    clippy::disallowed_methods,
    reason = "the shell of the service: clocks and waiting"
)]

use std::time::{Duration, Instant};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{sleep, timeout};
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tracing::debug;

use super::{Connection, Socket, WRITE_TIMEOUT};
use crate::service::engine::Failure;
use crate::service::fault::{Action, At, Fault};
use crate::service::server::asked_to_stop;

/// How a fault ends a connection.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// The socket is dropped.
    Drop,
    /// A close frame is sent.
    Close(u16),
    /// The sending side is shut; what comes is read and thrown away.
    HalfClose,
    /// What comes is read and thrown away.
    Vanish,
    /// Nothing is read.
    StopReading,
}

/// The faults that a session still has before it, and the lasting effects of those behind it.
#[derive(Debug, Default)]
pub(super) struct Injection {
    ahead: Vec<Fault>,
    silent: bool,
    answer_delay: Option<Duration>,
    bytes_per_second: Option<u32>,
    takes_message: bool,
}

impl Injection {
    /// A session begins.
    pub(super) fn arm(&mut self, faults: Vec<Fault>) {
        *self = Self {
            ahead: faults,
            silent: self.silent,
            ..Self::default()
        };
    }

    /// Takes the faults whose moment has come.
    pub(super) fn due(&mut self, is_due: impl Fn(At) -> bool) -> Vec<Fault> {
        self.ahead
            .extract_if(.., |fault| is_due(fault.at))
            .collect()
    }

    /// Whether everything but pings goes unanswered.
    pub(super) const fn is_silent(&self) -> bool {
        self.silent
    }

    /// Whether the message that a fault has just struck must not reach the machine.
    pub(super) const fn takes_message(&mut self) -> bool {
        let takes = self.takes_message || self.silent;
        self.takes_message = false;
        takes
    }

    /// How long the final text is held back.
    pub(super) const fn answer_delay(&self) -> Option<Duration> {
        self.answer_delay
    }

    /// Takes its time to read so many bytes.
    pub(super) async fn read(&self, bytes: usize) {
        if let Some(rate) = self.bytes_per_second {
            sleep(Duration::from_secs_f64(
                bytes as f64 / f64::from(rate.max(1)),
            ))
            .await;
        }
    }
}

impl Connection {
    /// Lets faults happen; the end of the connection, if one of them is that.
    pub(super) async fn inject(&mut self, faults: Vec<Fault>) -> Option<End> {
        for fault in faults {
            debug!(at = ?fault.at, action = ?fault.action, "injects a fault");
            self.shared.counters.faults.add(&fault);
            match fault.action {
                Action::Delay(delay) if fault.at == At::End => {
                    self.injection.answer_delay = Some(delay.duration());
                }
                Action::Delay(delay) => sleep(delay.duration()).await,
                Action::Silence => self.injection.silent = true,
                Action::ReadSlowly(rate) => self.injection.bytes_per_second = Some(rate),
                Action::Event(event) => self.server.handle_event(&event, Instant::now()),
                Action::Error { code, message } => {
                    self.break_down(fault.at, &code, &message, false)
                }
                Action::FatalError { code, message } => {
                    self.break_down(fault.at, &code, &message, true)
                }
                Action::Drop | Action::Refuse { .. } => return Some(End::Drop),
                Action::Close(code) => return Some(End::Close(code)),
                Action::HalfClose => return Some(End::HalfClose),
                Action::Vanish => return Some(End::Vanish),
                Action::StopReading => return Some(End::StopReading),
            }
        }
        None
    }

    /// An error in place of the answer to a message, or out of the blue.
    fn break_down(&mut self, at: At, code: &str, message: &str, fatal: bool) {
        self.injection.takes_message = matches!(at, At::Start | At::End);
        self.server
            .handle_breakdown(&Failure::new(code, message), fatal);
    }
}

/// Ends a connection as a fault wants it; one that lingers does so until the peer leaves or the
/// service stops.
pub(super) async fn end(socket: &mut Socket, end: End, stopped: watch::Receiver<bool>) {
    let lingering = async {
        match end {
            End::Drop => {}
            End::Close(code) => {
                let closing = super::close(socket, CloseCode::from(code), "fault");
                if !matches!(timeout(WRITE_TIMEOUT, closing).await, Ok(Ok(()))) {
                    debug!("the peer did not close in turn");
                }
            }
            End::HalfClose => {
                if let Err(error) = socket.get_mut().shutdown().await {
                    debug!(%error, "cannot shut the sending side");
                }
                swallow(socket).await;
            }
            End::Vanish => swallow(socket).await,
            End::StopReading => std::future::pending().await,
        }
    };
    tokio::select! {
        _ = timeout(LONGEST_LINGERING, lingering) => {}
        () = asked_to_stop(stopped) => {}
    }
}

/// A service that does not read cannot see its peer leave.
const LONGEST_LINGERING: Duration = Duration::from_secs(600);

async fn swallow(socket: &mut Socket) {
    let mut bytes = [0; 4096];
    while let Ok(1..) = socket.get_mut().read(&mut bytes).await {}
}
