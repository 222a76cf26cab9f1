//! The recogniser as the whole daemon knows it: where it is, how to get in, how it is.

use std::hash::{BuildHasher, RandomState};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::authenticator::Authenticator;
use super::transport::{Connector, TrustError};
use super::websocket::WebSocket;
use crate::asr::auth::Credentials;
use crate::asr::endpoint::{Endpoint, EndpointError};
use crate::asr::failure::Failure;
use crate::asr::retry::{self, Schedule};
use crate::asr::session;
use crate::asr::verdict::{LOCK_OUT, Verdict};

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

/// The recogniser, shared by the workers.
#[derive(Debug)]
pub struct Provider {
    settings: Settings,
    session: Arc<session::Settings>,
    connector: Connector,
    authenticator: Authenticator,
    seeds: AtomicU64,
}

impl Provider {
    /// Checks the settings and reads the certificates.
    ///
    /// # Errors
    /// The first thing that cannot work.
    pub fn new(settings: Settings) -> Result<Arc<Self>, ProviderError> {
        settings.session.check()?;
        let connector = Connector::new(settings.ca_file.as_deref(), settings.connect_timeout)?;
        Ok(Arc::new(Self {
            session: Arc::new(settings.session.clone()),
            authenticator: Authenticator::new(
                settings.credentials.clone(),
                settings.endpoint.clone(),
                connector.clone(),
            ),
            connector,
            seeds: AtomicU64::new(RandomState::new().hash_one(())),
            settings,
        }))
    }

    /// The name in the event lines.
    pub fn name(&self) -> Arc<str> {
        Arc::clone(&self.settings.provider)
    }

    /// Connects once and hangs up: tells an operator at the start what every part would find out later.
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

    /// What a session asks for.
    pub(super) fn session(&self) -> Arc<session::Settings> {
        Arc::clone(&self.session)
    }

    /// The retries of a part that begins now.
    pub(super) fn schedule(&self, now: Instant) -> Schedule {
        let seed = self.seeds.fetch_add(1, Ordering::Relaxed);
        Schedule::new(self.settings.retry.clone(), seed, now)
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
                Ok(Connection { socket, generation })
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
            (verdict, _) => verdict,
        };
        if let Verdict::StopAll(hold) = verdict {
            self.authenticator.halt(&failure, hold);
        }
        tracing::debug!(%failure, ?verdict, "recognition failed");
        Setback { failure, verdict }
    }
}

/// A connection, and the credentials it was opened with.
#[derive(Debug)]
pub(super) struct Connection {
    /// Ready for a session.
    pub(super) socket: WebSocket,
    /// Which credentials.
    pub(super) generation: u64,
}

/// A failure and what it means.
#[derive(Debug)]
pub(super) struct Setback {
    /// What happened.
    pub(super) failure: Failure,
    /// What to do.
    pub(super) verdict: Verdict,
}

/// Why a recogniser cannot be used at all.
#[derive(Debug, thiserror::Error)]
pub enum ProviderError {
    /// The address of the service, or of the identity service, cannot be used.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// A file with a secret cannot be read.
    #[error("cannot read the secret in {}: {source}", path.display())]
    Secret {
        /// The file.
        path: PathBuf,
        /// Why.
        source: std::io::Error,
    },
    /// A session setting is out of range.
    #[error(transparent)]
    Session(#[from] session::SettingsError),
    /// There is no certificate to trust.
    #[error(transparent)]
    Trust(#[from] TrustError),
}
