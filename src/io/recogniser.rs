//! Recognises parts: one session at a time each, again and again until the text is in.
#![expect(
    clippy::disallowed_methods,
    reason = "the shell reads the clock and waits"
)]

use std::cell::RefCell;
use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use hyper::HeaderMap;
use hyper::header::HeaderValue;
use secrecy::ExposeSecret;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep_until};
use tokio_tungstenite::tungstenite::Message;

use super::part_audio::PartAudio;
use super::transport::{Connector, TrustError};
use super::websocket::{Event, WebSocket, X_AUTH_TOKEN};
use crate::asr::Recognition;
use crate::asr::auth::Credentials;
use crate::asr::endpoint::{Endpoint, EndpointError};
use crate::asr::failure::Failure;
use crate::asr::retry::{self, Decision, Schedule};
use crate::asr::session::{self, Output, Session};
use crate::asr::verdict::Verdict;
use crate::event::GapReason;

/// How to reach and use a recogniser.
#[derive(Clone, Debug)]
pub struct Settings {
    /// Its name in the event lines. Default `huawei-sis`.
    pub provider: Arc<str>,
    /// Where it is.
    pub endpoint: Endpoint,
    /// What the handshake is authenticated with. Default nothing.
    pub credentials: Credentials,
    /// What a session asks for.
    pub session: session::Settings,
    /// How hard a part is tried for.
    pub retry: retry::Settings,
    /// PEM file with the only certificates to trust. Default: the system's.
    pub ca_file: Option<PathBuf>,
    /// How long a connection may take, TLS included. Default 5 s.
    pub connect_timeout: Duration,
    /// How long the answer to the upgrade may take. Default 10 s.
    pub upgrade_timeout: Duration,
}

impl Settings {
    /// The defaults, for the recogniser at `endpoint`.
    pub fn new(endpoint: Endpoint) -> Self {
        Self {
            provider: "huawei-sis".into(),
            endpoint,
            credentials: Credentials::None,
            session: session::Settings::default(),
            retry: retry::Settings::default(),
            ca_file: None,
            connect_timeout: Duration::from_secs(5),
            upgrade_timeout: Duration::from_secs(10),
        }
    }
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

/// The recogniser as the whole daemon knows it; shared by the workers.
#[derive(Debug)]
pub struct Provider {
    settings: Settings,
    session: Arc<session::Settings>,
    connector: Connector,
    seeds: AtomicU64,
}

impl Provider {
    /// Checks the settings and reads the certificates.
    ///
    /// # Errors
    /// The first thing that cannot work.
    pub fn new(settings: Settings) -> Result<Arc<Self>, RecogniserError> {
        settings.session.check()?;
        let connector = Connector::new(settings.ca_file.as_deref(), settings.connect_timeout)?;
        Ok(Arc::new(Self {
            session: Arc::new(settings.session.clone()),
            connector,
            seeds: AtomicU64::new(RandomState::new().hash_one(())),
            settings,
        }))
    }

    /// The name in the event lines.
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.settings.provider)
    }

    async fn open(&self) -> Result<WebSocket, Failure> {
        let Settings { endpoint, .. } = &self.settings;
        let stream = self.connector.connect(endpoint).await?;
        let headers = self.headers()?;
        WebSocket::upgrade(stream, endpoint, headers, self.settings.upgrade_timeout).await
    }

    fn headers(&self) -> Result<HeaderMap, Failure> {
        let mut headers = HeaderMap::new();
        if let Credentials::FixedToken(token) = &self.settings.credentials {
            let value = HeaderValue::from_str(token.expose_secret().trim());
            let mut value = value.map_err(|_| Failure::NoCredentials {
                detail: "the token has characters that no header can carry".into(),
                passing: false,
            })?;
            value.set_sensitive(true);
            headers.insert(X_AUTH_TOKEN, value);
        }
        Ok(headers)
    }
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
        let Provider {
            settings, seeds, ..
        } = &*self.provider;
        let seed = seeds.fetch_add(1, Ordering::Relaxed);
        let mut schedule = Schedule::new(settings.retry.clone(), seed, now());
        loop {
            let failure = match self.attempt(&audio, &mut schedule, &mut on_interim).await {
                Ok(recognition) => return Ok(recognition),
                Err(failure) => failure,
            };
            let verdict = Verdict::of(&failure);
            tracing::debug!(%failure, ?verdict, "recognition failed");
            match schedule.handle_failure(verdict, audio.duration(), now()) {
                Decision::RetryAt(at) => sleep_until(at.into()).await,
                Decision::RenewCredentials => {}
                Decision::GiveUp { reason, can_wait } => {
                    let detail = failure.to_string();
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
    ) -> Result<Recognition, Failure> {
        let mut socket = self.provider.open().await?;
        schedule.handle_session();
        let settings = Arc::clone(&self.provider.session);
        let recognition = run_session(&mut socket, settings, audio, on_interim).await?;
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

/// Why a recogniser cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum RecogniserError {
    /// The address of the service cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A session setting is out of range.
    #[error(transparent)]
    Session(#[from] session::SettingsError),
    /// There is no certificate to trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
}

/// How long a peer has to answer a close; nobody waits for it.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(2);

/// Connections in closing; beyond that they are simply dropped.
const MAX_CLOSING: usize = 256;
