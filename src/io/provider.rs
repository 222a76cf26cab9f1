//! The recogniser as the whole daemon knows it: where it is, how to get in, how it is.
#![expect(clippy::disallowed_methods, reason = "the shell waits")]

mod settings;

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{Duration, Instant};

use tokio::time::sleep;

pub use self::settings::{Settings, SettingsError};

use super::authenticator::Authenticator;
use super::part_audio::PartAudio;
use super::session_gate::{SessionGate, Slot};
use super::transport::Connector;
use super::websocket::WebSocket;
use crate::asr::failure::Failure;
use crate::asr::quota::{Urgency, Usage};
use crate::asr::retry::Schedule;
use crate::asr::session;
use crate::asr::verdict::{LOCK_OUT, Verdict};
use crate::event::GapReason;

/// The recogniser, shared by the workers.
#[derive(Debug)]
pub struct Provider {
    settings: Settings,
    session: Arc<session::Settings>,
    /// The same without a hot-word table, and whether it is in use.
    plain_session: Arc<session::Settings>,
    is_plain: AtomicBool,
    connector: Connector,
    authenticator: Authenticator,
    gate: Arc<SessionGate>,
    counters: Counters,
    seeds: AtomicU64,
}

impl Provider {
    /// Checks the settings and reads the certificates.
    ///
    /// # Errors
    /// The first thing that cannot work.
    pub fn new(settings: Settings) -> Result<Arc<Self>, SettingsError> {
        settings.check()?;
        let ca_file = settings.ca_file.as_deref();
        let proxy = settings.proxy.clone();
        let connector = Connector::new(ca_file, proxy, settings.connect_timeout)?;
        Ok(Arc::new(Self {
            session: Arc::new(settings.session.clone()),
            plain_session: Arc::new(session::Settings {
                vocabulary_id: None,
                ..settings.session.clone()
            }),
            is_plain: AtomicBool::new(settings.session.vocabulary_id.is_none()),
            authenticator: Authenticator::new(
                settings.credentials.clone(),
                settings.endpoint.clone(),
                connector.clone(),
            ),
            connector,
            gate: SessionGate::new(settings.quota.clone()),
            counters: Counters::default(),
            seeds: AtomicU64::new(RandomState::new().hash_one(())),
            settings,
        }))
    }

