//! The recogniser as the whole daemon knows it: where it is, how to get in, how it is.
#![expect(clippy::disallowed_methods, reason = "the shell waits")]

mod access;
mod examination;
mod settings;

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, RwLock};
use std::time::{Duration, Instant};

use tokio::time::sleep;

pub(super) use self::access::Access;
pub use self::examination::{Examination, Finding};
pub use self::settings::{Settings, SettingsError};

use super::idle::{Idle, Place};
use super::part_audio::PartAudio;
use super::session_gate::{SessionGate, Slot};
use super::websocket::WebSocket;
use crate::asr::failure::{Failure, FailureKind};
use crate::asr::quota::{Urgency, Usage};
use crate::asr::retry::Schedule;
use crate::asr::verdict::{LOCK_OUT, Verdict};

/// The recogniser, shared by the workers.
#[derive(Debug)]
pub struct Provider {
    access: RwLock<Arc<Access>>,
    /// Tokens that were had with settings of before.
    earlier_tokens: AtomicU64,
    gate: Arc<SessionGate>,
    idle: Arc<Idle>,
    counters: Counters,
    last_failure: Mutex<Option<(String, Instant)>>,
    seeds: AtomicU64,
}

impl Provider {
    /// Checks the settings and reads the certificates.
    ///
    /// # Errors
    /// The first thing that cannot work.
    pub fn new(settings: Settings) -> Result<Arc<Self>, SettingsError> {
        let gate = SessionGate::new(settings.quota.clone());
        Ok(Arc::new(Self {
            access: RwLock::new(Access::new(settings)?),
            earlier_tokens: AtomicU64::default(),
            gate,
            idle: Arc::default(),
            counters: Counters::default(),
            last_failure: Mutex::default(),
            seeds: AtomicU64::new(RandomState::new().hash_one(())),
        }))
    }

    /// Goes on with other settings: sessions that are open are not touched, and every try from now
    /// on is made with the new ones, be its part old or new.
    ///
    /// # Errors
    /// The first thing that cannot work; the settings then stay as they were.
    pub fn adopt(&self, settings: Settings) -> Result<(), SettingsError> {
        let quota = settings.quota.clone();
        let access = Access::new(settings)?;
        let tokens = self.access().authenticator.tokens();
        self.earlier_tokens.fetch_add(tokens, Ordering::Relaxed);
        *self.access.write().unwrap_or_else(PoisonError::into_inner) = access;
        self.gate.adopt(quota);
        Ok(())
    }

