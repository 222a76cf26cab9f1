//! Recognises parts: one session at a time each, again and again until the text is in.
#![expect(
    clippy::disallowed_methods,
    reason = "the shell reads the clock and waits"
)]

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use tokio::task::yield_now;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Message;

use super::connections::Connections;
use super::media_worker::SEND_BOUNDS;
use super::metrics::Histogram;
use super::part_audio::PartAudio;
use super::provider::{Connection, Provider, Setback};
use super::websocket::{Event, WebSocket};
use crate::asr::Recognition;
use crate::asr::failure::Failure;
use crate::asr::quota::Urgency;
use crate::asr::retry::{Decision, Schedule};
use crate::asr::session::{Output, Session};
use crate::asr::verdict::Verdict;
use crate::call::session::{Progress, Stage};
use crate::event::GapReason;

/// What there is to tell of a part before its outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// Unfinished text, which replaces what there was; after a failure it starts again.
    Interim(String),
    /// How far it is.
    Progress(Progress),
}

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
    connections: Connections,
    delays: Rc<RefCell<Delays>>,
}

impl Recogniser {
    /// Access for the thread it is called on.
    pub fn new(provider: Arc<Provider>) -> Self {
        Self {
            provider,
            connections: Connections::default(),
            delays: Rc::default(),
        }
    }

    /// How long live parts took on their way.
    pub fn delays(&self) -> Delays {
        self.delays.borrow().clone()
    }

    /// The name in the event lines.
    pub fn provider(&self) -> Arc<str> {
        self.provider.name()
    }

    /// Recognises a part, from before its first word is complete until its final text is in.
    ///
    /// Call it when the part opens: the connection is made meanwhile.
    ///
    /// # Errors
    /// When the part is to be reported as a gap, or kept for later.
    pub async fn recognise(
        &self,
        audio: Rc<PartAudio>,
        on_news: impl FnMut(News),
    ) -> Result<Recognition, Unrecognised> {
        self.run(audio, Urgency::Live, on_news).await
    }

    /// Recognises a part that was kept for later, after all live ones.
    ///
    /// # Errors
    /// As [`Recogniser::recognise`].
    pub async fn recognise_backlog(
        &self,
        audio: Rc<PartAudio>,
    ) -> Result<Recognition, Unrecognised> {
        self.run(audio, Urgency::Backlog, |_| {}).await
    }

    async fn run(
        &self,
        audio: Rc<PartAudio>,
        urgency: Urgency,
        on_news: impl FnMut(News),
    ) -> Result<Recognition, Unrecognised> {
        let since = now();
        let mut part = Part {
            recogniser: self,
            audio: &audio,
            urgency,
            since,
            schedule: self.provider.schedule(since),
            tries: 0,
            on_news,
        };
        let outcome = part.recognise().await;
        match &outcome {
            Ok(_) => self.provider.note_recognised(),
            Err(_) => self.provider.note_given_up(),
        }
        outcome
    }
}

/// How long parts take on their way to the recogniser, in live first attempts.
#[derive(Clone, Debug)]
pub struct Delays {
    /// From the packet that completes a fragment to the fragment on its way.
    pub fragment: Histogram,
    /// From the end of a part to END on its way.
    pub end: Histogram,
}

impl Default for Delays {
    fn default() -> Self {
        Self {
            fragment: Histogram::new(&SEND_BOUNDS),
            end: Histogram::new(&SEND_BOUNDS),
        }
    }
}

impl Delays {
    const fn of(&mut self, what: Sent) -> &mut Histogram {
        match what {
            Sent::Fragment => &mut self.fragment,
            Sent::End => &mut self.end,
        }
    }
}

/// What is measured on its way.
#[derive(Clone, Copy, Debug)]
enum Sent {
    Fragment,
    End,
}

/// One part on its way to its text.
struct Part<'a, F> {
    recogniser: &'a Recogniser,
    audio: &'a PartAudio,
    urgency: Urgency,
    since: std::time::Instant,
    schedule: Schedule,
    tries: u32,
    on_news: F,
}