    /// The name in the event lines.
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.settings.provider)
    }

    /// Connects once and hangs up: tells an operator at the start what every part would find out
    /// later.
    ///
    /// # Errors
    /// When the service cannot be reached; whether it lets us in is not tried.
    pub async fn probe(&self) -> Result<(), Failure> {
        self.connector
            .connect(&self.settings.endpoint)
            .await
            .map(drop)
    }

    /// Why nothing is tried for now, and for how much longer: what an operator must put right.
    pub fn alarm(&self) -> Option<(String, Duration)> {
        self.authenticator.alarm()
    }

    /// What the metrics show.
    pub fn status(&self) -> Status {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Status {
            available: self.counters.available.load(Ordering::Relaxed),
            sessions: read(&self.counters.sessions),
            setbacks: read(&self.counters.setbacks),
            recognised: read(&self.counters.recognised),
            given_up: read(&self.counters.given_up),
            quota: self.gate.usage(),
        }
    }

    /// What a session asks for.
    pub(super) fn session(&self) -> Arc<session::Settings> {
        Arc::clone(match self.is_plain.load(Ordering::Relaxed) {
            true => &self.plain_session,
            false => &self.session,
        })
    }

    /// The retries of a part that begins now.
    pub(super) fn schedule(&self, now: Instant) -> Schedule {
        let seed = self.seeds.fetch_add(1, Ordering::Relaxed);
        Schedule::new(self.settings.retry.clone(), seed, now)
    }

    /// Waits for a session of the quota; `None` when a complete part has waited for too long.
    pub(super) async fn admit(
        &self,
        audio: &PartAudio,
        urgency: Urgency,
        since: Instant,
    ) -> Option<Slot> {
        let patience = async {
            audio.reached(usize::MAX).await;
            sleep(self.settings.quota.max_wait).await;
        };
        tokio::select! {
            biased;
            slot = self.gate.enter(urgency, since) => Some(slot),
            () = patience => None,
        }
    }

    /// How long a connection is kept for the next part.
    pub(super) fn reuse(&self) -> Option<Duration> {
        self.settings.reuse
    }

    /// A session begins.
    pub(super) fn note_session(&self) {
        self.counters.sessions.fetch_add(1, Ordering::Relaxed);
    }

    /// A part has its text.
    pub(super) fn note_recognised(&self) {
        self.counters.recognised.fetch_add(1, Ordering::Relaxed);
        if !self.counters.available.swap(true, Ordering::Relaxed) {
            tracing::info!("the recogniser is back");
        }
    }

    /// A part was given up.
    pub(super) fn note_given_up(&self) {
        self.counters.given_up.fetch_add(1, Ordering::Relaxed);
    }

    /// Opens a connection that a session may use.
    pub(super) async fn open(&self) -> Result<Connection, Setback> {
        let Settings { endpoint, .. } = &self.settings;
        let judge = |failure| self.judge(failure, None);
        self.authenticator.prepare().await.map_err(judge)?;
        let stream = self.connector.connect(endpoint).await.map_err(judge)?;
        let pass = self.authenticator.pass().await.map_err(judge)?;
        let limit = self.settings.upgrade_timeout;
        match WebSocket::upgrade(stream, endpoint, pass.headers().clone(), limit).await {
            Ok(socket) => {
                self.authenticator.accept(&pass);
                let generation = pass.generation();
                Ok(Connection {
                    socket,
                    generation,
                    is_reused: false,
                })
            }
            // Judged while we have the turn: those behind us shall know.
            Err(failure) => Err(self.judge(pass.redact(failure), Some(pass.generation()))),
        }
    }

    /// Looks up what a failure means, and remembers what concerns all parts.
    pub(super) fn judge(&self, failure: Failure, generation: Option<u64>) -> Setback {
        let verdict = match (Verdict::of(&failure), generation) {
            (Verdict::NewCredentialsOnce, Some(generation))
                if !self.authenticator.renew(generation) =>
            {
                Verdict::StopAll(LOCK_OUT)
            }
            (Verdict::WithoutVocabulary, _) => self.without_vocabulary(),
            (verdict, _) => verdict,
        };
        if let Verdict::StopAll(hold) = verdict {
            self.authenticator.halt(&failure, hold);
        }
        if let Verdict::Throttled(_) = verdict {
            self.gate.refused();
        }
        self.counters.setbacks.fetch_add(1, Ordering::Relaxed);
        tracing::debug!(%failure, ?verdict, "recognition failed");
        // One line for an outage, not one for each part of it.
        if self.counters.available.swap(false, Ordering::Relaxed) {
            tracing::warn!(%failure, "the recogniser fails; parts are tried again");
        }
        Setback { failure, verdict }
    }

    /// A hot-word table that was deleted must not cost a word.
    fn without_vocabulary(&self) -> Verdict {
        let vocabulary = &self.settings.session.vocabulary_id;
        if !self.is_plain.swap(true, Ordering::Relaxed) {
            tracing::error!(
                ?vocabulary,
                "hot-word table not found; recognising without it"
            );
        }
        match vocabulary {
            Some(_) => Verdict::WithoutVocabulary,
            None => Verdict::GiveUp(GapReason::AsrRejected),
        }
    }
}

/// A connection, and the credentials it was opened with.
#[derive(Debug)]
pub(super) struct Connection {
    /// Ready for a session.
    pub(super) socket: WebSocket,
    /// Which credentials.
    pub(super) generation: u64,
    /// Whether it has carried a session before.
    pub(super) is_reused: bool,
}

/// A failure and what it means.
#[derive(Debug)]
pub(super) struct Setback {
    /// What happened.
    pub(super) failure: Failure,
    /// What to do.
    pub(super) verdict: Verdict,
}

/// How the recogniser fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Serialize)]
pub struct Status {
    /// Whether the last thing that happened was a text, not a failure.
    pub available: bool,
    /// Sessions begun.
    pub sessions: u64,
    /// Tries that failed.
    pub setbacks: u64,
    /// Parts that have their text.
    pub recognised: u64,
    /// Parts given up.
    pub given_up: u64,
    /// Use of the quota.
    pub quota: Usage,
}

#[derive(Debug)]
struct Counters {
    available: AtomicBool,
    sessions: AtomicU64,
    setbacks: AtomicU64,
    recognised: AtomicU64,
    given_up: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            available: AtomicBool::new(true),
            sessions: AtomicU64::default(),
            setbacks: AtomicU64::default(),
            recognised: AtomicU64::default(),
            given_up: AtomicU64::default(),
        }
    }
}
