//! One recognition, START to END, on an open connection.

mod deadlines;
mod fragment;
mod settings;
mod transcript;

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub use self::fragment::{Fragment, MAX_MESSAGE_BYTES, MIN_MESSAGE_BYTES};
pub use self::settings::{AudioFormat, Settings, SettingsError};

use self::deadlines::Deadlines;
use self::fragment::Fragmenter;
use self::transcript::Transcript;
use crate::asr::Recognition;
use crate::asr::failure::Failure;
use crate::asr::message::{ClientMessage, EndReason, Segment, ServerMessage};
use crate::media::Samples;

/// What a session asks of the shell.
#[derive(Clone, Debug, PartialEq)]
pub enum Output {
    /// Write this text message.
    Send(String),
    /// Write this piece of the part as a binary message in the session's format.
    SendAudio(Fragment),
    /// Write a ping.
    Ping,
    /// Show this unfinished text; the next one replaces it.
    Interim(String),
    /// Hand over the text; the session is over.
    Finished(Recognition),
    /// Judge this; the session is over, and its connection is of no further use.
    Failed(Failure),
}

/// The client's side of one recognition.
///
/// The shell feeds in what happens (`handle_*`), drains [`poll_output`](Self::poll_output), and
/// calls [`handle_timeout`](Self::handle_timeout) by [`poll_timeout`](Self::poll_timeout). After
/// it has written what was drained, to the last byte, it calls
/// [`handle_writable`](Self::handle_writable): that is all the back-pressure there is. The audio
/// stays with the shell; the session knows only how much there is.
///
/// Every session ends with exactly one `Finished` or `Failed`.
#[derive(Debug)]
pub struct Session {
    settings: Arc<Settings>,
    phase: Phase,
    fragmenter: Fragmenter,
    len: usize,
    closed: bool,
    writable: bool,
    transcript: Transcript,
    shown: String,
    trace_id: String,
    /// The trace of the session that the same connection has carried before, if it has carried any.
    before: Option<String>,
    is_answered: bool,
    last_audio: Option<Instant>,
    deadlines: Deadlines,
    outputs: VecDeque<Output>,
}

impl Session {
    /// Opens a session on a connection that is ready to be written to.
    pub fn new(settings: Arc<Settings>, now: Instant) -> Self {
        let fragment = usize::try_from(settings.fragment_samples().0).unwrap_or(usize::MAX);
        let start = ClientMessage::Start {
            config: settings.to_config(),
        };
        let deadlines = Deadlines {
            start: Some(now + settings.start_timeout),
            write: Some(now + settings.write_timeout),
            ..Deadlines::default()
        };
        Self {
            phase: Phase::Starting,
            fragmenter: Fragmenter::new(fragment, settings.audio_format),
            len: 0,
            closed: false,
            writable: false,
            transcript: Transcript::default(),
            shown: String::new(),
            trace_id: String::new(),
            before: None,
            is_answered: false,
            last_audio: None,
            deadlines,
            outputs: VecDeque::from([Output::Send(start.to_json())]),
            settings,
        }
    }

    /// Opens a session on a connection that has carried one before, whose trace was `before`. Nothing promises that the
    /// service takes it, so its START is not waited for as long, and what is of the session before is no text of this one.
    pub fn after(before: String, settings: Arc<Settings>, now: Instant) -> Self {
        let start_timeout = settings.start_timeout.min(NEXT_START_TIMEOUT);
        let mut session = Self::new(settings, now);
        session.deadlines.start = Some(now + start_timeout);
        session.before = Some(before);
        session
    }

    /// The part has `len` samples; `closed` when these are all.
    pub fn handle_audio(&mut self, len: usize, closed: bool, now: Instant) {
        self.len = self.len.max(len);
        self.closed |= closed;
        self.advance(now);
    }

    /// The peer took everything that was written.
    pub fn handle_writable(&mut self, now: Instant) {
        self.writable = true;
        self.deadlines.write = None;
        self.advance(now);
    }

