//! The server's side of a connection as a machine: messages and time in, answers and jobs out.

mod listening;
#[cfg(test)]
mod tests;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Instant;

use serde_json::{Map, Value};
use tokio::sync::OwnedSemaphorePermit;

use super::audio::Audio;
use super::engine::{Failure, Job, JobId, Outcome};
use super::rules::{OverLength, Rules, Seats, Silence};
use super::settings::Settings;
use crate::asr::message::{ClientMessage, EndReason, Segment, ServerMessage, ServiceError};
use listening::{Heard, Listening};

/// Serves the sessions of one connection, one after the other.
///
/// Give it one input (`handle_*`), then drain [`poll_output`](Self::poll_output), then ask
/// [`poll_timeout`](Self::poll_timeout). WebSocket pings are no input: the service's idle limit
/// does not count them.
pub struct SessionServer {
    connection: String,
    rules: Arc<Rules>,
    seats: Seats,
    phase: Phase,
    opened: Instant,
    last_heard: Instant,
    sessions: u64,
    jobs: u64,
    outputs: VecDeque<Output>,
}

/// What the machine asks of the connection.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Send this text message.
    Send(ServerMessage),
    /// Have this recognised and give the outcome to [`SessionServer::handle_recognised`].
    Recognise(Job),
    /// The outcome of the job under way is no longer wanted.
    Abandon,
    /// Close the WebSocket, after what was sent before.
    Close(&'static str),
}

impl SessionServer {
    /// A connection that was just accepted; `connection` starts the trace id of each of its
    /// sessions.
    pub fn new(connection: String, rules: Arc<Rules>, seats: Seats, now: Instant) -> Self {
        Self {
            connection,
            rules,
            seats,
            phase: Phase::Ready,
            opened: now,
            last_heard: now,
            sessions: 0,
            jobs: 0,
            outputs: VecDeque::new(),
        }
    }

    /// Takes a text message.
    pub fn handle_text(&mut self, text: &str, now: Instant) {
        self.last_heard = self.last_heard.max(now);
        match ClientMessage::parse(text) {
            Ok(ClientMessage::Start { config }) => self.handle_start(&config),
            Ok(ClientMessage::End { cancel }) => self.handle_end(cancel),
            Err(error) => self.fail("SIS.0032", &error.to_string()),
        }
    }

    /// Takes a binary message: a fragment of audio.
    pub fn handle_audio(&mut self, fragment: &[u8], now: Instant) {
        self.last_heard = self.last_heard.max(now);
        match &mut self.phase {
            Phase::Ready => self.fail("SIS.0032", "audio before START"),
            Phase::Failed | Phase::Closed => {}
            Phase::Recognising(_) => self.fail("SIS.0032", "audio after END"),
            Phase::Listening(listening) => match listening.hear(fragment, &self.rules) {
                Ok(Heard::All) => self.show_interim(),
                Ok(Heard::UpToTheLimit) => self.tell_exceeded(),
                Ok(Heard::Nothing) => {}
                Err(refusal) => self.fail("SIS.0032", &refusal.to_string()),
            },
        }
    }

    /// Takes the outcome of a job; that of an abandoned one changes nothing.
    pub fn handle_recognised(&mut self, id: JobId, outcome: Outcome, now: Instant) {
        match (&mut self.phase, outcome) {
            (Phase::Listening(listening), outcome) if listening.interim == Some(id) => {
                listening.interim = None;
                if let Ok(segments) = outcome
                    && segments.iter().any(|segment| !text_of(segment).is_empty())
                {
                    self.send_result(segments, false);
                }
            }
            (Phase::Recognising(recognising), outcome) if recognising.job == id => {
                self.last_heard = self.last_heard.max(now);
                match outcome {
                    Ok(segments) => self.finish(segments),
                    Err(failure) => self.fail(&failure.code, &failure.message),
                }
            }
            _ => {}
        }
    }