    /// The name in the event lines.
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.access().settings.provider)
    }

    /// Connects once and hangs up: tells an operator at the start what every part would find out
    /// later.
    ///
    /// # Errors
    /// When the service cannot be reached; whether it lets us in is not tried.
    pub async fn probe(&self) -> Result<(), Failure> {
        let access = self.access();
        let connected = access.connector.connect(&access.settings.endpoint).await;
        connected.map(drop)
    }

    /// Why nothing is tried for now, and for how much longer: what an operator must put right.
    pub fn alarm(&self) -> Option<(String, Duration)> {
        self.access().authenticator.alarm()
    }

    /// What the metrics show.
    pub fn status(&self) -> Status {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        Status {
            available: self.counters.available.load(Ordering::Relaxed),
            sessions: read(&self.counters.sessions),
            replays: read(&self.counters.replays),
            failures: self.counters.failures.each_ref().map(read),
            recognised: read(&self.counters.recognised),
            given_up: read(&self.counters.given_up),
            quota: self.gate.usage(),
        }
    }

    /// What failed last, and how long ago.
    pub fn last_failure_ago(&self) -> Option<(String, Duration)> {
        let last = self.last_failure();
        last.as_ref()
            .map(|(failure, at)| (failure.clone(), at.elapsed()))
    }

    /// How much longer the token in use is good for, where that is known.
    pub fn token_life(&self) -> Option<Duration> {
        self.access().authenticator.token_life()
    }

    /// Tokens that were had so far; 1 for credentials that are not fetched.
    pub fn tokens(&self) -> u64 {
        let earlier = self.earlier_tokens.load(Ordering::Relaxed);
        earlier + self.access().authenticator.tokens()
    }

    /// The retries of a part that begins now.
    pub(super) fn schedule(&self, now: Instant) -> Schedule {
        let seed = self.seeds.fetch_add(1, Ordering::Relaxed);
        Schedule::new(self.access().settings.retry.clone(), seed, now)
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
            sleep(self.access().settings.quota.max_wait).await;
        };
        tokio::select! {
            biased;
            slot = self.gate.enter(urgency, since) => Some(slot),
            () = patience => None,
        }
    }

    /// A place for a connection between two sessions, if it is to be kept: not past its time, and not so that idle ones
    /// take the quota of those in use.
    pub(super) fn place(&self, connection: &Connection) -> Option<Place> {
        let access = &connection.access;
        let patience = access.settings.reuse?;
        let is_fit = access.takes_several() && connection.opened.elapsed() < MAX_AGE;
        (is_fit && !self.is_crowded()).then(|| Place::new(Arc::clone(&self.idle), patience))
    }

    /// A connection that carried a session well has not taken another one. That it ended in between happens, and a full
    /// quota or a token that has expired refuses a new one as well; a service that refuses for another reason, or says
    /// nothing, gets a connection for each session from now on.
    pub(super) fn note_unfit(&self, connection: &Connection, failure: &Failure) {
        let refuses = matches!(failure, Failure::Service(_))
            && matches!(Verdict::of(failure), Verdict::GiveUp(_));
        let makes_no_sense = matches!(
            failure,
            Failure::EndedEarly(_) | Failure::Malformed(_) | Failure::Silent(_)
        );
        if refuses || makes_no_sense {
            connection.access.note_single(failure);
        }
    }

    /// Whether there are more connections, idle ones included, than the service may take.
    fn is_crowded(&self) -> bool {
        let usage = self.gate.usage();
        usage.in_use + self.idle.count() > usage.limit
    }

    /// A session begins: the `nth` of its part.
    pub(super) fn note_session(&self, nth: u32) {
        self.counters.sessions.fetch_add(1, Ordering::Relaxed);
        if nth > 1 {
            self.counters.replays.fetch_add(1, Ordering::Relaxed);
        }
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
        if self.is_crowded() {
            self.idle.ask_one_to_go();
        }
        let access = self.access();
        let (endpoint, authenticator) = (&access.settings.endpoint, &access.authenticator);
        let judge = |failure| self.judge(&access, failure, None);
        authenticator.prepare().await.map_err(judge)?;
        let stream = access.connector.connect(endpoint).await.map_err(judge)?;
        let pass = authenticator.pass().await.map_err(judge)?;
        let limit = access.settings.upgrade_timeout;
        match WebSocket::upgrade(stream, endpoint, pass.headers().clone(), limit).await {
            Ok(socket) => {
                authenticator.accept(&pass);
                let generation = pass.generation();
                Ok(Connection {
                    socket,
                    access: Arc::clone(&access),
                    generation,
                    opened: Instant::now(),
                    before: None,
                })
            }
            // Judged while we have the turn: those behind us shall know.
            Err(failure) => Err(self.judge(&access, pass.redact(failure), Some(pass.generation()))),
        }
    }

    /// Looks up what a failure means, and remembers what concerns all parts.
    pub(super) fn judge(
        &self,
        access: &Access,
        failure: Failure,
        generation: Option<u64>,
    ) -> Setback {
        let verdict = match (Verdict::of(&failure), generation) {
            (Verdict::NewCredentialsOnce, Some(generation))
                if !access.authenticator.renew(generation) =>
            {
                Verdict::StopAll(LOCK_OUT)
            }
            (Verdict::WithoutVocabulary, _) => access.without_vocabulary(),
            (verdict, _) => verdict,
        };
        if let Verdict::StopAll(hold) = verdict {
            access.authenticator.halt(&failure, hold);
        }
        if let Verdict::Throttled(_) = verdict {
            self.gate.refused();
        }
        let kind = failure.kind();
        self.counters.failures[kind as usize].fetch_add(1, Ordering::Relaxed);
        *self.last_failure() = Some((failure.to_string(), Instant::now()));
        tracing::debug!(%failure, ?verdict, "recognition failed");
        // One line for an outage, not one for each part of it.
        if self.counters.available.swap(false, Ordering::Relaxed) {
            tracing::warn!(%failure, "the recogniser fails; parts are tried again");
        }
        Setback { failure, verdict }
    }

    /// How the recogniser is got into now.
    pub(super) fn access(&self) -> Arc<Access> {
        let access = self.access.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&access)
    }

    fn last_failure(&self) -> MutexGuard<'_, Option<(String, Instant)>> {
        self.last_failure
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// A connection, and the credentials it was opened with.
#[derive(Debug)]
pub(super) struct Connection {
    /// Ready for a session.
    pub(super) socket: WebSocket,
    /// How it was got.
    pub(super) access: Arc<Access>,
    /// With which of the credentials of that.
    pub(super) generation: u64,
    /// When that was.
    pub(super) opened: Instant,
    /// The trace of the last session that it has carried.
    pub(super) before: Option<String>,
}

/// The service ends connections after 5 h, whatever they carry.
const MAX_AGE: Duration = Duration::from_secs(3_600);

/// A failure and what it means.
#[derive(Debug)]
pub(super) struct Setback {
    /// What happened.
    pub(super) failure: Failure,
    /// What to do.
    pub(super) verdict: Verdict,
}

/// How the recogniser fares.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Status {
    /// Whether the last thing that happened was a text, not a failure.
    pub available: bool,
    /// Sessions begun.
    pub sessions: u64,
    /// Those of them that ran a part once more.
    pub replays: u64,
    /// Tries that failed, in the order of [`FailureKind::ALL`].
    pub failures: [u64; FailureKind::ALL.len()],
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
    replays: AtomicU64,
    failures: [AtomicU64; FailureKind::ALL.len()],
    recognised: AtomicU64,
    given_up: AtomicU64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            available: AtomicBool::new(true),
            sessions: AtomicU64::default(),
            replays: AtomicU64::default(),
            failures: Default::default(),
            recognised: AtomicU64::default(),
            given_up: AtomicU64::default(),
        }
    }
}
