//! Recognises parts: one session at a time each, again and again until the text is in.
#![expect(
    clippy::disallowed_methods,
    reason = "the shell reads the clock and waits"
)]

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Message;

use super::part_audio::PartAudio;
use super::provider::{Connection, Provider, Setback};
use super::websocket::{Event, WebSocket};
use crate::asr::Recognition;
use crate::asr::failure::Failure;
use crate::asr::retry::{Decision, Schedule};
use crate::asr::session::{self, Output, Session};
use crate::event::GapReason;

/// Why a part has no text.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{detail}")]
pub struct Unrecognised {
    /// The reason in the gap line.
    pub reason: GapReason,
    /// What went wrong last, for people.
    pub detail: String,
    /// Whether the same audio may be recognised at another time: worth keeping on disk.
    pub can_wait: bool,
}

/// A worker's access to the recogniser; cheap to clone within its thread.
///
/// It runs on a single-thread runtime inside a [`tokio::task::LocalSet`].
#[derive(Clone, Debug)]
pub struct Recogniser {
    provider: Arc<Provider>,
    /// Connections that are being closed in agreement with the peer.
    closing: Rc<RefCell<JoinSet<()>>>,
}

impl Recogniser {
    /// Access for the thread it is called on.
    pub fn new(provider: Arc<Provider>) -> Self {
        Self {
            provider,
            closing: Rc::default(),
        }
    }

    /// The name in the event lines.
    pub fn provider(&self) -> Arc<str> {
        self.provider.name()
    }

    /// Recognises a part, from before its first word is complete until its final text is in.
    ///
    /// Call it when the part opens: the connection is made meanwhile. `on_interim` gets unfinished
    /// text, each replacing the one before; after a failure it starts again.
    ///
    /// # Errors
    /// When the part is to be reported as a gap, or kept for later.
    pub async fn recognise(
        &self,
        audio: Rc<PartAudio>,
        mut on_interim: impl FnMut(String),
    ) -> Result<Recognition, Unrecognised> {
        let mut schedule = self.provider.schedule(now());
        loop {
            let setback = match self.attempt(&audio, &mut schedule, &mut on_interim).await {
                Ok(recognition) => return Ok(recognition),
                Err(setback) => setback,
            };
            match schedule.handle_failure(setback.verdict, audio.duration(), now()) {
                Decision::RetryAt(at) => sleep_until(at.into()).await,
                Decision::RenewCredentials => {}
                Decision::GiveUp { reason, can_wait } => {
                    let detail = setback.failure.to_string();
                    return Err(Unrecognised {
                        reason,
                        detail,
                        can_wait,
                    });
                }
            }
        }
    }

    /// One session with the whole of the audio so far and to come.
    async fn attempt(
        &self,
        audio: &PartAudio,
        schedule: &mut Schedule,
        on_interim: &mut impl FnMut(String),
    ) -> Result<Recognition, Setback> {
        let Connection {
            mut socket,
            generation,
        } = self.provider.open().await?;
        schedule.handle_session();
        let session = run_session(&mut socket, self.provider.session(), audio, on_interim).await;
        let recognition =
            session.map_err(|failure| self.provider.judge(failure, Some(generation)))?;
        self.close(socket);
        Ok(Recognition {
            attempts: schedule.sessions(),
            ..recognition
        })
    }

    fn close(&self, socket: WebSocket) {
        let mut closing = self.closing.borrow_mut();
        while closing.try_join_next().is_some() {}
        if closing.len() < MAX_CLOSING {
            closing.spawn_local(socket.close(CLOSE_TIMEOUT));
        }
    }
}

/// Moves messages between a session and its socket until the session is over.
async fn run_session(
    socket: &mut WebSocket,
    settings: Arc<session::Settings>,
    audio: &PartAudio,
    on_interim: &mut impl FnMut(String),
) -> Result<Recognition, Failure> {
    let format = settings.audio_format;
    let mut session = Session::new(settings, now());
    loop {
        session.handle_audio(audio.len(), audio.is_closed(), now());
        while let Some(output) = session.poll_output() {
            match output {
                Output::Send(text) => socket.queue(Message::text(text))?,
                Output::SendAudio(fragment) => {
                    socket.queue(Message::binary(audio.read(&fragment, format)))?;
                }
                Output::Ping => socket.queue(Message::Ping(bytes::Bytes::new()))?,
                Output::Interim(text) => on_interim(text),
                Output::Finished(recognition) => return Ok(recognition),
                Output::Failed(failure) => return Err(failure),
            }
        }
        // Each arm may be dropped while it waits and started again without loss.
        tokio::select! {
            biased;
            event = socket.next() => handle_event(&mut session, event),
            () = more_audio(audio, session.wanted()) => {}
            () = at(session.poll_timeout()) => session.handle_timeout(now()),
        }
    }
}

fn handle_event(session: &mut Session, event: Event) {
    match event {
        Event::Text(text) => session.handle_text(&text, now()),
        Event::Heard => session.handle_heard(now()),
        Event::Flushed => session.handle_writable(now()),
        Event::Ended(failure) => session.handle_disconnect(failure),
    }
}

async fn more_audio(audio: &PartAudio, wanted: Option<usize>) {
    match wanted {
        Some(samples) => audio.reached(samples).await,
        None => std::future::pending().await,
    }
}

async fn at(deadline: Option<std::time::Instant>) {
    match deadline {
        Some(deadline) => sleep_until(deadline.into()).await,
        None => std::future::pending().await,
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

/// How long a peer has to answer a close; nobody waits for it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections in closing; beyond that they are simply dropped.
const MAX_CLOSING: usize = 256;