    /// Fails the session, or the whole connection, as if the service had broken down.
    pub fn handle_breakdown(&mut self, failure: &Failure, fatal: bool) {
        if fatal {
            self.fail_connection(&failure.code, &failure.message);
        } else {
            self.fail(&failure.code, &failure.message);
        }
    }

    /// Sends an event that changes no state.
    pub fn handle_event(&mut self, event: &str, now: Instant) {
        let timestamp = now.saturating_duration_since(self.opened).as_millis();
        self.send(ServerMessage::Event {
            trace_id: self.trace_id(),
            event: event.to_owned(),
            timestamp: u64::try_from(timestamp).unwrap_or(u64::MAX),
        });
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        if now >= self.opened + self.rules.max_life {
            self.close("connection is too old");
        } else if self.poll_timeout().is_some_and(|deadline| now >= deadline) {
            self.fail_connection("SIS.0304", "wait voice timeout");
        }
    }

    /// The next effect, until `None`.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout). A client that waits for its text is
    /// not idle.
    pub fn poll_timeout(&self) -> Option<Instant> {
        let end_of_life = self.opened + self.rules.max_life;
        match self.phase {
            Phase::Closed => None,
            Phase::Recognising(_) => Some(end_of_life),
            Phase::Ready | Phase::Failed | Phase::Listening(_) => {
                Some(end_of_life.min(self.last_heard + self.rules.idle))
            }
        }
    }

    /// The service's name for the session that is open, or was last.
    pub fn trace_id(&self) -> String {
        format!("{}-{}", self.connection, self.sessions)
    }

    /// The bytes of audio in the open session; zero when none is.
    pub fn heard(&self) -> usize {
        match &self.phase {
            Phase::Listening(listening) => listening.audio.bytes.len(),
            Phase::Ready | Phase::Recognising(_) | Phase::Failed | Phase::Closed => 0,
        }
    }

    /// Whether a session is open: it was started and has not ended.
    pub const fn is_open(&self) -> bool {
        matches!(self.phase, Phase::Listening(_) | Phase::Recognising(_))
    }

    fn handle_start(&mut self, config: &Map<String, Value>) {
        match self.phase {
            Phase::Closed => {}
            Phase::Listening(_) | Phase::Recognising(_) => {
                self.fail("SIS.0032", "START while a session is open; END it first");
            }
            Phase::Ready | Phase::Failed => self.open(config),
        }
    }

    fn open(&mut self, config: &Map<String, Value>) {
        self.sessions += 1;
        let settings = match Settings::from_config(config, &self.rules.vocabularies) {
            Ok(settings) => settings,
            Err(error) => return self.fail(error.code(), &error.to_string()),
        };
        let Some(seat) = self.seats.take() else {
            return self.fail("SIS.0312", "over the maximum resource concurrency");
        };
        self.phase = Phase::Listening(Listening::new(settings, seat));
        self.send(ServerMessage::Start {
            trace_id: self.trace_id(),
        });
    }

    fn handle_end(&mut self, cancel: bool) {
        match std::mem::replace(&mut self.phase, Phase::Failed) {
            Phase::Closed => self.phase = Phase::Closed,
            Phase::Ready => self.fail("SIS.0032", "END before START"),
            // The END of a client that had not yet read our ERROR.
            Phase::Failed => {}
            Phase::Listening(_) | Phase::Recognising(_) if cancel => {
                self.outputs.push_back(Output::Abandon);
                self.end(EndReason::Cancel);
            }
            Phase::Recognising(recognising) => {
                self.phase = Phase::Recognising(recognising);
                self.fail("SIS.0032", "END was already sent");
            }
            Phase::Listening(listening) => self.recognise(listening),
        }
    }

    fn recognise(&mut self, listening: Listening) {
        if listening.interim.is_some() {
            self.outputs.push_back(Output::Abandon);
        }
        let job = self.job(listening.settings, listening.audio, false);
        self.phase = Phase::Recognising(Recognising {
            job: job.id,
            _seat: listening.seat,
        });
        self.outputs.push_back(Output::Recognise(job));
    }