impl<F: FnMut(News)> Part<'_, F> {
    /// Tries until there is a text or a reason.
    async fn recognise(&mut self) -> Result<Recognition, Unrecognised> {
        let mut first = true;
        loop {
            self.tell(Stage::Waiting);
            let provider = &self.recogniser.provider;
            let slot = provider.admit(self.audio, self.urgency, self.since).await;
            let Some(slot) = slot else {
                return Err(Unrecognised {
                    reason: GapReason::Quota,
                    detail: "no session became free in time".into(),
                    can_wait: true,
                });
            };
            let setback = match self.attempt(first).await {
                Ok(recognition) => return Ok(recognition),
                Err(setback) => setback,
            };
            // Nothing is held while it waits.
            drop(slot);
            first = false;
            self.tell(Stage::Retrying(setback.failure.to_string().into()));
            let audio = self.audio.duration();
            match self.schedule.handle_failure(setback.verdict, audio, now()) {
                Decision::RetryAt(at) => sleep_until(at.into()).await,
                Decision::RenewCredentials => {}
                Decision::GiveUp { reason, can_wait } => {
                    return Err(Unrecognised {
                        reason,
                        detail: setback.failure.to_string(),
                        can_wait,
                    });
                }
            }
        }
    }

    /// One session with the whole of the audio so far and to come.
    async fn attempt(&mut self, may_reuse: bool) -> Result<Recognition, Setback> {
        self.tries += 1;
        let provider = &self.recogniser.provider;
        let kept = if may_reuse {
            self.take_idle().await
        } else {
            None
        };
        let is_begun = kept.is_some();
        if let Some(kept) = kept {
            self.begin_session();
            match self.run_on(kept).await {
                Ok(recognition) => return Ok(recognition),
                Err(broken) if broken.was_answered => return Err(self.judge(broken)),
                // The service has heard nothing of the part yet: the session begins on another connection.
                Err(broken) => {
                    provider.note_unfit(&broken.connection, &broken.failure);
                    self.recogniser.connections.give_up(broken.connection);
                }
            }
        }
        self.tell(Stage::Connecting);
        let fresh = provider.open().await?;
        if !is_begun {
            self.begin_session();
        }
        self.run_on(fresh)
            .await
            .map_err(|broken| self.judge(broken))
    }

    fn begin_session(&mut self) {
        self.schedule.handle_session();
        self.tell(Stage::Open);
        let provider = &self.recogniser.provider;
        provider.note_session(self.schedule.sessions());
    }

    /// Runs a session on a connection, and keeps the connection for another one.
    async fn run_on(&mut self, mut connection: Connection) -> Result<Recognition, Broken> {
        let Recogniser {
            provider,
            connections,
            delays,
        } = self.recogniser;
        let is_first = self.schedule.sessions() == 1 && self.urgency == Urgency::Live;
        let on_sent = |what: Sent, due: std::time::Instant| {
            if is_first {
                let delay = now().saturating_duration_since(due);
                delays.borrow_mut().of(what).observe(delay);
            }
        };
        let settings = connection.access.session();
        let mut session = match connection.before.clone() {
            Some(before) => Session::after(before, settings, now()),
            None => Session::new(settings, now()),
        };
        let mut on_interim = |text| (self.on_news)(News::Interim(text));
        let listener = (&mut on_interim, on_sent);
        let socket = &mut connection.socket;
        match run_session(socket, &mut session, self.audio, listener).await {
            Ok(recognition) => {
                connection.before = Some(recognition.trace_id.clone());
                match provider.place(&connection) {
                    Some(place) => connections.keep(connection, place),
                    None => connections.give_up(connection),
                }
                Ok(Recognition {
                    attempts: self.schedule.sessions(),
                    ..recognition
                })
            }
            Err(failure) => Err(Broken {
                connection,
                failure,
                was_answered: session.is_answered(),
            }),
        }
    }

    fn judge(&self, broken: Broken) -> Setback {
        let Broken {
            connection,
            failure,
            ..
        } = broken;
        let is_open = failure.leaves_connection_open();
        let generation = Some(connection.generation);
        let provider = &self.recogniser.provider;
        let mut setback = provider.judge(&connection.access, failure, generation);
        // A service need not take a second session on a connection: that refuses nothing.
        if connection.before.is_some() && matches!(setback.verdict, Verdict::GiveUp(_)) {
            setback.verdict = Verdict::RetryNow;
        }
        if is_open {
            self.recogniser.connections.give_up(connection);
        }
        setback
    }
}

/// A session that gave no text, with its connection.
struct Broken {
    connection: Connection,
    failure: Failure,
    /// Whether the service had taken it.
    was_answered: bool,
}

impl<F: FnMut(News)> Part<'_, F> {
    fn tell(&mut self, stage: Stage) {
        (self.on_news)(News::Progress(Progress {
            stage,
            since: now(),
            tries: self.tries,
        }));
    }
}

impl<F> Part<'_, F> {
    /// An idle connection that was made with the settings in force and may carry more; others are closed.
    async fn take_idle(&self) -> Option<Connection> {
        let Recogniser {
            provider,
            connections,
            ..
        } = self.recogniser;
        loop {
            let connection = connections.take().await?;
            let access = &connection.access;
            if Arc::ptr_eq(access, &provider.access()) && access.takes_several() {
                return Some(connection);
            }
            connections.give_up(connection);
        }
    }
}

/// Moves messages between a session and its socket until the session is over.
async fn run_session(
    socket: &mut WebSocket,
    session: &mut Session,
    audio: &PartAudio,
    (on_interim, on_sent): (&mut impl FnMut(String), impl Fn(Sent, std::time::Instant)),
) -> Result<Recognition, Failure> {
    let format = session.audio_format();
    loop {
        session.handle_audio(audio.len(), audio.is_closed(), now());
        while let Some(output) = session.poll_output() {
            match output {
                Output::Send(text) => {
                    socket.queue(Message::text(text))?;
                    let end = audio.closed_at().filter(|_| session.is_ending());
                    end.inspect(|&due| on_sent(Sent::End, due));
                }
                Output::SendAudio(fragment) => {
                    socket.queue(Message::binary(audio.read(&fragment, format)))?;
                    // What is left at the end is a fragment only since the part is closed.
                    let end = fragment.samples.end;
                    let is_rest = end == audio.len();
                    let closed = audio.closed_at().filter(|_| is_rest);
                    let complete = closed.or_else(|| audio.complete_at(end));
                    complete.inspect(|&due| on_sent(Sent::Fragment, due));
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
            event = socket.next() => {
                if matches!(event, Event::Flushed) {
                    // A part that is far behind goes out batch by batch, between other work.
                    yield_now().await;
                }
                handle_event(session, event);
            }
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