    /// A text message came.
    pub fn handle_text(&mut self, text: &str, now: Instant) {
        self.handle_heard(now);
        match ServerMessage::parse(text) {
            Ok(message) => self.handle_message(message, now),
            Err(error) => self.fail(Failure::Malformed(error.to_string())),
        }
        self.advance(now);
    }

    /// Something came that says only that the peer lives: a ping, a pong.
    pub fn handle_heard(&mut self, now: Instant) {
        if self.phase != Phase::Over {
            self.deadlines.pong = None;
            self.deadlines.ping = Some(now + self.settings.ping_interval);
        }
    }

    /// The connection ended.
    pub fn handle_disconnect(&mut self, failure: Failure) {
        self.fail(failure);
    }

    /// Time has passed.
    pub fn handle_timeout(&mut self, now: Instant) {
        self.advance(now);
    }

    /// The encoding that was asked for.
    pub fn audio_format(&self) -> AudioFormat {
        self.settings.audio_format
    }

    /// The next thing to do.
    pub fn poll_output(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When to call [`handle_timeout`](Self::handle_timeout); `None` once the session is over.
    pub fn poll_timeout(&self) -> Option<Instant> {
        self.deadlines.next()
    }

    /// The length of the part, in samples, from which there is more to send; `None` while more
    /// audio, or the close of the part, would change nothing.
    pub fn wanted(&self) -> Option<usize> {
        let listens = self.phase == Phase::Streaming && self.writable && !self.closed;
        listens.then(|| self.fragmenter.wanted())
    }

    fn handle_message(&mut self, message: ServerMessage, now: Instant) {
        if self.is_of_session_before(&message) {
            return self.fail(Failure::Malformed(
                "it is of the session before on the same connection".into(),
            ));
        }
        match message {
            ServerMessage::Start { trace_id } => {
                self.note_trace(trace_id);
                self.is_answered = true;
                if self.phase == Phase::Starting {
                    self.phase = Phase::Streaming;
                    self.deadlines.start = None;
                }
            }
            ServerMessage::Result { trace_id, segments } => {
                self.note_trace(trace_id);
                self.take(segments);
            }
            ServerMessage::Event { event, .. } => self.handle_event(&event),
            ServerMessage::Error(error) | ServerMessage::FatalError(error) => {
                self.fail(Failure::Service(error));
            }
            ServerMessage::End { trace_id, reason } => {
                self.note_trace(trace_id);
                self.handle_end(reason, now);
            }
            ServerMessage::Unknown { resp_type } => {
                tracing::debug!(%resp_type, "message of an unknown kind passed over");
            }
        }
    }

    /// Whether words, or their end, are those of somebody else: they come before START is answered, or under the other
    /// trace, unless the service has one for the whole connection.
    fn is_of_session_before(&self, message: &ServerMessage) -> bool {
        let (ServerMessage::Result { trace_id, .. } | ServerMessage::End { trace_id, .. }) =
            message
        else {
            return false;
        };
        let Some(before) = &self.before else {
            return false;
        };
        let is_other = self.trace_id != *before && trace_id == before && !before.is_empty();
        self.phase == Phase::Starting || is_other
    }

    /// Older services say `EXCEEDED_AUDIO`, then ignore further audio without failing the session.
    fn handle_event(&mut self, event: &str) {
        if event == "EXCEEDED_AUDIO" && self.phase != Phase::Ending {
            self.fail(Failure::TooLong);
        }
    }

    fn handle_end(&mut self, reason: EndReason, now: Instant) {
        match (&self.phase, reason) {
            (Phase::Over, _) => {}
            (Phase::Ending, EndReason::Normal) => self.finish(now),
            (_, reason) => self.fail(Failure::EndedEarly(format!("{reason:?}"))),
        }
    }

    fn take(&mut self, segments: Vec<Segment>) {
        for segment in segments {
            if !self.transcript.push(segment) {
                self.fail(Failure::Malformed("more segments than a minute has".into()));
                return;
            }
        }
        if self.settings.interim_results && self.phase != Phase::Over {
            let text = self.transcript.text();
            if text != self.shown {
                self.shown.clone_from(&text);
                self.outputs.push_back(Output::Interim(text));
            }
        }
    }

    fn note_trace(&mut self, trace_id: String) {
        if self.trace_id.is_empty() {
            self.trace_id = trace_id;
        }
    }

    fn finish(&mut self, now: Instant) {
        let transcript = std::mem::take(&mut self.transcript);
        let len = Samples(u64::try_from(self.len).unwrap_or(u64::MAX));
        let latency = now.saturating_duration_since(self.last_audio.unwrap_or(now));
        let recognition = Recognition {
            trace_id: std::mem::take(&mut self.trace_id),
            attempts: 1,
            latency_ms: u64::try_from(latency.as_millis()).unwrap_or(u64::MAX),
            ..transcript.into_recognition(len)
        };
        self.conclude(Output::Finished(recognition));
    }

    fn fail(&mut self, failure: Failure) {
        if self.phase != Phase::Over {
            self.conclude(Output::Failed(failure));
        }
    }

    fn conclude(&mut self, output: Output) {
        self.phase = Phase::Over;
        self.deadlines = Deadlines::default();
        self.outputs.push_back(output);
    }

    /// Whether the service has taken START.
    pub const fn is_answered(&self) -> bool {
        self.is_answered
    }

    /// Whether END is sent, and results are waited for.
    pub fn is_ending(&self) -> bool {
        self.phase == Phase::Ending
    }

    /// Does what has become possible or due.
    fn advance(&mut self, now: Instant) {
        if self.phase == Phase::Over {
            return;
        }
        if u64::try_from(self.len).unwrap_or(u64::MAX) > self.settings.max_samples().0 {
            self.fail(Failure::TooLong);
        } else if let Some(silence) = self.deadlines.broken(now) {
            self.fail(Failure::Silent(silence));
        } else {
            if self.phase == Phase::Streaming && self.writable {
                self.feed(now);
            }
            self.ping_if_due(now);
        }
    }

    /// Writes one batch of audio, and END behind the last of it.
    fn feed(&mut self, now: Instant) {
        let mut batch = 0;
        while batch < BATCH_BYTES
            && let Some(fragment) = self.fragmenter.next(self.len, self.closed)
        {
            batch += fragment.len() * self.settings.audio_format.bytes_per_sample();
            self.outputs.push_back(Output::SendAudio(fragment));
            self.last_audio = Some(now);
        }
        if self.fragmenter.is_finished() {
            let end = ClientMessage::End { cancel: false };
            self.outputs.push_back(Output::Send(end.to_json()));
            self.phase = Phase::Ending;
            self.deadlines.end = Some(now + self.settings.end_timeout);
        }
        if batch > 0 {
            self.writable = false;
            self.deadlines.write = Some(now + self.settings.write_timeout);
        }
    }

    fn ping_if_due(&mut self, now: Instant) {
        if self.deadlines.ping.is_some_and(|due| due <= now) {
            self.deadlines.ping = None;
            self.deadlines.pong = Some(now + self.settings.pong_timeout);
            self.outputs.push_back(Output::Ping);
        }
    }
}

/// How far the session is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// START is sent and not yet answered.
    Starting,
    /// Audio flows.
    Streaming,
    /// END is sent; results and the service's END are to come.
    Ending,
    /// `Finished` or `Failed` was said.
    Over,
}

/// How long the reply to START may take on a connection that has carried a session before: what comes of it is no more
/// than that another one is opened.
const NEXT_START_TIMEOUT: Duration = Duration::from_secs(2);

/// What is handed to the socket before it must have taken it all: two seconds of PCM, so that a
/// part that is behind goes out in few writes and a slow reader costs little memory.
const BATCH_BYTES: usize = 32_768;

#[cfg(test)]
mod tests;