    fn show_interim(&mut self) {
        let Phase::Listening(listening) = &mut self.phase else {
            return;
        };
        let length = listening.audio.length();
        let is_due = listening.settings.interim_results
            && listening.interim.is_none()
            && length >= listening.shown + self.rules.interim_every;
        if !is_due {
            return;
        }
        listening.shown = length;
        listening.interim = Some(JobId::new(self.jobs + 1));
        let (settings, audio) = (listening.settings.clone(), listening.audio.clone());
        let job = self.job(settings, audio, true);
        self.outputs.push_back(Output::Recognise(job));
    }

    fn job(&mut self, settings: Settings, audio: Audio, interim: bool) -> Job {
        self.jobs += 1;
        Job {
            id: JobId::new(self.jobs),
            trace_id: self.trace_id(),
            settings,
            audio,
            interim,
        }
    }

    fn tell_exceeded(&mut self) {
        match self.rules.over_length {
            OverLength::Error => self.fail("SIS.0309", "audio is longer than 60 s"),
            OverLength::Event => {
                let timestamp = u64::try_from(self.rules.max_audio.as_millis()).unwrap_or(u64::MAX);
                let event = "EXCEEDED_AUDIO".to_owned();
                self.send(ServerMessage::Event {
                    trace_id: self.trace_id(),
                    event,
                    timestamp,
                });
            }
        }
    }

    fn finish(&mut self, segments: Vec<Segment>) {
        let is_silent = segments.iter().all(|segment| text_of(segment).is_empty());
        match self.rules.silence {
            Silence::NoResult if is_silent => {}
            Silence::NoSegment if is_silent => self.send_result(Vec::new(), true),
            Silence::EmptyText | Silence::NoSegment | Silence::NoResult => {
                self.send_result(segments, true);
            }
        }
        self.end(EndReason::Normal);
    }

    fn send_result(&mut self, mut segments: Vec<Segment>, is_final: bool) {
        for segment in &mut segments {
            segment.is_final = is_final;
        }
        self.send(ServerMessage::Result {
            trace_id: self.trace_id(),
            segments,
        });
    }

    /// An error leaves the socket open; audio is ignored until the next START.
    fn fail(&mut self, code: &str, message: &str) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        let was_open = self.is_open();
        let error = self.error(code, message);
        self.send(ServerMessage::Error(error));
        if was_open {
            self.outputs.push_back(Output::Abandon);
            self.end(EndReason::Error);
        }
        self.phase = Phase::Failed;
    }

    fn fail_connection(&mut self, code: &str, message: &str) {
        if matches!(self.phase, Phase::Closed) {
            return;
        }
        let error = self.error(code, message);
        self.send(ServerMessage::FatalError(error));
        self.close("fatal error");
    }

    fn close(&mut self, reason: &'static str) {
        self.phase = Phase::Closed;
        self.outputs.push_back(Output::Abandon);
        self.outputs.push_back(Output::Close(reason));
    }

    fn end(&mut self, reason: EndReason) {
        self.phase = Phase::Ready;
        self.send(ServerMessage::End {
            trace_id: self.trace_id(),
            reason,
        });
    }

    fn error(&self, code: &str, message: &str) -> ServiceError {
        ServiceError {
            trace_id: self.trace_id(),
            error_code: code.to_owned(),
            error_msg: message.to_owned(),
        }
    }

    fn send(&mut self, message: ServerMessage) {
        self.outputs.push_back(Output::Send(message));
    }
}

enum Phase {
    /// No session: none was started, or the last one has ended.
    Ready,
    /// START was answered; audio arrives.
    Listening(Listening),
    /// END came; the text is awaited.
    Recognising(Recognising),
    /// An ERROR was sent; audio is ignored until START.
    Failed,
    /// The connection is being closed.
    Closed,
}

struct Recognising {
    job: JobId,
    _seat: OwnedSemaphorePermit,
}

fn text_of(segment: &Segment) -> &str {
    segment.result.as_ref().map_or("", |result| &result.text)
}
